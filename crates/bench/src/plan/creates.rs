//! Rows of writes in AllocationService.

use std::sync::Arc;

use anyhow::Result;

use super::arms::{goals_of_many_owners, goals_of_one_owner, variables};
use super::{BenchRun, EARMARK, HOT, INTERACTIVE, ONE_STATEMENT, SHORT, SPREAD, TEXTBOOK, WRITES};
use crate::arm::{ArmDriver, median};
use crate::client::LoadWork;
use crate::ids::BenchNetwork;
use crate::pgbench::Script;
use crate::results::BenchResults;
use crate::row::{BenchRow, Goal, Metric};
use crate::server::{BenchServer, BenchServerKind};
use crate::textbook::TextbookReads;
use crate::work::BenchSubmit;

const TABLE: Option<&str> = Some("allocation");
const ONE_A_CALL: &str = "Earmark, CreateAllocation as in P2";
const ONE_PROCESS: &str = "Earmark, one process";
const TWO_PROCESSES: &str = "Earmark, two processes";
/// Of P3, each with one caller.
const SUBMIT_CONNECTIONS: usize = 20;

impl BenchRun<'_> {
    /// P1, and P7 of it.
    pub(super) async fn hot_account(&self, results: &mut BenchResults) -> Result<()> {
        self.seeded("hot", &[HOT]).await?;
        let (work, tokens) = self.create(HOT)?;
        let database = self.copy("hot", "p1_earmark").await?;
        let mut arms = vec![
            self.earmark(EARMARK, &database, TABLE, (&work, tokens))
                .await?,
        ];
        let database = self.copy("hot", "p1_pgbench").await?;
        if let Some((arm, curve)) = self
            .pgbench(INTERACTIVE, &database, TABLE, interactive(HOT))
            .await?
        {
            results.creates.push(curve);
            arms.push(arm);
        }
        let database = self.copy("hot", "p1_textbook").await?;
        let textbook = (TEXTBOOK, TextbookReads::Transaction);
        arms.push(
            self.textbook(textbook, &database, TABLE, (&work, tokens))
                .await?,
        );
        let mut row = BenchRow {
            id: "P1",
            work: "CreateAllocation, CONFIRMED, one account, 256 callers",
            metric: Metric::PerSecond,
            arms,
            goals: goals_of_one_owner(),
            span: WRITES,
        };
        row.run(self.cluster, self.screen).await?;
        self.screen
            .stage("P1 at other numbers of callers, and in an open loop", 10);
        for arm in row
            .arms
            .iter_mut()
            .filter(|arm| matches!(arm.how, ArmDriver::Served { .. }))
        {
            results
                .creates
                .push(self.curve(arm, &[1, 8, 64, 1_024]).await?);
            results.open_loops.push(self.open_loop(arm).await?);
        }
        row.verify(self.cluster, self.screen).await?;
        let done = row.finish();
        let mut halves = Vec::new();
        for (arm, finished) in row.arms.into_iter().zip(&done.arms) {
            if self.wanted.has("P7") && arm.name != TEXTBOOK {
                halves.push((arm, median(&finished.rounds, |round| round.per_second)));
            } else {
                arm.end().await?;
            }
        }
        results.rows.push(done);
        if self.wanted.has("P7") {
            let work = "CreateAllocation as in P1 at half of the most, open loop";
            results.rows.push(self.half_load(work, halves).await?);
        }
        Ok(())
    }

    /// P2, and P7 of it.
    pub(super) async fn many_accounts(&self, results: &mut BenchResults) -> Result<()> {
        self.seeded("spread", &[SPREAD]).await?;
        let (work, tokens) = self.create(SPREAD)?;
        let database = self.copy("spread", "p2_earmark").await?;
        let mut arms = vec![
            self.earmark(EARMARK, &database, TABLE, (&work, tokens))
                .await?,
        ];
        let database = self.copy("spread", "p2_pgbench").await?;
        let script = Script {
            text: include_str!("../sql/create_one_statement.sql"),
            variables: variables(SPREAD),
        };
        let pgbench = self
            .pgbench(ONE_STATEMENT, &database, TABLE, script)
            .await?;
        arms.extend(pgbench.map(|(arm, _)| arm));
        let mut row = BenchRow {
            id: "P2",
            work: "CreateAllocation over 100,000 accounts, 100 tokens, 256 callers",
            metric: Metric::PerSecond,
            arms,
            goals: goals_of_many_owners(),
            span: WRITES,
        };
        let done = row.carry_out(self.cluster, self.screen).await?;
        let most = median(&done.arms[0].rounds, |round| round.per_second);
        results.rows.push(done);
        if !self.wanted.has("P7") {
            return row.end().await;
        }
        let earmark = row.arms.swap_remove(0);
        row.end().await?;
        let mut halves = vec![(earmark, most)];
        let database = self.copy("spread", "p7_pgbench").await?;
        if let Some((arm, curve)) = self
            .pgbench(INTERACTIVE, &database, TABLE, interactive(SPREAD))
            .await?
        {
            let most = curve.best().map_or(0.0, |point| point.per_second);
            halves.push((arm, most));
        }
        let work = "CreateAllocation as in P2 at half of the most, open loop";
        results.rows.push(self.half_load(work, halves).await?);
        Ok(())
    }

    /// P3: one owner's many against P2's, allocation by allocation.
    pub(super) async fn many_a_call(&self, results: &mut BenchResults) -> Result<()> {
        self.seeded("hot", &[HOT]).await?;
        self.seeded("spread", &[SPREAD]).await?;
        let tokens = self.tokens(HOT)?;
        let count = tokens.count();
        let submit: Arc<dyn LoadWork> = Arc::new(BenchSubmit(tokens));
        let database = self.copy("hot", "p3_many").await?;
        let mut many = self
            .earmark(EARMARK, &database, TABLE, (&submit, count))
            .await?;
        many.call_over(SUBMIT_CONNECTIONS);
        let (create, tokens) = self.create(SPREAD)?;
        let database = self.copy("spread", "p3_single").await?;
        let single = self
            .earmark(ONE_A_CALL, &database, TABLE, (&create, tokens))
            .await?;
        let mut row = BenchRow {
            id: "P3",
            work: "SubmitAllocations, 1,000 a call, one owner, 20 connections",
            metric: Metric::PerSecond,
            arms: vec![many, single],
            goals: vec![Goal {
                of: EARMARK,
                against: ONE_A_CALL,
                metric: Metric::PerSecond,
                must: 2.5,
                aim: Some(4.0),
            }],
            span: WRITES,
        };
        let done = row.carry_out(self.cluster, self.screen).await?;
        results.rows.push(done);
        row.end().await
    }

    /// P6: the latency of a single caller.
    pub(super) async fn single_caller(&self, results: &mut BenchResults) -> Result<()> {
        self.seeded("hot", &[HOT]).await?;
        let (work, tokens) = self.create(HOT)?;
        let database = self.copy("hot", "p6_earmark").await?;
        let mut earmark = self
            .earmark(EARMARK, &database, TABLE, (&work, tokens))
            .await?;
        earmark.call_over(1);
        let database = self.copy("hot", "p6_pgbench").await?;
        let pgbench = self
            .pgbench_alone(INTERACTIVE, &database, TABLE, interactive(HOT))
            .await?;
        let mut row = BenchRow {
            id: "P6",
            work: "CreateAllocation, a single caller",
            metric: Metric::P50,
            arms: [Some(earmark), pgbench].into_iter().flatten().collect(),
            goals: vec![Goal {
                of: EARMARK,
                against: INTERACTIVE,
                metric: Metric::P50,
                must: 1.5,
                aim: Some(1.0),
            }],
            span: SHORT,
        };
        let done = row.carry_out(self.cluster, self.screen).await?;
        results.rows.push(done);
        row.end().await
    }

    /// P9: both processes write to the one account.
    pub(super) async fn two_processes(&self, results: &mut BenchResults) -> Result<()> {
        self.seeded("hot", &[HOT]).await?;
        let (work, tokens) = self.create(HOT)?;
        let database = self.copy("hot", "p9_two").await?;
        let mut two = self
            .earmark(TWO_PROCESSES, &database, TABLE, (&work, tokens))
            .await?;
        if let ArmDriver::Served { servers, .. } = &mut two.how {
            let url = self.cluster.url(&database);
            servers.push(BenchServer::start(&self.programs, BenchServerKind::Earmark, &url).await?);
        }
        let database = self.copy("hot", "p9_one").await?;
        let one = self
            .earmark(ONE_PROCESS, &database, TABLE, (&work, tokens))
            .await?;
        let mut row = BenchRow {
            id: "P9",
            work: "CreateAllocation, one account, two processes on one database, 256 callers in total",
            metric: Metric::PerSecond,
            arms: vec![two, one],
            goals: vec![Goal {
                of: TWO_PROCESSES,
                against: ONE_PROCESS,
                metric: Metric::PerSecond,
                must: 0.8,
                aim: Some(1.0),
            }],
            span: WRITES,
        };
        let done = row.carry_out(self.cluster, self.screen).await?;
        results.rows.push(done);
        row.end().await
    }
}

fn interactive(network: BenchNetwork) -> Script {
    Script {
        text: include_str!("../sql/create_interactive.sql"),
        variables: variables(network),
    }
}
