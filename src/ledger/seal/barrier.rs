//! Waits until no transaction can write an entry of a period that has ended.
//!
//! A transaction that moves value locks its owners' rows, reads the database's clock under these locks, and gives its movements
//! the time of that clock, or a later one where the owner's last entry is not earlier. It holds the locks until it has committed.
//! So once the clock has passed the end of a period, whoever takes an owner's lock afterwards writes no entry of the period; and
//! once a seal has held the lock for an instant, whoever had it before has committed or is gone. What the seal reads of the
//! owner from then on is all that there will ever be of the period. A new bucket's row is inserted by the transaction that
//! writes its first entries, and cannot be seen before it commits: the seal waits for these by a lock of the table.
//!
//! This rests on a clock that goes forward. It may go back after a failover to a machine whose clock is behind, by less than the
//! grace period for which a seal waits past the end.
//!
//! The locks are given back at once, before anything is read, so that callers are not held up by the size of an owner's journal.

use tokio::time::{Instant, sleep};
use tokio_postgres::Client;
use uuid::Uuid;

use crate::db::pg_error::DbError;
use crate::limits::{DB_MIGRATION_WAIT_MAX, MIGRATION_LOCK_PAUSE, SEAL_LOCK_OWNERS};

/// Waits for the session's lock timeout at most, and gives way to those that wait behind it. The row lock is that of writers.
const LOCK_ONE: &str = "SELECT FROM owner WHERE owner_id = $1 FOR NO KEY UPDATE";
const LOCK_FREE: &str = "\
    SELECT owner_id FROM owner WHERE owner_id = ANY($1) ORDER BY owner_id FOR NO KEY UPDATE SKIP LOCKED";
const OWNERS: &str = "SELECT owner_id FROM owner WHERE owner_id > $1 ORDER BY owner_id LIMIT $2";
/// Waits for transactions that insert owners; those that only lock them go on.
const LOCK_TABLE: &str = "BEGIN; LOCK TABLE owner IN SHARE MODE; COMMIT";

/// Waits until each transaction that holds an owner's lock now has ended; false if one of them holds it for longer than
/// [`DB_MIGRATION_WAIT_MAX`]. The session, of which this is the only work, has a lock timeout: others may wait as long behind each attempt.
pub(super) async fn pass(client: &Client) -> Result<bool, tokio_postgres::Error> {
    let until = Instant::now() + DB_MIGRATION_WAIT_MAX;
    // Nothing is written that must be on disk before the locks are given back.
    client.batch_execute("SET synchronous_commit = off").await?;
    Ok(pass_table(client, until).await? && pass_rows(client, until).await?)
}

async fn pass_table(client: &Client, until: Instant) -> Result<bool, tokio_postgres::Error> {
    loop {
        match client.batch_execute(LOCK_TABLE).await {
            Ok(()) => return Ok(true),
            Err(error) if is_locked(&error) => client.batch_execute("ROLLBACK").await?,
            Err(error) => return Err(error),
        }
        if Instant::now() >= until {
            return Ok(false);
        }
        sleep(MIGRATION_LOCK_PAUSE).await;
    }
}

async fn pass_rows(client: &Client, until: Instant) -> Result<bool, tokio_postgres::Error> {
    let (owners, lock_free) = (
        client.prepare(OWNERS).await?,
        client.prepare(LOCK_FREE).await?,
    );
    let mut last = Uuid::nil();
    loop {
        let found = client.query(&owners, &[&last, &SEAL_LOCK_OWNERS]).await?;
        let found: Vec<Uuid> = found.iter().map(|row| row.get(0)).collect();
        let Some(newest) = found.last() else {
            return Ok(true);
        };
        last = *newest;
        // Each statement is a transaction of its own: the locks last until its end.
        let free = client.query(&lock_free, &[&found]).await?;
        let free: Vec<Uuid> = free.iter().map(|row| row.get(0)).collect();
        for owner in found {
            if free.binary_search(&owner).is_err() && !pass_row(client, owner, until).await? {
                return Ok(false);
            }
        }
    }
}

/// Waits for the lock of one owner, in the queue of those that wait for it.
async fn pass_row(
    client: &Client,
    owner: Uuid,
    until: Instant,
) -> Result<bool, tokio_postgres::Error> {
    loop {
        match client.execute(LOCK_ONE, &[&owner]).await {
            Ok(_) => return Ok(true),
            Err(error) if is_locked(&error) => {}
            Err(error) => return Err(error),
        }
        if Instant::now() >= until {
            return Ok(false);
        }
        sleep(MIGRATION_LOCK_PAUSE).await;
    }
}

fn is_locked(error: &tokio_postgres::Error) -> bool {
    matches!(DbError::from(error), DbError::LockTimeout)
}
