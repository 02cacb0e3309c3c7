//! What can go wrong while a cluster is looked at.

use marram_client::{ClientError, ConfigError};

use crate::certificates::CertificateError;

/// A reconciliation that did not come to its end. It is tried again.
#[derive(Debug, thiserror::Error)]
pub enum ReconcileError {
    /// The API server refused or did not answer.
    #[error("cannot {what}: {source}")]
    Kubernetes {
        /// What was to be done.
        what: String,
        /// Why it was not.
        source: Box<kube::Error>,
    },
    /// The cluster refused or did not answer.
    #[error("the cluster cannot {what}: {source}")]
    Cluster {
        /// What was to be done.
        what: &'static str,
        /// Why it was not.
        source: ClientError,
    },
    /// The cluster cannot be spoken to.
    #[error("the cluster cannot be spoken to: {0}")]
    Link(#[from] ConfigError),
    /// A certificate.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// A Secret that was changed by hand.
    #[error(
        "the Secret {name} lacks {key}, or it is damaged: restore it, or delete the Secret where it can be made anew"
    )]
    Secret {
        /// Its name.
        name: String,
        /// What is missing.
        key: &'static str,
    },
    /// An object that has no name or no place.
    #[error("an object without a name or namespace")]
    Nameless,
    /// Something has to be waited for before the resource may go; it is said in its conditions.
    #[error("it is waited: {0}")]
    Waits(String),
    /// The finalizer cannot be set or taken away.
    #[error("the finalizer cannot be changed: {0}")]
    Finalizer(String),
}

impl ReconcileError {
    /// Adds what was to be done.
    pub(crate) fn kubernetes(what: impl Into<String>) -> impl FnOnce(kube::Error) -> Self {
        let what = what.into();
        move |source| Self::Kubernetes {
            what,
            source: Box::new(source),
        }
    }

    /// Adds what was to be done.
    pub(crate) fn cluster(what: &'static str) -> impl FnOnce(ClientError) -> Self {
        move |source| Self::Cluster { what, source }
    }

    /// Somebody changed the object meanwhile: it is looked at again, and nothing is wrong.
    pub(crate) fn is_conflict(&self) -> bool {
        matches!(self, Self::Kubernetes { source, .. } if is_status(source, 409))
    }

    /// The API server understood, and does not want it.
    pub(crate) fn is_refusal(&self) -> bool {
        matches!(self, Self::Kubernetes { source, .. } if is_status(source, 403) || is_status(source, 422))
    }

    /// Nothing is wrong: it is looked at again soon.
    pub(crate) fn is_no_failure(&self) -> bool {
        self.is_conflict() || matches!(self, Self::Waits(_))
    }

    /// In a word, for the metrics.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Kubernetes { .. } | Self::Finalizer(_) | Self::Nameless => "kubernetes",
            Self::Cluster { .. } | Self::Link(_) | Self::Waits(_) => "cluster",
            Self::Certificate(_) | Self::Secret { .. } => "secret",
        }
    }
}

/// Whether the API server answered with this code.
pub(crate) fn is_status(error: &kube::Error, code: u16) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == code)
}
