//! Ports for the processes of tests.

use std::fs;
use std::net::TcpListener;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU16, Ordering};

/// Ports from one process of a cluster to the next, as `marram dev` numbers them.
const PORTS_PER_PROCESS: u16 = 10;
/// Processes that a cluster may grow to.
const PROCESSES_MAX: u16 = 20;
const ROW: u16 = PORTS_PER_PROCESS * PROCESSES_MAX;
const FIRST: u16 = 10_000;

/// The first of a row of ports for one cluster. No other test of this process gets one of them, and
/// no outgoing connection, whose ports the system takes from a range above: a process that ended
/// finds its port free when it starts again.
///
/// # Panics
/// When all rows are taken.
pub(crate) fn row() -> u16 {
    static ROWS: AtomicU16 = AtomicU16::new(0);
    let rows = (first_ephemeral() - FIRST) / ROW;
    // Another beginning for each test process, since several may run at once.
    let begin = u16::try_from(std::process::id() % u32::from(rows)).expect("below a u16");
    let free = (0..rows).find_map(|_| {
        let row = (begin + ROWS.fetch_add(1, Ordering::Relaxed)) % rows;
        let first = FIRST + row * ROW;
        let mut ports = first..first + ROW;
        ports.all(is_free).then_some(first)
    });
    free.expect("a free row of ports")
}

/// An address of loopback that is free, and stays so until somebody listens there.
///
/// # Panics
/// When there is none.
#[must_use]
pub fn free_address() -> String {
    static ALONE: OnceLock<u16> = OnceLock::new();
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = *ALONE.get_or_init(row);
    let mut ports = (0..ROW).map(|_| first + NEXT.fetch_add(1, Ordering::Relaxed) % ROW);
    let port = ports.find(|port| is_free(*port)).expect("a free port");
    format!("127.0.0.1:{port}")
}

fn is_free(port: u16) -> bool {
    TcpListener::bind(("127.0.0.1", port)).is_ok()
}

/// The first of the ports that the system gives to outgoing connections.
fn first_ephemeral() -> u16 {
    let range = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    let first = range.split_whitespace().next().map(str::parse);
    first.and_then(Result::ok).unwrap_or(32_768)
}
