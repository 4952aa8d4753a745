//! Topics and their configurations.

pub mod create_partitions;
pub mod create_topics;
pub mod delete_topics;
pub mod describe_configs;
pub mod incremental_alter_configs;

/// Kinds of resources that have a configuration.
mod resource {
    pub(super) const TOPIC: i8 = 2;
    pub(super) const BROKER: i8 = 4;
}

use crate::controller::AdminError;
use crate::handlers::codes;
use crate::protocol::ErrorCode;
use crate::protocol::codec::Str;

/// An error code, and the words that go with it.
type Refusal = (ErrorCode, Option<Str>);

fn refusal(error: &AdminError) -> Refusal {
    (codes::admin(error), Some(Str::from(error.to_string())))
}

/// One result for each of `count` parts: the control thread's, or its reason for none.
fn per_part<T>(
    answer: crate::control::Parts<T>,
    count: usize,
) -> impl Iterator<Item = Result<T, Refusal>> {
    let results = match answer {
        Ok(results) => results.into_iter().map(|part| part.map_err(|e| refusal(&e))).collect(),
        Err(error) => {
            let refused = || (codes::control(&error), Some(Str::from(error.to_string())));
            (0..count).map(|_| Err(refused())).collect::<Vec<_>>()
        }
    };
    results.into_iter()
}
