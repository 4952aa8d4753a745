//! Tests of the records sections: every codec, foreign framings, bombs, cuts and lies.

use std::io::Write;

use ringlog_engine::batch::{BatchBuilder, BatchOptions, CheckedBatch};
use ringlog_engine::offset::Timestamp;

use super::snappy::MAGIC;
use super::*;

const CODECS: [Compression; 5] = [
    Compression::None,
    Compression::Gzip,
    Compression::Snappy,
    Compression::Lz4,
    Compression::Zstd,
];
const LIMIT: usize = 1 << 20;

/// A batch of `count` records with keys, null values and headers among them.
fn batch(count: u32) -> Vec<u8> {
    let mut builder = BatchBuilder::new(BatchOptions::default());
    for index in 0..count {
        let key = index.to_be_bytes();
        let value = vec![b'v'; usize::try_from(index).unwrap() * 37 % 3000];
        let headers = [("name", Some(b"x".as_slice())), ("null", None)];
        let headers = &headers[..usize::try_from(index % 3).unwrap()];
        builder.push(
            Timestamp::from_millis(1000 + i64::from(index)),
            (index % 4 != 0).then_some(&key),
            (index % 5 != 0).then_some(&value),
            headers,
        );
    }
    builder.finish().unwrap()
}

fn body(codec: Compression, count: u32) -> Vec<u8> {
    let compressed = compress_batch(codec, &batch(count)).unwrap();
    let checked = CheckedBatch::check(&compressed).unwrap();
    assert_eq!(checked.compression(), codec);
    checked.body().to_vec()
}

fn walk(
    codec: Compression,
    body: &[u8],
    count: u32,
    limit: usize,
    step: usize,
) -> Result<Vec<RecordHead>, WalkError> {
    let mut walker = RecordWalker::new(codec, body, count, limit)?;
    let mut heads = Vec::new();
    while walker.step(step, |head| heads.push(head))? == Progress::More {}
    Ok(heads)
}

#[test]
fn every_codec_gives_back_what_was_compressed() {
    let plain = body(Compression::None, 200);
    for codec in CODECS {
        let compressed = body(codec, 200);
        assert_eq!(decompress_to_vec(codec, &compressed, LIMIT).unwrap(), plain, "{codec:?}");
    }
}

#[test]
fn a_walk_sees_every_record_whatever_the_codec_and_the_step() {
    for codec in CODECS {
        let compressed = body(codec, 200);
        for step in [1, 7, 100, 4096, usize::MAX] {
            let heads = walk(codec, &compressed, 200, LIMIT, step).unwrap();
            assert_eq!(heads.len(), 200, "{codec:?} by {step}");
            for (index, head) in (0..).zip(&heads) {
                assert_eq!(head.index, index);
                assert_eq!(head.timestamp_delta, i64::from(index));
                assert_eq!(head.key_bytes, (index % 4 != 0).then_some(4));
            }
        }
    }
}

#[test]
fn a_step_does_not_go_far_past_what_was_asked() {
    let mut builder = BatchBuilder::new(BatchOptions::default());
    builder.push(Timestamp::from_millis(1), None, Some(&vec![7; 900_000]), &[]);
    let compressed = compress_batch(Compression::Zstd, &builder.finish().unwrap()).unwrap();
    let checked = CheckedBatch::check(&compressed).unwrap();
    let mut walker = RecordWalker::new(Compression::Zstd, checked.body(), 1, LIMIT).unwrap();
    let mut steps = 0;
    while walker.step(64 * 1024, |_| ()).unwrap() == Progress::More {
        steps += 1;
    }
    assert!((10..=14).contains(&steps), "{steps} steps");
}

#[test]
fn the_bound_holds_for_every_codec() {
    let length = body(Compression::None, 200).len();
    for codec in CODECS {
        let compressed = body(codec, 200);
        assert_eq!(decompress_to_vec(codec, &compressed, length).unwrap().len(), length);
        let error = decompress_to_vec(codec, &compressed, length - 1).unwrap_err();
        assert!(matches!(error, DecompressError::TooLong { .. }), "{codec:?}: {error}");
        let error = walk(codec, &compressed, 200, length - 1, usize::MAX).unwrap_err();
        let expected = matches!(error, WalkError::Decompress(DecompressError::TooLong { .. }));
        assert!(expected, "{codec:?}: {error}");
    }
}

#[test]
fn a_bomb_is_stopped_at_the_bound() {
    let zeros = vec![0; 64 << 20];
    for codec in [Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd] {
        let mut bomb = Vec::new();
        compress(codec, &zeros, &mut bomb).unwrap();
        let error = decompress_to_vec(codec, &bomb, LIMIT).unwrap_err();
        assert!(matches!(error, DecompressError::TooLong { .. }), "{codec:?}: {error}");
    }
}

#[test]
fn a_snappy_block_that_lies_about_its_length_is_refused_before_memory_is_taken() {
    // A raw block that states 2^32 - 1 bytes.
    let lie = [0xff, 0xff, 0xff, 0xff, 0x0f, 0x00, b'x'];
    let error = decompress_to_vec(Compression::Snappy, &lie, usize::MAX).unwrap_err();
    assert!(matches!(error, DecompressError::Corrupt { .. }), "{error}");
    let mut framed = MAGIC.to_vec();
    framed.extend_from_slice(&[0, 0, 0, 1, 0, 0, 0, 1, 0x7f, 0xff, 0xff, 0xff, 1]);
    let error = decompress_to_vec(Compression::Snappy, &framed, LIMIT).unwrap_err();
    assert!(matches!(error, DecompressError::Truncated { .. }), "{error}");
}

