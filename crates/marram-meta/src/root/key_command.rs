//! What the root group can be told about access keys. Tags 100 to 103, and 127.

use marram_types::Grant;
use marram_types::codec::{DecodeError, Reader, Writer};

use crate::kinds::access_key::{get_grants, put_grants, put_time};
use crate::refusal::unknown;

/// Tags of these commands.
pub(crate) const TAGS: std::ops::RangeInclusive<u8> = 100..=103;

/// Tag of [`KeyCommand::Remove`].
pub(crate) const TAG_REMOVE: u8 = 127;

/// A command about an access key.
#[derive(Clone, PartialEq, Eq)]
pub enum KeyCommand {
    /// Makes a key.
    Create {
        /// Its id, drawn at random.
        id: String,
        /// Its secret, wrapped.
        wrapped_secret: Vec<u8>,
        /// What it is for.
        note: String,
        /// What it may do.
        grants: Vec<Grant>,
        /// When it ends.
        expires_ms: Option<u64>,
    },
    /// Gives a key another secret. Those before hold for a while longer.
    Rotate {
        /// Which.
        id: String,
        /// The new secret, wrapped.
        wrapped_secret: Vec<u8>,
        /// For how long the old ones hold; 0: no longer.
        overlap_ms: u64,
    },
    /// Changes a key.
    Update {
        /// Which.
        id: String,
        /// Switches it off or on.
        disabled: Option<bool>,
        /// Changes when it ends.
        expires: Option<Option<u64>>,
        /// Grants to add.
        add: Vec<Grant>,
        /// Grants to take back.
        remove: Vec<Grant>,
    },
    /// Removes a key for ever. One that is not there is no error.
    Delete {
        /// Which.
        id: String,
    },
    /// Removes a key for ever; refused where there is none, so that every attempt hears whether there was.
    Remove {
        /// Which.
        id: String,
    },
}

/// Logs must not hold even a wrapped secret.
impl std::fmt::Debug for KeyCommand {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (what, id) = match self {
            Self::Create { id, .. } => ("Create", id),
            Self::Rotate { id, .. } => ("Rotate", id),
            Self::Update { id, .. } => ("Update", id),
            Self::Delete { id } => ("Delete", id),
            Self::Remove { id } => ("Remove", id),
        };
        f.debug_tuple(what).field(id).finish()
    }
}

impl KeyCommand {
    pub(crate) fn encode(&self, out: &mut Writer) {
        match self {
            Self::Create {
                id,
                wrapped_secret,
                note,
                grants,
                expires_ms,
            } => {
                out.u8(100).str(id).bytes(wrapped_secret).str(note);
                put_grants(out, grants);
                put_time(out, *expires_ms);
            }
            Self::Rotate {
                id,
                wrapped_secret,
                overlap_ms,
            } => {
                out.u8(101)
                    .str(id)
                    .bytes(wrapped_secret)
                    .varint(*overlap_ms);
            }
            Self::Update {
                id,
                disabled,
                expires,
                add,
                remove,
            } => {
                out.u8(102).str(id);
                out.option(disabled.as_ref(), |out, off| {
                    out.bool(*off);
                });
                out.option(expires.as_ref(), |out, end| put_time(out, *end));
                put_grants(out, add);
                put_grants(out, remove);
            }
            Self::Delete { id } => {
                out.u8(103).str(id);
            }
            Self::Remove { id } => {
                out.u8(TAG_REMOVE).str(id);
            }
        }
    }

    pub(crate) fn decode(tag: u8, from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let id = from.str()?.to_owned();
        Ok(match tag {
            100 => Self::Create {
                id,
                wrapped_secret: from.bytes()?.to_vec(),
                note: from.str()?.to_owned(),
                grants: get_grants(from)?,
                expires_ms: from.option(Reader::varint)?,
            },
            101 => Self::Rotate {
                id,
                wrapped_secret: from.bytes()?.to_vec(),
                overlap_ms: from.varint()?,
            },
            102 => Self::Update {
                id,
                disabled: from.option(Reader::bool)?,
                expires: from.option(|from| from.option(Reader::varint))?,
                add: get_grants(from)?,
                remove: get_grants(from)?,
            },
            103 => Self::Delete { id },
            TAG_REMOVE => Self::Remove { id },
            other => return Err(unknown("command of an access key", other)),
        })
    }
}
