//! Classifies the errors of the database; no other module reads them.
//!
//! diesel distinguishes only some errors by kind. The others are classified by their English text, so every
//! session sets `lc_messages = C` where its role may. An unknown text becomes [`DbError::Other`], which
//! callers see as INTERNAL.

use diesel::result::{DatabaseErrorKind, Error as DieselError};
use tokio_postgres::error::{Error as PgError, SqlState};

use crate::db::error_text::chain;
use crate::db::log;
use crate::error::{DatabaseRefusal, Error, Outcome};

/// An error of a statement or of its connection, by what can be done about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DbError {
    /// Another row has the same value in the unique constraint or index with this name.
    Unique(String),
    /// The row violates the check constraint with this name.
    Check(String),
    /// The foreign key with this name refers to no row, or the row to be deleted is still referred to by it.
    ForeignKey(String),
    /// A conflict with a concurrent transaction. The whole transaction can be run again.
    Serialization,
    /// Postgres ended this transaction because it and another waited for each other.
    Deadlock,
    /// Another transaction held a lock for longer than `lock_timeout`.
    LockTimeout,
    /// The statement took longer than `statement_timeout`, or was cancelled.
    StatementTimeout,
    /// The server is read-only: it is a standby, or its administrator has made it read-only.
    ReadOnly,
    /// The server has no disk, memory or other resource left for this. The text is the server's.
    OutOfResources(String),
    /// An earlier statement of the transaction has failed, and its error was not seen.
    TransactionAborted,
    /// The connection was lost, so its open transaction is rolled back.
    ConnectionLost(String),
    /// A number is outside of the range of its type.
    NumericOverflow,
    /// The table does not exist, since migrations have not been run.
    MissingTable,
    /// Any other error, which is a bug of the server. The text is for the log.
    Other(String),
}

impl DbError {
    /// Whether the same transaction may succeed when it is run again from its start.
    pub fn is_contention(&self) -> bool {
        matches!(
            self,
            Self::Serialization | Self::Deadlock | Self::LockTimeout
        )
    }

    /// Whether the connection cannot be used any longer.
    pub fn is_connection_lost(&self) -> bool {
        matches!(self, Self::ConnectionLost(_))
    }

    /// Whether Postgres has answered that it did not execute the statement. A `COMMIT` that failed so was not applied;
    /// after any other error it may have been.
    pub fn is_surely_aborted(&self) -> bool {
        self.is_contention()
            || matches!(
                self,
                Self::Unique(_) | Self::Check(_) | Self::ForeignKey(_) | Self::ReadOnly
            )
    }

    /// The error of the call. `outcome` says whether the failed write may have been applied.
    pub fn into_error(self, outcome: Outcome) -> Error {
        match (self, outcome) {
            (Self::Serialization | Self::Deadlock | Self::LockTimeout, _) => Error::Contention,
            (Self::ReadOnly, Outcome::NotApplied) => {
                Error::DatabaseRefuses(DatabaseRefusal::ReadOnly)
            }
            (Self::OutOfResources(_), Outcome::NotApplied) => {
                Error::DatabaseRefuses(DatabaseRefusal::OutOfResources)
            }
            (
                Self::StatementTimeout
                | Self::ReadOnly
                | Self::OutOfResources(_)
                | Self::TransactionAborted
                | Self::ConnectionLost(_),
                outcome,
            ) => Error::DatabaseUnavailable(outcome),
            (
                fault @ (Self::Unique(_)
                | Self::Check(_)
                | Self::ForeignKey(_)
                | Self::NumericOverflow
                | Self::MissingTable
                | Self::Other(_)),
                outcome,
            ) => Error::Internal(format!("{fault:?}"), outcome),
        }
    }

    /// The same, with a line in the log if the cause is the state of the database. Errors of the call, and conflicts that
    /// are tried again, have none.
    pub(crate) fn logged(self, outcome: Outcome, database: &str) -> Error {
        let text = match &self {
            Self::StatementTimeout => "a statement was cancelled, or took too long (57014)",
            Self::ReadOnly => "it is read-only (25006)",
            Self::TransactionAborted => "an earlier statement of the transaction failed (25P02)",
            Self::OutOfResources(text) | Self::ConnectionLost(text) => text,
            _ => return self.into_error(outcome),
        };
        log::warn(database, "the database is unavailable", text);
        self.into_error(outcome)
    }

