//! DeleteTopics: delete topics.

use uuid::Uuid;

use crate::protocol::codec::{Str, tables};

tables! {
    /// Asks to delete topics.
    request DeleteTopicsRequest (DeleteTopics => DeleteTopicsResponse) {
        /// The topics, by name or id.
        topics: Vec<DeleteTopicState>, 6..;
        /// The topics' names.
        topic_names: Vec<Str>, 0..=5, ignorable;
        /// How long to wait for the deletion, in milliseconds.
        timeout_ms: i32, 0..;
    }

    /// A topic to delete.
    struct DeleteTopicState {
        /// The topic's name, or null.
        name: Option<Str>, 6..;
        /// The topic's id, or zero.
        topic_id: Uuid, 6..;
    }

    /// Which topics were deleted.
    response DeleteTopicsResponse (DeleteTopics) {
        /// For how long the client was throttled, in milliseconds.
        throttle_time_ms: i32, 1.., ignorable;
        /// The outcome by topic.
        responses: Vec<DeletableTopicResult>, 0..;
    }

    /// The outcome for one topic.
    struct DeletableTopicResult {
        /// The topic's name, or null if an id asked for is not known.
        name: Option<Str>, 0.., nullable = 6..;
        /// The topic's id.
        topic_id: Uuid, 6.., ignorable;
        /// The error code, or 0.
        error_code: i16, 0..;
        /// What went wrong, or null.
        error_message: Option<Str>, 5.., ignorable;
    }
}
