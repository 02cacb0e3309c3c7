//! Tokens, CAs, and what the cluster knows of certificates (rules.md 3, 4, 5).

pub(crate) mod command;
pub(crate) mod members;
mod redeem;

use std::collections::BTreeMap;
use std::ops::{Bound, ControlFlow};

use super::apply::Ran;
use super::nodes;
use super::outcome::RootOutcome;
use crate::kinds::authority::{self, AuthorityRecord};
use crate::kinds::identity::{IdentityRecord, IdentityRole};
use crate::kinds::token::{
    self, TOKEN_KEPT_MS, TOKEN_TEXT_BYTES_MAX, TOKEN_TTL_MS, TOKENS_MAX, TokenRecord,
};
use crate::kv::{KvRead, Table};
use crate::refusal::{IdentityRefusal, NAMED_MAX, Refusal};
use crate::requests::Apply;
use crate::stored::{StateError, Stored, load, store};
use command::{IdentityCommand, NewToken};
use members::{Said, not_said};

/// Carries a command out.
pub(super) fn run(apply: &mut Apply<'_>, command: IdentityCommand) -> Ran {
    match command {
        IdentityCommand::CreateToken(token) => create_token(apply, token),
        IdentityCommand::RevokeToken { token } => revoke_token(apply, token),
        IdentityCommand::Redeem {
            token,
            secret_hash,
            newcomer,
            until_s,
        } => redeem::redeem(apply, (token, secret_hash), newcomer, until_s),
        IdentityCommand::AddAuthority {
            fingerprint,
            certificate,
            wrapped_key,
            replaces,
        } => {
            let record = AuthorityRecord {
                authority: apply.index,
                fingerprint,
                certificate,
                wrapped_key,
                issues: replaces.is_none(),
            };
            add_authority(apply, &record, replaces)
        }
        IdentityCommand::IssueFrom { fingerprint } => issue_from(apply, fingerprint),
        IdentityCommand::DropAuthority { fingerprint } => drop_authority(apply, fingerprint),
        IdentityCommand::Report {
            key,
            until_s,
            trusts,
            issuer,
        } => report(apply, key, until_s, (trusts, issuer)),
        IdentityCommand::RenewNow { key } => renew_now(apply, key),
        IdentityCommand::RemoveGateway { name } => remove_gateway(apply, name),
    }
}

fn refuse<T>(refusal: IdentityRefusal) -> Result<Result<T, Refusal>, StateError> {
    Ok(Err(Refusal::Identity(refusal)))
}

fn done() -> Ran {
    Ok(Ok(RootOutcome::Done))
}

/// Every value of a table.
pub(crate) fn all<T: Stored>(kv: &dyn KvRead, table: Table) -> Result<Vec<T>, StateError> {
    let mut found = Vec::new();
    kv.scan(
        table,
        Bound::Unbounded,
        Bound::Unbounded,
        &mut |_, bytes| {
            found.push(T::deser_value(bytes));
            ControlFlow::Continue(())
        },
    )?;
    let found = found.into_iter().collect::<Result<_, _>>();
    found.map_err(StateError::corrupt(table))
}

fn fits(text: Option<&String>) -> bool {
    text.is_none_or(|text| (1..=TOKEN_TEXT_BYTES_MAX).contains(&text.len()))
}

