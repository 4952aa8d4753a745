//! DescribeConfigs: every known key of a topic or of the broker, with where its value comes from.

use std::collections::BTreeSet;

use super::resource;
use crate::config::{DescribedConfig, describe_topic};
use crate::dispatch::Context;
use crate::protocol::ErrorCode;
use crate::protocol::codec::Str;
use crate::protocol::messages::{
    DescribeConfigsRequest, DescribeConfigsResource, DescribeConfigsResourceResult,
    DescribeConfigsResponse, DescribeConfigsResult, DescribeConfigsSynonym,
};

/// Answers every resource by itself.
pub async fn handle(context: Context, request: DescribeConfigsRequest) -> DescribeConfigsResponse {
    let (synonyms, documentation) = (request.include_synonyms, request.include_documentation);
    let mut seen = BTreeSet::new();
    let results = request
        .resources
        .into_iter()
        // An answer is no larger than what there is to say.
        .filter(|asked| seen.insert((asked.resource_type, asked.resource_name.to_string())))
        .map(|resource| {
            let described = describe(&context, &resource);
            let wanted = |config: &DescribedConfig| {
                let keys = resource.configuration_keys.as_ref();
                keys.is_none_or(|keys| keys.iter().any(|key| *key == config.name))
            };
            let (error, configs) = match described {
                Ok(configs) => (None, configs),
                Err(refused) => (Some(refused), Vec::new()),
            };
            DescribeConfigsResult {
                error_code: error.as_ref().map_or(ErrorCode::None, |(code, _)| *code).code(),
                error_message: error.map(|(_, message)| Str::from(message)),
                resource_type: resource.resource_type,
                configs: configs
                    .into_iter()
                    .filter(wanted)
                    .map(|config| said(config, synonyms, documentation))
                    .collect(),
                resource_name: resource.resource_name,
            }
        })
        .collect();
    DescribeConfigsResponse { results, ..DescribeConfigsResponse::default() }
}

fn describe(
    context: &Context,
    asked: &DescribeConfigsResource,
) -> Result<Vec<DescribedConfig>, (ErrorCode, String)> {
    let config = context.shard.config();
    let name = &asked.resource_name;
    match asked.resource_type {
        resource::TOPIC => match context.shard.image().topic(name) {
            Some(topic) => Ok(describe_topic(&config.topic_defaults, &topic.config)),
            None => Err((
                ErrorCode::UnknownTopicOrPartition,
                format!("there is no topic {:?}", name.as_str()),
            )),
        },
        // The empty name asks for what holds for all brokers.
        resource::BROKER if name.is_empty() || **name == config.node_id.to_string() => {
            Ok(config.describe())
        }
        resource::BROKER => Err((
            ErrorCode::InvalidRequest,
            format!("this is broker {}, not {:?}", config.node_id, name.as_str()),
        )),
        other => Err((
            ErrorCode::InvalidRequest,
            format!(
                "resource type {other} has no configuration here; 2 (topic) and 4 (broker) have"
            ),
        )),
    }
}

fn said(
    config: DescribedConfig,
    synonyms: bool,
    documentation: bool,
) -> DescribeConfigsResourceResult {
    let synonyms = match synonyms {
        true => config
            .synonyms
            .iter()
            .map(|synonym| DescribeConfigsSynonym {
                name: Str::from_static(synonym.name),
                value: synonym.value.clone().map(Str::from),
                source: synonym.source.code(),
            })
            .collect(),
        false => Vec::new(),
    };
    DescribeConfigsResourceResult {
        name: Str::from_static(config.name),
        value: config.value.filter(|_| !config.sensitive).map(Str::from),
        read_only: config.read_only,
        config_source: config.source.code(),
        is_sensitive: config.sensitive,
        synonyms,
        config_type: config.config_type.code(),
        documentation: documentation.then(|| Str::from(config.documentation)),
    }
}
