//! IncrementalAlterConfigs: sets, deletes, appends to and subtracts from configurations.

use super::{Refusal, per_part, refusal, resource};
use crate::config::{AlterOp, Alteration, BrokerConfig};
use crate::controller::TopicAlterations;
use crate::dispatch::Context;
use crate::protocol::ErrorCode;
use crate::protocol::codec::Str;
use crate::protocol::messages::{
    AlterConfigsResource, AlterConfigsResourceResponse, AlterableConfig,
    IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse,
};

/// Alters every resource by itself: all that is asked of it, or nothing.
pub async fn handle(
    context: Context,
    request: IncrementalAlterConfigsRequest,
) -> IncrementalAlterConfigsResponse {
    let mut topics = Vec::new();
    let mut results: Vec<Option<Result<(), Refusal>>> = Vec::new();
    for resource in &request.resources {
        results.push(match check(resource) {
            Ok(Some(topic)) => {
                topics.push(topic);
                None
            }
            Ok(None) => Some(Ok(())),
            Err(refused) => Some(Err(refused)),
        });
    }
    if !topics.is_empty() {
        let count = topics.len();
        let answer =
            context.shard.control().alter_topic_configs(topics, request.validate_only).await;
        let waiting = results.iter_mut().filter(|result| result.is_none());
        for (slot, result) in waiting.zip(per_part(answer, count)) {
            *slot = Some(result);
        }
    }
    let responses = request
        .resources
        .into_iter()
        .zip(results)
        .map(|(resource, result)| {
            let (code, error_message) = match result {
                Some(Ok(())) => (ErrorCode::None, None),
                Some(Err(refused)) => refused,
                None => (ErrorCode::UnknownServerError, None),
            };
            AlterConfigsResourceResponse {
                error_code: code.code(),
                error_message,
                resource_type: resource.resource_type,
                resource_name: resource.resource_name,
            }
        })
        .collect();
    IncrementalAlterConfigsResponse { responses, ..IncrementalAlterConfigsResponse::default() }
}

/// What a topic's resource asks for; `None` if a broker's resource asks for nothing.
fn check(resource: &AlterConfigsResource) -> Result<Option<TopicAlterations>, Refusal> {
    match resource.resource_type {
        resource::TOPIC => {
            let alterations =
                resource.configs.iter().map(alteration).collect::<Result<Vec<_>, _>>()?;
            Ok(Some(TopicAlterations { name: resource.resource_name.to_string(), alterations }))
        }
        resource::BROKER => match resource.configs.first() {
            Some(config) => Err(refusal(&BrokerConfig::refuse_alteration(&config.name).into())),
            None => Ok(None),
        },
        other => {
            let message = format!("resource type {other} cannot be altered; 2 (topic) can");
            Err((ErrorCode::InvalidRequest, Some(Str::from(message))))
        }
    }
}

fn alteration(config: &AlterableConfig) -> Result<Alteration, Refusal> {
    let op = match config.config_operation {
        0 => AlterOp::Set,
        1 => AlterOp::Delete,
        2 => AlterOp::Append,
        3 => AlterOp::Subtract,
        other => {
            let message = format!(
                "operation {other} of {:?}: 0 (set), 1 (delete), 2 (append) and 3 (subtract) are",
                config.name.as_str()
            );
            return Err((ErrorCode::InvalidRequest, Some(Str::from(message))));
        }
    };
    let value = config.value.as_deref().map(str::to_owned);
    Ok(Alteration { name: config.name.to_string(), op, value })
}
