//! The founding of a cluster, asked of one of its members: it was done already.

use marram_proto::v1;

use crate::core::Core;
use crate::status::{Fault, Reason};

/// Why a member does not say that its cluster is the one that was to be founded.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RepeatError {
    #[error("this server is a member of cluster {is:?}, not of {wanted:?}; nothing was changed")]
    Differs { is: String, wanted: String },
    #[error("this server does not know its cluster at the moment; try again")]
    NoView,
}

impl Fault for RepeatError {
    fn reason(&self) -> Reason {
        match self {
            Self::Differs { .. } => Reason::ClusterDiffers,
            Self::NoView => Reason::MetadataUnavailable,
        }
    }

    fn details(&self) -> Vec<(&'static str, String)> {
        match self {
            Self::Differs { is, .. } => vec![("cluster_name", is.clone())],
            Self::NoView => Vec::new(),
        }
    }
}

/// Answers the cluster's id where it has the name that was asked for.
pub(crate) fn repeated(
    core: &Core,
    request: &v1::BootstrapRequest,
) -> Result<v1::BootstrapResponse, RepeatError> {
    let view = core.view();
    let cluster = view.cluster.as_ref().ok_or(RepeatError::NoView)?;
    if cluster.name != request.cluster_name {
        return Err(RepeatError::Differs {
            is: cluster.name.clone(),
            wanted: request.cluster_name.clone(),
        });
    }
    Ok(v1::BootstrapResponse {
        cluster_id: cluster.cluster.to_string(),
        founded: false,
    })
}
