//! When is a development cluster ready? When every node takes part and an object went in and out.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use marram_client::{
    Client, ClientConfig, ClientError, ErrorKind, NodeState, Preconditions, PutBody, PutOptions,
    RetryPolicy,
};

use super::layout::{Layout, Settings, write_private};
use super::secrets::AccessKey;

/// How long the cluster may take to come up.
const READY_WITHIN: Duration = Duration::from_secs(120);
/// How often it is asked meanwhile.
const ASK_EVERY: Duration = Duration::from_millis(50);
/// How long the cluster may take to say who its members are.
const MEMBERS_WITHIN: Duration = Duration::from_millis(500);
/// The bucket of the check; it is removed again.
const CHECK_BUCKET: &str = "marram-dev-check";
const CHECK_KEY: &str = "is anybody there?";

/// Waits until every endpoint sees every node, then puts, reads back and deletes one object.
pub(super) async fn wait(settings: &Settings, key: &AccessKey) -> Result<()> {
    let deadline = Instant::now() + READY_WITHIN;
    let mut last = None;
    for endpoint in settings.endpoints() {
        let mut config = ClientConfig::new(endpoint.clone(), &key.id, &key.secret);
        config.retry = RetryPolicy::never();
        let client = Client::connect(config).context("the client cannot be made")?;
        while !everybody_is_here(&client, settings).await {
            if Instant::now() > deadline {
                bail!("{endpoint} does not see all nodes after {READY_WITHIN:?}; see the logs");
            }
            tokio::time::sleep(ASK_EVERY).await;
        }
        last = Some(client);
    }
    let client = last.context("a cluster has at least one node")?;
    loop {
        match round_trip(&client).await {
            Ok(()) => return Ok(()),
            Err(error) if Instant::now() > deadline => {
                return Err(error.context("an object could not be put, read back and deleted"));
            }
            Err(error) => tracing::debug!(%error, "not ready yet"),
        }
        tokio::time::sleep(ASK_EVERY).await;
    }
}

/// The names of the cluster's nodes, if it says them at once.
pub(super) async fn members(settings: &Settings, key: &AccessKey) -> Option<Vec<String>> {
    let endpoints = settings.endpoints().join(",");
    let mut config = ClientConfig::new(endpoints, &key.id, &key.secret);
    config.retry = RetryPolicy::never();
    config.call_timeout = MEMBERS_WITHIN;
    let status = Client::connect(config).ok()?.cluster_status().await.ok()?;
    Some(status.nodes.into_iter().map(|node| node.name).collect())
}

async fn everybody_is_here(client: &Client, settings: &Settings) -> bool {
    let Ok(status) = client.cluster_status().await else {
        return false;
    };
    let up = status
        .nodes
        .iter()
        .filter(|n| n.state == NodeState::Up)
        .count();
    let led = status.groups.iter().all(|g| g.leader_node_id.is_some());
    let writable = status.redundancy.is_some_and(|r| r.writable);
    up == settings.node_names().count() && led && writable
}

async fn round_trip(client: &Client) -> Result<()> {
    match client.create_bucket(CHECK_BUCKET, None).await {
        Ok(_) => {}
        Err(error) if already_there(&error) => {}
        Err(error) => return Err(error.into()),
    }
    let sent = format!("{:?}", Instant::now());
    client
        .put(
            CHECK_BUCKET,
            CHECK_KEY,
            PutBody::from(sent.clone().into_bytes()),
            PutOptions::default(),
        )
        .await?;
    let got = client
        .get(CHECK_BUCKET, CHECK_KEY, None)
        .await?
        .bytes(sent.len())
        .await?;
    ensure!(got == sent.as_bytes(), "the object came back changed");
    client
        .delete(CHECK_BUCKET, CHECK_KEY, &Preconditions::default())
        .await?;
    client.delete_bucket(CHECK_BUCKET).await?;
    Ok(())
}

fn already_there(error: &ClientError) -> bool {
    error.kind() == ErrorKind::AlreadyExists
}

/// Writes the shell file that second terminals source.
pub(super) fn write_env(layout: &Layout, settings: &Settings, key: &AccessKey) -> Result<()> {
    let text = format!(
        "export MARRAM_ENDPOINT={}\nexport MARRAM_ACCESS_KEY={}\nexport MARRAM_SECRET_KEY={}\n",
        settings.endpoints().join(","),
        key.id,
        key.secret
    );
    write_private(&layout.env_file(), text.as_bytes())
}
