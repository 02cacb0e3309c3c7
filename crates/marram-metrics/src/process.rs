//! What Linux says of this process, and tokio of its runtimes.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::runtime::Handle;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use crate::Source;
use crate::catalogue::{
    BUILD_INFO, PROCESS_CPU, PROCESS_MAX_FDS, PROCESS_OPEN_FDS, PROCESS_RESIDENT, PROCESS_START,
    PROCESS_THREADS, PROCESS_VIRTUAL, RUNTIME_BUSY, RUNTIME_LAG, RUNTIME_QUEUED, RUNTIME_TASKS,
    RUNTIME_WORKERS,
};
use crate::histogram::Histogram;
use crate::sheet::Sheet;

/// This process.
#[derive(Debug)]
pub struct Process {
    version: &'static str,
    kind: &'static str,
}

impl Process {
    /// This process, a `kind` of release `version`.
    #[must_use]
    pub fn new(version: &'static str, kind: &'static str) -> Self {
        Self { version, kind }
    }
}

/// How often a runtime is asked how late it is.
const LAG_EVERY: Duration = Duration::from_millis(250);

/// One of its runtimes.
#[derive(Debug)]
pub struct Runtime {
    name: &'static str,
    handle: Handle,
    lag: Arc<Histogram>,
    /// What measures it.
    probe: AbortHandle,
}

impl Runtime {
    /// A runtime, and what it is called. A task in it measures how late the runtime is, until this is
    /// dropped.
    #[must_use]
    pub fn new(name: &'static str, handle: Handle) -> Self {
        let lag = Arc::new(Histogram::of(&RUNTIME_LAG));
        let probe = handle.spawn(measure_lag(Arc::clone(&lag))).abort_handle();
        Self {
            name,
            handle,
            lag,
            probe,
        }
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        self.probe.abort();
    }
}

/// Wants to run at certain times, and notes how long after them it does.
async fn measure_lag(lag: Arc<Histogram>) {
    loop {
        let due = Instant::now() + LAG_EVERY;
        tokio::time::sleep_until(due).await;
        lag.observe_time(due.elapsed());
    }
}

/// What stands in `/proc/self`.
#[derive(Debug, Default, PartialEq)]
struct Linux {
    cpu_s: f64,
    start_s: f64,
    virtual_bytes: u64,
    resident_bytes: u64,
    threads: u64,
    open_fds: Option<u64>,
    max_fds: Option<u64>,
}

impl Linux {
    /// As it is now; none where there is no such file system.
    fn read() -> Option<Self> {
        let text = |file: &str| std::fs::read_to_string(file).ok();
        let ticks = rustix::param::clock_ticks_per_second();
        let page = rustix::param::page_size() as u64;
        let mut read = parse_stat(&text("/proc/self/stat")?, (ticks, page))?;
        read.start_s += boot_time_s(&text("/proc/stat")?)?;
        let fds = std::fs::read_dir("/proc/self/fd").ok();
        // The folder itself is open while it is counted.
        read.open_fds = fds.map(|fds| (fds.count() as u64).saturating_sub(1));
        read.max_fds = text("/proc/self/limits").and_then(|limits| max_fds(&limits));
        Some(read)
    }
}

/// proc(5), `/proc/pid/stat`: the fields behind the name, which may hold anything.
fn parse_stat(stat: &str, (ticks, page): (u64, u64)) -> Option<Linux> {
    let (_, fields) = stat.rsplit_once(") ")?;
    let fields: Vec<&str> = fields.split_whitespace().collect();
    // The first one here is field 3.
    let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
    #[expect(clippy::cast_precision_loss)] // far below 2^52
    let seconds = |of: u64| of as f64 / ticks as f64;
    Some(Linux {
        cpu_s: seconds(field(14)? + field(15)?),
        start_s: seconds(field(22)?),
        threads: field(20)?,
        virtual_bytes: field(23)?,
        resident_bytes: field(24)? * page,
        ..Linux::default()
    })
}

fn boot_time_s(stat: &str) -> Option<f64> {
    let line = stat.lines().find_map(|line| line.strip_prefix("btime "));
    line?.trim().parse().ok()
}

