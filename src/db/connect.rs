//! Makes connections to Postgres: the URL, TLS, and the settings of the session.
//!
//! The `sslmode` of a database URL has the meaning that libpq gives it:
//!
//! | `sslmode` | meaning |
//! |---|---|
//! | `disable` | never TLS |
//! | absent, `prefer` | TLS if the server offers it; the certificate is not verified, so use it on one machine only |
//! | `require` | TLS or no connection; not verified: safe from passive listeners, not from a man in the middle |
//! | `verify-full` | TLS; the certificate must lead to a trusted root and have the host name of the URL |
//!
//! Trusted roots are those of the operating system, or of the PEM file in `sslrootcert`. Any other value of `sslmode`
//! is an error. A unix socket has no TLS, and `sslmode` is ignored there.

use std::fmt::Write;
use std::future::{Future, poll_fn};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use percent_encoding::percent_decode_str;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinHandle;
use tokio_postgres::config::{Host, LoadBalanceHosts, SslMode};
use tokio_postgres::{AsyncMessage, CancelToken, Client, Config, Connection};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::db::error_text::{chain, text_of};
use crate::db::{cancel, host};
use crate::limits::{
    DB_CONNECT_MAX, DB_IDLE_IN_TRANSACTION_MAX, DB_LOCK_WAIT_MAX, DB_STATEMENT_MAX,
};

