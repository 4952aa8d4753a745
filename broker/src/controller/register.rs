//! What a broker needs of the controller for itself: its place in the cluster, and producer ids.

use std::ops::Range;

use super::error::AdminError;
use super::plan::{Controller, Plan};
use crate::config::Endpoint;
use crate::limits::PRODUCER_ID_BLOCK;
use crate::metadata::{
    BrokerId, BrokerRegistrationRecord, ClusterId, ClusterRecord, MetadataImage, MetadataRecord,
    ProducerIdsRecord,
};

impl Controller {
    /// Registers this broker with the address that clients are told. The first broker of a new
    /// cluster also gives it the id that was drawn for it; later the id stays what it is.
    ///
    /// Answers with the cluster's id. Nothing changes where everything is known already.
    ///
    /// # Errors
    ///
    /// [`AdminError::OtherBroker`] for a data folder of a broker with another number.
    pub fn register_broker(
        &self,
        image: &MetadataImage,
        advertised: &Endpoint,
        drawn_id: ClusterId,
    ) -> Result<Plan<ClusterId>, AdminError> {
        let given = self.config.node_id;
        // A broker runs alone: the folder knows one broker, and its partitions are that one's.
        if let Some(known) = image.brokers().iter().map(|broker| broker.id).find(|&id| id != given)
        {
            return Err(AdminError::OtherBroker { known, given });
        }
        let mut records = Vec::new();
        let cluster_id = image.cluster_id().unwrap_or_else(|| {
            records.push(MetadataRecord::Cluster(ClusterRecord { cluster_id: drawn_id }));
            drawn_id
        });
        let registered = image
            .broker(given)
            .is_some_and(|known| *known.host == *advertised.host && known.port == advertised.port);
        if !registered {
            records.push(MetadataRecord::BrokerRegistration(BrokerRegistrationRecord {
                broker_id: given,
                host: advertised.host.as_str().into(),
                port: advertised.port,
            }));
        }
        Ok(Plan { records, answer: cluster_id })
    }

    /// Gives a broker a block of producer ids that nobody had and nobody will have.
    ///
    /// # Errors
    ///
    /// [`AdminError::NoProducerIds`] when no whole block is left.
    pub fn allocate_producer_ids(
        &self,
        image: &MetadataImage,
        broker_id: BrokerId,
    ) -> Result<Plan<Range<i64>>, AdminError> {
        let next = image.next_producer_id();
        let end = next.checked_add(PRODUCER_ID_BLOCK).ok_or(AdminError::NoProducerIds { next })?;
        let record = ProducerIdsRecord { broker_id, next_producer_id: end };
        Ok(Plan { records: vec![MetadataRecord::ProducerIds(record)], answer: next..end })
    }
}
