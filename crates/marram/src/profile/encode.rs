//! Samples of stacks as a profile of pprof (`profile.proto` of google/pprof), compressed as its tools expect it.
//!
//! Of a program without symbols the addresses are told, with where in which file they are:
//! `go tool pprof PROGRAM PROFILE` finds the names in a program of the same build that has them.

use std::collections::HashMap;
use std::io::{self, Write};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use flate2::Compression;
use flate2::write::GzEncoder;
use prost::Message;

/// Most stacks in a profile, those that were seen most often; the others are one without a name.
const STACKS_MAX: usize = 20_000;

/// What the tools leave out with all that it calls: the frames of the signal itself.
const LEFT_OUT: &str = ".*perf_signal_handler.*|__restore_rt";

#[derive(Clone, PartialEq, Message)]
pub(super) struct Profile {
    #[prost(message, repeated, tag = "1")]
    sample_type: Vec<ValueType>,
    #[prost(message, repeated, tag = "2")]
    sample: Vec<Sample>,
    #[prost(message, repeated, tag = "3")]
    mapping: Vec<Mapping>,
    #[prost(message, repeated, tag = "4")]
    location: Vec<Location>,
    #[prost(message, repeated, tag = "5")]
    function: Vec<Function>,
    #[prost(string, repeated, tag = "6")]
    string_table: Vec<String>,
    #[prost(int64, tag = "7")]
    drop_frames: i64,
    #[prost(int64, tag = "9")]
    time_nanos: i64,
    #[prost(int64, tag = "10")]
    duration_nanos: i64,
    #[prost(message, optional, tag = "11")]
    period_type: Option<ValueType>,
    #[prost(int64, tag = "12")]
    period: i64,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct ValueType {
    #[prost(int64, tag = "1")]
    kind: i64,
    #[prost(int64, tag = "2")]
    unit: i64,
}

#[derive(Clone, PartialEq, Message)]
struct Sample {
    #[prost(uint64, repeated, tag = "1")]
    location_id: Vec<u64>,
    #[prost(int64, repeated, tag = "2")]
    value: Vec<i64>,
}

#[derive(Clone, PartialEq, Message)]
struct Mapping {
    #[prost(uint64, tag = "1")]
    id: u64,
    #[prost(uint64, tag = "2")]
    memory_start: u64,
    #[prost(uint64, tag = "3")]
    memory_limit: u64,
    #[prost(uint64, tag = "4")]
    file_offset: u64,
    #[prost(int64, tag = "5")]
    filename: i64,
    #[prost(bool, tag = "7")]
    has_functions: bool,
    #[prost(bool, tag = "8")]
    has_filenames: bool,
    #[prost(bool, tag = "9")]
    has_line_numbers: bool,
    #[prost(bool, tag = "10")]
    has_inline_frames: bool,
}

#[derive(Clone, PartialEq, Message)]
struct Location {
    #[prost(uint64, tag = "1")]
    id: u64,
    #[prost(uint64, tag = "2")]
    mapping_id: u64,
    #[prost(uint64, tag = "3")]
    address: u64,
    #[prost(message, repeated, tag = "4")]
    line: Vec<Line>,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct Line {
    #[prost(uint64, tag = "1")]
    function_id: u64,
    #[prost(int64, tag = "2")]
    line: i64,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct Function {
    #[prost(uint64, tag = "1")]
    id: u64,
    #[prost(int64, tag = "2")]
    name: i64,
    #[prost(int64, tag = "3")]
    system_name: i64,
    #[prost(int64, tag = "4")]
    filename: i64,
}

/// A profile while it is made.
#[derive(Default)]
struct Making {
    made: Profile,
    strings: HashMap<String, i64>,
    functions: HashMap<(i64, i64), u64>,
    locations: HashMap<usize, u64>,
}

impl Making {
    fn string(&mut self, text: &str) -> i64 {
        if let Some(known) = self.strings.get(text) {
            return *known;
        }
        let at = i64::try_from(self.made.string_table.len()).unwrap_or(i64::MAX);
        self.made.string_table.push(text.to_owned());
        self.strings.insert(text.to_owned(), at);
        at
    }

    fn function(&mut self, name: &str, file: &str) -> u64 {
        let (name, filename) = (self.string(name), self.string(file));
        if let Some(known) = self.functions.get(&(name, filename)) {
            return *known;
        }
        let id = self.made.function.len() as u64 + 1;
        self.functions.insert((name, filename), id);
        self.made.function.push(Function {
            id,
            name,
            system_name: name,
            filename,
        });
        id
    }

    /// The place of an address in the program, with the functions that it is in, innermost first.
    fn location(&mut self, address: usize, is_leaf: bool) -> u64 {
        if let Some(known) = self.locations.get(&address) {
            return *known;
        }
        // An address that is returned to is behind the call.
        let within = address.saturating_sub(usize::from(!is_leaf));
        let mut found = Vec::new();
        backtrace::resolve(within as *mut _, |symbol| {
            let name = symbol.name().map(|name| format!("{name:#}"));
            let file = symbol.filename().map(|file| file.display().to_string());
            found.push((name, file.unwrap_or_default(), symbol.lineno().unwrap_or(0)));
        });
        let named = found.into_iter().filter_map(|(name, file, line)| {
            let function_id = self.function(&name?, &file);
            let line = i64::from(line);
            Some(Line { function_id, line })
        });
        let line: Vec<Line> = named.collect();
        let place = address as u64;
        let mapping = self.made.mapping.iter_mut();
        let mut here = mapping.filter(|it| (it.memory_start..it.memory_limit).contains(&place));
        let mapping_id = here.next().map_or(0, |mapping| {
            if !line.is_empty() {
                mapping.has_functions = true;
                mapping.has_filenames = true;
                mapping.has_line_numbers = true;
                mapping.has_inline_frames = true;
            }
            mapping.id
        });
        let id = self.made.location.len() as u64 + 1;
        self.locations.insert(address, id);
        self.made.location.push(Location {
            id,
            mapping_id,
            address: place,
            line,
        });
        id
    }

    fn map(&mut self, maps: &str) {
        for line in maps.lines() {
            let Some((start, limit, offset, file)) = executable(line) else {
                continue;
            };
            let filename = self.string(file);
            self.made.mapping.push(Mapping {
                id: self.made.mapping.len() as u64 + 1,
                memory_start: start,
                memory_limit: limit,
                file_offset: offset,
                filename,
                ..Mapping::default()
            });
        }
    }
}

/// Start, end, offset and file of a line of `/proc/self/maps`, if code is there (proc(5)).
fn executable(line: &str) -> Option<(u64, u64, u64, &str)> {
    let mut parts = line.split_whitespace();
    let (start, limit) = parts.next()?.split_once('-')?;
    let is_code = parts.next()?.contains('x');
    let offset = parts.next()?;
    let file = parts.nth(2)?;
    let number = |text| u64::from_str_radix(text, 16).ok();
    is_code.then_some(())?;
    Some((number(start)?, number(limit)?, number(offset)?, file))
}

/// The frames of a stack that are the program's own: those of the signal that looked at it come first.
fn own_frames(made: &Profile, stack: &[u64]) -> usize {
    let is_signals = |id: &u64| {
        let at = usize::try_from(*id).unwrap_or(0).checked_sub(1);
        let location = at.and_then(|at| made.location.get(at));
        location.is_some_and(|location| {
            location.line.iter().any(|line| {
                let function = usize::try_from(line.function_id)
                    .unwrap_or(0)
                    .checked_sub(1);
                let name = function
                    .and_then(|at| made.function.get(at))
                    .and_then(|function| usize::try_from(function.name).ok())
                    .and_then(|at| made.string_table.get(at));
                name.is_some_and(|name| {
                    name.contains("perf_signal_handler") || name == "__restore_rt"
                })
            })
        })
    };
    stack.iter().rposition(is_signals).map_or(0, |at| at + 1)
}

/// Makes it.
///
/// # Errors
/// When it cannot be compressed, for which there is no reason.
pub(super) fn encode(
    stacks: HashMap<Vec<usize>, i64>,
    took: Duration,
    period: Duration,
) -> io::Result<Vec<u8>> {
    let mut making = Making::default();
    making.string("");
    let nanos = |time: Duration| i64::try_from(time.as_nanos()).unwrap_or(i64::MAX);
    let count = ValueType {
        kind: making.string("samples"),
        unit: making.string("count"),
    };
    let cpu = ValueType {
        kind: making.string("cpu"),
        unit: making.string("nanoseconds"),
    };
    making.made.sample_type = vec![count, cpu];
    making.made.period_type = Some(cpu);
    making.made.period = nanos(period);
    making.made.drop_frames = making.string(LEFT_OUT);
    making.made.duration_nanos = nanos(took);
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    making.made.time_nanos = nanos(now.unwrap_or_default().saturating_sub(took));
    making.map(&std::fs::read_to_string("/proc/self/maps").unwrap_or_default());
    let mut stacks: Vec<(Vec<usize>, i64)> = stacks.into_iter().collect();
    stacks.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    let rest: i64 = stacks.iter().skip(STACKS_MAX).map(|(_, count)| count).sum();
    stacks.truncate(STACKS_MAX);
    for (stack, count) in &stacks {
        let each = stack.iter().enumerate();
        let places: Vec<u64> = each
            .map(|(at, address)| making.location(*address, at == 0))
            .collect();
        let from = own_frames(&making.made, &places);
        making
            .made
            .sample
            .push(sample(places[from..].to_vec(), *count, period));
    }
    if rest > 0 {
        making.made.sample.push(sample(Vec::new(), rest, period));
    }
    let mut compressed = GzEncoder::new(Vec::new(), Compression::default());
    compressed.write_all(&making.made.encode_to_vec())?;
    compressed.finish()
}

fn sample(location_id: Vec<u64>, count: i64, period: Duration) -> Sample {
    let period = i64::try_from(period.as_nanos()).unwrap_or(i64::MAX);
    Sample {
        location_id,
        value: vec![count, count.saturating_mul(period)],
    }
}

/// The names of a profile's functions that are in a stack, and how many samples there are.
#[cfg(test)]
pub(super) fn read(profile: &[u8]) -> (Vec<String>, i64) {
    use std::io::Read;
    let mut plain = Vec::new();
    let mut from = flate2::read::GzDecoder::new(profile);
    from.read_to_end(&mut plain).expect("compressed");
    let profile = Profile::decode(&*plain).expect("a profile");
    let used = profile.sample.iter().flat_map(|sample| &sample.location_id);
    let at = |id: u64| usize::try_from(id).expect("small") - 1;
    let lines = used.flat_map(|id| &profile.location[at(*id)].line);
    let names = lines.map(|line| profile.function[at(line.function_id)].name);
    let names: std::collections::BTreeSet<i64> = names.collect();
    let text = |at: i64| profile.string_table[usize::try_from(at).expect("small")].clone();
    let samples = profile.sample.iter().map(|sample| sample.value[0]).sum();
    (names.into_iter().map(text).collect(), samples)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_is_found_in_the_map_of_the_process() {
        let line = "7f00-7fff r-xp 00026000 08:01 42 /usr/lib/libc.so.6";
        let expected = (0x7f00, 0x7fff, 0x26000, "/usr/lib/libc.so.6");
        assert_eq!(executable(line), Some(expected));
        for other in [
            "7f00-7fff rw-p 00026000 08:01 42 /usr/lib/libc.so.6",
            "7f00-7fff r-xp 00000000 00:00 0",
            "",
        ] {
            assert_eq!(executable(other), None, "{other}");
        }
    }

    #[test]
    fn rare_stacks_beyond_the_limit_are_one() {
        let stacks = (0..STACKS_MAX + 5).map(|at| (vec![at + 1], 2)).collect();
        let made = encode(stacks, Duration::from_secs(1), Duration::from_millis(10));
        let (_, samples) = read(&made.expect("made"));
        assert_eq!(samples, 2 * (i64::try_from(STACKS_MAX).expect("small") + 5));
    }
}
