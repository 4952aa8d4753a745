//! One member of a classic group.

use bytes::Bytes;

use super::api::{JoinRequest, Protocol, ReplyToken};
use super::id::{InstanceId, MemberId, ProtocolName};

/// A member, with the requests of it that wait for an answer.
#[derive(Debug, Clone)]
pub(super) struct Member {
    pub(super) id: MemberId,
    pub(super) instance_id: Option<InstanceId>,
    pub(super) client_id: String,
    pub(super) client_host: String,
    pub(super) session_timeout_ms: i32,
    pub(super) rebalance_timeout_ms: i32,
    pub(super) protocols: Vec<Protocol>,
    pub(super) assignment: Bytes,
    /// The JoinGroup that waits for the end of the join phase.
    pub(super) join: Option<ReplyToken>,
    /// The SyncGroup that waits for the leader's assignment.
    pub(super) sync: Option<ReplyToken>,
    /// It has never finished a join phase: then it may be given up even while it waits.
    pub(super) is_new: bool,
}

impl Member {
    /// A member as its first JoinGroup describes it.
    pub(super) fn new(id: MemberId, request: &JoinRequest) -> Self {
        Self {
            id,
            instance_id: request.instance_id.clone(),
            client_id: request.client_id.clone(),
            client_host: request.client_host.clone(),
            session_timeout_ms: request.session_timeout_ms,
            rebalance_timeout_ms: rebalance_timeout_ms(request),
            protocols: owned(&request.protocols),
            assignment: Bytes::new(),
            join: None,
            sync: None,
            is_new: true,
        }
    }

    /// What the member said under a protocol; empty if it does not offer it.
    pub(super) fn metadata(&self, protocol: Option<&ProtocolName>) -> Bytes {
        self.protocols
            .iter()
            .find(|offered| Some(&offered.name) == protocol)
            .map(|offered| offered.metadata.clone())
            .unwrap_or_default()
    }

    /// Whether the member offers just these protocols with just this metadata.
    pub(super) fn offers_same(&self, protocols: &[Protocol]) -> bool {
        self.protocols == protocols
    }

    /// Bytes of metadata that the member keeps.
    pub(super) fn metadata_bytes(&self) -> usize {
        metadata_bytes(&self.protocols)
    }
}

/// How long a rebalance waits for whoever sent this, in milliseconds.
pub(super) fn rebalance_timeout_ms(request: &JoinRequest) -> i32 {
    if request.rebalance_timeout_ms < 0 {
        request.session_timeout_ms
    } else {
        request.rebalance_timeout_ms
    }
}

/// Bytes of metadata in these protocols.
pub(super) fn metadata_bytes(protocols: &[Protocol]) -> usize {
    protocols.iter().map(|protocol| protocol.metadata.len()).sum()
}

/// The same protocols in memory of their own: a member lives far longer than the request's frame,
/// and must not keep the whole of it.
pub(super) fn owned(protocols: &[Protocol]) -> Vec<Protocol> {
    protocols
        .iter()
        .map(|protocol| Protocol {
            name: protocol.name.clone(),
            metadata: Bytes::copy_from_slice(&protocol.metadata),
        })
        .collect()
}
