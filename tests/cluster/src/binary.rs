//! The `marram` binary under test.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The `marram` binary, built on first use in the profile and target folder of this test.
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
    let status = Command::new(cargo)
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
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../Cargo.toml"))
        .status()
        .expect("cargo runs");
    assert!(status.success(), "the marram binary does not build");
    profile.join("marram")
}
