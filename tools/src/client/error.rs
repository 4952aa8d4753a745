//! Why a request could not be answered.

use std::io;
use std::time::Duration;

use ringlog_broker::compression::{CompressError, DecompressError};
use ringlog_broker::protocol::codec::{DecodeError, EncodeError, VersionRange};
use ringlog_broker::protocol::{ApiKey, ErrorCode};
use ringlog_engine::batch::{BatchError, RecordError};

/// Why a request of the client failed.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// No connection could be made.
    #[error("cannot connect to {address}: {source}")]
    Connect {
        /// The address.
        address: String,
        /// What the system said.
        source: io::Error,
    },
    /// A connection broke, or no answer came in time.
    #[error("{api:?} request to {address} failed: {source}")]
    Exchange {
        /// What was asked.
        api: ApiKey,
        /// The address.
        address: String,
        /// What the system said.
        source: io::Error,
    },
    /// Client and server have no version of a request in common.
    #[error("{address} does not serve {api:?} in a version known here ({known})")]
    NoCommonVersion {
        /// What was to be asked.
        api: ApiKey,
        /// The address.
        address: String,
        /// The versions known here.
        known: VersionRange,
    },
    /// A request could not be encoded: it asks for what the server's version cannot say.
    #[error("cannot encode a request: {0}")]
    Encode(#[from] EncodeError),
    /// An answer is not what the protocol says.
    #[error("cannot decode the {api:?} answer of {address}: {source}")]
    Decode {
        /// What was asked.
        api: ApiKey,
        /// The address.
        address: String,
        /// What is wrong with it.
        source: DecodeError,
    },
    /// An answer that is not the next one expected.
    #[error("{address} answered request {found}, expected an answer to {expected}")]
    Correlation {
        /// The address.
        address: String,
        /// The id that should come next.
        expected: i32,
        /// The id found.
        found: i32,
    },
    /// The server refused.
    #[error("{what}: {}", describe(*code, message.as_deref()))]
    Refused {
        /// What was asked for.
        what: String,
        /// Kafka's error code.
        code: i16,
        /// What the server added.
        message: Option<String>,
    },
    /// The server kept answering that it may work later.
    #[error("{what}: gave up after {} s, the last answer was {}", waited.as_secs(), describe(*code, None))]
    StillUnavailable {
        /// What was asked for.
        what: String,
        /// Kafka's error code of the last answer.
        code: i16,
        /// How long it was tried.
        waited: Duration,
    },
    /// An answer leaves out what was asked for.
    #[error("the {api:?} answer does not say anything about {what}")]
    Missing {
        /// What was asked.
        api: ApiKey,
        /// What it should have said.
        what: String,
    },
    /// A fetched batch is broken.
    #[error("partition {partition} of {topic}: batch is broken: {source}")]
    Batch {
        /// The topic.
        topic: String,
        /// The partition.
        partition: i32,
        /// What is wrong with it.
        source: BatchError,
    },
    /// A fetched batch's records are broken.
    #[error("partition {partition} of {topic}: batch at offset {base_offset}: {source}")]
    Records {
        /// The topic.
        topic: String,
        /// The partition.
        partition: i32,
        /// The batch's base offset.
        base_offset: i64,
        /// What is wrong with them.
        source: RecordError,
    },
    /// A fetched batch cannot be decompressed.
    #[error("partition {partition} of {topic}: batch at offset {base_offset}: {source}")]
    Decompress {
        /// The topic.
        topic: String,
        /// The partition.
        partition: i32,
        /// The batch's base offset.
        base_offset: i64,
        /// What is wrong with it.
        source: DecompressError,
    },
    /// Records to be sent do not make a batch.
    #[error("cannot build a batch: {0}")]
    Build(#[from] BatchError),
    /// Records to be sent cannot be compressed.
    #[error(transparent)]
    Compress(#[from] CompressError),
}

impl ClientError {
    /// Whether the same request may succeed later, perhaps on a new connection.
    #[must_use]
    pub fn is_retriable(&self) -> bool {
        match self {
            Self::Connect { .. } | Self::Exchange { .. } => true,
            Self::Refused { code, .. } => is_retriable(*code),
            _ => false,
        }
    }

    /// Kafka's error code, where the server gave one.
    #[must_use]
    pub fn code(&self) -> Option<ErrorCode> {
        match self {
            Self::Refused { code, .. } | Self::StillUnavailable { code, .. } => {
                ErrorCode::from_code(*code)
            }
            _ => None,
        }
    }
}

/// Whether Kafka says of a code that the request may succeed later.
#[must_use]
pub fn is_retriable(code: i16) -> bool {
    ErrorCode::from_code(code).is_some_and(ErrorCode::is_retriable)
}

/// Turns a code from an answer into an error, unless it is 0.
///
/// # Errors
///
/// [`ClientError::Refused`].
pub fn check(
    code: i16,
    message: Option<&str>,
    what: impl FnOnce() -> String,
) -> Result<(), ClientError> {
    if code == 0 {
        return Ok(());
    }
    Err(ClientError::Refused { what: what(), code, message: message.map(str::to_owned) })
}

fn describe(code: i16, message: Option<&str>) -> String {
    let name = ErrorCode::from_code(code).map_or("UNKNOWN", ErrorCode::name);
    match message.filter(|message| !message.is_empty()) {
        Some(message) => format!("{message} ({name}, {code})"),
        None => format!("{name} ({code})"),
    }
}
