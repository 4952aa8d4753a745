//! Requests about topics, their configuration, and groups.

use ringlog_broker::protocol::ApiKey;
use ringlog_broker::protocol::codec::Str;
use ringlog_broker::protocol::messages::{
    AlterConfigsResource, AlterableConfig, CreatableTopic, CreatableTopicConfig,
    CreatePartitionsRequest, CreatePartitionsTopic, CreateTopicsRequest, DeleteGroupsRequest,
    DeleteTopicState, DeleteTopicsRequest, DescribeConfigsRequest, DescribeConfigsResource,
    DescribeConfigsResourceResult, DescribeGroupsRequest, DescribedGroup,
    IncrementalAlterConfigsRequest, ListGroupsRequest, ListedGroup, OffsetFetchRequest,
};

use super::{Client, ClientError, check};

const TIMEOUT_MS: i32 = 30_000;
/// Kafka's number for "topic" among the kinds of resources with a configuration.
const RESOURCE_TOPIC: i8 = 2;
/// DeleteTopics up to here takes names.
const DELETE_BY_NAME_MAX: i16 = 5;
/// OffsetFetch up to here asks for one group.
const OFFSET_FETCH_SINGLE_MAX: i16 = 7;

/// One change of a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConfigChange {
    /// Set a key to a value.
    Set(String, String),
    /// Back to the default.
    Delete(String),
}

/// The committed position of a group in one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommittedOffset {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// The offset of the next record to read.
    pub offset: i64,
}

impl Client {
    /// Creates a topic. -1 partitions or replicas are the broker's default.
    ///
    /// # Errors
    ///
    /// What the broker refuses, in its words.
    pub fn create_topic(
        &mut self,
        name: &str,
        partitions: i32,
        replication_factor: i16,
        configs: &[(String, String)],
    ) -> Result<(), ClientError> {
        let config = |(name, value): &(String, String)| CreatableTopicConfig {
            name: Str::from(name.as_str()),
            value: Some(Str::from(value.as_str())),
        };
        let request = CreateTopicsRequest {
            topics: vec![CreatableTopic {
                name: Str::from(name),
                num_partitions: partitions,
                replication_factor,
                configs: configs.iter().map(config).collect(),
                ..CreatableTopic::default()
            }],
            timeout_ms: TIMEOUT_MS,
            ..CreateTopicsRequest::default()
        };
        let what = || format!("creating topic {name}");
        self.at_controller(|client, address| {
            let response = client.ask_at(address, i16::MAX, &request)?;
            let result =
                response.topics.first().ok_or_else(|| missing(ApiKey::CreateTopics, name))?;
            check(result.error_code, result.error_message.as_deref(), what)
        })
    }

    /// Deletes a topic.
    ///
    /// # Errors
    ///
    /// What the broker refuses, in its words.
    pub fn delete_topic(&mut self, name: &str) -> Result<(), ClientError> {
        let what = || format!("deleting topic {name}");
        self.at_controller(|client, address| {
            let version = client.connection(address)?.version::<DeleteTopicsRequest>()?;
            let mut request =
                DeleteTopicsRequest { timeout_ms: TIMEOUT_MS, ..DeleteTopicsRequest::default() };
            if version <= DELETE_BY_NAME_MAX {
                request.topic_names = vec![Str::from(name)];
            } else {
                let name = Some(Str::from(name));
                request.topics = vec![DeleteTopicState { name, ..DeleteTopicState::default() }];
            }
            let response = client.ask_at(address, version, &request)?;
            let result =
                response.responses.first().ok_or_else(|| missing(ApiKey::DeleteTopics, name))?;
            check(result.error_code, result.error_message.as_deref(), what)
        })
    }

    /// Raises a topic's number of partitions.
    ///
    /// # Errors
    ///
    /// What the broker refuses, in its words.
    pub fn set_partitions(&mut self, name: &str, count: i32) -> Result<(), ClientError> {
        let request = CreatePartitionsRequest {
            topics: vec![CreatePartitionsTopic { name: Str::from(name), count, assignments: None }],
            timeout_ms: TIMEOUT_MS,
            validate_only: false,
        };
        let what = || format!("setting the partitions of topic {name} to {count}");
        self.at_controller(|client, address| {
            let response = client.ask_at(address, i16::MAX, &request)?;
            let result =
                response.results.first().ok_or_else(|| missing(ApiKey::CreatePartitions, name))?;
            check(result.error_code, result.error_message.as_deref(), what)
        })
    }

    /// Changes a topic's configuration: all changes or none.
    ///
    /// # Errors
    ///
    /// What the broker refuses, in its words.
    pub fn alter_topic_configs(
        &mut self,
        name: &str,
        changes: &[ConfigChange],
    ) -> Result<(), ClientError> {
        let config = |change: &ConfigChange| match change {
            ConfigChange::Set(key, value) => AlterableConfig {
                name: Str::from(key.as_str()),
                config_operation: 0,
                value: Some(Str::from(value.as_str())),
            },
            ConfigChange::Delete(key) => {
                AlterableConfig { name: Str::from(key.as_str()), config_operation: 1, value: None }
            }
        };
        let request = IncrementalAlterConfigsRequest {
            resources: vec![AlterConfigsResource {
                resource_type: RESOURCE_TOPIC,
                resource_name: Str::from(name),
                configs: changes.iter().map(config).collect(),
            }],
            validate_only: false,
        };
        let what = || format!("changing the configuration of topic {name}");
        self.at_controller(|client, address| {
            let response = client.ask_at(address, i16::MAX, &request)?;
            let result = response
                .responses
                .first()
                .ok_or_else(|| missing(ApiKey::IncrementalAlterConfigs, name))?;
            check(result.error_code, result.error_message.as_deref(), what)
        })
    }

