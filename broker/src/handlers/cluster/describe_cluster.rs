//! DescribeCluster: the brokers and the controller.

use crate::dispatch::Context;
use crate::protocol::ErrorCode;
use crate::protocol::codec::Str;
use crate::protocol::messages::{
    DescribeClusterBroker, DescribeClusterRequest, DescribeClusterResponse,
};

/// Asks for the brokers that serve clients.
const BROKERS: i8 = 1;

/// Answers from the image.
pub async fn handle(context: Context, request: DescribeClusterRequest) -> DescribeClusterResponse {
    if request.endpoint_type != BROKERS {
        return DescribeClusterResponse {
            error_code: ErrorCode::MismatchedEndpointType.code(),
            error_message: Some(Str::from_static("this is a broker's listener")),
            endpoint_type: request.endpoint_type,
            ..DescribeClusterResponse::default()
        };
    }
    let image = context.shard.image();
    let brokers = image
        .brokers()
        .iter()
        .map(|broker| DescribeClusterBroker {
            broker_id: broker.id.0,
            host: Str::from(&*broker.host),
            port: i32::from(broker.port),
            ..DescribeClusterBroker::default()
        })
        .collect();
    DescribeClusterResponse {
        cluster_id: image.cluster_id().map_or(Str::EMPTY, |id| Str::from(id.to_string())),
        controller_id: image.controller().map_or(-1, |id| id.0),
        brokers,
        ..DescribeClusterResponse::default()
    }
}
