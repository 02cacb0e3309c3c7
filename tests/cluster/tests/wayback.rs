//! Ways back: logs that are gone or damaged, backups, restores, lost majorities.

mod wayback {
    mod lost_log;
    mod majority;
    mod restore;
    mod support;
}