/// Why a database URL cannot be used, or a connection could not be made.
#[derive(Debug, Error)]
pub enum ConnectError {
    /// The URL cannot be parsed, or has an unknown parameter. The text never contains the password.
    #[error("the database URL is invalid: {0}")]
    Url(String),
    /// `sslmode` has a value that is not supported.
    #[error("sslmode={0} is not supported: use disable, prefer, require or verify-full")]
    SslMode(String),
    /// `sslrootcert` is set without `verify-full`, so the root would not be used.
    #[error("sslrootcert needs sslmode=verify-full: the other modes verify no certificate")]
    RootCertUnused,
    /// `verify-full` found no trusted root certificate.
    #[error("no trusted root certificate in {place}: {reason}")]
    Roots {
        /// The path of the PEM file, or the store of the operating system.
        place: String,
        /// Why no certificate was read from it.
        reason: String,
    },
    /// Rustls rejected the TLS settings.
    #[error("TLS cannot be set up: {0}")]
    Tls(#[from] rustls::Error),
    /// Postgres refused the connection, or cannot be reached.
    #[error("cannot connect to Postgres: {}", text_of(.0))]
    Postgres(#[from] tokio_postgres::Error),
    /// The session could not be set up. The text is the driver's.
    #[error("cannot set up a session of Postgres: {0}")]
    Session(String),
    /// There was no answer within this time.
    #[error("cannot connect to Postgres: no answer in {0:?}")]
    TimedOut(Duration),
}

/// The settings of a session, which are set when its connection is made.
#[derive(Clone, Debug)]
pub struct Session {
    /// Postgres ends a statement that runs longer; zero disables the limit.
    pub statement_timeout: Duration,
    /// Postgres ends a statement that waits longer for a lock; zero disables the limit.
    pub lock_timeout: Duration,
    /// Postgres ends a session whose transaction is idle for longer; zero disables the limit.
    pub idle_in_transaction_timeout: Duration,
    /// Whether each statement is planned once for all parameters, and with index scans only. To be set only for
    /// sessions whose statements are known to need no other plan.
    pub generic_plans: bool,
    /// The `application_name` in `pg_stat_activity`, unless the URL sets another one.
    pub application_name: &'static str,
}

impl Default for Session {
    fn default() -> Self {
        Self {
            statement_timeout: DB_STATEMENT_MAX,
            lock_timeout: DB_LOCK_WAIT_MAX,
            idle_in_transaction_timeout: DB_IDLE_IN_TRANSACTION_MAX,
            generic_plans: false,
            application_name: "earmark",
        }
    }
}

/// Makes connections to one database. Cheap to clone.
#[derive(Clone)]
pub struct Connector {
    config: Arc<Config>,
    /// One for each server that the URL names.
    servers: Arc<[Config]>,
    /// The index of the server that has accepted a connection last: it is tried first.
    preferred: Arc<AtomicUsize>,
    address: Arc<str>,
    /// Whether the URL says nothing about TLS, though the connection leaves this machine.
    lacks_sslmode: bool,
    tls: MakeRustlsConnect,
    session: Arc<Session>,
}

impl Connector {
    /// Parses a database URL, `postgres://user:password@host:port/database?sslmode=…`. Does not connect.
    ///
    /// # Errors
    /// Any variant of [`ConnectError`] but `Postgres` and `TimedOut`.
    pub fn new(url: &str) -> Result<Self, ConnectError> {
        Self::with_session(url, &Session::default())
    }

    /// Parses a database URL for connections with other session settings than the default.
    ///
    /// # Errors
    /// The same as those of [`Connector::new`].
    pub fn with_session(url: &str, session: &Session) -> Result<Self, ConnectError> {
        let (url, tls) = split_tls(url)?;
        let mut config: Config = url
            .parse()
            .map_err(|error| ConnectError::Url(chain(&error)))?;
        config.ssl_mode(tls.mode);
        if config.get_application_name().is_none() {
            config.application_name(session.application_name);
        }
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(DB_CONNECT_MAX);
        }
        // Detects within 30 s that the peer is gone without having closed the connection.
        config.keepalives_idle(Duration::from_secs(15));
        if config.get_keepalives_interval().is_none() {
            config.keepalives_interval(Duration::from_secs(5));
        }
        if config.get_keepalives_retries().is_none() {
            config.keepalives_retries(3);
        }
        if config.get_tcp_user_timeout().is_none() {
            config.tcp_user_timeout(DB_STATEMENT_MAX);
        }
        let hosts = config.get_hosts();
        if hosts.is_empty() && config.get_hostaddrs().is_empty() {
            return Err(ConnectError::Url("it names no host".into()));
        }
        if !hosts.is_empty() && hosts.iter().all(|host| matches!(host, Host::Unix(_))) {
            config.ssl_mode(SslMode::Disable);
        }
        Ok(Self {
            servers: host::one_by_one(&config, DB_CONNECT_MAX).into(),
            preferred: Arc::default(),
            address: host::described(&config).into(),
            lacks_sslmode: tls.is_default && host::is_remote(&config),
            config: Arc::new(config),
            tls: MakeRustlsConnect::new(tls.client_config()?),
            session: Arc::new(session.clone()),
        })
    }

    /// A connector to the same database whose session settings are changed by `adjust`.
    #[must_use]
    pub fn adjusted(&self, adjust: impl FnOnce(&mut Session)) -> Self {
        let mut session = (*self.session).clone();
        adjust(&mut session);
        Self {
            session: Arc::new(session),
            ..self.clone()
        }
    }

    /// Connects, and makes the session settings that all statements rely on.
    ///
    /// The returned task drives the connection. It ends after the client is dropped, or when the connection is lost.
    ///
    /// # Errors
    /// Only [`ConnectError::Postgres`] and [`ConnectError::TimedOut`].
    pub async fn connect(&self) -> Result<(Client, JoinHandle<()>), ConnectError> {
        let count = self.servers.len();
        let preferred = match self.config.get_load_balance_hosts() {
            LoadBalanceHosts::Random => fastrand::usize(..count),
            _ => self.preferred.load(Ordering::Relaxed),
        };
        let mut failure = None;
        for index in (0..count).map(|step| (preferred + step) % count) {
            match self.connect_to(&self.servers[index]).await {
                Ok(connected) => {
                    self.preferred.store(index, Ordering::Relaxed);
                    return Ok(connected);
                }
                Err(error) => failure = Some(error),
            }
        }
        Err(failure.unwrap_or(ConnectError::TimedOut(DB_CONNECT_MAX)))
    }

    /// Connects to one of the servers, within its share of the time.
    async fn connect_to(&self, server: &Config) -> Result<(Client, JoinHandle<()>), ConnectError> {
        let share = DB_CONNECT_MAX / u32::try_from(self.servers.len()).unwrap_or(u32::MAX);
        within(share, async {
            let (client, connection) = server.connect(self.tls.clone()).await?;
            let driver = tokio::spawn(drive(connection));
            client.batch_execute(&settings_sql(&self.session)).await?;
            Ok((client, driver))
        })
        .await
    }

    /// Asks Postgres to cancel the current statement of a connection, which its token names, and waits until it has passed
    /// the request on. There is no answer whether there was such a statement. Where a pooler, or one of several servers,
    /// receives the request, it may meet a statement that the connection begins only after this.
    pub async fn cancel(&self, connection: CancelToken) {
        let cancelled = within(DB_CONNECT_MAX, async {
            Ok(cancel::cancel(&connection, &self.config, &self.tls).await?)
        });
        if let Err(error) = cancelled.await {
            tracing::debug!(%error, "a statement could not be cancelled");
        }
    }

    /// Whether connections leave this machine, as far as the URL shows.
    pub(crate) fn is_remote(&self) -> bool {
        host::is_remote(&self.config)
    }

    /// The servers and the name of the database, for logs: `db.internal:5432/earmark`.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Warns if the URL says nothing about TLS and the connection leaves this machine.
    pub fn warn_of_missing_sslmode(&self) {
        if self.lacks_sslmode {
            tracing::warn!(
                database = self.address(),
                "the database URL has no sslmode: `prefer` is used, which takes TLS only if the server offers it and checks \
                 no certificate; set sslmode=verify-full, or sslmode=prefer if the network is trusted"
            );
        }
    }
}

impl std::fmt::Debug for Connector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The `Debug` of tokio-postgres leaves the password out.
        f.debug_struct("Connector")
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

async fn within<T>(
    limit: Duration,
    work: impl Future<Output = Result<T, ConnectError>>,
) -> Result<T, ConnectError> {
    tokio::time::timeout(limit, work)
        .await
        .unwrap_or(Err(ConnectError::TimedOut(limit)))
}

/// Makes generic plans with index scans. Planning these statements takes longer than running them, and a plan that is
/// made while a table is empty must still be right when the table is large. Without sorts, ORDER BY decides on the index.
const GENERIC_PLANS: &str = "SET plan_cache_mode = force_generic_plan; SET enable_seqscan = off; \
                             SET enable_hashjoin = off; SET enable_mergejoin = off; \
                             SET enable_sort = off; SET enable_incremental_sort = off;";

/// The statements that make all settings in one round trip. What the role may not set stays as it is.
fn settings_sql(session: &Session) -> String {
    let mut sql = String::new();
    let timeouts = [
        ("statement_timeout", session.statement_timeout),
        ("lock_timeout", session.lock_timeout),
        (
            "idle_in_transaction_session_timeout",
            session.idle_in_transaction_timeout,
        ),
    ];
    for (name, limit) in timeouts {
        // Writing to a String cannot fail.
        _ = write!(sql, "SET {name} = {};", limit.as_millis());
    }
    sql.push_str(
        // If the server's default were REPEATABLE READ, reads after a lock would not see what was committed meanwhile.
        "SET default_transaction_isolation = 'read committed';
         SET TIME ZONE 'UTC';
         -- Notices, such as that a table exists already, would only fill the log.
         SET client_min_messages = 'warning';
         -- Compiling a plan can take seconds, more than it saves for statements as short as these.
         SET jit = off;
         -- An acknowledged write must be on disk. A server that also waits for a standby keeps doing so.
         SELECT set_config('synchronous_commit', 'on', false)
          WHERE current_setting('synchronous_commit') IN ('off', 'local', 'remote_write');
         -- Some errors are classified by their English text.
         SELECT set_config('lc_messages', 'C', false)
          WHERE has_parameter_privilege('lc_messages', 'SET')",
    );
    if session.generic_plans {
        sql.push_str(";\n");
        sql.push_str(GENERIC_PLANS);
    }
    sql
}

/// Drives a connection until its end. What Postgres warns of goes into the log: so does what a migration had to change.
async fn drive<S, T>(mut connection: Connection<S, T>)
where
    S: AsyncRead + AsyncWrite + Unpin,
    T: AsyncRead + AsyncWrite + Unpin,
{
    while let Some(message) = poll_fn(|context| connection.poll_message(context)).await {
        match message {
            Ok(AsyncMessage::Notice(notice)) => {
                tracing::warn!(warning = notice.message(), "the database warns");
            }
            Ok(_) => {}
            // A caller that waits for an answer gets the error as well.
            Err(error) => {
                tracing::debug!(error = text_of(&error), "a database connection was lost");
                return;
            }
        }
    }
}

/// The TLS parameters of a database URL.
struct TlsParameters {
    mode: SslMode,
    verify: bool,
    roots: Option<String>,
    /// Whether the URL has no `sslmode`.
    is_default: bool,
}

/// Removes `sslmode` and `sslrootcert` from the URL: tokio-postgres supports neither `verify-full` nor `sslrootcert`.
fn split_tls(url: &str) -> Result<(String, TlsParameters), ConnectError> {
    let mut tls = TlsParameters {
        mode: SslMode::Prefer,
        verify: false,
        roots: None,
        is_default: true,
    };
    if !url.starts_with("postgres://") && !url.starts_with("postgresql://") {
        return Err(ConnectError::Url(
            "it must start with postgres:// or postgresql://".into(),
        ));
    }
    // A password may contain a question mark: the parameters begin behind the host.
    let host = url.find('@').unwrap_or_default();
    let Some(question_mark) = url[host..].find('?') else {
        return Ok((url.into(), tls));
    };
    let (base, parameters) = url.split_at(host + question_mark);
    let mut rest = Vec::new();
    for parameter in parameters[1..].split('&') {
        match parameter.split_once('=') {
            Some(("sslmode", value)) => {
                tls.is_default = false;
                (tls.mode, tls.verify) = match decoded(value)?.as_str() {
                    "disable" => (SslMode::Disable, false),
                    "prefer" => (SslMode::Prefer, false),
                    "require" => (SslMode::Require, false),
                    "verify-full" => (SslMode::Require, true),
                    other => return Err(ConnectError::SslMode(other.into())),
                };
            }
            Some(("sslrootcert", value)) => tls.roots = Some(decoded(value)?),
            _ => rest.push(parameter),
        }
    }
    if tls.roots.is_some() && !tls.verify {
        return Err(ConnectError::RootCertUnused);
    }
    let url = match rest.join("&") {
        rest if rest.is_empty() => base.into(),
        rest => format!("{base}?{rest}"),
    };
    Ok((url, tls))
}

fn decoded(value: &str) -> Result<String, ConnectError> {
    match percent_decode_str(value).decode_utf8() {
        Ok(text) => Ok(text.into_owned()),
        Err(_) => Err(ConnectError::Url("a parameter is not UTF-8".into())),
    }
}

impl TlsParameters {
    fn client_config(&self) -> Result<ClientConfig, ConnectError> {
        // Named explicitly: the process-wide default depends on the other users of rustls in the process.
        let provider = Arc::new(ring::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()?;
        let config = if self.verify {
            builder
                .with_root_certificates(roots(self.roots.as_deref())?)
                .with_no_client_auth()
        } else {
            builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(UnverifiedCertificate(provider)))
                .with_no_client_auth()
        };
        Ok(config)
    }
}

/// The root certificates of a PEM file; those of the operating system without one or for the value `system`.
fn roots(file: Option<&str>) -> Result<RootCertStore, ConnectError> {
    let (place, certificates, error) = match file {
        Some(file) if file != "system" => {
            let read = CertificateDer::pem_file_iter(Path::new(file))
                .and_then(|certificates| certificates.collect::<Result<Vec<_>, _>>());
            let (certificates, error) = match read {
                Ok(certificates) => (certificates, None),
                Err(error) => (Vec::new(), Some(error.to_string())),
            };
            (file.to_owned(), certificates, error)
        }
        _ => {
            let found = rustls_native_certs::load_native_certs();
            let error = found.errors.first().map(ToString::to_string);
            (
                "the store of the operating system".to_owned(),
                found.certs,
                error,
            )
        }
    };
    let mut roots = RootCertStore::empty();
    let (added, _) = roots.add_parsable_certificates(certificates);
    if added == 0 {
        let reason = error.unwrap_or_else(|| "it has no certificate".into());
        return Err(ConnectError::Roots { place, reason });
    }
    Ok(roots)
}

/// Accepts any certificate, but checks that the peer has its private key.
#[derive(Debug)]
struct UnverifiedCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for UnverifiedCertificate {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(
            message,
            cert,
            dss,
            &self.0.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(
            message,
            cert,
            dss,
            &self.0.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(url: &str) -> String {
        Connector::new(url).expect_err("invalid").to_string()
    }

    #[test]
    fn sslmode_and_sslrootcert_are_taken_off_the_url() {
        let url = "postgres://u:p?w@h:1/d?sslmode=verify-full&a=b&sslrootcert=%2Fx%20y.pem";
        let (rest, tls) = split_tls(url).expect("valid");
        assert_eq!(rest, "postgres://u:p?w@h:1/d?a=b");
        assert!(tls.verify && tls.mode == SslMode::Require);
        assert_eq!(tls.roots.as_deref(), Some("/x y.pem"));

        let (rest, tls) = split_tls("postgresql://h/d?sslmode=disable").expect("valid");
        assert_eq!(rest, "postgresql://h/d");
        assert!(!tls.verify && tls.mode == SslMode::Disable);
    }

    #[test]
    fn unsupported_tls_parameters_are_refused() {
        for mode in ["allow", "verify-ca", "", "REQUIRE"] {
            let text = error(&format!("postgres://h/d?sslmode={mode}"));
            assert!(text.contains("is not supported"), "{text}");
        }
        let text = error("postgres://h/d?sslmode=require&sslrootcert=x");
        assert!(text.contains("needs sslmode=verify-full"), "{text}");
        let text = error("postgres://h/d?sslmode=verify-full&sslrootcert=/nowhere.pem");
        assert!(text.contains("/nowhere.pem"), "{text}");
        assert!(error("host=h").contains("must start with"));
        assert!(error("postgres://h/d?what=1").contains("what"));
        assert!(error("postgres:///d").contains("no host"));
    }

    #[test]
    fn a_url_without_sslmode_is_warned_of_if_it_leads_into_a_network() {
        for (url, expected) in [
            ("postgres://h/d", true),
            ("postgres://h/d?sslmode=prefer", false),
            ("postgres://localhost/d", false),
            ("postgres://u@%2Ftmp/d", false),
        ] {
            let connector = Connector::new(url).expect("valid");
            assert_eq!(connector.lacks_sslmode, expected, "{url}");
        }
    }

    #[test]
    fn the_password_stays_out_of_logs() {
        let connector = Connector::new("postgres://u:hunter2@h/d").expect("valid");
        assert!(!format!("{connector:?}").contains("hunter2"));
        assert!(!error("postgres://u:hunter2@h/d?what=1").contains("hunter2"));
    }

    #[test]
    fn a_unix_socket_has_no_tls() {
        let url = "postgres://u@%2Ftmp/d?sslmode=require";
        let connector = Connector::new(url).expect("valid");
        assert_eq!(connector.config.get_ssl_mode(), SslMode::Disable);
        assert_eq!(connector.address(), "/tmp:5432/d");
    }
}