    /// A topic's configuration, every key with its value and where it comes from.
    ///
    /// # Errors
    ///
    /// What the broker refuses, in its words.
    pub fn topic_configs(
        &mut self,
        name: &str,
    ) -> Result<Vec<DescribeConfigsResourceResult>, ClientError> {
        let request = DescribeConfigsRequest {
            resources: vec![DescribeConfigsResource {
                resource_type: RESOURCE_TOPIC,
                resource_name: Str::from(name),
                configuration_keys: None,
            }],
            ..DescribeConfigsRequest::default()
        };
        self.retry(|client| {
            let mut response = client.ask(&request)?;
            let result =
                response.results.pop().ok_or_else(|| missing(ApiKey::DescribeConfigs, name))?;
            check(result.error_code, result.error_message.as_deref(), || {
                format!("configuration of topic {name}")
            })?;
            Ok(result.configs)
        })
    }

    /// All groups of the cluster.
    ///
    /// # Errors
    ///
    /// A [`ClientError`] of any broker: an incomplete list would mislead.
    pub fn list_groups(&mut self) -> Result<Vec<ListedGroup>, ClientError> {
        self.retry(|client| {
            let brokers = client.metadata(Some(&[]))?.brokers;
            let mut groups = Vec::new();
            for broker in brokers {
                let address = format!("{}:{}", broker.host, broker.port);
                let response = client.ask_at(&address, i16::MAX, &ListGroupsRequest::default())?;
                check(response.error_code, None, || format!("groups of broker {address}"))?;
                groups.extend(response.groups);
            }
            groups.sort_by(|a, b| a.group_id.cmp(&b.group_id));
            Ok(groups)
        })
    }

    /// A group's state and members.
    ///
    /// # Errors
    ///
    /// What the coordinator refuses. A group that does not exist is `Dead`, or an error, as the
    /// broker's version has it.
    pub fn describe_group(&mut self, group: &str) -> Result<DescribedGroup, ClientError> {
        let request = DescribeGroupsRequest {
            groups: vec![Str::from(group)],
            ..DescribeGroupsRequest::default()
        };
        self.at_coordinator(group, |client, address| {
            let mut response = client.ask_at(address, i16::MAX, &request)?;
            let described =
                response.groups.pop().ok_or_else(|| missing(ApiKey::DescribeGroups, group))?;
            check(described.error_code, described.error_message.as_deref(), || {
                format!("group {group}")
            })?;
            Ok(described)
        })
    }

    /// Everything that a group has committed.
    ///
    /// # Errors
    ///
    /// What the coordinator refuses.
    pub fn committed_offsets(&mut self, group: &str) -> Result<Vec<CommittedOffset>, ClientError> {
        let request = OffsetFetchRequest {
            group_id: Str::from(group),
            topics: None,
            ..OffsetFetchRequest::default()
        };
        self.at_coordinator(group, |client, address| {
            let response = client.ask_at(address, OFFSET_FETCH_SINGLE_MAX, &request)?;
            check(response.error_code, None, || format!("offsets of group {group}"))?;
            let mut offsets = Vec::new();
            for topic in &response.topics {
                for partition in &topic.partitions {
                    check(partition.error_code, None, || {
                        let index = partition.partition_index;
                        format!("offset of group {group} in partition {index} of {}", topic.name)
                    })?;
                    offsets.push(CommittedOffset {
                        topic: topic.name.as_str().to_owned(),
                        partition: partition.partition_index,
                        offset: partition.committed_offset,
                    });
                }
            }
            offsets.retain(|committed| committed.offset >= 0);
            offsets.sort_by(|a, b| (&a.topic, a.partition).cmp(&(&b.topic, b.partition)));
            Ok(offsets)
        })
    }

    /// Deletes a group without members, with all it has committed.
    ///
    /// # Errors
    ///
    /// What the coordinator refuses.
    pub fn delete_group(&mut self, group: &str) -> Result<(), ClientError> {
        let request = DeleteGroupsRequest { groups_names: vec![Str::from(group)] };
        self.at_coordinator(group, |client, address| {
            let response = client.ask_at(address, i16::MAX, &request)?;
            let result =
                response.results.first().ok_or_else(|| missing(ApiKey::DeleteGroups, group))?;
            check(result.error_code, None, || format!("deleting group {group}"))
        })
    }

    /// Tries a request at the cluster's controller, or at any broker where none is named (a KRaft
    /// broker forwards).
    fn at_controller<T>(
        &mut self,
        mut attempt: impl FnMut(&mut Self, &str) -> Result<T, ClientError>,
    ) -> Result<T, ClientError> {
        self.retry(|client| {
            let controller = client.metadata(Some(&[]))?.controller_id;
            let address = client
                .broker(super::BrokerId(controller))
                .unwrap_or_else(|_| client.bootstrap.clone());
            attempt(client, &address)
        })
    }

    /// Tries a request at a group's coordinator.
    pub(super) fn at_coordinator<T>(
        &mut self,
        group: &str,
        mut attempt: impl FnMut(&mut Self, &str) -> Result<T, ClientError>,
    ) -> Result<T, ClientError> {
        self.retry(|client| {
            let address = client.coordinator(group)?;
            attempt(client, &address)
        })
    }
}

fn missing(api: ApiKey, what: &str) -> ClientError {
    ClientError::Missing { api, what: what.to_owned() }
}
