//! The SQL: one statement after the other.

use earmark::error::{Error, Result};
use earmark::types::ids::ordered_id;
use rust_decimal::Decimal;
use tokio_postgres::Transaction;
use tokio_postgres::types::ToSql;

use super::{TextbookAction, TextbookBucket, TextbookDone, TextbookRequest};
use crate::textbook::bucket_statements::{OWN, TextbookBucketStatements, WORLD};
use crate::textbook::store::{TextbookSession, failed};

impl TextbookSession {
    /// One interactive transaction; what fails in it rolls it back.
    pub(super) async fn act(&mut self, act: TextbookRequest) -> Result<TextbookDone> {
        let db = self.client.transaction().await.map_err(failed)?;
        let done = judge(&db, &self.buckets, act).await?;
        write(&db, &self.buckets, &done).await.map_err(failed)?;
        db.commit().await.map_err(failed)?;
        Ok(done)
    }
}

/// Locks, reads, and refuses what cannot be done.
async fn judge(
    db: &Transaction<'_>,
    statements: &TextbookBucketStatements,
    act: TextbookRequest,
) -> Result<TextbookDone> {
    let one = async |statement, parameters: &[&(dyn ToSql + Sync)]| {
        db.query_opt(statement, parameters).await.map_err(failed)
    };
    let owner = act.owner.0;
    let locked = one(&statements.lock, &[&owner]).await?;
    locked.ok_or_else(|| Error::BucketNotFound(act.bucket.clone()))?;
    let row = one(&statements.bucket, &[&owner, &act.unit, &OWN, &WORLD]).await?;
    let row = row.ok_or_else(|| Error::internal("the bench's buckets can all be used"))?;
    let used = one(&statements.key, &[&owner, &act.key, &act.action.name()]).await?;
    if used.is_some() {
        return Err(Error::IdempotencyKeyReused {
            field: "request_id",
            holder: None,
            stored: Vec::new(),
        });
    }
    let mut bucket = TextbookBucket {
        name: row.get(0),
        usage_type: row.get(1),
        party_account: row.get(2),
        details: row.get(3),
        updates: row.get(4),
        available: row.get(5),
        held: row.get(6),
        version: row.get(7),
        reservation_count: row.get(8),
        world: row.get(9),
        world_version: row.get(10),
        clock: row.get(11),
    };
    if bucket.available < act.amount {
        return Err(Error::internal("the bench's buckets never run dry"));
    }
    bucket.available -= act.amount;
    bucket.version += 1;
    match act.action {
        TextbookAction::Reserve => {
            bucket.held += act.amount;
            bucket.reservation_count += 1;
        }
        TextbookAction::Deduct => {
            bucket.world += act.amount;
            bucket.world_version += 1;
        }
    }
    Ok(TextbookDone {
        id: ordered_id(bucket.clock.into(), fastrand::u64(..).to_be_bytes()),
        act,
        bucket,
    })
}

/// Writes the action, the entries and the accounts.
async fn write(
    db: &Transaction<'_>,
    statements: &TextbookBucketStatements,
    TextbookDone { act, id, bucket }: &TextbookDone,
) -> Result<(), tokio_postgres::Error> {
    let (owner, unit, time) = (&act.owner.0, &act.unit, &bucket.clock);
    let details = act.details.json();
    let remaining: Option<Decimal> = (act.action == TextbookAction::Reserve).then_some(act.amount);
    let action: [&(dyn ToSql + Sync); 16] = [
        owner,
        id,
        &act.tenant.0,
        &act.bucket,
        &bucket.party_account,
        &act.action.name(),
        &act.action.status(),
        &act.key,
        &&act.content(&details)[..],
        unit,
        &act.amount,
        &remaining,
        &bucket.version,
        &details,
        &act.subject,
        time,
    ];
    let insert = match act.action {
        TextbookAction::Reserve => &statements.insert_reserve,
        TextbookAction::Deduct => &statements.insert_deduct,
    };
    db.execute(insert, &action).await?;
    let (available, held, version) = (&bucket.available, &bucket.held, &bucket.version);
    let (world, world_version) = (&bucket.world, &bucket.world_version);
    let count = &bucket.reservation_count;
    let own_entry: [&(dyn ToSql + Sync); 10] = [
        owner,
        &OWN,
        unit,
        version,
        &act.amount,
        available,
        held,
        id,
        time,
        count,
    ];
    match act.action {
        TextbookAction::Reserve => {
            db.execute(&statements.insert_reserve_entry, &own_entry)
                .await?;
            let account: [&(dyn ToSql + Sync); 7] =
                [owner, &OWN, unit, available, held, version, count];
            db.execute(&statements.update_account, &account).await?;
        }
        TextbookAction::Deduct => {
            let world_entry: [&(dyn ToSql + Sync); 3] = [&WORLD, world_version, world];
            let entries = [&own_entry[..], &world_entry].concat();
            db.execute(&statements.insert_deduct_entries, &entries)
                .await?;
            let accounts: [&(dyn ToSql + Sync); 8] = [
                owner,
                unit,
                &OWN,
                available,
                version,
                &WORLD,
                world,
                world_version,
            ];
            db.execute(&statements.update_accounts, &accounts).await?;
        }
    }
    Ok(())
}
