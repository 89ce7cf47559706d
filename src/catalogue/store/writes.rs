//! The writes. Each locks its company's owner first, then checks the command and writes.

use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};

use super::reads::find_allocation;
use crate::catalogue::model::{
    CatalogueAllocation, CatalogueCompany, DeleteCatalogueAllocation, DeletedAllocation,
    LanguageTag, PutCatalogueAllocation, PutCatalogueCompany, PutDecision, PutTarget, decide_put,
};
use crate::db::pg_error::{DbError, TransactionError};
use crate::db::pool::Pool;
use crate::db::record_write::{
    self, RecordCommand, RecordWrite, WriteContext, WrittenRecord, require_version,
};
use crate::db::schema::{catalogue_allocation, catalogue_company};
use crate::db::write::ensure_owner;
use crate::error::{Error, Result};
use crate::ledger::claim::Claim;
use crate::limits::CATALOGUE_ALLOCATIONS_MAX;
use crate::types::ids::{CompanyId, OwnerId};

/// Executes a command, or with `validate_only` only validates it.
pub(in crate::catalogue) async fn execute<C: RecordCommand>(
    pool: &Pool,
    claim: &Claim,
    write: RecordWrite<C>,
) -> Result<WrittenRecord<C::Record>> {
    let claim = claim.clone();
    record_write::execute(pool, move || claim.take(), write).await
}

/// Locks the owner of a company, unless the context is only to validate. A company whose owner has no
/// row does not exist.
async fn lock(context: &mut WriteContext<'_>, owner: OwnerId) -> QueryResult<()> {
    if !context.validate_only {
        context.lock_owners([owner]).await?;
    }
    Ok(())
}

async fn find_company(
    connection: &mut AsyncPgConnection,
    id: CompanyId,
    owner: OwnerId,
) -> QueryResult<Option<CatalogueCompany>> {
    let found: Option<(String, i64)> = catalogue_company::table
        .find(owner.0)
        .select((catalogue_company::name, catalogue_company::version))
        .first(connection)
        .await
        .optional()?;
    Ok(found.map(|(name, version)| CatalogueCompany { id, name, version }))
}

/// Refuses a company that does not exist. Returns the highest version of its deleted allocations; 0 if none was deleted.
async fn deleted_version_max(
    connection: &mut AsyncPgConnection,
    id: CompanyId,
    owner: OwnerId,
) -> Result<i64, TransactionError> {
    let found: Option<Option<i64>> = catalogue_company::table
        .find(owner.0)
        .select(catalogue_company::deleted_version_max)
        .first(connection)
        .await
        .optional()?;
    let found = found.ok_or(Error::CompanyNotFound(id))?;
    Ok(found.unwrap_or(0))
}

impl RecordCommand for PutCatalogueCompany {
    type Record = CatalogueCompany;

    async fn run(
        &self,
        context: &mut WriteContext<'_>,
    ) -> Result<WrittenRecord<CatalogueCompany>, TransactionError> {
        let owner = OwnerId::of_company(self.company);
        if !context.validate_only {
            ensure_owner(context.connection, owner).await?;
        }
        lock(context, owner).await?;
        let found = find_company(context.connection, self.company, owner).await?;
        let found = found.map(|company| PutTarget {
            version: company.version,
            first_version: 1,
            is_same: company.name == self.name,
        });
        // Companies are never deleted.
        let decision = decide_put(self.company.0, self.expected_version, found, 0)?;
        let version = decision.version();
        let written = WrittenRecord {
            record: CatalogueCompany {
                id: self.company,
                name: self.name.clone(),
                version,
            },
            replayed: decision.is_replay(),
        };
        if written.replayed || context.validate_only {
            return Ok(written);
        }
        let now = context.now().await?.to_chrono();
        let content = (
            catalogue_company::name.eq(&self.name),
            catalogue_company::version.eq(version),
            catalogue_company::updated_at.eq(now),
        );
        diesel::insert_into(catalogue_company::table)
            .values((
                catalogue_company::owner_id.eq(owner.0),
                catalogue_company::company_id.eq(self.company.0),
                catalogue_company::created_at.eq(now),
                content,
            ))
            .on_conflict(catalogue_company::owner_id)
            .do_update()
            .set(content)
            .execute(context.connection)
            .await?;
        Ok(written)
    }
}

