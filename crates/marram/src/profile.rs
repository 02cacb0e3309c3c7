//! What this process spends its time and its memory with, told when an operator asks.
//!
//! ```text
//! encode   samples of stacks as a profile of pprof, compressed
//! memory   what the allocator and Linux say
//! ```

use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

use pprof::ProfilerGuardBuilder;
use tokio::sync::Mutex;

mod encode;
mod memory;

pub(crate) use memory::read as memory;

/// Looks at each busy thread a second. Not a divisor of what happens every so many milliseconds.
const SAMPLES_PER_S: i32 = 99;

/// One profile at a time: there is one timer and one signal in a process.
static PLACE: Mutex<()> = Mutex::const_new(());

/// Why there is no profile.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProfileError {
    /// Somebody else has one made.
    #[error("this process is being profiled already: try again when that has ended")]
    Busy,
    /// It cannot be made here.
    #[error("{0}")]
    Failed(String),
}

/// Has pprof keep what does not fit into its memory in files of `folder`, which it removes: the usual folder for
/// such files may not be there or not be writable.
pub(crate) fn keep_files_in(folder: Option<&Path>) {
    if let Some(folder) = folder.filter(|folder| folder.is_absolute()) {
        // The first one to say so has said it.
        let _ = tempfile::env::override_temp_dir(folder);
    }
}

/// Looks for so long at what the threads do that need a processor: a profile as `go tool pprof` reads it.
///
/// Looking means that a signal interrupts a thread, which then unwinds its own stack. That takes no lock with
/// glibc 2.35 and libgcc 12 or newer, whose tables of the program are read without one.
///
/// # Errors
/// When another one is being made, or none can be.
pub(crate) async fn cpu(time: Duration) -> Result<Vec<u8>, ProfileError> {
    let _place = PLACE.try_lock().map_err(|_| ProfileError::Busy)?;
    let failed = |error: pprof::Error| ProfileError::Failed(format!("it cannot be made: {error}"));
    let guard = ProfilerGuardBuilder::default().frequency(SAMPLES_PER_S);
    let guard = guard.build().map_err(failed)?;
    // Whoever asked may go away: then the guard goes, too, and with it timer and signal.
    tokio::time::sleep(time).await;
    let report = guard.report().build_unresolved().map_err(failed)?;
    drop(guard);
    let mut stacks: HashMap<Vec<usize>, i64> = HashMap::new();
    for (stack, count) in &report.data {
        let addresses = stack.frames.iter().map(|frame| frame.ip() as usize);
        let count = i64::try_from(*count).unwrap_or(0);
        *stacks.entry(addresses.collect()).or_default() += count;
    }
    drop(report);
    let encoded = tokio::task::spawn_blocking(move || {
        encode::encode(
            stacks,
            time,
            Duration::from_secs(1) / SAMPLES_PER_S.unsigned_abs(),
        )
    });
    let encoded = encoded.await.map_err(|error| error.to_string());
    encoded
        .and_then(|encoded| encoded.map_err(|error| error.to_string()))
        .map_err(ProfileError::Failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Works until it is told to stop.
    #[inline(never)]
    fn works_hard(stop: &std::sync::atomic::AtomicBool) -> u64 {
        let mut state = 1_u64;
        while !stop.load(std::sync::atomic::Ordering::Relaxed) {
            for _ in 0..1000 {
                state = std::hint::black_box(state.wrapping_mul(6_364_136_223_846_793_005) ^ 7);
            }
        }
        state
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_works_is_in_the_profile_and_there_is_one_at_a_time() {
        let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
        let worker = std::thread::spawn({
            let stop = stop.clone();
            move || works_hard(&stop)
        });
        // Each of the two may find the place taken by the other.
        let first = tokio::spawn(async {
            loop {
                match cpu(Duration::from_secs(2)).await {
                    Err(ProfileError::Busy) => tokio::task::yield_now().await,
                    made => return made,
                }
            }
        });
        while cpu(Duration::from_millis(1)).await.is_ok() {
            tokio::task::yield_now().await;
            assert!(!first.is_finished(), "nobody was told that there is one");
        }
        let profile = first.await.expect("no panic").expect("made");
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        worker.join().expect("no panic");
        let (names, samples) = encode::read(&profile);
        assert!(
            names.iter().any(|name| name.contains("works_hard")),
            "{names:?}"
        );
        assert!(
            !names
                .iter()
                .any(|name| name.contains("perf_signal_handler")),
            "{names:?}"
        );
        assert!(samples > 20, "{samples}");
        assert!(cpu(Duration::ZERO).await.is_ok(), "the place is free again");
    }
}
