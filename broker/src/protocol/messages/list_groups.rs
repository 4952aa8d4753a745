//! ListGroups: which groups there are.

use crate::protocol::codec::{Str, tables};

tables! {
    /// Asks for groups.
    request ListGroupsRequest (ListGroups => ListGroupsResponse) {
        /// The states asked for; empty asks for all.
        states_filter: Vec<Str>, 4..;
        /// The types asked for; empty asks for all.
        types_filter: Vec<Str>, 5..;
    }

    /// The groups.
    response ListGroupsResponse (ListGroups) {
        /// For how long the client was throttled, in milliseconds.
        throttle_time_ms: i32, 1.., ignorable;
        /// The error code, or 0.
        error_code: i16, 0..;
        /// The groups.
        groups: Vec<ListedGroup>, 0..;
    }

    /// One group.
    struct ListedGroup {
        /// The group's id.
        group_id: Str, 0..;
        /// The kind of group: `consumer`, for example.
        protocol_type: Str, 0..;
        /// The group's state.
        group_state: Str, 4.., ignorable;
        /// The group's type: `classic`, for example.
        group_type: Str, 5.., ignorable;
    }
}
