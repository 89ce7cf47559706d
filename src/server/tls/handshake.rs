//! The TLS handshake of one connection, and what its failure is called in the log.

use std::io;
use std::sync::Arc;

use rustls::{
    AlertDescription, CertificateError, Error as RustlsError, InvalidMessage, ServerConfig,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::certificate;
use super::files::ALPN;
use crate::limits::{TLS_LINGER_BYTES_MAX, TLS_LINGER_MAX};

/// A client whose handshake has succeeded.
pub(crate) struct TlsClient {
    pub(crate) stream: TlsStream<TcpStream>,
    /// Whom its certificate names, if it has presented one.
    pub(crate) identity: Option<Arc<str>>,
}

/// Why a handshake has failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HandshakeFailure {
    /// The client has closed the connection, or the network has. Port scans and health checks of TCP do so.
    #[error("the client has closed the connection during the handshake of TLS: {0}")]
    ClientGone(io::Error),
    /// Client and server did not agree. The text says on what.
    #[error("{0}")]
    Refused(String),
}

/// Makes the handshake. It has no time limit of its own.
///
/// # Errors
/// The client is gone, or has been told by an alert that it is refused.
pub(crate) async fn accept(
    config: Arc<ServerConfig>,
    stream: TcpStream,
) -> Result<TlsClient, HandshakeFailure> {
    let accepting = TlsAcceptor::from(config).accept(stream);
    let stream = match accepting.into_fallible().await {
        Ok(stream) => stream,
        Err((error, stream)) => {
            let Some(error) = tls_error(&error) else {
                return Err(HandshakeFailure::ClientGone(error));
            };
            let reason = described(error);
            linger(stream).await;
            return Err(HandshakeFailure::Refused(reason));
        }
    };
    let (_, session) = stream.get_ref();
    // rustls refuses a client that offers other protocols only, but not one that offers none.
    if session.alpn_protocol() != Some(ALPN) {
        let reason = "the client offers no protocol by ALPN, where HTTP/2 needs `h2`";
        return Err(HandshakeFailure::Refused(reason.into()));
    }
    let certificates = session.peer_certificates();
    let identity = certificates.and_then(|all| certificate::identity(all.first()?));
    Ok(TlsClient { stream, identity })
}

/// Lets the client read the alert. A socket that is closed while it holds bytes which nobody has read is reset, and the
/// client then sees «connection reset» instead of the reason.
async fn linger(mut stream: TcpStream) {
    let draining = async {
        stream.shutdown().await?;
        let mut rest = stream.take(TLS_LINGER_BYTES_MAX);
        tokio::io::copy(&mut rest, &mut tokio::io::sink()).await
    };
    // Whatever comes of it, the connection is closed.
    _ = timeout(TLS_LINGER_MAX, draining).await;
}

fn tls_error(error: &io::Error) -> Option<&RustlsError> {
    error.get_ref()?.downcast_ref()
}

/// The reason in words, with what to do about it where that is known.
fn described(error: &RustlsError) -> String {
    let advice = match error {
        RustlsError::InvalidMessage(InvalidMessage::InvalidContentType) => {
            "the client does not speak TLS: let it use TLS (grpcurl: without -plaintext)"
        }
        RustlsError::NoCertificatesPresented => {
            "the client has no certificate: give it one of an authority in --tls-client-ca"
        }
        // Another authority of the same name has another key.
        RustlsError::InvalidCertificate(
            CertificateError::UnknownIssuer | CertificateError::BadSignature,
        ) => "the client's certificate leads to no authority in --tls-client-ca",
        RustlsError::InvalidCertificate(
            CertificateError::Expired | CertificateError::ExpiredContext { .. },
        ) => "the client's certificate has expired",
        RustlsError::InvalidCertificate(
            CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. },
        ) => {
            "the client's certificate is not for clients: it needs the extended key usage clientAuth"
        }
        RustlsError::NoApplicationProtocol => "the client does not offer `h2` by ALPN",
        RustlsError::AlertReceived(
            AlertDescription::UnknownCA
            | AlertDescription::BadCertificate
            | AlertDescription::CertificateUnknown
            | AlertDescription::CertificateExpired
            | AlertDescription::DecryptError,
        ) => {
            "the client does not accept the certificate of this server: it must know the authority, and connect by a name \
             that the certificate has"
        }
        _ => return error.to_string(),
    };
    format!("{advice} ({error})")
}
