//! SyncGroup: the leader hands in the assignment, every member takes its part.

use bytes::Bytes;

use crate::protocol::codec::{Str, tables};

tables! {
    /// Asks for the member's assignment.
    request SyncGroupRequest (SyncGroup => SyncGroupResponse) {
        /// The group's id.
        group_id: Str, 0..;
        /// The generation.
        generation_id: i32, 0..;
        /// The member's id.
        member_id: Str, 0..;
        /// The static member's id, or null.
        group_instance_id: Option<Str>, 3..;
        /// The kind of group, or null.
        protocol_type: Option<Str>, 5.., ignorable;
        /// The protocol chosen, or null.
        protocol_name: Option<Str>, 5.., ignorable;
        /// The assignment of every member, from the leader alone.
        assignments: Vec<SyncGroupRequestAssignment>, 0..;
    }

    /// The assignment of one member.
    struct SyncGroupRequestAssignment {
        /// The member's id.
        member_id: Str, 0..;
        /// What the member gets.
        assignment: Bytes, 0..;
    }

    /// The member's assignment.
    response SyncGroupResponse (SyncGroup) {
        /// For how long the client was throttled, in milliseconds.
        throttle_time_ms: i32, 1.., ignorable;
        /// The error code, or 0.
        error_code: i16, 0..;
        /// The kind of group, or null.
        protocol_type: Option<Str>, 5.., ignorable;
        /// The protocol chosen, or null.
        protocol_name: Option<Str>, 5.., ignorable;
        /// What the member gets.
        assignment: Bytes, 0..;
    }
}
