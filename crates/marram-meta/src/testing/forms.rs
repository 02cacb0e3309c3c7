//! Bytes that former releases wrote, in `forms.txt`: a line each, the kind of value and its bytes in
//! hexadecimal digits. Drives and logs hold such bytes, and a cluster of two releases sends them, so lines are
//! added and never changed: each must be read, and written again as the very same bytes.
//!
//! `MARRAM_REGENERATE=1` in the environment of the tests adds the lines of forms that are new.

use std::collections::BTreeSet;
use std::fmt::{Debug, Write as _};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;

use crate::stored::Stored;

/// Values that are made to see which forms there are now.
const MADE: usize = 4000;
/// Longer ones need no line.
const BYTES_MAX: usize = 300;
/// Lines for each form: its first byte.
const EACH: usize = 2;

/// One test at a time adds lines.
static ADDING: Mutex<()> = Mutex::new(());

fn file() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("forms.txt")
}

/// Reads what is kept of a kind, and wants a line for each form that is written now.
#[track_caller]
pub(crate) fn kept<T>(kind: &str, made: impl Strategy<Value = T>)
where
    T: Stored + PartialEq + Debug,
{
    let _adding = ADDING.lock().unwrap_or_else(PoisonError::into_inner);
    let forms = fs::read_to_string(file()).expect("forms.txt is read");
    let mut known = BTreeSet::new();
    let lines = forms.lines().filter_map(|line| line.split_once(' '));
    for (_, digits) in lines.filter(|(of, _)| *of == kind) {
        let bytes = unhex(digits);
        let value = T::deser_value(&bytes);
        let value = value.unwrap_or_else(|error| panic!("{kind} {digits} is not read: {error}"));
        assert!(
            value.ser_value() == bytes,
            "{kind} {digits} is read as {value:?}"
        );
        known.insert(bytes[0]);
    }
    let missing = missing(kind, &known, &made);
    if std::env::var_os("MARRAM_REGENERATE").is_some() {
        fs::write(file(), forms + &missing).expect("forms.txt is written");
        return;
    }
    assert!(
        missing.is_empty(),
        "forms.txt lacks forms that are written now: run this test with MARRAM_REGENERATE=1, which adds\n{missing}"
    );
    assert!(!known.is_empty(), "no form of {kind} is kept");
}

/// Lines of the forms that are not known.
fn missing<T: Stored + Debug>(
    kind: &str,
    known: &BTreeSet<u8>,
    made: &impl Strategy<Value = T>,
) -> String {
    let mut runner = TestRunner::deterministic();
    let (mut count, mut missing) = ([0; 256], String::new());
    for _ in 0..MADE {
        let tree = made.new_tree(&mut runner).expect("a value");
        let bytes = tree.current().ser_value();
        let form = usize::from(bytes[0]);
        let wanted = !known.contains(&bytes[0]) && bytes.len() <= BYTES_MAX;
        if wanted && count[form] < EACH {
            count[form] += 1;
            let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            let _ = writeln!(missing, "{kind} {digits}");
        }
    }
    missing
}

fn unhex(digits: &str) -> Vec<u8> {
    let byte = |at: usize| u8::from_str_radix(&digits[at..at + 2], 16).expect("hexadecimal digits");
    (0..digits.len()).step_by(2).map(byte).collect()
}
