//! A write of one record outside of the ledger: a command, its idempotency key, and the transaction that both run in.

use std::future::Future;

use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use uuid::Uuid;

use crate::audit::{self, Named, WriteEffect};
use crate::db::pg_error::TransactionError;
use crate::db::pool::Pool;
use crate::db::request_key::{self, KeyUse, RequestKey};
use crate::db::schema::owner;
use crate::db::write::{self, Transaction};
use crate::error::{Error, RecordName, Result};
use crate::types::ids::OwnerId;
use crate::types::time::Time;

/// A command with what the write of any record takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordWrite<C> {
    /// The record to write, and how.
    pub command: C,
    /// The idempotency key, if the caller gave a `request_id`.
    pub key: Option<RequestKey>,
    /// Validates the command and returns its result, but writes nothing.
    pub validate_only: bool,
}

/// The result of a write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrittenRecord<T> {
    /// The record as it is after the write; of a deletion, as it was before.
    pub record: T,
    /// Whether an earlier call had applied the write, so that this one changed nothing.
    pub replayed: bool,
}

impl<T> WrittenRecord<T> {
    /// The result of a write that this call applied, or validated.
    pub fn applied(record: T) -> Self {
        Self {
            record,
            replayed: false,
        }
    }

    /// The result of a write that an earlier call had applied.
    pub fn replayed(record: T) -> Self {
        Self {
            record,
            replayed: true,
        }
    }
}

/// A command that writes one record.
pub trait RecordCommand: Send + Sync + 'static {
    /// The type of the record.
    type Record: Named + Send + 'static;

    /// Checks the command against what is stored, in the order in which its errors take precedence; then writes, unless
    /// the context is only to validate. May be called again after a conflict, in a new transaction.
    fn run(
        &self,
        context: &mut WriteContext<'_>,
    ) -> impl Future<Output = Result<WrittenRecord<Self::Record>, TransactionError>> + Send;
}

/// The transaction of a write.
pub struct WriteContext<'w> {
    /// The connection, on which the transaction has begun.
    pub connection: &'w mut AsyncPgConnection,
    /// Whether nothing is to be written: the transaction is then a read-only snapshot.
    pub validate_only: bool,
    key: Option<&'w RequestKey>,
}

impl WriteContext<'_> {
    /// The owner of the idempotency key, if the write has a key.
    pub fn key_owner(&self) -> Option<OwnerId> {
        self.key.map(|key| key.owner)
    }

    /// Locks the rows of these owners until the transaction ends, and returns the ids of those that exist. Does not
    /// lock if the context is only to validate.
    ///
    /// What must hold until the transaction ends is to be read afterwards: a statement that waits for a lock sees all
    /// rows but the locked ones as they were when it began.
    ///
    /// # Errors
    /// Those of the statement, a lock timeout included.
    pub async fn lock_owners(
        &mut self,
        owners: impl IntoIterator<Item = OwnerId>,
    ) -> QueryResult<Vec<OwnerId>> {
        let ids: Vec<Uuid> = owners.into_iter().map(|owner| owner.0).collect();
        // One statement, in the order of the ids, so that two transactions never wait for each other.
        let rows = owner::table
            .select(owner::owner_id)
            .filter(owner::owner_id.eq_any(ids))
            .order(owner::owner_id);
        let found: Vec<Uuid> = if self.validate_only {
            rows.load(self.connection).await?
        } else {
            rows.for_no_key_update().load(self.connection).await?
        };
        Ok(found.into_iter().map(OwnerId).collect())
    }

    /// What the write's key was used for before, if it was.
    ///
    /// # Errors
    /// Those of the statement.
    pub async fn key_use(&mut self) -> QueryResult<Option<KeyUse>> {
        match self.key {
            Some(key) => request_key::find(self.connection, key).await,
            None => Ok(None),
        }
    }

    /// The id of the record that the write's key was used for before, if it was.
    ///
    /// # Errors
    /// [`Error::IdempotencyKeyReused`] if the key was used with other content.
    pub async fn replayed_id(&mut self) -> Result<Option<Uuid>, TransactionError> {
        let Some(used) = self.key_use().await? else {
            return Ok(None);
        };
        used.require_same(None)?;
        Ok(Some(used.record))
    }

    /// The current time by the database's clock.
    ///
    /// # Errors
    /// Those of the statement.
    pub async fn now(&mut self) -> QueryResult<Time> {
        write::now(self.connection).await
    }

    /// Stores the write's key, if it has one, for the record that the write created or changed. The
    /// owner's row must exist.
    ///
    /// # Errors
    /// A serialization failure if another call stored the key meanwhile: the next attempt finds it.
    pub async fn keep_key(&mut self, record: Uuid, now: Time) -> Result<(), TransactionError> {
        match self.key {
            Some(key) => request_key::store(self.connection, key, record, now).await,
            None => Ok(()),
        }
    }
}

