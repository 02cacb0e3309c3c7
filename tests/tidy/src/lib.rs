//! The repository's rules about itself, as functions that return what breaks them.
//!
//! `tests/tidy.rs` runs each of them on this repository; the unit tests here show that each can
//! fail. A finding says where, what and how to mend it. There is no list of exceptions: a rule
//! that does not fit is changed here, with an argument in `docs/decisions/`.
//!
//! ```text
//! tree       the files of the repository
//! finding    what breaks a rule, and how to mend it
//! tokens     a source file as tokens
//! layers     which crate may depend on which; what the pure crates may link
//! manifests  a reason on every dependency line; versions and features in one place
//! sources    sizes, words, purity, headers of source files
//! docs       the root documents
//! ```

mod docs;
mod finding;
mod layers;
mod manifests;
mod sources;
mod tokens;
mod tree;

pub use docs::{architecture, citations, decisions, links, readme};
pub use finding::{Finding, Findings, report};
pub use layers::{Graph, GraphError, layer_table, linked_crates};
pub use manifests::{member_manifests, unused_dependencies, workspace_manifest};
pub use sources::{
    ascii, file_names, file_sizes, forbidden_words, function_sizes, module_headers, pure_sources,
    s3_words, wire_types,
};
pub use tokens::{Token, TokenError, tokens};
pub use tree::{Source, Tree, TreeError};
