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
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::body::Body;

use crate::limits::{
    CONNECTION_AGE_JITTER_PERCENT, CONNECTION_CALLS_GRACE, CONNECTION_WINDOW_BYTES,
    HEADER_TABLE_BYTES, KEEPALIVE_INTERVAL, KEEPALIVE_TIMEOUT, METADATA_BYTES_MAX,
    STREAM_ERRORS_MAX, STREAM_RESETS_WAITING_MAX, STREAM_SEND_BUFFER_BYTES, STREAM_WINDOW_BYTES,
};
use crate::server::call_task;
use crate::server::calls_in_progress::CallsInProgress;
use crate::server::connection_io::{ConnectionIo, read_preface};
use crate::server::tls::{self, HandshakeFailure, TlsClient};

/// Limits and times of one connection: see `ServerSettings` in the parent module.
#[derive(Clone, Debug)]
pub(super) struct ConnectionLimits {
    pub(super) streams_max: u32,
    pub(super) handshake_max: Duration,
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
    /// The handshake of TLS has not ended in time.
    #[error("the handshake of TLS did not end within {0:?}")]
    HandshakeTimeout(Duration),
    /// The handshake of TLS has failed.
    #[error(transparent)]
    Handshake(#[from] HandshakeFailure),
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
            call_task::run(call).await;
            drop(in_progress);
        });
    }
}

impl ConnectionServer {
    /// Makes the handshake of TLS within `handshake_max`; `None` if the server shuts down meanwhile.
    ///
    /// # Errors
    /// The handshake has failed, or takes too long.
    pub(super) async fn handshake(
        &self,
        config: Arc<ServerConfig>,
        stream: TcpStream,
    ) -> Result<Option<TlsClient>, ConnectionError> {
        let limit = self.limits.handshake_max;
        tokio::select! {
            made = timeout(limit, tls::accept(config, stream)) => {
                Ok(Some(made.map_err(|_| ConnectionError::HandshakeTimeout(limit))??))
            }
            () = self.closing.cancelled() => Ok(None),
            () = self.cut.cancelled() => Ok(None),
        }
    }