/// A write as a transaction, which may run several times.
struct RecordTransaction<C>(RecordWrite<C>);

impl<C: RecordCommand> Transaction for RecordTransaction<C> {
    type Output = WrittenRecord<C::Record>;

    async fn run(
        &self,
        connection: &mut AsyncPgConnection,
    ) -> Result<Self::Output, TransactionError> {
        let mut context = WriteContext {
            connection,
            validate_only: self.0.validate_only,
            key: self.0.key.as_ref(),
        };
        self.0.command.run(&mut context).await
    }
}

/// Executes a write in a transaction, or with `validate_only` in a read-only snapshot. `start` is called right before
/// the transaction begins and withdraws the write by returning false.
///
/// # Errors
/// Those of the command and of [`write::run`].
pub async fn execute<C: RecordCommand>(
    pool: &Pool,
    start: impl Fn() -> bool + Send + Sync + 'static,
    write: RecordWrite<C>,
) -> Result<WrittenRecord<C::Record>> {
    let validate_only = write.validate_only;
    let written = write::carry_out(pool, start, validate_only, RecordTransaction(write)).await?;
    let effect = match (written.replayed, validate_only) {
        (true, _) => WriteEffect::Replayed,
        (false, true) => WriteEffect::Validated,
        (false, false) => WriteEffect::Applied,
    };
    audit::report(|writes| writes.add(effect, &written.record));
    Ok(written)
}

/// Compares the version that the caller expects of the record with this id with the stored one.
///
/// # Errors
/// [`Error::VersionMismatch`] if the caller expects another version.
pub fn require_version(id: impl ToString, expected: Option<i64>, actual: i64) -> Result<()> {
    match expected {
        Some(expected) if expected != actual => Err(Error::VersionMismatch {
            record: RecordName::Id(id.to_string()),
            expected,
            actual,
        }),
        _ => Ok(()),
    }
}

/// The time of a change: `now`, or one microsecond after the record's last change if that is later.
pub fn time_of_change(now: Time, last_change: Option<Time>) -> Time {
    last_change.map_or(now, |last| now.max(last.next()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(micros: i64) -> Time {
        Time::from_micros(micros).expect("a storable time")
    }

    #[test]
    fn a_change_is_later_than_the_one_before_whatever_the_clock_says() {
        for (now, last, expected) in [
            (5, None, 5),
            (5, Some(3), 5),
            (5, Some(5), 6),
            (5, Some(9), 10),
        ] {
            assert_eq!(time_of_change(time(now), last.map(time)), time(expected));
        }
    }

    #[test]
    fn an_expected_version_must_be_the_stored_one() {
        assert_eq!(require_version(7, None, 3), Ok(()));
        assert_eq!(require_version(7, Some(3), 3), Ok(()));
        let (record, expected, actual) = (RecordName::Id("7".into()), 2, 3);
        assert_eq!(
            require_version(7, Some(2), 3),
            Err(Error::VersionMismatch {
                record,
                expected,
                actual
            })
        );
    }
}
