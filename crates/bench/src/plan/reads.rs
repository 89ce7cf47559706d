//! Rows of reads in AllocationService. Nothing is written, so that all arms of a row read one database.

use std::sync::Arc;

use anyhow::{Context, Result};

use super::arms::variables;
use super::{BenchRun, EARMARK, INTERACTIVE, LARGE, MILLION, READS, TEXTBOOK};
use crate::arm::{Arm, ArmDriver, median};
use crate::client::LoadWork;
use crate::ids::BenchNetwork;
use crate::pgbench::Script;
use crate::results::BenchResults;
use crate::row::{BenchRow, Goal, Metric, RowDone};
use crate::server::BenchServerKind;
use crate::textbook::TextbookReads;
use crate::work::BenchList;

const TEXTBOOK_STATEMENT: &str = "textbook server, lone statements";
const NULL: &str = "call without a database";
const FIRST_PAGE: &str = "Earmark, first page";
const LAST_PAGE: &str = "Earmark, last page by token";
const FIRST_SELECT: &str = "pgbench, first page";
const LAST_SELECT: &str = "pgbench, last page";

impl BenchRun<'_> {
    /// P4, and P7 of it.
    pub(super) async fn gets(&self, results: &mut BenchResults) -> Result<()> {
        self.seeded("million", &[MILLION]).await?;
        let (work, tokens) = self.get(MILLION)?;
        let work = (&work, tokens);
        let arms = vec![
            self.earmark(EARMARK, "million", None, work).await?,
            self.served((NULL, BenchServerKind::Null), "million", None, work)
                .await?,
            self.textbook(
                (TEXTBOOK, TextbookReads::Transaction),
                "million",
                None,
                work,
            )
            .await?,
            // No goal is set against it; who knows that one statement needs no transaction shall see what that gains.
            self.textbook(
                (TEXTBOOK_STATEMENT, TextbookReads::Statement),
                "million",
                None,
                work,
            )
            .await?,
        ];
        let goals = vec![
            Goal {
                of: EARMARK,
                against: NULL,
                metric: Metric::PerSecond,
                must: 0.55,
                aim: Some(0.75),
            },
            Goal {
                of: EARMARK,
                against: TEXTBOOK,
                metric: Metric::PerSecond,
                must: 2.2,
                aim: None,
            },
        ];
        let mut row = BenchRow {
            id: "P4",
            work: "GetAllocation, random of 1,000,000, 256 callers",
            metric: Metric::PerSecond,
            arms,
            goals,
            span: READS,
        };
        row.run(self.cluster, self.screen).await?;
        self.screen.stage("P4 at other numbers of callers", 10);
        for arm in &mut row.arms {
            results.gets.push(self.curve(arm, &[1, 16, 64]).await?);
        }
        row.verify(self.cluster, self.screen).await?;
        let done = row.finish();
        let most = median(&done.arms[0].rounds, |round| round.per_second);
        results.rows.push(done);
        if !self.wanted.has("P7") {
            return row.end().await;
        }
        let earmark = row.arms.swap_remove(0);
        row.end().await?;
        results.rows.push(self.half_gets(earmark, most).await?);
        Ok(())
    }

    /// P7 of P4: Earmark and pgbench at half of what each does at the most.
    async fn half_gets(&self, earmark: Arm, most: f64) -> Result<RowDone> {
        let mut halves = vec![(earmark, most)];
        let script = Script {
            text: include_str!("../sql/get_interactive.sql"),
            variables: variables(MILLION),
        };
        if let Some((arm, curve)) = self.pgbench(INTERACTIVE, "million", None, script).await? {
            let most = curve.best().map_or(0.0, |point| point.per_second);
            halves.push((arm, most));
        }
        let work = "GetAllocation as in P4 at half of the most, open loop";
        self.half_load(work, halves).await
    }

    /// P5: the first and the last page of a long list.
    pub(super) async fn pages(&self, results: &mut BenchResults) -> Result<()> {
        self.seeded("large", &[LARGE]).await?;
        let mut arms = vec![self.list(FIRST_PAGE, "large", LARGE, 0).await?];
        let last = LARGE.records / BenchList::PAGE - 1;
        arms.push(self.list(LAST_PAGE, "large", LARGE, last).await?);
        for (name, after) in [(FIRST_SELECT, None), (LAST_SELECT, Some(last))] {
            let script = Script {
                text: include_str!("../sql/list_page.sql"),
                variables: page_variables(LARGE, after),
            };
            let pgbench = self.pgbench(name, "large", None, script).await?;
            arms.extend(pgbench.map(|(arm, _)| arm));
        }
        let goals = vec![
            Goal {
                of: FIRST_PAGE,
                against: FIRST_SELECT,
                metric: Metric::PerSecond,
                must: 0.4,
                aim: Some(0.6),
            },
            Goal {
                of: LAST_PAGE,
                against: LAST_SELECT,
                metric: Metric::PerSecond,
                must: 0.4,
                aim: Some(0.6),
            },
            Goal {
                of: LAST_PAGE,
                against: FIRST_PAGE,
                metric: Metric::Time,
                must: 1.5,
                aim: None,
            },
        ];
        let mut row = BenchRow {
            id: "P5",
            work: "ListClientAllocations, 100 of an enterprise with 1,000,000, 256 callers",
            metric: Metric::PerSecond,
            arms,
            goals,
            span: READS,
        };
        let done = row.carry_out(self.cluster, self.screen).await?;
        results.rows.push(done);
        row.end().await
    }

    /// Earmark, asked for one page of the network's one enterprise; pages count from 0, and those behind the first are
    /// asked for by token.
    pub(super) async fn list(
        &self,
        name: &'static str,
        database: &str,
        network: BenchNetwork,
        page: u32,
    ) -> Result<Arm> {
        let tokens = self.tokens(network)?;
        let count = tokens.count();
        let list = BenchList::first_page(tokens);
        let first: Arc<dyn LoadWork> = Arc::new(list.clone());
        let mut arm = self.earmark(name, database, None, (&first, count)).await?;
        if let ArmDriver::Served { servers, work, .. } = &mut arm.how {
            let address = servers.first().context("it has a process")?.address;
            *work = Arc::new(list.at_page(page, address).await?);
        }
        Ok(arm)
    }
}

/// Where the page behind another begins: behind this record's number.
fn page_variables(network: BenchNetwork, page: Option<u32>) -> Vec<(&'static str, u64)> {
    let after = page.map_or(0, |page| {
        let record = page * BenchList::PAGE - 1;
        (u64::from(record) << 16) | u64::from(network.first)
    });
    let mut variables = variables(network);
    variables.push(("after", after));
    variables
}
