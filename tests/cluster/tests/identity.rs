//! Who belongs to a cluster: founding, joining by tokens, certificates, the CA.

#[path = "identity/joining.rs"]
mod joining;
#[path = "identity/renewal.rs"]
mod renewal;
#[path = "identity/rotation.rs"]
mod rotation;
