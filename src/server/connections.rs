//! Accepts connections and speaks HTTP/2 on them.
//!
//! Not tonic's own loop: that one puts a timeout of its own around every layer, answers CANCELLED from there when the
//! client's deadline passes, and waits for ever for connections that do not end.

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
use crate::server::layers::Layers;

/// What one call may send before its handler reads: a quarter of the largest request, so that few round trips are needed.
const STREAM_WINDOW_BYTES: u32 = 1024 * 1024;
/// What all calls of a connection may: it bounds what a connection can make the server hold.
const CONNECTION_WINDOW_BYTES: u32 = 4 * 1024 * 1024;
/// After so much silence the peer is asked whether it is still there.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(30);
/// How long it may take to say so.
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(20);
/// How long a new connection may say nothing at all.
const FIRST_BYTE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long to wait when the system has no descriptor for another connection.
const ACCEPT_RETRY: Duration = Duration::from_millis(50);

/// What every connection shares.
pub(super) struct Connections {
    pub(super) layers: Arc<Layers>,
    pub(super) connections_max: usize,
    pub(super) streams_max: u32,
    /// No new connections, no new calls.
    pub(super) closing: CancellationToken,
    /// No connections any more.
    pub(super) cut: CancellationToken,
    /// Connections and their calls.
    pub(super) tasks: TaskTracker,
}

/// Runs the calls of a connection as tasks that the drain waits for.
#[derive(Clone)]
struct Tracked(TaskTracker);

impl<F> hyper::rt::Executor<F> for Tracked
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    fn execute(&self, call: F) {
        self.0.spawn(call);
    }
}

impl Connections {
    /// Accepts until `closing`.
    pub(super) async fn accept(self, listener: TcpListener) {
        let places = Arc::new(Semaphore::new(self.connections_max));
        let http2 = self.http2();
        loop {
            let next = async {
                let place = Arc::clone(&places).acquire_owned().await.ok();
                (place, listener.accept().await)
            };
            let (place, accepted) = tokio::select! {
                biased;
                () = self.closing.cancelled() => return,
                () = self.cut.cancelled() => return,
                accepted = next => accepted,
            };
            match accepted {
                Ok((stream, peer)) => self.spawn(http2.clone(), stream, peer, place),
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_RETRY).await;
                }
            }
        }
    }

    fn http2(&self) -> http2::Builder<Tracked> {
        let mut http2 = http2::Builder::new(Tracked(self.tasks.clone()));
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
        http2: http2::Builder<Tracked>,
        stream: TcpStream,
        peer: SocketAddr,
        place: Option<OwnedSemaphorePermit>,
    ) {
        let layers = Arc::clone(&self.layers);
        let (closing, cut) = (self.closing.clone(), self.cut.clone());
        self.tasks.spawn(async move {
            let _place = place;
            if let Err(error) = run(http2, layers, stream, peer, closing, cut).await {
                tracing::debug!(%peer, %error, "a connection failed");
            }
        });
    }
}

async fn run(
    http2: http2::Builder<Tracked>,
    layers: Arc<Layers>,
    stream: TcpStream,
    peer: SocketAddr,
    closing: CancellationToken,
    cut: CancellationToken,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    // Answers are small: none waits for the acknowledgement of the one before.
    stream.set_nodelay(true)?;
    // Before the first byte hyper would neither close the connection on a drain nor ever give it up.
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
    let service = service_fn(move |request: http::Request<Incoming>| {
        let layers = Arc::clone(&layers);
        async move { Ok::<_, Infallible>(layers.answer(request.map(Body::new), peer).await) }
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
