//! How a connection to Postgres is made: where to, over which TLS, and with which session settings.
//!
//! The `sslmode` of a database URL, as libpq understands it:
//!
//! | `sslmode` | what |
//! |---|---|
//! | `disable` | never TLS |
//! | absent, `prefer` | TLS where the server offers it, not verified: convenient on one machine, safe nowhere else |
//! | `require` | TLS or no connection; not verified, so it keeps off readers but nobody who can stand in between |
//! | `verify-full` | TLS, and the server's certificate must lead to a trusted root and bear the URL's host name |
//!
//! Trusted roots are the machine's, or those of the PEM file that `sslrootcert` names. Every other value is refused at
//! start rather than taken for a weaker one. A unix socket has no TLS, and `sslmode` is ignored there.

use std::fmt::Write;
use std::future::Future;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use percent_encoding::percent_decode_str;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use thiserror::Error;
use tokio::task::JoinHandle;
use tokio_postgres::config::{Host, SslMode};
use tokio_postgres::{Client, Config};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::limits::{
    DB_CONNECT_MAX, DB_IDLE_IN_TRANSACTION_MAX, DB_LOCK_WAIT_MAX, DB_STATEMENT_MAX,
};

/// Why a database URL cannot be used, or a connection could not be made.
#[derive(Debug, Error)]
pub enum ConnectError {
    /// The URL is none, or has a part that Postgres's clients do not know. Never holds the password.
    #[error("the database URL is invalid: {0}")]
    Url(String),
    /// `sslmode` has a value that would have to be taken for another.
    #[error("sslmode={0} is not supported: use disable, prefer, require or verify-full")]
    SslMode(String),
    /// `sslrootcert` without `verify-full` would promise what `sslmode` does not keep.
    #[error("sslrootcert needs sslmode=verify-full: the other modes verify no certificate")]
    RootCertUnused,
    /// The roots that `verify-full` trusts cannot be read.
    #[error("no trusted root certificate in {place}: {reason}")]
    Roots {
        /// A file, or the machine's store.
        place: String,
        /// Why.
        reason: String,
    },
    /// Rustls refuses the settings.
    #[error("TLS cannot be set up: {0}")]
    Tls(#[from] rustls::Error),
    /// Postgres or the way there.
    #[error("cannot connect to Postgres: {}", chain(.0))]
    Postgres(#[from] tokio_postgres::Error),
    /// Nothing answered in time.
    #[error("cannot connect to Postgres: no answer in {0:?}")]
    TimedOut(Duration),
}

/// What is set on each connection.
#[derive(Clone, Debug)]
pub struct Session {
    /// Ends a statement that runs longer; zero: never.
    pub statement_timeout: Duration,
    /// Ends a statement that waits longer for a lock; zero: never.
    pub lock_timeout: Duration,
    /// Ends a session whose transaction is idle for longer; zero: never.
    pub idle_in_transaction_timeout: Duration,
    /// Plans each statement once for all parameters, and by index: for statements of which that is known to be right.
    pub generic_plans: bool,
    /// How `pg_stat_activity` names the connection, unless the URL says otherwise.
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
    tls: MakeRustlsConnect,
    session: Arc<Session>,
}

impl Connector {
    /// Reads a database URL, `postgres://user:password@host:port/database?sslmode=…`; does not connect yet.
    ///
    /// # Errors
    /// All but [`ConnectError::Postgres`] and [`ConnectError::TimedOut`].
    pub fn new(url: &str) -> Result<Self, ConnectError> {
        Self::with_session(url, &Session::default())
    }

    /// The same with session settings other than the default.
    ///
    /// # Errors
    /// As [`Connector::new`].
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
        // A peer that is gone without a word is noticed in seconds rather than hours.
        config.keepalives_idle(Duration::from_secs(15));
        if config.get_tcp_user_timeout().is_none() {
            config.tcp_user_timeout(DB_STATEMENT_MAX);
        }
        let hosts = config.get_hosts();
        if !hosts.is_empty() && hosts.iter().all(|host| matches!(host, Host::Unix(_))) {
            config.ssl_mode(SslMode::Disable);
        }
        Ok(Self {
            config: Arc::new(config),
            tls: MakeRustlsConnect::new(tls.client_config()?),
            session: Arc::new(session.clone()),
        })
    }

    /// The same with session settings that differ in some.
    #[must_use]
    pub fn adjusted(&self, adjust: impl FnOnce(&mut Session)) -> Self {
        let mut session = (*self.session).clone();
        adjust(&mut session);
        Self {
            session: Arc::new(session),
            ..self.clone()
        }
    }

    /// Connects, and puts the session into the state that every statement of ours relies on.
    ///
    /// The task drives the connection; it ends after the client is dropped, or when the connection is lost.
    ///
    /// # Errors
    /// [`ConnectError::Postgres`] and [`ConnectError::TimedOut`].
    pub async fn connect(&self) -> Result<(Client, JoinHandle<()>), ConnectError> {
        within(DB_CONNECT_MAX, async {
            let (client, connection) = self.config.connect(self.tls.clone()).await?;
            let driver = tokio::spawn(async move {
                // Whoever waits for an answer sees the error too.
                if let Err(error) = connection.await {
                    tracing::debug!(error = chain(&error), "a database connection was lost");
                }
            });
            client.batch_execute(&settings_sql(&self.session)).await?;
            Ok((client, driver))
        })
        .await
    }

    /// Asks the server to end what a connection made here is doing. Whether it does is not known.
    pub async fn cancel(&self, client: &Client) {
        let cancelled = within(DB_CONNECT_MAX, async {
            Ok(client.cancel_token().cancel_query(self.tls.clone()).await?)
        });
        if let Err(error) = cancelled.await {
            tracing::debug!(%error, "a statement could not be cancelled");
        }
    }

    /// The database's name, for logs.
    pub fn database(&self) -> &str {
        self.config.get_dbname().unwrap_or_default()
    }
}

impl std::fmt::Debug for Connector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // tokio-postgres leaves the password out.
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

/// Planning anew would cost more than running. Tables may be empty when a plan is made, and large soon after.
const GENERIC_PLANS: &str = "SET plan_cache_mode = force_generic_plan; SET enable_seqscan = off; \
                             SET enable_hashjoin = off; SET enable_mergejoin = off;";

/// One round trip that sets everything; what the role may not set stays as it is.
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
        // Under REPEATABLE READ as a server's default, the reads after a lock would be stale.
        "SET default_transaction_isolation = 'read committed';
         SET TIME ZONE 'UTC';
         -- Notices, such as that a table is there already, would only fill the log.
         SET client_min_messages = 'warning';
         -- Compiling a plan takes up to seconds, and no statement of ours gains them back.
         SET jit = off;
         -- What was acknowledged is on disk; a server that also waits for a standby keeps doing so.
         SELECT set_config('synchronous_commit', 'on', false)
          WHERE current_setting('synchronous_commit') IN ('off', 'local', 'remote_write');
         -- Some errors are told by their text alone.
         SELECT set_config('lc_messages', 'C', false)
          WHERE has_parameter_privilege('lc_messages', 'SET')",
    );
    if session.generic_plans {
        sql.push_str(";\n");
        sql.push_str(GENERIC_PLANS);
    }
    sql
}

