//! What a run of the benchmark tells.

use std::time::Duration;

use serde::Serialize;

use super::machine::{Machine, mib_per_second};
use super::stats::{Histogram, Latency};
use crate::cli::BenchKind;
use crate::failure::Failure;
use crate::output::Output;
use crate::units::size as human;

/// Puts, gets or lists of a run. Of lists no bytes are counted.
#[derive(Debug, Serialize)]
pub(super) struct Part {
    requests: u64,
    failed: u64,
    bytes: u64,
    requests_per_s: f64,
    mib_per_s: f64,
    latency: Latency,
}

/// The result of a run.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    pub(super) kind: &'static str,
    pub(super) size: u64,
    pub(super) concurrency: u16,
    pub(super) objects: u32,
    pub(super) seconds: f64,
    pub(super) put: Option<Part>,
    pub(super) get: Option<Part>,
    pub(super) list: Option<Part>,
    pub(super) machine: Option<Machine>,
}

/// The name of a kind of run.
pub(super) fn name(kind: BenchKind) -> &'static str {
    match kind {
        BenchKind::Put => "put",
        BenchKind::Get => "get",
        BenchKind::Mixed => "mixed",
        BenchKind::List => "list",
    }
}

/// What is told of puts, of gets, or of lists.
pub(super) fn part(seen: &Histogram, failed: u64, size: u64, time: Duration) -> Part {
    let requests = seen.count();
    let bytes = requests * size;
    Part {
        requests,
        failed,
        bytes,
        requests_per_s: mib_per_second(requests << 20, time),
        mib_per_s: mib_per_second(bytes, time),
        latency: seen.latency(),
    }
}

/// Prints the report.
pub(super) fn print(output: &Output, report: &Report) -> Result<(), Failure> {
    if output.json {
        return output.value(report);
    }
    output.line(&format!(
        "{} of {}, {} at once, {} objects, {:.1} s",
        report.kind,
        human(report.size),
        report.concurrency,
        report.objects,
        report.seconds
    ))?;
    let parts = [
        ("put", &report.put),
        ("get", &report.get),
        ("list", &report.list),
    ];
    for (name, part) in parts {
        let Some(part) = part else { continue };
        let (requests, failed, latency) = (part.requests, part.failed, &part.latency);
        output.line(&format!(
            "{name}  {requests} done, {failed} failed, {:.1}/s, {:.1} MiB/s",
            part.requests_per_s, part.mib_per_s
        ))?;
        output.line(&format!(
            "     ms: mean {:.2}, p50 {:.2}, p90 {:.2}, p99 {:.2}, p99.9 {:.2}, max {:.2}",
            latency.mean_ms,
            latency.p50_ms,
            latency.p90_ms,
            latency.p99_ms,
            latency.p999_ms,
            latency.max_ms
        ))?;
    }
    let Some(machine) = &report.machine else {
        return Ok(());
    };
    output.line(&format!(
        "machine: synced write {:.0} MiB/s, synced 4 KiB {:.0}/s, loopback {:.0} MiB/s",
        machine.synced_write_mib_s, machine.synced_4kib_per_s, machine.loopback_mib_s
    ))
}
