//! Secrets at rest: a secret key is stored wrapped with AES-256-GCM under the key-encryption key.
//!
//! The key-encryption key is a file of 64 hexadecimal digits, the same on every server, and never
//! stored in the cluster (rules.md 3). A wrapped secret is bound to its access key's id, so that a
//! row copied over another one does not open.

use std::fmt;
use std::path::{Path, PathBuf};

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::hmac;
use ring::rand::{SecureRandom, SystemRandom};

use crate::hex;

/// Version byte of the wrapped form: version, nonce, ciphertext with tag.
const WRAPPED_VERSION: u8 = 1;

/// The key-encryption key.
pub struct Kek {
    sealing: LessSafeKey,
    tokens: hmac::Key,
    tickets: hmac::Key,
    drawn: hmac::Key,
    check: [u8; 32],
}

/// Why the key-encryption key could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum KekError {
    /// The file could not be read.
    #[error("cannot read the key-encryption key {path}: {source}", path = path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file holds something else.
    #[error(
        "{path} is not a key-encryption key: it must hold 64 hexadecimal digits, the same on every server",
        path = path.display()
    )]
    Format {
        /// The file.
        path: PathBuf,
    },
}

/// The system gave no randomness.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the system has no randomness to give")]
pub struct WrapError;

/// A wrapped secret that does not open.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnwrapError {
    /// Another encoding than this release knows.
    #[error("the wrapped secret has an encoding that this release does not know")]
    Encoding,
    /// Another key-encryption key, another access key, or changed bytes.
    #[error("the wrapped secret does not open under this key-encryption key")]
    Key,
}

impl fmt::Debug for Kek {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Kek(..)")
    }
}

impl Kek {
    /// The key of 32 bytes.
    #[must_use]
    pub fn from_bytes(key: &[u8; 32]) -> Self {
        let sealing = UnboundKey::new(&AES_256_GCM, key).expect("the key has 32 bytes");
        // One key, one use: tokens and tickets get keys of their own, derived from this one.
        let derive = hmac::Key::new(hmac::HMAC_SHA256, key);
        let derived = |what: &[u8]| {
            let key = hmac::sign(&derive, what);
            hmac::Key::new(hmac::HMAC_SHA256, key.as_ref())
        };
        Self {
            sealing: LessSafeKey::new(sealing),
            tokens: derived(b"marram page tokens 1"),
            tickets: derived(b"marram shard tickets 1"),
            drawn: derived(b"marram drawn secrets 1"),
            check: hmac::sign(&derive, b"marram key check 1")
                .as_ref()
                .try_into()
                .expect("SHA-256 has 32 bytes"),
        }
    }

    /// Reads the key from a file of 64 hexadecimal digits; white space around them is ignored.
    ///
    /// # Errors
    /// When the file cannot be read or holds something else.
    pub fn load(path: &Path) -> Result<Self, KekError> {
        let text = std::fs::read_to_string(path).map_err(|source| KekError::Read {
            path: path.to_owned(),
            source,
        })?;
        hex::decode(text.trim())
            .and_then(|bytes| <[u8; 32]>::try_from(bytes).ok())
            .map(|bytes| Self::from_bytes(&bytes))
            .ok_or_else(|| KekError::Format {
                path: path.to_owned(),
            })
    }

    /// The stored form of `secret`, which opens only for `access_key`.
    ///
    /// # Errors
    /// When the system has no randomness to give.
    pub fn wrap(&self, access_key: &str, secret: &str) -> Result<Vec<u8>, WrapError> {
        let mut nonce = [0; NONCE_LEN];
        let random = SystemRandom::new();
        random.fill(&mut nonce).map_err(|_| WrapError)?;
        Ok(self.sealed(nonce, access_key, secret))
    }

    /// The same, with equal bytes for equal arguments: for secrets that are drawn again by each attempt of
    /// one request. The nonce follows from what is sealed, so that no two secrets ever share one.
    #[must_use]
    pub(crate) fn wrap_again(&self, access_key: &str, secret: &str) -> Vec<u8> {
        let what = [b"nonce", access_key.as_bytes(), b"\0", secret.as_bytes()].concat();
        let drawn = self.drawn(&what);
        let nonce = *drawn.first_chunk().expect("32 bytes are more than a nonce");
        self.sealed(nonce, access_key, secret)
    }

    /// 32 bytes that nobody without this key can tell from random ones, the same for the same words.
    pub(crate) fn drawn(&self, words: &[u8]) -> [u8; 32] {
        let tag = hmac::sign(&self.drawn, words);
        tag.as_ref().try_into().expect("SHA-256 has 32 bytes")
    }

