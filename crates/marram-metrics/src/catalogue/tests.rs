use std::collections::BTreeSet;

use super::*;

/// Series of one family in one process, at most.
const SERIES_MAX: usize = 5_000;
/// Values of a label, at most.
const VALUES_MAX: usize = 1_000;
/// What clients choose: there may be any number of it, and its names are theirs.
const CHOSEN_BY_CLIENTS: &[&str] = &[
    "bucket",
    "key",
    "object",
    "prefix",
    "access_key",
    "user",
    "client",
    "path",
    "url",
    "token",
    "request",
    "request_id",
    "version_id",
    "error",
    "message",
];

#[test]
fn names_follow_the_practice() {
    let mut seen = BTreeSet::new();
    for family in families() {
        let name = family.name;
        assert!(seen.insert(name), "{name} is there twice");
        let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
        assert!(name.bytes().all(fits), "{name}");
        assert!(
            name.starts_with("marram_") || name.starts_with("process_"),
            "{name} belongs to somebody else"
        );
        let counts = family.kind == Kind::Counter;
        assert_eq!(name.ends_with("_total"), counts, "{name}");
        let stem = name.strip_suffix("_total").unwrap_or(name);
        assert_eq!(
            stem.ends_with("_seconds"),
            family.unit == Unit::Seconds,
            "{name}"
        );
        assert_eq!(
            stem.ends_with("_bytes"),
            family.unit == Unit::Bytes,
            "{name}"
        );
        for reserved in ["_sum", "_count", "_bucket", "_created"] {
            assert!(
                !stem.ends_with(reserved),
                "{name} looks like a part of a histogram"
            );
        }
        let help = family.help;
        assert!(
            help.len() > 10 && !help.ends_with('.') && !help.contains('\n'),
            "{name}: {help}"
        );
    }
    assert!(seen.len() > 40);
}

#[test]
fn labels_are_bounded() {
    for family in families() {
        let name = family.name;
        let series = family.series_max();
        assert!(
            (1..=SERIES_MAX).contains(&series),
            "{name} may have {series} series"
        );
        let mut labels = BTreeSet::new();
        for label in family.labels {
            assert!(
                (1..=VALUES_MAX).contains(&label.most),
                "{name}: {}",
                label.name
            );
            // Nobody is told of it who does not ask for it, and not without a token.
            let is_asked_for = label.name == "bucket" && family.from == From::Asked;
            assert!(
                is_asked_for || !CHOSEN_BY_CLIENTS.contains(&label.name),
                "{name}: {}",
                label.name
            );
            assert!(
                !matches!(label.name, "le" | "job" | "instance"),
                "{name}: {}",
                label.name
            );
            assert!(labels.insert(label.name), "{name}: {} twice", label.name);
        }
    }
}

#[test]
fn bounds_of_histograms_rise() {
    for family in families() {
        let Kind::Histogram(bounds) = family.kind else {
            continue;
        };
        assert!(
            bounds.len() <= 16,
            "{}: each bound is a series",
            family.name
        );
        assert!(
            bounds.windows(2).all(|pair| pair[0] < pair[1]),
            "{}",
            family.name
        );
    }
}
