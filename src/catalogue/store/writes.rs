//! The writes: each judges under its company's lock, and writes what it answers.

use std::future::Future;

use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};

use super::reads::find_allocation;
use crate::catalogue::model::language::Tag;
use crate::catalogue::model::{
    Allocation, Company, DeleteAllocation, PutAllocation, PutCompany, Verdict, Write, judge_put,
    require_version,
};
use crate::db::pg_error::{DbError, TransactionError};
use crate::db::pool::Pool;
use crate::db::schema::{catalogue_allocation, catalogue_company, owner};
use crate::db::write;
use crate::db::write::Transaction;
use crate::error::{Error, Result};
use crate::ledger::claim::Claim;
use crate::limits::CATALOGUE_ALLOCATIONS_MAX;
use crate::types::ids::{CompanyId, OwnerId};

/// What came of a command.
#[derive(Clone, Debug)]
pub(in crate::catalogue) struct Written<T> {
    /// The record as it stands now.
    pub(in crate::catalogue) record: T,
    /// Whether it stood so before, and nothing was written.
    pub(in crate::catalogue) replayed: bool,
}

/// Carries a command out, or with `validate_only` judges it from a snapshot that nothing can be written to.
pub(in crate::catalogue) async fn carry_out<C: Command>(
    pool: &Pool,
    claim: &Claim,
    write: Write<C>,
) -> Result<Written<C::Record>> {
    let (claim, validate_only) = (claim.clone(), write.validate_only);
    write::carry_out(pool, move || claim.take(), validate_only, Job(write)).await
}

/// A command as a transaction.
struct Job<C: Command>(Write<C>);

impl<C: Command> Transaction for Job<C> {
    type Output = Written<C::Record>;

    async fn run(
        &self,
        connection: &mut AsyncPgConnection,
    ) -> Result<Self::Output, TransactionError> {
        let owner = OwnerId::of_company(self.0.company);
        if !self.0.validate_only {
            if C::MAKES_COMPANIES {
                write::ensure_owner(connection, owner).await?;
            }
            // Nothing that must hold until the end may be read before: a statement that waits for a lock sees all but
            // the locked row as it was when it began.
            lock(connection, owner).await?;
        }
        C::run(&self.0, owner, connection).await
    }
}

/// A command on one record.
pub(in crate::catalogue) trait Command: Sized + Send + Sync + 'static {
    /// The record.
    type Record: Send + 'static;

    /// Whether it is at home where there is no company yet.
    const MAKES_COMPANIES: bool = false;

    /// Judges in the order of the contract, then writes unless it is only to validate.
    fn run(
        write: &Write<Self>,
        owner: OwnerId,
        connection: &mut AsyncPgConnection,
    ) -> impl Future<Output = Result<Written<Self::Record>, TransactionError>> + Send;
}

/// Locks the company's owner; one without a row has no company either.
async fn lock(connection: &mut AsyncPgConnection, owner: OwnerId) -> QueryResult<()> {
    owner::table
        .find(owner.0)
        .select(owner::owner_id)
        .for_no_key_update()
        .execute(connection)
        .await?;
    Ok(())
}

async fn find_company(
    connection: &mut AsyncPgConnection,
    id: CompanyId,
    owner: OwnerId,
) -> QueryResult<Option<Company>> {
    let found: Option<(String, i64)> = catalogue_company::table
        .find(owner.0)
        .select((catalogue_company::name, catalogue_company::version))
        .first(connection)
        .await
        .optional()?;
    Ok(found.map(|(name, version)| Company { id, name, version }))
}

async fn require_company(
    connection: &mut AsyncPgConnection,
    id: CompanyId,
    owner: OwnerId,
) -> Result<(), TransactionError> {
    match find_company(connection, id, owner).await? {
        Some(_) => Ok(()),
        None => Err(Error::CompanyNotFound(id).into()),
    }
}

impl Command for PutCompany {
    type Record = Company;
    const MAKES_COMPANIES: bool = true;

