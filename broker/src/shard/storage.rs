//! The storage backend that the broker ships with.

/// io_uring: the one ring of a shard, which its sockets and its tasks are on as well.
pub type Disk = ringlog_engine::io::uring::UringIo;
