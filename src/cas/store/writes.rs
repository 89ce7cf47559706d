//! The writes. A change locks its record first and judges what it then reads, so that concurrent changes of a record are
//! carried out one after the other.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use diesel::dsl::exists;
use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use tokio::sync::{Mutex, MutexGuard};
use uuid::Uuid;

use super::reads;
use super::rows::{Row, SaidColumns};
use crate::cas::document::{self, READ_ONLY};
use crate::cas::model::{CasAllocation, Change, Command, Said, Target, Write, Written};
use crate::db::pg_error::{DbError, TransactionError};
use crate::db::pool::Pool;
use crate::db::request_key;
use crate::db::schema::cas_allocation;
use crate::db::write;
use crate::db::write::Transaction;
use crate::error::{Error, Result};
use crate::ledger::claim::Claim;
use crate::limits::CAS_RECORD_LOCKS;
use crate::types::content::ContentHash;
use crate::types::ids::{CasAllocationId, new_id};
use crate::types::time::Time;

/// Lets a process change a record once at a time. Changes that wait for their record in the database hold a connection each,
/// and many of one record would leave none for all others; those that wait here hold nothing. Cheap to clone.
#[derive(Clone, Debug)]
pub(in crate::cas) struct Turns(Arc<[Mutex<()>]>);

impl Turns {
    pub(in crate::cas) fn new() -> Self {
        Self((0..CAS_RECORD_LOCKS).map(|_| Mutex::default()).collect())
    }

    /// Waits for the record's turn. Some records share theirs: it only costs them time.
    async fn of(&self, target: &Target) -> MutexGuard<'_, ()> {
        let mut hasher = DefaultHasher::new();
        target.to_string().hash(&mut hasher);
        let index = hasher.finish() % self.0.len() as u64;
        self.0[usize::try_from(index).unwrap_or(0)].lock().await
    }
}

/// Carries a write out, or with `validate_only` judges it from a snapshot that nothing can be written to.
pub(in crate::cas) async fn carry_out(
    pool: &Pool,
    turns: &Turns,
    claim: &Claim,
    write: Write,
) -> Result<Written> {
    let validate_only = write.validate_only;
    let _turn = match &write.command {
        Command::Change { target, .. } if !validate_only => Some(turns.of(target).await),
        Command::Change { .. } | Command::Create(_) => None,
    };
    let claim = claim.clone();
    write::carry_out(pool, move || claim.take(), validate_only, write).await
}

impl Transaction for Write {
    type Output = Written;

    async fn run(&self, connection: &mut AsyncPgConnection) -> Result<Written, TransactionError> {
        if let Some(key) = &self.key
            && let Some(id) = request_key::find_record(connection, key).await?
        {
            let id = CasAllocationId(id);
            let found = reads::find(connection, self.firm, id).await?;
            let record = found.ok_or_else(|| Error::CasAllocationNotFound(id.to_string()))?;
            return Ok(replay(record));
        }
        match &self.command {
            Command::Create(said) => self.create(connection, said).await,
            Command::Change {
                target,
                expected_version,
                change,
            } => {
                self.change(connection, target, *expected_version, change)
                    .await
            }
        }
    }
}

/// A new row.
#[derive(Insertable)]
#[diesel(table_name = cas_allocation, treat_none_as_default_value = false)]
struct NewRow<'s> {
    owner_id: Uuid,
    id: Uuid,
    created_by: &'s str,
    created_at: DateTime<Utc>,
    last_modified_by: &'s str,
    last_modified_at: DateTime<Utc>,
    version: i64,
    content_hash: &'s [u8],
    #[diesel(embed)]
    said: SaidColumns<'s>,
}

impl Write {
    async fn create(
        &self,
        connection: &mut AsyncPgConnection,
        said: &Said,
    ) -> Result<Written, TransactionError> {
        let content = said.content().hash();
        let mut record = CasAllocation {
            id: None,
            created_by: self.subject.clone(),
            created_at: None,
            last_modified_by: self.subject.clone(),
            last_modified_at: None,
            version: 1,
            said: said.clone(),
        };
        if self.validate_only {
            let stored = self.stored(connection, said, content).await?;
            return Ok(stored.map_or_else(|| fresh(record), replay));
        }
        let now = write::now(connection).await?;
        let id = new_id();
        let row = NewRow {
            owner_id: self.firm.0,
            id,
            created_by: &self.subject,
            created_at: now.to_chrono(),
            last_modified_by: &self.subject,
            last_modified_at: now.to_chrono(),
            version: record.version,
            content_hash: &content.0,
            said: said.into(),
        };
        let inserted = diesel::insert_into(cas_allocation::table)
            .values(row)
            .on_conflict((cas_allocation::owner_id, cas_allocation::source_id))
            .do_nothing()
            .execute(connection)
            .await?;
        if inserted == 0 {
            let stored = self.stored(connection, said, content).await?;
            // Deleted since: run again, the transaction finds the source id free.
            return Ok(replay(stored.ok_or(DbError::Serialization)?));
        }
        self.keep_key(connection, id, now).await?;
        record.id = Some(CasAllocationId(id));
        record.created_at = Some(now);
        record.last_modified_at = Some(now);
        Ok(fresh(record))
    }

