//! Places at which a test may have the operator die, to see that another one goes on. They are in builds with
//! debug assertions only, which are not what is released.

/// Ends the process at once, as a crash would, if a test asked for it: it names a folder in
/// `MARRAM_FAULT_DIR`, and puts a file with the name of a place there. Whoever comes to the place first takes
/// the file away and dies.
#[cfg(debug_assertions)]
pub(crate) fn point(place: &str) {
    let Some(folder) = std::env::var_os("MARRAM_FAULT_DIR") else {
        return;
    };
    let file = std::path::Path::new(&folder).join(place);
    if std::fs::remove_file(file).is_ok() {
        tracing::error!(place, "a test ends this process here");
        std::process::abort();
    }
}

/// Nothing: only builds with debug assertions have such places.
#[cfg(not(debug_assertions))]
pub(crate) fn point(_place: &str) {}
