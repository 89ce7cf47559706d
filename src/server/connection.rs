//! Serves HTTP/2 on one connection, from its preface to its end.

use std::convert::Infallible;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::Service;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::body::Body;

use crate::limits::{
    CONNECTION_AGE_JITTER_PERCENT, CONNECTION_CALLS_GRACE, CONNECTION_WINDOW_BYTES,
    HEADER_TABLE_BYTES, KEEPALIVE_INTERVAL, KEEPALIVE_TIMEOUT, METADATA_BYTES_MAX,
    STREAM_ERRORS_MAX, STREAM_RESETS_WAITING_MAX, STREAM_SEND_BUFFER_BYTES, STREAM_WINDOW_BYTES,
};
use crate::server::calls_in_progress::CallsInProgress;
use crate::server::connection_io::{ConnectionIo, read_preface};

/// Limits and times of one connection: see `ServerSettings` in the parent module.
#[derive(Clone, Debug)]
pub(super) struct ConnectionLimits {
    pub(super) streams_max: u32,
    pub(super) preface_max: Duration,
    pub(super) age_max: Duration,
    pub(super) idle_max: Duration,
    pub(super) goaway_grace: Duration,
}

/// Serves connections; what all of them share.
pub(super) struct ConnectionServer {
    pub(super) limits: ConnectionLimits,
    /// Cancelled at the end of the lame duck's time: connections get GOAWAY.
    pub(super) closing: CancellationToken,
    /// Cancelled when the drain's time is over: every connection is closed at once.
    pub(super) cut: CancellationToken,
    /// One task for each call is spawned here; the drain waits for all of them.
    pub(super) tasks: TaskTracker,
}

/// Why a connection ended before it was closed in order.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConnectionError {
    /// The preface has not arrived in time.
    #[error("the preface of HTTP/2 did not arrive within {0:?}")]
    PrefaceTimeout(Duration),
    /// The client has closed the connection before its preface was complete, or speaks another protocol.
    #[error("HTTP/2 could not begin: {0}")]
    NotBegun(#[from] io::Error),
    /// HTTP/2 has failed: by an error of the client, or because the client is gone.
    #[error(transparent)]
    Http2(#[from] hyper::Error),
}

/// Spawns hyper's tasks, the calls of one connection, into the tracker that the drain waits for, and counts them.
#[derive(Clone)]
struct CallExecutor {
    tasks: TaskTracker,
    calls: Arc<CallsInProgress>,
}

impl<F> hyper::rt::Executor<F> for CallExecutor
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    fn execute(&self, call: F) {
        let in_progress = self.calls.begin();
        self.tasks.spawn(async move {
            call.await;
            drop(in_progress);
        });
    }
}

impl ConnectionServer {
    /// Serves a connection until it ends. The service must answer everything: errors are statuses.
    ///
    /// The steps of a connection:
    /// 1. The preface must arrive within `preface_max`. hyper has no time limit for it, and until it is there ignores a
    ///    graceful shutdown.
    /// 2. Calls are served until the connection is as old as `age_max`, has been without a call for `idle_max`, or
    ///    `closing` is cancelled.
    /// 3. GOAWAY: the client opens another connection for further calls. This one ends with its last call. A client
    ///    that does not acknowledge the GOAWAY does not delay the end by more than `goaway_grace`.
    ///
    /// # Errors
    /// The client has broken the protocol, or is gone. It is worth a line in the log at level debug.
    pub(super) async fn serve<S, V>(&self, mut stream: S, service: V) -> Result<(), ConnectionError>
    where
        S: AsyncRead + AsyncWrite + Unpin,
        V: Service<Request<Incoming>, Response = Response<Body>, Error = Infallible>,
        V::Future: Send + 'static,
    {
        let limits = &self.limits;
        tokio::select! {
            read = timeout(limits.preface_max, read_preface(&mut stream)) => {
                read.map_err(|_| ConnectionError::PrefaceTimeout(limits.preface_max))??;
            }
            () = self.closing.cancelled() => return Ok(()),
            () = self.cut.cancelled() => return Ok(()),
        }
        let calls = Arc::new(CallsInProgress::new());
        let io = TokioIo::new(ConnectionIo::after_preface(stream, Arc::clone(&calls)));
        let mut connection = pin!(self.http2(&calls).serve_connection(io, service));
        tokio::select! {
            ended = &mut connection => return Ok(ended?),
            () = self.closing.cancelled() => {}
            () = self.cut.cancelled() => return Ok(()),
            () = sleep(jittered(limits.age_max, fastrand::f64())) => {}
            () = calls.idle_for(limits.idle_max) => {}
        }
        connection.as_mut().graceful_shutdown();
        tokio::select! {
            ended = &mut connection => Ok(ended?),
            () = self.cut.cancelled() => Ok(()),
            () = calls.idle_for(limits.goaway_grace) => Ok(()),
            () = sleep(CONNECTION_CALLS_GRACE) => Ok(()),
        }
    }

    fn http2(&self, calls: &Arc<CallsInProgress>) -> http2::Builder<CallExecutor> {
        let mut http2 = http2::Builder::new(CallExecutor {
            tasks: self.tasks.clone(),
            calls: Arc::clone(calls),
        });
        http2
            .timer(TokioTimer::new())
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .max_send_buf_size(STREAM_SEND_BUFFER_BYTES)
            .max_concurrent_streams(self.limits.streams_max)
            .max_pending_accept_reset_streams(STREAM_RESETS_WAITING_MAX)
            .max_local_error_reset_streams(STREAM_ERRORS_MAX)
            .max_header_list_size(METADATA_BYTES_MAX)
            .header_table_size(HEADER_TABLE_BYTES)
            .keep_alive_interval(KEEPALIVE_INTERVAL)
            .keep_alive_timeout(KEEPALIVE_TIMEOUT)
            .auto_date_header(false);
        http2
    }
}

/// The age at which a connection gets GOAWAY. `random` is from 0 to 1: the connections that were opened together, such
/// as those that another server has closed, are not closed together.
fn jittered(age_max: Duration, random: f64) -> Duration {
    let jitter = f64::from(CONNECTION_AGE_JITTER_PERCENT) / 100.0;
    age_max.mul_f64(1.0 - jitter + 2.0 * jitter * random)
}
