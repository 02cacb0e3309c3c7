//! Grants between the wire and the program.

use marram_types::{Grant, GrantError, Permission, Permissions, Scope};

use crate::v1;

/// A grant from the wire that is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WireGrantError {
    /// A permission that is not known here.
    #[error("a permission must be list, read, write or admin")]
    Permission,
    /// Nothing is permitted.
    #[error("there must be at least one permission")]
    NoPermission,
    /// A field that was forgotten must not grant the whole cluster.
    #[error("name a bucket, or say everything")]
    Place,
    /// Its parts do not go together.
    #[error(transparent)]
    Grant(#[from] GrantError),
}

impl WireGrantError {
    /// The field of the message that is wrong.
    #[must_use]
    pub fn field(&self) -> &'static str {
        match self {
            Self::Permission | Self::NoPermission => "permissions",
            Self::Place => "bucket",
            Self::Grant(_) => "",
        }
    }
}

impl From<&Grant> for v1::Grant {
    fn from(grant: &Grant) -> Self {
        let (bucket, prefix) = grant.scope.parts();
        let permission = |permission| match permission {
            Permission::List => v1::Permission::List,
            Permission::Read => v1::Permission::Read,
            Permission::Write => v1::Permission::Write,
            Permission::Admin => v1::Permission::Admin,
        };
        let permissions = grant.permissions.iter().map(|p| permission(p).into());
        Self {
            permissions: permissions.collect(),
            everything: bucket.is_empty(),
            bucket: bucket.to_owned(),
            prefix: prefix.to_owned(),
        }
    }
}

impl TryFrom<&v1::Grant> for Grant {
    type Error = WireGrantError;

    fn try_from(wire: &v1::Grant) -> Result<Self, WireGrantError> {
        // Number by number: the generated accessor leaves out what it does not know, and less would be
        // taken for what was granted.
        let known = |number: &i32| match v1::Permission::try_from(*number) {
            Ok(v1::Permission::List) => Ok(Permission::List),
            Ok(v1::Permission::Read) => Ok(Permission::Read),
            Ok(v1::Permission::Write) => Ok(Permission::Write),
            Ok(v1::Permission::Admin) => Ok(Permission::Admin),
            Ok(v1::Permission::Unspecified) | Err(_) => Err(WireGrantError::Permission),
        };
        let found = wire.permissions.iter().map(known);
        let found: Vec<Permission> = found.collect::<Result<_, _>>()?;
        let permissions = Permissions::of(&found).ok_or(WireGrantError::NoPermission)?;
        let empty = wire.bucket.is_empty();
        if wire.everything != empty || (empty && !wire.prefix.is_empty()) {
            return Err(WireGrantError::Place);
        }
        let scope = Scope::of(&wire.bucket, &wire.prefix)?;
        Ok(Self::new(permissions, scope)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grants_cross_the_wire() {
        for text in ["admin:*", "list,read:photos", "write:photos/2026/"] {
            let given: Grant = text.parse().expect("a grant");
            assert_eq!(Grant::try_from(&v1::Grant::from(&given)), Ok(given));
        }
    }

    #[test]
    fn what_is_no_grant_is_told_by_its_field() {
        let all = v1::Grant::from(&Grant::everything());
        let refused = |change: fn(&mut v1::Grant)| {
            let mut wire = all.clone();
            change(&mut wire);
            Grant::try_from(&wire).expect_err("no grant")
        };
        for (error, wanted) in [
            (
                refused(|g| g.permissions = vec![2, 99]),
                WireGrantError::Permission,
            ),
            (
                refused(|g| g.permissions.clear()),
                WireGrantError::NoPermission,
            ),
            (refused(|g| g.everything = false), WireGrantError::Place),
            (
                refused(|g| g.bucket = "photos".to_owned()),
                WireGrantError::Place,
            ),
            (
                refused(|g| g.prefix = "2026/".to_owned()),
                WireGrantError::Place,
            ),
        ] {
            assert_eq!(error, wanted);
            assert!(!error.field().is_empty());
        }
        let of_prefix = refused(|g| {
            (g.everything, g.bucket, g.prefix) = (false, "photos".to_owned(), "a/".to_owned());
        });
        assert!(matches!(of_prefix, WireGrantError::Grant(_)), "{of_prefix}");
    }
}
