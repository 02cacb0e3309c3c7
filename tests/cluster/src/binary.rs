//! The `marram` binary under test.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::SystemTime;

/// Servers that tests start by hand take any port for their metrics, where they are not told which:
/// many of them run on one machine.
pub(crate) const ANY_METRICS_PORT: (&str, &str) = ("MARRAM_METRICS_LISTEN", "127.0.0.1:0");

/// The `marram` binary in the profile and target folder of this test. `cargo test --workspace` has
/// built it before any test runs; where this test is run alone, it is built if a source is newer.
/// `MARRAM_TEST_BINARY` names another one, for example of an installed release.
///
/// # Panics
/// When it cannot be built.
pub fn binary() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| match std::env::var_os("MARRAM_TEST_BINARY") {
        Some(given) => PathBuf::from(given)
            .canonicalize()
            .expect("MARRAM_TEST_BINARY is a file"),
        None => build(),
    })
}

/// When a file, or the newest file below a folder, was last changed.
fn changed(path: &Path) -> Option<SystemTime> {
    let about = std::fs::metadata(path).ok()?;
    if about.is_file() {
        return about.modified().ok();
    }
    let entries = std::fs::read_dir(path).ok()?;
    entries
        .flatten()
        .filter_map(|entry| changed(&entry.path()))
        .max()
}

/// Whether the binary was built from the sources as they are now.
fn is_current(binary: &Path, workspace: &Path) -> bool {
    let sources = ["crates", "Cargo.toml", "Cargo.lock"].map(|part| workspace.join(part));
    let newest = sources.iter().filter_map(|part| changed(part)).max();
    changed(binary) > newest
}

fn build() -> PathBuf {
    // TARGET/PROFILE/deps/this-test
    let this = std::env::current_exe().expect("a test has a path");
    let profile = this
        .parent()
        .and_then(Path::parent)
        .expect("TARGET/PROFILE/deps");
    let target = profile.parent().expect("TARGET/PROFILE");
    let name = match profile.file_name().and_then(|name| name.to_str()) {
        Some("debug") | None => "dev",
        Some(name) => name,
    };
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let binary = profile.join("marram");
    if is_current(&binary, &workspace) {
        return binary;
    }
    let mut command = Command::new(cargo);
    // What cargo told this test about its package would make build scripts run again, and all that
    // depends on them build again.
    let told = std::env::vars_os().map(|(name, _)| name).filter(|name| {
        let name = name.to_string_lossy();
        ["CARGO_PKG_", "CARGO_MANIFEST_"]
            .iter()
            .any(|prefix| name.starts_with(prefix))
    });
    told.for_each(|name| {
        command.env_remove(name);
    });
    let status = command
        // The toolchain is chosen by the folder: another one would build everything anew.
        .current_dir(&workspace)
        .args([
            "build",
            "--quiet",
            "--locked",
            "--package",
            "marram",
            "--bin",
            "marram",
        ])
        .args(["--profile", name])
        .arg("--target-dir")
        .arg(target)
        .arg("--manifest-path")
        .arg(workspace.join("Cargo.toml"))
        .status()
        .expect("cargo runs");
    assert!(status.success(), "the marram binary does not build");
    binary
}
