//! Every bound of the broker that is not a configuration key: its unit, its reason, and what
//! happens at it.

/// Calls that one shard may have open at one other. The next one waits, and with it the
/// connection that wants to make it. Enough to keep both cores busy, few enough that their queues
/// stay in the cache.
pub const CALLS_IN_FLIGHT: usize = 1024;

/// Bytes of the buffer in which a connection waits for its next request. It grows with the
/// requests that come, so that an idle connection costs little.
pub const RECEIVE_BUFFER_MIN: usize = 1024;

/// Bytes that a connection's receive buffer grows to while requests are smaller than this; larger
/// requests get a buffer of their size, as their bytes arrive.
pub const RECEIVE_BUFFER_MAX: usize = 256 * 1024;

/// Bytes of memory of larger requests that a shard keeps for the next ones. What is above it goes
/// back to the system.
pub const LARGE_BUFFERS_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Buffers handed to the kernel in one vectored send (Linux takes no more).
pub const SEND_PARTS_MAX: usize = 1024;

/// Bytes of answers gathered into one vectored send before it leaves.
pub const SEND_BYTES_MAX: usize = 1024 * 1024;

/// Bytes of decompressed records walked before a shard looks after its other connections.
pub const WALK_BYTES_PER_TURN: usize = 128 * 1024;

/// Bytes that one compressed batch may hold decompressed. A batch above it is refused, so that a
/// small request cannot occupy a core for long.
pub const DECOMPRESSED_BYTES_MAX: usize = 1024 * 1024 * 1024;

/// Bytes that one compressed batch may hold decompressed for compaction to look into it: they are
/// in memory at once. A larger batch keeps all its records, and a warning says so.
pub const COMPACTED_BATCH_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Requests to the control thread that may wait; the next one waits at its shard.
pub const CONTROL_QUEUE: usize = 1024;

/// Connections waiting in the kernel to be accepted, a shard.
pub const LISTEN_BACKLOG: i32 = 4096;

/// Entries of the submission queue of a shard's ring. When they are used up, the shard submits
/// early. Its completion queue has eight times as many, and the kernel keeps what comes beyond.
pub const SHARD_RING_ENTRIES: u32 = 1024;

/// Files that a shard's journal is divided into, if their size allows: enough that the oldest is
/// emptied while the others are written.
pub const JOURNAL_FILES: u64 = 8;

/// Bytes of the smallest file of a journal.
pub const JOURNAL_FILE_BYTES_MIN: u64 = 1024 * 1024;

/// Bytes of the largest file of a journal: each is written with zeros when it is made, the first
/// ones while the broker starts. A larger journal has more files.
pub const JOURNAL_FILE_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// Bytes that a coordinator reads at a time while it loads its groups.
pub const REPLAY_BYTES: usize = 1024 * 1024;

/// Logs that a shard opens at the same time when it starts.
pub const OPENS_IN_FLIGHT: usize = 32;

/// Partitions that one request may create. A request above it is refused whole for the topic that
/// exceeds it: the records of one request are one batch of the metadata log, and all its logs are
/// opened at once.
pub const PARTITIONS_PER_REQUEST_MAX: usize = 10_000;

/// Partitions that all topics may have together. The creation that would exceed it is refused.
/// Each costs memory and a folder whether it is used or not.
pub const PARTITIONS_MAX: usize = 100_000;

/// Producer ids that a broker is given at once. Fewer would write more metadata; those that are
/// left when a broker stops are lost, which 2^63 of them allow.
pub const PRODUCER_ID_BLOCK: i64 = 1000;

/// Bytes of one batch of the metadata log: the records of one request. It fits the smallest
/// `shard.buffer.bytes` and holds the creation of [`PARTITIONS_PER_REQUEST_MAX`] partitions with
/// ten replicas each. A request that comes to more is refused whole, and nothing changes.
pub const METADATA_BATCH_BYTES_MAX: usize = 3 * 1024 * 1024;

/// Entries of the control thread's storage ring.
pub const CONTROL_RING_ENTRIES: u32 = 64;

/// Bytes of the control thread's buffers: enough for the largest batch of metadata and its block.
pub const CONTROL_BUFFER_BYTES: usize = 16 * 1024 * 1024;

/// Bytes up to which a part of an answer is copied to its neighbour rather than handed to the
/// kernel on its own: below it, copying is cheaper than another entry of a vectored send.
pub const SEND_COPY_MAX: usize = 2 * 1024;

/// Requests of one connection that are looked at in a row. Then other connections have a turn.
pub const REQUESTS_PER_TURN: usize = 64;

/// Bytes that a connection throws away, unread, before it is closed, so that closing does not
/// reset it under answers that are still on their way.
pub const DISCARD_BYTES_MAX: usize = 1024 * 1024;

/// Bytes of the buffer for what is thrown away.
pub const DISCARD_BUFFER_BYTES: usize = 4 * 1024;

/// How long a stopping broker waits for the answers it owes, in milliseconds. Connections that
/// have not taken theirs by then are cut off.
pub const STOP_WAIT_MS: u64 = 5_000;

/// Bytes of requests of one connection that are taken in and not answered. Once they are more, its
/// socket is not read. So a request of any allowed size gets in, and a large one keeps the next
/// one out until it is answered.
pub const REQUESTS_OPEN_BYTES_MAX: u64 = 8 * 1024 * 1024;

/// How long the broker works on answers for a client that has closed its sending side, in
/// milliseconds. Those that are ready by then are sent; with the others the connection is closed,
/// so that a client that left in the middle of a long poll does not keep its place.
pub const CLOSED_WAIT_MS: u64 = 1_000;

/// Open files that connections leave to the logs, the folder and the rings, at least. They leave
/// a quarter of what the process may have open if that is more.
pub const FILES_RESERVED_MIN: u64 = 64;

/// How long an accept loop pauses when the process has no file descriptor or memory left, in
/// milliseconds. The clients wait in the kernel meanwhile.
pub const ACCEPT_PAUSE_MS: u64 = 100;

/// Milliseconds between two log lines of one kind that clients can bring about.
pub const REPEATED_LOG_MS: u64 = 1_000;

/// How long a starting broker waits for its port, which one that was just killed may still hold.
pub const PORT_WAIT: std::time::Duration = std::time::Duration::from_secs(1);
