//! The writes. A change first locks the record's row and then reads it, so that concurrent changes of a record are
//! applied one after the other.

use chrono::{DateTime, Utc};
use diesel::dsl::exists;
use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use uuid::Uuid;

use super::locks::RecordLocks;
use super::reads;
use super::rows::{RecordFieldColumns, Row};
use crate::cas::document::{self, SERVER_MEMBERS};
use crate::cas::model::{CasAllocation, RecordFields};
use crate::cas::write::{
    AuthoredCommand, CasChange, CasTarget, ChangeCasAllocation, CreateCasAllocation,
};
use crate::db::pg_error::{DbError, TransactionError};
use crate::db::pool::Pool;
use crate::db::record_write::{
    self, RecordCommand, RecordWrite, WriteContext, WrittenRecord, require_version, time_of_change,
};
use crate::db::schema::cas_allocation;
use crate::db::write;
use crate::error::{Error, Result};
use crate::ledger::claim::Claim;
use crate::types::content::ContentHash;
use crate::types::ids::{CasAllocationId, OwnerId, new_id};
use crate::types::time::Time;

/// Creates a record; with `validate_only` checks whether it could be created.
pub(in crate::cas) async fn create(
    pool: &Pool,
    claim: &Claim,
    write: RecordWrite<AuthoredCommand<CreateCasAllocation>>,
) -> Result<WrittenRecord<CasAllocation>> {
    let claim = claim.clone();
    record_write::execute(pool, move || claim.take(), write).await
}

/// Changes or deletes a record; with `validate_only` checks whether that could be done.
pub(in crate::cas) async fn change(
    pool: &Pool,
    locks: &RecordLocks,
    claim: &Claim,
    write: RecordWrite<AuthoredCommand<ChangeCasAllocation>>,
) -> Result<WrittenRecord<CasAllocation>> {
    let _lock = match write.validate_only {
        true => None,
        false => Some(locks.lock(&write.command.command.target).await),
    };
    let claim = claim.clone();
    record_write::execute(pool, move || claim.take(), write).await
}

impl RecordCommand for AuthoredCommand<CreateCasAllocation> {
    type Record = CasAllocation;

    async fn run(
        &self,
        context: &mut WriteContext<'_>,
    ) -> Result<WrittenRecord<CasAllocation>, TransactionError> {
        let firm = self.author.firm;
        if let Some(record) = replayed_record(context, firm).await? {
            return Ok(WrittenRecord::replayed(record));
        }
        let fields = &self.command.fields;
        let content = fields.content().hash();
        let mut record = CasAllocation {
            id: None,
            created_by: self.author.subject.clone(),
            created_at: None,
            last_modified_by: self.author.subject.clone(),
            last_modified_at: None,
            version: 1,
            fields: fields.clone(),
        };
        if context.validate_only {
            let stored = find_created(context.connection, firm, fields, content).await?;
            return Ok(match stored {
                Some(stored) => WrittenRecord::replayed(stored),
                None => WrittenRecord::applied(record),
            });
        }
        let now = context.now().await?;
        let id = new_id();
        let row = NewCasAllocation {
            owner_id: firm.0,
            id,
            created_by: &record.created_by,
            created_at: now.to_chrono(),
            last_modified_by: &record.last_modified_by,
            last_modified_at: now.to_chrono(),
            version: record.version,
            content_hash: &content.0,
            fields: fields.into(),
        };
        let inserted = diesel::insert_into(cas_allocation::table)
            .values(row)
            .on_conflict((cas_allocation::owner_id, cas_allocation::source_id))
            .do_nothing()
            .execute(context.connection)
            .await?;
        if inserted == 0 {
            let stored = find_created(context.connection, firm, fields, content).await?;
            // Deleted after the insertion met it: the next attempt finds the source id free.
            let stored = stored.ok_or(DbError::Serialization)?;
            return Ok(WrittenRecord::replayed(stored));
        }
        keep_key(context, id, now).await?;
        record.id = Some(CasAllocationId(id));
        record.created_at = Some(now);
        record.last_modified_at = Some(now);
        Ok(WrittenRecord::applied(record))
    }
}

impl RecordCommand for AuthoredCommand<ChangeCasAllocation> {
    type Record = CasAllocation;

    async fn run(
        &self,
        context: &mut WriteContext<'_>,
    ) -> Result<WrittenRecord<CasAllocation>, TransactionError> {
        let firm = self.author.firm;
        if let Some(record) = replayed_record(context, firm).await? {
            return Ok(WrittenRecord::replayed(record));
        }
        let (id, mut record) = find_target(context, firm, &self.command.target).await?;
        require_version(self.command.expected_version, record.version)?;
        let fields = match &self.command.change {
            CasChange::Delete => {
                delete(context, firm, id).await?;
                return Ok(WrittenRecord::applied(record));
            }
            CasChange::Replace(fields) => fields.as_ref().clone(),
            CasChange::Patch(patch) => {
                let document = patch.apply(document::write(&record), &SERVER_MEMBERS)?;
                document::read(&document)?
            }
        };
        if fields.source_id != record.fields.source_id {
            require_free_source_id(context.connection, firm, &fields).await?;
        }
        let last_modified_at = record.last_modified_at.take();
        record.last_modified_by.clone_from(&self.author.subject);
        record.version += 1;
        record.fields = fields;
        if context.validate_only {
            return Ok(WrittenRecord::applied(record));
        }
        let now = context.now().await?;
        let modified_at = time_of_change(now, last_modified_at);
        record.last_modified_at = Some(modified_at);
        diesel::update(cas_allocation::table.find((firm.0, id)))
            .set((
                cas_allocation::last_modified_by.eq(&record.last_modified_by),
                cas_allocation::last_modified_at.eq(modified_at.to_chrono()),
                cas_allocation::version.eq(record.version),
                RecordFieldColumns::from(&record.fields),
            ))
            .execute(context.connection)
            .await
            .map_err(|error| update_failure(error.into(), &record.fields))?;
        keep_key(context, id, now).await?;
        Ok(WrittenRecord::applied(record))
    }
}

