//! What operators watch: metrics for Prometheus, whether the process lives and is ready, and the
//! listener that answers for both.
//!
//! ```text
//! catalogue   every family that exists: name, kind, labels, meaning; docs/metrics.md is made of it
//! sheet       the samples of one scrape, checked against the catalogue
//! sources     who fills it      text   how it is written
//! histogram, calls, connections, watchers   what is counted where it happens
//! process     what Linux and the runtime say of this process
//! health      whether it is ready, and why not
//! listener    /metrics, /livez, /readyz      bearer   the token that may be asked for metrics
//! ```
//!
//! A value that exists already elsewhere is read when it is asked for; only what would be lost
//! otherwise, such as times of calls, is kept here. This crate knows nothing of the cluster: names
//! are here, values come from those who have them.

mod bearer;
mod calls;
pub mod catalogue;
mod connections;
mod documents;
mod health;
mod histogram;
mod listener;
mod process;
mod sheet;
mod sources;
mod text;
mod watchers;

pub use bearer::{BearerToken, TokenError};
pub use calls::{Call, Calls, Method, Phase, QuotaFound};
pub use connections::{Connections, Open};
pub use documents::documents;
pub use health::{Condition, Verdict};
pub use histogram::{Exemplar, Histogram, Snapshot};
pub use listener::{Listener, serve};
pub use process::{Process, Runtime};
pub use sheet::Sheet;
pub use sources::{Source, Sources};
pub use text::Format;
pub use watchers::{Ended, Watchers, Watching};
