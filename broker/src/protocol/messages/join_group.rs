//! JoinGroup: become a member of a classic group's next generation.

use bytes::Bytes;

use crate::protocol::codec::{Str, tables};

tables! {
    /// Asks to join a group.
    request JoinGroupRequest (JoinGroup => JoinGroupResponse) {
        /// The group's id.
        group_id: Str, 0..;
        /// After how many milliseconds without heartbeat the member counts as gone.
        session_timeout_ms: i32, 0..;
        /// How many milliseconds the coordinator waits for members to join again, or -1.
        rebalance_timeout_ms: i32, 1.., default = -1, ignorable;
        /// The member's id, empty before it has one.
        member_id: Str, 0..;
        /// The static member's id, or null.
        group_instance_id: Option<Str>, 5..;
        /// The kind of group: `consumer`, for example.
        protocol_type: Str, 0..;
        /// The protocols that the member supports, the best first.
        protocols: Vec<JoinGroupRequestProtocol>, 0..;
        /// Why the member joins, or null.
        reason: Option<Str>, 8.., ignorable;
    }

    /// A protocol that the member supports.
    struct JoinGroupRequestProtocol {
        /// The protocol's name.
        name: Str, 0..;
        /// What the member tells the leader.
        metadata: Bytes, 0..;
    }

    /// The new generation.
    response JoinGroupResponse (JoinGroup) {
        /// For how long the client was throttled, in milliseconds.
        throttle_time_ms: i32, 2.., ignorable;
        /// The error code, or 0.
        error_code: i16, 0..;
        /// The generation, or -1.
        generation_id: i32, 0.., default = -1;
        /// The kind of group, or null.
        protocol_type: Option<Str>, 7.., ignorable;
        /// The protocol chosen, or null.
        protocol_name: Option<Str>, 0.., nullable = 7.., default = Some(Str::EMPTY);
        /// The leader's member id.
        leader: Str, 0..;
        /// Whether the leader shall not assign, because the assignment stands.
        skip_assignment: bool, 9..;
        /// The member's own id.
        member_id: Str, 0..;
        /// All members, for the leader alone.
        members: Vec<JoinGroupResponseMember>, 0..;
    }

    /// A member of the generation.
    struct JoinGroupResponseMember {
        /// The member's id.
        member_id: Str, 0..;
        /// The static member's id, or null.
        group_instance_id: Option<Str>, 5.., ignorable;
        /// What the member told for the protocol chosen.
        metadata: Bytes, 0..;
    }
}
