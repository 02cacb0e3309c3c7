//! Access keys: made, listed, changed and removed by the root group.
//!
//! Ids and secrets are drawn from the request id under a key that only servers have: all attempts at one
//! request send the same command and are answered with the same secret (decision 0064).

use marram_meta::{
    AccessKeyRecord, KEY_REMOVALS_SINCE, KeyCommand, KeyRefusal, Refusal, RootCommand, RootOutcome,
};
use marram_proto::{WireGrantError, v1};
use marram_types::caps::{KEY_NOTE_BYTES_MAX, SECRET_OVERLAP_MS_MAX};
use marram_types::codec::Writer;
use marram_types::{Grant, GroupId, RequestId};

use crate::core::Core;
use crate::groups::GroupError;
use crate::secret::Kek;
use crate::status::{Fault, Reason};
use crate::validate::{InvalidField, request_id, short};

/// Letters of ids: no two look alike.
const ID_ALPHABET: &[u8] = b"23456789ABCDEFGHJKLMNPQRSTUVWXYZ";
const SECRET_ALPHABET: &[u8] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
/// 90 bits: ids are never drawn twice.
const ID_CHARS: usize = 18;
/// 238 bits.
const SECRET_CHARS: usize = 40;

/// Why a wish about an access key was not carried out.
#[derive(Debug, thiserror::Error)]
pub(crate) enum IamError {
    #[error(transparent)]
    Invalid(#[from] InvalidField),
    #[error("{field}: {error}")]
    Grant {
        field: &'static str,
        error: WireGrantError,
    },
    #[error("{0}")]
    Refused(Refusal),
    #[error(transparent)]
    Group(#[from] GroupError),
}

impl Fault for IamError {
    fn reason(&self) -> Reason {
        match self {
            Self::Invalid(error) => error.reason(),
            Self::Grant { .. } => Reason::InvalidArgument,
            Self::Refused(refusal) => refusal.reason(),
            Self::Group(error) => error.reason(),
        }
    }

    fn details(&self) -> Vec<(&'static str, String)> {
        match self {
            Self::Invalid(error) => error.details(),
            Self::Refused(refusal) => refusal.details(),
            Self::Group(error) => error.details(),
            Self::Grant { field, error } => {
                let field = format!("{field}.{}", error.field());
                vec![("field", field.trim_end_matches('.').to_owned())]
            }
        }
    }
}

fn wrong(field: &'static str, rule: &'static str) -> IamError {
    InvalidField::Wrong { field, rule }.into()
}

/// A text of so many letters, each as likely as the others, that follows from what it is for and from the
/// request, and that nobody can know who has not the key-encryption key.
fn drawn(kek: &Kek, what: &str, request: RequestId, alphabet: &[u8], chars: usize) -> String {
    // Bytes from here on would make some letters likelier than others.
    let fair = 256 - 256 % alphabet.len();
    let mut text = String::with_capacity(chars);
    for block in 0_u64.. {
        let mut words = Writer::new();
        words.str(what).raw(&request.to_bytes()).varint(block);
        let bytes = kek.drawn(words.as_slice());
        let fair = bytes
            .into_iter()
            .map(usize::from)
            .filter(|byte| *byte < fair);
        let letters = fair.map(|byte| char::from(alphabet[byte % alphabet.len()]));
        text.extend(letters.take(chars - text.len()));
        if text.len() == chars {
            break;
        }
    }
    text
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn end(expires_ms: i64) -> Result<Option<u64>, IamError> {
    let at = u64::try_from(expires_ms);
    let at = at.map_err(|_| wrong("expires_ms", "it must not be negative"))?;
    Ok((at != 0).then_some(at))
}

fn grants(field: &'static str, wire: &[v1::Grant]) -> Result<Vec<Grant>, IamError> {
    let read = wire.iter().map(Grant::try_from);
    let read = read.collect::<Result<_, _>>();
    read.map_err(|error| IamError::Grant { field, error })
}

fn wire_key(key: &AccessKeyRecord, now_ms: u64) -> v1::AccessKey {
    let old = key.old_secrets.iter().map(|old| old.until_ms);
    v1::AccessKey {
        id: key.id.clone(),
        note: key.note.clone(),
        disabled: key.disabled,
        created_ms: signed(key.created_ms),
        expires_ms: key.expires_ms.map_or(0, signed),
        old_secrets_until_ms: old.filter(|at| *at > now_ms).map(signed).collect(),
        grants: key.grants.iter().map(v1::Grant::from).collect(),
    }
}

async fn decide(core: &Core, request: RequestId, command: KeyCommand) -> Result<(), IamError> {
    match core
        .root_command(request, &RootCommand::Keys(command))
        .await?
    {
        RootOutcome::Done => Ok(()),
        RootOutcome::Refused(refusal) => Err(IamError::Refused(refusal)),
        _ => Err(GroupError::Kind(GroupId::ROOT).into()),
    }
}

/// The key as it is after a decision, or just its id where that cannot be looked up now: what was decided
/// is done, and a secret that is not handed out now is lost.
async fn shown(core: &Core, id: &str) -> v1::AccessKey {
    let known = core.fresh_view().await.ok().and_then(|view| {
        let key = view.access_keys.get(id)?;
        Some(wire_key(key, (core.now_ms)()))
    });
    known.unwrap_or_else(|| v1::AccessKey {
        id: id.to_owned(),
        ..v1::AccessKey::default()
    })
}

/// Makes a key.
pub(crate) async fn create(
    core: &Core,
    request: v1::CreateAccessKeyRequest,
) -> Result<v1::CreateAccessKeyResponse, IamError> {
    let expires_ms = end(request.expires_ms)?;
    if expires_ms.is_some_and(|end| end <= (core.now_ms)()) {
        return Err(wrong("expires_ms", "it must not be over already"));
    }
    short("note", &request.note, KEY_NOTE_BYTES_MAX)?;
    let once = request_id(request.request_id.as_ref())?;
    let id = drawn(&core.kek, "id", once, ID_ALPHABET, ID_CHARS);
    let id = format!("MK{id}");
    let secret = drawn(&core.kek, &id, once, SECRET_ALPHABET, SECRET_CHARS);
    let command = KeyCommand::Create {
        wrapped_secret: core.kek.wrap_again(&id, &secret),
        grants: grants("grants", &request.grants)?,
        expires_ms,
        note: request.note,
        id: id.clone(),
    };
    decide(core, once, command).await?;
    tracing::info!(target: "admin", key = %id, "access key made");
    let key = Some(shown(core, &id).await);
    Ok(v1::CreateAccessKeyResponse { key, secret })
}

/// All keys.
pub(crate) async fn list(core: &Core) -> Result<v1::ListAccessKeysResponse, IamError> {
    let view = core.fresh_view().await?;
    let now_ms = (core.now_ms)();
    let keys = view.access_keys.values().map(|key| wire_key(key, now_ms));
    Ok(v1::ListAccessKeysResponse {
        keys: keys.collect(),
    })
}

/// Another secret.
pub(crate) async fn rotate(
    core: &Core,
    request: v1::RotateAccessKeyRequest,
) -> Result<v1::RotateAccessKeyResponse, IamError> {
    if request.overlap_ms > SECRET_OVERLAP_MS_MAX {
        return Err(wrong("overlap_ms", "it must be 30 days at most"));
    }
    let once = request_id(request.request_id.as_ref())?;
    let what = format!("rotation of {}", request.id);
    let secret = drawn(&core.kek, &what, once, SECRET_ALPHABET, SECRET_CHARS);
    let command = KeyCommand::Rotate {
        wrapped_secret: core.kek.wrap_again(&request.id, &secret),
        overlap_ms: request.overlap_ms,
        id: request.id.clone(),
    };
    decide(core, once, command).await?;
    tracing::info!(target: "admin", key = %request.id, "secret of an access key rotated");
    let key = Some(shown(core, &request.id).await);
    Ok(v1::RotateAccessKeyResponse { key, secret })
}

/// Off or on, its end, its grants.
pub(crate) async fn update(
    core: &Core,
    request: v1::UpdateAccessKeyRequest,
) -> Result<v1::UpdateAccessKeyResponse, IamError> {
    let once = request_id(request.request_id.as_ref())?;
    let command = KeyCommand::Update {
        disabled: request.disabled,
        expires: request.expires_ms.map(end).transpose()?,
        add: grants("add_grants", &request.add_grants)?,
        remove: grants("remove_grants", &request.remove_grants)?,
        id: request.id.clone(),
    };
    decide(core, once, command).await?;
    tracing::info!(target: "admin", key = %request.id, "access key changed");
    let key = Some(shown(core, &request.id).await);
    Ok(v1::UpdateAccessKeyResponse { key })
}

/// Gone for ever.
pub(crate) async fn delete(
    core: &Core,
    request: v1::DeleteAccessKeyRequest,
) -> Result<v1::DeleteAccessKeyResponse, IamError> {
    let once = request_id(request.request_id.as_ref())?;
    let id = request.id.clone();
    let existed = if core.pass_gate(KEY_REMOVALS_SINCE).is_ok() {
        match decide(core, once, KeyCommand::Remove { id }).await {
            Ok(()) => true,
            Err(IamError::Refused(Refusal::Key(KeyRefusal::Unknown))) => false,
            Err(error) => return Err(error),
        }
    } else {
        let existed = core.fresh_view().await?.access_keys.contains_key(&id);
        decide(core, once, KeyCommand::Delete { id }).await?;
        existed
    };
    tracing::info!(target: "admin", key = %request.id, existed, "access key deleted");
    Ok(v1::DeleteAccessKeyResponse { existed })
}
