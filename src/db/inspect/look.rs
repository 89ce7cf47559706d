//! The connection by which `earmark doctor` looks. Each look is a read-only transaction with short time limits of its own,
//! which are local to it: through a pooler, a setting of the session would reach servers.

use std::io;
use std::time::Duration;

use thiserror::Error;
use tokio::time::{Instant, timeout_at};
use tokio_postgres::error::SqlState;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Row};
use tokio_util::task::AbortOnDropHandle;

use crate::db::connect::{ConnectError, Connector};
use crate::db::error_text::text_of;
use crate::limits::{DOCTOR_CHECK_MAX, DOCTOR_LOCK_WAIT_MAX, DOCTOR_STATEMENT_MAX};

/// Why something could not be looked at.
#[derive(Debug, Error)]
pub(crate) enum InspectError {
    /// The role lacks a privilege; the text is Postgres's.
    #[error("the role may not see it: {0}")]
    Denied(String),
    /// A table, column or function is missing; the text is Postgres's.
    #[error("{0}")]
    Missing(String),
    /// There was no answer within this time.
    #[error("no answer within {0:?}")]
    TimedOut(Duration),
    /// The connection was lost, or another one cannot be made.
    #[error("the connection was lost: {0}")]
    Lost(String),
    /// Nothing was tried, since no connection could be made before.
    #[error("there is no connection any more")]
    Skipped,
    /// All looks together have taken as long as they may.
    #[error("the time for all checks was used up")]
    OutOfTime,
    /// Postgres refused the statement; the text is its own.
    #[error("{0}")]
    Failed(String),
}

impl From<tokio_postgres::Error> for InspectError {
    fn from(error: tokio_postgres::Error) -> Self {
        let text = text_of(&error);
        let missing = [
            SqlState::UNDEFINED_TABLE,
            SqlState::UNDEFINED_COLUMN,
            SqlState::UNDEFINED_FUNCTION,
        ];
        match error.code() {
            Some(&SqlState::INSUFFICIENT_PRIVILEGE) => Self::Denied(text),
            Some(code) if missing.contains(code) => Self::Missing(text),
            None if error.is_closed() => Self::Lost(text),
            _ => Self::Failed(text),
        }
    }
}

/// A read-only transaction, in which one thing is looked at.
pub(crate) struct Look<'a> {
    client: &'a Client,
}

impl Look<'_> {
    /// The rows of a query. Nothing is prepared by name: a pooler might not find it again.
    pub(super) async fn rows(
        &self,
        sql: &str,
        parameters: &[(&(dyn ToSql + Sync), Type)],
    ) -> Result<Vec<Row>, InspectError> {
        Ok(self.client.query_typed(sql, parameters).await?)
    }

    /// The only row of a query.
    pub(super) async fn row(
        &self,
        sql: &str,
        parameters: &[(&(dyn ToSql + Sync), Type)],
    ) -> Result<Row, InspectError> {
        Ok(self.client.query_typed_one(sql, parameters).await?)
    }

    /// Carries out statements without an answer, such as those that set something for this transaction.
    pub(super) async fn execute(&self, sql: &str) -> Result<(), InspectError> {
        Ok(self.client.batch_execute(sql).await?)
    }

    pub(super) fn client(&self) -> &Client {
        self.client
    }
}

struct InspectSession {
    client: Client,
    _driver: AbortOnDropHandle<()>,
}

/// A connection for looks, which is made again if it is lost.
pub(crate) struct Inspector {
    connector: Connector,
    session: Option<InspectSession>,
    /// Whether no other connection could be made. Nothing is tried after that.
    is_lost: bool,
    until: Instant,
}

impl Inspector {
    /// Connects for looks until this time. Returns how long that has taken, too.
    ///
    /// # Errors
    /// The same as those of [`Connector::connect`].
    pub(crate) async fn connect(
        connector: Connector,
        until: Instant,
    ) -> Result<(Self, Duration), ConnectError> {
        let begun = Instant::now();
        let session = connect(&connector).await?;
        let inspector = Self {
            connector,
            session: Some(session),
            is_lost: false,
            until,
        };
        Ok((inspector, begun.elapsed()))
    }

