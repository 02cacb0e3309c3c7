//! One node more: what the running command does when `--add-node` asks for it, and the asking.
//!
//! The wish and its answer are files, as for `--restart-node`: whoever may write into the folder may
//! run the cluster. One wish at a time; others wait for their turn.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use marram_client::{Client, ClientConfig, NodeState, RetryPolicy};
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

use super::layout::{Layout, NODES_MAX, Settings, write_private};
use super::process::log_tail;
use super::{lock, secrets};

/// How long a wish may wait for its turn and for the running command, which acts on none before its
/// cluster is ready.
const TAKEN_WITHIN: Duration = Duration::from_secs(180);
/// How long a new node may take until it takes part.
const UP_WITHIN: Duration = Duration::from_secs(120);
/// How often all of this is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// What the running command says to a wish.
#[derive(Debug, Serialize, Deserialize)]
enum Answer {
    /// The node was made and its process started.
    Started(String),
    /// Why not.
    Failed(String),
}

/// Makes everything that a further node needs and writes it down: from then on it is part of the
/// cluster, and every later start starts it too.
pub(super) fn grow(layout: &Layout, settings: &mut Settings) -> Result<String> {
    if settings.nodes.len() >= usize::from(NODES_MAX) {
        bail!("a development cluster has at most {NODES_MAX} nodes");
    }
    let mut grown = settings.clone();
    grown.add_node()?;
    let (name, _) = grown
        .node_names()
        .last()
        .context("the node was added a moment ago")?;
    let folder = layout.process_dir(&name);
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    layout.keep(&grown)?;
    *settings = grown;
    Ok(name)
}

/// Tells the one who asked what came of it.
pub(super) fn answer(layout: &Layout, outcome: &Result<String>) -> Result<()> {
    let answer = match outcome {
        Ok(name) => Answer::Started(name.clone()),
        Err(error) => Answer::Failed(format!("{error:#}")),
    };
    let text = serde_json::to_string(&answer)?;
    write_private(&layout.add_answer(), text.as_bytes())?;
    let _ = fs::remove_file(layout.add_request());
    Ok(())
}

/// Has the running command add a node and waits until that takes part. Where none runs, the node
/// starts with the others next time.
pub(super) async fn request(layout: &Layout) -> Result<()> {
    let deadline = Instant::now() + TAKEN_WITHIN;
    let _turn = turn(layout, deadline).await?;
    if let Ok(_alone) = lock(layout) {
        let mut settings = layout
            .kept()?
            .with_context(|| format!("there is no cluster in {}", layout.root().display()))?;
        let name = grow(layout, &mut settings)?;
        println!("{name} is made, and starts with the next `marram dev`");
        return Ok(());
    }
    let name = ask(layout, deadline).await?;
    let address = until_it_takes_part(layout, &name).await?;
    let pid = fs::read_to_string(layout.pid_file(&name)).unwrap_or_default();
    println!(
        "{name} takes part: process {}, api {address}; {} has its address too",
        pid.trim(),
        layout.env_file().display()
    );
    Ok(())
}

/// One wish at a time: the lock goes when the file is closed, also by a crash.
async fn turn(layout: &Layout, deadline: Instant) -> Result<fs::File> {
    let path = layout.add_lock();
    let file =
        fs::File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
    while flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
        if Instant::now() > deadline {
            bail!("another --add-node has not ended after {TAKEN_WITHIN:?}");
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    Ok(file)
}

async fn ask(layout: &Layout, deadline: Instant) -> Result<String> {
    let (request, answer) = (layout.add_request(), layout.add_answer());
    let _ = fs::remove_file(&answer);
    fs::write(&request, "").with_context(|| format!("cannot write {}", request.display()))?;
    loop {
        if let Ok(text) = fs::read_to_string(&answer) {
            let _ = fs::remove_file(&answer);
            return match serde_json::from_str(&text).context("the answer is damaged")? {
                Answer::Started(name) => Ok(name),
                Answer::Failed(why) => Err(anyhow!(why).context("no node was added")),
            };
        }
        if lock(layout).is_ok() {
            let _ = fs::remove_file(&request);
            bail!("the running `marram dev` stopped before it added the node");
        }
        if Instant::now() > deadline {
            let _ = fs::remove_file(&request);
            bail!("the running `marram dev` did not add a node within {TAKEN_WITHIN:?}");
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Until the node itself and the others say that it takes part.
async fn until_it_takes_part(layout: &Layout, name: &str) -> Result<String> {
    let settings = layout.kept()?.context("the cluster is gone")?;
    let key = secrets::admin_key(layout)?;
    let connect = |endpoints: Vec<String>| {
        let mut config = ClientConfig::new(endpoints.join(","), &key.id, &key.secret);
        config.retry = RetryPolicy::never();
        Client::connect(config).context("the client cannot be made")
    };
    let (own, others): (Vec<_>, Vec<_>) =
        settings.node_names().partition(|(other, _)| other == name);
    let api = |nodes: Vec<(String, super::Ports)>| -> Vec<String> {
        let address = |(_, ports): (String, super::Ports)| format!("127.0.0.1:{}", ports.api);
        nodes.into_iter().map(address).collect()
    };
    let own = api(own);
    let address = own.join(",");
    let observers = [connect(own)?, connect(api(others))?];
    let deadline = Instant::now() + UP_WITHIN;
    loop {
        let mut seen = 0;
        for observer in &observers {
            seen += usize::from(sees(observer, name).await);
        }
        if seen == observers.len() {
            return Ok(address);
        }
        let log = layout.log_file(name);
        if !layout.pid_file(name).exists() {
            bail!(
                "{name} ended before it took part; the end of {}:\n  {}",
                log.display(),
                log_tail(&log)
            );
        }
        if Instant::now() > deadline {
            bail!(
                "{name} does not take part after {UP_WITHIN:?}; see {}",
                log.display()
            );
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

async fn sees(observer: &Client, name: &str) -> bool {
    let Ok(status) = observer.cluster_status().await else {
        return false;
    };
    let up = |node: &marram_client::NodeStatus| node.name == name && node.state == NodeState::Up;
    status.nodes.iter().any(up)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_answered_is_understood_and_said_once() {
        let folder = tempfile::tempdir().expect("a folder");
        let layout = Layout::open(folder.path()).expect("opened");
        fs::write(layout.add_request(), "").expect("asked");
        answer(&layout, &Ok("node-7".to_owned())).expect("answered");
        assert!(!layout.add_request().exists());
        let text = fs::read_to_string(layout.add_answer()).expect("there");
        let read: Answer = serde_json::from_str(&text).expect("understood");
        assert!(matches!(read, Answer::Started(name) if name == "node-7"));
        answer(&layout, &Err(anyhow!("no port"))).expect("answered");
        let text = fs::read_to_string(layout.add_answer()).expect("there");
        let read: Answer = serde_json::from_str(&text).expect("understood");
        assert!(matches!(read, Answer::Failed(why) if why == "no port"));
    }
}
