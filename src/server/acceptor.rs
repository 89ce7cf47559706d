//! Accepts connections, up to a limit for all and one for each peer.
//!
//! tonic's own accept loop is not used because it wraps all layers into a timeout of its own, which answers CANCELLED
//! when the client's deadline passes, and because its shutdown waits without a limit for connections that do not end.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::service::{Service, service_fn};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::body::Body;

use crate::limits::ACCEPT_RETRY;
use crate::metrics::connections::{self, ConnectionRefusal};
use crate::server::connection::{ConnectionError, ConnectionServer};
use crate::server::layers::Layers;
use crate::server::log_rate::LogRate;
use crate::server::peer::Peer;
use crate::server::settings::ServerSettings;
use crate::server::shares::{Share, Shares};
use crate::server::tls::{HandshakeFailure, ServerTls};
use crate::types::principal::Principal;

/// Accepts the connections of one port.
pub(super) struct Acceptor(Accepting);

/// Which of a server's ports an acceptor is for: logs call its limits by their names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ServedPort {
    /// All services, with limits that settings give.
    Calls,
    /// Health alone, with limits of its own.
    Health,
}

/// What all connections share, and the state of the accept loop.
struct Accepting {
    layers: Arc<Layers>,
    /// Without it, connections are not encrypted.
    tls: Option<ServerTls>,
    port: ServedPort,
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
    of_failed_handshakes: LogRate,
    of_other_protocols: LogRate,
}

/// Counts as one open connection, of the server and of its peer, until it is dropped.
struct ConnectionSlot {
    // First, as fields are dropped: whoever gets the other one finds this one free.
    _of_peer: Share,
    _of_all: OwnedSemaphorePermit,
}

impl Acceptor {
    /// An acceptor without TLS, with the settings' limits of connections. Connections get GOAWAY when the layers' `closing`
    /// is cancelled, and are closed when `cut` is; the tasks of all of them are among `tasks`.
    pub(super) fn new(
        port: ServedPort,
        layers: Layers,
        settings: &ServerSettings,
        cut: &CancellationToken,
        tasks: &TaskTracker,
    ) -> Self {
        let connections_max = settings.connections_max;
        let connections_per_peer_max = settings.connections_per_peer_max;
        Self(Accepting {
            permits: Arc::new(Semaphore::new(connections_max)),
            peers: Shares::with_chosen_max(connections_max, connections_per_peer_max),
            warnings: ConnectionWarnings {
                of_failed_accepts: LogRate::new(1),
                of_full_peers: LogRate::new(1),
                of_full_server: LogRate::new(1),
                of_late_prefaces: LogRate::new(1),
                of_failed_handshakes: LogRate::new(1),
                of_other_protocols: LogRate::new(1),
            },
            connections: ConnectionServer {
                limits: settings.of_connections(),
                closing: layers.closing.clone(),
                cut: cut.clone(),
                tasks: tasks.clone(),
            },
            layers: Arc::new(layers),
            tls: None,
            port,
            connections_max,
            connections_per_peer_max,
        })
    }

    /// The same with TLS, if there is any.
    pub(super) fn with_tls(self, tls: Option<ServerTls>) -> Self {
        Self(Accepting { tls, ..self.0 })
    }

