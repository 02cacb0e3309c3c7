//! Newcomers of a development cluster get in as everywhere: by a join token, which a server that runs
//! already makes.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use marram_client::{Client, ClientConfig, JoinRole, RetryPolicy};
use marram_mesh::Kept;

use super::layout::{Layout, Settings, write_private};
use super::secrets::AccessKey;
use super::{founds, is_member};

/// How long the servers may take until one makes tokens.
const MADE_WITHIN: Duration = Duration::from_secs(60);
/// How often they are asked meanwhile.
const ASK_EVERY: Duration = Duration::from_millis(20);
/// How long one of them may take to answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// How long a token is good for: its process starts at once.
const TTL: Duration = Duration::from_secs(15 * 60);

/// Whether a process has to join when it starts.
pub(super) fn needs_one(layout: &Layout, settings: &Settings, name: &str) -> bool {
    if settings.node_names().any(|(node, _)| node == name) {
        let drive = &layout.drives(name, settings.drives)[0];
        return !is_member(drive) && !founds(layout, settings, name);
    }
    // What cannot be read is left to the gateway, which says why.
    let kept = Kept::load(&layout.identity_file(name));
    kept.is_ok_and(|kept| kept.is_none_or(|kept| kept.certificate.is_none()))
}

/// Has a server make a token for each of these processes.
pub(super) async fn make(
    layout: &Layout,
    settings: &Settings,
    key: &AccessKey,
    names: &[String],
) -> Result<()> {
    let mut left = names.iter();
    let Some(mut name) = left.next() else {
        return Ok(());
    };
    let servers: Vec<Client> = settings
        .node_names()
        .filter(|(node, _)| !names.contains(node))
        .map(|(_, ports)| client(ports.api, key))
        .collect::<Result<_>>()?;
    let deadline = Instant::now() + MADE_WITHIN;
    loop {
        for server in &servers {
            while let Ok(token) = token(server, settings, name).await {
                write_private(&layout.token_file(name), token.as_bytes())?;
                match left.next() {
                    Some(next) => name = next,
                    None => return Ok(()),
                }
            }
        }
        if Instant::now() > deadline {
            bail!("no server makes a join token for {name} after {MADE_WITHIN:?}; see the logs");
        }
        tokio::time::sleep(ASK_EVERY).await;
    }
}

fn client(api: u16, key: &AccessKey) -> Result<Client> {
    let mut config = ClientConfig::new(format!("127.0.0.1:{api}"), &key.id, &key.secret);
    config.retry = RetryPolicy::never();
    config.call_timeout = ANSWER_WITHIN;
    Client::connect(config).context("the client cannot be made")
}

async fn token(server: &Client, settings: &Settings, name: &str) -> Result<String> {
    let role = match settings.node_names().any(|(node, _)| node == name) {
        true => JoinRole::Storage,
        false => JoinRole::Gateway,
    };
    let made = server
        .create_join_token(role, TTL, (Some(name), None))
        .await?;
    Ok(made.token)
}

/// A token is of no use once its process is a member.
pub(super) fn forget(layout: &Layout, name: &str) {
    let _ = fs::remove_file(layout.token_file(name));
}
