//! Connects to a server with TLS, for `earmark healthcheck`.

use std::io;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::Uri;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::crypto::ring;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use tower::Service;

use crate::cli::failure::CliFailure;
use crate::config::HealthcheckTlsArgs;
use crate::pem;

/// Makes connections with TLS to one address.
#[derive(Clone)]
pub(super) struct TlsConnector {
    address: Arc<str>,
    name: ServerName<'static>,
    tls: tokio_rustls::TlsConnector,
}

impl TlsConnector {
    /// What the settings ask for; `None` without `--tls`.
    pub(super) fn of(args: &HealthcheckTlsArgs, address: &str) -> Result<Option<Self>, CliFailure> {
        if !args.tls {
            return Ok(None);
        }
        let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
        let host = host.trim_matches(['[', ']']);
        let name = args.tls_server_name.as_deref().unwrap_or(host);
        let server_name = ServerName::try_from(name.to_owned()).map_err(|error| {
            CliFailure::setting(format!(
                "{name} is no host name ({error}): give the one in the server's certificate by --tls-server-name"
            ))
        })?;
        let roots = match &args.tls_ca {
            Some(path) => of_file("--tls-ca", path, pem::authorities)?,
            None => pem::system_authorities().map_err(|why| {
                CliFailure::setting(format!(
                    "the operating system trusts no authority ({why}): give that of the server by --tls-ca"
                ))
            })?,
        };
        // Named explicitly: the process-wide default depends on the other users of rustls in the process.
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(CliFailure::new)?
            .with_root_certificates(roots);
        let mut config = match args.tls_cert.as_deref().zip(args.tls_key.as_deref()) {
            Some((certificate, key)) => {
                let chain = of_file("--tls-cert", certificate, pem::certificates)?;
                let private = of_file("--tls-key", key, pem::private_key)?;
                builder
                    .with_client_auth_cert(chain, private)
                    .map_err(|error| {
                        let (certificate, key) = (certificate.display(), key.display());
                        CliFailure::setting(format!(
                            "--tls-key {key} does not go with --tls-cert {certificate}: {error}"
                        ))
                    })?
            }
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = vec![b"h2".into()];
        Ok(Some(Self {
            address: address.into(),
            name: server_name,
            tls: Arc::new(config).into(),
        }))
    }
}

/// Reads a file that a flag names, and takes from it what is needed.
fn of_file<T>(
    flag: &str,
    path: &Path,
    take: impl FnOnce(&[u8]) -> Result<T, String>,
) -> Result<T, CliFailure> {
    let taken = pem::read(path).and_then(|contents| take(&contents));
    taken.map_err(|why| CliFailure::setting(format!("{flag} {}: {why}", path.display())))
}

impl Service<Uri> for TlsConnector {
    type Response = TokioIo<TlsStream<TcpStream>>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let this = self.clone();
        Box::pin(async move {
            let stream = TcpStream::connect(&*this.address).await?;
            stream.set_nodelay(true)?;
            Ok(TokioIo::new(this.tls.connect(this.name, stream).await?))
        })
    }
}
