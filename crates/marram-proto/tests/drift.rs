//! The committed code under `src/gen` is what `/proto` says. When this fails, run
//! `MARRAM_REGENERATE=1 cargo test -p marram-proto --test drift` and commit the result.

#![allow(clippy::unwrap_used, clippy::panic)] // a test says what is wrong by panicking

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use prost::Message;

/// Packages whose messages need no service code and no reflection.
const MESSAGES_ONLY: &str = "marram.mesh.v1";

fn protos(root: &Path, out: &mut Vec<PathBuf>) {
    let mut entries: Vec<PathBuf> = fs::read_dir(root)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            protos(&path, out);
        } else if path.extension().is_some_and(|e| e == "proto") {
            out.push(path);
        }
    }
}

fn compiler(root: &Path, files: &[PathBuf], comments: bool) -> protox::Compiler {
    let mut compiler = protox::Compiler::new([root]).unwrap();
    compiler.include_imports(true).include_source_info(comments);
    for file in files {
        if let Err(error) = compiler.open_file(file) {
            panic!("{}: {error:?}", file.display());
        }
    }
    compiler
}

/// What `src/gen` must hold: file name -> bytes.
fn generate() -> BTreeMap<String, Vec<u8>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../proto");
    let mut files = Vec::new();
    protos(&root, &mut files);
    let out = tempfile::tempdir().unwrap();
    let mut config = prost_build::Config::new();
    config.bytes(["."]);
    tonic_prost_build::configure()
        .out_dir(out.path())
        .emit_rerun_if_changed(false)
        .compile_fds_with_config(compiler(&root, &files, true).file_descriptor_set(), config)
        .unwrap();
    let mut made: BTreeMap<String, Vec<u8>> = fs::read_dir(out.path())
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            (name, fs::read(&path).unwrap())
        })
        .filter(|(name, _)| name.starts_with("marram."))
        .collect();
    let mut described = compiler(&root, &files, false).file_descriptor_set();
    described
        .file
        .retain(|file| file.package() != MESSAGES_ONLY);
    made.insert("descriptors.bin".to_owned(), described.encode_to_vec());
    made
}

#[test]
fn the_committed_code_is_current() {
    let home = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/gen");
    let regenerate = std::env::var_os("MARRAM_REGENERATE").is_some();
    for (name, bytes) in generate() {
        let path = home.join(&name);
        if fs::read(&path).is_ok_and(|old| old == bytes) {
            continue;
        }
        assert!(
            regenerate,
            "{} is not what /proto says: run MARRAM_REGENERATE=1 cargo test -p marram-proto --test drift",
            path.display()
        );
        fs::create_dir_all(&home).unwrap();
        fs::write(&path, &bytes).unwrap();
    }
}
