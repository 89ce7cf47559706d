//! The writes. A change first locks the record's row and then reads it, so that concurrent changes of a record are
//! applied one after the other.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use uuid::Uuid;

use super::locks::RecordLocks;
use super::reads;
use super::rows::{RecordFieldColumns, Row};
use crate::cas::document;
use crate::cas::field::SERVER_MEMBERS;
use crate::cas::model::{CasAllocation, RecordFields};
use crate::cas::write::{
    AuthoredCommand, CasAuthor, CasChange, CasTarget, ChangeCasAllocation, ChangedCasAllocation,
    CreateCasAllocation,
};
use crate::db::pg_error::{DbError, TransactionError};
use crate::db::pool::Pool;
use crate::db::record_write::{
    self, RecordCommand, RecordWrite, WriteContext, WrittenRecord, require_version, time_of_change,
};
use crate::db::schema::cas_allocation;
use crate::db::write;
use crate::error::{Error, KeyHolder, Result};
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
) -> Result<WrittenRecord<ChangedCasAllocation>> {
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
        if let Some((record, _)) = replayed_record(context, firm).await? {
            return Ok(WrittenRecord::replayed(record));
        }
        let fields = &self.command.fields;
        let content = fields.content().hash();
        if context.validate_only {
            let stored = find_created(context.connection, firm, fields, content).await?;
            return Ok(match stored {
                Some(stored) => WrittenRecord::replayed(stored),
                None => WrittenRecord::applied(new_record(&self.author, fields)),
            });
        }
        if let Some(record) = insert(context, &self.author, fields).await? {
            return Ok(WrittenRecord::applied(record));
        }
        let stored = find_created(context.connection, firm, fields, content).await?;
        // Deleted after the insertion met it: the next attempt finds the source id free.
        let stored = stored.ok_or(DbError::Serialization)?;
        Ok(WrittenRecord::replayed(stored))
    }
}

impl RecordCommand for AuthoredCommand<ChangeCasAllocation> {
    type Record = ChangedCasAllocation;

    async fn run(
        &self,
        context: &mut WriteContext<'_>,
    ) -> Result<WrittenRecord<ChangedCasAllocation>, TransactionError> {
        let firm = self.author.firm;
        if let Some((record, used_at)) = replayed_record(context, firm).await? {
            let is_created = record.created_at == Some(used_at);
            let changed = ChangedCasAllocation { record, is_created };
            return Ok(WrittenRecord::replayed(changed));
        }
        let command = &self.command;
        let Some((id, record)) = find_target(context, firm, &command.target).await? else {
            return self.create_missing(context).await;
        };
        require_version(id, command.expected_version, record.version)?;
        let fields = match &command.change {
            CasChange::Delete => {
                delete(context, firm, id).await?;
                return Ok(WrittenRecord::applied(ChangedCasAllocation::of(record)));
            }
            CasChange::Replace { fields, .. } => fields.as_ref().clone(),
            CasChange::Patch(patch) => {
                let document = patch.apply(document::write(&record), &SERVER_MEMBERS)?;
                document::read(&document)?
            }
        };
        let record = self.replace(context, id, record, fields).await?;
        Ok(WrittenRecord::applied(ChangedCasAllocation::of(record)))
    }
}

impl AuthoredCommand<ChangeCasAllocation> {
    /// Creates the record that the command did not find, if that is allowed.
    async fn create_missing(
        &self,
        context: &mut WriteContext<'_>,
    ) -> Result<WrittenRecord<ChangedCasAllocation>, TransactionError> {
        let command = &self.command;
        let CasChange::Replace {
            fields,
            allow_missing: true,
        } = &command.change
        else {
            return Err(Error::CasAllocationNotFound(command.target.to_string()).into());
        };
        require_version(&command.target, command.expected_version, 0)?;
        let record = if context.validate_only {
            new_record(&self.author, fields)
        } else {
            // Another call may have created it since: the next attempt finds that record.
            let inserted = insert(context, &self.author, fields).await?;
            inserted.ok_or(DbError::Serialization)?
        };
        let is_created = true;
        Ok(WrittenRecord::applied(ChangedCasAllocation {
            record,
            is_created,
        }))
    }

