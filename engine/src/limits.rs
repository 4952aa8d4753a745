//! Every bound of the engine, with its unit, its reason, and what happens at it.
//!
//! Public are those that a setting, an entry or an error can meet. The rest is how the engine paces
//! itself, and may change with any version: see this module's source.

use std::time::Duration;

/// Bytes of a disk block, as the engine writes them: positions, lengths and addresses of direct
/// I/O are multiples of this. 4 KiB suits every device the engine is meant for, those with
/// 512-byte sectors included.
pub const BLOCK: usize = 4096;

/// Bytes that a device writes whole or not at all, whatever happens meanwhile. Recovery tells a
/// torn write from damage by it; devices with larger sectors promise more.
pub const SECTOR_BYTES: usize = 512;

/// Bytes of a region, the step in which a [`crate::buffer::BufferPool`] grows: large enough that
/// a region is worth registering with the ring, small enough that a budget of a few MiB still
/// holds several size classes. At the pool's budget no region is added, and callers wait.
pub const BUFFER_REGION_BYTES: usize = 1 << 20;

/// Bytes of the buffers that regions are cut into. Each class is twice the one before, so that a
/// buffer wastes at most half of its memory: a batch of a client's usual size (16 or 64 KiB) comes
/// with the part of a block before it, and thousands of logs have such a buffer at once. A larger
/// buffer has a region of its own.
pub const BUFFER_CLASSES_BYTES: [usize; 9] =
    [4 << 10, 8 << 10, 16 << 10, 32 << 10, 64 << 10, 128 << 10, 256 << 10, 512 << 10, 1 << 20];

/// Bytes that the length of a large buffer's region is a multiple of where the budget allows it, so
/// that it serves for other buffers of about its size.
pub(crate) const BUFFER_LARGE_STEP_BYTES: usize = 64 * 1024;

/// The part of a pool's budget that may lie in free regions before as much of them goes as is mapped.
pub(crate) const BUFFER_FREE_SHARE: usize = 8;

/// Regions that one ring registers as fixed buffers at most (4 GiB of small buffers; the kernel's own
/// limit is 16,384). Buffers of further regions are read and written as plain ones.
pub(crate) const REGISTERED_REGIONS_MAX: u16 = 4096;

/// Bytes of the largest batch any setting may allow (100 MiB, as far as Kafka's users go). Larger
/// ones are refused with a typed error before a byte is copied.
pub const BATCH_BYTES_MAX: usize = 100 * 1024 * 1024;

/// Records of one batch. Together with [`SEGMENT_OFFSETS_MAX`] it keeps every offset of a segment
/// within 31 bits of the segment's base, which is all that an index entry holds.
pub const BATCH_RECORDS_MAX: i32 = 1 << 30;

/// Headers of one record. The wire bounds them only by bytes; this keeps a record's cost in
/// proportion to its size. More are refused with a typed error.
pub const RECORD_HEADERS_MAX: usize = 64 * 1024;

/// Offsets of a segment from which the next reservation rolls it.
pub const SEGMENT_OFFSETS_MAX: u64 = 1 << 30;

/// Bytes of the smallest segment that may be set: one index interval's worth of data.
pub const SEGMENT_BYTES_MIN: u64 = 4096;

/// Bytes of the largest segment: an index entry holds 32 bits of position, and Kafka reads them
/// as a signed number.
pub const SEGMENT_BYTES_MAX: u64 = i32::MAX as u64;

/// Bytes appended to an active segment after which a checkpoint of it is written, unless the
/// log's settings say otherwise: so few that the twice as many which an open after a crash may
/// scan take a fraction of a second, so many that checkpoints are a few percent of what is
/// written.
pub const CHECKPOINT_BYTES: u64 = 64 * 1024 * 1024;

/// Fewest bytes between two checkpoints that may be set: a block.
pub const CHECKPOINT_BYTES_MIN: u64 = BLOCK as u64;

/// Bytes by which an active segment's file first grows. Small, so that thousands of little
/// partitions cost little; doubled with each step up to [`PREALLOCATE_BYTES_MAX`].
pub(crate) const PREALLOCATE_BYTES_MIN: u64 = 64 * 1024;

/// Bytes by which an active segment's file grows at most: the space a mostly idle log may hold
/// and not use.
pub(crate) const PREALLOCATE_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// The part of the buffer pool that all logs may take while one of them fills a buffer, if its next
/// one is to be larger: so that a log has memory as it has a share of what is appended, and ten
/// thousand logs do not have ten thousand large buffers, hardly filled.
pub(crate) const RAPID_SHARE: u64 = 16;

