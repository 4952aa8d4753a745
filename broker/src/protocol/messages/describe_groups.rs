//! DescribeGroups: the state and the members of groups.

use bytes::Bytes;

use super::metadata::OPERATIONS_NOT_REQUESTED;
use crate::protocol::codec::{Str, tables};

tables! {
    /// Asks for the state of groups.
    request DescribeGroupsRequest (DescribeGroups => DescribeGroupsResponse) {
        /// The groups' ids.
        groups: Vec<Str>, 0..;
        /// Whether to tell what the client may do to each group.
        include_authorized_operations: bool, 3..;
    }

    /// The state of each group.
    response DescribeGroupsResponse (DescribeGroups) {
        /// For how long the client was throttled, in milliseconds.
        throttle_time_ms: i32, 1.., ignorable;
        /// The groups.
        groups: Vec<DescribedGroup>, 0..;
    }

    /// The state of one group.
    struct DescribedGroup {
        /// The error code, or 0.
        error_code: i16, 0..;
        /// What went wrong, or null.
        error_message: Option<Str>, 6..;
        /// The group's id.
        group_id: Str, 0..;
        /// The group's state, or empty.
        group_state: Str, 0..;
        /// The kind of group, or empty.
        protocol_type: Str, 0..;
        /// The protocol chosen, or empty.
        protocol_data: Str, 0..;
        /// The members.
        members: Vec<DescribedGroupMember>, 0..;
        /// What the client may do to the group, as bits.
        authorized_operations: i32, 3.., default = OPERATIONS_NOT_REQUESTED;
    }

    /// One member.
    struct DescribedGroupMember {
        /// The member's id.
        member_id: Str, 0..;
        /// The static member's id, or null.
        group_instance_id: Option<Str>, 4.., ignorable;
        /// The client id of its last join.
        client_id: Str, 0..;
        /// The host that it joined from.
        client_host: Str, 0..;
        /// What it told for the protocol chosen.
        member_metadata: Bytes, 0..;
        /// What it was assigned.
        member_assignment: Bytes, 0..;
    }
}