    /// Looks at one thing, for at most [`DOCTOR_CHECK_MAX`].
    ///
    /// # Errors
    /// What the look has met, or that there is no connection or no time for it.
    pub(crate) async fn look<T>(
        &mut self,
        ask: impl AsyncFnOnce(&Look<'_>) -> Result<T, InspectError>,
    ) -> Result<T, InspectError> {
        if self.is_lost {
            return Err(InspectError::Skipped);
        }
        let now = Instant::now();
        if now >= self.until {
            return Err(InspectError::OutOfTime);
        }
        let limit = (now + DOCTOR_CHECK_MAX).min(self.until);
        let session = match self.session.take() {
            Some(session) if !session.client.is_closed() => session,
            _ => match connect(&self.connector).await {
                Ok(session) => session,
                Err(error) => {
                    self.is_lost = true;
                    return Err(InspectError::Lost(error.to_string()));
                }
            },
        };
        let looked = timeout_at(limit, in_transaction(&session.client, ask)).await;
        // One that has not answered is closed, so that the next look does not wait for it.
        let looked = looked.map_err(|_| InspectError::TimedOut(limit - now))?;
        self.session = Some(session);
        looked
    }
}

async fn connect(connector: &Connector) -> Result<InspectSession, ConnectError> {
    let (client, driver) = connector.connect().await?;
    Ok(InspectSession {
        client,
        _driver: AbortOnDropHandle::new(driver),
    })
}

async fn in_transaction<T>(
    client: &Client,
    ask: impl AsyncFnOnce(&Look<'_>) -> Result<T, InspectError>,
) -> Result<T, InspectError> {
    let begin = format!(
        "BEGIN READ ONLY; SET LOCAL statement_timeout = {}; SET LOCAL lock_timeout = {}",
        DOCTOR_STATEMENT_MAX.as_millis(),
        DOCTOR_LOCK_WAIT_MAX.as_millis()
    );
    client.batch_execute(&begin).await?;
    let looked = ask(&Look { client }).await;
    client.batch_execute("ROLLBACK").await?;
    looked
}

/// What kind of failure a connection has met, by which the advice differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ConnectFailure {
    /// The URL, or a file that it names, cannot be used.
    Setting,
    /// The password is wrong, or missing.
    Password,
    /// `pg_hba.conf` lets nobody in who comes like this, or the role may not log in.
    NotAllowed,
    /// The cluster has no such database.
    NoDatabase,
    /// The server, the database or the role has as many connections as it may have.
    TooMany,
    /// The server is starting, stopping or recovering.
    NotReady,
    /// Nobody listens at the address.
    Refused,
    /// The host's name has no address.
    UnknownHost,
    /// The server offers no TLS, and the URL demands it.
    NoTls,
    /// The server's certificate is not accepted.
    Certificate,
    /// There was no answer.
    Silent,
    /// Something else; the error's text says what.
    Other,
}

impl ConnectFailure {
    pub(crate) fn of(error: &ConnectError) -> Self {
        match error {
            ConnectError::TimedOut(_) => Self::Silent,
            ConnectError::Postgres(error) => Self::of_postgres(error),
            ConnectError::Session(_) => Self::Other,
            _ => Self::Setting,
        }
    }

    fn of_postgres(error: &tokio_postgres::Error) -> Self {
        if let Some(code) = error.code() {
            return match code.code() {
                "28P01" => Self::Password,
                "28000" => Self::NotAllowed,
                "3D000" => Self::NoDatabase,
                "53300" => Self::TooMany,
                "57P03" | "57P01" | "57P02" => Self::NotReady,
                _ => Self::Other,
            };
        }
        let text = text_of(error);
        if text.contains("password missing") {
            return Self::Password;
        }
        if text.contains("failed to lookup address") {
            return Self::UnknownHost;
        }
        if text.contains("certificate") {
            return Self::Certificate;
        }
        if text.contains("server does not support TLS") {
            return Self::NoTls;
        }
        match io_kind(error) {
            Some(io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound) => Self::Refused,
            Some(io::ErrorKind::TimedOut) => Self::Silent,
            _ => Self::Other,
        }
    }
}

fn io_kind(error: &dyn std::error::Error) -> Option<io::ErrorKind> {
    let mut cause = error.source();
    while let Some(source) = cause {
        if let Some(io) = source.downcast_ref::<io::Error>() {
            return Some(io.kind());
        }
        cause = source.source();
    }
    None
}
