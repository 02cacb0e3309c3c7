//! A newcomer brings a token: it is checked and used, and the newcomer admitted, in one entry
//! (rules.md 4).

use marram_types::{DriveId, NodeId};

use super::command::Newcomer;
use super::{fresh, put_identity, refuse};
use crate::kinds::identity::{IdentityRecord, IdentityRole};
use crate::kinds::token::{self, TokenRecord, TokenRole, TokenUse};
use crate::kv::Table;
use crate::refusal::{IdentityRefusal, Refusal};
use crate::requests::Apply;
use crate::root::apply::Ran;
use crate::root::command::NodeJoin;
use crate::root::nodes;
use crate::root::outcome::{AdmittedNode, RootOutcome};
use crate::root::returning;
use crate::stored::{StateError, load, store};

/// The zone of a node that names none.
const ZONE_DEFAULT: &str = "default";

pub(super) fn redeem(
    apply: &mut Apply<'_>,
    (token, secret_hash): (u64, [u8; 32]),
    newcomer: Newcomer,
    until_s: u64,
) -> Ran {
    let key = newcomer.key();
    let held: Option<TokenRecord> = load(apply.kv, Table::Tokens, &token::ser_key(token))?;
    let record = match check(held, secret_hash, &newcomer, apply.now_ms()) {
        Ok(record) => record,
        Err(refusal) => return refuse(refusal),
    };
    let admitted = match newcomer {
        Newcomer::Storage(join) => admit_node(apply, record, (join, None))?,
        Newcomer::Returning { join, node, drives } => {
            admit_node(apply, record, (join, Some((node, drives))))?
        }
        Newcomer::Gateway { name, .. } => admit_gateway(apply, &record, key, name)?,
    };
    let (name, node) = match admitted {
        Ok(admitted) => admitted,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let role = match node {
        Some(_) => IdentityRole::Node,
        None => IdentityRole::Gateway,
    };
    let held: Option<IdentityRecord> = load(apply.kv, Table::Identities, &key)?;
    let mut record = held.unwrap_or_else(|| fresh(key, role, name.clone()));
    record.until_s = until_s;
    record.granted = apply.index;
    record.name.clone_from(&name);
    put_identity(apply, &record)?;
    Ok(Ok(RootOutcome::Admitted { name, node }))
}

/// The token, if it admits who brings it.
fn check(
    held: Option<TokenRecord>,
    secret_hash: [u8; 32],
    newcomer: &Newcomer,
    now_ms: u64,
) -> Result<TokenRecord, IdentityRefusal> {
    let record = held
        .filter(|record| record.secret_hash == secret_hash)
        .ok_or(IdentityRefusal::TokenWrong)?;
    let role = match newcomer {
        Newcomer::Storage(_) | Newcomer::Returning { .. } => TokenRole::Storage,
        Newcomer::Gateway { .. } => TokenRole::Gateway,
    };
    if record.role != role {
        return Err(IdentityRefusal::TokenRole { role: record.role });
    }
    if record.revoked {
        return Err(IdentityRefusal::TokenRevoked);
    }
    match &record.used {
        // An answer that was lost, however long ago.
        Some(used) if used.key == newcomer.key() => Ok(record),
        Some(used) => Err(IdentityRefusal::TokenUsed { node: used.node }),
        None if now_ms >= record.expires_ms => Err(IdentityRefusal::TokenExpired {
            ago_ms: now_ms - record.expires_ms,
        }),
        None => Ok(record),
    }
}

/// What the token says where the newcomer says nothing, and nothing else than the token says.
fn bound(what: &str, bound: Option<&String>, given: String) -> Result<String, IdentityRefusal> {
    match bound {
        None => Ok(given),
        Some(bound) if given.is_empty() || *bound == given => Ok(bound.clone()),
        Some(bound) => Err(IdentityRefusal::TokenBound {
            what: what.to_owned(),
            bound: bound.clone(),
            given,
        }),
    }
}

type Admitted = Result<Result<(String, Option<AdmittedNode>), Refusal>, StateError>;

/// `returns` says as which node and drives, where it keeps its ids.
fn admit_node(
    apply: &mut Apply<'_>,
    mut token: TokenRecord,
    (mut join, returns): (NodeJoin, Option<(NodeId, Vec<DriveId>)>),
) -> Admitted {
    join.name = match bound("name", token.name.as_ref(), join.name) {
        Ok(name) => name,
        Err(refusal) => return refuse(refusal),
    };
    join.zone = match bound("zone", token.zone.as_ref(), join.zone) {
        Ok(zone) if zone.is_empty() => ZONE_DEFAULT.to_owned(),
        Ok(zone) => zone,
        Err(refusal) => return refuse(refusal),
    };
    let key = join.public_key;
    let added = match returns {
        None => nodes::add(apply, join)?,
        Some((node, drives)) => returning::take_in(apply, join, node, drives)?,
    };
    let (node, drives) = match added {
        Ok(RootOutcome::NodeAdded { node, drives }) => (node, drives),
        Ok(_) => unreachable!("adding a node adds a node"),
        Err(refusal) => return Ok(Err(refusal)),
    };
    let replica = match nodes::add_replica(apply, node, false)? {
        Ok(RootOutcome::ReplicaAdded { replica }) => replica,
        Ok(_) => unreachable!("adding a replica adds a replica"),
        Err(refusal) => return Ok(Err(refusal)),
    };
    let name = match nodes::member(apply.kv, node)? {
        Ok(record) => record.name,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let at_ms = apply.now_ms();
    token.used.get_or_insert(TokenUse { key, node, at_ms });
    store(
        apply.kv,
        Table::Tokens,
        &token::ser_key(token.token),
        &token,
    )?;
    let admitted = AdmittedNode {
        node,
        drives,
        replica,
    };
    Ok(Ok((name, Some(admitted))))
}

fn admit_gateway(apply: &Apply<'_>, token: &TokenRecord, key: [u8; 32], name: String) -> Admitted {
    let name = match bound("name", token.name.as_ref(), name) {
        Ok(name) if name.is_empty() => format!("gateway-{}", apply.index),
        Ok(name) => name,
        Err(refusal) => return refuse(refusal),
    };
    if nodes::member_of_key(apply.kv, &key)?.is_some() {
        return refuse(IdentityRefusal::NoSuchKey);
    }
    let held: Option<IdentityRecord> = load(apply.kv, Table::Identities, &key)?;
    if held.is_some_and(|record| record.removed || record.role != IdentityRole::Gateway) {
        return refuse(IdentityRefusal::NoSuchKey);
    }
    Ok(Ok((name, None)))
}
