//! What is wrong with a cluster in which nothing is.

use std::time::Duration;

use marram_client::{InspectOptions, Severity};
use marram_cluster_tests::{Shared, run, until};

/// What a machine that runs many tests at once may have, and a cluster may not.
const OF_THE_MACHINE: [&str; 3] = ["slow-drives", "limits", "room"];

#[tokio::test(flavor = "multi_thread")]
async fn a_healthy_cluster_has_no_findings() {
    let cluster = Shared::cluster();
    cluster.healthy().await;
    let limit = Duration::from_secs(60);
    until("nothing is wrong but with the machine", limit, async || {
        let diagnosis = cluster.client().diagnose().await;
        let diagnosis = diagnosis.map_err(|error| error.to_string())?;
        assert_eq!(diagnosis.checks.len(), 18);
        let wrong: Vec<_> = diagnosis
            .checks
            .iter()
            .filter(|check| !OF_THE_MACHINE.contains(&check.name.as_str()))
            .flat_map(|check| &check.findings)
            .filter(|finding| finding.severity != Severity::Note)
            .collect();
        match wrong.is_empty() {
            true => Ok(()),
            false => Err(format!("{wrong:?}")),
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_says_what_it_and_its_machine_are() {
    let cluster = Shared::cluster();
    let options = InspectOptions {
        settings: true,
        log_lines: 5,
        metrics: vec!["marram_ready".to_owned()],
        ..InspectOptions::default()
    };
    let said = cluster.client().inspect_node("node-2", options).await;
    let said = said.expect("answered");
    assert_eq!(said.version, env!("CARGO_PKG_VERSION"));
    assert_eq!(said.metrics, "marram_ready 1\n");
    assert_eq!(said.log.len(), 5, "{:?}", said.log);
    assert!(
        said.folders
            .iter()
            .any(|f| f.metadata && f.direct_io.is_some())
    );
    assert!(
        said.folders.iter().all(|f| f.drive_id > 0 && f.syncs > 0),
        "{said:?}"
    );
    assert_eq!(
        said.replicas.iter().filter(|r| r.led).count(),
        said.replicas.len()
    );
    let kek = said.settings.iter().find(|one| one.name == "kek_file");
    assert!(kek.is_some_and(|kek| kek.origin != "default"), "{said:?}");
}

#[test]
fn the_command_says_every_check_and_its_exit_code_whether_all_is_well() {
    let cluster = Shared::cluster();
    let ran = run(&cluster, &["admin", "doctor", "--json"]);
    let [diagnosis] = &ran.json_lines()[..] else {
        panic!("not one line: {ran:?}");
    };
    let healthy = diagnosis["healthy"].as_bool().expect("said");
    assert_eq!(ran.code, i32::from(!healthy), "{ran:?}");
    let ran = run(&cluster, &["admin", "doctor", "--all"]);
    assert!(ran.text().contains("Do all nodes answer?"), "{ran:?}");
    assert!(!ran.text().contains('\u{1b}'), "no colours on a pipe");
}