fn create_token(apply: &mut Apply<'_>, new: NewToken) -> Ran {
    if !TOKEN_TTL_MS.contains(&new.ttl_ms) || !fits(new.name.as_ref()) || !fits(new.zone.as_ref()) {
        return refuse(IdentityRefusal::TokenMalformed);
    }
    let now_ms = apply.now_ms();
    let key = token::ser_key(new.token);
    if let Some(held) = load::<TokenRecord>(apply.kv, Table::Tokens, &key)? {
        return match held.secret_hash == new.secret_hash {
            true => done(),
            false => refuse(IdentityRefusal::TokenExists),
        };
    }
    let (kept, forgotten): (Vec<_>, Vec<_>) = all::<TokenRecord>(apply.kv, Table::Tokens)?
        .into_iter()
        .partition(|held| held.expires_ms.saturating_add(TOKEN_KEPT_MS) > now_ms);
    for held in forgotten {
        apply
            .kv
            .delete(Table::Tokens, &token::ser_key(held.token))?;
    }
    if kept.len() >= TOKENS_MAX {
        return refuse(IdentityRefusal::TooManyTokens);
    }
    let record = TokenRecord {
        token: new.token,
        secret_hash: new.secret_hash,
        role: new.role,
        name: new.name,
        zone: new.zone,
        created_ms: now_ms,
        expires_ms: now_ms.saturating_add(new.ttl_ms),
        used: None,
        revoked: false,
    };
    store(apply.kv, Table::Tokens, &key, &record)?;
    done()
}

fn revoke_token(apply: &mut Apply<'_>, token: u64) -> Ran {
    let key = token::ser_key(token);
    let Some(mut record) = load::<TokenRecord>(apply.kv, Table::Tokens, &key)? else {
        return refuse(IdentityRefusal::NoSuchToken);
    };
    record.revoked = true;
    store(apply.kv, Table::Tokens, &key, &record)?;
    done()
}

fn put_authority(apply: &mut Apply<'_>, record: &AuthorityRecord) -> Result<(), StateError> {
    let key = authority::ser_key(record.authority);
    store(apply.kv, Table::Authorities, &key, record)?;
    Ok(())
}

fn add_authority(
    apply: &mut Apply<'_>,
    record: &AuthorityRecord,
    replaces: Option<[u8; 32]>,
) -> Ran {
    let held: Vec<AuthorityRecord> = all(apply.kv, Table::Authorities)?;
    if held.iter().any(|a| a.fingerprint == record.fingerprint) {
        return done();
    }
    match (&held[..], replaces) {
        ([], None) => {}
        ([], Some(_)) => return refuse(IdentityRefusal::NoSuchAuthority),
        (_, None) => return refuse(IdentityRefusal::AuthorityExists),
        ([only], Some(replaced)) if only.fingerprint == replaced => {}
        ([_], Some(_)) => return refuse(IdentityRefusal::NoSuchAuthority),
        (_, Some(_)) => return refuse(IdentityRefusal::RotationUnderWay),
    }
    put_authority(apply, record)?;
    done()
}

/// Why a step cannot be made yet: who has not said what it needs.
fn waits_for(
    apply: &Apply<'_>,
    said: Said,
    what: &str,
) -> Result<Option<IdentityRefusal>, StateError> {
    let identities = all::<IdentityRecord>(apply.kv, Table::Identities)?;
    let identities: BTreeMap<_, _> = identities.into_iter().map(|i| (i.key, i)).collect();
    let nodes = nodes::all_nodes(apply.kv)?;
    let mut named = not_said(nodes.iter(), &identities, apply.now_ms() / 1000, said);
    let count = named.len() as u64;
    named.truncate(NAMED_MAX);
    Ok((count > 0).then(|| IdentityRefusal::NotReported {
        what: what.to_owned(),
        count,
        named,
    }))
}

fn issue_from(apply: &mut Apply<'_>, fingerprint: [u8; 32]) -> Ran {
    let held: Vec<AuthorityRecord> = all(apply.kv, Table::Authorities)?;
    let Some(wanted) = held.iter().find(|a| a.fingerprint == fingerprint) else {
        return refuse(IdentityRefusal::NoSuchAuthority);
    };
    if wanted.issues {
        return done();
    }
    let said = Said::Trusts(fingerprint);
    if let Some(refusal) = waits_for(apply, said, "do not trust the new CA yet")? {
        return refuse(refusal);
    }
    for mut record in held {
        record.issues = record.fingerprint == fingerprint;
        put_authority(apply, &record)?;
    }
    done()
}

