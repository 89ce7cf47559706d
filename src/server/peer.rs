//! The peer of a connection, and what it may have open on that connection without a token.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::error::{Error, Result};
use crate::limits::{CONNECTION_REFLECTIONS_MAX, CONNECTION_WATCHES_MAX};
use crate::metrics::overload::{self, SharedBound};
use crate::types::principal::Principal;

/// One connection, as its calls see it.
#[derive(Debug)]
pub(super) struct Peer {
    pub(super) address: SocketAddr,
    /// Whom the certificate names that it has presented; `None` without one, or without TLS.
    pub(super) identity: Option<Arc<str>>,
    watches: StreamCounter,
    reflections: StreamCounter,
}

impl Peer {
    /// The peer of a new connection.
    pub(super) fn new(address: SocketAddr, identity: Option<Arc<str>>) -> Self {
        Self {
            address,
            identity,
            watches: StreamCounter::new(CONNECTION_WATCHES_MAX),
            reflections: StreamCounter::new(CONNECTION_REFLECTIONS_MAX),
        }
    }

    /// In whose name calls run until their request is known.
    pub(super) fn principal(&self) -> Principal {
        Principal::of_peer(self.address.ip())
    }

    /// Counts a health watch of this connection; `Overloaded` if it has too many.
    pub(super) fn begin_watch(&self) -> Result<CountedStream> {
        self.watches.begin()
    }

    /// Counts a reflection call of this connection; `Overloaded` if it has too many.
    pub(super) fn begin_reflection(&self) -> Result<CountedStream> {
        self.reflections.begin()
    }
}

/// Counts streams of one kind on one connection.
#[derive(Debug)]
struct StreamCounter {
    open: Arc<AtomicUsize>,
    max: usize,
}

impl StreamCounter {
    fn new(max: usize) -> Self {
        Self {
            open: Arc::default(),
            max,
        }
    }

    fn begin(&self) -> Result<CountedStream> {
        let counted = CountedStream(Arc::clone(&self.open));
        // On refusal the drop of `counted` takes it off again.
        if self.open.fetch_add(1, Ordering::Relaxed) < self.max {
            Ok(counted)
        } else {
            overload::refused(SharedBound::ConnectionStreams);
            Err(Error::Overloaded)
        }
    }
}

/// A stream that is counted until this is dropped.
#[derive(Debug)]
pub(super) struct CountedStream(Arc<AtomicUsize>);

impl Drop for CountedStream {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_has_a_limited_number_of_watches() {
        let peer = Peer::new(SocketAddr::from(([127, 0, 0, 1], 1)), None);
        let mut open: Vec<_> = (0..CONNECTION_WATCHES_MAX)
            .map(|_| peer.begin_watch().expect("within the limit"))
            .collect();
        for _ in 0..3 {
            assert_eq!(peer.begin_watch().err(), Some(Error::Overloaded));
        }
        assert!(peer.begin_reflection().is_ok(), "counted apart");
        open.pop();
        assert!(peer.begin_watch().is_ok());
    }
}