    /// The record that has the source id already, if it was created with the same content.
    async fn stored(
        &self,
        connection: &mut AsyncPgConnection,
        said: &Said,
        content: ContentHash,
    ) -> Result<Option<CasAllocation>, TransactionError> {
        let Some(source_id) = &said.source_id else {
            return Ok(None);
        };
        let found: Option<(Row, Vec<u8>)> = cas_allocation::table
            .filter(cas_allocation::owner_id.eq(self.firm.0))
            .filter(cas_allocation::source_id.eq(source_id))
            .select((Row::as_select(), cas_allocation::content_hash))
            .first(connection)
            .await
            .optional()?;
        match found {
            None => Ok(None),
            Some((row, hash)) if hash == content.0 => Ok(Some(row.try_into()?)),
            Some(_) => {
                let field = "allocation.source_id";
                Err(Error::IdempotencyKeyReused { field }.into())
            }
        }
    }

    async fn change(
        &self,
        connection: &mut AsyncPgConnection,
        target: &Target,
        expected_version: Option<i64>,
        change: &Change,
    ) -> Result<Written, TransactionError> {
        let (id, mut record) = self.find(connection, target).await?;
        if let Some(expected) = expected_version
            && expected != record.version
        {
            let actual = record.version;
            return Err(Error::VersionMismatch { expected, actual }.into());
        }
        let said = match change {
            Change::Delete => {
                self.delete(connection, id).await?;
                return Ok(fresh(record));
            }
            Change::Replace(said) => said.as_ref().clone(),
            Change::Patch(patch) => {
                let document = patch.apply(document::write(&record), &READ_ONLY)?;
                document::read(&document)?
            }
        };
        if said.source_id != record.said.source_id {
            self.require_free(connection, &said).await?;
        }
        let last_modified_at = record.last_modified_at.take();
        record.last_modified_by.clone_from(&self.subject);
        record.version += 1;
        record.said = said;
        if self.validate_only {
            return Ok(fresh(record));
        }
        let now = write::now(connection).await?;
        // Later than the write before, whatever the clock does.
        let modified_at = now.max(last_modified_at.map_or(now, Time::next));
        record.last_modified_at = Some(modified_at);
        diesel::update(cas_allocation::table.find((self.firm.0, id)))
            .set((
                cas_allocation::last_modified_by.eq(&self.subject),
                cas_allocation::last_modified_at.eq(modified_at.to_chrono()),
                cas_allocation::version.eq(record.version),
                SaidColumns::from(&record.said),
            ))
            .execute(connection)
            .await
            .map_err(|error| taken_meanwhile(error.into(), &record.said))?;
        self.keep_key(connection, id, now).await?;
        Ok(fresh(record))
    }

    async fn delete(
        &self,
        connection: &mut AsyncPgConnection,
        id: Uuid,
    ) -> Result<(), TransactionError> {
        if self.validate_only {
            return Ok(());
        }
        diesel::delete(cas_allocation::table.find((self.firm.0, id)))
            .execute(connection)
            .await?;
        let now = write::now(connection).await?;
        self.keep_key(connection, id, now).await
    }

    /// The record, locked unless the call is only to validate: nobody else changes it before this transaction ends.
    async fn find(
        &self,
        connection: &mut AsyncPgConnection,
        target: &Target,
    ) -> Result<(Uuid, CasAllocation), TransactionError> {
        let of_firm = cas_allocation::table
            .filter(cas_allocation::owner_id.eq(self.firm.0))
            .select((cas_allocation::id, Row::as_select()));
        let found: Option<(Uuid, Row)> = match (target, self.validate_only) {
            (Target::Id(id), true) => {
                let by_id = of_firm.filter(cas_allocation::id.eq(id.0));
                by_id.first(connection).await
            }
            (Target::Id(id), false) => {
                let by_id = of_firm.filter(cas_allocation::id.eq(id.0));
                by_id.for_update().first(connection).await
            }
            (Target::SourceId(id), true) => {
                let by_source_id = of_firm.filter(cas_allocation::source_id.eq(id));
                by_source_id.first(connection).await
            }
            (Target::SourceId(id), false) => {
                let by_source_id = of_firm.filter(cas_allocation::source_id.eq(id));
                by_source_id.for_update().first(connection).await
            }
        }
        .optional()?;
        let (id, row) = found.ok_or_else(|| Error::CasAllocationNotFound(target.to_string()))?;
        Ok((id, row.try_into()?))
    }

    /// Refuses a source id that another record has.
    async fn require_free(
        &self,
        connection: &mut AsyncPgConnection,
        said: &Said,
    ) -> Result<(), TransactionError> {
        let Some(source_id) = &said.source_id else {
            return Ok(());
        };
        let holder = cas_allocation::table
            .filter(cas_allocation::owner_id.eq(self.firm.0))
            .filter(cas_allocation::source_id.eq(source_id));
        match diesel::select(exists(holder))
            .get_result(connection)
            .await?
        {
            true => Err(Error::SourceIdTaken(source_id.clone()).into()),
            false => Ok(()),
        }
    }

    async fn keep_key(
        &self,
        connection: &mut AsyncPgConnection,
        record: Uuid,
        now: Time,
    ) -> Result<(), TransactionError> {
        let Some(key) = &self.key else {
            return Ok(());
        };
        write::ensure_owner(connection, key.owner).await?;
        request_key::store(connection, key, record, now).await
    }
}

/// What an update failed with: another record may have taken the source id since it was looked for.
fn taken_meanwhile(fault: DbError, said: &Said) -> TransactionError {
    match (&fault, &said.source_id) {
        (DbError::Unique(name), Some(source_id)) if name == "cas_allocation_source_id_key" => {
            Error::SourceIdTaken(source_id.clone()).into()
        }
        _ => fault.into(),
    }
}

fn fresh(record: CasAllocation) -> Written {
    Written {
        record,
        replayed: false,
    }
}

fn replay(record: CasAllocation) -> Written {
    Written {
        record,
        replayed: true,
    }
}
