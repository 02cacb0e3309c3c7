//! Which change the call of a task is about: for its line in the log, should it fail.

use std::sync::{Arc, OnceLock};

use marram_types::RequestId;

tokio::task_local! {
    static CHANGE: Change;
}

/// The request id of the change that a call makes, from when it is known on.
#[derive(Debug, Clone, Default)]
pub(crate) struct Change(Arc<OnceLock<RequestId>>);

impl Change {
    /// The request id, if the call has named one or got one.
    pub(crate) fn request(&self) -> Option<RequestId> {
        self.0.get().copied()
    }

    /// What runs in `call` tells its request id here.
    pub(crate) async fn of<F: Future>(self, call: F) -> F::Output {
        CHANGE.scope(self, call).await
    }
}

/// The call of this task makes the change of this id. The first id of a call counts.
pub(crate) fn named(request: RequestId) {
    // Work that no call waits for has nobody to tell.
    let _ = CHANGE.try_with(|change| change.0.set(request));
}
