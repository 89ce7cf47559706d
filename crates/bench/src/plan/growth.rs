//! P10: what P1, P2, P4 and P5 do as the tables grow a thousandfold, while the accounts remain the same.

use anyhow::{Context, Result};

use super::{BenchRun, READS, SPREAD, WRITES};
use crate::arm::{Arm, median};
use crate::ids::BenchNetwork;
use crate::results::BenchResults;
use crate::results::Growth;
use crate::row::{BenchRow, Goal, Metric};
use crate::span::Span;

/// Each size has a database of its own. Half of the allocations are one enterprise's, the others are everybody's.
struct GrowthSize {
    name: &'static str,
    database: &'static str,
    rows: u32,
}

const SIZES: [GrowthSize; 4] = [
    GrowthSize {
        name: "Earmark, 10,000 rows",
        database: "rows_10000",
        rows: 10_000,
    },
    GrowthSize {
        name: "Earmark, 100,000 rows",
        database: "rows_100000",
        rows: 100_000,
    },
    GrowthSize {
        name: "Earmark, 1,000,000 rows",
        database: "rows_1000000",
        rows: 1_000_000,
    },
    GrowthSize {
        name: "Earmark, 10,000,000 rows",
        database: "rows_10000000",
        rows: 10_000_000,
    },
];

const TABLE: Option<&str> = Some("allocation");

impl GrowthSize {
    fn everybody(&self) -> BenchNetwork {
        BenchNetwork {
            records: self.rows / 2 / SPREAD.enterprises,
            ..SPREAD
        }
    }

    fn large(&self) -> BenchNetwork {
        BenchNetwork {
            first: SPREAD.last() + 1,
            enterprises: 1,
            currencies: SPREAD.currencies,
            records: self.rows / 2,
        }
    }

    /// One account of the large enterprise.
    fn hot(&self) -> BenchNetwork {
        BenchNetwork {
            currencies: 1,
            ..self.large()
        }
    }
}

/// What is done at each size.
#[derive(Clone, Copy)]
enum GrowthCall {
    HotAccount,
    ManyAccounts,
    Gets,
    Pages,
}

impl GrowthCall {
    const ALL: [Self; 4] = [
        Self::HotAccount,
        Self::ManyAccounts,
        Self::Gets,
        Self::Pages,
    ];

    fn work(self) -> &'static str {
        match self {
            Self::HotAccount => "CreateAllocation, one account, as in P1",
            Self::ManyAccounts => "CreateAllocation, 100,000 accounts, as in P2",
            Self::Gets => "GetAllocation, as in P4",
            Self::Pages => "ListClientAllocations, the first 100, as in P5",
        }
    }

    fn span(self) -> Span {
        match self {
            Self::HotAccount | Self::ManyAccounts => WRITES,
            Self::Gets | Self::Pages => READS,
        }
    }
}

impl BenchRun<'_> {
    pub(super) async fn growth(&self, results: &mut BenchResults) -> Result<()> {
        self.screen.stage("P10: seeding", SIZES.len());
        for size in &SIZES {
            self.seeded(size.database, &[size.everybody(), size.large()])
                .await?;
        }
        let [smallest, .., largest] = &SIZES;
        for kind in GrowthCall::ALL {
            // The largest first, as the goal is about it.
            let mut arms = Vec::new();
            for size in SIZES.iter().rev() {
                arms.push(self.sized(kind, size).await?);
            }
            let mut row = BenchRow {
                id: "P10",
                work: kind.work(),
                metric: Metric::PerSecond,
                arms,
                goals: vec![Goal {
                    of: largest.name,
                    against: smallest.name,
                    metric: Metric::PerSecond,
                    must: 0.75,
                    aim: Some(0.9),
                }],
                span: kind.span(),
            };
            row.run(self.cluster, self.screen).await?;
            let done = row.finish();
            let mut points = Vec::new();
            for arm in &done.arms {
                let size = SIZES.iter().find(|size| size.name == arm.name);
                let rows = size.context("an arm is of a size")?.rows;
                let micros = |of: &dyn Fn(&crate::usage::Used) -> f64| {
                    median(&arm.rounds, |round| of(&round.micros))
                };
                points.push((
                    f64::from(rows),
                    micros(&|used| used.server),
                    micros(&|used| used.postgres),
                ));
            }
            results.growth.push(Growth {
                work: kind.work(),
                points,
            });
            results.rows.push(done);
            row.end().await?;
        }
        self.screen.stage("P10: verifying", SIZES.len());
        let last = results.rows.len() - 1;
        for size in &SIZES {
            self.screen.step(&format!("verify {}", size.database));
            let summary = self.cluster.verify(size.database).await?;
            self.screen.done(&format!("{}: {summary}", size.name));
            // Once for all four rows, behind the last of them.
            let arms = &mut results.rows[last].arms;
            if let Some(arm) = arms.iter_mut().find(|arm| arm.name == size.name) {
                arm.verified = Some(summary);
            }
        }
        Ok(())
    }

    async fn sized(&self, kind: GrowthCall, size: &GrowthSize) -> Result<Arm> {
        let (name, database) = (size.name, size.database);
        match kind {
            GrowthCall::HotAccount => {
                let (work, tokens) = self.create(size.hot())?;
                self.earmark(name, database, TABLE, (&work, tokens)).await
            }
            GrowthCall::ManyAccounts => {
                let (work, tokens) = self.create(size.everybody())?;
                self.earmark(name, database, TABLE, (&work, tokens)).await
            }
            GrowthCall::Gets => {
                let (work, tokens) = self.get(size.everybody())?;
                self.earmark(name, database, None, (&work, tokens)).await
            }
            GrowthCall::Pages => self.list(name, database, size.large(), 0).await,
        }
    }
}
