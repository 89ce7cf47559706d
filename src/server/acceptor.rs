//! Accepts connections and serves HTTP/2 on them.
//!
//! tonic's own accept loop is not used because it wraps all layers into a timeout of its own, which answers CANCELLED
//! when the client's deadline passes, and because its shutdown waits without a limit for connections that do not end.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::body::Body;

use crate::limits::METADATA_BYTES_MAX;
use crate::server::call_task;
use crate::server::layers::Layers;
use crate::server::peer::Peer;

/// Flow-control window of one call: what its client may send before the handler reads. A quarter of the largest
/// request, so that a large request needs few round trips.
const STREAM_WINDOW_BYTES: u32 = 1024 * 1024;
/// Flow-control window of a connection, which bounds the unread bytes that it can make the server buffer.
const CONNECTION_WINDOW_BYTES: u32 = 4 * 1024 * 1024;
/// After this time without any frame the server sends a PING.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(30);
/// A connection whose PING is not acknowledged within this time is closed.
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(20);
/// A new connection that sends no byte within this time is closed.
const FIRST_BYTE_TIMEOUT: Duration = Duration::from_secs(10);
/// Pause after a failed `accept`, for example when the process has run out of file descriptors.
const ACCEPT_RETRY: Duration = Duration::from_millis(50);

/// Accepts connections up to a limit; its fields are shared by all of them.
pub(super) struct Acceptor {
    pub(super) layers: Arc<Layers>,
    pub(super) connections_max: usize,
    pub(super) streams_max: u32,
    /// Cancelled at the end of the lame duck's time: connections get GOAWAY, new ones are not accepted.
    pub(super) closing: CancellationToken,
    /// Cancelled when the drain's time is over: every connection is closed at once.
    pub(super) cut: CancellationToken,
    /// One task per connection and one per call; the drain waits for all of them.
    pub(super) tasks: TaskTracker,
}

/// Spawns hyper's tasks, the calls of a connection, into the tracker that the drain waits for.
#[derive(Clone)]
struct TrackedExecutor(TaskTracker);

impl<F> hyper::rt::Executor<F> for TrackedExecutor
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    fn execute(&self, call: F) {
        self.0.spawn(call_task::run(call));
    }
}

impl Acceptor {
    /// Accepts connections until `closing` or `cut` is cancelled.
    pub(super) async fn run(self, listener: TcpListener) {
        let permits = Arc::new(Semaphore::new(self.connections_max));
        let http2 = self.http2();
        loop {
            let next = async {
                let permit = Arc::clone(&permits).acquire_owned().await.ok();
                (permit, listener.accept().await)
            };
            let (permit, accepted) = tokio::select! {
                biased;
                () = self.closing.cancelled() => return,
                () = self.cut.cancelled() => return,
                accepted = next => accepted,
            };
            match accepted {
                Ok((stream, peer)) => self.spawn(http2.clone(), stream, peer, permit),
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_RETRY).await;
                }
            }
        }
    }

    fn http2(&self) -> http2::Builder<TrackedExecutor> {
        let mut http2 = http2::Builder::new(TrackedExecutor(self.tasks.clone()));
        http2
            .timer(TokioTimer::new())
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .max_concurrent_streams(self.streams_max)
            .max_header_list_size(METADATA_BYTES_MAX)
            .keep_alive_interval(KEEPALIVE_INTERVAL)
            .keep_alive_timeout(KEEPALIVE_TIMEOUT)
            .auto_date_header(false);
        http2
    }

    fn spawn(
        &self,
        http2: http2::Builder<TrackedExecutor>,
        stream: TcpStream,
        peer: SocketAddr,
        permit: Option<OwnedSemaphorePermit>,
    ) {
        let layers = Arc::clone(&self.layers);
        let (closing, cut) = (self.closing.clone(), self.cut.clone());
        self.tasks.spawn(async move {
            let _permit = permit;
            if let Err(error) = serve_connection(http2, layers, stream, peer, closing, cut).await {
                tracing::debug!(%peer, %error, "a connection ended with an error");
            }
        });
    }
}

async fn serve_connection(
    http2: http2::Builder<TrackedExecutor>,
    layers: Arc<Layers>,
    stream: TcpStream,
    peer: SocketAddr,
    closing: CancellationToken,
    cut: CancellationToken,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    // Responses are small; Nagle's algorithm would delay each until the one before is acknowledged.
    stream.set_nodelay(true)?;
    // Until the first byte has arrived hyper has no timeout, and ignores a graceful shutdown.
    let mut first_byte = [0];
    tokio::select! {
        first = tokio::time::timeout(FIRST_BYTE_TIMEOUT, stream.peek(&mut first_byte)) => {
            let bytes = first.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
            if bytes == 0 {
                return Ok(());
            }
        }
        () = closing.cancelled() => return Ok(()),
        () = cut.cancelled() => return Ok(()),
    }
    let peer = Peer::new(peer);
    let service = service_fn(move |request: http::Request<Incoming>| {
        let (layers, peer) = (Arc::clone(&layers), peer.clone());
        async move { Ok::<_, Infallible>(layers.handle(request.map(Body::new), &peer).await) }
    });
    let mut connection = pin!(http2.serve_connection(TokioIo::new(stream), service));
    tokio::select! {
        ended = &mut connection => return Ok(ended?),
        () = closing.cancelled() => connection.as_mut().graceful_shutdown(),
        () = cut.cancelled() => return Ok(()),
    }
    tokio::select! {
        ended = &mut connection => Ok(ended?),
        () = cut.cancelled() => Ok(()),
    }
}
