use super::*;

const ABC_SHA256: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
const ABC_MD5: &str = "900150983cd24fb0d6963f7d28e17f72";

fn right() -> v1::Checksums {
    v1::Checksums {
        crc32c: Some(0x364b_3fb7),
        crc64nvme: Some(Crc64Nvme::of(b"abc")),
        sha256: hex::decode(ABC_SHA256).map(Into::into),
        md5: hex::decode(ABC_MD5).map(Into::into),
    }
}

fn trailer(sums: &v1::Checksums) -> v1::PutObjectTrailer {
    v1::PutObjectTrailer {
        crc64nvme: None,
        checksums: Some(sums.clone()),
    }
}

/// Each checksum alone, and the same with one bit of it turned.
fn each() -> Vec<(&'static str, v1::Checksums, v1::Checksums)> {
    let turned = |bytes: &Option<bytes::Bytes>| {
        let mut bytes = bytes.clone().expect("there").to_vec();
        bytes[5] ^= 8;
        Some(bytes.into())
    };
    let (none, all) = (v1::Checksums::default(), right());
    let sum = |crc32c, crc64nvme, sha256, md5| v1::Checksums {
        crc32c,
        crc64nvme,
        sha256,
        md5,
    };
    vec![
        (
            "CRC32C",
            sum(all.crc32c, None, None, None),
            sum(all.crc32c.map(|sum| sum ^ 1), None, None, None),
        ),
        (
            "CRC64NVME",
            sum(None, all.crc64nvme, None, None),
            sum(None, all.crc64nvme.map(|sum| sum ^ 1), None, None),
        ),
        (
            "SHA256",
            v1::Checksums {
                sha256: all.sha256.clone(),
                ..none.clone()
            },
            v1::Checksums {
                sha256: turned(&all.sha256),
                ..none.clone()
            },
        ),
        (
            "MD5",
            v1::Checksums {
                md5: all.md5.clone(),
                ..none.clone()
            },
            v1::Checksums {
                md5: turned(&all.md5),
                ..none
            },
        ),
    ]
}

fn sums(header: Option<&v1::Checksums>, compute: &[i32]) -> Sums {
    let mut sums = Sums::new(&Checks::new(header, compute).unwrap());
    sums.update(b"a");
    sums.update(b"bc");
    sums
}

#[test]
fn every_kind_is_checked_in_header_and_trailer() {
    let all = [1, 2, 3];
    for (kind, good, bad) in each() {
        assert_eq!(sums(Some(&good), &[]).check(None), Ok(()), "{kind}");
        assert_eq!(
            sums(None, &all).check(Some(&trailer(&good))),
            Ok(()),
            "{kind}"
        );
        for failed in [
            sums(Some(&bad), &[]).check(None),
            sums(None, &all).check(Some(&trailer(&bad))),
            sums(Some(&good), &[]).check(Some(&trailer(&bad))),
        ] {
            let Err(SumError::Mismatch(found)) = failed else {
                panic!("{kind}: {failed:?}");
            };
            assert_eq!(found.kind, kind);
            assert_ne!(found.expected, found.found);
        }
    }
}

#[test]
fn a_trailer_tells_only_what_was_computed() {
    for (kind, good, _) in each() {
        let told = sums(None, &[]).check(Some(&trailer(&good)));
        let is_fine = kind == "CRC64NVME";
        assert_eq!(told.is_ok(), is_fine, "{kind}: {told:?}");
    }
}

#[test]
fn digests_of_other_lengths_and_unknown_kinds_are_refused() {
    let short = v1::Checksums {
        md5: Some(vec![1; 15].into()),
        ..v1::Checksums::default()
    };
    assert!(Checks::new(Some(&short), &[]).is_err());
    assert!(sums(None, &[]).check(Some(&trailer(&short))).is_err());
    let long = v1::Checksums {
        sha256: Some(vec![1; 33].into()),
        ..v1::Checksums::default()
    };
    assert!(Checks::new(Some(&long), &[]).is_err());
    for kind in [0, 4, -1] {
        assert!(Checks::new(None, &[kind]).is_err());
    }
}

#[test]
fn an_md5_is_the_entity_tag() {
    assert_eq!(sums(None, &[3]).totals().etag(3), format!("\"{ABC_MD5}\""));
    let plain = sums(None, &[1, 2]).totals();
    assert_eq!(plain.etag(3), etag(Crc64Nvme::of(b"abc"), 3));
}
