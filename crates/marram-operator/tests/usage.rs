//! What the program says without a cluster. These tests also make cargo build it for `charts/check`.

use std::process::{Command, Output};

fn operator(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_marram-operator"));
    command.args(args).output().expect("the program runs")
}

#[test]
fn definitions_go_to_standard_output_or_a_folder() {
    let printed = operator(&["crdgen"]);
    assert!(printed.status.success(), "{printed:?}");
    let printed = String::from_utf8(printed.stdout).expect("YAML is UTF-8");
    assert!(printed.contains("name: marramclusters.marram.dev"));
    let folder = std::env::temp_dir().join(format!("marram-crds-{}", std::process::id()));
    std::fs::create_dir(&folder).expect("a folder of its own");
    let written = operator(&["crdgen", "--out", folder.to_str().expect("UTF-8")]);
    let file = std::fs::read_to_string(folder.join("marramclusters.yaml"));
    std::fs::remove_dir_all(&folder).expect("removed");
    assert!(written.status.success(), "{written:?}");
    assert!(printed.contains(file.expect("it is there").trim()));
}

#[test]
fn usage_errors_end_with_2() {
    assert_eq!(operator(&["no-such-command"]).status.code(), Some(2));
}
