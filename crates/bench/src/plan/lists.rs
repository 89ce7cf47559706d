//! Rows of lists in the other services. Nothing is written, so that both arms of a row read one database.

use std::sync::{Arc, LazyLock};

use anyhow::Result;
use earmark::auth::dev_key::DevClaims;

use super::{BenchRun, EARMARK, READS};
use crate::client::LoadWork;
use crate::pgbench::Script;
use crate::results::BenchResults;
use crate::row::{BenchRow, Goal, Metric};
use crate::seed::bucket::{self, SeededBuckets, TENANT};
use crate::seed::lists::{self, Book, Catalogues, FIRM, company_owner, firm_owner};
use crate::work::{ListBuckets, ListCatalogue, SearchDeal, TOKEN_TTL};

const SELECT: &str = "pgbench, the same statement";

/// A product is served by 1,000 buckets.
const BUCKETS: SeededBuckets = SeededBuckets {
    buckets: 1_000_000,
    actions: 1,
    products: 1_000,
};
/// A deal has 200 records.
const BOOK: Book = Book {
    records: 1_000_000,
    deals: 5_000,
};
/// 10,000 companies with 1,000,000 allocations in total.
const CATALOGUES: Catalogues = Catalogues {
    companies: 10_000,
    allocations: 100,
};
/// As many as a token may have.
const COMPANIES_OF_TOKEN: u32 = 100;

static BUCKETS_BY_PRODUCT: LazyLock<String> = LazyLock::new(|| {
    include_str!("../sql/buckets_by_product.sql").replace("$tenant", &TENANT.to_string())
});
static CAS_BY_DEAL: LazyLock<String> = LazyLock::new(|| {
    include_str!("../sql/cas_by_deal.sql").replace("$firm", &firm_owner().to_string())
});
/// pgbench cannot make up the owner of a company.
static CATALOGUE: LazyLock<String> = LazyLock::new(|| {
    let owners: Vec<String> = companies_of_token()
        .map(|company| company_owner(company).to_string())
        .collect();
    include_str!("../sql/catalogue.sql").replace("$owners", &owners.join(","))
});

/// They lie far from each other.
fn companies_of_token() -> impl Iterator<Item = u32> {
    let step = CATALOGUES.companies / COMPANIES_OF_TOKEN;
    (1..=COMPANIES_OF_TOKEN).map(move |number| number * step)
}

impl BenchRun<'_> {
    /// P11: a page of each long list, beside its SELECT by pgbench.
    pub(super) async fn long_lists(&self, results: &mut BenchResults) -> Result<()> {
        self.buckets_by_product(results).await?;
        self.records_by_deal(results).await?;
        self.catalogue(results).await
    }

    async fn buckets_by_product(&self, results: &mut BenchResults) -> Result<()> {
        let seeding = bucket::seed(self.cluster, "buckets_listed", BUCKETS);
        self.seeded_by("buckets_listed", seeding).await?;
        let token = self.token(DevClaims {
            scope: "buckets-read".into(),
            tenant: Some(TENANT),
            ..DevClaims::default()
        })?;
        let products = BUCKETS.products;
        let script = Script {
            text: BUCKETS_BY_PRODUCT.as_str(),
            variables: vec![("products", products.into())],
        };
        let name = "ListBuckets, 100 of a product with 1,000, of 1,000,000 buckets, 256 callers";
        let work = ListBuckets { token, products };
        self.listed(results, name, "buckets_listed", work, script)
            .await
    }

    async fn records_by_deal(&self, results: &mut BenchResults) -> Result<()> {
        let seeding = lists::book(self.cluster, "book", BOOK);
        self.seeded_by("book", seeding).await?;
        let token = self.token(DevClaims {
            scope: "allocations-read".into(),
            firm_id: Some(FIRM.into()),
            ..DevClaims::default()
        })?;
        let deals = BOOK.deals;
        let script = Script {
            text: CAS_BY_DEAL.as_str(),
            variables: vec![("deals", deals.into())],
        };
        let name =
            "CAS SearchAllocations, 100 of a deal with 200, of 1,000,000 records, 256 callers";
        let work = SearchDeal { token, deals };
        self.listed(results, name, "book", work, script).await
    }

    async fn catalogue(&self, results: &mut BenchResults) -> Result<()> {
        let seeding = lists::catalogues(self.cluster, "catalogues", CATALOGUES);
        self.seeded_by("catalogues", seeding).await?;
        let token = self.token(DevClaims {
            scope: "catalogue-read".into(),
            companies: companies_of_token().map(Into::into).collect(),
            ..DevClaims::default()
        })?;
        let script = Script {
            text: CATALOGUE.as_str(),
            variables: vec![("companies", COMPANIES_OF_TOKEN.into())],
        };
        let name = "ListAvailableAllocations, 100 of a company, of 1,000,000 in two languages, 256 callers";
        let work = ListCatalogue {
            token,
            companies: companies_of_token().collect(),
        };
        self.listed(results, name, "catalogues", work, script).await
    }

    /// A list by Earmark, beside its statement by pgbench.
    async fn listed(
        &self,
        results: &mut BenchResults,
        name: &'static str,
        database: &str,
        work: impl LoadWork,
        script: Script,
    ) -> Result<()> {
        let work: Arc<dyn LoadWork> = Arc::new(work);
        let mut arms = vec![self.earmark(EARMARK, database, None, (&work, 1)).await?];
        let pgbench = self.pgbench(SELECT, database, None, script).await?;
        arms.extend(pgbench.map(|(arm, _)| arm));
        let mut row = BenchRow {
            id: "P11",
            work: name,
            metric: Metric::PerSecond,
            arms,
            goals: vec![Goal {
                of: EARMARK,
                against: SELECT,
                metric: Metric::PerSecond,
                must: 0.4,
                aim: Some(0.6),
            }],
            span: READS,
        };
        let done = row.carry_out(self.cluster, self.screen).await?;
        results.rows.push(done);
        row.end().await
    }

    fn token(&self, claims: DevClaims) -> Result<String> {
        let claims = DevClaims {
            sub: "bench".into(),
            ..claims
        };
        Ok(self.key.mint(&claims, TOKEN_TTL)?)
    }
}
