//! Access keys: made, changed and removed. One that can always operate the cluster stays.

use marram_types::Grant;
use marram_types::caps::{
    ACCESS_KEYS_MAX, GRANT_BYTES_PER_KEY_MAX, GRANTS_PER_KEY_MAX, KEY_NOTE_BYTES_MAX,
    OLD_SECRETS_MAX,
};

use super::apply::{Ran, count};
use super::identity::all;
use super::key_command::KeyCommand;
use super::outcome::RootOutcome;
use crate::kinds::access_key::{AccessKeyRecord, OldSecret};
use crate::kv::Table;
use crate::refusal::{KeyRefusal, Refusal};
use crate::requests::Apply;
use crate::stored::{StateError, load, store};

pub(super) fn run(apply: &mut Apply<'_>, command: KeyCommand) -> Ran {
    match command {
        KeyCommand::Create {
            id,
            wrapped_secret,
            note,
            grants,
            expires_ms,
        } => {
            let key = AccessKeyRecord {
                expires_ms,
                created_ms: apply.now_ms(),
                revision: apply.index,
                note,
                grants,
                ..AccessKeyRecord::of_admin(id, wrapped_secret)
            };
            create(apply, &key)
        }
        KeyCommand::Rotate {
            id,
            wrapped_secret,
            overlap_ms,
        } => rotate(apply, &id, wrapped_secret, overlap_ms),
        KeyCommand::Delete { id } => delete(apply, &id),
        update @ KeyCommand::Update { .. } => change(apply, update),
    }
}

fn refused(refusal: KeyRefusal) -> Ran {
    Ok(Err(Refusal::Key(refusal)))
}

fn held(apply: &Apply<'_>, id: &str) -> Result<Option<AccessKeyRecord>, StateError> {
    load(apply.kv, Table::AccessKeys, id.as_bytes())
}

fn put(apply: &mut Apply<'_>, key: &AccessKeyRecord) -> Ran {
    store(apply.kv, Table::AccessKeys, key.id.as_bytes(), key)?;
    Ok(Ok(RootOutcome::Done))
}

fn create(apply: &mut Apply<'_>, key: &AccessKeyRecord) -> Ran {
    if let Some(held) = held(apply, &key.id)? {
        return if was_made_with(&held, &key.wrapped_secret) {
            Ok(Ok(RootOutcome::Done))
        } else {
            refused(KeyRefusal::Exists)
        };
    }
    if count(apply.kv, Table::AccessKeys, ACCESS_KEYS_MAX)? >= ACCESS_KEYS_MAX {
        return refused(KeyRefusal::TooMany);
    }
    if too_many(&key.grants) {
        return refused(KeyRefusal::TooManyGrants);
    }
    if key.id.is_empty() || key.note.len() > KEY_NOTE_BYTES_MAX {
        return refused(KeyRefusal::Malformed);
    }
    put(apply, key)
}

/// Whether a secret, as it is wrapped, is that of the key or was: no two are wrapped to the same bytes, so it is
/// one decision that is delivered again.
fn was_made_with(key: &AccessKeyRecord, wrapped: &[u8]) -> bool {
    let old = key.old_secrets.iter().map(|old| &old.wrapped);
    old.chain([&key.wrapped_secret]).any(|held| held == wrapped)
}

/// All keys go to every server in one message, so each may take only so much of it.
fn too_many(grants: &[Grant]) -> bool {
    let bytes = |grant: &Grant| {
        let (bucket, prefix) = grant.scope.parts();
        bucket.len() + prefix.len()
    };
    let bytes: usize = grants.iter().map(bytes).sum();
    grants.len() > GRANTS_PER_KEY_MAX || bytes > GRANT_BYTES_PER_KEY_MAX
}

/// An answer may be lost, and the rotation made again: every secret before keeps its overlap, so that
/// the one in use never ends early.
fn rotate(apply: &mut Apply<'_>, id: &str, wrapped: Vec<u8>, overlap_ms: u64) -> Ran {
    let Some(mut key) = held(apply, id)? else {
        return refused(KeyRefusal::Unknown);
    };
    if was_made_with(&key, &wrapped) {
        return Ok(Ok(RootOutcome::Done));
    }
    let now_ms = apply.now_ms();
    let replaced = OldSecret {
        wrapped: std::mem::replace(&mut key.wrapped_secret, wrapped),
        until_ms: now_ms.saturating_add(overlap_ms),
    };
    if overlap_ms == 0 {
        key.old_secrets.clear();
    } else {
        key.old_secrets.retain(|old| old.until_ms > now_ms);
        key.old_secrets.push(replaced);
    }
    if key.old_secrets.len() > OLD_SECRETS_MAX {
        return refused(KeyRefusal::TooManySecrets);
    }
    put(apply, &key)
}

/// Whether the cluster could still be operated with this key as it would be, or gone.
fn locks_out(
    apply: &Apply<'_>,
    id: &str,
    after: Option<&AccessKeyRecord>,
) -> Result<bool, StateError> {
    if after.is_some_and(AccessKeyRecord::is_lasting_admin) {
        return Ok(false);
    }
    let others: Vec<AccessKeyRecord> = all(apply.kv, Table::AccessKeys)?;
    let mut others = others.iter().filter(|other| other.id != id);
    Ok(!others.any(AccessKeyRecord::is_lasting_admin))
}

fn change(apply: &mut Apply<'_>, update: KeyCommand) -> Ran {
    let KeyCommand::Update {
        id,
        disabled,
        expires,
        add,
        remove,
    } = update
    else {
        return refused(KeyRefusal::Malformed);
    };
    let Some(mut key) = held(apply, &id)? else {
        return refused(KeyRefusal::Unknown);
    };
    let lasting = key.is_lasting_admin();
    key.disabled = disabled.unwrap_or(key.disabled);
    key.expires_ms = expires.unwrap_or(key.expires_ms);
    // What is not there any more is not taken back twice: an answer may be lost, and the change made again.
    let before = key.grants.clone();
    key.grants.retain(|grant| !remove.contains(grant));
    for grant in add {
        if !key.grants.contains(&grant) {
            key.grants.push(grant);
        }
    }
    if key.grants != before {
        key.revision = apply.index;
    }
    if too_many(&key.grants) {
        return refused(KeyRefusal::TooManyGrants);
    }
    if lasting && locks_out(apply, &id, Some(&key))? {
        return refused(KeyRefusal::LastAdmin);
    }
    put(apply, &key)
}

fn delete(apply: &mut Apply<'_>, id: &str) -> Ran {
    if let Some(key) = held(apply, id)? {
        if key.is_lasting_admin() && locks_out(apply, id, None)? {
            return refused(KeyRefusal::LastAdmin);
        }
        apply.kv.delete(Table::AccessKeys, id.as_bytes())?;
    }
    Ok(Ok(RootOutcome::Done))
}
