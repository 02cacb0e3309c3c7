//! What an access key may do, and where.

use std::fmt;
use std::str::FromStr;

use crate::caps::KEY_BYTES_MAX;
use crate::name::BucketName;

/// One thing that can be permitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Permission {
    /// See which keys there are.
    List = 1,
    /// Read objects and what they are.
    Read = 2,
    /// Write and delete objects.
    Write = 4,
    /// Make, change and remove buckets; on everything: operate the cluster. Includes the others.
    Admin = 8,
}

impl Permission {
    /// All of them, in the order of their text.
    pub const ALL: [Self; 4] = [Self::List, Self::Read, Self::Write, Self::Admin];

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::List => "list",
            Self::Read => "read",
            Self::Write => "write",
            Self::Admin => "admin",
        }
    }
}

/// A set of permissions, not empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Permissions(u8);

impl Permissions {
    /// The set of these; none where there are none.
    #[must_use]
    pub fn of(permissions: &[Permission]) -> Option<Self> {
        Self::from_bits(permissions.iter().fold(0, |bits, p| bits | *p as u8))
    }

    /// The set of stored bits; none where there are none, or unknown ones.
    #[must_use]
    pub fn from_bits(bits: u8) -> Option<Self> {
        (1..16).contains(&bits).then_some(Self(bits))
    }

    /// The bits as they are stored.
    #[must_use]
    pub fn bits(self) -> u8 {
        self.0
    }

    /// Whether it is one of the set. `Admin` includes the others.
    #[must_use]
    pub fn has(self, permission: Permission) -> bool {
        self.0 & (permission as u8 | Permission::Admin as u8) != 0
    }

    /// Those that stand in the set, without what `Admin` includes.
    pub fn iter(self) -> impl Iterator<Item = Permission> {
        let all = Permission::ALL.into_iter();
        all.filter(move |p| self.0 & *p as u8 != 0)
    }
}

/// Where a grant holds.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Scope {
    /// In the whole cluster.
    All,
    /// In a bucket, whether it is there or not.
    Bucket(BucketName),
    /// On the keys of a bucket that begin so.
    Prefix(BucketName, String),
}

/// Permissions somewhere. Its text is `read,list:photos/2026/`: permissions, a colon, and `*`, a
/// bucket, or a bucket, a slash and how keys begin.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Grant {
    /// What is permitted.
    pub permissions: Permissions,
    /// Where.
    pub scope: Scope,
}

/// What a call wants to touch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// The cluster as a whole.
    Cluster,
    /// A bucket as a whole.
    Bucket(String),
    /// That a bucket is there: whoever has a grant in it may know.
    Seen(String),
    /// The keys of a bucket that begin so; one key is touched by the grants of its beginnings.
    Keys {
        /// The bucket.
        bucket: String,
        /// How they begin.
        under: String,
    },
}

/// A grant that makes no sense.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GrantError {
    /// Not of the form.
    #[error(
        "{0:?} is no grant: write permissions, a colon and where, for example \
         `read,list:photos/2026/`, `write:photos` or `admin:*`"
    )]
    Form(String),
    /// An unknown permission.
    #[error("{0:?} is no permission: there are list, read, write and admin")]
    Permission(String),
    /// Not a bucket's name.
    #[error("{0:?} is no name of a bucket")]
    Bucket(String),
    /// Longer than any key.
    #[error("the prefix is longer than a key can be, {KEY_BYTES_MAX} bytes")]
    Prefix,
    /// Buckets are made and removed as a whole.
    #[error("admin is granted on a bucket or on everything, not on a prefix")]
    AdminOfPrefix,
}

impl Scope {
    /// The scope of these parts: no bucket is everything, no prefix a whole bucket.
    ///
    /// # Errors
    /// A bad name, or a prefix without a bucket or longer than a key.
    pub fn of(bucket: &str, prefix: &str) -> Result<Self, GrantError> {
        if prefix.len() > KEY_BYTES_MAX {
            return Err(GrantError::Prefix);
        }
        if bucket.is_empty() {
            return match prefix {
                "" => Ok(Self::All),
                prefix => Err(GrantError::Bucket(format!("/{prefix}"))),
            };
        }
        let name = BucketName::new(bucket).map_err(|_| GrantError::Bucket(bucket.to_owned()))?;
        Ok(match prefix {
            "" => Self::Bucket(name),
            prefix => Self::Prefix(name, prefix.to_owned()),
        })
    }

    /// Bucket and prefix, empty where there is none.
    #[must_use]
    pub fn parts(&self) -> (&str, &str) {
        match self {
            Self::All => ("", ""),
            Self::Bucket(bucket) => (bucket.as_str(), ""),
            Self::Prefix(bucket, prefix) => (bucket.as_str(), prefix),
        }
    }