    /// Serves a connection until it ends. The service must answer everything: errors are statuses.
    ///
    /// The steps of a connection:
    /// 1. The preface must arrive within `preface_max`. hyper has no time limit for it, and does not end a connection
    ///    that waits for it when it is told to shut down.
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

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http_body_util::Empty;
    use hyper::client::conn::http2::{SendRequest, handshake};
    use hyper::service::service_fn;
    use hyper_util::rt::TokioExecutor;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
    use tokio::time::Instant;

    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);
    const YEAR: Duration = Duration::from_secs(365 * 24 * 60 * 60);

    fn server(age_max: Duration, idle_max: Duration) -> ConnectionServer {
        ConnectionServer {
            limits: ConnectionLimits {
                streams_max: 10,
                handshake_max: Duration::from_secs(10),
                preface_max: Duration::from_secs(10),
                age_max,
                idle_max,
                goaway_grace: Duration::from_secs(1),
            },
            closing: CancellationToken::new(),
            cut: CancellationToken::new(),
            tasks: TaskTracker::new(),
        }
    }

    /// Serves one connection; returns how long it lasted. A call lasts as many minutes as its path says.
    async fn lasted(
        server: &ConnectionServer,
        client: impl AsyncFnOnce(DuplexStream),
    ) -> (Duration, Result<(), ConnectionError>) {
        let (client_io, server_io) = duplex(64 * 1024);
        let service = service_fn(|request: Request<Incoming>| async move {
            let minutes = request.uri().path().trim_start_matches('/');
            sleep(MINUTE * minutes.parse().expect("a number")).await;
            Ok::<_, Infallible>(Response::new(Body::empty()))
        });
        let started = Instant::now();
        let serving = async {
            let ended = server.serve(server_io, service).await;
            (started.elapsed(), ended)
        };
        tokio::join!(serving, client(client_io)).0
    }

    /// Makes calls of so many minutes one after the other, until the server takes no more, and waits for the last one.
    async fn calls(io: DuplexStream, minutes: &[u32]) {
        let connected = handshake(TokioExecutor::new(), TokioIo::new(io)).await;
        let (mut sender, driver): (SendRequest<Empty<Bytes>>, _) = connected.expect("HTTP/2");
        tokio::spawn(driver);
        for minutes in minutes {
            let request = Request::get(format!("http://server/{minutes}"));
            let request = request.body(Empty::new()).expect("a request");
            if sender.send_request(request).await.is_err() {
                return;
            }
        }
        // Keeps the connection open: the client closes it when nobody can call any more.
        sleep(YEAR).await;
    }

    async fn minutes_lasted(server: &ConnectionServer, minutes: &[u32]) -> f64 {
        let lasting = lasted(server, async |io| {
            // Not waited for longer than the connection lasts.
            tokio::spawn({
                let minutes = minutes.to_vec();
                async move { calls(io, &minutes).await }
            });
        });
        // Which side closes first is open, and with it whether the server finds the pipe broken.
        let (lasted, _) = lasting.await;
        lasted.as_secs_f64() / 60.0
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_without_calls_ends_when_it_is_idle() {
        let server = server(YEAR, 10 * MINUTE);
        for (calls, expected) in [(&[][..], 10.0), (&[20], 30.0), (&[1, 9, 8], 28.0)] {
            let lasted = minutes_lasted(&server, calls).await;
            assert!((lasted - expected).abs() < 0.1, "{lasted}, not {expected}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_old_connection_ends_with_its_last_call() {
        let server = server(30 * MINUTE, YEAR);
        let lasted = minutes_lasted(&server, &[]).await;
        assert!((27.0..33.1).contains(&lasted), "{lasted}");
        let lasted = minutes_lasted(&server, &[45]).await;
        assert!((45.0..45.1).contains(&lasted), "{lasted}");
        let lasted = minutes_lasted(&server, &[5; 100]).await;
        assert!((27.0..38.1).contains(&lasted), "{lasted}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_that_does_not_end_is_cut_off_at_last() {
        let server = server(30 * MINUTE, YEAR);
        let grace = CONNECTION_CALLS_GRACE.as_secs_f64() / 60.0;
        let lasted = minutes_lasted(&server, &[100_000]).await;
        assert!((27.0..33.1).contains(&(lasted - grace)), "{lasted}");
    }

    /// Sends the bytes, then reads until the end, and answers nothing.
    async fn silent(mut io: DuplexStream, first: &[u8]) {
        io.write_all(first).await.expect("written");
        let mut received = Vec::new();
        io.read_to_end(&mut received).await.expect("readable");
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_acknowledges_nothing_does_not_delay_a_shutdown() {
        let server = server(YEAR, YEAR);
        let closing = async {
            sleep(Duration::from_secs(5)).await;
            server.closing.cancel();
        };
        let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
        let lasting = lasted(&server, async |io| silent(io, preface).await);
        let ((lasted, ended), ()) = tokio::join!(lasting, closing);
        ended.expect("ended in order");
        assert_eq!(lasted.as_secs(), 6);
    }

    #[tokio::test(start_paused = true)]
    async fn the_whole_preface_has_one_time_limit() {
        let server = server(YEAR, YEAR);
        let byte_by_byte = async |mut io: DuplexStream| {
            for byte in b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" {
                _ = io.write_all(&[*byte]).await;
                sleep(Duration::from_secs(1)).await;
            }
        };
        let (lasted, ended) = lasted(&server, byte_by_byte).await;
        assert!(matches!(ended, Err(ConnectionError::PrefaceTimeout(_))));
        assert_eq!(lasted.as_secs(), 10);
    }

    #[test]
    fn ages_differ_by_a_tenth_in_both_directions() {
        let ages = [0.0, 0.5, 1.0].map(|random| jittered(100 * MINUTE, random));
        assert_eq!(ages.map(|age| age.as_secs() / 60), [90, 100, 110]);
    }
}