/// Bytes of one write, unless a single batch is larger.
pub(crate) const WRITE_BYTES_MAX: usize = 1024 * 1024;

/// Writes of one log that may be in flight at once: enough to keep a device busy, few enough that
/// the window in which a crash may tear stays small. At the bound, what arrives waits in memory
/// and then in [`crate::log::Log::reserve`].
pub(crate) const WRITES_IN_FLIGHT_MAX: usize = 4;

/// Bytes of one log that may be in flight at once, unless a single batch is larger. Recovery
/// derives from it how far a torn tail may reach; see `recovery`.
pub(crate) const WRITE_BYTES_IN_FLIGHT_MAX: usize = WRITES_IN_FLIGHT_MAX * WRITE_BYTES_MAX;

/// Bytes read at once when a file is scanned or a cold read is answered, unless one batch is
/// larger.
pub const READ_BYTES_MAX: usize = 1024 * 1024;

/// Places per shard where a cold reader may go on (each takes some 300 bytes): more than readers
/// that one disk can serve in order. At the bound the one visited longest ago is forgotten, and
/// its reader is taken for a new one.
pub(crate) const READ_AHEAD_CURSORS_MAX: usize = 1024;

/// Reads of one shard that may be in flight for readers that have not asked yet. At the bound
/// further ones wait in line.
pub(crate) const READ_AHEAD_IN_FLIGHT_MAX: usize = 16;

/// Bytes of an active segment that are worth reading ahead; fewer are read when they are asked
/// for.
pub(crate) const READ_AHEAD_ACTIVE_BYTES_MIN: u64 = 64 * 1024;

/// How long a reader that does not come back keeps what was read ahead for it, once others want
/// to read ahead and the budget is spent.
pub(crate) const READ_AHEAD_STALE: Duration = Duration::from_secs(1);

/// Producers whose sequences a log remembers. At the bound the one unheard of for the longest is
/// forgotten; it is then treated as after `producer.id.expiration.ms`.
pub const PRODUCERS_MAX: usize = 100_000;

/// Batches remembered per producer, to recognise one sent twice. Kafka's number: clients keep at
/// most five requests in flight.
pub const PRODUCER_BATCHES: usize = 5;

/// Transactions that have ended but whose markers may not be replicated yet, of one log. At the
/// bound the two oldest are counted as one, which only holds the last stable offset back longer.
pub(crate) const UNDECIDED_TRANSACTIONS_MAX: usize = 10_000;

/// Bytes of the largest control batch that is looked into. A marker takes 78.
pub(crate) const CONTROL_BATCH_BYTES_MAX: usize = 4096;

/// Bytes that a compaction reads or writes at once.
pub(crate) const COMPACTION_IO_BYTES: usize = 256 * 1024;

/// Bytes of records that a compaction works through before others run.
pub(crate) const COMPACTION_SLICE_BYTES: usize = 64 * 1024;

/// Time that a compaction works before others run: about what an append may have to wait for it.
pub(crate) const COMPACTION_SLICE_TIME: Duration = Duration::from_micros(200);

/// Bytes of a slot of compaction's key map.
pub(crate) const KEY_MAP_SLOT_BYTES: usize = 24;

/// Bytes of the smallest key map: some 150 keys. When the map is full, a compaction covers what
/// it has seen by then, and the next one goes on from there.
pub const KEY_MAP_BYTES_MIN: usize = 4096;

/// Bytes of the largest small file (manifest, snapshot, checkpoint, index) the engine reads into
/// memory. A larger one is taken for damaged.
pub(crate) const SMALL_FILE_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Bytes of one write of the journal, a frame: enough to take the small batches of many logs at
/// once, few enough that the first of them does not wait long for the last. What does not fit goes
/// into the next frame.
pub const JOURNAL_WRITE_BYTES_MAX: usize = 256 * 1024;

/// Bytes of a journaled log's folder name, relative to the root: what a path of Linux may have. A
/// log with a longer one is not journaled.
pub const JOURNAL_PATH_BYTES_MAX: usize = 4095;

/// Files of one journal at least: one to write to, one to be freed meanwhile.
pub const JOURNAL_FILES_MIN: usize = 2;

