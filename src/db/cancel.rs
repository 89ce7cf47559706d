//! Sends cancel requests, and waits until Postgres has passed them on to the process that is meant: it closes the request's
//! connection then. tokio-postgres alone does not wait, so that a request could meet the statement that comes next.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream, lookup_host};
use tokio_postgres::config::Host;
use tokio_postgres::tls::MakeTlsConnect;
use tokio_postgres::{CancelToken, Config, Error};
use tokio_postgres_rustls::MakeRustlsConnect;

/// The port of a URL without one.
const PORT: u16 = 5432;

/// Sends a cancel request to the server that this configuration leads to, and waits until it has been passed on. Where the
/// configuration leads to one of several servers, it is not waited for: only the driver knows which one it is.
pub(super) async fn cancel(
    connection: &CancelToken,
    config: &Config,
    tls: &MakeRustlsConnect,
) -> Result<(), Error> {
    if let Some((stream, host)) = dial(config).await {
        let mut stream = KeptStream(Arc::new(Mutex::new(stream)));
        let Ok(made) = MakeTlsConnect::<KeptStream>::make_tls_connect(&mut tls.clone(), &host);
        connection.cancel_query_raw(stream.clone(), made).await?;
        // There is no answer but the end.
        while let Ok(1..) = stream.read(&mut [0; 64]).await {}
        return Ok(());
    }
    connection.cancel_query(tls.clone()).await
}

/// A connection to the only server of a configuration, and the server's name.
async fn dial(config: &Config) -> Option<(Box<dyn CancelStream>, String)> {
    let [host] = config.get_hosts() else {
        return None;
    };
    let port = config.get_ports().first().copied().unwrap_or(PORT);
    match host {
        Host::Unix(folder) => {
            let socket = folder.join(format!(".s.PGSQL.{port}"));
            let stream = UnixStream::connect(socket).await.ok()?;
            Some((Box::new(stream), String::new()))
        }
        Host::Tcp(name) => {
            let addresses: Vec<SocketAddr> = match config.get_hostaddrs() {
                [] => lookup_host((name.as_str(), port)).await.ok()?.collect(),
                addresses => addresses.iter().map(|ip| (*ip, port).into()).collect(),
            };
            let is_one = addresses.len() == 1 || addresses.iter().all(|it| it.ip().is_loopback());
            let stream = TcpStream::connect(&addresses[..]);
            let stream = if is_one {
                stream.await.ok()?
            } else {
                return None;
            };
            Some((Box::new(stream), name.clone()))
        }
    }
}

/// What a cancel request is sent by.
trait CancelStream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> CancelStream for S {}

/// A stream that is still there after its user has dropped it.
#[derive(Clone)]
struct KeptStream(Arc<Mutex<Box<dyn CancelStream>>>);

impl KeptStream {
    fn stream(&self) -> MutexGuard<'_, Box<dyn CancelStream>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl AsyncRead for KeptStream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut **self.stream()).poll_read(context, buffer)
    }
}

impl AsyncWrite for KeptStream {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut **self.stream()).poll_write(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut **self.stream()).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut **self.stream()).poll_shutdown(context)
    }
}
