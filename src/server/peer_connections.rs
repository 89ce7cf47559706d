//! Counts the open connections of each peer, so that one of them cannot take all.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::types::principal::Principal;

/// The open connections by peer. It holds only peers that have one, so its size is limited by the connections' number.
#[derive(Debug)]
pub(super) struct PeerConnections {
    max: usize,
    open: Mutex<HashMap<Principal, usize>>,
}

/// Counts as one open connection of its peer until it is dropped.
#[derive(Debug)]
pub(super) struct PeerConnection {
    peer: Principal,
    connections: Arc<PeerConnections>,
}

impl PeerConnections {
    /// At most `max` connections at the same time for each peer.
    pub(super) fn new(max: usize) -> Self {
        Self {
            max,
            open: Mutex::default(),
        }
    }

    /// Counts a connection of this address; `None` if its peer has as many as it may.
    pub(super) fn admit(self: &Arc<Self>, address: IpAddr) -> Option<PeerConnection> {
        let peer = Principal::of_peer(address);
        let mut open = self.lock();
        let count = open.entry(peer).or_default();
        if *count >= self.max {
            return None;
        }
        *count += 1;
        drop(open);
        Some(PeerConnection {
            peer,
            connections: Arc::clone(self),
        })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Principal, usize>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for PeerConnection {
    fn drop(&mut self) {
        let mut open = self.connections.lock();
        if let Some(count) = open.get_mut(&self.peer) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.peer);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_peer_has_a_share_of_its_own_and_gets_it_back() {
        let connections = Arc::new(PeerConnections::new(2));
        let admit = |text: &str| connections.admit(text.parse().expect("an address"));
        let first = admit("10.0.0.1").expect("the first");
        let second = admit("::ffff:10.0.0.1").expect("the second");
        assert!(admit("10.0.0.1").is_none(), "the same host");
        let other = admit("10.0.0.2").expect("another host");
        drop(first);
        let third = admit("10.0.0.1").expect("one was closed");
        assert!(admit("10.0.0.1").is_none());

        drop((second, other, third));
        assert!(connections.lock().is_empty(), "nothing is kept of a peer");
    }

    #[test]
    fn all_addresses_of_an_ipv6_network_share() {
        let connections = Arc::new(PeerConnections::new(1));
        let admit = |text: &str| connections.admit(text.parse().expect("an address"));
        let _first = admit("2001:db8::1").expect("the first");
        assert!(admit("2001:db8::2").is_none());
        assert!(admit("2001:db8:0:1::1").is_some(), "another network");
    }
}
