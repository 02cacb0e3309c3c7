//! How findings are made.

use marram_meta::{DriveRecord, NodeRecord};
use marram_proto::v1;
use v1::Severity;

/// What an operator calls a drive.
pub(crate) fn drive_name(node: &NodeRecord, drive: &DriveRecord) -> String {
    format!("{}/{}", node.name, drive.ordinal)
}

/// A finding.
pub(crate) fn found(
    severity: Severity,
    subject: impl Into<String>,
    evidence: impl Into<String>,
    remedy: impl Into<String>,
) -> v1::Finding {
    v1::Finding {
        severity: severity.into(),
        subject: subject.into(),
        evidence: evidence.into(),
        remedy: remedy.into(),
    }
}

/// A count with its noun.
pub(crate) fn count(number: u64, one: &str, many: &str) -> String {
    match number {
        1 => format!("1 {one}"),
        number => format!("{number} {many}"),
    }
}

/// A part of a whole in hundredths, rounded down; 0 of nothing.
pub(crate) fn percent(part: u64, whole: u64) -> u64 {
    let percent = u128::from(part) * 100;
    let percent = percent.checked_div(u128::from(whole)).unwrap_or(0);
    u64::try_from(percent).unwrap_or(u64::MAX)
}

/// Bytes for people.
pub(crate) fn bytes(bytes: u64) -> String {
    const UNITS: [(&str, u32); 4] = [("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)];
    let fitting = UNITS.iter().find(|(_, shift)| bytes >> shift > 0);
    let Some((unit, shift)) = fitting else {
        return format!("{bytes} B");
    };
    let tenths = (u128::from(bytes) * 10) >> shift;
    format!("{}.{} {unit}", tenths / 10, tenths % 10)
}

/// A time for people, in its largest unit.
pub(crate) fn time(ms: u64) -> String {
    match ms / 1000 {
        0 => format!("{ms} ms"),
        s @ 1..120 => format!("{s} s"),
        s @ 120..7200 => format!("{} min", s / 60),
        s @ 7200..172_800 => format!("{} h", s / 3600),
        s => format!("{} days", s / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_said_in_words() {
        let sizes = [1023, 1024, 1536, 3 << 40].map(bytes);
        assert_eq!(sizes, ["1023 B", "1.0 KiB", "1.5 KiB", "3.0 TiB"]);
        let times = [999, 61_000, 120_000, 86_400_000, 172_800_000].map(time);
        assert_eq!(times, ["999 ms", "61 s", "2 min", "24 h", "2 days"]);
        assert_eq!(percent(u64::MAX, u64::MAX), 100);
        assert_eq!(percent(1, 0), 0);
        assert_eq!(count(1, "drive", "drives"), "1 drive");
    }
}
