//! Whether two files or objects of one size have the same bytes, by their CRC64/NVME.

use std::sync::Arc;

use marram_client::Client;
use tokio::task::JoinSet;

use super::tree::Tree;
use crate::failure::Failure;
use crate::sums::crc64_of_file;
use crate::transfer::Order;

/// Comparisons under way, some at once.
pub(super) struct Comparisons {
    client: Client,
    trees: Arc<(Tree, Tree)>,
    at_once: usize,
    running: JoinSet<Order>,
}

impl Comparisons {
    /// Between two trees, at most `at_once` at a time.
    pub(super) fn new(client: Client, source: &Tree, target: &Tree, at_once: u16) -> Self {
        Self {
            client,
            trees: Arc::new((source.clone(), target.clone())),
            at_once: usize::from(at_once).max(1),
            running: JoinSet::new(),
        }
    }

    /// Begins to compare what both trees have below `relative`; `copy` is done where it differs. Where
    /// enough are under way, waits for one, and returns what came of it.
    pub(super) async fn begin(&mut self, relative: String, copy: Order) -> Option<Order> {
        let done = match self.running.len() < self.at_once {
            true => None,
            false => self.next().await,
        };
        let (client, trees) = (self.client.clone(), Arc::clone(&self.trees));
        self.running.spawn(async move {
            let sums = tokio::try_join!(
                sum(&client, &trees.0, &relative),
                sum(&client, &trees.1, &relative)
            );
            match sums {
                Ok((source, target)) if source == target => Order::Same,
                Ok(_) => copy,
                Err(failure) => Order::Failed(failure),
            }
        });
        done
    }

    /// What came of one that is under way; `None` when none is.
    pub(super) async fn next(&mut self) -> Option<Order> {
        match self.running.join_next().await? {
            Ok(order) => Some(order),
            // A task that panicked has told so itself.
            Err(_) => Some(Order::Failed(Failure::Check("a comparison broke off"))),
        }
    }
}

async fn sum(client: &Client, tree: &Tree, relative: &str) -> Result<u64, Failure> {
    match tree {
        Tree::Folder(folder) => {
            let path = folder.join(relative);
            let read = {
                let path = path.clone();
                tokio::task::spawn_blocking(move || crc64_of_file(&path)).await
            };
            read.unwrap_or_else(|stopped| Err(stopped.into()))
                .map_err(Failure::local("read", &path))
        }
        Tree::Prefix(prefix) => {
            let place = prefix.with_key(format!("{}{relative}", prefix.key));
            let found = client.head(&place.bucket, &place.key).await;
            Ok(found.map_err(Failure::at(&place))?.crc64nvme)
        }
    }
}
