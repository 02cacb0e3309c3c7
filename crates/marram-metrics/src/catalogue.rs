//! Every metric family that a process of Marram may give, and the bounds of its labels.
//!
//! A family that is not here cannot be given, and a label that is not here cannot be set: what an
//! operator's rules and boards depend on is in these files, and `docs/metrics.md` is made of them.

mod api;
mod cluster;
mod drives;
mod family;
mod labels;
mod process;
mod raft;

pub use api::*;
pub use cluster::*;
pub use drives::*;
pub use family::{Family, From, Kind, Unit};
pub use labels::Label;
pub use process::*;
pub use raft::*;

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
        title: "Raft groups",
        families: RAFT,
    },
    Chapter {
        title: "The process",
        families: PROCESS,
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
