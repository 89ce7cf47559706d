//! The reads. Each is one statement; if it finds nothing, a second one finds out whether there is such a company. Of
//! each allocation a read returns only the texts in the languages that the reader may be served.

use std::sync::LazyLock;

use diesel::dsl::exists;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Jsonb, Nullable, Text};
use diesel_async::{AsyncPgConnection, RunQueryDsl};

use crate::catalogue::model::{
    AllocationNumber, CatalogueAllocation, LanguageCursor, LanguageFallback, LanguageTag, Offer,
    Price, Translations,
};
use crate::db::json::Parsed;
use crate::db::pg_error::TransactionError;
use crate::db::pool::Pool;
use crate::db::read;
use crate::db::schema::{catalogue_allocation, catalogue_company};
use crate::db::statement::{SqlText, Statement};
use crate::error::{Error, Result};
use crate::types::ids::{CompanyId, OwnerId};
use crate::types::page::Page;

/// The SQL types of the columns of [`SELECT`], in the same order.
type CatalogueRowSql = (BigInt, Text, Text, Text, Text, Text, Jsonb, BigInt);
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

/// What a list found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::catalogue) struct CataloguePage {
    /// The allocations of the page, and one more if another page follows.
    pub(in crate::catalogue) records: Vec<CatalogueAllocation>,
    /// The number of allocations on all pages.
    pub(in crate::catalogue) total: i64,
}

/// A page of the company's allocations, and how many there are.
pub(in crate::catalogue) async fn allocations(
    pool: &Pool,
    company: CompanyId,
    languages: &LanguageFallback,
    page: &Page<AllocationNumber>,
) -> Result<CataloguePage> {
    // The total is there even if the page is empty.
    static TEXT: LazyLock<SqlText> = LazyLock::new(|| {
        SqlText::new(&format!(
            "SELECT t.total, page.*
            FROM (SELECT count(*) AS total FROM catalogue_allocation WHERE owner_id = :owner) t
            LEFT JOIN (
                {SELECT} AND allocation_id > :after ORDER BY allocation_id LIMIT :limit
            ) page ON true
            ORDER BY page.allocation_id"
        ))
    });
    read::one(pool, async |connection: &mut AsyncPgConnection| {
        let after = page.after().copied();
        let statement = Statement::<(BigInt, Nullable<CatalogueRowSql>)>::new(&TEXT)
            .bind("owner", OwnerId::of_company(company).0)
            .bind("tags", tags(languages))
            .bind("after", after.unwrap_or(0))
            .bind("limit", page.fetch());
        let rows: Vec<(i64, Option<Row>)> = statement.load(connection).await?;
        let total = rows.iter().map(|(total, _)| *total).max().unwrap_or(0);
        let records: Vec<_> = rows
            .into_iter()
            .filter_map(|(_, row)| row.map(record))
            .collect();
        if records.is_empty() && after.is_none() {
            require_company(connection, company).await?;
            return Err(Error::NoResults(None).into());
        }
        Ok::<_, TransactionError>(CataloguePage { records, total })
    })
    .await
}

/// The allocation with this id.
pub(in crate::catalogue) async fn allocation(
    pool: &Pool,
    company: CompanyId,
    id: AllocationNumber,
    languages: &LanguageFallback,
) -> Result<CatalogueAllocation> {
    static TEXT: LazyLock<SqlText> =
        LazyLock::new(|| SqlText::new(&format!("{SELECT} AND allocation_id = :id")));
    read::one(pool, async |connection: &mut AsyncPgConnection| {
        let statement = Statement::<CatalogueRowSql>::new(&TEXT)
            .bind("owner", OwnerId::of_company(company).0)
            .bind("tags", tags(languages))
            .bind("id", id);
        let row: Option<Row> = statement.get_result(connection).await.optional()?;
        let Some(row) = row else {
            require_company(connection, company).await?;
            return Err(Error::NoResults(Some(id)).into());
        };
        Ok::<_, TransactionError>(record(row))
    })
    .await
}

/// A page, and one more, of the tags of the languages in which these companies have texts, and of English. They are sorted
/// byte by byte, as page tokens go on behind them.
pub(in crate::catalogue) async fn languages(
    pool: &Pool,
    companies: &[CompanyId],
    page: &Page<LanguageCursor>,
) -> Result<Vec<String>> {
    static TEXT: LazyLock<SqlText> = LazyLock::new(|| {
        SqlText::new(
            r#"SELECT t.tag FROM (
                SELECT unnest(languages) COLLATE "C" AS tag FROM catalogue_allocation WHERE owner_id = ANY (:owners)
                UNION SELECT :english
            ) t WHERE t.tag > :after ORDER BY t.tag LIMIT :limit"#,
        )
    });
    let owners: Vec<_> = companies
        .iter()
        .map(|company| OwnerId::of_company(*company).0)
        .collect();
    read::one(pool, async |connection: &mut AsyncPgConnection| {
        let after = page.after().map(|cursor| cursor.0.clone());
        let statement = Statement::<(Text,)>::new(&TEXT)
            .bind("owners", owners.clone())
            .bind("english", LanguageTag::ENGLISH.to_string())
            .bind("after", after.unwrap_or_default())
            .bind("limit", page.fetch());
        let rows: Vec<(String,)> = statement.load(connection).await?;
        QueryResult::Ok(rows.into_iter().map(|(tag,)| tag).collect())
    })
    .await
}

fn tags(languages: &LanguageFallback) -> Vec<String> {
    languages
        .tags()
        .iter()
        .map(LanguageTag::to_string)
        .collect()
}

/// Refuses a company that does not exist. May run after the read that found nothing, because
/// companies are never deleted.
async fn require_company(
    connection: &mut AsyncPgConnection,
    company: CompanyId,
) -> Result<(), TransactionError> {
    let found = catalogue_company::table.find(OwnerId::of_company(company).0);
    let found: bool = diesel::select(exists(found)).get_result(connection).await?;
    if found {
        Ok(())
    } else {
        Err(Error::CompanyNotFound(company).into())
    }
}

/// The allocation with this id, with the texts in all languages, and its first version.
pub(super) async fn find_allocation(
    connection: &mut AsyncPgConnection,
    owner: OwnerId,
    id: AllocationNumber,
) -> Result<Option<(CatalogueAllocation, i64)>, TransactionError> {
    use catalogue_allocation as stored;

    let columns = (
        stored::allocation_id,
        stored::msrp_price,
        stored::msrp_currency,
        stored::unit_price,
        stored::unit_currency,
        stored::image,
        stored::translations,
        stored::version,
    );
    let found: Option<(Row, Option<i64>)> = stored::table
        .find((owner.0, id))
        .select((columns, stored::first_version))
        .first(connection)
        .await
        .optional()?;
    Ok(found.map(|(row, first_version)| (record(row), first_version.unwrap_or(1))))
}

fn record(row: Row) -> CatalogueAllocation {
    let (id, msrp_price, msrp_currency, unit_price, unit_currency, image, translations, version) =
        row;
    let Parsed(translations) = translations;
    CatalogueAllocation {
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
