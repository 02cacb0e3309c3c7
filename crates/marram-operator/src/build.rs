//! The objects that a cluster needs, as they are applied: functions of the resource and of what was
//! decided, nothing else. Each is the whole of what the operator owns in an object: what is left out
//! would be taken out of it.

mod budgets;
mod credentials;
mod network;
mod secrets;
mod services;
mod statefulset;

pub use budgets::{Budget, budget, budgets};
pub use credentials::{Credentials, credentials};
pub use network::{account, network_policy};
pub use secrets::{Keys, api_ca, api_tls, join, keys};
pub use services::{client_service, peer_service};
pub use statefulset::{Template, claim_template_size, statefulset, template, template_hash};

#[cfg(test)]
mod tests;
