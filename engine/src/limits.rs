//! Every bound of the engine, with its unit, its reason, and what happens at it.

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

/// Bytes of the buffers that regions are cut into. Each class is four times the one before, so
/// that a buffer wastes at most three quarters of its memory; a larger buffer has a mapping of
/// its own.
pub const BUFFER_CLASSES_BYTES: [usize; 5] = [4 << 10, 16 << 10, 64 << 10, 256 << 10, 1 << 20];

/// Regions that one ring registers as fixed buffers at most (4 GiB of buffers; the kernel's own
/// limit is 16,384). Buffers of further regions are read and written as plain ones.
pub const REGISTERED_REGIONS_MAX: u16 = 4096;

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

/// Bytes by which an active segment's file first grows. Small, so that thousands of little
/// partitions cost little; doubled with each step up to [`PREALLOCATE_BYTES_MAX`].
pub const PREALLOCATE_BYTES_MIN: u64 = 64 * 1024;

/// Bytes by which an active segment's file grows at most: the space a mostly idle log may hold
/// and not use.
pub const PREALLOCATE_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// Bytes of one write, unless a single batch is larger.
pub const WRITE_BYTES_MAX: usize = 1024 * 1024;

/// Writes of one log that may be in flight at once: enough to keep a device busy, few enough that
/// the window in which a crash may tear stays small. At the bound, what arrives waits in memory
/// and then in [`crate::log::Log::reserve`].
pub const WRITES_IN_FLIGHT_MAX: usize = 4;

/// Bytes of one log that may be in flight at once, unless a single batch is larger. Recovery
/// derives from it how far a torn tail may reach; see `recovery`.
pub const WRITE_BYTES_IN_FLIGHT_MAX: usize = WRITES_IN_FLIGHT_MAX * WRITE_BYTES_MAX;

/// Bytes read at once when a file is scanned or a cold read is answered, unless one batch is
/// larger.
pub const READ_BYTES_MAX: usize = 1024 * 1024;

/// Producers whose sequences a log remembers. At the bound the one unheard of for the longest is
/// forgotten; it is then treated as after `producer.id.expiration.ms`.
pub const PRODUCERS_MAX: usize = 100_000;

/// Batches remembered per producer, to recognise one sent twice. Kafka's number: clients keep at
/// most five requests in flight.
pub const PRODUCER_BATCHES: usize = 5;

/// Bytes of the largest small file (manifest, snapshot, checkpoint, index) the engine reads into
/// memory. A larger one is taken for damaged.
pub const SMALL_FILE_BYTES_MAX: u64 = 64 * 1024 * 1024;

const _: () = assert!(SEGMENT_OFFSETS_MAX + BATCH_RECORDS_MAX as u64 <= i32::MAX as u64 + 1);
const _: () = assert!(BLOCK.is_multiple_of(SECTOR_BYTES));
const _: () = assert!(WRITE_BYTES_MAX.is_multiple_of(BLOCK));
const _: () = assert!(READ_BYTES_MAX.is_multiple_of(BLOCK));
const _: () = assert!(PREALLOCATE_BYTES_MIN.is_multiple_of(BLOCK as u64));
const _: () = assert!(PREALLOCATE_BYTES_MAX.is_multiple_of(BLOCK as u64));

/// Bytes of one log that may wait for their write, those in flight included, unless a single
/// batch is larger. At the bound [`crate::log::Log::reserve`] waits.
pub const UNWRITTEN_BYTES_MAX: usize = 2 * WRITE_BYTES_IN_FLIGHT_MAX;