    /// Stores these fields in place of the record's. If they are equal, the record stays as it is.
    async fn replace(
        &self,
        context: &mut WriteContext<'_>,
        id: Uuid,
        mut record: CasAllocation,
        fields: RecordFields,
    ) -> Result<CasAllocation, TransactionError> {
        let firm = self.author.firm;
        if fields == record.fields {
            // The key is kept all the same: a repeat must not undo what others change in between.
            if !context.validate_only {
                let now = context.now().await?;
                keep_key(context, id, now).await?;
            }
            return Ok(record);
        }
        if fields.source_id != record.fields.source_id {
            let field = match &self.command.change {
                CasChange::Patch(_) => "/sourceId",
                CasChange::Replace { .. } | CasChange::Delete => "allocation.source_id",
            };
            require_free_source_id(context.connection, firm, field, &fields).await?;
        }
        let last_modified_at = record.last_modified_at.take();
        record.last_modified_by.clone_from(&self.author.subject);
        record.version += 1;
        record.fields = fields;
        if context.validate_only {
            return Ok(record);
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
            .map_err(|error| update_failure(error.into()))?;
        keep_key(context, id, now).await?;
        Ok(record)
    }
}

/// The record that a creation makes, without what the database adds.
fn new_record(author: &CasAuthor, fields: &RecordFields) -> CasAllocation {
    CasAllocation {
        id: None,
        created_by: author.subject.clone(),
        created_at: None,
        last_modified_by: author.subject.clone(),
        last_modified_at: None,
        version: 1,
        fields: fields.clone(),
    }
}

/// Inserts a record and stores the write's key; `None` if there is a record with its source id.
async fn insert(
    context: &mut WriteContext<'_>,
    author: &CasAuthor,
    fields: &RecordFields,
) -> Result<Option<CasAllocation>, TransactionError> {
    let mut record = new_record(author, fields);
    let now = context.now().await?;
    let id = new_id();
    let row = NewCasAllocation {
        owner_id: author.firm.0,
        id,
        created_by: &record.created_by,
        created_at: now.to_chrono(),
        last_modified_by: &record.last_modified_by,
        last_modified_at: now.to_chrono(),
        version: record.version,
        content_hash: &fields.content().hash().0,
        fields: fields.into(),
    };
    let inserted = diesel::insert_into(cas_allocation::table)
        .values(row)
        .on_conflict((cas_allocation::owner_id, cas_allocation::source_id))
        .do_nothing()
        .execute(context.connection)
        .await?;
    if inserted == 0 {
        return Ok(None);
    }
    keep_key(context, id, now).await?;
    record.id = Some(CasAllocationId(id));
    record.created_at = Some(now);
    record.last_modified_at = Some(now);
    Ok(Some(record))
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

/// The record that an earlier call with the same idempotency key wrote, as it is stored now, and the time of that call.
///
/// # Errors
/// [`Error::IdempotencyKeyReused`] if that call had other content.
async fn replayed_record(
    context: &mut WriteContext<'_>,
    firm: OwnerId,
) -> Result<Option<(CasAllocation, Time)>, TransactionError> {
    let Some(earlier) = context.key_use().await? else {
        return Ok(None);
    };
    let id = CasAllocationId(earlier.record);
    if !earlier.is_same {
        let version = reads::find_version(context.connection, firm, id.0).await?;
        earlier.require_same(version)?;
    }
    match reads::find(context.connection, firm, id).await? {
        Some(record) => Ok(Some((record, earlier.at))),
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
        Some((row, _)) => Err(Error::IdempotencyKeyReused {
            field: "allocation.source_id",
            holder: Some(holder(row.key())),
            stored: Vec::new(),
        }
        .into()),
    }
}

/// The record with this id and version as the holder of a key.
fn holder((id, version): (Uuid, i64)) -> KeyHolder {
    KeyHolder {
        id: id.to_string(),
        version: Some(version),
    }
}

/// The record to change, if there is one. Its row is locked until the transaction ends, unless the context is only to validate.
async fn find_target(
    context: &mut WriteContext<'_>,
    firm: OwnerId,
    target: &CasTarget,
) -> Result<Option<(Uuid, CasAllocation)>, TransactionError> {
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
    match found {
        Some((id, row)) => Ok(Some((id, row.try_into()?))),
        None => Ok(None),
    }
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

/// Refuses a source id that another record of the firm has. `field` is the request's field that has it.
async fn require_free_source_id(
    connection: &mut AsyncPgConnection,
    firm: OwnerId,
    field: &'static str,
    fields: &RecordFields,
) -> Result<(), TransactionError> {
    let Some(source_id) = &fields.source_id else {
        return Ok(());
    };
    let found: Option<(Uuid, i64)> = cas_allocation::table
        .filter(cas_allocation::owner_id.eq(firm.0))
        .filter(cas_allocation::source_id.eq(source_id))
        .select((cas_allocation::id, cas_allocation::version))
        .first(connection)
        .await
        .optional()?;
    match found {
        Some(key) => Err(Error::SourceIdTaken {
            field,
            source_id: source_id.clone(),
            holder: holder(key),
        }
        .into()),
        None => Ok(()),
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

/// The failure of an update. Another record may have taken the source id since [`require_free_source_id`]: the next
/// attempt finds that one.
fn update_failure(fault: DbError) -> TransactionError {
    match &fault {
        DbError::Unique(name) if name == "cas_allocation_source_id_key" => {
            DbError::Serialization.into()
        }
        _ => fault.into(),
    }
}
