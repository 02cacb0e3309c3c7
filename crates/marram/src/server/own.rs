//! Who this process is: its key, its certificate and the CAs that it trusts, in memory and in its
//! file. The key is made here and never leaves (rules.md 4).

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use marram_mesh::{Identity, IdentityError, Kept, Mesh, MeshOptions, PeerCertificate, Role};
use marram_types::JoinToken;
use tokio::runtime::Handle;

/// The file's name on a node's metadata drive.
const FILE_NAME: &str = "marram.keys";

/// A process's own identity.
pub(super) struct Own {
    file: PathBuf,
    kept: Kept,
}

impl Own {
    /// Where a node keeps it.
    pub(super) fn file_on(metadata_drive: &std::path::Path) -> PathBuf {
        metadata_drive.join(FILE_NAME)
    }

    /// Reads the file; makes a key, durably, where there is none.
    pub(super) fn load_or_make(file: PathBuf) -> Result<Self> {
        let kept = match Kept::load(&file)? {
            Some(kept) => kept,
            None => {
                let fresh = Kept::fresh()?;
                fresh.save(&file)?;
                fresh
            }
        };
        Ok(Self { file, kept })
    }

    /// Reads the file of a member.
    pub(super) fn load(file: PathBuf) -> Result<Self> {
        match Kept::load(&file)? {
            Some(kept) if kept.certificate.is_some() => Ok(Self { file, kept }),
            _ => bail!(
                "the key of this node is gone: {} is missing or has no certificate. A node is known \
                 by its key: put the file back, or fence and remove the node and let it join anew \
                 with empty folders",
                file.display()
            ),
        }
    }

    /// True when it has a certificate, so that it need not join.
    pub(super) fn is_member(&self) -> bool {
        self.kept.certificate.is_some()
    }

    /// SHA-256 of the public key.
    pub(super) fn key(&self) -> [u8; 32] {
        self.kept.key.public_key()
    }

    /// The public key as a certificate has it.
    pub(super) fn key_info(&self) -> Vec<u8> {
        self.kept.key.public_key_info()
    }

    /// A request for the first certificate.
    pub(super) fn request(&self) -> Result<Vec<u8>> {
        Ok(self.kept.key.request().map_err(IdentityError::from)?)
    }

    /// The CAs that it trusts, in DER.
    pub(super) fn authorities(&self) -> &[Vec<u8>] {
        &self.kept.authorities
    }

    /// The identity that goes with the certificate.
    pub(super) fn identity(&self) -> Result<Identity> {
        self.kept
            .identity()?
            .with_context(|| format!("{} has no certificate", self.file.display()))
    }

    /// What the certificate says, refused when it is for another kind of process or another name.
    pub(super) fn certificate(&self, role: Role, name: Option<&str>) -> Result<PeerCertificate> {
        let certificate = self.identity()?.certificate().clone();
        if certificate.role != role || name.is_some_and(|name| name != &*certificate.name) {
            bail!(
                "{} is the identity of {:?} {}, this is {role:?} {}: leave --name out, or give the \
                 folder of the one that is meant",
                self.file.display(),
                certificate.role,
                certificate.name,
                name.unwrap_or("")
            );
        }
        Ok(certificate)
    }

    /// Takes a certificate and the CAs to trust, durably and all or nothing.
    pub(super) fn take(&mut self, certificate: Vec<u8>, authorities: Vec<Vec<u8>>) -> Result<()> {
        let before = (self.kept.certificate.clone(), self.kept.authorities.clone());
        let taken = self
            .hold(certificate, authorities)
            .and_then(|()| self.save());
        if taken.is_err() {
            (self.kept.certificate, self.kept.authorities) = before;
        }
        taken
    }

    /// The same in memory only.
    pub(super) fn hold(&mut self, certificate: Vec<u8>, authorities: Vec<Vec<u8>>) -> Result<()> {
        let before = (
            self.kept.certificate.replace(certificate),
            std::mem::replace(&mut self.kept.authorities, authorities),
        );
        let fits = self.identity().map(|_| ());
        if fits.is_err() {
            (self.kept.certificate, self.kept.authorities) = before;
        }
        fits
    }

    /// Writes down what is held.
    pub(super) fn save(&self) -> Result<()> {
        Ok(self.kept.save(&self.file)?)
    }

    /// Trusts these CAs from now on, beside the one of its certificate.
    pub(super) fn trust(&mut self, authorities: Vec<Vec<u8>>) -> Result<()> {
        let certificate = self.kept.certificate.clone();
        self.take(certificate.context("it has no certificate")?, authorities)
    }

    /// The mesh of this process.
    pub(super) fn mesh(&self, raft: Option<Handle>) -> Result<Mesh> {
        Ok(Mesh::new(MeshOptions {
            identity: self.identity()?,
            node: None,
            raft_runtime: raft,
        })?)
    }
}

/// The join token that was given, directly or in a file.
pub(super) fn token(given: Option<&String>, file: Option<&PathBuf>) -> Result<JoinToken> {
    let text = match (given, file) {
        (Some(text), _) => text.clone(),
        (None, Some(file)) => std::fs::read_to_string(file)
            .with_context(|| format!("cannot read the join token from {}", file.display()))?,
        (None, None) => bail!(
            "joining needs a token: make one with `marram admin token create --role storage|gateway` \
             and give it with --token or --token-file"
        ),
    };
    Ok(text.parse()?)
}
