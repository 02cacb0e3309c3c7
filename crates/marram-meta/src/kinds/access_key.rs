//! `AccessKeys`: id -> record.

use marram_types::codec::{DecodeError, Reader, Writer};
use marram_types::{BucketName, Grant, Permission, Permissions, Scope, Target};

use crate::stored::Stored;

/// Version 1 had no grants: its keys could do everything, and still can.
const VERSION: u8 = 2;

/// A secret that was replaced and still holds for a while.
#[derive(Clone, PartialEq, Eq)]
pub struct OldSecret {
    /// The wrapped secret.
    pub wrapped: Vec<u8>,
    /// Until when, in milliseconds since 1970.
    pub until_ms: u64,
}

/// An access key. Its secret is wrapped by the cluster's key-encryption key before it comes here;
/// this crate never sees it.
#[derive(Clone, PartialEq, Eq)]
pub struct AccessKeyRecord {
    /// The public id, the table's key.
    pub id: String,
    /// The wrapped secret.
    pub wrapped_secret: Vec<u8>,
    /// A disabled key is refused everywhere.
    pub disabled: bool,
    /// Secrets that were replaced and hold a while longer.
    pub old_secrets: Vec<OldSecret>,
    /// When it ends, in milliseconds since 1970; none: never.
    pub expires_ms: Option<u64>,
    /// When it was made, in leader time.
    pub created_ms: u64,
    /// Index of the command that last changed its grants: what was derived from older ones is void.
    pub revision: u64,
    /// What it is for, for people.
    pub note: String,
    /// What it may do; nothing else.
    pub grants: Vec<Grant>,
}

impl AccessKeyRecord {
    /// A key that may do everything, for ever.
    #[must_use]
    pub fn of_admin(id: String, wrapped_secret: Vec<u8>) -> Self {
        Self {
            id,
            wrapped_secret,
            disabled: false,
            old_secrets: Vec::new(),
            expires_ms: None,
            created_ms: 0,
            revision: 0,
            note: String::new(),
            grants: vec![Grant::everything()],
        }
    }

    /// Whether it can be used at this time.
    #[must_use]
    pub fn is_live(&self, now_ms: u64) -> bool {
        !self.disabled && self.expires_ms.is_none_or(|end| now_ms < end)
    }

    /// Whether it may do this there.
    #[must_use]
    pub fn allows(&self, permission: Permission, target: &Target) -> bool {
        self.grants.iter().any(|g| g.allows(permission, target))
    }

    /// Whether it may know that a bucket is there.
    #[must_use]
    pub fn sees(&self, bucket: &BucketName) -> bool {
        let target = Target::Seen(bucket.as_str().to_owned());
        self.allows(Permission::List, &target)
    }

    /// Whether whoever has it can always operate the cluster.
    pub(crate) fn is_lasting_admin(&self) -> bool {
        let admin = self.allows(Permission::Admin, &Target::Cluster);
        admin && !self.disabled && self.expires_ms.is_none()
    }
}

/// Logs must not hold even a wrapped secret.
impl std::fmt::Debug for AccessKeyRecord {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AccessKeyRecord")
            .field("id", &self.id)
            .field("disabled", &self.disabled)
            .field("expires_ms", &self.expires_ms)
            .field("grants", &self.grants)
            .finish_non_exhaustive()
    }
}

pub(crate) fn put_grants(out: &mut Writer, grants: &[Grant]) {
    out.list(grants, |out, grant| {
        let (bucket, prefix) = grant.scope.parts();
        out.u8(grant.permissions.bits()).str(bucket).str(prefix);
    });
}

pub(crate) fn get_grants(from: &mut Reader<'_>) -> Result<Vec<Grant>, DecodeError> {
    from.list(|from| {
        let permissions = Permissions::from_bits(from.u8()?);
        let scope = Scope::of(from.str()?, from.str()?);
        let grant = permissions.and_then(|p| Grant::new(p, scope.ok()?).ok());
        grant.ok_or(DecodeError::Invalid("grant"))
    })
}

pub(crate) fn put_time(out: &mut Writer, time: Option<u64>) {
    out.option(time.as_ref(), |out, ms| {
        out.varint(*ms);
    });
}

impl Stored for AccessKeyRecord {
    fn encode(&self, out: &mut Writer) {
        out.u8(VERSION)
            .str(&self.id)
            .bytes(&self.wrapped_secret)
            .bool(self.disabled)
            .list(&self.old_secrets, |out, old| {
                out.bytes(&old.wrapped).varint(old.until_ms);
            });
        put_time(out, self.expires_ms);
        out.varint(self.created_ms)
            .varint(self.revision)
            .str(&self.note);
        put_grants(out, &self.grants);
    }

    fn decode(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let version = from.version("access key record version", VERSION)?;
        let id = from.str()?.to_owned();
        let wrapped_secret = from.bytes()?.to_vec();
        let disabled = from.bool()?;
        let first = Self {
            disabled,
            ..Self::of_admin(id, wrapped_secret)
        };
        if version == 1 {
            return Ok(first);
        }
        Ok(Self {
            old_secrets: from.list(|from| {
                Ok(OldSecret {
                    wrapped: from.bytes()?.to_vec(),
                    until_ms: from.varint()?,
                })
            })?,
            expires_ms: from.option(Reader::varint)?,
            created_ms: from.varint()?,
            revision: from.varint()?,
            note: from.str()?.to_owned(),
            grants: get_grants(from)?,
            ..first
        })
    }
}
