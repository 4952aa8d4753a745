//! What shards ask of the control thread.

use std::ops::Range;
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use crate::controller::{
    AdminError, CreatedTopic, MorePartitions, NewTopic, TopicAlterations, TopicReference,
};
use crate::limits::CONTROL_QUEUE;
use crate::metadata::Topic;

/// Why the control thread gives no answer of its own.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ControlError {
    /// The broker is stopping.
    #[error("the broker is stopping")]
    Stopping,
    /// The metadata could not be made to last, or a folder could not be made.
    #[error("the change could not be stored: {0}")]
    NotStored(Arc<str>),
    /// The controller refuses the request as a whole.
    #[error("{0}")]
    Refused(Arc<str>),
}

/// The answer to a request of several parts: one result each, in order.
pub type Parts<T> = Result<Vec<Result<T, AdminError>>, ControlError>;

/// One request, and where its answer goes.
pub(super) enum Ask {
    CreateTopics {
        topics: Vec<NewTopic>,
        validate_only: bool,
        answer: oneshot::Sender<Parts<CreatedTopic>>,
    },
    AutoCreate {
        names: Vec<String>,
        answer: oneshot::Sender<Parts<CreatedTopic>>,
    },
    DeleteTopics {
        topics: Vec<TopicReference>,
        answer: oneshot::Sender<Parts<Arc<Topic>>>,
    },
    CreatePartitions {
        topics: Vec<MorePartitions>,
        validate_only: bool,
        answer: oneshot::Sender<Parts<()>>,
    },
    AlterTopicConfigs {
        topics: Vec<TopicAlterations>,
        validate_only: bool,
        answer: oneshot::Sender<Parts<()>>,
    },
    ProducerIds {
        answer: oneshot::Sender<Result<Range<i64>, ControlError>>,
    },
    Stop {
        answer: oneshot::Sender<()>,
    },
}

/// Asks the control thread. Cloning gives another handle.
#[derive(Debug, Clone)]
pub struct ControlHandle {
    asks: mpsc::Sender<Ask>,
}

/// The control thread's end.
pub struct Asks(pub(super) mpsc::Receiver<Ask>);

/// A bounded queue to a control thread.
#[must_use]
pub fn asks() -> (ControlHandle, Asks) {
    let (sender, receiver) = mpsc::channel(CONTROL_QUEUE);
    (ControlHandle { asks: sender }, Asks(receiver))
}

impl ControlHandle {
    async fn ask<T>(&self, ask: impl FnOnce(oneshot::Sender<T>) -> Ask) -> Result<T, ControlError> {
        let (sender, receiver) = oneshot::channel();
        self.asks.send(ask(sender)).await.map_err(|_| ControlError::Stopping)?;
        receiver.await.map_err(|_| ControlError::Stopping)
    }

    /// Creates topics, each decided by itself. After an `Ok` for a topic, its partitions can be
    /// written to.
    ///
    /// # Errors
    ///
    /// [`ControlError`] for the request, [`AdminError`] for a topic.
    pub async fn create_topics(
        &self,
        topics: Vec<NewTopic>,
        validate_only: bool,
    ) -> Parts<CreatedTopic> {
        self.ask(|answer| Ask::CreateTopics { topics, validate_only, answer }).await?
    }

    /// Creates topics that a client has named and that are not there, with the defaults.
    ///
    /// # Errors
    ///
    /// As [`ControlHandle::create_topics`].
    pub async fn auto_create(&self, names: Vec<String>) -> Parts<CreatedTopic> {
        self.ask(|answer| Ask::AutoCreate { names, answer }).await?
    }

    /// Deletes topics, each decided by itself.
    ///
    /// # Errors
    ///
    /// As [`ControlHandle::create_topics`].
    pub async fn delete_topics(&self, topics: Vec<TopicReference>) -> Parts<Arc<Topic>> {
        self.ask(|answer| Ask::DeleteTopics { topics, answer }).await?
    }

    /// Gives topics more partitions, each decided by itself.
    ///
    /// # Errors
    ///
    /// As [`ControlHandle::create_topics`].
    pub async fn create_partitions(
        &self,
        topics: Vec<MorePartitions>,
        validate_only: bool,
    ) -> Parts<()> {
        self.ask(|answer| Ask::CreatePartitions { topics, validate_only, answer }).await?
    }

    /// Alters the configurations of topics, each decided by itself.
    ///
    /// # Errors
    ///
    /// As [`ControlHandle::create_topics`].
    pub async fn alter_topic_configs(
        &self,
        topics: Vec<TopicAlterations>,
        validate_only: bool,
    ) -> Parts<()> {
        self.ask(|answer| Ask::AlterTopicConfigs { topics, validate_only, answer }).await?
    }

    /// Producer ids that nobody else is ever given.
    ///
    /// # Errors
    ///
    /// [`ControlError`].
    pub async fn producer_ids(&self) -> Result<Range<i64>, ControlError> {
        self.ask(|answer| Ask::ProducerIds { answer }).await?
    }

    /// Closes every shard's logs and the metadata log, and ends the control thread.
    pub async fn stop(&self) {
        // Stopped already is stopped as well.
        let _ = self.ask(|answer| Ask::Stop { answer }).await;
    }
}