fn drop_authority(apply: &mut Apply<'_>, fingerprint: [u8; 32]) -> Ran {
    let held: Vec<AuthorityRecord> = all(apply.kv, Table::Authorities)?;
    let Some(dropped) = held.iter().find(|a| a.fingerprint == fingerprint) else {
        return done();
    };
    if dropped.issues {
        return refuse(IdentityRefusal::AuthorityIssues);
    }
    let said = Said::LeftIssuer(fingerprint);
    let what = "have no certificate of the new CA yet";
    if let Some(refusal) = waits_for(apply, said, what)? {
        return refuse(refusal);
    }
    let key = authority::ser_key(dropped.authority);
    apply.kv.delete(Table::Authorities, &key)?;
    done()
}

/// The record of a key that belongs to a member, or a fresh one.
fn of_member(
    apply: &Apply<'_>,
    key: &[u8; 32],
) -> Result<Result<IdentityRecord, Refusal>, StateError> {
    let held: Option<IdentityRecord> = load(apply.kv, Table::Identities, key)?;
    if let Some(record) = &held
        && record.role == IdentityRole::Gateway
    {
        return match record.removed {
            true => refuse(IdentityRefusal::NoSuchKey),
            false => Ok(Ok(record.clone())),
        };
    }
    let Some(node) = nodes::member_of_key(apply.kv, key)? else {
        return refuse(IdentityRefusal::NoSuchKey);
    };
    Ok(Ok(held.unwrap_or_else(|| {
        fresh(*key, IdentityRole::Node, node.name)
    })))
}

/// A record of a key that has reported nothing.
fn fresh(key: [u8; 32], role: IdentityRole, name: String) -> IdentityRecord {
    IdentityRecord {
        key,
        role,
        name,
        until_s: 0,
        granted: 0,
        wanted: 0,
        trusts: Vec::new(),
        issuer: None,
        removed: false,
    }
}

fn put_identity(apply: &mut Apply<'_>, record: &IdentityRecord) -> Result<(), StateError> {
    store(apply.kv, Table::Identities, &record.key, record)?;
    Ok(())
}

fn report(
    apply: &mut Apply<'_>,
    key: [u8; 32],
    until_s: Option<u64>,
    (trusts, issuer): (Vec<[u8; 32]>, Option<[u8; 32]>),
) -> Ran {
    let mut record = match of_member(apply, &key)? {
        Ok(record) => record,
        Err(refusal) => return Ok(Err(refusal)),
    };
    record.trusts = trusts;
    record.issuer = issuer;
    if let Some(until_s) = until_s {
        record.until_s = until_s;
        record.granted = apply.index;
    }
    put_identity(apply, &record)?;
    done()
}

fn renew_now(apply: &mut Apply<'_>, key: Option<[u8; 32]>) -> Ran {
    let keys = match key {
        Some(key) => vec![key],
        None => {
            let held: Vec<IdentityRecord> = all(apply.kv, Table::Identities)?;
            held.into_iter().map(|record| record.key).collect()
        }
    };
    let one = key.is_some();
    for key in keys {
        match of_member(apply, &key)? {
            Ok(mut record) => {
                record.wanted = apply.index;
                put_identity(apply, &record)?;
            }
            Err(refusal) if one => return Ok(Err(refusal)),
            Err(_) => {}
        }
    }
    done()
}

fn remove_gateway(apply: &mut Apply<'_>, name: String) -> Ran {
    let held: Vec<IdentityRecord> = all(apply.kv, Table::Identities)?;
    let mut some = false;
    for mut record in held {
        if record.role == IdentityRole::Gateway && record.name == name {
            some = true;
            record.removed = true;
            put_identity(apply, &record)?;
        }
    }
    match some {
        true => done(),
        false => refuse(IdentityRefusal::NoSuchGateway { name }),
    }
}
