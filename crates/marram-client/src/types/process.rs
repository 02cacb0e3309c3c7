//! What single processes do for operators.

use marram_proto::v1;
use serde::Serialize;

/// What a process logs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LogLevel {
    /// Its name.
    pub name: String,
    /// The filter in force.
    pub filter: String,
    /// In how many milliseconds it ends; none where it stays.
    pub ends_in_ms: Option<u64>,
    /// The filter that comes then.
    pub then: String,
}

impl LogLevel {
    pub(crate) fn from_wire(level: Option<v1::LogLevel>) -> Self {
        let level = level.unwrap_or_default();
        Self {
            name: level.name,
            filter: level.filter,
            ends_in_ms: Some(level.ends_in_ms).filter(|ms| *ms > 0),
            then: level.then,
        }
    }
}

/// Another filter of what a process logs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogLevelChange {
    /// This one, until the process ends.
    Lasting(String),
    /// This one for so many milliseconds; then what was logged before.
    ForMs(String, u64),
    /// The one with which the process started.
    Reset,
}

/// What a process uses its memory for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[expect(missing_docs, reason = "as in the proto, where each is explained")]
pub struct Memory {
    pub name: String,
    pub allocator: String,
    pub arenas: u64,
    pub heap_bytes: u64,
    pub heap_free_bytes: u64,
    pub heap_most_bytes: u64,
    pub mapped_bytes: u64,
    pub mapped_blocks: u64,
    pub reserved_bytes: u64,
    pub resident_bytes: u64,
    pub resident_most_bytes: u64,
    pub anonymous_bytes: u64,
    pub file_bytes: u64,
    pub swapped_bytes: u64,
}

impl Memory {
    pub(crate) fn from_wire(answer: v1::GetMemoryResponse) -> Self {
        let memory = answer.memory.unwrap_or_default();
        Self {
            name: answer.name,
            allocator: memory.allocator,
            arenas: memory.arenas,
            heap_bytes: memory.heap_bytes,
            heap_free_bytes: memory.heap_free_bytes,
            heap_most_bytes: memory.heap_most_bytes,
            mapped_bytes: memory.mapped_bytes,
            mapped_blocks: memory.mapped_blocks,
            reserved_bytes: memory.reserved_bytes,
            resident_bytes: memory.resident_bytes,
            resident_most_bytes: memory.resident_most_bytes,
            anonymous_bytes: memory.anonymous_bytes,
            file_bytes: memory.file_bytes,
            swapped_bytes: memory.swapped_bytes,
        }
    }
}
