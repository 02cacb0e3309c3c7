//! Servers that wait: one is told to found a cluster, the others get their tokens at once.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use marram_client::{Client, ClientConfig, ErrorKind, Founding, JoinRole, NodeState, RetryPolicy};
use marram_cluster_tests::{Daemon, Scratch, free_address, room, until};

const OPERATOR: (&str, &str) = ("MKOPERATOR", "what-only-the-operator-knows");
const ADMIN: (&str, &str) = ("MKADMIN", "what-only-the-administrator-knows");
const READY_WITHIN: Duration = Duration::from_secs(60);

/// One server's folder and addresses.
struct Pod {
    name: String,
    api: String,
    mesh: String,
}

fn client(api: &str, (id, secret): (&str, &str)) -> Client {
    let mut config = ClientConfig::new(api, id, secret);
    config.retry = RetryPolicy::never();
    Client::connect(config).expect("valid")
}

/// Starts them as an orchestrator does: all alike, each told all addresses, its own too.
fn start(folder: &Path, pods: &[Pod], at: usize) -> Daemon {
    let file = |name: &str| folder.join(name).to_str().expect("UTF-8").to_owned();
    let pod = &pods[at];
    let joins: Vec<String> = pods.iter().map(|pod| pod.mesh.clone()).collect();
    let args = [
        "server".to_owned(),
        format!("--name={}", pod.name),
        format!("--data={}", file(&format!("{}/d1", pod.name))),
        format!("--api-listen={}", pod.api),
        format!("--mesh-listen={}", pod.mesh),
        format!("--join={}", joins.join(",")),
        format!("--token-file={}", file(&format!("join/{}", pod.name))),
        "--await-token".to_owned(),
        format!("--kek-file={}", file("kek")),
        format!("--operator-key-file={}", file("operator")),
        format!("--admin-key-file={}", file("admin")),
        "--segment-mib=16".to_owned(),
    ];
    Daemon::start(folder, &pod.name, &args)
}

fn prepare(folder: &Path) -> Vec<Pod> {
    fs::create_dir_all(folder.join("join")).expect("made");
    fs::write(folder.join("kek"), "5a".repeat(32)).expect("written");
    for (name, (id, secret)) in [("operator", OPERATOR), ("admin", ADMIN)] {
        fs::write(folder.join(name), format!("{id} {secret}\n")).expect("written");
    }
    let pods = ["store-0", "store-1", "store-2"].map(|name| {
        fs::create_dir_all(folder.join(name)).expect("made");
        Pod {
            name: name.to_owned(),
            api: free_address(),
            mesh: free_address(),
        }
    });
    pods.into()
}

fn token_file(folder: &Path, pod: &Pod) -> PathBuf {
    folder.join("join").join(&pod.name)
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_those_who_wait_founds_and_the_others_join_at_once() {
    let _room = room().await;
    let scratch = Scratch::new("founding");
    let folder = scratch.path();
    let pods = prepare(folder);
    let mut daemons: Vec<Daemon> = (0..3).map(|at| start(folder, &pods, at)).collect();
    for daemon in &mut daemons {
        daemon.says("waiting for a join token");
    }
    let dune = Founding {
        cluster_name: "dune".to_owned(),
        expected_nodes: 3,
        zone: Some("z1".to_owned()),
        ..Founding::default()
    };
    let first = client(&pods[1].api, OPERATOR);
    let early = first.cluster_status().await.expect_err("no member");
    assert_eq!(early.reason(), Some("NOT_A_MEMBER"));
    let denied = client(&pods[1].api, ADMIN).bootstrap(&dune).await;
    assert_eq!(denied.expect_err("not this key").kind(), ErrorKind::Denied);

    let founded = first.bootstrap(&dune).await.expect("founded");
    assert!(founded.founded);
    let again = client(&pods[1].api, OPERATOR);
    until("the founder serves", READY_WITHIN, async || {
        let same = again.bootstrap(&dune).await.map_err(|e| e.to_string())?;
        assert_eq!(
            (same.founded, &same.cluster_id),
            (false, &founded.cluster_id)
        );
        Ok(())
    })
    .await;
    let other = Founding {
        cluster_name: "arrakis".to_owned(),
        ..dune.clone()
    };
    let refused = again.bootstrap(&other).await.expect_err("another name");
    assert_eq!(refused.reason(), Some("CLUSTER_DIFFERS"));
    // Whoever asks another one does not get a second cluster.
    let second = client(&pods[0].api, OPERATOR).bootstrap(&dune).await;
    let second = second.expect_err("a member answers");
    assert_eq!(second.reason(), Some("CLUSTER_DIFFERS"));
    assert!(second.message().contains(&pods[1].mesh), "{second}");

    // It goes on as the founder after a kill, and both keys are the cluster's.
    daemons.remove(1);
    let _founder = start(folder, &pods, 1);
    let admin = client(&pods[1].api, ADMIN);
    until("the founder is back", READY_WITHIN, async || {
        admin
            .cluster_status()
            .await
            .map(|_| ())
            .map_err(|e| e.to_string())
    })
    .await;
    invite(folder, &admin, [&pods[0], &pods[2]]).await;
    let status = admin.cluster_status().await.expect("answered");
    assert_eq!(status.cluster_id, founded.cluster_id);
    let founder = status.nodes.iter().find(|n| n.name == "store-1");
    assert_eq!(founder.map(|n| n.zone.as_str()), Some("z1"));
    // Those who joined tell the same, without having founded anything.
    let joined = client(&pods[2].api, OPERATOR).bootstrap(&dune).await;
    assert_eq!(joined.expect("answered").cluster_id, founded.cluster_id);
}

/// Gives these their tokens, and waits until they are members beside the founder.
async fn invite(folder: &Path, admin: &Client, pods: [&Pod; 2]) {
    for pod in pods {
        let bound = (Some(pod.name.as_str()), None);
        let hour = Duration::from_secs(3600);
        let made = admin
            .create_join_token(JoinRole::Storage, hour, bound)
            .await;
        let text = made.expect("made").token;
        fs::write(token_file(folder, pod), text).expect("written");
    }
    until("all are members", READY_WITHIN, async || {
        let status = admin.cluster_status().await.map_err(|e| e.to_string())?;
        let up = status.nodes.iter().filter(|n| n.state == NodeState::Up);
        match up.count() {
            3 => Ok(()),
            up => Err(format!("{up} are up")),
        }
    })
    .await;
}
