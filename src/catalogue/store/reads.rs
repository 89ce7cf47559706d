//! The reads: one statement each, and a second only to tell a company without what was asked for from no company. Of
//! each allocation a statement returns the texts of the languages that the reader may be served, and of no others.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use diesel::dsl::exists;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Jsonb, Text};
use diesel_async::{AsyncPgConnection, RunQueryDsl};

use crate::catalogue::model::language::{Tag, Wanted};
use crate::catalogue::model::price::Price;
use crate::catalogue::model::{Allocation, AllocationNumber, Offer, Translations};
use crate::db::json::Parsed;
use crate::db::pg_error::Failure;
use crate::db::pool::Pool;
use crate::db::read;
use crate::db::schema::{catalogue_allocation, catalogue_company};
use crate::db::statement::{SqlText, Statement};
use crate::error::{Error, Result};
use crate::types::ids::{CompanyId, OwnerId};
use crate::types::page::Page;

/// In the order of the columns below.
type Columns = (BigInt, Text, Text, Text, Text, Text, Jsonb, BigInt);
pub(super) type Row = (
    AllocationNumber,
    String,
    String,
    String,
    String,
    String,
    Parsed<Translations>,
    i64,
);

/// An allocation with the texts of the languages `:tags`. Each text is unpacked once, however many languages there are.
const SELECT: &str = "SELECT allocation_id, msrp_price, msrp_currency, unit_price, unit_currency, image,
    (SELECT jsonb_object_agg(key, value) FROM jsonb_each(translations) WHERE key = ANY (:tags)), version
    FROM catalogue_allocation WHERE owner_id = :owner";

/// A page of a company's allocations, and one more.
pub(in crate::catalogue) async fn allocations(
    pool: &Pool,
    company: CompanyId,
    wanted: &Wanted,
    page: &Page<AllocationNumber>,
) -> Result<Vec<Allocation>> {
    static TEXT: LazyLock<SqlText> = LazyLock::new(|| {
        SqlText::new(&format!(
            "{SELECT} AND allocation_id > :after ORDER BY allocation_id LIMIT :limit"
        ))
    });
    read::one(pool, async |connection: &mut AsyncPgConnection| {
        let after = page.after().copied();
        let statement = Statement::<Columns>::new(&TEXT)
            .bind("owner", OwnerId::of_company(company).0)
            .bind("tags", tags(wanted))
            .bind("after", after.unwrap_or(0))
            .bind("limit", page.fetch());
        let rows: Vec<Row> = statement.load(connection).await?;
        if rows.is_empty() && after.is_none() {
            require_company(connection, company).await?;
            return Err(Error::NoResults(None).into());
        }
        Ok::<_, Failure>(rows.into_iter().map(record).collect())
    })
    .await
}

/// One allocation.
pub(in crate::catalogue) async fn allocation(
    pool: &Pool,
    company: CompanyId,
    id: AllocationNumber,
    wanted: &Wanted,
) -> Result<Allocation> {
    static TEXT: LazyLock<SqlText> =
        LazyLock::new(|| SqlText::new(&format!("{SELECT} AND allocation_id = :id")));
    read::one(pool, async |connection: &mut AsyncPgConnection| {
        let statement = Statement::<Columns>::new(&TEXT)
            .bind("owner", OwnerId::of_company(company).0)
            .bind("tags", tags(wanted))
            .bind("id", id);
        let row: Option<Row> = statement.get_result(connection).await.optional()?;
        let Some(row) = row else {
            require_company(connection, company).await?;
            return Err(Error::NoResults(Some(id)).into());
        };
        Ok::<_, Failure>(record(row))
    })
    .await
}

/// The languages of all texts of these companies.
pub(in crate::catalogue) async fn languages(
    pool: &Pool,
    companies: &[CompanyId],
) -> Result<BTreeSet<String>> {
    static TEXT: LazyLock<SqlText> = LazyLock::new(|| {
        SqlText::new(
            "SELECT DISTINCT unnest(languages) FROM catalogue_allocation WHERE owner_id = ANY (:owners)",
        )
    });
    let owners: Vec<_> = companies
        .iter()
        .map(|company| OwnerId::of_company(*company).0)
        .collect();
    read::one(pool, async |connection: &mut AsyncPgConnection| {
        let statement = Statement::<(Text,)>::new(&TEXT).bind("owners", owners.clone());
        let rows: Vec<(String,)> = statement.load(connection).await?;
        QueryResult::Ok(rows.into_iter().map(|(tag,)| tag).collect())
    })
    .await
}

fn tags(wanted: &Wanted) -> Vec<String> {
    wanted.tags().iter().map(Tag::to_string).collect()
}

/// Asked afterwards: companies never go away.
async fn require_company(
    connection: &mut AsyncPgConnection,
    company: CompanyId,
) -> Result<(), Failure> {
    let found = catalogue_company::table.find(OwnerId::of_company(company).0);
    let found: bool = diesel::select(exists(found)).get_result(connection).await?;
    if found {
        Ok(())
    } else {
        Err(Error::CompanyNotFound(company).into())
    }
}

/// An allocation with all its texts.
pub(super) async fn find_allocation(
    connection: &mut AsyncPgConnection,
    owner: OwnerId,
    id: AllocationNumber,
) -> Result<Option<Allocation>, Failure> {
    use catalogue_allocation as stored;

    let row: Option<Row> = stored::table
        .find((owner.0, id))
        .select((
            stored::allocation_id,
            stored::msrp_price,
            stored::msrp_currency,
            stored::unit_price,
            stored::unit_currency,
            stored::image,
            stored::translations,
            stored::version,
        ))
        .first(connection)
        .await
        .optional()?;
    Ok(row.map(record))
}

fn record(row: Row) -> Allocation {
    let (id, msrp_price, msrp_currency, unit_price, unit_currency, image, translations, version) =
        row;
    let Parsed(translations) = translations;
    Allocation {
        id,
        offer: Offer {
            msrp: Price {
                number: msrp_price,
                currency: msrp_currency,
            },
            per_unit: Price {
                number: unit_price,
                currency: unit_currency,
            },
            image,
        },
        translations,
        version,
    }
}
