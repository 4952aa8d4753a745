//! The controller, and what it decides.

use crate::config::BrokerConfig;
use crate::metadata::MetadataRecord;

/// A decision: the records that change the metadata, and the answer once they are durable. No
/// records: nothing changes, and the answer holds at once.
#[derive(Debug)]
pub struct Plan<T> {
    /// The records, to be appended as one batch.
    pub records: Vec<MetadataRecord>,
    /// What the request is answered.
    pub answer: T,
}

impl<T> Plan<T> {
    /// A decision that changes nothing.
    pub(super) const fn nothing(answer: T) -> Self {
        Self { records: Vec::new(), answer }
    }
}

/// Decides on changes of metadata by the broker's configuration.
///
/// Every method is a pure function of its arguments: it reads an image and changes nothing. What
/// is decided holds only for that image, so that decisions are made one at a time, each on the
/// image that the one before it left.
#[derive(Debug, Clone)]
pub struct Controller {
    pub(super) config: BrokerConfig,
}

impl Controller {
    /// A controller that goes by this configuration.
    #[must_use]
    pub const fn new(config: BrokerConfig) -> Self {
        Self { config }
    }
}
