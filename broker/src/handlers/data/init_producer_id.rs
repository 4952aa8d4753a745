//! InitProducerId: an identity for an idempotent producer.

use crate::dispatch::Context;
use crate::protocol::ErrorCode;
use crate::protocol::messages::{InitProducerIdRequest, InitProducerIdResponse};

/// Gives a producer id of its own to every producer that asks.
pub async fn handle(context: Context, request: InitProducerIdRequest) -> InitProducerIdResponse {
    let refused = |code: ErrorCode| InitProducerIdResponse {
        error_code: code.code(),
        producer_epoch: -1,
        ..InitProducerIdResponse::default()
    };
    if request.transactional_id.is_some() {
        // Transactions are not served: a producer that wants one must not believe it has one.
        return refused(ErrorCode::InvalidRequest);
    }
    if (request.producer_id < 0) != (request.producer_epoch < 0) {
        return refused(ErrorCode::InvalidRequest);
    }
    // A producer that has an id and wants to go on after an error gets a new one: its next batch
    // then starts a sequence that no partition knows.
    match context.shard.producer_id().await {
        Ok(producer_id) => {
            InitProducerIdResponse { producer_id, ..InitProducerIdResponse::default() }
        }
        Err(error) => {
            tracing::warn!(%error, "no producer id could be given");
            refused(ErrorCode::CoordinatorNotAvailable)
        }
    }
}
