//! OffsetFetch: how far groups have come.

use super::{ask, unexpected};
use crate::dispatch::Context;
use crate::group::{self, FetchedTopic, GroupId, Request, Response, TopicName};
use crate::handlers::codes;
use crate::protocol::ErrorCode;
use crate::protocol::codec::Str;
use crate::protocol::messages::{
    OffsetFetchRequest, OffsetFetchResponse, OffsetFetchResponseGroup,
    OffsetFetchResponsePartition, OffsetFetchResponsePartitions, OffsetFetchResponseTopic,
    OffsetFetchResponseTopics,
};

/// The first version that asks for several groups.
const SEVERAL_FROM: i16 = 8;
/// The first version with an error code for the whole answer.
const WHOLE_ERROR_FROM: i16 = 2;

/// The partitions asked for; `None` for all.
type Asked = Option<Vec<(Str, Vec<i32>)>>;

/// Answers each group by itself.
pub async fn handle(context: Context, request: OffsetFetchRequest) -> OffsetFetchResponse {
    if context.header.version >= SEVERAL_FROM {
        let mut groups = Vec::with_capacity(request.groups.len());
        for group in request.groups {
            let asked: Asked = group.topics.map(|topics| {
                topics.into_iter().map(|topic| (topic.name, topic.partition_indexes)).collect()
            });
            let fetched = fetch(&context, &group.group_id, &asked).await;
            groups.push(OffsetFetchResponseGroup {
                group_id: group.group_id,
                error_code: fetched.as_ref().err().copied().unwrap_or(ErrorCode::None).code(),
                topics: fetched.map_or_else(|_| Vec::new(), |topics| new_topics(&topics)),
            });
        }
        return OffsetFetchResponse { groups, ..OffsetFetchResponse::default() };
    }
    let asked: Asked = request.topics.map(|topics| {
        topics.into_iter().map(|topic| (topic.name, topic.partition_indexes)).collect()
    });
    match fetch(&context, &request.group_id, &asked).await {
        Ok(topics) => OffsetFetchResponse {
            topics: old_topics(&topics, ErrorCode::None),
            ..OffsetFetchResponse::default()
        },
        Err(code) if context.header.version >= WHOLE_ERROR_FROM => {
            OffsetFetchResponse { error_code: code.code(), ..OffsetFetchResponse::default() }
        }
        Err(code) => OffsetFetchResponse {
            topics: old_topics(&nothing(&asked), code),
            ..OffsetFetchResponse::default()
        },
    }
}

async fn fetch(
    context: &Context,
    group_id: &Str,
    asked: &Asked,
) -> Result<Vec<FetchedTopic>, ErrorCode> {
    let topics = asked.as_ref().map(|topics| {
        let name = |name: &Str| TopicName::from(name.as_str());
        topics.iter().map(|(topic, indexes)| (name(topic), indexes.clone())).collect()
    });
    let request = group::FetchRequest { group_id: GroupId::from(group_id.as_str()), topics };
    match ask(context, group_id, Request::Fetch(request)).await? {
        Response::Fetch(Ok(topics)) => Ok(topics),
        Response::Fetch(Err(error)) => Err(codes::group(&error)),
        other => Err(unexpected(&other)),
    }
}

/// What was asked for, with no offset anywhere.
fn nothing(asked: &Asked) -> Vec<FetchedTopic> {
    let topics = asked.iter().flatten().map(|(topic, indexes)| FetchedTopic {
        topic: TopicName::from(topic.as_str()),
        partitions: indexes.iter().map(|index| (*index, None)).collect(),
    });
    topics.collect()
}

/// An offset, its epoch and its metadata as the wire says them; -1 and nothing if there is none.
fn said(committed: Option<&group::CommittedOffset>) -> (i64, i32, Option<Str>) {
    match committed {
        Some(committed) => {
            (committed.offset, committed.leader_epoch, Some(Str::from(committed.metadata.as_str())))
        }
        None => (-1, -1, Some(Str::EMPTY)),
    }
}

fn old_topics(topics: &[FetchedTopic], code: ErrorCode) -> Vec<OffsetFetchResponseTopic> {
    let partition = |(index, committed): &(i32, Option<group::CommittedOffset>)| {
        let (committed_offset, committed_leader_epoch, metadata) = said(committed.as_ref());
        OffsetFetchResponsePartition {
            partition_index: *index,
            committed_offset,
            committed_leader_epoch,
            metadata,
            error_code: code.code(),
        }
    };
    let topic = |topic: &FetchedTopic| OffsetFetchResponseTopic {
        name: Str::from(topic.topic.as_str()),
        partitions: topic.partitions.iter().map(partition).collect(),
    };
    topics.iter().map(topic).collect()
}

fn new_topics(topics: &[FetchedTopic]) -> Vec<OffsetFetchResponseTopics> {
    let partition = |(index, committed): &(i32, Option<group::CommittedOffset>)| {
        let (committed_offset, committed_leader_epoch, metadata) = said(committed.as_ref());
        OffsetFetchResponsePartitions {
            partition_index: *index,
            committed_offset,
            committed_leader_epoch,
            metadata,
            error_code: ErrorCode::None.code(),
        }
    };
    let topic = |topic: &FetchedTopic| OffsetFetchResponseTopics {
        name: Str::from(topic.topic.as_str()),
        partitions: topic.partitions.iter().map(partition).collect(),
    };
    topics.iter().map(topic).collect()
}