#[test]
fn snappy_is_read_raw_as_framed_blocks_of_any_size_and_with_repeated_headers() {
    let plain = body(Compression::None, 100);
    let mut encoder = snap::raw::Encoder::new();
    let raw = encoder.compress_vec(&plain).unwrap();
    assert_eq!(decompress_to_vec(Compression::Snappy, &raw, LIMIT).unwrap(), plain);
    assert_eq!(walk(Compression::Snappy, &raw, 100, LIMIT, 100).unwrap().len(), 100);

    let mut framed = Vec::new();
    for block in plain.chunks(1000) {
        framed.extend_from_slice(&MAGIC);
        framed.extend_from_slice(&[0, 0, 0, 1, 0, 0, 0, 1]);
        let chunk = encoder.compress_vec(block).unwrap();
        framed.extend_from_slice(&u32::try_from(chunk.len()).unwrap().to_be_bytes());
        framed.extend_from_slice(&chunk);
    }
    assert_eq!(decompress_to_vec(Compression::Snappy, &framed, LIMIT).unwrap(), plain);
}

#[test]
fn lz4_with_linked_blocks_and_checksums_is_read() {
    use lz4_flex::frame::{BlockMode, FrameEncoder, FrameInfo};
    let plain = body(Compression::None, 200);
    let info =
        FrameInfo::new().block_mode(BlockMode::Linked).content_checksum(true).block_checksums(true);
    let mut encoder = FrameEncoder::with_frame_info(info, Vec::new());
    encoder.write_all(&plain).unwrap();
    let compressed = encoder.finish().unwrap();
    assert_eq!(decompress_to_vec(Compression::Lz4, &compressed, LIMIT).unwrap(), plain);
}

#[test]
fn gzip_in_two_members_is_read() {
    let plain = body(Compression::None, 200);
    let (first, second) = plain.split_at(1000);
    let mut compressed = Vec::new();
    compress(Compression::Gzip, first, &mut compressed).unwrap();
    compress(Compression::Gzip, second, &mut compressed).unwrap();
    assert_eq!(decompress_to_vec(Compression::Gzip, &compressed, LIMIT).unwrap(), plain);
}

#[test]
fn a_section_cut_anywhere_is_an_error() {
    for codec in CODECS {
        let whole = body(codec, 12);
        let plain = decompress_to_vec(codec, &whole, LIMIT).unwrap();
        for end in 0..whole.len() {
            let cut = &whole[..end];
            // A cut that only takes the codec's trailer leaves every record whole.
            if decompress_to_vec(codec, cut, LIMIT).is_ok_and(|given| given == plain) {
                continue;
            }
            assert!(walk(codec, cut, 12, LIMIT, 64).is_err(), "{codec:?} cut at {end}");
        }
    }
}

#[test]
fn any_changed_byte_ends_in_records_or_an_error_and_never_a_panic() {
    for codec in CODECS {
        let whole = body(codec, 12);
        for at in 0..whole.len() {
            for bit in 0..8 {
                let mut changed = whole.clone();
                changed[at] ^= 1 << bit;
                if let Ok(heads) = walk(codec, &changed, 12, LIMIT, 64) {
                    assert_eq!(heads.len(), 12);
                }
            }
        }
    }
}

#[test]
fn wrong_counts_are_told_apart() {
    let section = body(Compression::None, 3);
    let few = walk(Compression::None, &section, 2, LIMIT, 64).unwrap_err();
    assert!(matches!(few, WalkError::TrailingBytes { count: 2 }), "{few}");
    let many = walk(Compression::None, &section, 4, LIMIT, 64).unwrap_err();
    assert!(matches!(many, WalkError::Truncated { record: 3, count: 4 }), "{many}");
}

#[test]
fn each_broken_field_has_its_error() {
    let walk_one = |bytes: &[u8]| walk(Compression::None, bytes, 1, LIMIT, 64).unwrap_err();
    // length 7: attributes, timestamp, offset, key -1, value 1 byte, no headers.
    assert!(walk(Compression::None, &[14, 0, 0, 0, 1, 2, b'v', 0], 1, LIMIT, 64).is_ok());
    let delta = walk_one(&[14, 0, 0, 2, 1, 2, b'v', 0]);
    assert!(matches!(delta, WalkError::OffsetDelta { record: 0, found: 1 }), "{delta}");
    let key = walk_one(&[14, 0, 0, 0, 3, 2, b'v', 0]);
    assert!(matches!(key, WalkError::Length { field: "key length", length: -2, .. }), "{key}");
    let value = walk_one(&[14, 0, 0, 0, 1, 8, b'v', 0]);
    assert!(matches!(value, WalkError::Length { field: "value length", .. }), "{value}");
    let headers = walk_one(&[14, 0, 0, 0, 1, 2, b'v', 2]);
    assert!(matches!(headers, WalkError::Length { field: "header count", .. }), "{headers}");
    let long = walk_one(&[16, 0, 0, 0, 1, 2, b'v', 0, 0]);
    assert!(matches!(long, WalkError::RecordLength { record: 0, left: 1 }), "{long}");
    let varint = walk_one(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f]);
    assert!(matches!(varint, WalkError::Varint { field: "length", .. }), "{varint}");
    let negative = walk_one(&[13, 0, 0, 0, 1, 2, b'v', 0]);
    assert!(matches!(negative, WalkError::Length { length: -7, .. }), "{negative}");
    assert!(matches!(walk_one(&[]), WalkError::Truncated { record: 0, count: 1 }));
}
