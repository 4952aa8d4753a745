//! What the codec's tests share: the list of all messages, and random values of them.

use ringlog_broker::protocol::codec::{Message, Sampler};

/// Calls a macro with the request and response of every API. A new API is one line here, and a
/// test fails until it stands here.
macro_rules! for_every_api {
    ($each:ident) => {
        $each!(ProduceRequest ProduceResponse);
        $each!(FetchRequest FetchResponse);
        $each!(ListOffsetsRequest ListOffsetsResponse);
        $each!(MetadataRequest MetadataResponse);
        $each!(OffsetCommitRequest OffsetCommitResponse);
        $each!(OffsetFetchRequest OffsetFetchResponse);
        $each!(FindCoordinatorRequest FindCoordinatorResponse);
        $each!(JoinGroupRequest JoinGroupResponse);
        $each!(HeartbeatRequest HeartbeatResponse);
        $each!(LeaveGroupRequest LeaveGroupResponse);
        $each!(SyncGroupRequest SyncGroupResponse);
        $each!(DescribeGroupsRequest DescribeGroupsResponse);
        $each!(ListGroupsRequest ListGroupsResponse);
        $each!(ApiVersionsRequest ApiVersionsResponse);
        $each!(CreateTopicsRequest CreateTopicsResponse);
        $each!(DeleteTopicsRequest DeleteTopicsResponse);
        $each!(InitProducerIdRequest InitProducerIdResponse);
        $each!(DescribeConfigsRequest DescribeConfigsResponse);
        $each!(CreatePartitionsRequest CreatePartitionsResponse);
        $each!(DeleteGroupsRequest DeleteGroupsResponse);
        $each!(IncrementalAlterConfigsRequest IncrementalAlterConfigsResponse);
        $each!(DescribeClusterRequest DescribeClusterResponse);
    };
}

pub(crate) use for_every_api;

/// The first seed of a run: `CODEC_SEED=7 cargo test` replays or widens it.
pub(crate) fn seed() -> u64 {
    std::env::var("CODEC_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(1)
}

/// The random value of a seed.
pub(crate) fn sample<M: Message>(version: i16, seed: u64) -> M {
    M::sample(&mut Sampler::new(seed), M::encoding(version))
}
