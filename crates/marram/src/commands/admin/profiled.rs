//! `marram admin profile`: what a node spends time and memory with.

use std::io::{IsTerminal, Write};

use marram_client::Memory;
use serde_json::json;

use crate::cli::{ProfileCommand, ProfileCpuArgs, ProfileMemoryArgs};
use crate::commands::Context;
use crate::failure::Failure;
use crate::output::printable;
use crate::units::size;

/// Says it.
pub(super) async fn run(context: &Context<'_>, command: ProfileCommand) -> Result<(), Failure> {
    match command {
        ProfileCommand::Cpu(args) => cpu(context, args).await,
        ProfileCommand::Memory(args) => memory(context, args).await,
    }
}

async fn cpu(context: &Context<'_>, args: ProfileCpuArgs) -> Result<(), Failure> {
    let mut out = std::io::stdout();
    if args.output.is_none() && (out.is_terminal() || context.output.json) {
        return Err(Failure::Usage(
            "a profile is no text: give --output FILE, or send it into a file with >",
        ));
    }
    let client = context.client()?;
    let profile = client.profile_cpu(&args.node, args.seconds).await;
    let profile = profile.map_err(Failure::at(&args.node))?;
    let Some(path) = args.output else {
        let written = out.write_all(&profile).and_then(|()| out.flush());
        return written.map_err(Failure::Output);
    };
    std::fs::write(&path, &profile).map_err(|error| Failure::Local {
        action: "write",
        path: path.clone(),
        error,
    })?;
    let (file, bytes) = (path.display().to_string(), profile.len());
    let made = json!({ "node": args.node, "file": file, "bytes": bytes });
    context.output.done(&made, || {
        format!(
            "{file}: {}; look at it with: go tool pprof -top {file}",
            size(bytes as u64)
        )
    })
}

async fn memory(context: &Context<'_>, args: ProfileMemoryArgs) -> Result<(), Failure> {
    let memory = context.client()?.memory(&args.node).await;
    let memory = memory.map_err(Failure::at(&args.node))?;
    context.output.done(&memory, || lines(&memory).join("\n"))
}

fn lines(memory: &Memory) -> Vec<String> {
    let used = memory.heap_bytes.saturating_sub(memory.heap_free_bytes);
    let line = |what: &str, bytes: u64| format!("  {what:<34} {:>10}", size(bytes));
    let blocks = format!("  {} large blocks", memory.mapped_blocks);
    vec![
        printable(&memory.name).to_string(),
        line("in memory", memory.resident_bytes),
        line("  the most that it was", memory.resident_most_bytes),
        line("  in no file", memory.anonymous_bytes),
        line("  of files", memory.file_bytes),
        line("swapped out", memory.swapped_bytes),
        format!(
            "  {}, {} arenas",
            printable(&memory.allocator),
            memory.arenas
        ),
        line("  small and middle blocks", used),
        line("  free between them", memory.heap_free_bytes),
        line("  the most of both", memory.heap_most_bytes),
        line(&blocks, memory.mapped_bytes),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_free_is_not_used() {
        let memory = Memory {
            name: "node-1".to_owned(),
            allocator: "glibc".to_owned(),
            arenas: 4,
            heap_bytes: 3 << 20,
            heap_free_bytes: 1 << 20,
            heap_most_bytes: 4 << 20,
            mapped_bytes: 8 << 20,
            mapped_blocks: 2,
            reserved_bytes: 5 << 20,
            resident_bytes: 12 << 20,
            resident_most_bytes: 13 << 20,
            anonymous_bytes: 10 << 20,
            file_bytes: 2 << 20,
            swapped_bytes: 0,
        };
        let lines = lines(&memory);
        let has = |what: &str, bytes: &str| {
            let mut lines = lines.iter();
            lines.any(|line| line.contains(what) && line.ends_with(bytes))
        };
        assert!(has("small and middle blocks", "2.0 MiB"), "{lines:?}");
        assert!(has("free between them", "1.0 MiB"), "{lines:?}");
        assert!(has("2 large blocks", "8.0 MiB"), "{lines:?}");
    }
}
