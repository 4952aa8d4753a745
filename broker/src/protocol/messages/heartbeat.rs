//! Heartbeat: keep a membership alive.

use crate::protocol::codec::{Str, tables};

tables! {
    /// Tells that a member lives.
    request HeartbeatRequest (Heartbeat => HeartbeatResponse) {
        /// The group's id.
        group_id: Str, 0..;
        /// The generation that the member belongs to.
        generation_id: i32, 0..;
        /// The member's id.
        member_id: Str, 0..;
        /// The static member's id, or null.
        group_instance_id: Option<Str>, 3..;
    }

    /// Tells whether the member shall go on or join again.
    response HeartbeatResponse (Heartbeat) {
        /// For how long the client was throttled, in milliseconds.
        throttle_time_ms: i32, 1.., ignorable;
        /// The error code, or 0.
        error_code: i16, 0..;
    }
}
