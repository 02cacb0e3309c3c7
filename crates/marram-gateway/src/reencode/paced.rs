//! Drives of all nodes, asked as work in the background asks: by the pace of this server's link, and when it
//! is its turn at the node that has the drive.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::WorkPace;
use crate::core::Core;
use crate::drives::{DriveError, Part, Run};

/// How long a node may say that it is not the time yet, and how often it is asked meanwhile. Its pace lets
/// the least of lanes take a run in a second; who waits longer has many before him.
const TURN_WITHIN: Duration = Duration::from_secs(60);
const ASK_AGAIN: Duration = Duration::from_millis(50);
const ASK_AGAIN_MAX: Duration = Duration::from_millis(400);

/// The turns that a node is asked for.
struct Turns {
    until: Instant,
    pause: Duration,
}

impl Turns {
    fn new() -> Self {
        Self {
            until: Instant::now() + TURN_WITHIN,
            pause: ASK_AGAIN,
        }
    }

    /// Whether it is to be asked again after this answer; waits before that.
    async fn again<T>(&mut self, answer: &Result<T, DriveError>) -> bool {
        let not_yet = matches!(answer, Err(DriveError::Overloaded));
        if !not_yet || Instant::now() >= self.until {
            return false;
        }
        tokio::time::sleep(self.pause).await;
        self.pause = (self.pause * 2).min(ASK_AGAIN_MAX);
        true
    }
}

/// Reads a part.
pub(crate) async fn read(
    core: &Core,
    pace: &Arc<dyn WorkPace>,
    part: Part,
) -> Result<Bytes, DriveError> {
    if !core.drives.is_near(part.place.node) {
        pace.receive(u64::from(part.len)).await;
    }
    let mut turns = Turns::new();
    loop {
        let within = core.conditions.fetch_deadline();
        let answer = core.drives.read(part, within).await;
        if !turns.again(&answer).await {
            return answer;
        }
    }
}

/// Writes a run.
pub(crate) async fn write(
    core: &Core,
    pace: &Arc<dyn WorkPace>,
    run: Run,
) -> Result<(), DriveError> {
    let (place, bytes) = (run.place, run.data.len() as u64);
    if !core.drives.is_near(place.node) {
        pace.send(bytes).await;
    }
    let within = core.conditions.run_deadline();
    let mut turns = Turns::new();
    loop {
        let answer = core.drives.turn(place, bytes, within).await;
        // A node of an earlier release knows no turns, and takes the request for a write of nothing.
        if answer == Err(DriveError::Refused) {
            return core.drives.write(run, within).await;
        }
        if !turns.again(&answer).await {
            answer?;
            return core.drives.write(run, within).await;
        }
    }
}
