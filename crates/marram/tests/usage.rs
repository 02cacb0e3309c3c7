//! What the program says to somebody who has no cluster: help, usage errors, missing settings. These
//! tests also make cargo build the program for the cluster tests.

use std::process::{Command, Output};

fn marram(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_marram"));
    for name in ["MARRAM_ENDPOINT", "MARRAM_ACCESS_KEY", "MARRAM_SECRET_KEY"] {
        command.env_remove(name);
    }
    command.args(args).output().expect("the program runs")
}

fn said(output: &Output) -> String {
    let both = [output.stdout.as_slice(), output.stderr.as_slice()].concat();
    String::from_utf8(both).expect("what it says is UTF-8")
}

#[test]
fn help_names_every_command() {
    let output = marram(&["--help"]);
    assert_eq!(output.status.code(), Some(0));
    let help = said(&output);
    for command in [
        "dev", "server", "gateway", "mb", "rb", "ls", "cp", "cat", "rm", "stat", "mv", "sync",
    ] {
        assert!(help.contains(command), "{command} is missing in:\n{help}");
    }
}

#[test]
fn usage_errors_end_with_2() {
    for args in [
        &["no-such-command"][..],
        &["mb"],
        &["server", "--no-such-flag"],
        &["cat", "--range", "x", "m://b/k"],
    ] {
        let output = marram(args);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {}", said(&output));
    }
}

#[test]
fn a_missing_endpoint_is_explained() {
    let output = marram(&["ls"]);
    assert_ne!(output.status.code(), Some(0));
    assert!(
        said(&output).contains("MARRAM_ENDPOINT"),
        "{}",
        said(&output)
    );
}

#[test]
fn a_server_without_a_name_or_drives_says_what_is_missing() {
    let output = marram(&["server", "--name=n1", "--kek-file=/none"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).contains("data"), "{}", said(&output));
}

#[test]
fn a_key_file_without_a_secret_is_explained() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("key");
    std::fs::write(&file, "MKONLYTHEKEY\n").expect("written");
    let file = file.to_str().expect("its path is UTF-8");
    let output = marram(&["--endpoint=127.0.0.1:1", "--key-file", file, "ls"]);
    assert_eq!(output.status.code(), Some(2), "{}", said(&output));
    assert!(said(&output).contains("its secret"), "{}", said(&output));
}
