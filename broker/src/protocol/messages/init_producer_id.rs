//! InitProducerId: get a producer id and epoch, by which the broker knows repeated batches.

use crate::protocol::codec::{Str, tables};

tables! {
    /// Asks for a producer id.
    request InitProducerIdRequest (InitProducerId => InitProducerIdResponse) {
        /// The transactional id, or null outside of transactions.
        transactional_id: Option<Str>, 0..;
        /// After how many milliseconds an open transaction is aborted.
        transaction_timeout_ms: i32, 0..;
        /// The producer id that the client has, or -1.
        producer_id: i64, 3.., default = -1;
        /// The producer epoch that the client has, or -1.
        producer_epoch: i16, 3.., default = -1;
    }

    /// The producer id.
    response InitProducerIdResponse (InitProducerId) {
        /// For how long the client was throttled, in milliseconds.
        throttle_time_ms: i32, 0..;
        /// The error code, or 0.
        error_code: i16, 0..;
        /// The producer id, or -1.
        producer_id: i64, 0.., default = -1;
        /// The producer epoch.
        producer_epoch: i16, 0..;
    }
}
