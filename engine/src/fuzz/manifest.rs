//! The manifest.

use super::{Choices, bounded, keep_seeds, seal, slow_crc32c};
use crate::epoch::LeaderEpoch;
use crate::manifest::{CleanEnd, Manifest};
use crate::segment::sealed::IndexSum;

fn made(choices: &mut Choices<'_>) -> Manifest {
    let start = choices.offset();
    let clean = choices.flag().then(|| CleanEnd {
        last_base: choices.offset(),
        last_length: choices.u64(),
        end: choices.offset(),
        epoch: LeaderEpoch::new(choices.i32()),
        indexes: choices.flag().then(|| IndexSum::of(&[choices.byte()], &[])),
    });
    Manifest { start, clean }
}

#[test]
fn a_manifest_is_read_back_or_refused() {
    let clean = made(&mut Choices::new(&[0, 7, 1, 0, 5, 0, 0, 0, 0, 0, 0, 18, 103, 0, 99, 0, 3]));
    let raw = |manifest: Manifest| [vec![1, 0], manifest.encode()].concat();
    let seeds = [
        ("fresh", raw(Manifest::default())),
        ("clean", raw(clean)),
        (
            "damaged-and-sealed",
            vec![0, 1, 0, 7, 1, 0, 5, 1, 1, 0, 0, 2, 0, 0, 0, 9, 0, 0, 0, 0, 2, 2],
        ),
    ];
    keep_seeds("manifest", seeds);
    bolero::check!(name = "manifest").for_each(|given: &[u8]| {
        let mut choices = Choices::new(given);
        let (raw, sealed) = (choices.flag(), choices.flag());
        let bytes = if raw {
            let mut bytes = choices.rest.to_vec();
            if sealed {
                seal(&mut bytes);
            }
            bytes
        } else {
            let manifest = made(&mut choices);
            let mut bytes = manifest.encode();
            assert_eq!(Manifest::decode(&bytes), Ok(manifest));
            let damaged = choices.damage(&mut bytes);
            assert!(!damaged || sealed || Manifest::decode(&bytes).is_err(), "unnoticed damage");
            if sealed {
                seal(&mut bytes);
            }
            bytes
        };
        let Ok(manifest) = bounded(0, 0, || Manifest::decode(&bytes)) else { return };
        assert_eq!(bytes.len(), 53);
        assert_eq!(slow_crc32c(&bytes[..49]).to_be_bytes(), bytes[49..]);
        assert_eq!(bytes[..8], *b"RLMF\0\0\0\x02");
        assert_eq!(manifest.start.value().to_be_bytes(), bytes[8..16]);
        assert_eq!(manifest.clean.is_some(), bytes[16] == 1);
        if let Some(clean) = manifest.clean {
            assert_eq!(clean.last_base.value().to_be_bytes(), bytes[17..25]);
            assert_eq!(clean.last_length.to_be_bytes(), bytes[25..33]);
            assert_eq!(clean.end.value().to_be_bytes(), bytes[33..41]);
        }
        assert_eq!(Manifest::decode(&manifest.encode()), Ok(manifest));
    });
}
