//! From a frame to the handler of its API, and from the handler's answer to bytes.
//!
//! A request is handled in two parts. What must happen in the order of arrival happens in
//! `accept`, before the connection's next frame is looked at: a produce request's batches get
//! their places in their logs. The rest is the [`Pending`] answer, which the connection finishes
//! when all earlier answers have left: so a connection holds at most one answer in memory, and a
//! client that does not read its answers costs no more than that.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;

use bytes::Bytes;

use crate::handlers::{admin, cluster, data, group};
use crate::net;
use crate::protocol::codec::{DecodeError, Message, Reader, Request};
use crate::protocol::messages::ApiVersionsResponse;
use crate::protocol::{ApiKey, HeaderError, Preamble, RequestHeader, encode_response};
use crate::shard::Shard;

/// What is known of a connection.
#[derive(Debug, Clone)]
pub struct Session {
    /// Who is at the other end.
    pub peer: SocketAddr,
}

/// What a handler knows besides its request.
#[derive(Clone)]
pub struct Context {
    /// The shard that the connection is on.
    pub shard: Rc<Shard>,
    /// The connection.
    pub session: Rc<Session>,
    /// The request's header.
    pub header: RequestHeader,
}

/// What becomes of a frame.
pub type Outcome = net::Outcome<Pending>;

/// What the network hands its frames to: the shard behind it.
pub struct Dispatcher(pub Rc<Shard>);

impl net::Service for Dispatcher {
    type Session = Session;
    type Pending = Pending;

    fn open(&self, peer: SocketAddr) -> Session {
        Session { peer }
    }

    async fn accept(&self, session: &Rc<Session>, frame: Bytes) -> Outcome {
        accept(&self.0, session, frame).await
    }

    async fn finish(pending: Pending) -> Option<Vec<Bytes>> {
        pending.finish().await
    }
}

/// An answer to come: its bytes, or `None` when the connection is to be closed instead.
pub struct Pending(Kind);

enum Kind {
    Ready(Option<Vec<Bytes>>),
    Produce(data::produce::Accepted),
    Later(Pin<Box<dyn Future<Output = Option<Vec<Bytes>>>>>),
}

impl Pending {
    /// An answer that is there already.
    fn ready(parts: Option<Vec<Bytes>>) -> Self {
        Self(Kind::Ready(parts))
    }

    fn later(answer: impl Future<Output = Option<Vec<Bytes>>> + 'static) -> Self {
        Self(Kind::Later(Box::pin(answer)))
    }

    /// Waits for the answer: a whole frame, its length included, in parts to be sent in order.
    async fn finish(self) -> Option<Vec<Bytes>> {
        match self.0 {
            Kind::Ready(parts) => parts,
            Kind::Produce(accepted) => accepted.finish().await,
            Kind::Later(answer) => answer.await,
        }
    }
}

/// Takes one frame, without its length, in its turn.
async fn accept(shard: &Rc<Shard>, session: &Rc<Session>, frame: Bytes) -> Outcome {
    let (header, reader) = match RequestHeader::decode(frame) {
        Ok(decoded) => decoded,
        Err(HeaderError::UnsupportedVersion { preamble, api: ApiKey::ApiVersions, .. }) => {
            return Outcome::Answer(Pending::ready(unsupported_api_versions(preamble)));
        }
        Err(error) => return Outcome::Close(error.to_string()),
    };
    let context = Context { shard: Rc::clone(shard), session: Rc::clone(session), header };
    let outcome = match context.header.api {
        ApiKey::Produce => data::produce::accept(context, reader).await,
        ApiKey::Fetch => later(context, reader, data::fetch::handle),
        ApiKey::ListOffsets => later(context, reader, data::list_offsets::handle),
        ApiKey::InitProducerId => later(context, reader, data::init_producer_id::handle),
        ApiKey::ApiVersions => later(context, reader, cluster::api_versions::handle),
        ApiKey::Metadata => later(context, reader, cluster::metadata::handle),
        ApiKey::DescribeCluster => later(context, reader, cluster::describe_cluster::handle),
        ApiKey::FindCoordinator => later(context, reader, group::find_coordinator::handle),
        ApiKey::JoinGroup => later(context, reader, group::join_group::handle),
        ApiKey::SyncGroup => later(context, reader, group::sync_group::handle),
        ApiKey::Heartbeat => later(context, reader, group::heartbeat::handle),
        ApiKey::LeaveGroup => later(context, reader, group::leave_group::handle),
        ApiKey::OffsetCommit => later(context, reader, group::offset_commit::handle),
        ApiKey::OffsetFetch => later(context, reader, group::offset_fetch::handle),
        ApiKey::DescribeGroups => later(context, reader, group::describe_groups::handle),
        ApiKey::ListGroups => later(context, reader, group::list_groups::handle),
        ApiKey::DeleteGroups => later(context, reader, group::delete_groups::handle),
        ApiKey::CreateTopics => later(context, reader, admin::create_topics::handle),
        ApiKey::DeleteTopics => later(context, reader, admin::delete_topics::handle),
        ApiKey::CreatePartitions => later(context, reader, admin::create_partitions::handle),
        ApiKey::DescribeConfigs => later(context, reader, admin::describe_configs::handle),
        ApiKey::IncrementalAlterConfigs => {
            later(context, reader, admin::incremental_alter_configs::handle)
        }
    };
    outcome.unwrap_or_else(|error| Outcome::Close(error.to_string()))
}

/// Decodes a request now and leaves its handling to the answer's turn.
fn later<R, F>(
    context: Context,
    mut reader: Reader,
    handle: impl FnOnce(Context, R) -> F + 'static,
) -> Result<Outcome, DecodeError>
where
    R: Request + 'static,
    F: Future<Output = R::Response> + 'static,
{
    // Bytes after the body are passed over, as Kafka passes over them: librdkafka 2.16 sends three
    // after a Metadata request of version 13.
    let request = R::decode_body(&mut reader, context.header.version)?;
    let (api, version) = (context.header.api, context.header.version);
    let correlation_id = context.header.correlation_id;
    let answer = handle(context, request);
    Ok(Outcome::Answer(Pending::later(async move {
        let response = answer.await;
        sealed(api, version, correlation_id, &response)
    })))
}

/// Wraps an answer that a handler completes by itself.
pub fn pending_produce(accepted: data::produce::Accepted) -> Outcome {
    Outcome::Answer(Pending(Kind::Produce(accepted)))
}

/// A response as bytes; `None`, and a line in the log, if it cannot be said in this version.
pub fn sealed<M: Message>(
    api: ApiKey,
    version: i16,
    correlation_id: i32,
    response: &M,
) -> Option<Vec<Bytes>> {
    match encode_response(api, version, correlation_id, response) {
        Ok(gather) => Some(gather.into_parts()),
        Err(error) => {
            tracing::error!(%api, version, %error, "an answer cannot be encoded");
            None
        }
    }
}

/// A version of ApiVersions that is not known here is answered in the oldest, with the versions
/// that are.
fn unsupported_api_versions(preamble: Preamble) -> Option<Vec<Bytes>> {
    let response = ApiVersionsResponse::unsupported_version();
    sealed(ApiKey::ApiVersions, 0, preamble.correlation_id, &response)
}
