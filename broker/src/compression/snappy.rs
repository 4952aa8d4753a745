//! Snappy as Kafka's clients write it: blocks in the framing of `snappy-java`, or one raw block.
//!
//! ```text
//! stream  = header chunk*            the header may come again between chunks
//! header  = 82 'S' 'N' 'A' 'P' 'P' 'Y' 00, version i32, compatible version i32    16 bytes
//! chunk   = length i32, that many bytes of one raw snappy block
//! ```
//!
//! Raw snappy has no magic, but its first byte is the low part of the uncompressed length and the
//! second could only be `'S'` with further bytes that cannot follow; the eight bytes of the header
//! never begin a raw block of a real client.

use std::io;

/// The first bytes of a framed stream.
pub(super) const MAGIC: [u8; 8] = [0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0];
/// Magic, version and compatible version.
pub(super) const HEADER_BYTES: usize = 16;
/// Uncompressed bytes of a block as Java's and librdkafka's clients write them.
pub(super) const BLOCK_BYTES: usize = 32 * 1024;
/// No snappy element makes more than 64 bytes of output from 3 bytes of input, so a block that
/// claims more than this many times its input lies about its length.
const EXPANSION_MAX: usize = 64;

/// Decompresses block by block. Holds one uncompressed block at a time.
pub(super) struct SnappyReader<'a> {
    input: &'a [u8],
    framed: bool,
    block: Vec<u8>,
    position: usize,
    limit: usize,
}

impl<'a> SnappyReader<'a> {
    /// A reader over a whole section; no block may be longer than `limit` bytes.
    pub(super) fn new(input: &'a [u8], limit: usize) -> Self {
        let framed = input.starts_with(&MAGIC);
        Self { input, framed, block: Vec::new(), position: 0, limit }
    }

    /// Copies what is left of the current block, decompressing the next if there is none. 0 at
    /// the end of the stream.
    pub(super) fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while self.position == self.block.len() {
            let Some(chunk) = self.next_chunk()? else { return Ok(0) };
            self.decompress(chunk)?;
        }
        let rest = self.block.get(self.position..).unwrap_or_default();
        let count = rest.len().min(out.len());
        for (to, from) in out.iter_mut().zip(rest) {
            *to = *from;
        }
        self.position += count;
        Ok(count)
    }

    fn next_chunk(&mut self) -> io::Result<Option<&'a [u8]>> {
        if self.input.is_empty() {
            return Ok(None);
        }
        if !self.framed {
            return Ok(Some(std::mem::take(&mut self.input)));
        }
        while self.input.starts_with(&MAGIC) {
            self.input = self.input.get(HEADER_BYTES..).ok_or(io::ErrorKind::UnexpectedEof)?;
        }
        if self.input.is_empty() {
            return Ok(None);
        }
        let (length, rest) =
            self.input.split_first_chunk::<4>().ok_or(io::ErrorKind::UnexpectedEof)?;
        let stated = i32::from_be_bytes(*length);
        let length = usize::try_from(stated).map_err(|_| {
            io::Error::new(io::ErrorKind::InvalidData, format!("chunk length {stated}"))
        })?;
        let (chunk, rest) = rest.split_at_checked(length).ok_or(io::ErrorKind::UnexpectedEof)?;
        self.input = rest;
        Ok(Some(chunk))
    }

    fn decompress(&mut self, chunk: &[u8]) -> io::Result<()> {
        let length = snap::raw::decompress_len(chunk).map_err(io::Error::from)?;
        if length > chunk.len().saturating_mul(EXPANSION_MAX) {
            let text = format!("{} bytes of input state {length} bytes of output", chunk.len());
            return Err(io::Error::new(io::ErrorKind::InvalidData, text));
        }
        if length > self.limit {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.block.clear();
        self.block.resize(length, 0);
        self.position = 0;
        snap::raw::Decoder::new().decompress(chunk, &mut self.block).map_err(io::Error::from)?;
        Ok(())
    }
}
