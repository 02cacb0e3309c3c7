//! Gateways without drives as this node hears of them: they ask for the view again and again, and say with
//! it how they are. Nothing of it is kept: a gateway that is silent for a while is forgotten.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use marram_mesh::Peer;
use marram_proto::mesh::v1 as wire;
use parking_lot::Mutex;

/// Gateways that are remembered: of more, the one that was heard longest ago goes.
const GATEWAYS_MAX: usize = 256;
/// How long one is remembered. Gateways ask one node after the other, each for some seconds; who asks how they are
/// asks all nodes.
const REMEMBERED_FOR: Duration = Duration::from_secs(60);
/// Characters of each text that is kept of what a gateway says.
const TEXT_CHARS_MAX: usize = 256;
/// Reasons that are kept.
const REASONS_MAX: usize = 8;

struct Heard {
    name: Arc<str>,
    note: wire::GatewayNote,
    at: Instant,
}

/// What gateways said lately, by their keys.
#[derive(Default)]
pub(super) struct HeardGateways(Mutex<BTreeMap<[u8; 32], Heard>>);

impl HeardGateways {
    /// A peer said this of itself with its request. Only gateways are listened to: of nodes more is known otherwise.
    pub(super) fn hear(&self, peer: &Peer, note: Option<wire::GatewayNote>, at: Instant) {
        let (Peer::Gateway { name, public_key }, Some(note)) = (peer, note) else {
            return;
        };
        let mut heard = self.0.lock();
        let new = Heard {
            name: Arc::clone(name),
            note: shortened(note),
            at,
        };
        heard.insert(*public_key, new);
        if heard.len() > GATEWAYS_MAX {
            let oldest = heard.iter().min_by_key(|(_, heard)| heard.at);
            if let Some(key) = oldest.map(|(key, _)| *key) {
                heard.remove(&key);
            }
        }
    }

    /// Those that were heard lately.
    pub(super) fn all(&self, now: Instant) -> Vec<wire::HeardGateway> {
        let mut heard = self.0.lock();
        let age = |heard: &Heard| now.saturating_duration_since(heard.at);
        heard.retain(|_, heard| age(heard) < REMEMBERED_FOR);
        let told = heard.iter().map(|(key, heard)| wire::HeardGateway {
            name: heard.name.to_string(),
            public_key: key.to_vec().into(),
            heard_ms_ago: u64::try_from(age(heard).as_millis()).unwrap_or(u64::MAX),
            note: Some(heard.note.clone()),
        });
        told.collect()
    }
}

fn shortened(mut note: wire::GatewayNote) -> wire::GatewayNote {
    let short = |text: &str| text.chars().take(TEXT_CHARS_MAX).collect();
    note.not_ready.truncate(REASONS_MAX);
    wire::GatewayNote {
        version: short(&note.version),
        api_address: short(&note.api_address),
        metrics_address: short(&note.metrics_address),
        not_ready: note.not_ready.iter().map(|text| short(text)).collect(),
    }
}

#[cfg(test)]
mod tests {
    use marram_types::NodeId;

    use super::*;

    fn gateway(number: u16) -> Peer {
        let mut public_key = [0; 32];
        public_key[..2].copy_from_slice(&number.to_be_bytes());
        Peer::Gateway {
            name: format!("gateway-{number}").into(),
            public_key,
        }
    }

    fn note(version: &str) -> Option<wire::GatewayNote> {
        Some(wire::GatewayNote {
            version: version.to_owned(),
            not_ready: vec!["x".repeat(1000); 20],
            ..wire::GatewayNote::default()
        })
    }

    #[test]
    fn gateways_are_remembered_for_a_while() {
        let heard = HeardGateways::default();
        let began = Instant::now();
        let s = |s| began + Duration::from_secs(s);
        heard.hear(&gateway(1), note("1"), s(0));
        heard.hear(&gateway(2), note("1"), s(0));
        heard.hear(&gateway(1), note("2"), s(30));
        heard.hear(&gateway(3), None, s(30));
        heard.hear(&Peer::Node(NodeId(4)), note("1"), s(30));
        let said = heard.all(s(31));
        let names: Vec<_> = said.iter().map(|g| (&*g.name, g.heard_ms_ago)).collect();
        assert_eq!(names, [("gateway-1", 1000), ("gateway-2", 31_000)]);
        let note = said[0].note.as_ref().expect("said");
        assert_eq!(note.version, "2", "the newest counts");
        let lengths = (note.not_ready.len(), note.not_ready[0].len());
        assert_eq!(lengths, (REASONS_MAX, TEXT_CHARS_MAX));
        assert_eq!(heard.all(s(61)).len(), 1);
        assert!(heard.all(s(200)).is_empty());
    }

    #[test]
    fn there_is_room_for_so_many() {
        let heard = HeardGateways::default();
        let now = Instant::now();
        let many = u16::try_from(GATEWAYS_MAX).expect("few");
        for number in 0..=many {
            heard.hear(
                &gateway(number),
                note("1"),
                now + Duration::from_millis(number.into()),
            );
        }
        let said = heard.all(now);
        assert_eq!(said.len(), GATEWAYS_MAX);
        assert!(said.iter().all(|gateway| gateway.name != "gateway-0"));
    }
}
