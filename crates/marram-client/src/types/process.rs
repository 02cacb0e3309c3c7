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