    fn covers(&self, target: &Target) -> bool {
        match (self, target) {
            (Self::All, _) => true,
            (_, Target::Cluster) | (Self::Prefix(..), Target::Bucket(_)) => false,
            (Self::Bucket(own), Target::Bucket(bucket) | Target::Keys { bucket, .. })
            | (Self::Bucket(own) | Self::Prefix(own, _), Target::Seen(bucket)) => {
                own.as_str() == bucket
            }
            (Self::Prefix(own, prefix), Target::Keys { bucket, under }) => {
                own.as_str() == bucket && under.starts_with(prefix)
            }
        }
    }
}

impl Grant {
    /// A grant of these permissions there.
    ///
    /// # Errors
    /// `Admin` on a prefix.
    pub fn new(permissions: Permissions, scope: Scope) -> Result<Self, GrantError> {
        let of_prefix = matches!(scope, Scope::Prefix(..));
        if of_prefix && permissions.has(Permission::Admin) {
            return Err(GrantError::AdminOfPrefix);
        }
        Ok(Self { permissions, scope })
    }

    /// Everything, everywhere.
    #[must_use]
    pub fn everything() -> Self {
        Self {
            permissions: Permissions(Permission::Admin as u8),
            scope: Scope::All,
        }
    }

    /// Whether it permits this there.
    #[must_use]
    pub fn allows(&self, permission: Permission, target: &Target) -> bool {
        let any = matches!(target, Target::Seen(_));
        (any || self.permissions.has(permission)) && self.scope.covers(target)
    }
}

impl fmt::Display for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, permission) in self.permissions.iter().enumerate() {
            let comma = if i == 0 { "" } else { "," };
            write!(f, "{comma}{}", permission.name())?;
        }
        match &self.scope {
            Scope::All => f.write_str(":*"),
            Scope::Bucket(bucket) => write!(f, ":{bucket}"),
            Scope::Prefix(bucket, prefix) => write!(f, ":{bucket}/{prefix}"),
        }
    }
}

impl FromStr for Grant {
    type Err = GrantError;

    fn from_str(text: &str) -> Result<Self, GrantError> {
        let form = || GrantError::Form(text.to_owned());
        let (permissions, place) = text.split_once(':').ok_or_else(form)?;
        let mut found = Vec::new();
        for name in permissions.split(',') {
            let known = Permission::ALL.into_iter().find(|p| p.name() == name);
            found.push(known.ok_or_else(|| GrantError::Permission(name.to_owned()))?);
        }
        let permissions = Permissions::of(&found).ok_or_else(form)?;
        let scope = match place.split_once('/') {
            _ if place.is_empty() => return Err(form()),
            None if place == "*" => Scope::All,
            None => Scope::of(place, "")?,
            Some(("", _)) => return Err(form()),
            Some((bucket, prefix)) => Scope::of(bucket, prefix)?,
        };
        Self::new(permissions, scope)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grant(text: &str) -> Grant {
        text.parse().unwrap()
    }

    fn keys(bucket: &str, under: &str) -> Target {
        Target::Keys {
            bucket: bucket.to_owned(),
            under: under.to_owned(),
        }
    }

    #[test]
    fn a_grant_reads_what_it_writes() {
        for text in ["admin:*", "list,read:photos", "write:photos/2026/a:b"] {
            assert_eq!(grant(text).to_string(), text);
        }
        assert_eq!(grant("read,list:photos/").to_string(), "list,read:photos");
        for bad in [
            "",
            "read",
            "read:",
            ":photos",
            "look:photos",
            "read:/x",
            "read:P",
            "admin:abc/x",
        ] {
            assert!(bad.parse::<Grant>().is_err(), "{bad}");
        }
        let long = format!("read:photos/{}", "x".repeat(KEY_BYTES_MAX + 1));
        assert_eq!(long.parse::<Grant>(), Err(GrantError::Prefix));
    }

    #[test]
    fn a_prefix_covers_what_begins_so_in_its_bucket_only() {
        let grant = grant("read:photos/2026/");
        let read = |target: &Target| grant.allows(Permission::Read, target);
        assert!(read(&keys("photos", "2026/a")) && read(&keys("photos", "2026/")));
        assert!(!read(&keys("photos", "2026")) && !read(&keys("photos", "")));
        assert!(!read(&keys("photos2", "2026/a")));
        assert!(!read(&Target::Bucket("photos".to_owned())) && !read(&Target::Cluster));
        let seen = Target::Seen("photos".to_owned());
        assert!(read(&seen) && grant.allows(Permission::List, &seen));
        assert!(!grant.allows(Permission::Write, &keys("photos", "2026/a")));
    }

    #[test]
    fn admin_includes_the_others_where_it_holds() {
        for permission in Permission::ALL {
            let own = Target::Bucket("photos".to_owned());
            assert!(grant("admin:photos").allows(permission, &own));
            assert!(!grant("admin:photos").allows(permission, &Target::Cluster));
            assert!(!grant("admin:photos").allows(permission, &keys("others", "")));
            assert!(Grant::everything().allows(permission, &Target::Cluster));
            let rest = grant("list,read,write:*").allows(permission, &Target::Cluster);
            assert_eq!(rest, permission != Permission::Admin);
        }
    }
}
