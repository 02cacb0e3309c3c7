//! The private key of a node or gateway: made where it lives, and never sent anywhere.

use rcgen::{CertificateParams, KeyPair, PublicKeyData};
use sha2::{Digest, Sha256};

use super::CertificateError;

/// A private key with its public half.
pub struct NodeKey {
    pair: KeyPair,
}

/// Nothing of a key belongs in a log.
impl std::fmt::Debug for NodeKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("NodeKey(..)")
    }
}

impl NodeKey {
    /// Makes a key.
    ///
    /// # Errors
    /// When the system has no randomness to give.
    pub fn generate() -> Result<Self, CertificateError> {
        let pair = KeyPair::generate()?;
        Ok(Self { pair })
    }

    /// Reads a key.
    ///
    /// # Errors
    /// When the text is not PEM of a key that we make.
    pub fn from_pem(pem: &str) -> Result<Self, CertificateError> {
        let pair = KeyPair::from_pem(pem)?;
        Ok(Self { pair })
    }

    /// The key as PEM.
    #[must_use]
    pub fn to_pem(&self) -> String {
        self.pair.serialize_pem()
    }

    /// SHA-256 of the public key: who its holder is on the mesh (rules.md 5).
    #[must_use]
    pub fn public_key(&self) -> [u8; 32] {
        Sha256::digest(self.public_key_info()).into()
    }

    /// The public key as `SubjectPublicKeyInfo` in DER.
    #[must_use]
    pub fn public_key_info(&self) -> Vec<u8> {
        self.pair.subject_public_key_info()
    }

    /// A request for a certificate, signed by the key: proof that whoever sends it has the key.
    ///
    /// # Errors
    /// When it cannot be signed.
    pub fn request(&self) -> Result<Vec<u8>, CertificateError> {
        let request = CertificateParams::default().serialize_request(&self.pair)?;
        Ok(request.der().to_vec())
    }
}
