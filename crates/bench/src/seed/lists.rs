//! Long lists: the book of one firm, and the catalogues of many companies.

use anyhow::{Context, Result};
use earmark::types::ids::{CompanyId, FirmId, OwnerId};
use earmark::types::time::Time;
use uuid::Uuid;

use super::loader::Loader;
use crate::cluster::BenchCluster;

/// Whose CAS allocations they all are.
pub(crate) const FIRM: &str = "bench";

/// The first second of 2026.
const START_MICROS: i64 = 1_767_225_600_000_000;
/// SHA-256 of the text «seed», as COPY's text format has it.
const CONTENT_HASH: &str = "\\\\x19b25856e1c150ca834cffc8b59b23adbd0ec0389e58eb22b3b64768098d002b";

/// CAS allocations of one firm.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Book {
    pub(crate) records: u32,
    /// Each record is of one of so many deals, in turns: so those of a deal lie far from each other.
    pub(crate) deals: u32,
}

/// Catalogues of companies, which count from 1.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Catalogues {
    pub(crate) companies: u32,
    /// Of each company, with texts in English and French.
    pub(crate) allocations: u32,
}

/// The owner of the firm's records.
pub(crate) fn firm_owner() -> OwnerId {
    OwnerId::of_firm(&FirmId(FIRM.into()))
}

/// A deal, counted from 1.
pub(crate) fn deal_id(number: u32) -> String {
    format!("DEAL-{number}")
}

/// Seeds a migrated database without CAS allocations.
pub(crate) async fn book(cluster: &BenchCluster, database: &str, book: Book) -> Result<()> {
    let client = cluster.connect(database).await?;
    let loader = Loader::begin(&client, &["cas_allocation"]).await?;
    let owner = firm_owner();
    let columns = "cas_allocation (owner_id, id, created_by, created_at, last_modified_by, last_modified_at, version, \
         deal_id, tranche_id, source_id, investor_account_id, indication_id, company_id, source_row_version, order_status, \
         indication_group_id, status_messages, value_type, value_amount, override_type, override_amount, \
         distribution_type, comments, is_affirmed, affirmed_by, affirmed_at, content_hash)";
    loader
        .copy(
            columns,
            (0..book.records).map(|number| cas_allocation(owner, number, book)),
        )
        .await
        .context("seeding a book")?;
    loader.end().await
}

/// A record, counted from 0. Every fourth failed and says why, every second has a comment and was affirmed, every tenth has
/// an amount that overrides the first.
fn cas_allocation(owner: OwnerId, number: u32, book: Book) -> String {
    let id = Uuid::from_u128(0x018f_0000_0000_7000_8000_0000_0000_0000 | u128::from(number));
    let time = time(number);
    let (deal, tranche) = (deal_id(number % book.deals + 1), number % 3 + 1);
    let (investor, group) = (number % 40_000, number % 2_500);
    let status = ["successful", "delivered", "pending", "failed"][number as usize % 4];
    let status_messages = match status {
        "failed" => r#"[{"code": "E-17", "message": "Unknown investor account"}]"#,
        _ => "[]",
    };
    let amount = format!("{}.25", 1_000 + number % 1_000_000);
    let overriding = match number % 10 {
        0 => format!("quantity\t{}", number % 1_000),
        _ => "\\N\t\\N".into(),
    };
    let (comments, affirmation) = match number % 2 {
        0 => (
            r#"[{"comment": "Scaled back with the book", "commentType": "public", "lastModifiedBy": "ada", "lastModifiedDateTime": "2026-01-05T09:30:00Z"}]"#,
            format!("true\tada\t{time}"),
        ),
        _ => ("[]", "\\N\t\\N\t\\N".into()),
    };
    format!(
        "{owner}\t{id}\tseed\t{time}\tseed\t{time}\t1\t{deal}\tTRANCHE-{tranche}\torder-{number}\tINV-{investor}\t\
         IOI-{number}\t{investor}\t{number}\t{status}\tGROUP-{group}\t{status_messages}\tcash\t{amount}\t{overriding}\t\
         manual\t{comments}\t{affirmation}\t{CONTENT_HASH}\n"
    )
}

