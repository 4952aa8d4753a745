//! The primitives of the metadata records' encoding: big-endian numbers, text and lists with their
//! lengths in front. Every length is checked against the bytes that remain before it is used.

use uuid::Uuid;

use super::records::RecordError;

/// Bytes that one text of a record may have; the name of a topic has 249, a value of a
/// configuration seldom more.
pub(super) const TEXT_BYTES_MAX: usize = 32_767;

/// Writes a record's fields.
#[derive(Debug, Default)]
pub(super) struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    pub(super) fn u8(&mut self, value: u8) {
        self.bytes.push(value);
    }

    pub(super) fn u16(&mut self, value: u16) {
        self.bytes.extend_from_slice(&value.to_be_bytes());
    }

    pub(super) fn i32(&mut self, value: i32) {
        self.bytes.extend_from_slice(&value.to_be_bytes());
    }

    pub(super) fn i64(&mut self, value: i64) {
        self.bytes.extend_from_slice(&value.to_be_bytes());
    }

    pub(super) fn uuid(&mut self, value: Uuid) {
        self.bytes.extend_from_slice(value.as_bytes());
    }

    pub(super) fn text(&mut self, value: &str) -> Result<(), RecordError> {
        let too_long =
            || RecordError::TextTooLong { bytes: value.len(), bytes_max: TEXT_BYTES_MAX };
        if value.len() > TEXT_BYTES_MAX {
            return Err(too_long());
        }
        self.u16(u16::try_from(value.len()).map_err(|_| too_long())?);
        self.bytes.extend_from_slice(value.as_bytes());
        Ok(())
    }

    pub(super) fn list(
        &mut self,
        values: impl ExactSizeIterator<Item = i32>,
    ) -> Result<(), RecordError> {
        let count = values.len();
        let count = u16::try_from(count).map_err(|_| RecordError::TooManyReplicas { count })?;
        self.u16(count);
        for value in values {
            self.i32(value);
        }
        Ok(())
    }

    pub(super) fn finish(self) -> Vec<u8> {
        self.bytes
    }
}

/// Reads a record's fields.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], RecordError> {
        match self.rest.split_at_checked(count) {
            Some((taken, rest)) => {
                self.rest = rest;
                Ok(taken)
            }
            None => Err(RecordError::Short { needed: count, left: self.rest.len() }),
        }
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], RecordError> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    pub(super) fn u8(&mut self) -> Result<u8, RecordError> {
        self.array().map(u8::from_be_bytes)
    }

    pub(super) fn u16(&mut self) -> Result<u16, RecordError> {
        self.array().map(u16::from_be_bytes)
    }

    pub(super) fn i32(&mut self) -> Result<i32, RecordError> {
        self.array().map(i32::from_be_bytes)
    }

    pub(super) fn i64(&mut self) -> Result<i64, RecordError> {
        self.array().map(i64::from_be_bytes)
    }

    pub(super) fn uuid(&mut self) -> Result<Uuid, RecordError> {
        self.array().map(Uuid::from_bytes)
    }

    pub(super) fn text(&mut self) -> Result<&'a str, RecordError> {
        let length = usize::from(self.u16()?);
        std::str::from_utf8(self.take(length)?).map_err(|_| RecordError::NotText)
    }

    pub(super) fn list(&mut self) -> Result<Vec<i32>, RecordError> {
        let count = usize::from(self.u16()?);
        let (numbers, _) = self.take(count * 4)?.as_chunks();
        Ok(numbers.iter().map(|&bytes| i32::from_be_bytes(bytes)).collect())
    }

    pub(super) const fn finish(&self) -> Result<(), RecordError> {
        match self.rest.len() {
            0 => Ok(()),
            extra => Err(RecordError::Long { extra }),
        }
    }
}