    async fn run(
        write: &Write<Self>,
        owner: OwnerId,
        connection: &mut AsyncPgConnection,
    ) -> Result<Written<Company>, TransactionError> {
        let name = &write.command.name;
        let found = find_company(connection, write.company, owner).await?;
        let judged = found.map(|company| (company.version, company.name == *name));
        let verdict = judge_put(write.expected_version, judged)?;
        let version = verdict.version();
        let written = Written {
            record: Company {
                id: write.company,
                name: name.clone(),
                version,
            },
            replayed: verdict.is_replay(),
        };
        if written.replayed || write.validate_only {
            return Ok(written);
        }
        let now = write::now(connection).await?.to_chrono();
        let content = (
            catalogue_company::name.eq(name),
            catalogue_company::version.eq(version),
            catalogue_company::updated_at.eq(now),
        );
        diesel::insert_into(catalogue_company::table)
            .values((
                catalogue_company::owner_id.eq(owner.0),
                catalogue_company::company_id.eq(write.company.0),
                catalogue_company::created_at.eq(now),
                content,
            ))
            .on_conflict(catalogue_company::owner_id)
            .do_update()
            .set(content)
            .execute(connection)
            .await?;
        Ok(written)
    }
}

impl Command for PutAllocation {
    type Record = Allocation;

    async fn run(
        write: &Write<Self>,
        owner: OwnerId,
        connection: &mut AsyncPgConnection,
    ) -> Result<Written<Allocation>, TransactionError> {
        use catalogue_allocation as stored;

        let command = &write.command;
        require_company(connection, write.company, owner).await?;
        let found = find_allocation(connection, owner, command.id).await?;
        let judged = found.map(|found| {
            let is_same =
                found.offer == command.offer && found.translations == command.translations;
            (found.version, is_same)
        });
        let verdict = judge_put(write.expected_version, judged)?;
        if verdict == Verdict::Create {
            require_room(connection, owner).await?;
        }
        let version = verdict.version();
        let written = Written {
            record: Allocation {
                id: command.id,
                offer: command.offer.clone(),
                translations: command.translations.clone(),
                version,
            },
            replayed: verdict.is_replay(),
        };
        if written.replayed || write.validate_only {
            return Ok(written);
        }
        let now = write::now(connection).await?.to_chrono();
        let offer = &command.offer;
        let languages: Vec<String> = command.translations.keys().map(Tag::to_string).collect();
        let translations = serde_json::to_value(&command.translations)
            .map_err(|error| DbError::Other(format!("texts that cannot be stored: {error}")))?;
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
                stored::allocation_id.eq(command.id),
                stored::created_at.eq(now),
                content,
            ))
            .on_conflict((stored::owner_id, stored::allocation_id))
            .do_update()
            .set(content)
            .execute(connection)
            .await?;
        Ok(written)
    }
}

/// Refuses one allocation more than a company may have.
async fn require_room(
    connection: &mut AsyncPgConnection,
    owner: OwnerId,
) -> Result<(), TransactionError> {
    let stored: i64 = catalogue_allocation::table
        .filter(catalogue_allocation::owner_id.eq(owner.0))
        .count()
        .get_result(connection)
        .await?;
    if stored < i64::from(CATALOGUE_ALLOCATIONS_MAX) {
        return Ok(());
    }
    Err(Error::LimitReached {
        what: "allocations",
        limit: CATALOGUE_ALLOCATIONS_MAX as usize,
    }
    .into())
}

impl Command for DeleteAllocation {
    type Record = ();

    async fn run(
        write: &Write<Self>,
        owner: OwnerId,
        connection: &mut AsyncPgConnection,
    ) -> Result<Written<()>, TransactionError> {
        use catalogue_allocation as stored;

        require_company(connection, write.company, owner).await?;
        let record = stored::table.find((owner.0, write.command.id));
        let found: Option<i64> = record
            .select(stored::version)
            .first(connection)
            .await
            .optional()?;
        let version = found.ok_or(Error::NoResults(Some(write.command.id)))?;
        require_version(write.expected_version, version)?;
        if !write.validate_only {
            diesel::delete(record).execute(connection).await?;
        }
        Ok(Written {
            record: (),
            replayed: false,
        })
    }
}
