//! Walks the entries of one segment, trusting nothing.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use ringlog_engine::batch::{BatchError, BatchHeader, CheckedBatch, HEADER_BYTES};
use ringlog_engine::entry::Format;
use ringlog_engine::frame::{CheckedFrame, FrameError};
use ringlog_engine::limits::BATCH_BYTES_MAX;
use thiserror::Error;

const READ_BYTES: usize = 1024 * 1024;

/// Reads a `.log` file front to back, one entry in memory at a time.
#[derive(Debug)]
pub struct SegmentScanner {
    file: File,
    length: u64,
    position: u64,
    /// Bytes of the file from `position` on.
    buffer: Vec<u8>,
    start: usize,
}

/// What stands at the scanner's position.
#[derive(Debug)]
pub enum Step<'a> {
    /// A batch that is right in itself. The scanner has moved past it.
    Batch {
        /// Where it begins.
        position: u64,
        /// The batch.
        batch: CheckedBatch<'a>,
    },
    /// A frame that is right in itself. The scanner has moved past it.
    Frame {
        /// Where it begins.
        position: u64,
        /// The frame.
        frame: CheckedFrame<'a>,
    },
    /// An entry with a plausible length that is wrong otherwise. The scanner has moved past it.
    Broken {
        /// Where it begins.
        position: u64,
        /// Its header as it stands.
        header: BatchHeader,
        /// What is wrong with it.
        error: EntryError,
    },
    /// Bytes that no whole entry begins. The scanner goes no further.
    Rest(Rest),
    /// The end of the file, reached exactly.
    End,
}

/// What is wrong with an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum EntryError {
    /// It is no good record batch.
    #[error(transparent)]
    Batch(#[from] BatchError),
    /// It is no good frame.
    #[error(transparent)]
    Frame(#[from] FrameError),
}

/// The bytes after a segment's last entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rest {
    /// Where they begin.
    pub position: u64,
    /// How many there are.
    pub bytes: u64,
    /// Whether they are all zero: space reserved ahead and not yet written.
    pub zeros: bool,
}

impl SegmentScanner {
    /// Opens a segment.
    ///
    /// # Errors
    ///
    /// The file cannot be opened.
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let length = file.metadata()?.len();
        Ok(Self { file, length, position: 0, buffer: Vec::new(), start: 0 })
    }

    /// The file's length in bytes.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Where the next entry should begin.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Looks at the next entry.
    ///
    /// # Errors
    ///
    /// The file cannot be read.
    pub fn step(&mut self) -> io::Result<Step<'_>> {
        let left = self.length.saturating_sub(self.position);
        if left == 0 {
            return Ok(Step::End);
        }
        self.fill(HEADER_BYTES)?;
        let header = BatchHeader::read(self.ahead());
        let format = header.and_then(|header| header.format());
        let total = header
            .and_then(|header| header.total_bytes())
            .filter(|total| *total <= BATCH_BYTES_MAX)
            .filter(|total| u64::try_from(*total).is_ok_and(|total| total <= left));
        let (Some(header), Some(format), Some(total)) = (header, format, total) else {
            return self.rest().map(Step::Rest);
        };
        self.fill(total)?;
        if self.ahead().len() < total {
            return self.rest().map(Step::Rest);
        }
        let (position, from) = (self.position, self.start);
        self.start += total;
        self.position += u64::try_from(total).unwrap_or(u64::MAX);
        let bytes = self.buffer.get(from..from + total).unwrap_or_default();
        let checked = match format {
            Format::RecordBatch => CheckedBatch::check_stored(bytes)
                .map(|batch| Step::Batch { position, batch })
                .map_err(EntryError::from),
            Format::Frame => CheckedFrame::check(bytes)
                .map(|frame| Step::Frame { position, frame })
                .map_err(EntryError::from),
        };
        Ok(checked.unwrap_or_else(|error| Step::Broken { position, header, error }))
    }

    fn rest(&mut self) -> io::Result<Rest> {
        let position = self.position;
        let mut zeros = self.ahead().iter().all(|byte| *byte == 0);
        let mut piece = vec![0; READ_BYTES];
        while zeros {
            let count = self.file.read(&mut piece)?;
            if count == 0 {
                break;
            }
            zeros = piece.iter().take(count).all(|byte| *byte == 0);
        }
        let bytes = self.length.saturating_sub(position);
        self.position = self.length;
        self.start = self.buffer.len();
        Ok(Rest { position, bytes, zeros })
    }

    fn ahead(&self) -> &[u8] {
        self.buffer.get(self.start..).unwrap_or_default()
    }

    /// Reads on until `count` bytes are at hand or the file ends.
    fn fill(&mut self, count: usize) -> io::Result<()> {
        if self.ahead().len() >= count {
            return Ok(());
        }
        self.buffer.drain(..self.start);
        self.start = 0;
        while self.buffer.len() < count {
            let end = self.buffer.len();
            self.buffer.resize(end + READ_BYTES.max(count - end), 0);
            let got = self.file.read(self.buffer.get_mut(end..).unwrap_or_default());
            self.buffer.truncate(end + got.as_ref().copied().unwrap_or(0));
            match got {
                Ok(0) => break,
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}