impl RecordCommand for PutCatalogueAllocation {
    type Record = CatalogueAllocation;

    async fn run(
        &self,
        context: &mut WriteContext<'_>,
    ) -> Result<WrittenRecord<CatalogueAllocation>, TransactionError> {
        use catalogue_allocation as stored;

        let owner = OwnerId::of_company(self.company);
        lock(context, owner).await?;
        let deleted = deleted_version_max(context.connection, self.company, owner).await?;
        let found = find_allocation(context.connection, owner, self.id).await?;
        let found = found.map(|(found, first_version)| PutTarget {
            version: found.version,
            first_version,
            is_same: found.offer == self.offer && found.translations == self.translations,
        });
        let decision = decide_put(self.id, self.expected_version, found, deleted)?;
        let version = decision.version();
        if decision == PutDecision::Create(version) {
            require_below_limit(context.connection, self.company).await?;
        }
        let written = WrittenRecord {
            record: CatalogueAllocation {
                id: self.id,
                offer: self.offer.clone(),
                translations: self.translations.clone(),
                version,
            },
            replayed: decision.is_replay(),
        };
        if written.replayed || context.validate_only {
            return Ok(written);
        }
        let now = context.now().await?.to_chrono();
        let offer = &self.offer;
        let languages: Vec<String> = self
            .translations
            .keys()
            .map(LanguageTag::to_string)
            .collect();
        let translations = serde_json::to_value(&self.translations)
            .map_err(|error| DbError::Other(format!("texts cannot be serialised: {error}")))?;
        let content = (
            stored::msrp_price.eq(&offer.msrp.number),
            stored::msrp_currency.eq(&offer.msrp.currency),
            stored::unit_price.eq(&offer.per_unit.number),
            stored::unit_currency.eq(&offer.per_unit.currency),
            stored::image.eq(&offer.image),
            stored::translations.eq(&translations),
            stored::languages.eq(&languages),
            stored::version.eq(version),
            stored::updated_at.eq(now),
        );
        diesel::insert_into(stored::table)
            .values((
                stored::owner_id.eq(owner.0),
                stored::allocation_id.eq(self.id),
                stored::created_at.eq(now),
                stored::first_version.eq(version),
                content,
            ))
            .on_conflict((stored::owner_id, stored::allocation_id))
            .do_update()
            .set(content)
            .execute(context.connection)
            .await?;
        Ok(written)
    }
}

/// Refuses a new allocation if the company has the maximum number of them.
async fn require_below_limit(
    connection: &mut AsyncPgConnection,
    company: CompanyId,
) -> Result<(), TransactionError> {
    let owner = OwnerId::of_company(company);
    let stored: i64 = catalogue_allocation::table
        .filter(catalogue_allocation::owner_id.eq(owner.0))
        .count()
        .get_result(connection)
        .await?;
    if stored < i64::from(CATALOGUE_ALLOCATIONS_MAX) {
        return Ok(());
    }
    Err(Error::LimitReached {
        owner: company.to_string(),
        what: "allocations",
        limit: CATALOGUE_ALLOCATIONS_MAX as usize,
    }
    .into())
}

impl RecordCommand for DeleteCatalogueAllocation {
    type Record = DeletedAllocation;

    async fn run(
        &self,
        context: &mut WriteContext<'_>,
    ) -> Result<WrittenRecord<DeletedAllocation>, TransactionError> {
        use catalogue_allocation as stored;

        let owner = OwnerId::of_company(self.company);
        lock(context, owner).await?;
        let deleted = deleted_version_max(context.connection, self.company, owner).await?;
        let record = stored::table.find((owner.0, self.id));
        let found: Option<i64> = record
            .select(stored::version)
            .first(context.connection)
            .await
            .optional()?;
        let version = found.ok_or(Error::NoResults(Some(self.id)))?;
        require_version(self.id, self.expected_version, version)?;
        if context.validate_only {
            return Ok(WrittenRecord::applied(DeletedAllocation(self.id)));
        }
        diesel::update(catalogue_company::table.find(owner.0))
            .set(catalogue_company::deleted_version_max.eq(deleted.max(version)))
            .execute(context.connection)
            .await?;
        diesel::delete(record).execute(context.connection).await?;
        Ok(WrittenRecord::applied(DeletedAllocation(self.id)))
    }
}
