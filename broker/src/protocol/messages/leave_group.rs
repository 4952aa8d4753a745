//! LeaveGroup: give up memberships. Up to version 2 a request names one member, from 3 on several.

use crate::protocol::codec::{Str, tables};

tables! {
    /// Asks to remove members.
    request LeaveGroupRequest (LeaveGroup => LeaveGroupResponse) {
        /// The group's id.
        group_id: Str, 0..;
        /// The member's id.
        member_id: Str, 0..=2;
        /// The members.
        members: Vec<MemberIdentity>, 3..;
    }

    /// A member to remove.
    struct MemberIdentity {
        /// The member's id, empty if the instance id names it.
        member_id: Str, 3..;
        /// The static member's id, or null.
        group_instance_id: Option<Str>, 3..;
        /// Why the member leaves, or null.
        reason: Option<Str>, 5.., ignorable;
    }

    /// Which members were removed.
    response LeaveGroupResponse (LeaveGroup) {
        /// For how long the client was throttled, in milliseconds.
        throttle_time_ms: i32, 1.., ignorable;
        /// The error code, or 0.
        error_code: i16, 0..;
        /// The outcome by member.
        members: Vec<MemberResponse>, 3..;
    }

    /// The outcome for one member.
    struct MemberResponse {
        /// The member's id.
        member_id: Str, 3..;
        /// The static member's id, or null.
        group_instance_id: Option<Str>, 3..;
        /// The error code, or 0.
        error_code: i16, 3..;
    }
}
