//! Join tokens, the CA, and the certificates of members.

use std::time::{Duration, Instant};

use marram_mesh::{ca_validity, make_ca};
use marram_meta::{
    AuthorityRecord, ClusterView, IdentityCommand, IdentityRecord, IdentityRole, NewToken,
    NodeState, Refusal, RootCommand, RootOutcome, RootQuery, Said, TokenRecord, TokenRole,
    not_said,
};
use marram_proto::v1;
use marram_types::{GroupId, JoinToken};

use super::{AdminError, member};
use crate::authority::wrap_authority;
use crate::core::Core;
use crate::groups::{GroupError, QUERY_TIME};
use crate::hex;
use crate::status::{Fault, Reason};
use crate::validate::InvalidField;

/// How long an answer waits for members to renew.
const RENEWED_WITHIN: Duration = Duration::from_secs(10);

/// Why an operator's wish was not carried out.
#[derive(Debug, thiserror::Error)]
pub(crate) enum IdentityError {
    #[error(transparent)]
    Invalid(#[from] InvalidField),
    #[error("{0}")]
    Refused(Refusal),
    #[error(transparent)]
    Node(#[from] AdminError),
    #[error(transparent)]
    Group(#[from] GroupError),
    #[error("the cluster has no CA yet; try again")]
    NoAuthority,
    #[error("no CA can be made: {0}")]
    Make(String),
}

impl Fault for IdentityError {
    fn reason(&self) -> Reason {
        match self {
            Self::Invalid(error) => error.reason(),
            Self::Refused(refusal) => refusal.reason(),
            Self::Node(error) => error.reason(),
            Self::Group(error) => error.reason(),
            Self::NoAuthority => Reason::MetadataUnavailable,
            Self::Make(_) => Reason::Internal,
        }
    }

    fn details(&self) -> Vec<(&'static str, String)> {
        match self {
            Self::Invalid(error) => error.details(),
            Self::Refused(refusal) => refusal.details(),
            Self::Node(error) => error.details(),
            Self::Group(error) => error.details(),
            Self::NoAuthority | Self::Make(_) => Vec::new(),
        }
    }
}

async fn decide(core: &Core, command: IdentityCommand) -> Result<(), IdentityError> {
    match core.root_decision(&RootCommand::Identity(command)).await? {
        RootOutcome::Done => Ok(()),
        RootOutcome::Refused(refusal) => Err(IdentityError::Refused(refusal)),
        _ => Err(GroupError::Kind(GroupId::ROOT).into()),
    }
}

fn wrong(field: &'static str, rule: &'static str) -> IdentityError {
    InvalidField::Wrong { field, rule }.into()
}

fn role_of(role: v1::JoinRole) -> Result<TokenRole, IdentityError> {
    match role {
        v1::JoinRole::Storage => Ok(TokenRole::Storage),
        v1::JoinRole::Gateway => Ok(TokenRole::Gateway),
        v1::JoinRole::Unspecified => Err(wrong("role", "it must be storage or gateway")),
    }
}

/// A name or zone as it may stand in a certificate, or nothing.
fn text(field: &'static str, given: String) -> Result<Option<String>, IdentityError> {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
    if given.len() > marram_meta::TOKEN_TEXT_BYTES_MAX || !given.bytes().all(allowed) {
        let rule = "it must have at most 63 letters, digits, dots, hyphens and underscores";
        return Err(wrong(field, rule));
    }
    Ok((!given.is_empty()).then_some(given))
}

/// Makes a token. An attempt whose answer is lost leaves one that nobody knows, until it expires.
pub(crate) async fn create_token(
    core: &Core,
    request: v1::CreateJoinTokenRequest,
) -> Result<v1::CreateJoinTokenResponse, IdentityError> {
    let role = role_of(request.role())?;
    let view = core.fresh_view().await?;
    let authority = view.issuing().ok_or(IdentityError::NoAuthority)?;
    let token = JoinToken {
        id: rand::random(),
        secret: rand::random(),
        authority: authority.fingerprint,
    };
    let ttl_ms = request.ttl_seconds.saturating_mul(1000);
    if !marram_meta::TOKEN_TTL_MS.contains(&ttl_ms) {
        return Err(wrong("ttl_seconds", "it must be 1 second to 30 days"));
    }
    let new = NewToken {
        token: token.id,
        secret_hash: marram_mesh::fingerprint(&token.secret),
        role,
        name: text("name", request.name)?,
        zone: text("zone", request.zone)?,
        ttl_ms,
    };
    decide(core, IdentityCommand::CreateToken(new)).await?;
    tracing::info!(target: "admin", token = %token_id(token.id), role = role.name(), "join token made");
    Ok(v1::CreateJoinTokenResponse {
        id: token_id(token.id),
        token: token.to_string(),
        expires_ms: signed((core.now_ms)().saturating_add(ttl_ms)),
    })
}

fn token_id(id: u64) -> String {
    format!("{id:016x}")
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn token_info(token: TokenRecord, now_ms: u64) -> v1::JoinTokenInfo {
    use v1::JoinTokenState::{Expired, Revoked, Used, Valid};
    let role = match token.role {
        TokenRole::Storage => v1::JoinRole::Storage,
        TokenRole::Gateway => v1::JoinRole::Gateway,
    };
    let state = match (&token.used, token.revoked) {
        (Some(_), _) => Used,
        (None, true) => Revoked,
        (None, false) if now_ms >= token.expires_ms => Expired,
        (None, false) => Valid,
    };
    v1::JoinTokenInfo {
        id: token_id(token.token),
        role: role.into(),
        state: state.into(),
        name: token.name.unwrap_or_default(),
        zone: token.zone.unwrap_or_default(),
        created_ms: signed(token.created_ms),
        expires_ms: signed(token.expires_ms),
        used_by_node_id: token.used.map_or(0, |used| used.node.0),
    }
}

/// All tokens that the cluster remembers.
pub(crate) async fn list_tokens(core: &Core) -> Result<v1::ListJoinTokensResponse, IdentityError> {
    let query = RootQuery::Tokens.encode().into();
    let answer = core.groups.query(GroupId::ROOT, query, true, QUERY_TIME);
    let tokens = RootQuery::read_tokens(&answer.await?.bytes).map_err(GroupError::Answer)?;
    let now_ms = (core.now_ms)();
    let tokens = tokens.into_iter().map(|token| token_info(token, now_ms));
    Ok(v1::ListJoinTokensResponse {
        tokens: tokens.collect(),
    })
}

/// Takes a token back.
pub(crate) async fn revoke_token(
    core: &Core,
    request: v1::RevokeJoinTokenRequest,
) -> Result<v1::RevokeJoinTokenResponse, IdentityError> {
    let id = request.id.split('.').next().unwrap_or_default();
    let digits = id.len() == 16 && id.bytes().all(|b| b.is_ascii_hexdigit());
    let token = u64::from_str_radix(id, 16).ok().filter(|_| digits);
    let token = token.ok_or_else(|| wrong("id", "it must have 16 hexadecimal digits"))?;
    decide(core, IdentityCommand::RevokeToken { token }).await?;
    tracing::info!(target: "admin", token = %token_id(token), "join token revoked");
    Ok(v1::RevokeJoinTokenResponse {
        id: token_id(token),
    })
}

/// The CA that is replaced and the one that replaces it, while that is under way.
fn rotation(view: &ClusterView) -> Option<(&AuthorityRecord, &AuthorityRecord)> {
    let mut held = view.authorities.values();
    Some((held.next()?, held.next()?))
}

/// The next step, and who has to do the one before it.
fn next_step(view: &ClusterView, now_s: u64) -> (v1::CaStep, Vec<String>) {
    let Some((old, new)) = rotation(view) else {
        return (v1::CaStep::Trust, Vec::new());
    };
    let (step, said) = match new.issues {
        false => (v1::CaStep::Issue, Said::Trusts(new.fingerprint)),
        true => (v1::CaStep::Drop, Said::LeftIssuer(old.fingerprint)),
    };
    let waiting = not_said(view.nodes.values(), &view.identities, now_s, said);
    (step, waiting)
}

fn certificate_info(
    name: String,
    role: v1::JoinRole,
    record: Option<&IdentityRecord>,
) -> v1::CertificateInfo {
    v1::CertificateInfo {
        name,
        role: role.into(),
        expires_s: record.map_or(0, |r| signed(r.until_s)),
        issuer: record
            .and_then(|r| r.issuer)
            .map_or_else(String::new, |issuer| hex::encode(&issuer)),
        renewal_asked: record.is_some_and(|r| r.granted < r.wanted),
    }
}

fn ca_status(view: &ClusterView, now_s: u64) -> v1::GetCaStatusResponse {
    let nodes = view.nodes.values().filter(|n| n.state == NodeState::Active);
    let nodes = nodes.map(|node| {
        let record = view.identities.get(&node.public_key);
        certificate_info(node.name.clone(), v1::JoinRole::Storage, record)
    });
    let gateways = view.identities.values();
    let gateways = gateways.filter(|i| i.role == IdentityRole::Gateway && !i.removed);
    let gateways = gateways
        .map(|record| certificate_info(record.name.clone(), v1::JoinRole::Gateway, Some(record)));
    let (step, waiting_for) = next_step(view, now_s);
    let authorities = view.authorities.values().map(|a| v1::CaInfo {
        fingerprint: hex::encode(&a.fingerprint),
        issues: a.issues,
        expires_s: ca_validity(&a.certificate).map_or(0, |validity| validity.not_after),
    });
    v1::GetCaStatusResponse {
        authorities: authorities.collect(),
        next_step: step.into(),
        waiting_for,
        members: nodes.chain(gateways).collect(),
    }
}

fn now_s(core: &Core) -> u64 {
    (core.now_ms)() / 1000
}

/// How the CA and the certificates are.
pub(crate) async fn get_ca_status(core: &Core) -> Result<v1::GetCaStatusResponse, IdentityError> {
    let view = core.fresh_view().await?;
    Ok(ca_status(&view, now_s(core)))
}

/// What the next step asks of the root group; nothing when the CA that was to be replaced is gone.
fn step_command(
    core: &Core,
    view: &ClusterView,
    replaces: Option<[u8; 32]>,
) -> Result<Option<IdentityCommand>, IdentityError> {
    let trusted = |print: &[u8; 32]| view.authorities.values().any(|a| a.fingerprint == *print);
    if replaces.is_some_and(|print| !trusted(&print)) {
        return Ok(None);
    }
    if let Some((old, new)) = rotation(view) {
        // Asked to replace the new one, while the old one is being replaced: that comes first.
        return Ok(Some(match new.issues {
            false => IdentityCommand::IssueFrom {
                fingerprint: new.fingerprint,
            },
            true => IdentityCommand::DropAuthority {
                fingerprint: old.fingerprint,
            },
        }));
    }
    let old = view.issuing().ok_or(IdentityError::NoAuthority)?;
    let cluster = view.cluster.as_ref().ok_or(IdentityError::NoAuthority)?;
    let made = make_ca(cluster.cluster).map_err(|e| IdentityError::Make(e.to_string()))?;
    let wrapped = wrap_authority(&core.kek, &made);
    let (fingerprint, wrapped_key) = wrapped.map_err(|e| IdentityError::Make(e.to_string()))?;
    Ok(Some(IdentityCommand::AddAuthority {
        fingerprint,
        certificate: made.certificate().to_vec(),
        wrapped_key,
        replaces: Some(old.fingerprint),
    }))
}

/// Makes the next step of the replacement of the CA.
pub(crate) async fn rotate_ca(
    core: &Core,
    request: v1::RotateCaRequest,
) -> Result<v1::RotateCaResponse, IdentityError> {
    let replaces = match request.replaces.as_str() {
        "" => None,
        text => {
            let bytes = hex::decode(text).and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
            let rule = "it must have 64 hexadecimal digits, as the status shows them";
            Some(bytes.ok_or_else(|| wrong("replaces", rule))?)
        }
    };
    let view = core.fresh_view().await?;
    let mut made = v1::CaStep::Unspecified;
    if let Some(command) = step_command(core, &view, replaces)? {
        made = match command {
            IdentityCommand::AddAuthority { .. } => v1::CaStep::Trust,
            IdentityCommand::IssueFrom { .. } => v1::CaStep::Issue,
            _ => v1::CaStep::Drop,
        };
        decide(core, command).await?;
        tracing::info!(target: "admin", step = made.as_str_name(), "step of the replacement of the CA made");
    }
    let view = core.fresh_view().await?;
    Ok(v1::RotateCaResponse {
        made: made.into(),
        status: Some(ca_status(&view, now_s(core))),
    })
}

/// The key of a member by its name, or of a node by its id.
fn key_of(view: &ClusterView, wanted: &str) -> Result<[u8; 32], IdentityError> {
    let mut gateways = view.identities.values();
    let gateway = gateways
        .find(|i| i.role == IdentityRole::Gateway && !i.removed && i.name == wanted)
        .map(|record| record.key);
    match (member(view, wanted), gateway) {
        (Ok(node), _) => Ok(node.public_key),
        (Err(_), Some(key)) => Ok(key),
        (Err(error), None) => Err(error.into()),
    }
}

/// Living members whose renewal was asked for at or before `asked`, by whether they did it.
fn renewals(view: &ClusterView, keys: &[[u8; 32]]) -> v1::ReloadTlsResponse {
    let mut answer = v1::ReloadTlsResponse::default();
    for record in keys.iter().filter_map(|key| view.identities.get(key)) {
        let node = view.nodes.values().find(|n| n.public_key == record.key);
        let name = node.map_or_else(|| record.name.clone(), |node| node.name.clone());
        match record.granted < record.wanted {
            true => answer.pending.push(name),
            false => answer.renewed.push(name),
        }
    }
    answer
}

/// Has members renew their certificates now, and waits a while for it.
pub(crate) async fn reload_tls(
    core: &Core,
    request: v1::ReloadTlsRequest,
) -> Result<v1::ReloadTlsResponse, IdentityError> {
    let view = core.fresh_view().await?;
    let key = match request.member.as_str() {
        "" => None,
        wanted => Some(key_of(&view, wanted)?),
    };
    decide(core, IdentityCommand::RenewNow { key }).await?;
    let view = core.fresh_view().await?;
    let member = |record: &&IdentityRecord| match record.role {
        IdentityRole::Gateway => !record.removed && record.until_s > now_s(core),
        IdentityRole::Node => view
            .nodes
            .values()
            .any(|n| n.public_key == record.key && n.state == NodeState::Active),
    };
    let keys: Vec<_> = match key {
        Some(key) => vec![key],
        None => view
            .identities
            .values()
            .filter(member)
            .map(|r| r.key)
            .collect(),
    };
    let deadline = Instant::now() + RENEWED_WITHIN;
    let mut answer = renewals(&view, &keys);
    while !answer.pending.is_empty() && Instant::now() < deadline {
        core.wait_for_view().await;
        let view = core.fresh_view().await?;
        answer = renewals(&view, &keys);
    }
    Ok(answer)
}

/// Removes a gateway for ever.
pub(crate) async fn remove_gateway(
    core: &Core,
    request: v1::RemoveGatewayRequest,
) -> Result<v1::RemoveGatewayResponse, IdentityError> {
    let name = request.name;
    decide(core, IdentityCommand::RemoveGateway { name: name.clone() }).await?;
    tracing::info!(target: "admin", %name, "gateway removed");
    Ok(v1::RemoveGatewayResponse { name })
}
