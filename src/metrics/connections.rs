//! Connections of clients.

use std::sync::{Arc, LazyLock};

use opentelemetry::metrics::BoundCounter;

use crate::metrics::instrument::{MetricDescription, bound, described};

/// Why a connection was closed, or not accepted, before its first call.
#[derive(Clone, Copy, Debug)]
pub(crate) enum ConnectionRefusal {
    /// Its peer has its share of the connections.
    PeerShare,
    /// It did not begin HTTP/2 in time.
    Preface,
    /// The handshake of TLS failed, or did not end in time.
    Tls,
    /// The operating system gave none, mostly for lack of file descriptors.
    Accept,
}

impl ConnectionRefusal {
    const ALL: [Self; 4] = [Self::PeerShare, Self::Preface, Self::Tls, Self::Accept];

    const fn label(self) -> &'static str {
        match self {
            Self::PeerShare => "peer_share",
            Self::Preface => "preface",
            Self::Tls => "tls",
            Self::Accept => "accept",
        }
    }
}

struct ConnectionCounters {
    accepted: BoundCounter<u64>,
    refused: [BoundCounter<u64>; ConnectionRefusal::ALL.len()],
}

const OPEN: MetricDescription = described(
    "earmark.connections.open",
    "{connection}",
    "Open connections of clients.",
);
const LIMIT: MetricDescription = described(
    "earmark.connections.limit",
    "{connection}",
    "The setting --connections-max.",
);

static COUNTERS: LazyLock<ConnectionCounters> = LazyLock::new(|| {
    let accepted = described(
        "earmark.connections.accepted",
        "{connection}",
        "Connections of clients that were accepted.",
    );
    let refused = described(
        "earmark.connections.refused",
        "{connection}",
        "Connections that were closed before their first call, by reason.",
    )
    .counter();
    ConnectionCounters {
        accepted: bound(&accepted.counter(), &[]),
        refused: ConnectionRefusal::ALL.map(|why| bound(&refused, &[("reason", why.label())])),
    }
});

/// Counts a connection that is served.
pub(crate) fn accepted() {
    COUNTERS.accepted.add(1);
}

/// Counts a connection that is not.
pub(crate) fn refused(why: ConnectionRefusal) {
    COUNTERS.refused[why as usize].add(1);
}

/// Serves how many connections are open.
pub(crate) fn watch<T: Send + Sync + 'static>(
    acceptor: &Arc<T>,
    limit: usize,
    open: fn(&T) -> usize,
) {
    LazyLock::force(&COUNTERS);
    OPEN.read_of(&[], acceptor, move |acceptor| open(acceptor) as f64);
    LIMIT.read_of(&[], acceptor, move |_| limit as f64);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_refusal_has_the_counter_at_its_number() {
        for (place, why) in ConnectionRefusal::ALL.into_iter().enumerate() {
            assert_eq!(why as usize, place, "{why:?}");
        }
    }
}
