//! Limits and memory of the machine, as Linux tells them in `/proc` and `/sys`.

use std::path::{Path, PathBuf};

use marram_proto::v1;

/// What it is now. What cannot be read is absent.
pub(super) fn read() -> v1::MachineFacts {
    let text = |path: &str| std::fs::read_to_string(path).ok();
    let word = |path: &str| text(path).map(|text| text.trim().to_owned());
    let number = |path: &str| word(path)?.parse::<u64>().ok();
    let memory = text("/proc/meminfo").unwrap_or_default();
    let own = text("/proc/self/status").unwrap_or_default();
    let open = std::fs::read_dir("/proc/self/fd").ok();
    let group = text("/proc/self/cgroup").and_then(|groups| control_group(&groups));
    let in_group = |file: &str| {
        let path = group.as_ref()?.join(file);
        std::fs::read_to_string(path).ok()
    };
    let limits = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    v1::MachineFacts {
        boot_id: word("/proc/sys/kernel/random/boot_id").unwrap_or_default(),
        kernel: word("/proc/sys/kernel/osrelease").unwrap_or_default(),
        processors: std::thread::available_parallelism()
            .ok()
            .and_then(|n| u32::try_from(n.get()).ok())
            .unwrap_or(0),
        memory_bytes: kilobytes(&memory, "MemTotal"),
        memory_available_bytes: kilobytes(&memory, "MemAvailable"),
        memory_limit_bytes: in_group("memory.max").and_then(|max| max.trim().parse().ok()),
        memory_kills: in_group("memory.events").and_then(|events| field(&events, "oom_kill ")),
        swapped_bytes: kilobytes(&own, "VmSwap"),
        // The folder itself is open while it is counted.
        open_files: open.map(|open| (open.count() as u64).saturating_sub(1)),
        // Without a limit there is no number.
        open_files_max: limits.current,
        overcommit_memory: number("/proc/sys/vm/overcommit_memory").and_then(|n| n.try_into().ok()),
        max_map_count: number("/proc/sys/vm/max_map_count"),
    }
}

/// A line such as `MemTotal:  16 kB`, in bytes.
fn kilobytes(text: &str, name: &str) -> Option<u64> {
    let rest = text
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    let number: u64 = rest.split_whitespace().next()?.parse().ok()?;
    number.checked_mul(1024)
}

/// A line such as `oom_kill 3`.
fn field(text: &str, name: &str) -> Option<u64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
    rest.trim().parse().ok()
}

/// The folder of the process's control group, of version 2.
fn control_group(groups: &str) -> Option<PathBuf> {
    let path = groups.lines().find_map(|line| line.strip_prefix("0::/"))?;
    Some(Path::new("/sys/fs/cgroup").join(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_proc_are_read() {
        let memory = "MemTotal:       16384 kB\nMemFree:  1 kB\nMemAvailable: 2 kB\n";
        assert_eq!(kilobytes(memory, "MemTotal"), Some(16 << 20));
        assert_eq!(kilobytes(memory, "MemAvailable"), Some(2048));
        assert_eq!(kilobytes(memory, "Mem"), None);
        assert_eq!(field("low 1\noom 2\noom_kill 3\n", "oom_kill "), Some(3));
        let group = control_group("1:name=systemd:/x\n0::/system.slice/marram.service\n");
        let expected = Path::new("/sys/fs/cgroup/system.slice/marram.service");
        assert_eq!(group.as_deref(), Some(expected));
        assert_eq!(control_group("4:memory:/x\n"), None);
    }

    #[test]
    fn this_machine_says_what_it_is() {
        let facts = read();
        assert!(
            facts.boot_id.len() > 30 && !facts.kernel.is_empty(),
            "{facts:?}"
        );
        assert!(facts.processors > 0 && facts.memory_bytes > facts.memory_available_bytes);
        assert!(
            facts.open_files > Some(0) && facts.open_files_max != Some(0),
            "{facts:?}"
        );
    }
}