/// A row to insert into `cas_allocation`.
#[derive(Insertable)]
#[diesel(table_name = cas_allocation, treat_none_as_default_value = false)]
struct NewCasAllocation<'r> {
    owner_id: Uuid,
    id: Uuid,
    created_by: &'r str,
    created_at: DateTime<Utc>,
    last_modified_by: &'r str,
    last_modified_at: DateTime<Utc>,
    version: i64,
    content_hash: &'r [u8],
    #[diesel(embed)]
    fields: RecordFieldColumns<'r>,
}

/// The record that an earlier call with the same idempotency key wrote, as it is stored now.
async fn replayed_record(
    context: &mut WriteContext<'_>,
    firm: OwnerId,
) -> Result<Option<CasAllocation>, TransactionError> {
    let Some(id) = context.replayed_id().await? else {
        return Ok(None);
    };
    let id = CasAllocationId(id);
    match reads::find(context.connection, firm, id).await? {
        Some(record) => Ok(Some(record)),
        None => Err(Error::CasAllocationNotFound(id.to_string()).into()),
    }
}

/// The stored record with the source id of `fields`, which an earlier call created with the same content.
///
/// # Errors
/// [`Error::IdempotencyKeyReused`] if the stored record was created with other content.
async fn find_created(
    connection: &mut AsyncPgConnection,
    firm: OwnerId,
    fields: &RecordFields,
    content: ContentHash,
) -> Result<Option<CasAllocation>, TransactionError> {
    let Some(source_id) = &fields.source_id else {
        return Ok(None);
    };
    let found: Option<(Row, Vec<u8>)> = cas_allocation::table
        .filter(cas_allocation::owner_id.eq(firm.0))
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
            let holder = None;
            Err(Error::IdempotencyKeyReused { field, holder }.into())
        }
    }
}

/// The record to change. Its row is locked until the transaction ends, unless the context is only to validate.
async fn find_target(
    context: &mut WriteContext<'_>,
    firm: OwnerId,
    target: &CasTarget,
) -> Result<(Uuid, CasAllocation), TransactionError> {
    let of_firm = cas_allocation::table
        .filter(cas_allocation::owner_id.eq(firm.0))
        .select((cas_allocation::id, Row::as_select()));
    let found: Option<(Uuid, Row)> = match (target, context.validate_only) {
        (CasTarget::Id(id), true) => {
            let by_id = of_firm.filter(cas_allocation::id.eq(id.0));
            by_id.first(context.connection).await
        }
        (CasTarget::Id(id), false) => {
            let by_id = of_firm.filter(cas_allocation::id.eq(id.0));
            by_id.for_update().first(context.connection).await
        }
        (CasTarget::SourceId(id), true) => {
            let by_source_id = of_firm.filter(cas_allocation::source_id.eq(id));
            by_source_id.first(context.connection).await
        }
        (CasTarget::SourceId(id), false) => {
            let by_source_id = of_firm.filter(cas_allocation::source_id.eq(id));
            by_source_id.for_update().first(context.connection).await
        }
    }
    .optional()?;
    let (id, row) = found.ok_or_else(|| Error::CasAllocationNotFound(target.to_string()))?;
    Ok((id, row.try_into()?))
}

async fn delete(
    context: &mut WriteContext<'_>,
    firm: OwnerId,
    id: Uuid,
) -> Result<(), TransactionError> {
    if context.validate_only {
        return Ok(());
    }
    diesel::delete(cas_allocation::table.find((firm.0, id)))
        .execute(context.connection)
        .await?;
    let now = context.now().await?;
    keep_key(context, id, now).await
}

/// Refuses a source id that another record of the firm has.
async fn require_free_source_id(
    connection: &mut AsyncPgConnection,
    firm: OwnerId,
    fields: &RecordFields,
) -> Result<(), TransactionError> {
    let Some(source_id) = &fields.source_id else {
        return Ok(());
    };
    let holder = cas_allocation::table
        .filter(cas_allocation::owner_id.eq(firm.0))
        .filter(cas_allocation::source_id.eq(source_id));
    match diesel::select(exists(holder))
        .get_result(connection)
        .await?
    {
        true => Err(Error::SourceIdTaken(source_id.clone()).into()),
        false => Ok(()),
    }
}

/// Stores the idempotency key of the write, if it has one, and first the row of its owner, which no lock has made yet.
async fn keep_key(
    context: &mut WriteContext<'_>,
    record: Uuid,
    now: Time,
) -> Result<(), TransactionError> {
    if let Some(owner) = context.key_owner() {
        write::ensure_owner(context.connection, owner).await?;
    }
    context.keep_key(record, now).await
}

/// The failure of an update. Another record may have taken the source id since [`require_free_source_id`].
fn update_failure(fault: DbError, fields: &RecordFields) -> TransactionError {
    match (&fault, &fields.source_id) {
        (DbError::Unique(name), Some(source_id)) if name == "cas_allocation_source_id_key" => {
            Error::SourceIdTaken(source_id.clone()).into()
        }
        _ => fault.into(),
    }
}