/// Seeds a migrated database without companies.
pub(crate) async fn catalogues(
    cluster: &BenchCluster,
    database: &str,
    catalogues: Catalogues,
) -> Result<()> {
    let client = cluster.connect(database).await?;
    let companies = || 1..=catalogues.companies;
    let owners = Loader::begin(&client, &[]).await?;
    owners
        .copy(
            "owner (owner_id)",
            companies().map(|company| format!("{}\n", company_owner(company))),
        )
        .await
        .context("seeding the owners of companies")?;
    owners
        .copy(
            "catalogue_company (owner_id, company_id, name, version, created_at, updated_at)",
            companies().map(|company| {
                let (owner, time) = (company_owner(company), time(company));
                format!("{owner}\t{company}\tCompany {company}\t1\t{time}\t{time}\n")
            }),
        )
        .await
        .context("seeding companies")?;
    let loader = Loader::begin(&client, &["catalogue_allocation"]).await?;
    let columns = "catalogue_allocation (owner_id, allocation_id, msrp_price, msrp_currency, unit_price, unit_currency, \
                   image, translations, languages, version, created_at, updated_at)";
    loader
        .copy(
            columns,
            companies().map(|company| catalogue(company, catalogues.allocations)),
        )
        .await
        .context("seeding catalogues")?;
    loader.end().await
}

/// The owner of a company's catalogue.
pub(crate) fn company_owner(company: u32) -> OwnerId {
    OwnerId::of_company(CompanyId(company.into()))
}

/// The allocations of a company.
fn catalogue(company: u32, allocations: u32) -> String {
    let (owner, time) = (company_owner(company), time(company));
    let lines = (1..=allocations).map(|number| {
        let english = texts(
            &format!("Forest plot {number}"),
            &format!("Protected forest, plot {number}"),
            "A plot of rain forest that stays as it is",
            "A plot of rain forest in the north of the reserve, bought from its loggers and looked after for ever by those \
             who live in it. The rangers walk it twice a year, and every owner can read what they have seen.",
            ["[qty] square foot of forest", "[qty] square feet of forest"],
        );
        let french = texts(
            &format!("Parcelle {number}"),
            &format!("Forêt protégée, parcelle {number}"),
            "Une parcelle de forêt tropicale qui reste telle quelle",
            "Une parcelle de forêt tropicale au nord de la réserve, rachetée aux exploitants et gardée pour toujours par \
             ceux qui y vivent. Les gardes la parcourent deux fois par an, et chaque propriétaire peut lire ce qu’ils ont vu.",
            ["[qty] pied carré de forêt", "[qty] pieds carrés de forêt"],
        );
        format!(
            "{owner}\t{number}\t2.50\tUSD\t0.{number:06}\tUSD\thttps://images.example.com/catalogue/{company}/plot-{number}.jpeg\t\
             {{\"en\": {english}, \"fr\": {french}}}\t{{en,fr}}\t1\t{time}\t{time}\n"
        )
    });
    lines.collect()
}

/// Texts in one language, as they are stored.
fn texts(
    name: &str,
    display_name: &str,
    description: &str,
    long_description: &str,
    [singular, plural]: [&str; 2],
) -> String {
    format!(
        "{{\"allocation_name\": \"{name}\", \"display_name\": \"{display_name}\", \
         \"allocation_description\": \"{description}\", \"allocation_long_description\": \"{long_description}\", \
         \"allocation_singular_label\": \"{singular}\", \"allocation_plural_label\": \"{plural}\"}}"
    )
}

/// A second for each record.
fn time(number: u32) -> Time {
    Time::from_micros(START_MICROS + i64::from(number) * 1_000_000).expect("in range")
}
