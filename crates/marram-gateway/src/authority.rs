//! The cluster's CA at rest: its key is stored wrapped under the key-encryption key (rules.md 3).

use marram_mesh::{Authority, CertificateError, fingerprint};
use marram_meta::AuthorityRecord;
use marram_types::ClusterId;

use crate::hex;
use crate::secret::{Kek, UnwrapError, WrapError};

/// Why a stored CA cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// Its key does not open.
    #[error(
        "the key of the cluster's CA does not open under this key-encryption key ({0}): --kek-file \
         must be the same file on every server"
    )]
    Key(#[from] UnwrapError),
    /// It opens, and is no CA.
    #[error("the cluster's CA is damaged: {0}")]
    Certificate(#[from] CertificateError),
}

fn bound_to(fingerprint: &[u8; 32]) -> String {
    format!("ca/{}", hex::encode(fingerprint))
}

/// Wraps the key of a CA. Gives the CA's fingerprint too.
///
/// # Errors
/// When the system has no randomness to give.
pub fn wrap_authority(kek: &Kek, authority: &Authority) -> Result<([u8; 32], Vec<u8>), WrapError> {
    let print = fingerprint(authority.certificate());
    let wrapped = kek.wrap(&bound_to(&print), authority.key_pem())?;
    Ok((print, wrapped))
}

/// Opens a stored CA.
///
/// # Errors
/// When the key-encryption key is another one, or the record is damaged.
pub fn open_authority(
    kek: &Kek,
    cluster: ClusterId,
    record: &AuthorityRecord,
) -> Result<Authority, AuthorityError> {
    let key = kek.unwrap(&bound_to(&record.fingerprint), &record.wrapped_key)?;
    Ok(Authority::from_der(cluster, &record.certificate, key)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ca_opens_under_its_own_key_only() {
        let cluster = ClusterId(3);
        let ca = marram_mesh::make_ca(cluster).unwrap();
        let (kek, other) = (Kek::from_bytes(&[1; 32]), Kek::from_bytes(&[2; 32]));
        let (fingerprint, wrapped_key) = wrap_authority(&kek, &ca).unwrap();
        let mut record = AuthorityRecord {
            authority: 1,
            fingerprint,
            certificate: ca.certificate().to_vec(),
            wrapped_key,
            issues: true,
        };
        let opened = open_authority(&kek, cluster, &record).unwrap();
        assert_eq!(opened.key_pem(), ca.key_pem());
        let error = open_authority(&other, cluster, &record).unwrap_err();
        assert!(error.to_string().contains("--kek-file"), "{error}");
        record.fingerprint = [0; 32];
        assert!(open_authority(&kek, cluster, &record).is_err());
        assert_ne!(kek.check(), other.check());
    }
}
