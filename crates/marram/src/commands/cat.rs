//! `marram cat`.

use std::io;

use marram_client::ByteRange;

use crate::cli::CatArgs;
use crate::commands::Context;
use crate::failure::Failure;
use crate::location::Remote;
use crate::transfer::{write_out, write_ranges};

/// Writes an object, or some of its bytes, to standard output.
pub(super) async fn run(context: &Context<'_>, args: CatArgs) -> Result<(), Failure> {
    let mut object = Remote::parse_object(&args.object)?;
    object.generation = args.generation;
    let parse = |text: &String| parse_range(text).ok_or(Failure::Usage(BAD_RANGE));
    let ranges: Vec<ByteRange> = args.range.iter().map(parse).collect::<Result<_, _>>()?;
    let wanted = args.conditions.read_conditions(object.generation)?;
    let client = context.client()?;
    match ranges[..] {
        [] => write_out(&client, &object, &wanted, None, io::stdout()).await,
        [range] => write_out(&client, &object, &wanted, Some(range), io::stdout()).await,
        _ => write_ranges(&client, &object, &wanted, &ranges, io::stdout()).await,
    }
}

const BAD_RANGE: &str = "the range is not valid; write 0-99 (the last byte included), 100- or -100";

/// Reads a range as HTTP writes it, without `bytes=`.
fn parse_range(text: &str) -> Option<ByteRange> {
    let number = |digits: &str| -> Option<u64> {
        let plain = digits.bytes().all(|b| b.is_ascii_digit());
        plain.then(|| digits.parse().ok()).flatten()
    };
    match text.split_once('-')? {
        ("", last) => number(last).filter(|last| *last > 0).map(ByteRange::Last),
        (first, "") => number(first).map(ByteRange::From),
        (first, last) => {
            let (offset, last) = (number(first)?, number(last)?);
            let length = last.checked_sub(offset)?.checked_add(1)?;
            Some(ByteRange::Span { offset, length })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_as_in_http() {
        let span = |offset, length| Some(ByteRange::Span { offset, length });
        assert_eq!(parse_range("0-99"), span(0, 100));
        assert_eq!(parse_range("5-5"), span(5, 1));
        assert_eq!(parse_range("100-"), Some(ByteRange::From(100)));
        assert_eq!(parse_range("-100"), Some(ByteRange::Last(100)));
        let full = format!("0-{}", u64::MAX);
        for bad in [
            "", "-", "-0", "5-4", "a-b", "1", "0-99-", "+1-2", "1-+2", &full,
        ] {
            assert_eq!(parse_range(bad), None, "{bad}");
        }
    }
}
