//! What can go wrong in the plugin.

use std::io;
use std::path::PathBuf;

/// A call of the plugin failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum PluginError {
    #[error(
        "cannot run {program}: {error}; kubectl must be on the PATH, or KUBECTL say where it is"
    )]
    NoKubectl {
        program: String,
        #[source]
        error: io::Error,
    },
    #[error("kubectl {what}: {said}")]
    Kubectl { what: String, said: String },
    #[error("cannot read what kubectl said to {what}: {problem}")]
    Answer { what: String, problem: String },
    #[error("there is no MarramCluster here: -n says which namespace it is in")]
    NoCluster,
    #[error("there are several MarramClusters here: --cluster must say which of {0}")]
    Several(String),
    #[error("no pod of {0} is ready: `kubectl marram members` shows how they are")]
    NoPod(String),
    #[error("no connection to pod {pod} (at most {seconds} s are waited for it): {said}")]
    NoTunnel {
        pod: String,
        seconds: u64,
        said: String,
    },
    #[error("the Secret {secret} has no {key}")]
    Lacks { secret: String, key: &'static str },
    #[error("there is no failure domain {wanted}: there are {there}{hint}")]
    NoDomain {
        wanted: String,
        there: String,
        hint: String,
    },
    #[error("there is no node {wanted}: there are {there}")]
    NoNode { wanted: String, there: String },
    #[error("{name} failed: {message}")]
    Failed { name: String, message: String },
    #[error("{0} is gone: somebody deleted it")]
    Gone(String),
    #[error("cannot write {}: {error}", .path.display())]
    Write {
        path: PathBuf,
        #[source]
        error: io::Error,
    },
    #[error("cannot write the output: {0}")]
    Output(#[source] io::Error),
    #[error("{0} does not speak to a cluster: call `marram {0}` itself")]
    NotHere(String),
}

impl PluginError {
    /// The exit code: 2 where something else must be said, 3 where something is not there.
    pub(super) fn code(&self) -> u8 {
        match self {
            Self::Several(_) | Self::NotHere(_) => 2,
            Self::NoCluster | Self::NoDomain { .. } | Self::NoNode { .. } => 3,
            _ => 1,
        }
    }
}
