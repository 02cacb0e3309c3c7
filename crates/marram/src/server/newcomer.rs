//! Asking to join: by a token, as a stranger, until one server admits us.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use marram_gateway::Kek;
use marram_maintain::fault_point;
use marram_mesh::{CallError, Join, RpcCode, StrangerError, call_as_stranger};
use marram_meta::{AdmittedNode, COMMAND_VERSION, ClusterView, RootOutcome};
use marram_proto::mesh::v1 as wire;
use marram_types::{ClusterId, DriveId, JoinToken, NodeId};

use super::addresses;
use super::founder::{Asked, Asking};
use super::invitation::Invitation;
use super::observe::Readiness;
use super::own::Own;

/// How long one server may take to answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// Pause between rounds over the servers.
const PAUSE: Duration = Duration::from_millis(200);
/// Rounds between two lines in the log.
const ROUNDS_PER_LINE: u32 = 50;

/// Who asks.
#[derive(Clone)]
pub(super) enum Asks {
    /// A storage node: its description, and the cluster that its drives are marked with.
    Node(Vec<u8>, Option<ClusterId>),
    /// A storage node that keeps the ids that it has: its description, and who it is.
    Returning(Vec<u8>, Returning),
    /// A gateway, by its name if it has one.
    Gateway(Option<String>),
}

/// Who a node is whose drives know it, and the cluster does not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Returning {
    /// The cluster that its drives are marked with.
    pub cluster: ClusterId,
    /// The node.
    pub node: NodeId,
    /// Its drives, in the order of the description.
    pub drives: Vec<DriveId>,
}

/// What the answer says.
pub(super) struct Admitted {
    /// The node; none of a gateway.
    pub node: Option<AdmittedNode>,
    /// The cluster, with the newcomer in it.
    pub view: ClusterView,
}

/// Why one was not admitted.
#[derive(Debug, thiserror::Error)]
enum AskError {
    /// A server of the cluster said no: with this token it will say so again until something else
    /// changes.
    #[error("{server} refused to admit this one: {why}")]
    Refused {
        /// Which server.
        server: String,
        /// Its reason.
        why: String,
    },
    /// The server's CA is not the token's: nothing was sent.
    #[error("{0}")]
    OtherAuthority(String),
    /// The request cannot be made, or its answer not be used.
    #[error("{0:#}")]
    Failed(anyhow::Error),
}

impl From<anyhow::Error> for AskError {
    fn from(error: anyhow::Error) -> Self {
        Self::Failed(error)
    }
}

/// What ended the asking.
pub(super) enum Answer {
    /// A server admitted this one.
    Admitted(Box<Admitted>),
    /// This one is to found a cluster instead; no server was asked since it last waited.
    Asked(Asked),
}

/// Asks until admitted; a refusal ends it only where no other token can come. While no token is there,
/// this server may be asked to found a cluster.
pub(super) async fn ask_until_admitted(
    servers: &[String],
    kek: &Kek,
    own: &mut Own,
    mut invitation: Invitation,
    asks: Asks,
    (readiness, asking): (&Readiness, &mut Asking),
) -> Result<Answer> {
    loop {
        let token = tokio::select! {
            token = invitation.token(readiness) => token?,
            asked = asking.next() => return Ok(Answer::Asked(asked)),
        };
        match ask(servers, &token, kek, own, asks.clone(), readiness).await {
            Ok(admitted) => return Ok(Answer::Admitted(Box::new(admitted))),
            Err(error @ (AskError::Refused { .. } | AskError::OtherAuthority(_)))
                if invitation.may_change() =>
            {
                tracing::warn!(%error, "not admitted; waiting for another token, or for the reason to go");
                readiness.joining(format!(
                    "{error}; waiting for another token, or for the reason to go"
                ));
                invitation.refused();
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// Asks every server in turn until one admits us, and takes the certificate. A refusal ends it: asking
/// again at once would not help. A name may stand for many servers, some of which are no members.
async fn ask(
    servers: &[String],
    token: &JoinToken,
    kek: &Kek,
    own: &mut Own,
    asks: Asks,
    readiness: &Readiness,
) -> Result<Admitted, AskError> {
    readiness.joining(format!("asking {} to be admitted", servers.join(", ")));
    let request = request(token, kek, own, asks)?;
    for round in 0_u32.. {
        let (addresses, mut failed) = addresses::resolve(servers).await;
        let mut other = None;
        for server in &addresses {
            let asked =
                call_as_stranger::<Join>(server, token.authority, request.clone(), ANSWER_WITHIN);
            match asked.await {
                Ok(response) => {
                    fault_point("join.admitted");
                    return Ok(take(own, &response)?);
                }
                Err(StrangerError::Call(CallError::Failed(failure)))
                    if matches!(failure.code, RpcCode::Refused | RpcCode::Denied) =>
                {
                    let (server, why) = (server.clone(), failure.message.to_string());
                    return Err(AskError::Refused { server, why });
                }
                // Perhaps an address that another cluster has by now: the next one may be right.
                Err(error @ StrangerError::OtherAuthority { .. }) => {
                    other = Some(error.to_string());
                }
                Err(error) => failed = Some(format!("{server}: {error}")),
            }
        }
        if let Some(error) = other {
            return Err(AskError::OtherAuthority(error));
        }
        let error = failed.unwrap_or_else(|| "nobody was found".to_owned());
        let count = addresses.len();
        readiness.joining(format!(
            "not admitted yet by any of {count} addresses: {error}"
        ));
        if round % ROUNDS_PER_LINE == 0 {
            tracing::info!(count, error, "waiting to be admitted");
        }
        tokio::time::sleep(PAUSE).await;
    }
    Err(anyhow::anyhow!("no server admitted this one").into())
}

fn request(token: &JoinToken, kek: &Kek, own: &Own, asks: Asks) -> Result<wire::JoinRequest> {
    let mut request = wire::JoinRequest {
        token: token.id,
        secret: Bytes::copy_from_slice(&token.secret),
        certificate_request: own.request()?.into(),
        key_check: Bytes::copy_from_slice(&kek.check()),
        knows_version: u32::from(COMMAND_VERSION),
        ..wire::JoinRequest::default()
    };
    match asks {
        Asks::Node(description, cluster) => {
            request.node_join = description.into();
            request.cluster = cluster.map_or_else(String::new, |cluster| cluster.to_string());
        }
        Asks::Returning(description, known) => {
            request.returning_join = description.into();
            request.cluster = known.cluster.to_string();
            request.returning_node = known.node.0;
            request.returning_drives = known.drives.iter().map(|drive| drive.0).collect();
        }
        Asks::Gateway(name) => {
            request.gateway = true;
            request.name = name.unwrap_or_default();
        }
    }
    Ok(request)
}

fn take(own: &mut Own, response: &wire::JoinResponse) -> Result<Admitted> {
    let outcome = RootOutcome::decode(&response.outcome).context("the answer cannot be read")?;
    let RootOutcome::Admitted { node, .. } = outcome else {
        bail!("the answer to the join does not say who was admitted");
    };
    let view = ClusterView::decode(&response.view).context("the view cannot be read")?;
    let authorities = response.authorities.iter().map(|der| der.to_vec());
    own.take(response.certificate.to_vec(), authorities.collect())?;
    Ok(Admitted { node, view })
}
