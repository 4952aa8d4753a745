//! The names of files.

use super::{Choices, keep_seeds};
use crate::segment::name::Kind;

#[test]
fn a_name_stands_for_one_file_and_reads_back() {
    let seeds = [
        ("segment", b"00000000000000004711.log".to_vec()),
        ("snapshot", b"00000000000000000000.snapshot".to_vec()),
        ("largest", b"09223372036854775807.timeindex".to_vec()),
        ("too-large", b"99999999999999999999.index".to_vec()),
    ];
    keep_seeds("file_name", seeds);
    bolero::check!(name = "file_name").for_each(|given: &[u8]| {
        let Ok(name) = std::str::from_utf8(given) else { return };
        if let Some((kind, base)) = Kind::parse(name) {
            assert_eq!(kind.name(base), name);
        }
        let base = Choices::new(given).offset();
        for kind in Kind::ALL {
            assert_eq!(Kind::parse(&kind.name(base)), Some((kind, base)));
        }
    });
}
