//! The writes: each command judges under its owners' locks, and writes what it answers.

mod connections;
mod enterprises;
mod sides;

use std::future::Future;

use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use uuid::Uuid;

use crate::db::pg_error::Failure;
use crate::db::pool::Pool;
use crate::db::request_key::{self, Key};
use crate::db::schema;
use crate::db::write;
use crate::db::write::Transaction;
use crate::error::{Error, Result};
use crate::ledger::claim::Claim;
use crate::network::model::{Times, Write};
use crate::types::ids::{EnterpriseId, OwnerId, ordered_id};
use crate::types::time::Time;

/// What came of a command.
#[derive(Clone, Debug)]
pub(in crate::network) struct Written<T> {
    /// The record as it stands now.
    pub(in crate::network) record: T,
    /// Whether its key was used before, and so nothing was written.
    pub(in crate::network) replayed: bool,
}

/// Carries a command out, or with `validate_only` judges it from a snapshot that nothing can be written to.
pub(in crate::network) async fn carry_out<C: Command>(
    pool: &Pool,
    claim: &Claim,
    write: Write<C>,
) -> Result<Written<C::Record>> {
    let (claim, validate_only) = (claim.clone(), write.validate_only);
    write::carry_out(pool, move || claim.take(), validate_only, Job(write)).await
}

/// A command as a transaction.
struct Job<C>(Write<C>);

impl<C: Command> Transaction for Job<C> {
    type Output = Written<C::Record>;

    async fn run(&self, connection: &mut AsyncPgConnection) -> Result<Self::Output, Failure> {
        let mut work = Work {
            connection,
            key: self.0.key.as_ref(),
            validate_only: self.0.validate_only,
        };
        self.0.command.run(&mut work).await
    }
}

/// A command on one record.
pub(in crate::network) trait Command: Send + Sync + 'static {
    /// The record.
    type Record: Send + 'static;

    /// Judges in the order of the contract, then writes unless the work is only to validate.
    fn run(
        &self,
        work: &mut Work<'_>,
    ) -> impl Future<Output = Result<Written<Self::Record>, Failure>> + Send;
}

/// A transaction, and what every command does in one.
pub(in crate::network) struct Work<'w> {
    connection: &'w mut AsyncPgConnection,
    key: Option<&'w Key>,
    validate_only: bool,
}

impl Work<'_> {
    /// Locks the owner of the key and the enterprise; false if there is no such enterprise. Nothing that must hold until
    /// the end may be read before: a statement that waits for a lock sees all but the locked rows as they were when it
    /// began.
    async fn lock(&mut self, enterprise: Option<EnterpriseId>) -> Result<bool, Failure> {
        use schema::owner;

        let key_owner = self.key.map(|key| key.owner.0);
        let enterprise = enterprise.map(|id| id.0);
        let wanted: Vec<Uuid> = key_owner.into_iter().chain(enterprise).collect();
        let owners = owner::table
            .select(owner::owner_id)
            .filter(owner::owner_id.eq_any(wanted))
            .order(owner::owner_id);
        let found: Vec<Uuid> = if self.validate_only {
            owners.load(self.connection).await?
        } else {
            if let Some(key_owner) = key_owner {
                write::ensure_owner(self.connection, OwnerId(key_owner)).await?;
            }
            // One statement, in one order, so that no two transactions wait for each other.
            owners.for_no_key_update().load(self.connection).await?
        };
        Ok(enterprise.is_none_or(|id| found.contains(&id)))
    }

    /// The record that the key stands for, if it was used before.
    async fn replayed(&mut self) -> Result<Option<Uuid>, Failure> {
        match self.key {
            Some(key) => request_key::replayed(self.connection, key).await,
            None => Ok(None),
        }
    }

    /// The database's clock.
    async fn now(&mut self) -> QueryResult<Time> {
        write::now(self.connection).await
    }

    /// Ends a write: keeps the key, if there is one.
    async fn keep_key(&mut self, record: Uuid, now: Time) -> Result<(), Failure> {
        match self.key {
            Some(key) => request_key::keep(self.connection, key, record, now).await,
            None => Ok(()),
        }
    }
}

/// An id whose place among all ids is that of its record's creation.
fn new_id(now: Time) -> Uuid {
    let (_, chance) = Uuid::new_v4().as_u64_pair();
    ordered_id(now, chance.to_be_bytes())
}

fn created(now: Time) -> Times {
    Times {
        created_at: Some(now),
        updated_at: Some(now),
    }
}

/// A change is later than the one before, whatever the clock does.
fn updated(times: Times, now: Time) -> Times {
    let earliest = times.updated_at.map_or(now, Time::next);
    Times {
        updated_at: Some(now.max(earliest)),
        ..times
    }
}

/// What a change answers that was only validated: the version it would have, but no time.
fn not_updated(times: Times) -> Times {
    Times {
        updated_at: None,
        ..times
    }
}

fn require_version(expected: Option<i64>, actual: i64) -> Result<()> {
    match expected {
        Some(expected) if expected != actual => Err(Error::VersionMismatch { expected, actual }),
        _ => Ok(()),
    }
}

fn fresh<T>(record: T) -> Written<T> {
    Written {
        record,
        replayed: false,
    }
}

fn replay<T>(record: T) -> Written<T> {
    Written {
        record,
        replayed: true,
    }
}
