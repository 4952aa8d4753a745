//! What the cluster is, and what it can do.

pub mod api_versions;
pub mod describe_cluster;
pub mod metadata;
