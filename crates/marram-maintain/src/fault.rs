//! Places at which a test may have the process die, to see that another one goes on. In builds without
//! debug assertions, which are what is released, there are none.

/// Ends the process at once, as a crash would, if a test asked for it: it names a folder in
/// `MARRAM_FAULT_DIR`, and puts a file with the name of a place there. Whoever comes to the place
/// first takes the file away and dies.
#[cfg(debug_assertions)]
pub fn fault_point(place: &str) {
    use std::path::PathBuf;
    use std::sync::OnceLock;

    static FOLDER: OnceLock<Option<PathBuf>> = OnceLock::new();
    let folder = FOLDER.get_or_init(|| std::env::var_os("MARRAM_FAULT_DIR").map(PathBuf::from));
    let armed = folder
        .as_ref()
        .is_some_and(|folder| std::fs::remove_file(folder.join(place)).is_ok());
    if armed {
        tracing::error!(place, "a test ends this process here");
        std::process::abort();
    }
}

/// Nothing: only builds with debug assertions have such places.
#[cfg(not(debug_assertions))]
pub fn fault_point(_place: &str) {}
