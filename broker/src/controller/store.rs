//! One decision at a time: image, decision, durable records, next image.

use std::cell::RefCell;
use std::sync::Arc;

use tokio::sync::Mutex;

use super::plan::Plan;
use super::quorum::{MetadataQuorum, QuorumError};
use crate::metadata::{ApplyError, MetadataImage};

/// Why a change of metadata did not happen.
#[derive(Debug, thiserror::Error)]
pub enum StoreError<E> {
    /// The decision was to refuse it.
    #[error(transparent)]
    Refused(E),
    /// The records could not be made durable.
    #[error(transparent)]
    Quorum(#[from] QuorumError),
    /// The records do not fit the image that they were decided on. Nothing was written.
    #[error("the decided records do not fit the metadata: {0}")]
    Inconsistent(#[from] ApplyError),
}

/// The newest metadata, and the only way to change it.
///
/// Belongs to one thread. Readers elsewhere are handed [`MetadataStore::image`].
#[derive(Debug)]
pub struct MetadataStore<Q> {
    quorum: Q,
    image: RefCell<Arc<MetadataImage>>,
    one_at_a_time: Mutex<()>,
}

impl<Q: MetadataQuorum> MetadataStore<Q> {
    /// Replays the quorum's log.
    ///
    /// # Errors
    ///
    /// [`QuorumError`], for a log that cannot be read or that does not fit itself.
    pub async fn open(quorum: Q) -> Result<Self, QuorumError> {
        let image = quorum.replay(MetadataImage::default()).await?;
        let image = RefCell::new(Arc::new(image));
        Ok(Self { quorum, image, one_at_a_time: Mutex::new(()) })
    }

    /// The newest image whose records are durable.
    #[must_use]
    pub fn image(&self) -> Arc<MetadataImage> {
        self.image.borrow().clone()
    }

    /// The quorum.
    #[must_use]
    pub const fn quorum(&self) -> &Q {
        &self.quorum
    }

    /// Decides on the newest image and makes the decision last.
    ///
    /// After `Ok` the records are durable, and [`image`](Self::image) contains them. After `Err`
    /// nothing has changed, except that a failed quorum may have kept the records: it takes no more
    /// until the broker is started again. Changes are decided in the order in which they come.
    /// Safe to drop: the change then happens whole or not at all, and the next one sees which.
    ///
    /// # Errors
    ///
    /// `decide`'s own, and the quorum's.
    pub async fn change<T, E>(
        &self,
        decide: impl FnOnce(&MetadataImage) -> Result<Plan<T>, E>,
    ) -> Result<T, StoreError<E>> {
        let _turn = self.one_at_a_time.lock().await;
        let mut image = self.image();
        if image.version() != self.quorum.end() {
            // An earlier change was dropped after its records were appended.
            let caught_up = self.quorum.replay(MetadataImage::clone(&image)).await?;
            image = Arc::new(caught_up);
            self.image.replace(image.clone());
        }
        let Plan { records, answer } = decide(&image).map_err(StoreError::Refused)?;
        if records.is_empty() {
            return Ok(answer);
        }
        // Before they are written: records that do not apply would make the log unreadable.
        let next = image.apply_all(&records)?;
        self.quorum.append(&records).await?;
        self.image.replace(Arc::new(next));
        Ok(answer)
    }
}
