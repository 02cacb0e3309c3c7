//! What the name of an endpoint stands for: one server, or each of its addresses.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use tokio::net::lookup_host;

/// How long the name service may take.
const RESOLVE_WITHIN: Duration = Duration::from_secs(2);
/// Addresses of one name, at most.
const ADDRESSES_MAX: usize = 256;

/// Who is asked for addresses.
pub(crate) type Resolver =
    Arc<dyn Fn(String) -> BoxFuture<'static, io::Result<Vec<SocketAddr>>> + Send + Sync>;

/// The name service of the system.
pub(crate) fn of_the_system() -> Resolver {
    Arc::new(|name| {
        Box::pin(async move {
            let found = tokio::time::timeout(RESOLVE_WITHIN, lookup_host(name)).await??;
            Ok(found.collect())
        })
    })
}

/// An endpoint as it was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Name {
    /// `host:port`.
    pub(crate) authority: String,
    /// True when it is an address, which needs no name service.
    fixed: bool,
}

impl Name {
    pub(crate) fn new(authority: String) -> Self {
        let fixed = authority.parse::<SocketAddr>().is_ok();
        Self { authority, fixed }
    }

    /// The host in it, as a certificate names it.
    pub(crate) fn host(&self) -> &str {
        let host = self.authority.rsplit_once(':').map_or("", |(host, _)| host);
        host.trim_start_matches('[').trim_end_matches(']')
    }

    pub(crate) fn is_fixed(&self) -> bool {
        self.fixed
    }

    /// The addresses of a name that stands for several servers; none where it stands for one, which is
    /// connected to by its name, or where nothing was found out.
    pub(crate) async fn servers(&self, resolver: &Resolver) -> io::Result<Vec<SocketAddr>> {
        if self.fixed {
            return Ok(Vec::new());
        }
        let found = resolver(self.authority.clone()).await?;
        Ok(several(&found))
    }
}

/// The addresses where they are those of several servers. One server often has an address of each
/// family, so that only those of one family count.
fn several(found: &[SocketAddr]) -> Vec<SocketAddr> {
    let of = |family: fn(&IpAddr) -> bool| {
        let ours = found.iter().filter(|address| family(&address.ip()));
        let mut ours: Vec<SocketAddr> = ours.copied().collect();
        ours.sort_unstable();
        ours.dedup();
        ours.truncate(ADDRESSES_MAX);
        ours
    };
    let (four, six) = (of(IpAddr::is_ipv4), of(IpAddr::is_ipv6));
    let most = if six.len() > four.len() { six } else { four };
    match most.len() {
        0 | 1 => Vec::new(),
        _ => most,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_of_one_family_are_several_servers() {
        let read = |text: &[&str]| -> Vec<SocketAddr> {
            text.iter()
                .map(|text| text.parse().expect("an address"))
                .collect()
        };
        // What `localhost` is: one server.
        assert!(several(&read(&["[::1]:7070", "127.0.0.1:7070"])).is_empty());
        let both = read(&[
            "10.0.0.2:1",
            "10.0.0.1:1",
            "10.0.0.2:1",
            "[fd00::1]:1",
            "[fd00::2]:1",
        ]);
        assert_eq!(several(&both), read(&["10.0.0.1:1", "10.0.0.2:1"]));
        let six = read(&["10.0.0.2:1", "[fd00::1]:1", "[fd00::2]:1"]);
        assert_eq!(several(&six), read(&["[fd00::1]:1", "[fd00::2]:1"]));
    }

    #[test]
    fn a_name_knows_its_host() {
        for (authority, host, fixed) in [
            ("store:7070", "store", false),
            ("[::1]:7070", "::1", true),
            ("10.0.0.1:1", "10.0.0.1", true),
        ] {
            let name = Name::new(authority.to_owned());
            assert_eq!((name.host(), name.is_fixed()), (host, fixed));
        }
    }
}