/// What the URL says of TLS.
struct Tls {
    mode: SslMode,
    verify: bool,
    roots: Option<String>,
}

/// Takes `sslmode` and `sslrootcert` off the URL: tokio-postgres knows neither `verify-full` nor a root.
fn split_tls(url: &str) -> Result<(String, Tls), ConnectError> {
    let mut tls = Tls {
        mode: SslMode::Prefer,
        verify: false,
        roots: None,
    };
    if !url.starts_with("postgres://") && !url.starts_with("postgresql://") {
        return Err(ConnectError::Url(
            "it must start with postgres:// or postgresql://".into(),
        ));
    }
    // A password may hold a question mark: parameters begin behind the host.
    let host = url.find('@').unwrap_or_default();
    let Some(question_mark) = url[host..].find('?') else {
        return Ok((url.into(), tls));
    };
    let (base, parameters) = url.split_at(host + question_mark);
    let mut rest = Vec::new();
    for parameter in parameters[1..].split('&') {
        match parameter.split_once('=') {
            Some(("sslmode", value)) => {
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

impl Tls {
    fn client_config(&self) -> Result<ClientConfig, ConnectError> {
        // Named here: a process-wide default would depend on who else links rustls.
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
                .with_custom_certificate_verifier(Arc::new(Unverified(provider)))
                .with_no_client_auth()
        };
        Ok(config)
    }
}

/// The roots of a PEM file; without one, or for libpq's word `system`, the machine's.
fn roots(file: Option<&str>) -> Result<RootCertStore, ConnectError> {
    let (place, certificates, fault) = match file {
        Some(file) if file != "system" => {
            let read = CertificateDer::pem_file_iter(Path::new(file))
                .and_then(|certificates| certificates.collect::<Result<Vec<_>, _>>());
            let (certificates, fault) = match read {
                Ok(certificates) => (certificates, None),
                Err(error) => (Vec::new(), Some(error.to_string())),
            };
            (file.to_owned(), certificates, fault)
        }
        _ => {
            let found = rustls_native_certs::load_native_certs();
            let fault = found.errors.first().map(ToString::to_string);
            ("the machine's store".to_owned(), found.certs, fault)
        }
    };
    let mut roots = RootCertStore::empty();
    let (added, _) = roots.add_parsable_certificates(certificates);
    if added == 0 {
        let reason = fault.unwrap_or_else(|| "it holds none".into());
        return Err(ConnectError::Roots { place, reason });
    }
    Ok(roots)
}

/// Takes any certificate, but only from who has its key.
#[derive(Debug)]
struct Unverified(Arc<CryptoProvider>);

impl ServerCertVerifier for Unverified {
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

/// An error with its causes: tokio-postgres alone says «error connecting to server».
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        _ = write!(text, ": {cause}");
        source = cause.source();
    }
    text
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
    fn what_cannot_be_kept_is_refused_at_start() {
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
        assert_eq!(connector.database(), "d");
    }
}
