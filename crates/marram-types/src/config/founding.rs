//! How a new cluster begins.

use std::path::PathBuf;

use serde::Deserialize;

use super::{ConfigError, EXPECTED_NODES_MAX, check_name, check_path, check_zone};
use crate::caps::{OBJECT_GROUPS_DEFAULT, OBJECT_GROUPS_MAX};

/// What a cluster is founded as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Founding {
    /// The cluster's name.
    pub cluster_name: String,
    /// Nodes to wait for before placement is planned.
    pub expected_nodes: u16,
    /// Number of object groups, for good.
    pub object_groups: u16,
    /// The first node's zone, where it is not the one of its settings.
    pub zone: Option<String>,
}

impl Founding {
    /// Checks it.
    ///
    /// # Errors
    /// The first part that cannot work.
    pub fn validate(&self) -> Result<(), ConfigError> {
        check_name(&self.cluster_name)?;
        if !(1..=OBJECT_GROUPS_MAX).contains(&self.object_groups) {
            return Err(ConfigError::Groups(self.object_groups));
        }
        if !(1..=EXPECTED_NODES_MAX).contains(&self.expected_nodes) {
            return Err(ConfigError::Nodes(self.expected_nodes));
        }
        check_zone(self.zone.as_ref())
    }
}

/// The founding of a cluster as the settings of a server say it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BootstrapConfig {
    /// The cluster's name.
    pub cluster_name: String,
    /// Nodes to wait for before placement is planned.
    pub expected_nodes: u16,
    /// Number of object groups, for good.
    #[serde(default = "default_groups")]
    pub object_groups: u16,
    /// File with the first access key: `id secret` on one line, mode 0600.
    pub admin_key_file: PathBuf,
}

fn default_groups() -> u16 {
    OBJECT_GROUPS_DEFAULT
}

impl BootstrapConfig {
    /// What the cluster is founded as.
    #[must_use]
    pub fn founding(&self) -> Founding {
        Founding {
            cluster_name: self.cluster_name.clone(),
            expected_nodes: self.expected_nodes,
            object_groups: self.object_groups,
            zone: None,
        }
    }

    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        self.founding().validate()?;
        check_path("admin key file", &self.admin_key_file)
    }
}
