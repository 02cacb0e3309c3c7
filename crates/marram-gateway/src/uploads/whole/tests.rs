//! Parts put together, and what is refused.

use marram_types::caps::{GIB, MIB};
use marram_types::crc32c;
use proptest::prelude::*;

use super::*;

fn sums(bytes: &[u8]) -> PartSums {
    let sha256 = ring::digest::digest(&SHA256, bytes);
    PartSums {
        crc32c: Some(crc32c(bytes)),
        sha256: sha256.as_ref().try_into().ok(),
        md5: Some(Md5::digest(bytes).into()),
    }
}

fn item(part: u16, bytes: &[u8]) -> PartItem {
    PartItem {
        part,
        size: bytes.len() as u64,
        crc64: Crc64Nvme::of(bytes),
        etag: format!("\"tag-{part}\""),
        sums: sums(bytes),
        modified_ms: 0,
    }
}

/// A part of this size, whose bytes nobody has.
fn sized(part: u16, size: u64) -> PartItem {
    let sums = PartSums::default();
    PartItem {
        size,
        sums,
        ..item(part, b"")
    }
}

fn wanted(parts: impl IntoIterator<Item = u16>) -> Vec<WantedPart> {
    let any = |part| WantedPart {
        part,
        ..WantedPart::default()
    };
    parts.into_iter().map(any).collect()
}

#[test]
fn checksums_of_the_whole_follow_from_those_of_the_parts() {
    let large: Vec<u8> = (0..5 * MIB).map(|n| (n % 251) as u8).collect();
    let parts = [item(1, &large), item(7, b""), item(9, b"the end")];
    let two = [parts[0].clone(), parts[2].clone()];
    let made = whole(&wanted([1, 9]), &parts).unwrap();
    let bytes = [&large[..], b"the end"].concat();
    assert_eq!(
        (made.size, made.crc64),
        (bytes.len() as u64, Crc64Nvme::of(&bytes))
    );
    assert_eq!(made.crc32c, Some(crc32c(&bytes)));
    let digests = two.each_ref().map(|item| item.sums.md5.unwrap()).concat();
    let md5 = hex::encode(&Md5::digest(&digests));
    assert_eq!(made.etag, format!("\"{md5}-2\""));
    let digests = two
        .each_ref()
        .map(|item| item.sums.sha256.unwrap())
        .concat();
    assert_eq!(made.composite.sha256, sums(&digests).sha256);

    let told = Known {
        crc64nvme: Some(made.crc64),
        crc32c: made.crc32c,
        ..Known::default()
    };
    assert_eq!(made.check(&told, Some(made.size)), Ok(()));
    let other = Known {
        crc32c: Some(1),
        ..told
    };
    assert_eq!(
        made.check(&other, None),
        Err(WholeError::WholeChecksum("CRC32C"))
    );
    let other = Known {
        crc64nvme: Some(1),
        ..told
    };
    assert_eq!(
        made.check(&other, None),
        Err(WholeError::WholeChecksum("CRC64NVME"))
    );
    let size = WholeError::Size {
        expected: 1,
        found: made.size,
    };
    assert_eq!(made.check(&told, Some(1)), Err(size));
}

#[test]
fn a_part_without_a_checksum_leaves_the_whole_without_it() {
    let mut parts = [item(1, &[7; 5 * MIB]), item(2, b"x")];
    parts[1].sums = PartSums::default();
    let made = whole(&wanted([1, 2]), &parts).unwrap();
    assert_eq!((made.crc32c, made.composite), (None, PartSums::default()));
    assert!(made.etag.ends_with("-2\""));
    let told = Known {
        crc32c: Some(1),
        ..Known::default()
    };
    assert_eq!(
        made.check(&told, None),
        Err(WholeError::WholeChecksum("CRC32C"))
    );
}

#[test]
fn what_is_wrong_with_parts_is_told() {
    let stored = [
        sized(1, PART_BYTES_MIN),
        sized(2, PART_BYTES_MIN - 1),
        sized(3, 0),
    ];
    let of = |parts: &[u16]| whole(&wanted(parts.iter().copied()), &stored);
    assert_eq!(of(&[1, 4]), Err(WholeError::Missing { part: 4 }));
    let small = WholeError::TooSmall {
        part: 2,
        size: PART_BYTES_MIN - 1,
    };
    assert_eq!(of(&[1, 2, 3]), Err(small.clone()));
    assert_eq!(small.reason(), Reason::PartTooSmall);
    assert!(
        of(&[1, 2]).is_ok() && of(&[3]).is_ok(),
        "the last may be small"
    );

    let mut tagged = wanted([1]);
    tagged[0].etag = "tag-1".to_owned();
    assert!(whole(&tagged, &stored).is_ok());
    tagged[0].etag = "tag-2".to_owned();
    let wrong = whole(&tagged, &stored).unwrap_err();
    assert!(
        matches!(wrong, WholeError::Etag { part: 1, .. }),
        "{wrong:?}"
    );
    assert_eq!(wrong.reason(), Reason::InvalidPart);
    let mut summed = wanted([1]);
    summed[0].known.crc64nvme = Some(99);
    let wrong = whole(&summed, &stored).unwrap_err();
    assert_eq!(
        wrong,
        WholeError::Checksum {
            part: 1,
            kind: "CRC64NVME"
        }
    );
    let mut summed = wanted([1]);
    summed[0].known.md5 = Some([0; 16]);
    let wrong = whole(&summed, &stored).unwrap_err();
    assert_eq!(
        wrong,
        WholeError::Checksum {
            part: 1,
            kind: "MD5"
        }
    );
}

#[test]
fn five_tebibytes_are_an_object_and_one_byte_more_is_none() {
    let mut parts: Vec<PartItem> = (1..=1024).map(|n| sized(n, 5 * GIB)).collect();
    let all = wanted(1..=1024);
    assert_eq!(whole(&all, &parts).unwrap().size, OBJECT_BYTES_MAX);
    parts.push(sized(1025, 1));
    let wrong = whole(&wanted(1..=1025), &parts).unwrap_err();
    assert_eq!(
        wrong,
        WholeError::TooLarge {
            size: OBJECT_BYTES_MAX + 1
        }
    );
    assert_eq!(wrong.reason(), Reason::ObjectTooLarge);
}

proptest! {
    #[test]
    fn any_cut_gives_the_checksum_of_the_whole(
        pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..64), 1..6),
    ) {
        // The rule of sizes is not of interest here: each piece is said to be large.
        let bytes = pieces.concat();
        let join = |sum, piece: &Vec<u8>| {
            Crc64Nvme::joined(sum, Crc64Nvme::of(piece), piece.len() as u64)
        };
        let joined = pieces.iter().fold(Crc64Nvme::default().value(), join);
        prop_assert_eq!(joined, Crc64Nvme::of(&bytes));
    }
}
