//! Sizes, times and dates as people write and read them. Pure.

use std::time::Duration;

/// Text that is not a size.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("write a number of bytes, if need be with K, M, G or T, for example 4096, 4KiB or 64MiB")]
pub(crate) struct SizeError;

/// Text that is not a time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("write a time with its unit, for example 500ms, 10s, 2m, 1h or 30d")]
pub(crate) struct DurationError;

/// Reads a size: `K`, `KiB` (1024), `KB` (1000), and so on; the unit's case does not matter.
pub(crate) fn parse_size(text: &str) -> Result<u64, SizeError> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| SizeError)?;
    let unit = unit.trim().to_ascii_lowercase();
    let (letter, rest) = unit.split_at(unit.len().min(1));
    let power = match letter {
        "" | "b" => 0,
        "k" => 1,
        "m" => 2,
        "g" => 3,
        "t" => 4,
        _ => return Err(SizeError),
    };
    let base: u64 = match rest {
        "" | "ib" => 1024,
        "b" if power > 0 => 1000,
        _ => return Err(SizeError),
    };
    if power == 0 && !rest.is_empty() {
        return Err(SizeError);
    }
    number.checked_mul(base.pow(power)).ok_or(SizeError)
}

/// Reads a time.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, DurationError> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| DurationError)?;
    let unit_ms = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 24 * 3_600_000,
        _ => return Err(DurationError),
    };
    number
        .checked_mul(unit_ms)
        .map(Duration::from_millis)
        .ok_or(DurationError)
}

/// A size for people: `1.5 MiB`.
pub(crate) fn size(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    // The number of the highest bit says the unit: bits 10 to 19 are KiB, and so on.
    let unit = ((bytes.ilog2() / 10) as usize).min(UNITS.len());
    let shift = 10 * (unit - 1);
    let tenths = (u128::from(bytes >> shift) * 10) >> 10;
    format!("{}.{} {}", tenths / 10, tenths % 10, UNITS[unit - 1])
}

/// Text that is not a day.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("write a day as year-month-day, for example 2027-01-31")]
pub(crate) struct DateError;

/// Reads a day: its midnight UTC in milliseconds since 1970.
pub(crate) fn parse_date(text: &str) -> Result<i64, DateError> {
    let mut parts = text.splitn(3, '-').map(|part| {
        let digits = !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        let number = part.parse::<i64>().ok();
        number.filter(|_| digits && part.len() <= 4)
    });
    let mut next = || parts.next().flatten().ok_or(DateError);
    let (year, month, day) = (next()?, next()?, next()?);
    // March begins the year, so that the day that some years have more is the last one.
    let from_march = year - i64::from(month <= 2);
    let (era, of_era) = (from_march.div_euclid(400), from_march.rem_euclid(400));
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let days = era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468;
    if civil(days) != (year, month, day) {
        return Err(DateError);
    }
    Ok(days * 86_400_000)
}

/// Text that is not a moment.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("write a time as 2027-01-31, 2027-01-31T08:00:00Z or milliseconds since 1970, all UTC")]
pub(crate) struct MomentError;

/// Reads a moment: a day, a day and a time as `stat` prints it or with `T` and `Z`, with milliseconds or
/// without, or the milliseconds since 1970.
pub(crate) fn parse_moment(text: &str) -> Result<i64, MomentError> {
    if !text.contains('-') {
        let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        return text.parse().ok().filter(|_| digits).ok_or(MomentError);
    }
    let (day, time) = match text.split_once(['T', ' ']) {
        None => (text, "00:00:00"),
        Some((day, time)) => (day, time.strip_suffix('Z').unwrap_or(time)),
    };
    let day = parse_date(day).map_err(|_| MomentError)?;
    let (time, fraction) = time.split_once('.').unwrap_or((time, "000"));
    let number = |text: &str, digits: usize, below: i64| {
        let plain = text.len() == digits && text.bytes().all(|b| b.is_ascii_digit());
        let number = text.parse::<i64>().ok().filter(|n| plain && *n < below);
        number.ok_or(MomentError)
    };
    let mut parts = time.split(':');
    let mut part = |below| number(parts.next().unwrap_or_default(), 2, below);
    let (hour, minute, second) = (part(24)?, part(60)?, part(60)?);
    if parts.next().is_some() {
        return Err(MomentError);
    }
    let seconds = (hour * 60 + minute) * 60 + second;
    Ok(day + seconds * 1000 + number(fraction, 3, 1000)?)
}

