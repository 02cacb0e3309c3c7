//! What the process's memory is used for, as far as glibc's allocator and Linux tell.

use malloc_info::info::{AspaceType, Malloc, SystemType, TotalType};
use marram_proto::v1::MemoryStatistics;

/// Reads both. Whoever asks waits for each arena's lock in turn.
///
/// # Errors
/// What the allocator could not say.
pub(crate) fn read() -> Result<MemoryStatistics, String> {
    let heap = malloc_info::malloc_info().map_err(|error| error.to_string())?;
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    Ok(statistics(&heap, &status))
}

fn statistics(heap: &Malloc, status: &str) -> MemoryStatistics {
    let total = |kind: &TotalType| heap.total.iter().find(|total| total.r#type == *kind);
    let system = |kind: &SystemType| heap.system.iter().find(|it| it.r#type == *kind);
    let free = [TotalType::Fast, TotalType::Rest];
    let free: usize = free.iter().filter_map(total).map(|total| total.size).sum();
    let from_system = system(&SystemType::Current).map_or(0, |it| it.size);
    let mapped = total(&TotalType::Mmap);
    let space = heap.aspace.iter().find(|it| it.r#type == AspaceType::Total);
    MemoryStatistics {
        allocator: "glibc".to_owned(),
        arenas: heap.heaps.len() as u64,
        heap_bytes: from_system as u64,
        heap_free_bytes: free as u64,
        heap_most_bytes: system(&SystemType::Max).map_or(0, |it| it.size) as u64,
        mapped_bytes: mapped.map_or(0, |it| it.size) as u64,
        mapped_blocks: mapped.map_or(0, |it| it.count) as u64,
        reserved_bytes: space.map_or(0, |it| it.size) as u64,
        resident_bytes: field(status, "VmRSS"),
        resident_most_bytes: field(status, "VmHWM"),
        anonymous_bytes: field(status, "RssAnon"),
        file_bytes: field(status, "RssFile"),
        swapped_bytes: field(status, "VmSwap"),
    }
}

/// A field of `/proc/self/status`, which is in KiB (proc(5)).
fn field(status: &str, name: &str) -> u64 {
    let mut lines = status.lines();
    let value = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    let number = value.and_then(|value| value.split_whitespace().next());
    number
        .and_then(|text| text.parse::<u64>().ok())
        .unwrap_or(0)
        * 1024
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_block_is_seen() {
        // Other tests map blocks and let them go meanwhile, so only this one is counted on.
        let block = std::hint::black_box(vec![1_u8; 64 << 20]);
        let with = read().expect("told");
        assert!(
            with.mapped_bytes >= 64 << 20 && with.mapped_blocks > 0,
            "{with:?}"
        );
        assert!(
            with.resident_bytes > 64 << 20 && with.arenas > 0,
            "{with:?}"
        );
        assert!(with.heap_free_bytes <= with.heap_bytes, "{with:?}");
        drop(block);
    }

    #[test]
    fn fields_are_told_apart() {
        let status = "VmRSSx:\t 1 kB\nVmRSS:\t   12 kB\nRssAnon:\t 7 kB\n";
        assert_eq!(field(status, "VmRSS"), 12 * 1024);
        assert_eq!(
            (field(status, "RssAnon"), field(status, "VmSwap")),
            (7 * 1024, 0)
        );
    }
}
