//! Accepts connections, up to a limit for all and one for each peer.
//!
//! tonic's own accept loop is not used because it wraps all layers into a timeout of its own, which answers CANCELLED
//! when the client's deadline passes, and because its shutdown waits without a limit for connections that do not end.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use hyper::body::Incoming;
use hyper::service::service_fn;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::limits::ACCEPT_RETRY;
use crate::metrics::connections::{self, ConnectionRefusal};
use crate::server::connection::{ConnectionError, ConnectionServer};
use crate::server::layers::Layers;
use crate::server::log_rate::LogRate;
use crate::server::peer::Peer;
use crate::server::shares::{Share, Shares};
use crate::types::principal::Principal;

/// Accepts connections; its fields are shared by all of them.
pub(super) struct Acceptor {
    pub(super) layers: Arc<Layers>,
    pub(super) connections_max: usize,
    pub(super) connections_per_peer_max: usize,
    pub(super) connections: ConnectionServer,
}

/// What all connections share, and the state of the accept loop.
struct Accepting {
    layers: Arc<Layers>,
    connections: ConnectionServer,
    connections_max: usize,
    connections_per_peer_max: usize,
    permits: Arc<Semaphore>,
    /// The connections by peer.
    peers: Arc<Shares>,
    warnings: ConnectionWarnings,
}

/// One line a second of each kind: clients can cause them as often as they like.
struct ConnectionWarnings {
    of_failed_accepts: LogRate,
    of_full_peers: LogRate,
    of_full_server: LogRate,
    of_late_prefaces: LogRate,
}

/// Counts as one open connection, of the server and of its peer, until it is dropped.
struct ConnectionSlot {
    // First, as fields are dropped: whoever gets the other one finds this one free.
    _of_peer: Share,
    _of_all: OwnedSemaphorePermit,
}

impl Acceptor {
    /// Accepts connections until `closing` or `cut` is cancelled.
    pub(super) async fn run(self, listener: TcpListener) {
        let accepting = Arc::new(Accepting {
            permits: Arc::new(Semaphore::new(self.connections_max)),
            peers: Shares::with_chosen_max(self.connections_max, self.connections_per_peer_max),
            warnings: ConnectionWarnings {
                of_failed_accepts: LogRate::new(1),
                of_full_peers: LogRate::new(1),
                of_full_server: LogRate::new(1),
                of_late_prefaces: LogRate::new(1),
            },
            layers: self.layers,
            connections: self.connections,
            connections_max: self.connections_max,
            connections_per_peer_max: self.connections_per_peer_max,
        });
        connections::watch(&accepting, accepting.connections_max, Accepting::open);
        let (closing, cut) = (
            accepting.connections.closing.clone(),
            accepting.connections.cut.clone(),
        );
        tokio::select! {
            biased;
            () = closing.cancelled() => {}
            () = cut.cancelled() => {}
            () = accepting.accept_all(listener) => {}
        }
    }
}

impl Accepting {
    /// How many connections are open.
    fn open(&self) -> usize {
        let free = self.permits.available_permits();
        self.connections_max.saturating_sub(free)
    }

    async fn accept_all(self: Arc<Self>, listener: TcpListener) {
        loop {
            match listener.accept().await {
                Ok((stream, peer)) => {
                    // Without a slot the stream is dropped, which closes the connection.
                    if let Some(slot) = self.slot(peer).await {
                        Arc::clone(&self).spawn(stream, peer, slot);
                    }
                }
                Err(error) => self.pause_after(&error).await,
            }
        }
    }

    /// A slot for a connection of this peer; `None` if the peer has its share of them.
    ///
    /// While the server has no slot for anybody, this waits, and further connections wait in the backlog of the
    /// listening socket. Closing them instead would turn a short peak into errors; and clients that connect again at
    /// once would cost more than those that wait.
    async fn slot(&self, peer: SocketAddr) -> Option<ConnectionSlot> {
        let permits = || Arc::clone(&self.permits);
        let of_all = match permits().try_acquire_owned() {
            Ok(permit) => permit,
            Err(_) => {
                let warnings = &self.warnings.of_full_server;
                if warnings.admit() {
                    tracing::warn!(
                        peer = %peer.ip(),
                        connections_max = self.connections_max,
                        suppressed = warnings.take_suppressed(),
                        "a connection waits: the server has as many as --connections-max allows"
                    );
                }
                permits().acquire_owned().await.ok()?
            }
        };
        let Some(of_peer) = self.peers.take(Principal::of_peer(peer.ip()), 1) else {
            connections::refused(ConnectionRefusal::PeerShare);
            let warnings = &self.warnings.of_full_peers;
            if warnings.admit() {
                tracing::warn!(
                    peer = %peer.ip(),
                    connections_per_peer_max = self.connections_per_peer_max,
                    suppressed = warnings.take_suppressed(),
                    "a connection was closed: its peer has its share of the connections"
                );
            }
            return None;
        };
        Some(ConnectionSlot {
            _of_all: of_all,
            _of_peer: of_peer,
        })
    }

    async fn pause_after(&self, error: &io::Error) {
        connections::refused(ConnectionRefusal::Accept);
        let warnings = &self.warnings.of_failed_accepts;
        if warnings.admit() {
            let suppressed = warnings.take_suppressed();
            tracing::warn!(%error, suppressed, "cannot accept a connection");
        }
        tokio::time::sleep(ACCEPT_RETRY).await;
    }

    fn spawn(self: Arc<Self>, stream: TcpStream, peer: SocketAddr, slot: ConnectionSlot) {
        connections::accepted();
        self.connections.tasks.clone().spawn(async move {
            let _slot = slot;
            match self.serve(stream, peer).await {
                Ok(()) => {}
                Err(ConnectionError::PrefaceTimeout(limit)) => {
                    connections::refused(ConnectionRefusal::Preface);
                    let warnings = &self.warnings.of_late_prefaces;
                    if warnings.admit() {
                        tracing::warn!(
                            peer = %peer.ip(),
                            ?limit,
                            suppressed = warnings.take_suppressed(),
                            "a connection was closed: it did not begin HTTP/2 in time"
                        );
                    }
                }
                Err(error) => {
                    tracing::debug!(%peer, %error, "a connection ended with an error");
                }
            }
        });
    }

    async fn serve(&self, stream: TcpStream, peer: SocketAddr) -> Result<(), ConnectionError> {
        // Responses are small; Nagle's algorithm would delay each until the one before is acknowledged.
        stream.set_nodelay(true)?;
        let peer = Arc::new(Peer::new(peer));
        let service = service_fn(move |request: http::Request<Incoming>| {
            let (layers, peer) = (Arc::clone(&self.layers), Arc::clone(&peer));
            async move { Ok::<_, Infallible>(layers.handle(request, &peer).await) }
        });
        self.connections.serve(stream, service).await
    }
}
