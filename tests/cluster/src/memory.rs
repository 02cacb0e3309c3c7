//! Resident memory of a process, as Linux counts it.

use std::fs;

/// Resident memory of a process now.
///
/// # Panics
/// When the process is gone.
#[must_use]
pub fn resident_bytes(pid: u32) -> u64 {
    field(pid, "VmRSS:")
}

/// Resident memory of a process that is its own: neither the pages of its program, which all processes
/// of a machine share and which are many in a build with debug assertions, nor other files.
///
/// # Panics
/// When the process is gone.
#[must_use]
pub fn own_bytes(pid: u32) -> u64 {
    field(pid, "RssAnon:")
}

/// The highest resident memory of a process since [`reset_peak`], or since it started.
///
/// # Panics
/// When the process is gone.
#[must_use]
pub fn peak_resident_bytes(pid: u32) -> u64 {
    field(pid, "VmHWM:")
}

/// Begins to watch for a new peak.
///
/// # Panics
/// When the process is gone.
pub fn reset_peak(pid: u32) {
    fs::write(format!("/proc/{pid}/clear_refs"), "5").expect("our own process");
}

fn field(pid: u32, name: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("the process runs");
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix(name))
        .expect("a field of Linux");
    let kib: u64 = line
        .trim()
        .trim_end_matches(" kB")
        .parse()
        .expect("a number");
    kib * 1024
}
