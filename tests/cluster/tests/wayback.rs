//! Ways back: logs that are gone or damaged, backups, restores, lost majorities.
#![expect(clippy::panic, reason = "a panic is how a test fails")]

mod wayback {
    mod lost_log;
}
