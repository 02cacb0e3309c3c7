//! Access keys as operators see them.

use marram_proto::v1;
use marram_types::Grant;
use serde::{Serialize, Serializer};

use crate::client::present;
use crate::error::{ClientError, ErrorKind};

/// What is known of an access key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AccessKeyInfo {
    /// Its id.
    pub id: String,
    /// What it is for.
    pub note: String,
    /// It is switched off.
    pub disabled: bool,
    /// When it was made, in milliseconds since 1970; none for the cluster's first.
    pub created_ms: Option<i64>,
    /// When it ends, in milliseconds since 1970; none: never.
    pub expires_ms: Option<i64>,
    /// Until when replaced secrets hold, in milliseconds since 1970.
    pub old_secrets_until_ms: Vec<i64>,
    /// What it may do. As JSON each is its text.
    #[serde(serialize_with = "as_texts")]
    pub grants: Vec<Grant>,
}

fn as_texts<S: Serializer>(grants: &[Grant], to: S) -> Result<S::Ok, S::Error> {
    to.collect_seq(grants.iter().map(Grant::to_string))
}

impl AccessKeyInfo {
    pub(crate) fn from_wire(key: v1::AccessKey) -> Result<Self, ClientError> {
        let some = |ms: i64| (ms != 0).then_some(ms);
        Ok(Self {
            created_ms: some(key.created_ms),
            expires_ms: some(key.expires_ms),
            grants: key.grants.iter().map(grant).collect::<Result<_, _>>()?,
            id: key.id,
            note: key.note,
            disabled: key.disabled,
            old_secrets_until_ms: key.old_secrets_until_ms,
        })
    }
}

/// An access key with the secret that it just got. The cluster does not show that again.
#[derive(Clone, PartialEq, Eq, Serialize)]
pub struct AccessKeySecret {
    /// The key.
    #[serde(flatten)]
    pub key: AccessKeyInfo,
    /// Its secret.
    pub secret: String,
}

/// Logs must not hold the secret.
impl std::fmt::Debug for AccessKeySecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AccessKeySecret")
            .field("key", &self.key)
            .finish_non_exhaustive()
    }
}

impl AccessKeySecret {
    pub(crate) fn from_wire(
        key: Option<v1::AccessKey>,
        secret: String,
    ) -> Result<Self, ClientError> {
        let key = AccessKeyInfo::from_wire(present(key, "access key")?)?;
        Ok(Self { key, secret })
    }
}

/// A change of an access key; what is not given stays.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AccessKeyChange {
    /// Switches it off or on.
    pub disabled: Option<bool>,
    /// Changes when it ends, in milliseconds since 1970; 0: never.
    pub expires_ms: Option<i64>,
    /// Grants to add.
    pub add_grants: Vec<Grant>,
    /// Grants to take back, as they are listed.
    pub remove_grants: Vec<Grant>,
}

/// A grant as a server tells it. One with a permission that this release does not know cannot be shown
/// rightly, and is an error.
fn grant(wire: &v1::Grant) -> Result<Grant, ClientError> {
    let unknown = |_| ClientError::new(ErrorKind::Protocol, "a grant of a kind not known here");
    Grant::try_from(wire).map_err(unknown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grant_of_a_later_release_is_told() {
        let mut later = v1::Grant::from(&Grant::everything());
        later.permissions = vec![99];
        assert_eq!(
            grant(&later).expect_err("not known").kind(),
            ErrorKind::Protocol
        );
    }

    #[test]
    fn a_secret_is_in_the_json_and_not_in_the_logs() {
        let key = v1::AccessKey {
            id: "MK1".to_owned(),
            grants: vec![v1::Grant::from(&Grant::everything())],
            ..v1::AccessKey::default()
        };
        let made = AccessKeySecret::from_wire(Some(key), "hunter2".to_owned()).expect("read");
        assert!(!format!("{made:?}").contains("hunter2"));
        let json = serde_json::to_value(&made).expect("JSON");
        assert_eq!(
            (&json["secret"], &json["id"]),
            (&"hunter2".into(), &"MK1".into())
        );
        assert_eq!(json["grants"], serde_json::json!(["admin:*"]));
    }
}
