//! What writes of single records share inside of their transaction: owner locks, idempotency
//! key, version check, answer.

use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use uuid::Uuid;

use crate::db::pg_error::TransactionError;
use crate::db::request_key::{self, RequestKey};
use crate::db::schema::owner;
use crate::db::write;
use crate::error::{Error, Result};
use crate::types::ids::OwnerId;
use crate::types::time::Time;

/// The answer of a write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct WriteAnswer<T> {
    /// The record as it stands after the call.
    pub(crate) record: T,
    /// Whether an earlier call had applied the write, so that this one stored nothing.
    pub(crate) is_replay: bool,
}

impl<T> WriteAnswer<T> {
    /// The answer of a write that this call applied, or validated.
    pub(crate) fn applied(record: T) -> Self {
        Self {
            record,
            is_replay: false,
        }
    }

    /// The answer of a write that an earlier call applied.
    pub(crate) fn replayed(record: T) -> Self {
        Self {
            record,
            is_replay: true,
        }
    }
}

/// The open transaction of one write.
pub(crate) struct KeyedWrite<'c> {
    /// The connection with the open transaction, which is a read-only snapshot if `validate_only` is set.
    pub(crate) connection: &'c mut AsyncPgConnection,
    key: Option<&'c RequestKey>,
    validate_only: bool,
}

impl<'c> KeyedWrite<'c> {
    /// Begins a write in a transaction that is open already.
    pub(crate) fn new(
        connection: &'c mut AsyncPgConnection,
        key: Option<&'c RequestKey>,
        validate_only: bool,
    ) -> Self {
        Self {
            connection,
            key,
            validate_only,
        }
    }

    /// Whether the write is only to be validated: nothing may be stored.
    pub(crate) fn validate_only(&self) -> bool {
        self.validate_only
    }

    /// Locks the owner of the key and, if there is one, the owner of the record; returns false if the
    /// latter has no row.
    ///
    /// Whatever must hold until the transaction ends has to be read after this: a statement that waits for a lock sees
    /// all rows but the locked ones as they were when the statement began.
    ///
    /// # Errors
    /// Those of the database, as `TransactionError::Database`.
    pub(crate) async fn lock(&mut self, owner: Option<OwnerId>) -> Result<bool, TransactionError> {
        let key_owner = self.key.map(|key| key.owner);
        let wanted: Vec<Uuid> = key_owner.into_iter().chain(owner).map(|id| id.0).collect();
        let owners = owner::table
            .select(owner::owner_id)
            .filter(owner::owner_id.eq_any(wanted))
            .order(owner::owner_id);
        let found: Vec<Uuid> = if self.validate_only {
            owners.load(self.connection).await?
        } else {
            if let Some(key_owner) = key_owner {
                write::ensure_owner(self.connection, key_owner).await?;
            }
            // One statement that locks in the order of ids, so that no two transactions wait for each other.
            owners.for_no_key_update().load(self.connection).await?
        };
        Ok(owner.is_none_or(|id| found.contains(&id.0)))
    }

    /// The id of the record that an earlier call with the same key created or changed; `None` if there was none.
    ///
    /// # Errors
    /// The same as those of [`request_key::find_record`].
    pub(crate) async fn replayed_record(&mut self) -> Result<Option<Uuid>, TransactionError> {
        match self.key {
            Some(key) => request_key::find_record(self.connection, key).await,
            None => Ok(None),
        }
    }

    /// The database's clock; to be read after [`KeyedWrite::lock`], so that writes of an owner have
    /// times in their order.
    ///
    /// # Errors
    /// Those of the database, as `TransactionError::Database`.
    pub(crate) async fn now(&mut self) -> QueryResult<Time> {
        write::now(self.connection).await
    }

    /// Stores the key, if the call has one, for the record that the write created or changed at `now`.
    ///
    /// # Errors
    /// The same as those of [`request_key::store`].
    pub(crate) async fn store_key(
        &mut self,
        record: Uuid,
        now: Time,
    ) -> Result<(), TransactionError> {
        match self.key {
            Some(key) => request_key::store(self.connection, key, record, now).await,
            None => Ok(()),
        }
    }
}

/// Compares a record's version with the one that the caller expects; `None` expects none.
///
/// # Errors
/// [`Error::VersionMismatch`] if they differ.
pub(crate) fn require_version(expected: Option<i64>, actual: i64) -> Result<()> {
    match expected {
        Some(expected) if expected != actual => Err(Error::VersionMismatch { expected, actual }),
        _ => Ok(()),
    }
}