fn max_fds(limits: &str) -> Option<u64> {
    let line = limits
        .lines()
        .find_map(|l| l.strip_prefix("Max open files"));
    line?.split_whitespace().next()?.parse().ok()
}

#[async_trait]
impl Source for Process {
    async fn collect(&self, sheet: &mut Sheet) {
        let build = if cfg!(debug_assertions) {
            "debug"
        } else {
            "release"
        };
        sheet.set(&BUILD_INFO, &[self.version, build, self.kind], 1);
        let Some(linux) = Linux::read() else {
            return;
        };
        sheet.set_real(&PROCESS_CPU, &[], linux.cpu_s);
        sheet.set_real(&PROCESS_START, &[], linux.start_s);
        sheet.set(&PROCESS_RESIDENT, &[], linux.resident_bytes);
        sheet.set(&PROCESS_VIRTUAL, &[], linux.virtual_bytes);
        sheet.set(&PROCESS_THREADS, &[], linux.threads);
        if let Some(open) = linux.open_fds {
            sheet.set(&PROCESS_OPEN_FDS, &[], open);
        }
        if let Some(max) = linux.max_fds {
            sheet.set(&PROCESS_MAX_FDS, &[], max);
        }
    }
}

#[async_trait]
impl Source for Runtime {
    async fn collect(&self, sheet: &mut Sheet) {
        let (metrics, labels) = (self.handle.metrics(), [self.name]);
        let workers = metrics.num_workers();
        let busy: Duration = (0..workers)
            .map(|worker| metrics.worker_total_busy_duration(worker))
            .sum();
        sheet.set(&RUNTIME_WORKERS, &labels, workers as u64);
        sheet.set_time(&RUNTIME_BUSY, &labels, busy);
        let (tasks, queued) = (metrics.num_alive_tasks(), metrics.global_queue_depth());
        sheet.set(&RUNTIME_TASKS, &labels, tasks as u64);
        sheet.set(&RUNTIME_QUEUED, &labels, queued as u64);
        sheet.set_histogram(&RUNTIME_LAG, &labels, &self.lag);
    }
}

#[cfg(test)]
mod tests {
    use std::time::{SystemTime, UNIX_EPOCH};

    use super::*;

    #[test]
    fn fields_are_found_whatever_the_name_is() {
        let stat = "42 (a ) b (c) S 1 42 42 0 -1 4194560 900 0 0 0 250 50 0 0 20 0 7 0 12345 \
                    1048576 25 18446744073709551615 1 1";
        let read = parse_stat(stat, (100, 4096)).expect("parsed");
        let expected = Linux {
            cpu_s: 3.0,
            start_s: 123.45,
            virtual_bytes: 1_048_576,
            resident_bytes: 25 * 4096,
            threads: 7,
            ..Linux::default()
        };
        assert_eq!(read, expected);
        assert_eq!(parse_stat("42 (cut off", (100, 4096)), None);
        assert_eq!(parse_stat("42 (short) S 1", (100, 4096)), None);
    }

    #[test]
    fn this_process_is_what_it_is() {
        let read = Linux::read().expect("this is Linux");
        let since = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .expect("after 1970");
        let now = since.as_secs_f64();
        // Boot time is a whole second, and this test may run for long.
        assert!(
            (now - 86_400.0..now + 2.0).contains(&read.start_s),
            "{read:?} at {now}"
        );
        assert!(read.resident_bytes > 100_000 && read.virtual_bytes > read.resident_bytes);
        assert!(read.threads >= 1);
        let (open, max) = (read.open_fds.expect("counted"), read.max_fds.expect("read"));
        assert!((3..max).contains(&open), "{open} of {max}");
    }

    #[tokio::test]
    async fn a_runtime_says_how_late_it_is() {
        let runtime = Runtime::new("main", Handle::current());
        let measured = async {
            while runtime.lag.snapshot().count() == 0 {
                tokio::task::yield_now().await;
            }
        };
        let limit = Duration::from_secs(60);
        tokio::time::timeout(limit, measured)
            .await
            .expect("measured");
        let mut sheet = Sheet::default();
        runtime.collect(&mut sheet).await;
        let names: Vec<&str> = sheet.families().map(|rows| rows.family.name).collect();
        assert!(names.contains(&RUNTIME_LAG.name), "{names:?}");
    }
}
