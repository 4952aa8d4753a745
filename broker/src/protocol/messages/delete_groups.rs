//! DeleteGroups: delete groups and their offsets.

use crate::protocol::codec::{Str, tables};

tables! {
    /// Asks to delete groups.
    request DeleteGroupsRequest (DeleteGroups => DeleteGroupsResponse) {
        /// The groups' ids.
        groups_names: Vec<Str>, 0..;
    }

    /// Which groups were deleted.
    response DeleteGroupsResponse (DeleteGroups) {
        /// For how long the client was throttled, in milliseconds.
        throttle_time_ms: i32, 0..;
        /// The outcome by group.
        results: Vec<DeletableGroupResult>, 0..;
    }

    /// The outcome for one group.
    struct DeletableGroupResult {
        /// The group's id.
        group_id: Str, 0..;
        /// The error code, or 0.
        error_code: i16, 0..;
    }
}
