//! One permission at a time for each placement group, and none from the past (rules.md 24).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use marram_mesh::{RpcCode, RpcFailure};
use marram_types::PgId;
use tokio::sync::{Mutex as Turn, OwnedMutexGuard};

/// The turn of a placement group, with the highest epoch of it that this process has seen.
pub(super) type Pass = OwnedMutexGuard<u64>;

/// The turns of all placement groups. At most one small entry for each row of the pools.
#[derive(Default)]
pub(super) struct Gate {
    turns: Mutex<HashMap<PgId, Arc<Turn<u64>>>>,
}

impl Gate {
    /// Waits for the turn of a placement group.
    pub(super) async fn enter(&self, pg: PgId) -> Pass {
        let turn = {
            let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(turns.entry(pg).or_default())
        };
        turn.lock_owned().await
    }
}

/// Whether a permission of `epoch` is good where the view's row has the epoch `held`.
pub(super) fn judge(seen: &mut u64, held: Option<u64>, epoch: u64) -> Result<(), RpcFailure> {
    // A newer permission voids older ones even while the view does not know its epoch yet.
    let newest = (*seen).max(held.unwrap_or(0));
    *seen = newest.max(epoch);
    if epoch < newest {
        return Err(stale());
    }
    if held.is_none_or(|held| held < epoch) {
        return Err(RpcFailure::new(
            RpcCode::Unavailable,
            "this node does not know the epoch of the placement group yet",
        ));
    }
    Ok(())
}

pub(super) fn stale() -> RpcFailure {
    RpcFailure::new(
        RpcCode::Aborted,
        "the placement group has a newer epoch: look again",
    )
}