    /// Accepts connections until `closing` or `cut` is cancelled.
    pub(super) async fn run(self, listener: TcpListener) {
        let accepting = Arc::new(self.0);
        if accepting.is_counted() {
            connections::watch(&accepting, accepting.connections_max, Accepting::open);
        }
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
                        "a connection waits: {}",
                        match self.port {
                            ServedPort::Calls => "the server has as many as --connections-max allows",
                            ServedPort::Health => "the port of --health-listen has as many as it may have",
                        }
                    );
                }
                permits().acquire_owned().await.ok()?
            }
        };
        let Some(of_peer) = self.peers.take(Principal::of_peer(peer.ip()), 1) else {
            self.count_refused(ConnectionRefusal::PeerShare);
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

    /// Whether metrics count the connections of this port.
    fn is_counted(&self) -> bool {
        self.port == ServedPort::Calls
    }

    fn count_refused(&self, why: ConnectionRefusal) {
        if self.is_counted() {
            connections::refused(why);
        }
    }

    async fn pause_after(&self, error: &io::Error) {
        self.count_refused(ConnectionRefusal::Accept);
        let warnings = &self.warnings.of_failed_accepts;
        if warnings.admit() {
            let suppressed = warnings.take_suppressed();
            tracing::warn!(%error, suppressed, "cannot accept a connection");
        }
        tokio::time::sleep(ACCEPT_RETRY).await;
    }

    fn spawn(self: Arc<Self>, stream: TcpStream, peer: SocketAddr, slot: ConnectionSlot) {
        if self.is_counted() {
            connections::accepted();
        }
        self.connections.tasks.clone().spawn(async move {
            let _slot = slot;
            if let Err(error) = self.serve(stream, peer).await {
                self.report(&error, peer);
            }
        });
    }

    /// A warning of what an operator or the client's owner can mend; other errors are a line at level debug.
    fn report(&self, error: &ConnectionError, peer: SocketAddr) {
        if let Some(why) = refusal_of(error) {
            self.count_refused(why);
        }
        let warnings = &self.warnings;
        // A macro, because tracing needs the text at compile time.
        macro_rules! warn {
            ($rate:expr, $text:literal) => {
                if $rate.admit() {
                    let suppressed = $rate.take_suppressed();
                    tracing::warn!(peer = %peer.ip(), %error, suppressed, $text);
                }
            };
        }
        match error {
            ConnectionError::PrefaceTimeout(_) => warn!(
                warnings.of_late_prefaces,
                "a connection was closed: it did not begin HTTP/2 in time"
            ),
            ConnectionError::HandshakeTimeout(_)
            | ConnectionError::Handshake(HandshakeFailure::Refused(_)) => warn!(
                warnings.of_failed_handshakes,
                "a connection was closed: the handshake of TLS has failed"
            ),
            ConnectionError::NotBegun(cause) if cause.kind() == io::ErrorKind::InvalidData => {
                warn!(
                    warnings.of_other_protocols,
                    "a connection was closed: it begins with another protocol"
                )
            }
            _ => tracing::debug!(%peer, %error, "a connection ended with an error"),
        }
    }

    async fn serve(&self, stream: TcpStream, peer: SocketAddr) -> Result<(), ConnectionError> {
        // Responses are small; Nagle's algorithm would delay each until the one before is acknowledged.
        stream.set_nodelay(true)?;
        let Some(tls) = &self.tls else {
            let service = self.service(Peer::new(peer, None));
            return self.connections.serve(stream, service).await;
        };
        // On the heap, so that connections without TLS need no room for its state.
        Box::pin(async {
            let Some(client) = self.connections.handshake(tls.config(), stream).await? else {
                return Ok(());
            };
            let service = self.service(Peer::new(peer, client.identity));
            self.connections.serve(client.stream, service).await
        })
        .await
    }

    /// What handles the calls of one connection.
    fn service(
        &self,
        peer: Peer,
    ) -> impl Service<
        Request<Incoming>,
        Response = Response<Body>,
        Error = Infallible,
        Future = impl Future<Output = Result<Response<Body>, Infallible>> + Send + 'static,
    > {
        let peer = Arc::new(peer);
        service_fn(move |request: Request<Incoming>| {
            let (layers, peer) = (Arc::clone(&self.layers), Arc::clone(&peer));
            async move { Ok::<_, Infallible>(layers.handle(request, &peer).await) }
        })
    }
}

/// What metrics call an error that ended a connection before its first call.
fn refusal_of(error: &ConnectionError) -> Option<ConnectionRefusal> {
    match error {
        ConnectionError::PrefaceTimeout(_) => Some(ConnectionRefusal::Preface),
        ConnectionError::HandshakeTimeout(_)
        | ConnectionError::Handshake(HandshakeFailure::Refused(_)) => Some(ConnectionRefusal::Tls),
        _ => None,
    }
}
