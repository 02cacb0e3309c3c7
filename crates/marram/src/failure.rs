//! What can go wrong in a client command, and the exit code of each.

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use marram_client::{ClientError, ConfigError, ErrorKind, RequestId};
use serde_json::json;

use crate::filter::PatternError;
use crate::location::LocationError;
use crate::paths::{UnsafeKey, UnsafePath};

/// A client command that failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error(
        "no cluster is named: set {0}, or give the flag; after `marram dev`: source .marram-dev/env"
    )]
    NotConfigured(&'static str),
    #[error("cannot read the CA certificates in {}: {error}", .path.display())]
    CaFile {
        path: PathBuf,
        #[source]
        error: io::Error,
    },
    #[error("cannot use the access key in {}: {error}", .path.display())]
    KeyFile {
        path: PathBuf,
        #[source]
        error: io::Error,
    },
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Location(#[from] LocationError),
    #[error("{0}")]
    Usage(&'static str),
    #[error("the same {0} is given twice")]
    Twice(&'static str),
    #[error(transparent)]
    Pattern(#[from] PatternError),
    #[error("cannot use the rules in {}: {problem}", .path.display())]
    Rules { path: PathBuf, problem: String },
    #[error("{0:#}")]
    Settings(anyhow::Error),
    #[error("{}: this is a folder; use -r to take everything below it", .0.display())]
    IsFolder(PathBuf),
    #[error("{}: the target of several sources must be a folder", .0.display())]
    NotFolder(PathBuf),
    #[error("{0}: source and target are the same, or one holds the other")]
    SamePlace(String),
    #[error(transparent)]
    UnsafeKey(#[from] UnsafeKey),
    #[error(transparent)]
    UnsafePath(#[from] UnsafePath),
    #[error("{place}: {error}")]
    Client {
        place: String,
        #[source]
        error: ClientError,
    },
    #[error("cannot {action} {}: {error}", .path.display())]
    Local {
        action: &'static str,
        path: PathBuf,
        #[source]
        error: io::Error,
    },
    #[error("{0}: nothing is there")]
    NothingThere(String),
    #[error("{failed} of {all} failed")]
    Partly { failed: u64, all: u64 },
    #[error("the data read is not the data written: {0}")]
    WrongBytes(String),
    #[error("{0} is not being drained any more: somebody changed what it is there for")]
    DrainEnded(String),
    #[error(
        "buckets were made or removed, or data moved, during each of {0} attempts: try again when it \
         is quieter"
    )]
    BackupChanged(u32),
    #[error("{0} objects have too few shards left to be read")]
    Lost(u64),
    #[error("{0}: this is no backup to rely on")]
    BadBackup(String),
    #[error("scrubs are paused: the pass goes on after `marram admin scrub resume`")]
    ScrubPaused,
    #[error("repairs are paused: they go on after `marram admin repair resume`")]
    RepairPaused,
    #[error(
        "drives and metadata differ: {lacking} shards lack, {extra} are too much, {silent} nodes did not answer"
    )]
    Different {
        lacking: u64,
        extra: u64,
        silent: u64,
    },
    #[error("the cluster is not healthy")]
    Unhealthy,
    #[error("{0}: not now")]
    NotNow(String),
    #[error("{name} still leads {groups} metadata groups: no other voter could take them in time")]
    StillLeads { name: String, groups: usize },
    #[error("cannot write the output: {0}")]
    Output(#[source] io::Error),
    #[error("not done within {0:?}")]
    TooLate(Duration),
    #[error("{0}")]
    Check(&'static str),
    #[error("interrupted")]
    Interrupted,
}

impl Failure {
    /// For `map_err` on calls of the client.
    pub(crate) fn at(place: impl ToString) -> impl FnOnce(ClientError) -> Self {
        move |error| Self::Client {
            place: place.to_string(),
            error,
        }
    }

    /// For `map_err` on calls of the file system.
    pub(crate) fn local(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |error| Self::Local {
            action,
            path: path.to_owned(),
            error,
        }
    }

    /// 1 failed, 2 usage, 3 not found, 4 denied, 130 interrupted.
    fn code(&self) -> u8 {
        match self {
            Self::NotConfigured(_)
            | Self::CaFile { .. }
            | Self::KeyFile { .. }
            | Self::Config(_)
            | Self::Location(_)
            | Self::Usage(_)
            | Self::Twice(_)
            | Self::Pattern(_)
            | Self::Settings(_)
            | Self::Rules { .. }
            | Self::IsFolder(_)
            | Self::NotFolder(_)
            | Self::SamePlace(_) => 2,
            Self::NothingThere(_) => 3,
            Self::Local { error, .. } if error.kind() == io::ErrorKind::NotFound => 3,
            Self::Client { error, .. } => match error.kind() {
                ErrorKind::NotFound => 3,
                ErrorKind::Denied => 4,
                _ => 1,
            },
            Self::Interrupted => 130,
            // The reader had enough, as in `marram ls | head`.
            Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => 0,
            Self::UnsafeKey(_)
            | Self::UnsafePath(_)
            | Self::Local { .. }
            | Self::Partly { .. }
            | Self::WrongBytes(_)
            | Self::DrainEnded(_)
            | Self::BackupChanged(_)
            | Self::BadBackup(_)
            | Self::Lost(_)
            | Self::ScrubPaused
            | Self::RepairPaused
            | Self::Different { .. }
            | Self::NotNow(_)
            | Self::Unhealthy
            | Self::StillLeads { .. }
            | Self::TooLate(_)
            | Self::Check(_)
            | Self::Output(_) => 1,
        }
    }

    /// The name of the change whose outcome is unknown.
    fn request_id(&self) -> Option<RequestId> {
        match self {
            Self::Client { error, .. } => error.request_id(),
            _ => None,
        }
    }

    /// Says it on standard error.
    pub(crate) fn tell(&self, as_json: bool) {
        if self.code() == 0 {
            return;
        }
        if !as_json {
            eprintln!("marram: {self}");
            if let Some(id) = self.request_id() {
                eprintln!("marram: {}", again(id));
            }
            return;
        }
        let (kind, reason) = match self {
            Self::Client { error, .. } => (Some(error.kind()), error.reason()),
            _ => (None, None),
        };
        let error = json!({
            "error": {
                "message": self.to_string(),
                "kind": kind,
                "reason": reason,
                "request_id": self.request_id().map(|id| id.to_string()),
                "exit_code": self.code(),
            }
        });
        eprintln!("{error}");
    }

    /// The exit code of a command that ends with this.
    pub(crate) fn exit_code(&self) -> ExitCode {
        ExitCode::from(self.code())
    }
}

/// What to do about an unknown outcome.
fn again(id: RequestId) -> String {
    format!(
        "to hear what came of it, run the same command again with --request-id {id}, within five minutes"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_outcome_says_how_to_hear_of_it() {
        let id = RequestId {
            client: 1,
            sequence: 2,
        };
        let said = again(id);
        assert!(
            said.contains("--request-id 00000000000000000000000000000001-2"),
            "{said}"
        );
    }

    #[test]
    fn exit_codes() {
        let missing = Failure::local("read", Path::new("x"))(io::ErrorKind::NotFound.into());
        assert_eq!(missing.code(), 3);
        let denied = Failure::local("read", Path::new("x"))(io::ErrorKind::PermissionDenied.into());
        assert_eq!(denied.code(), 1);
        assert_eq!(Failure::NotConfigured("MARRAM_ENDPOINT").code(), 2);
        assert_eq!(Failure::Partly { failed: 1, all: 2 }.code(), 1);
        assert_eq!(Failure::Output(io::ErrorKind::BrokenPipe.into()).code(), 0);
    }
}
