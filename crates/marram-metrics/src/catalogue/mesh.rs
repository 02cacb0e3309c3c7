//! Connections between the processes of the cluster, and the certificates that they show.

use super::labels::{AUTHORITY, CLASS, HANDSHAKE_FAILURE, MESH_METHOD, MESH_RESULT, NODE, SIDE};
use super::{Family, From, Kind, Label, Unit};

/// From a request on loopback to what is waited for at most.
pub(crate) const REQUEST_SECONDS: &[f64] = &[
    0.0001, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0,
];

const fn family(
    name: &'static str,
    (kind, unit): (Kind, Unit),
    labels: &'static [Label],
    from: From,
    help: &'static str,
) -> Family {
    Family {
        name,
        kind,
        unit,
        labels,
        from,
        help,
    }
}

/// Whether a peer answers.
pub const MESH_PEER_ANSWERS: Family = family(
    "marram_mesh_peer_answers",
    (Kind::Gauge, Unit::None),
    &[NODE],
    From::All,
    "1 while the node answers this process, else 0",
);
/// How long it takes.
pub const MESH_PING: Family = family(
    "marram_mesh_ping_seconds",
    (Kind::Gauge, Unit::Seconds),
    &[NODE],
    From::All,
    "Running mean of how long the node takes to answer a ping, after eight of them",
);
/// Whose clock is wrong.
pub const MESH_CLOCK_AHEAD: Family = family(
    "marram_mesh_clock_ahead_seconds",
    (Kind::Gauge, Unit::Seconds),
    &[NODE],
    From::All,
    "How far the node's clock is ahead of the clock of this machine, negative when it is behind; where it answers",
);
/// How often it went away.
pub const MESH_PEER_LAPSES: Family = family(
    "marram_mesh_peer_lapses",
    (Kind::Gauge, Unit::None),
    &[NODE],
    From::All,
    "How often the node went away from this process lately",
);
/// Requests that were answered.
pub const MESH_REQUESTS: Family = family(
    "marram_mesh_requests_total",
    (Kind::Counter, Unit::None),
    &[MESH_METHOD, MESH_RESULT],
    From::Servers,
    "Requests of peers, and of this server to itself, that were answered here",
);
/// How long they took.
pub const MESH_REQUEST_DURATION: Family = family(
    "marram_mesh_request_seconds",
    (Kind::Histogram(REQUEST_SECONDS), Unit::Seconds),
    &[MESH_METHOD],
    From::Servers,
    "Time from a request's arrival here to its answer; requests that wait for news take as long as \
     they may",
);
/// Bytes in.
pub const MESH_RECEIVED: Family = family(
    "marram_mesh_received_bytes_total",
    (Kind::Counter, Unit::Bytes),
    &[CLASS],
    From::Servers,
    "Bytes of the requests that were answered here",
);
/// Bytes out.
pub const MESH_SENT: Family = family(
    "marram_mesh_sent_bytes_total",
    (Kind::Counter, Unit::Bytes),
    &[CLASS],
    From::Servers,
    "Bytes of the answers that were given here",
);
/// Open connections.
pub const MESH_CONNECTIONS: Family = family(
    "marram_mesh_connections",
    (Kind::Gauge, Unit::None),
    &[SIDE, CLASS],
    From::All,
    "Connections with peers that are open now, after their TLS handshake",
);
/// Those that failed.
pub const MESH_HANDSHAKES_FAILED: Family = family(
    "marram_mesh_handshakes_failed_total",
    (Kind::Counter, Unit::None),
    &[SIDE, HANDSHAKE_FAILURE],
    From::All,
    "Connections with peers that did not come about, or were refused, by why: those that were dialed grow while \
     a peer is away",
);
/// The certificate of the mesh.
pub const MESH_CERTIFICATE: Family = family(
    "marram_mesh_certificate_not_after_seconds",
    (Kind::Gauge, Unit::Seconds),
    &[],
    From::All,
    "When the certificate that this process shows its peers expires, in seconds since 1970; it is \
     renewed at half of its lifetime",
);
/// Those of the CAs.
pub const MESH_AUTHORITY: Family = family(
    "marram_mesh_authority_not_after_seconds",
    (Kind::Gauge, Unit::Seconds),
    &[AUTHORITY],
    From::All,
    "When the certificate of a CA that the cluster trusts expires, in seconds since 1970; it is replaced by `marram \
     admin ca rotate` only. All processes say the same",
);
/// The certificate of the API.
pub const API_CERTIFICATE: Family = family(
    "marram_api_certificate_not_after_seconds",
    (Kind::Gauge, Unit::Seconds),
    &[],
    From::WithTls,
    "When the certificate that this process shows applications expires, in seconds since 1970",
);

pub(super) const MESH: &[&Family] = &[
    &MESH_PEER_ANSWERS,
    &MESH_PING,
    &MESH_CLOCK_AHEAD,
    &MESH_PEER_LAPSES,
    &MESH_REQUESTS,
    &MESH_REQUEST_DURATION,
    &MESH_RECEIVED,
    &MESH_SENT,
    &MESH_CONNECTIONS,
    &MESH_HANDSHAKES_FAILED,
    &MESH_CERTIFICATE,
    &MESH_AUTHORITY,
    &API_CERTIFICATE,
];
