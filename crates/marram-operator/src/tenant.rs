//! What people keep in a cluster: its buckets and access keys, by the resources `Bucket` and `AccessKey`. Pure:
//! from what a person wrote and what was seen comes the next step, and what is said of it.
//!
//! ```text
//! admission   whose resources a cluster takes, and whose grants a bucket     said    conditions
//! bucket      the next step of a Bucket                                      key     that of an AccessKey
//! ```

pub mod admission;
pub mod bucket;
pub mod key;
pub mod said;

/// Why a resource is not as it should be, and cannot be made so now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hold {
    /// In a word.
    pub reason: &'static str,
    /// In a sentence that says what to do.
    pub message: String,
    /// Somebody has to do something; without that it is waited for.
    pub stalled: bool,
}

impl Hold {
    /// Somebody has to do something.
    #[must_use]
    pub fn stalled(reason: &'static str, message: impl Into<String>) -> Self {
        Self {
            reason,
            message: message.into(),
            stalled: true,
        }
    }

    /// It is waited for.
    #[must_use]
    pub fn waits(reason: &'static str, message: impl Into<String>) -> Self {
        Self {
            reason,
            message: message.into(),
            stalled: false,
        }
    }
}

#[cfg(test)]
mod tests;
