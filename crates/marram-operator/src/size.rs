//! Sizes as Kubernetes writes them.

const UNITS: [(&str, u128); 12] = [
    ("Ki", 1 << 10),
    ("Mi", 1 << 20),
    ("Gi", 1 << 30),
    ("Ti", 1 << 40),
    ("Pi", 1 << 50),
    ("Ei", 1 << 60),
    ("k", 1_000),
    ("M", 1_000_000),
    ("G", 1_000_000_000),
    ("T", 1_000_000_000_000),
    ("P", 1_000_000_000_000_000),
    ("E", 1_000_000_000_000_000_000),
];
/// Digits before and after the point that are read.
const DIGITS_MAX: usize = 18;

/// The bytes of a size such as 4Gi or 1.5T, rounded up as volumes are; none where it is no size.
#[must_use]
pub fn bytes(text: &str) -> Option<u128> {
    let unit = UNITS
        .iter()
        .find_map(|(suffix, factor)| Some((text.strip_suffix(suffix)?, *factor)));
    let (number, factor) = unit.unwrap_or((text, 1));
    let (whole, part) = number.split_once('.').unwrap_or((number, ""));
    let plain = |digits: &str| {
        digits.len() <= DIGITS_MAX && digits.bytes().all(|digit| digit.is_ascii_digit())
    };
    if whole.is_empty() || !plain(whole) || !plain(part) {
        return None;
    }
    let read = |digits: &str| digits.parse::<u128>().unwrap_or(0);
    let scale = 10_u128.pow(u32::try_from(part.len()).ok()?);
    let thousandths = read(whole).checked_mul(scale)?.checked_add(read(part))?;
    Some(thousandths.checked_mul(factor)?.div_ceil(scale))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_kubernetes_writes_them() {
        let gib = 1 << 30;
        for (text, expected) in [
            ("4Gi", 4 * gib),
            ("4096Mi", 4 * gib),
            ("4294967296", 4 * gib),
            ("4194304Ki", 4 * gib),
            ("1.5Gi", 3 * gib / 2),
            ("1T", 1_000_000_000_000),
            ("0.5k", 500),
            ("1.0001", 2),
        ] {
            assert_eq!(bytes(text), Some(expected), "{text}");
        }
        for text in [
            "",
            "Gi",
            "-1",
            "4gi",
            "1e3",
            "4 Gi",
            ".5",
            "1.2.3",
            &"9".repeat(19),
        ] {
            assert_eq!(bytes(text), None, "{text}");
        }
    }
}
