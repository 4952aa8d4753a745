//! The storage backend that the broker ships with.

/// io_uring, on a ring of the shard's own.
pub type Disk = ringlog_engine::io::uring::UringIo;
