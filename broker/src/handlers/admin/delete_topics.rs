//! DeleteTopics.

use super::per_part;
use crate::controller::TopicReference;
use crate::dispatch::Context;
use crate::metadata::TopicId;
use crate::protocol::codec::Str;
use crate::protocol::messages::{
    DeletableTopicResult, DeleteTopicState, DeleteTopicsRequest, DeleteTopicsResponse,
};

/// Deletes topics, each by itself: no record of theirs can be read when this is answered.
pub async fn handle(context: Context, request: DeleteTopicsRequest) -> DeleteTopicsResponse {
    let by_name = |name: &Str| DeleteTopicState { name: Some(name.clone()), ..Default::default() };
    let mut asked = request.topics;
    asked.extend(request.topic_names.iter().map(by_name));
    let references = asked.iter().map(reference).collect();
    let answer = context.shard.control().delete_topics(references).await;
    let count = asked.len();
    let responses = asked
        .into_iter()
        .zip(per_part(answer, count))
        .map(|(asked, result)| match result {
            Ok(topic) => DeletableTopicResult {
                name: Some(Str::from(&*topic.name)),
                topic_id: topic.id.uuid(),
                ..DeletableTopicResult::default()
            },
            Err((code, message)) => DeletableTopicResult {
                name: asked.name,
                topic_id: asked.topic_id,
                error_code: code.code(),
                error_message: message,
            },
        })
        .collect();
    DeleteTopicsResponse { responses, ..DeleteTopicsResponse::default() }
}

fn reference(asked: &DeleteTopicState) -> TopicReference {
    match &asked.name {
        Some(name) => TopicReference::Name(name.to_string()),
        None => TopicReference::Id(TopicId::from_bytes(asked.topic_id.into_bytes())),
    }
}
