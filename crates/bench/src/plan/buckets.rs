//! P12: prepaid buckets, as P1 and P2 are of accounts.

use std::sync::Arc;

use anyhow::Result;
use earmark::auth::dev_key::DevClaims;

use super::arms::{goals_of_many_owners, goals_of_one_owner};
use super::{BenchRun, EARMARK, INTERACTIVE, ONE_STATEMENT, TEXTBOOK, WRITES};
use crate::client::LoadWork;
use crate::pgbench::Script;
use crate::results::BenchResults;
use crate::row::{BenchRow, Metric};
use crate::seed::bucket::{self, SeededBuckets, TENANT};
use crate::textbook::TextbookReads;
use crate::work::{BenchDeduct, BenchReserve, TOKEN_TTL};

const TABLE: Option<&str> = Some("bucket_action");

/// One bucket, on which everybody waits for everybody. Its few actions are there for the planner's statistics.
const SHARED: SeededBuckets = SeededBuckets {
    buckets: 1,
    actions: 1_000,
    products: 1,
};
/// 100,000 buckets with an action each.
const MANY: SeededBuckets = SeededBuckets {
    buckets: 100_000,
    actions: 1,
    products: 100,
};

/// What is done with a bucket.
#[derive(Clone, Copy)]
enum BucketCall {
    Reserve,
    Deduct,
}

impl BucketCall {
    const ALL: [Self; 2] = [Self::Reserve, Self::Deduct];

    /// In the names of databases.
    fn name(self) -> &'static str {
        match self {
            Self::Reserve => "reserve",
            Self::Deduct => "deduct",
        }
    }

    fn work(
        self,
        token: String,
        SeededBuckets { buckets, .. }: SeededBuckets,
    ) -> Arc<dyn LoadWork> {
        match self {
            Self::Reserve => Arc::new(BenchReserve { token, buckets }),
            Self::Deduct => Arc::new(BenchDeduct { token, buckets }),
        }
    }

    fn interactive(self) -> Script {
        Script {
            text: match self {
                Self::Reserve => include_str!("../sql/reserve_interactive.sql"),
                Self::Deduct => include_str!("../sql/deduct_interactive.sql"),
            },
            variables: Vec::new(),
        }
    }

    fn one_statement(self) -> Script {
        Script {
            text: match self {
                Self::Reserve => include_str!("../sql/reserve_one_statement.sql"),
                Self::Deduct => include_str!("../sql/deduct_one_statement.sql"),
            },
            variables: vec![("buckets", MANY.buckets.into())],
        }
    }
}

impl BenchRun<'_> {
    /// P12: reserves and deductions, in one bucket and in many.
    pub(super) async fn buckets(&self, results: &mut BenchResults) -> Result<()> {
        for call in BucketCall::ALL {
            self.shared_bucket(call, results).await?;
        }
        for call in BucketCall::ALL {
            self.many_buckets(call, results).await?;
        }
        Ok(())
    }

    async fn shared_bucket(&self, call: BucketCall, results: &mut BenchResults) -> Result<()> {
        let seeding = bucket::seed(self.cluster, "bucket", SHARED);
        self.seeded_by("bucket", seeding).await?;
        let work = call.work(self.bucket_token()?, SHARED);
        let copy = async |arm| {
            let name = format!("p12_{}_shared_{arm}", call.name());
            self.copy("bucket", &name).await
        };
        let database = copy("earmark").await?;
        let mut arms = vec![self.earmark(EARMARK, &database, TABLE, (&work, 1)).await?];
        let database = copy("pgbench").await?;
        let pgbench = self
            .pgbench(INTERACTIVE, &database, TABLE, call.interactive())
            .await?;
        arms.extend(pgbench.map(|(arm, _)| arm));
        let database = copy("textbook").await?;
        let textbook = (TEXTBOOK, TextbookReads::Transaction);
        arms.push(
            self.textbook(textbook, &database, TABLE, (&work, 1))
                .await?,
        );
        let mut row = BenchRow {
            id: "P12",
            work: match call {
                BucketCall::Reserve => "ReserveBalance, one shared bucket, 256 callers",
                BucketCall::Deduct => "DeductBalance, one shared bucket, 256 callers",
            },
            metric: Metric::PerSecond,
            arms,
            goals: goals_of_one_owner(),
            span: WRITES,
        };
        let done = row.carry_out(self.cluster, self.screen).await?;
        results.rows.push(done);
        row.end().await
    }

    async fn many_buckets(&self, call: BucketCall, results: &mut BenchResults) -> Result<()> {
        let seeding = bucket::seed(self.cluster, "buckets", MANY);
        self.seeded_by("buckets", seeding).await?;
        let work = call.work(self.bucket_token()?, MANY);
        let copy = async |arm| {
            let name = format!("p12_{}_many_{arm}", call.name());
            self.copy("buckets", &name).await
        };
        let database = copy("earmark").await?;
        let mut arms = vec![self.earmark(EARMARK, &database, TABLE, (&work, 1)).await?];
        let database = copy("pgbench").await?;
        let pgbench = self
            .pgbench(ONE_STATEMENT, &database, TABLE, call.one_statement())
            .await?;
        arms.extend(pgbench.map(|(arm, _)| arm));
        let mut row = BenchRow {
            id: "P12",
            work: match call {
                BucketCall::Reserve => "ReserveBalance over 100,000 buckets, 256 callers",
                BucketCall::Deduct => "DeductBalance over 100,000 buckets, 256 callers",
            },
            metric: Metric::PerSecond,
            arms,
            goals: goals_of_many_owners(),
            span: WRITES,
        };
        let done = row.carry_out(self.cluster, self.screen).await?;
        results.rows.push(done);
        row.end().await
    }

    /// A token of the tenant whose buckets they are.
    fn bucket_token(&self) -> Result<String> {
        let claims = DevClaims {
            sub: "bench".into(),
            scope: "buckets-read buckets-write".into(),
            tenant: Some(TENANT),
            ..DevClaims::default()
        };
        Ok(self.key.mint(&claims, TOKEN_TTL)?)
    }
}