    /// Classifies an error by the English text of Postgres.
    fn by_text(text: &str) -> Self {
        let starts_with = |prefixes: &[&str]| prefixes.iter().any(|p| text.starts_with(p));
        if text == "deadlock detected" {
            Self::Deadlock
        } else if starts_with(&[
            "canceling statement due to lock timeout",
            "could not obtain lock on",
        ]) {
            Self::LockTimeout
        } else if starts_with(&["canceling statement due to"]) {
            Self::StatementTimeout
        } else if starts_with(&[
            "terminating connection",
            "the database system is",
            "sorry, too many clients",
            "remaining connection slots",
            "too many connections for",
        ]) {
            Self::ConnectionLost(text.into())
        } else if is_out_of_resources(text) {
            Self::OutOfResources(text.into())
        } else if starts_with(&["current transaction is aborted"]) {
            Self::TransactionAborted
        } else if is_read_only(text) {
            Self::ReadOnly
        } else if text == "value overflows numeric format"
            || text == "numeric field overflow"
            || text.ends_with("out of range")
        {
            Self::NumericOverflow
        } else if starts_with(&["relation ", "column "]) && text.ends_with(" does not exist") {
            Self::MissingTable
        } else {
            Self::Other(text.into())
        }
    }
}

impl From<DieselError> for DbError {
    fn from(error: DieselError) -> Self {
        match error {
            DieselError::DatabaseError(kind, info) => {
                let constraint = || info.constraint_name().unwrap_or_default().to_owned();
                match kind {
                    DatabaseErrorKind::UniqueViolation => Self::Unique(constraint()),
                    DatabaseErrorKind::CheckViolation => Self::Check(constraint()),
                    DatabaseErrorKind::ForeignKeyViolation
                    | DatabaseErrorKind::RestrictViolation => Self::ForeignKey(constraint()),
                    DatabaseErrorKind::SerializationFailure => Self::Serialization,
                    DatabaseErrorKind::ReadOnlyTransaction => Self::ReadOnly,
                    DatabaseErrorKind::UnableToSendCommand
                    | DatabaseErrorKind::ClosedConnection => {
                        Self::ConnectionLost(info.message().into())
                    }
                    _ => Self::by_text(info.message()),
                }
            }
            // diesel reports this after the connection was lost inside of a transaction.
            DieselError::BrokenTransactionManager => Self::ConnectionLost(error.to_string()),
            // The rollback after a failed commit failed too; the error of the commit is the cause.
            DieselError::RollbackErrorOnCommit { commit_error, .. } => Self::from(*commit_error),
            error => Self::Other(error.to_string()),
        }
    }
}

impl From<PgError> for DbError {
    fn from(error: PgError) -> Self {
        Self::from(&error)
    }
}

impl From<&PgError> for DbError {
    fn from(error: &PgError) -> Self {
        let Some(server) = error.as_db_error() else {
            // The error is not an answer of Postgres: a conversion failed, or the connection was lost.
            let lost = error.is_closed() || has_io_cause(error);
            let text = chain(error);
            return if lost {
                Self::ConnectionLost(text)
            } else {
                Self::Other(text)
            };
        };
        let constraint = || server.constraint().unwrap_or_default().to_owned();
        let text = || format!("{} ({})", server.message(), server.code().code());
        match *server.code() {
            SqlState::UNIQUE_VIOLATION => Self::Unique(constraint()),
            SqlState::CHECK_VIOLATION => Self::Check(constraint()),
            SqlState::FOREIGN_KEY_VIOLATION | SqlState::RESTRICT_VIOLATION => {
                Self::ForeignKey(constraint())
            }
            SqlState::T_R_SERIALIZATION_FAILURE => Self::Serialization,
            SqlState::T_R_DEADLOCK_DETECTED => Self::Deadlock,
            SqlState::LOCK_NOT_AVAILABLE => Self::LockTimeout,
            SqlState::QUERY_CANCELED => Self::StatementTimeout,
            SqlState::READ_ONLY_SQL_TRANSACTION => Self::ReadOnly,
            SqlState::NUMERIC_VALUE_OUT_OF_RANGE => Self::NumericOverflow,
            SqlState::UNDEFINED_TABLE | SqlState::UNDEFINED_COLUMN => Self::MissingTable,
            SqlState::IN_FAILED_SQL_TRANSACTION => Self::TransactionAborted,
            SqlState::ADMIN_SHUTDOWN
            | SqlState::CRASH_SHUTDOWN
            | SqlState::CANNOT_CONNECT_NOW
            | SqlState::DATABASE_DROPPED
            | SqlState::IDLE_SESSION_TIMEOUT
            | SqlState::IDLE_IN_TRANSACTION_SESSION_TIMEOUT
            | SqlState::TOO_MANY_CONNECTIONS => Self::ConnectionLost(text()),
            _ if is_read_only(server.message()) => Self::ReadOnly,
            // Class 53: insufficient resources.
            SqlState::IO_ERROR => Self::OutOfResources(text()),
            _ if server.code().code().starts_with("53") => Self::OutOfResources(text()),
            _ => Self::Other(text()),
        }
    }
}

