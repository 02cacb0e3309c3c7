//! Every metric family that a process of Marram may give, and the bounds of its labels.
//!
//! A family that is not here cannot be given, and a label that is not here cannot be set: what an
//! operator's rules and boards depend on is in these files, and `docs/metrics.md` is made of them.

mod api;
mod caches;
mod cluster;
mod disks;
mod drives;
mod family;
mod labels;
mod mesh;
mod operator;
mod process;
mod raft;
mod upkeep;

pub use api::*;
pub use caches::*;
pub use cluster::*;
pub use disks::*;
pub use drives::*;
pub use family::{Family, From, Kind, Unit};
pub use labels::Label;
pub use mesh::*;
pub use operator::*;
pub use process::*;
pub use raft::*;
pub use upkeep::*;

/// One part of the catalogue.
#[derive(Debug, Clone, Copy)]
pub struct Chapter {
    /// Its heading.
    pub title: &'static str,
    /// Its families, in the order of the documents.
    pub families: &'static [&'static Family],
}

/// Everything, in the order of the documents.
pub const CHAPTERS: &[Chapter] = &[
    Chapter {
        title: "Calls of the API",
        families: API,
    },
    Chapter {
        title: "Data, nodes and work",
        families: CLUSTER,
    },
    Chapter {
        title: "Drives",
        families: DRIVES,
    },
    Chapter {
        title: "Operations on files",
        families: DISKS,
    },
    Chapter {
        title: "Caches",
        families: CACHES,
    },
    Chapter {
        title: "Work in the background",
        families: UPKEEP,
    },
    Chapter {
        title: "Raft groups",
        families: RAFT,
    },
    Chapter {
        title: "The mesh, and certificates",
        families: MESH,
    },
    Chapter {
        title: "The process",
        families: PROCESS,
    },
    Chapter {
        title: "The operator",
        families: OPERATOR,
    },
];

/// Every family.
pub fn families() -> impl Iterator<Item = &'static Family> {
    CHAPTERS
        .iter()
        .flat_map(|chapter| chapter.families)
        .copied()
}

#[cfg(test)]
mod tests;
