//! Joining a cluster: ask until admitted, write down who one is, begin to follow.

use std::time::Duration;

use anyhow::{Result, bail};
use bytes::Bytes;
use marram_mesh::{CallError, Join, Mesh, RpcCode};
use marram_proto::mesh::v1 as wire;
use marram_types::config::ServerConfig;
use tokio::runtime::Handle;

use super::super::admission::{self, Admitted};
use super::super::storage::Storage;
use super::{Node, describe, open, open_log, settle};

/// How long one server may take to answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// Pause between rounds over the servers.
const PAUSE: Duration = Duration::from_millis(100);
/// Rounds between two lines in the log.
const ROUNDS_PER_LINE: u32 = 50;

pub(super) async fn join(
    config: &ServerConfig,
    storage: &mut Storage,
    mesh: &Mesh,
    raft: &Handle,
) -> Result<Node> {
    // Marks the drives as this cluster's, so that an interrupted start is known as one.
    storage.identify(None, &[], None)?;
    let join = describe(config, storage, mesh)?;
    let node_join = Bytes::from(join.to_bytes());
    let admitted = ask(config, mesh, &node_join).await?;
    // The log comes before the name: a named node without a log has lost it.
    drop(open_log(storage)?);
    storage.identify(
        Some(admitted.node),
        &admitted.drives,
        Some(admitted.replica),
    )?;
    let node = open(storage, mesh, admitted.replica, raft, Some(admitted.view)).await?;
    settle(mesh, admitted.node);
    Ok(node)
}

/// Asks every server in turn until one admits this node. A refusal ends it: asking again would not
/// help.
async fn ask(config: &ServerConfig, mesh: &Mesh, node_join: &Bytes) -> Result<Admitted> {
    for round in 0_u32.. {
        for server in &config.join {
            let request = wire::JoinRequest {
                node_join: node_join.clone(),
            };
            match mesh
                .call_addr::<Join>(server, request, Bytes::new(), ANSWER_WITHIN)
                .await
            {
                Ok((response, _)) => return admission::read(&response),
                Err(CallError::Failed(failure))
                    if matches!(failure.code, RpcCode::Refused | RpcCode::Denied) =>
                {
                    bail!("{server} refused this node: {}", failure.message);
                }
                Err(error) if round % ROUNDS_PER_LINE == 0 => {
                    tracing::info!(server, %error, "waiting to be admitted");
                }
                Err(_) => {}
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
    bail!("no server admitted this node")
}