/// The texts of class 53, by which diesel's errors are told apart. The system's own are in the language of the server.
fn is_out_of_resources(text: &str) -> bool {
    [
        "No space left on device",
        "Disk quota exceeded",
        "Input/output error",
        "out of memory",
        "out of shared memory",
        "temporary file size exceeds",
        "Too many open files",
        "Cannot allocate memory",
    ]
    .iter()
    .any(|part| text.contains(part))
}

/// A standby refuses `READ WRITE` with another SQLSTATE than a write.
fn is_read_only(text: &str) -> bool {
    text.starts_with("cannot set transaction read-write mode")
        || (text.starts_with("cannot execute ")
            && (text.ends_with(" in a read-only transaction")
                || text.ends_with(" during recovery")))
}

fn has_io_cause(error: &PgError) -> bool {
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        if cause.is::<std::io::Error>() {
            return true;
        }
        source = cause.source();
    }
    false
}

/// Why a read or a transaction failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TransactionError {
    /// The service refused the call with this error.
    Refused(Error),
    /// The database failed, or refused a statement.
    Database(DbError),
}

impl TransactionError {
    /// The error of the call. `outcome` says whether the failed write may have been applied.
    pub fn into_error(self, outcome: Outcome) -> Error {
        match self {
            Self::Refused(error) => error,
            Self::Database(fault) => fault.into_error(outcome),
        }
    }
}

impl From<Error> for TransactionError {
    fn from(error: Error) -> Self {
        Self::Refused(error)
    }
}

impl From<DbError> for TransactionError {
    fn from(fault: DbError) -> Self {
        Self::Database(fault)
    }
}

impl From<DieselError> for TransactionError {
    fn from(error: DieselError) -> Self {
        Self::Database(error.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_postgres_are_classified() {
        // `tests/it/db` compares these texts with those of a live server.
        let cases = [
            ("deadlock detected", DbError::Deadlock),
            (
                "canceling statement due to lock timeout",
                DbError::LockTimeout,
            ),
            (
                "canceling statement due to statement timeout",
                DbError::StatementTimeout,
            ),
            (
                "canceling statement due to user request",
                DbError::StatementTimeout,
            ),
            ("value overflows numeric format", DbError::NumericOverflow),
            ("bigint out of range", DbError::NumericOverflow),
        ];
        for (text, fault) in cases {
            assert_eq!(DbError::by_text(text), fault, "{text}");
        }
        for text in [
            "could not extend file \"base/5/16384\": No space left on device",
            "out of shared memory",
            "temporary file size exceeds temp_file_limit (64kB)",
        ] {
            assert_eq!(DbError::by_text(text), DbError::OutOfResources(text.into()));
        }
        for text in [
            "cannot execute INSERT in a read-only transaction",
            "cannot set transaction read-write mode during recovery",
            "cannot execute CREATE TABLE during recovery",
        ] {
            assert_eq!(DbError::by_text(text), DbError::ReadOnly);
        }
        let aborted =
            "current transaction is aborted, commands ignored until end of transaction block";
        assert_eq!(DbError::by_text(aborted), DbError::TransactionAborted);
        let lost = DbError::by_text("terminating connection due to administrator command");
        assert!(lost.is_connection_lost());
        assert!(matches!(DbError::by_text("whatever"), DbError::Other(_)));
    }

    #[test]
    fn only_what_the_server_refused_is_surely_aborted() {
        assert!(DbError::Serialization.is_surely_aborted());
        assert!(DbError::Unique("x".into()).is_surely_aborted());
        assert!(!DbError::ConnectionLost(String::new()).is_surely_aborted());
        assert!(!DbError::StatementTimeout.is_surely_aborted());
        assert!(!DbError::Other(String::new()).is_surely_aborted());
    }

    #[test]
    fn the_outcome_is_kept_where_the_write_may_have_been_applied() {
        let lost = DbError::ConnectionLost(String::new());
        assert_eq!(
            lost.into_error(Outcome::Unknown),
            Error::DatabaseUnavailable(Outcome::Unknown)
        );
        assert_eq!(
            DbError::Deadlock.into_error(Outcome::NotApplied),
            Error::Contention
        );
        for fault in [DbError::ReadOnly, DbError::OutOfResources(String::new())] {
            let unknown = fault.clone().into_error(Outcome::Unknown);
            assert_eq!(unknown, Error::DatabaseUnavailable(Outcome::Unknown));
            let refused = fault.into_error(Outcome::NotApplied);
            assert!(matches!(refused, Error::DatabaseRefuses(_)), "{refused:?}");
        }
        let other = DbError::Other("x".into()).into_error(Outcome::Unknown);
        assert_eq!(other.outcome(), Outcome::Unknown);
    }
}