/// A moment in milliseconds since 1970 as `2026-11-23 05:33:11` (UTC).
pub(crate) fn date(ms: i64) -> String {
    let seconds = ms.div_euclid(1000);
    let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let (year, month, day) = civil(days);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}")
}

/// The date of a number of days since 1970-01-01, in the Gregorian calendar. Years are counted
/// from March, so that the leap day is the last one.
fn civil(days: i64) -> (i64, i64, i64) {
    const DAYS_OF_400_YEARS: i64 = 146_097;
    // 719,468 days lie between 0000-03-01 and 1970-01-01.
    let shifted = days + 719_468;
    let era = shifted.div_euclid(DAYS_OF_400_YEARS);
    let day_of_era = shifted.rem_euclid(DAYS_OF_400_YEARS);
    let leaps = day_of_era / 1460 - day_of_era / 36_524 + day_of_era / 146_096;
    let year_of_era = (day_of_era - leaps) / 365;
    let before = 365 * year_of_era + year_of_era / 4 - year_of_era / 100;
    let day_of_year = day_of_era - before;
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = (month_from_march + 2) % 12 + 1;
    let year = 400 * era + year_of_era + i64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_read_as_they_are_printed() {
        let ms = 1_795_849_200_123;
        assert_eq!(parse_moment(&ms.to_string()), Ok(ms));
        assert_eq!(parse_moment(&date(ms)), Ok(ms - 123));
        let iso = date(ms).replace(' ', "T");
        assert_eq!(parse_moment(&format!("{iso}Z")), Ok(ms - 123));
        assert_eq!(parse_moment(&format!("{iso}.123Z")), Ok(ms));
        assert_eq!(parse_moment("1970-01-02"), Ok(86_400_000));
        for bad in [
            "",
            "yesterday",
            "-1",
            "+5",
            "2027-02-30",
            "2027-01-31T",
            "2027-01-31T8:00:00",
            "2027-01-31T24:00:00",
            "2027-01-31T08:00",
            "2027-01-31T08:00:00:00",
            "2027-01-31T08:00:00.1Z",
            "2027-01-31T08:00:00+01:00",
        ] {
            assert_eq!(parse_moment(bad), Err(MomentError), "{bad}");
        }
    }

    #[test]
    fn sizes_are_read() {
        let good = [
            ("0", 0),
            ("4096", 4096),
            ("10B", 10),
            ("4k", 4096),
            ("4KiB", 4096),
            ("4KB", 4000),
            ("64MiB", 64 << 20),
            ("1 GiB", 1 << 30),
            ("2t", 2 << 40),
        ];
        for (text, bytes) in good {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
        for bad in [
            "",
            "k",
            "-1",
            "1.5k",
            "1x",
            "1bb",
            "1bib",
            "99999999T",
            "1kk",
        ] {
            assert_eq!(parse_size(bad), Err(SizeError), "{bad}");
        }
    }

    #[test]
    fn times_are_read() {
        assert_eq!(parse_duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(parse_duration("2m"), Ok(Duration::from_secs(120)));
        for bad in ["", "10", "s", "1w", "-1s"] {
            assert_eq!(parse_duration(bad), Err(DurationError), "{bad}");
        }
    }

    #[test]
    fn sizes_are_written() {
        let all = [0, 1023, 1024, 1536, 1 << 20, (1 << 20) - 1, u64::MAX].map(size);
        let want = [
            "0 B",
            "1023 B",
            "1.0 KiB",
            "1.5 KiB",
            "1.0 MiB",
            "1023.9 KiB",
            "15.9 EiB",
        ];
        assert_eq!(all, want);
    }

    #[test]
    fn days_are_read() {
        for text in [
            "1970-01-01",
            "2000-02-29",
            "2026-11-23",
            "2027-12-31",
            "1969-12-31",
        ] {
            let ms = parse_date(text).unwrap();
            assert_eq!(date(ms), format!("{text} 00:00:00"));
        }
        for text in [
            "",
            "2027",
            "2027-01",
            "2027-13-01",
            "2027-02-30",
            "2027-00-10",
            "a-b-c",
            "2027-01-01x",
        ] {
            assert_eq!(parse_date(text), Err(DateError), "{text}");
        }
    }

    #[test]
    fn dates_are_written() {
        assert_eq!(date(0), "1970-01-01 00:00:00");
        assert_eq!(date(951_782_400_000), "2000-02-29 00:00:00");
        assert_eq!(date(1_795_412_000_999), "2026-11-23 05:33:20");
        assert_eq!(date(-1), "1969-12-31 23:59:59");
    }
}
