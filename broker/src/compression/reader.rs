//! Bounded decompression, one reader for every codec.

use std::io::{self, Read};

use flate2::bufread::MultiGzDecoder;
use lz4_flex::frame::FrameDecoder;

use super::snappy::SnappyReader;
use super::{Compression, DecompressError};

/// The largest window that a zstd frame may ask for: 2 to the power of this, in bytes. It is what
/// Kafka's own clients accept; memory is only touched as output fills it, and output is bounded.
const ZSTD_WINDOW_LOG_MAX: u32 = 27;

/// Gives the uncompressed records section of one batch, piece by piece, and never more than a
/// fixed number of bytes.
///
/// Memory: the codec's own window and one block (snappy: one block of at most the bound), freed
/// when the reader is dropped. [`Compression::None`] copies from the input and holds nothing.
pub struct RecordsReader<'a> {
    codec: Compression,
    decoder: Decoder<'a>,
    limit_bytes: usize,
    produced_bytes: usize,
    ended: bool,
}

enum Decoder<'a> {
    None(&'a [u8]),
    Gzip(Box<MultiGzDecoder<&'a [u8]>>),
    Snappy(SnappyReader<'a>),
    Lz4(Box<FrameDecoder<&'a [u8]>>),
    Zstd(zstd::stream::read::Decoder<'static, &'a [u8]>),
}

impl<'a> RecordsReader<'a> {
    /// A reader over `body`, the bytes that follow a batch's header, that gives at most
    /// `limit_bytes` bytes of output.
    ///
    /// # Errors
    ///
    /// [`DecompressError::Corrupt`] if the codec's state cannot be made.
    pub fn new(
        codec: Compression,
        body: &'a [u8],
        limit_bytes: usize,
    ) -> Result<Self, DecompressError> {
        let decoder =
            match codec {
                Compression::None => Decoder::None(body),
                Compression::Gzip => Decoder::Gzip(Box::new(MultiGzDecoder::new(body))),
                Compression::Snappy => Decoder::Snappy(SnappyReader::new(body, limit_bytes)),
                Compression::Lz4 => Decoder::Lz4(Box::new(FrameDecoder::new(body))),
                Compression::Zstd => Decoder::Zstd(zstd_decoder(body).map_err(|source| {
                    DecompressError::Corrupt { codec, produced_bytes: 0, source }
                })?),
            };
        Ok(Self { codec, decoder, limit_bytes, produced_bytes: 0, ended: false })
    }

    /// Fills as much of `out` as one step of the decoder gives; 0 means the section has ended.
    /// `out` must not be empty.
    ///
    /// # Errors
    ///
    /// Every [`DecompressError`]. After an error the reader is of no further use.
    pub fn read(&mut self, out: &mut [u8]) -> Result<usize, DecompressError> {
        if self.ended || out.is_empty() {
            return Ok(0);
        }
        let room = self.limit_bytes - self.produced_bytes;
        if room == 0 {
            // At the bound: only a section that has nothing more to give is fine.
            return match self.decode(&mut [0; 1])? {
                0 => Ok(0),
                _ => Err(self.too_long()),
            };
        }
        let length = out.len().min(room);
        let Some(out) = out.get_mut(..length) else { return Ok(0) };
        let count = self.decode(out)?;
        self.produced_bytes += count;
        Ok(count)
    }

    /// Bytes of output given so far.
    #[must_use]
    pub fn produced_bytes(&self) -> usize {
        self.produced_bytes
    }

    fn decode(&mut self, out: &mut [u8]) -> Result<usize, DecompressError> {
        let result = loop {
            let result = match &mut self.decoder {
                Decoder::None(rest) => rest.read(out),
                Decoder::Gzip(decoder) => decoder.read(out),
                Decoder::Snappy(decoder) => decoder.read(out),
                Decoder::Lz4(decoder) => decoder.read(out),
                Decoder::Zstd(decoder) => decoder.read(out),
            };
            if !matches!(&result, Err(error) if error.kind() == io::ErrorKind::Interrupted) {
                break result;
            }
        };
        match result {
            Ok(count) => {
                self.ended = count == 0;
                Ok(count)
            }
            Err(source) => Err(self.failure(source)),
        }
    }

    fn failure(&self, source: io::Error) -> DecompressError {
        let (codec, produced_bytes) = (self.codec, self.produced_bytes);
        match source.kind() {
            io::ErrorKind::UnexpectedEof => DecompressError::Truncated { codec, produced_bytes },
            io::ErrorKind::FileTooLarge => self.too_long(),
            _ => DecompressError::Corrupt { codec, produced_bytes, source },
        }
    }

    fn too_long(&self) -> DecompressError {
        DecompressError::TooLong { codec: self.codec, limit_bytes: self.limit_bytes }
    }
}

fn zstd_decoder(body: &[u8]) -> io::Result<zstd::stream::read::Decoder<'static, &[u8]>> {
    let mut decoder = zstd::stream::read::Decoder::with_buffer(body)?;
    decoder.window_log_max(ZSTD_WINDOW_LOG_MAX)?;
    Ok(decoder)
}

/// The whole uncompressed records section, at most `limit_bytes` long. For clients, which hold
/// the records anyway; the broker walks them with [`super::RecordWalker`].
///
/// # Errors
///
/// Every [`DecompressError`].
pub fn decompress_to_vec(
    codec: Compression,
    body: &[u8],
    limit_bytes: usize,
) -> Result<Vec<u8>, DecompressError> {
    const PIECE_BYTES: usize = 64 * 1024;
    let mut reader = RecordsReader::new(codec, body, limit_bytes)?;
    let mut out = Vec::new();
    loop {
        let start = out.len();
        out.resize(start + PIECE_BYTES, 0);
        let count = reader.read(out.get_mut(start..).unwrap_or_default())?;
        out.truncate(start + count);
        if count == 0 {
            return Ok(out);
        }
    }
}