    fn sealed(&self, nonce: [u8; NONCE_LEN], access_key: &str, secret: &str) -> Vec<u8> {
        let mut sealed = secret.as_bytes().to_vec();
        self.sealing
            .seal_in_place_append_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(access_key.as_bytes()),
                &mut sealed,
            )
            .expect("a secret is far below the cipher's limit of 64 GiB");
        let mut wrapped = vec![WRAPPED_VERSION];
        wrapped.extend_from_slice(&nonce);
        wrapped.append(&mut sealed);
        wrapped
    }

    /// The secret in a stored form.
    ///
    /// # Errors
    /// When the form is not known or does not open for this access key under this key.
    pub fn unwrap(&self, access_key: &str, wrapped: &[u8]) -> Result<String, UnwrapError> {
        let (version, rest) = wrapped.split_first().ok_or(UnwrapError::Encoding)?;
        if *version != WRAPPED_VERSION {
            return Err(UnwrapError::Encoding);
        }
        let (nonce, sealed) = rest
            .split_first_chunk::<NONCE_LEN>()
            .ok_or(UnwrapError::Encoding)?;
        let mut sealed = sealed.to_vec();
        let opened = self
            .sealing
            .open_in_place(
                Nonce::assume_unique_for_key(*nonce),
                Aad::from(access_key.as_bytes()),
                &mut sealed,
            )
            .map_err(|_| UnwrapError::Key)?;
        String::from_utf8(opened.to_vec()).map_err(|_| UnwrapError::Encoding)
    }

    /// A value that tells this key from others and says nothing about it.
    #[must_use]
    pub fn check(&self) -> [u8; 32] {
        self.check
    }

    /// The key under page tokens.
    pub(crate) fn tokens(&self) -> &hmac::Key {
        &self.tokens
    }

    /// The key under the shard tickets of a period of time: each has its own, so that none is used
    /// for long.
    pub(crate) fn tickets(&self, period: u64) -> hmac::Key {
        let key = hmac::sign(&self.tickets, &period.to_be_bytes());
        hmac::Key::new(hmac::HMAC_SHA256, key.as_ref())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kek() -> Kek {
        Kek::from_bytes(&[7; 32])
    }

    #[test]
    fn a_secret_opens_only_for_its_own_access_key() {
        let wrapped = kek().wrap("MKONE", "secret").unwrap();
        assert_eq!(kek().unwrap("MKONE", &wrapped), Ok("secret".to_owned()));
        assert_eq!(kek().unwrap("MKTWO", &wrapped), Err(UnwrapError::Key));
        let other = Kek::from_bytes(&[8; 32]);
        assert_eq!(other.unwrap("MKONE", &wrapped), Err(UnwrapError::Key));
    }

    #[test]
    fn what_is_wrapped_again_is_the_same_and_opens() {
        let wrapped = kek().wrap_again("MKONE", "secret");
        assert_eq!(wrapped, kek().wrap_again("MKONE", "secret"));
        assert_eq!(kek().unwrap("MKONE", &wrapped), Ok("secret".to_owned()));
        let nonce = |wrapped: &[u8]| wrapped[1..=NONCE_LEN].to_vec();
        for (key, secret) in [("MKTWO", "secret"), ("MKONE", "secrets")] {
            let other = kek().wrap_again(key, secret);
            assert_ne!(nonce(&other), nonce(&wrapped), "{key} {secret}");
        }
        let other = Kek::from_bytes(&[8; 32]);
        assert_ne!(other.drawn(b"words"), kek().drawn(b"words"));
    }

    #[test]
    fn a_changed_or_cut_form_does_not_open() {
        let wrapped = kek().wrap("MKONE", "secret").unwrap();
        for at in 0..wrapped.len() {
            let mut changed = wrapped.clone();
            changed[at] ^= 1;
            assert!(kek().unwrap("MKONE", &changed).is_err(), "byte {at}");
            assert!(kek().unwrap("MKONE", &wrapped[..at]).is_err(), "cut {at}");
        }
    }

    #[test]
    fn the_file_holds_64_digits() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("kek");
        std::fs::write(&path, format!("{}\n", "07".repeat(32))).unwrap();
        let loaded = Kek::load(&path).unwrap();
        let wrapped = kek().wrap("a", "b").unwrap();
        assert_eq!(loaded.unwrap("a", &wrapped), Ok("b".to_owned()));
        std::fs::write(&path, "0707").unwrap();
        assert!(matches!(Kek::load(&path), Err(KekError::Format { .. })));
        let missing = dir.path().join("none");
        assert!(matches!(Kek::load(&missing), Err(KekError::Read { .. })));
    }
}
