//! Between the API of a server that waits and what founds a cluster on its drives: requests, one at a
//! time, taken while the server waits and not while it asks to join.

use std::time::Duration;

use async_trait::async_trait;
use marram_gateway::{FoundError, Founder};
use marram_types::ClusterId;
use marram_types::config::Founding;
use tokio::sync::{mpsc, oneshot};

/// How long a request waits to be taken.
const TAKEN_WITHIN: Duration = Duration::from_secs(3);

/// The answer to a request, when it is known.
pub(super) type Answering = oneshot::Sender<Result<ClusterId, FoundError>>;

/// A request to found a cluster, taken up.
pub(super) struct Asked {
    /// As what.
    pub(super) founding: Founding,
    /// Whoever asked may be gone by then, and asks again.
    pub(super) answer: Answering,
}

/// One that is not taken up yet.
struct Request {
    asked: Asked,
    taken: oneshot::Sender<()>,
}

/// The side of the API.
pub(super) struct ByRequest {
    requests: mpsc::Sender<Request>,
    taken_within: Duration,
}

/// The side of the server.
pub(super) struct Asking(Option<mpsc::Receiver<Request>>);

/// Both sides.
pub(super) fn by_request() -> (ByRequest, Asking) {
    let (sender, receiver) = mpsc::channel(1);
    let asks = ByRequest {
        requests: sender,
        taken_within: TAKEN_WITHIN,
    };
    (asks, Asking(Some(receiver)))
}

impl Asking {
    /// One that nobody can ask.
    pub(super) fn never() -> Self {
        Self(None)
    }

    /// The next request of somebody who still waits for its answer.
    pub(super) async fn next(&mut self) -> Asked {
        let Some(receiver) = &mut self.0 else {
            return std::future::pending().await;
        };
        while let Some(Request { asked, taken }) = receiver.recv().await {
            if taken.send(()).is_ok() {
                return asked;
            }
        }
        std::future::pending().await
    }
}

#[async_trait]
impl Founder for ByRequest {
    async fn found(&self, founding: Founding) -> Result<ClusterId, FoundError> {
        let busy = || {
            let why = "it is joining one, or is founding one at this moment; ask again";
            FoundError::Busy(why.to_owned())
        };
        let (taken, was_taken) = oneshot::channel();
        let (answer, answered) = oneshot::channel();
        let asked = Asked { founding, answer };
        let request = Request { asked, taken };
        let handed = async {
            self.requests.send(request).await.ok()?;
            was_taken.await.ok()
        };
        // Given up, the request is found without its owner and not carried out.
        match tokio::time::timeout(self.taken_within, handed).await {
            Ok(Some(())) => answered.await.map_err(|_| busy())?,
            _ => Err(busy()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn wish(name: &str) -> Founding {
        Founding {
            cluster_name: name.to_owned(),
            expected_nodes: 1,
            object_groups: 8,
            zone: None,
        }
    }

    #[tokio::test]
    async fn one_is_founded_and_who_comes_meanwhile_is_told_to_come_again() {
        let (mut founder, mut asking) = by_request();
        founder.taken_within = Duration::from_millis(50);
        let founder = Arc::new(founder);
        let first = tokio::spawn({
            let founder = Arc::clone(&founder);
            async move { founder.found(wish("first")).await }
        });
        let asked = asking.next().await;
        assert_eq!(asked.founding.cluster_name, "first");
        let second = founder.found(wish("second")).await;
        assert!(matches!(second, Err(FoundError::Busy(_))), "{second:?}");
        asked.answer.send(Ok(ClusterId(7))).expect("it waits");
        assert_eq!(first.await.expect("ran"), Ok(ClusterId(7)));
        // The second has gone; only who still waits is heard.
        let third = tokio::spawn({
            let founder = Arc::clone(&founder);
            async move { founder.found(wish("third")).await }
        });
        let asked = asking.next().await;
        assert_eq!(asked.founding.cluster_name, "third");
        drop((asked, asking));
        let third = third.await.expect("ran");
        assert!(matches!(third, Err(FoundError::Busy(_))), "{third:?}");
    }
}
