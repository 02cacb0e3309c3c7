//! All that the names of servers stand for: the name of a headless service stands for every pod of it,
//! members or not.

use std::time::Duration;

use tokio::net::lookup_host;

/// How long one name may take.
const RESOLVE_WITHIN: Duration = Duration::from_secs(2);
/// Addresses of one name, at most; whoever has more looks again later.
const ADDRESSES_MAX: usize = 256;

/// The addresses of servers that are given as `HOST:PORT`, each once, in an order that differs from
/// process to process so that not all ask the same one; and the last name that had none, and why.
pub(super) async fn resolve(servers: &[String]) -> (Vec<String>, Option<String>) {
    let (mut all, mut failed) = (Vec::new(), None);
    for server in servers {
        let why = match tokio::time::timeout(RESOLVE_WITHIN, lookup_host(server)).await {
            Ok(Ok(found)) => {
                let before = all.len();
                all.extend(found.take(ADDRESSES_MAX).map(|address| address.to_string()));
                (all.len() == before).then(|| "it has no address".to_owned())
            }
            Ok(Err(error)) => Some(error.to_string()),
            Err(_) => Some(format!(
                "no answer of the name service within {RESOLVE_WITHIN:?}"
            )),
        };
        if let Some(why) = why {
            failed = Some(format!("{server}: {why}"));
        }
    }
    all.sort_unstable();
    all.dedup();
    let first = usize::try_from(std::process::id()).unwrap_or_default() % all.len().max(1);
    all.rotate_left(first);
    (all, failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_address_comes_once_and_a_name_without_one_is_told() {
        let servers = [
            "127.0.0.1:1",
            "127.0.0.2:1",
            "127.0.0.1:1",
            "nobody.invalid:1",
        ];
        let (mut all, failed) = resolve(&servers.map(str::to_owned)).await;
        all.sort_unstable();
        assert_eq!(all, ["127.0.0.1:1", "127.0.0.2:1"]);
        assert!(failed.is_some_and(|why| why.contains("nobody.invalid:1")));
    }
}
