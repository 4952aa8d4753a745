//! What stands behind redone batches in their last sector: nothing that could be taken for damage,
//! and nothing acknowledged goes.

use super::*;
use crate::batch::{BatchBuilder, BatchOptions};
use crate::limits::SECTOR_BYTES;
use crate::offset::Timestamp;

/// A batch of one record.
fn batch(base: i64) -> Vec<u8> {
    let mut builder = BatchBuilder::new(BatchOptions::default());
    builder.push(Timestamp::from_millis(1), None, Some(b"a value of some bytes"), &[]);
    let mut bytes = builder.finish().unwrap();
    bytes[..8].copy_from_slice(&base.to_be_bytes());
    bytes
}

/// What the redo of the batch of offset 0 leaves of a sector in which `behind` stands behind it. The
/// batch of offset 1 must follow.
fn left_of(behind: &[u8]) -> Vec<u8> {
    let rig = Rig::new(1);
    rig.io.run(async {
        let bytes = batch(0);
        let (mut files, _) = rig.open().await.unwrap();
        rig.write(&mut files, |frame| {
            frame.name(1, LOG);
            put(frame, 1, offset(0), 0, &[&bytes]);
        })
        .await;
        let mut sector = vec![0; bytes.len()];
        sector.extend_from_slice(behind);
        sector.resize(SECTOR_BYTES, 0);
        let path = Kind::Log.path(&rig.settings.root.join(LOG), offset(0));
        rig.io.write_file(&path, &[sector, vec![7; SECTOR_BYTES]].concat()).unwrap();
        rig.open().await.unwrap();
        let after = rig.segment(0).unwrap();
        assert_eq!(after[..bytes.len()], bytes);
        assert_eq!(after[SECTOR_BYTES..], [7; SECTOR_BYTES], "another sector's");
        after[bytes.len()..SECTOR_BYTES].to_vec()
    })
}

fn is_cleared(behind: &[u8]) -> bool {
    left_of(behind).iter().all(|&byte| byte == 0)
}

#[test]
fn garbage_behind_redone_batches_is_cleared() {
    assert!(is_cleared(&[0xa5; 300]));
    assert!(is_cleared(&[0xa5; 3]));
    assert!(is_cleared(&batch(2)), "another offset's");
    assert!(is_cleared(&[]));
}

#[test]
fn zeros_and_what_follows_them_are_no_batch_with_one_wrong_bit() {
    // They are one bit away from offset 1.
    assert!(is_cleared(&[&[0; 12][..], &[0xa5; 100]].concat()));
    assert!(is_cleared(&[&[0; 17][..], &[0xa5; 100]].concat()));
}

#[test]
fn small_numbers_of_another_file_are_no_batch_with_one_wrong_bit() {
    // An offset that is right, or nearly, and a length that could be.
    for base in [1_i64, 3] {
        let numbers = [&base.to_be_bytes()[..], &[0, 0, 0, 4], &[0, 0, 0, 9, 0xc2]].concat();
        assert!(is_cleared(&numbers), "{base}");
    }
}

#[test]
fn the_batch_that_must_follow_stays_and_so_does_its_one_wrong_bit() {
    let next = batch(1);
    for bit in 0..8 * next.len() {
        let mut wrong = next.clone();
        wrong[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(left_of(&wrong)[..next.len()], wrong, "bit {bit}");
    }
    assert_eq!(left_of(&next)[..next.len()], next);
    assert!(next.len() * 2 < SECTOR_BYTES);
}
