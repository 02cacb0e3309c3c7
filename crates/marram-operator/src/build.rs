//! The objects that a cluster needs, as they are applied: functions of the resource and of what was
//! decided, nothing else. Each is the whole of what the operator owns in an object: what is left out
//! would be taken out of it.

mod budgets;
mod credentials;
mod gateway;
mod network;
mod pod;
mod secrets;
mod services;
mod statefulset;

pub use budgets::{Budget, budget, budgets};
pub use credentials::{Credentials, credentials};
pub use gateway::{autoscaler, deployment, gateway_budget};
pub use network::{account, gateway_policy, network_policy};
pub(crate) use secrets::{API_TLS, AUTHORITY_HEARD, AUTHORITY_SINCE, api_ca_patch, api_secret};
pub use secrets::{Keys, api_ca, api_tls, api_trust, gateway_join, join, keys};
pub use services::{client_service, peer_service};
pub(crate) use statefulset::TEMPLATE_ANNOTATION;
pub use statefulset::{Template, claim_template_size, statefulset, template, template_hash};

#[cfg(test)]
mod tests;
