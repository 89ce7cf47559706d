//! Makes connections to Postgres: the URL, TLS, and the settings of the session.
//!
//! The `sslmode` of a database URL has the meaning that libpq gives it:
//!
//! | `sslmode` | meaning |
//! |---|---|
//! | `disable` | never TLS |
//! | absent, `prefer` | TLS if the server offers it; the certificate is not verified, so use it on one machine only |
//! | `require` | TLS or no connection; not verified: safe from passive listeners, not from a man in the middle |
//! | `verify-ca` | TLS; the certificate must lead to a trusted root, whatever name it has: safe if the root is a private one |
//! | `verify-full` | TLS; the certificate must lead to a trusted root and have the host name of the URL |
//!
//! Trusted roots are those of the operating system, or of the PEM file in `sslrootcert`. Any other value of `sslmode`
//! is an error. `sslcert` and `sslkey` name a certificate to present, and its private key. A unix socket has no TLS, and `sslmode` is ignored there.

use std::fmt::Write;
use std::future::{Future, poll_fn};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinHandle;
use tokio_postgres::config::{Host, LoadBalanceHosts, SslMode};
use tokio_postgres::{AsyncMessage, CancelToken, Client, Config, Connection};

use crate::db::error_text::{chain, text_of};
use crate::db::tls::{self, DatabaseTls, DatabaseTlsError, TlsParameters, TlsVerification};
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
    /// The parameters of TLS, or the files that they name, cannot be used.
    #[error(transparent)]
    Tls(#[from] DatabaseTlsError),
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
    /// Why nobody knows who answers, though the connection leaves this machine.
    unverified: Option<Arc<str>>,
    tls: Arc<DatabaseTls>,
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
        if !url.starts_with("postgres://") && !url.starts_with("postgresql://") {
            return Err(ConnectError::Url(
                "it must start with postgres:// or postgresql://".into(),
            ));
        }
        let (url, tls) = tls::split(url)?;
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
            unverified: unverified(&tls, &config).map(Into::into),
            config: Arc::new(config),
            tls: Arc::new(DatabaseTls::open(tls)?),
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
            let (client, connection) = server.connect(self.tls.connector()).await?;
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
            Ok(cancel::cancel(&connection, &self.config, &self.tls.connector()).await?)
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

    /// Warns if connections leave this machine, and the certificate of the server at their other end is not verified.
    pub fn warn_of_unverified_server(&self) {
        if let Some(why) = self.unverified.as_deref() {
            tracing::warn!(
                database = self.address(),
                "{why}: whoever answers in the database's place reads and writes everything; set sslmode=verify-full"
            );
        }
    }
}

/// Why nobody knows who answers at the other end of a connection that leaves this machine; `None` if that is verified.
fn unverified(tls: &TlsParameters, config: &Config) -> Option<String> {
    if tls.verification != TlsVerification::None || !host::is_remote(config) {
        return None;
    }
    Some(match tls.named.as_deref() {
        None => "the database URL has no sslmode: `prefer` is used, which takes TLS only if the server offers it, and verifies \
                 no certificate"
            .into(),
        Some("disable") => "sslmode=disable of the database URL encrypts nothing and verifies nobody".into(),
        Some(mode) => format!("sslmode={mode} of the database URL verifies no certificate"),
    })
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
                             SET enable_sort = off; SET enable_incremental_sort = off; SET enable_memoize = off;";

/// Keeps a session's memory between statements. The C library gives back to the system what is free at the end of the heap
/// if it is more than 128 kB, and a statement of the ledger needs about that: each took memory from the system and gave it
/// back, twice in some, with page faults besides. The library raises that limit to twice the size of the largest block that
/// was ever mapped for itself and freed: here 1 MB, so that a session keeps up to 2 MB.
const KEEP_MEMORY: &str = "SELECT octet_length(repeat(repeat('x', 1024), 1024));";

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
    sql.push_str(KEEP_MEMORY);
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

#[cfg(test)]
mod tests {
    use super::*;

    fn error(url: &str) -> String {
        Connector::new(url).expect_err("invalid").to_string()
    }

    #[test]
    fn a_url_that_cannot_be_used_is_refused() {
        let text = error("postgres://h/d?sslmode=verify-full&sslrootcert=/nowhere.pem");
        assert!(text.contains("sslrootcert=/nowhere.pem"), "{text}");
        assert!(error("postgres://h/d?sslmode=allow").contains("verify-ca"));
        assert!(error("host=h").contains("must start with"));
        assert!(error("postgres://h/d?what=1").contains("what"));
        assert!(error("postgres:///d").contains("no host"));
    }

    #[test]
    fn an_unverified_server_is_warned_of_if_it_is_on_another_machine() {
        let roots = tempfile::NamedTempFile::new().expect("a file");
        let key = rcgen::KeyPair::generate().expect("a key");
        let root = rcgen::CertificateParams::default().self_signed(&key);
        std::fs::write(roots.path(), root.expect("signed").pem()).expect("written");
        let with_roots = format!("&sslrootcert={}", roots.path().display());
        for (url, expected) in [
            ("postgres://h/d", Some("has no sslmode")),
            ("postgres://h/d?sslmode=prefer", Some("sslmode=prefer")),
            ("postgres://h/d?sslmode=require", Some("sslmode=require")),
            ("postgres://h/d?sslmode=disable", Some("encrypts nothing")),
            (
                &format!("postgres://h/d?sslmode=verify-ca{with_roots}"),
                None,
            ),
            (
                &format!("postgres://h/d?sslmode=verify-full{with_roots}"),
                None,
            ),
            ("postgres://localhost/d", None),
            ("postgres://127.0.0.1/d?sslmode=disable", None),
            ("postgres://u@%2Ftmp/d", None),
        ] {
            let connector = Connector::new(url).expect("valid");
            let why = connector.unverified.as_deref();
            assert_eq!(why.is_some(), expected.is_some(), "{url}");
            assert!(
                why.unwrap_or_default()
                    .contains(expected.unwrap_or_default()),
                "{url}"
            );
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
