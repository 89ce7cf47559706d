//! Settings of TLS: of the server's port, and of the health check that connects to it.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::config::listen_address::ListenAddress;
use crate::config::values::listen_address;
use crate::server::tls::{TlsClientAuth, TlsFiles};

/// Whether clients need a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum ClientAuthArg {
    /// A client without an accepted certificate cannot connect.
    Require,
    /// A client may have none; one that it presents must be accepted.
    Optional,
}

/// Settings of the TLS of the port that clients connect to, and of the port for health beside it.
#[derive(Args, Clone, Debug)]
pub(crate) struct TlsArgs {
    /// The PEM file of the server's certificate, followed by those of its intermediate authorities. Turns TLS on
    ///
    /// Connections then use TLS 1.2 or 1.3, and must offer HTTP/2 (`h2`) by ALPN. The file is looked at every 5 s, and on
    /// SIGHUP: when it, the key or the authorities of clients change, connections that begin later use them, and those
    /// that are open go on. Files that cannot be used are refused at the start; later a warning says so, at most once a
    /// minute, and what was read before stays in use. An expired certificate is used, with a warning.
    #[arg(
        long,
        env = "EARMARK_TLS_CERT",
        value_name = "FILE",
        requires = "tls_key"
    )]
    tls_cert: Option<PathBuf>,

    /// The PEM file of the private key of --tls-cert, not encrypted
    ///
    /// RSA of 2048 to 4096 bits, ECDSA on P-256 or P-384, or Ed25519. Let nobody read it but this process's own user.
    #[arg(
        long,
        env = "EARMARK_TLS_KEY",
        value_name = "FILE",
        requires = "tls_cert"
    )]
    tls_key: Option<PathBuf>,

    /// The PEM file of the authorities of clients' certificates. Clients must then present one (mTLS)
    ///
    /// The certificate decides who may connect, the token of each call what it may do: tokens are needed as without it.
    /// All in the file are trusted, whatever name a certificate has, so give a private authority, never a public one.
    /// Lists of revoked certificates are not read: let certificates be short-lived.
    #[arg(
        long,
        env = "EARMARK_TLS_CLIENT_CA",
        value_name = "FILE",
        requires = "tls_cert"
    )]
    tls_client_ca: Option<PathBuf>,

    /// Whether a client may connect without a certificate
    ///
    /// `optional` is for the time in which clients get their certificates: whoever has none connects as before, and its
    /// lines in the access log have no peer_identity.
    #[arg(
        long,
        env = "EARMARK_TLS_CLIENT_AUTH",
        value_enum,
        value_name = "WHEN",
        default_value_t = ClientAuthArg::Require,
        requires = "tls_client_ca"
    )]
    tls_client_auth: ClientAuthArg,

    /// A second address and port, which serves the health service alone, without TLS. None by default
    ///
    /// For probes that know no TLS, such as those of Kubernetes, and load balancers. It answers Check, Watch and List of
    /// grpc.health.v1.Health and nothing else, has 64 connections, 16 for one address, and shares none with other
    /// callers. Kubernetes' probes connect to the address of the pod: write 0.0.0.0:50052 there. Elsewhere choose the
    /// loopback address: whoever can connect learns whether the server is healthy.
    #[arg(
        long,
        env = "EARMARK_HEALTH_LISTEN",
        value_name = "ADDRESS",
        value_parser = listen_address
    )]
    pub(crate) health_listen: Option<ListenAddress>,
}

impl TlsArgs {
    /// The files of the server's TLS; `None` if connections are not encrypted.
    pub(crate) fn files(&self) -> Option<TlsFiles> {
        let (certificate, key) = self.tls_cert.as_ref().zip(self.tls_key.as_ref())?;
        Some(TlsFiles {
            client_ca: self.tls_client_ca.clone(),
            client_auth: match self.tls_client_auth {
                ClientAuthArg::Require => TlsClientAuth::Required,
                ClientAuthArg::Optional => TlsClientAuth::Optional,
            },
            ..TlsFiles::new(certificate, key)
        })
    }
}

/// Settings of the TLS that `earmark healthcheck` connects with.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct HealthcheckTlsArgs {
    /// Connect with TLS, and verify the server's certificate
    #[arg(long, env = "EARMARK_TLS")]
    pub(crate) tls: bool,

    /// The PEM file of the authorities that the server's certificate may lead to. Without it: those of the operating system
    #[arg(long, env = "EARMARK_TLS_CA", value_name = "FILE", requires = "tls")]
    pub(crate) tls_ca: Option<PathBuf>,

    /// The name that the server's certificate must have. Without it: the host of --address
    ///
    /// For a server that is asked by an address, such as 127.0.0.1, which its certificate does not have.
    #[arg(
        long,
        env = "EARMARK_TLS_SERVER_NAME",
        value_name = "NAME",
        requires = "tls"
    )]
    pub(crate) tls_server_name: Option<String>,

    /// The PEM file of the certificate to present if the server asks for one. Has no effect without --tls
    ///
    /// The variable is the server's as well: a check that runs beside the server, in its environment, presents the server's
    /// own certificate, which must then also be valid for clients (extended key usage clientAuth).
    #[arg(
        long,
        env = "EARMARK_TLS_CERT",
        value_name = "FILE",
        requires = "tls_key"
    )]
    pub(crate) tls_cert: Option<PathBuf>,

    /// The PEM file of the private key of --tls-cert, not encrypted
    #[arg(
        long,
        env = "EARMARK_TLS_KEY",
        value_name = "FILE",
        requires = "tls_cert"
    )]
    pub(crate) tls_key: Option<PathBuf>,
}