/// Files of one journal at most: each is held open, and costs a look at all others when the oldest
/// is searched. At the bound, appends wait until logs have been synced.
pub const JOURNAL_FILES_MAX: usize = 256;

/// Bytes of the smallest journal file that may be set: its head, the block kept in reserve, and
/// some frames between them.
pub const JOURNAL_FILE_BYTES_MIN: u64 = 64 * 1024;

/// Bytes of the largest journal file that may be set (1 GiB): larger ones only make an opening
/// after a crash slower.
pub const JOURNAL_FILE_BYTES_MAX: u64 = 1 << 30;

/// Sequences that are left out when a journal is opened. A frame that a killed process had in
/// flight may reach the disk after it was looked for, and must not share its sequence with a new
/// one: so this is more than the frames that can be in flight.
pub(crate) const JOURNAL_SEQUENCE_GAP: u64 = 1024;

/// Bytes that the opening of a journal gathers before it writes them to segments: enough for long
/// writes, and little beside a shard's buffers.
pub(crate) const JOURNAL_REDO_BYTES: usize = 8 * 1024 * 1024;

/// Segment files that the opening of a journal writes or syncs at once: enough to keep a device
/// busy, few enough to need no thought about descriptors.
pub(crate) const JOURNAL_REDO_FILES: usize = 32;

/// Bytes by which a file that goes is shortened at once, and the pause behind each such step. What
/// others wait for meanwhile was measured at 4 to 7 ms, beside 48 for 1 GiB at once; and a shard
/// frees some 3 GB a second, more than it takes in.
pub const RECLAIM_STEP_BYTES: u64 = 16 * 1024 * 1024;
/// See [`RECLAIM_STEP_BYTES`].
pub const RECLAIM_PAUSE: Duration = Duration::from_millis(5);

const _: () = assert!(SEGMENT_OFFSETS_MAX + BATCH_RECORDS_MAX as u64 <= i32::MAX as u64 + 1);
const _: () = assert!(BLOCK.is_multiple_of(SECTOR_BYTES));
const _: () = assert!(COMPACTION_IO_BYTES.is_multiple_of(BLOCK));
const _: () = assert!(WRITE_BYTES_MAX.is_multiple_of(BLOCK));
const _: () = assert!(READ_BYTES_MAX.is_multiple_of(BLOCK));
const _: () = assert!(PREALLOCATE_BYTES_MIN.is_multiple_of(BLOCK as u64));
const _: () = assert!(PREALLOCATE_BYTES_MAX.is_multiple_of(BLOCK as u64));

const _: () = assert!(JOURNAL_SEQUENCE_GAP > JOURNAL_WRITES_IN_FLIGHT_MAX as u64);
const _: () = assert!(JOURNAL_FILE_BYTES_MIN.is_multiple_of(BLOCK as u64));
const _: () = assert!(JOURNAL_FILE_BYTES_MAX.is_multiple_of(BLOCK as u64));

/// Bytes of one log that may wait for their write, those in flight included, unless a single
/// batch is larger. At the bound [`crate::log::Log::reserve`] waits.
pub const UNWRITTEN_BYTES_MAX: usize = 2 * WRITE_BYTES_IN_FLIGHT_MAX;

/// Segment writes and syncs that the logs of one shard may have in flight at once: enough to place
/// what thousands of logs have in the journal at the device's pace. At the bound, logs wait for
/// their turn.
pub(crate) const SHARD_WRITES_IN_FLIGHT_MAX: usize = 32;

/// Of these, how many may be ones that nobody waits for: what the journal has is put into the
/// segments without being in the way of those who wait.
pub(crate) const SHARD_PLACINGS_IN_FLIGHT_MAX: usize = 16;

/// Bytes of one log that wait at which they go straight to its segment instead of the journal,
/// which would write them twice. Measured: see `docs/decisions/0005-journal.md`.
pub const DIRECT_BYTES: usize = 128 * 1024;

/// Bytes of full buffers of one log, in the journal already, that are put into its segment without
/// waiting for the journal to want its space back: long writes, few of them.
pub(crate) const PLACE_BYTES: usize = 256 * 1024;

/// Frames of a journal that may be in flight at once. More do not make the device faster, and each
/// is one more that a crash may tear.
pub(crate) const JOURNAL_WRITES_IN_FLIGHT_MAX: usize = 4;

/// Bytes that wait at which a frame is built though others are in flight. Fewer join the next one.
pub(crate) const JOURNAL_EAGER_BYTES: usize = 64 * 1024;
