//! How arms are made, and what is measured of a single one.

use std::sync::Arc;

use anyhow::{Context, Result};

use super::{
    BenchRun, CALLERS, CONNECTIONS, EARMARK, INTERACTIVE, ONE_STATEMENT, SHORT, TAILS, TEXTBOOK,
    WRITES,
};
use crate::arm::{Arm, ArmDriver, GrowingTable, median};
use crate::client::{LoadWork, Pace};
use crate::ids::BenchNetwork;
use crate::pgbench::Script;
use crate::results::{Curve, OpenLoop, Point};
use crate::row::{BenchRow, Goal, Metric, RowDone};
use crate::seed;
use crate::server::{BenchServer, BenchServerKind};
use crate::textbook::TextbookReads;
use crate::work::{BenchCreate, BenchGet, Tokens};

const PGBENCH_CLIENTS: [usize; 4] = [1, 8, 16, 64];
const TEXTBOOK_POOLS: [u32; 4] = [4, 8, 16, 32];
/// Share of its own throughput at which an arm is called in an open loop.
const OPEN_LOOP_SHARE: f64 = 0.7;

impl BenchRun<'_> {
    /// A database with these networks, which is seeded once.
    pub(super) async fn seeded(&self, name: &str, networks: &[BenchNetwork]) -> Result<()> {
        let seeding = seed::network(self.cluster, name, networks);
        self.seeded_by(name, seeding).await
    }

    /// A database that this fills, once.
    pub(super) async fn seeded_by(
        &self,
        name: &str,
        seeding: impl Future<Output = Result<()>>,
    ) -> Result<()> {
        let mut seeded = self.seeded.lock().await;
        if seeded.contains(name) {
            return Ok(());
        }
        self.screen.step(&format!("seeding {name}"));
        self.cluster.create(name, &self.programs.earmark).await?;
        seeding.await.with_context(|| format!("seeding {name}"))?;
        self.screen.done(&format!("seeded {name}"));
        seeded.insert(name.into());
        Ok(())
    }

    pub(super) async fn copy(&self, template: &str, name: &str) -> Result<String> {
        self.screen.step(&format!("copying {name}"));
        self.cluster.copy(template, name).await?;
        Ok(name.into())
    }

    /// Earmark on a database; `table` is what its work adds to.
    pub(super) async fn earmark(
        &self,
        name: &'static str,
        database: &str,
        table: Option<&'static str>,
        (work, tokens): (&Arc<dyn LoadWork>, usize),
    ) -> Result<Arm> {
        self.served(
            (name, BenchServerKind::Earmark),
            database,
            table,
            (work, tokens),
        )
        .await
    }

    /// A server on a database; `table` is what its work adds to. A connection bears one token: where there are many
    /// tokens, there are as many connections.
    pub(super) async fn served(
        &self,
        (name, kind): (&'static str, BenchServerKind),
        database: &str,
        table: Option<&'static str>,
        (work, tokens): (&Arc<dyn LoadWork>, usize),
    ) -> Result<Arm> {
        let server = BenchServer::start(&self.programs, kind, &self.cluster.url(database)).await?;
        let connections = tokens.max(CONNECTIONS);
        let how = ArmDriver::Served {
            servers: vec![server],
            work: Arc::clone(work),
            connections,
        };
        let mut arm = Arm::new(
            name,
            database,
            how,
            CALLERS,
            self.stored(database, table).await?,
        );
        arm.detail = format!("connections: {connections}");
        Ok(arm)
    }

    /// pgbench on a database with the best of several numbers of clients; none if there is no pgbench.
    pub(super) async fn pgbench(
        &self,
        name: &'static str,
        database: &str,
        table: Option<&'static str>,
        script: Script,
    ) -> Result<Option<(Arm, Curve)>> {
        let Some(mut arm) = self.pgbench_alone(name, database, table, script).await? else {
            return Ok(None);
        };
        let tries = PGBENCH_CLIENTS.len();
        self.screen
            .stage(&format!("Best number of clients: {name}"), tries);
        let curve = self.curve(&mut arm, &PGBENCH_CLIENTS).await?;
        let best = curve.best().context("several were tried")?.callers;
        arm.pace = Pace::Closed(best);
        arm.detail = format!("clients: {best}, the best of {PGBENCH_CLIENTS:?}");
        Ok(Some((arm, curve)))
    }

    /// pgbench with one client.
    pub(super) async fn pgbench_alone(
        &self,
        name: &'static str,
        database: &str,
        table: Option<&'static str>,
        script: Script,
    ) -> Result<Option<Arm>> {
        let Some(pgbench) = &self.pgbench else {
            return Ok(None);
        };
        let how = ArmDriver::Pgbench {
            pgbench: pgbench.clone(),
            script,
        };
        let stored = self.stored(database, table).await?;
        Ok(Some(Arm::new(name, database, how, 1, stored)))
    }

    /// The textbook server with the best of several pools.
    pub(super) async fn textbook(
        &self,
        (name, reads): (&'static str, TextbookReads),
        database: &str,
        table: Option<&'static str>,
        (work, tokens): (&Arc<dyn LoadWork>, usize),
    ) -> Result<Arm> {
        self.screen
            .stage(&format!("Best pool: {name}"), TEXTBOOK_POOLS.len());
        let mut best = None;
        for pool in TEXTBOOK_POOLS {
            self.screen.step(&format!("pool of {pool}"));
            let kind = BenchServerKind::Textbook(pool, reads);
            let mut arm = self
                .served((name, kind), database, table, (work, tokens))
                .await?;
            let pace = Pace::Closed(CALLERS);
            let (round, _) = arm.measure(self.cluster, SHORT, pace).await?;
            arm.end().await?;
            self.screen
                .done(&format!("pool of {pool}: {:.0}/s", round.per_second));
            if best.is_none_or(|(most, _)| round.per_second > most) {
                best = Some((round.per_second, pool));
            }
        }
        let (_, pool) = best.context("several were tried")?;
        let kind = BenchServerKind::Textbook(pool, reads);
        let mut arm = self
            .served((name, kind), database, table, (work, tokens))
            .await?;
        arm.detail = format!(
            "pool: {pool}, the best of {TEXTBOOK_POOLS:?}; {}",
            arm.detail
        );
        Ok(arm)
    }

    async fn stored(
        &self,
        database: &str,
        table: Option<&'static str>,
    ) -> Result<Option<GrowingTable>> {
        match table {
            None => Ok(None),
            Some(table) => Ok(Some(GrowingTable {
                table,
                rows: self.cluster.count(database, table).await?,
            })),
        }
    }

    /// One short run at each number of callers; the rounds, where there are any, give another point.
    pub(super) async fn curve(&self, arm: &mut Arm, callers: &[usize]) -> Result<Curve> {
        let mut points = Vec::new();
        if !arm.rounds.is_empty() {
            points.push(Point {
                callers: arm.callers(),
                per_second: median(&arm.rounds, |round| round.per_second),
                p50: median(&arm.rounds, |round| round.p50),
                p99: median(&arm.rounds, |round| round.p99),
            });
        }
        for &callers in callers {
            self.screen
                .step(&format!("{}: {callers} callers", arm.name));
            let (round, _) = arm
                .measure(self.cluster, SHORT, Pace::Closed(callers))
                .await?;
            let (per_second, p50, p99) = (round.per_second, round.p50, round.p99);
            self.screen.done(&format!(
                "{}, {callers}: {per_second:.0}/s, p50 {p50:.2} ms",
                arm.name
            ));
            points.push(Point {
                callers,
                per_second,
                p50,
                p99,
            });
        }
        points.sort_by_key(|point| point.callers);
        Ok(Curve {
            name: arm.name,
            points,
        })
    }

    /// Calls at random times, at a rate that the arm can keep up with.
    pub(super) async fn open_loop(&self, arm: &mut Arm) -> Result<OpenLoop> {
        let rate = median(&arm.rounds, |round| round.per_second) * OPEN_LOOP_SHARE;
        self.screen.step(&format!("{}: open loop", arm.name));
        let pace = Pace::Open {
            per_second: rate,
            callers: arm.callers(),
        };
        let (round, latency) = arm.measure(self.cluster, WRITES, pace).await?;
        let done = format!(
            "{}, open loop of {rate:.0}/s: p99 {:.1} ms",
            arm.name, round.p99
        );
        self.screen.done(&done);
        Ok(OpenLoop {
            name: arm.name,
            rate,
            round,
            latency,
        })
    }

    /// P7: Earmark and pgbench at half of what each does at the most, which is given with each.
    pub(super) async fn half_load(
        &self,
        work: &'static str,
        arms: Vec<(Arm, f64)>,
    ) -> Result<RowDone> {
        let mut row = BenchRow {
            id: "P7",
            work,
            metric: Metric::P99,
            arms: Vec::new(),
            goals: vec![Goal {
                of: EARMARK,
                against: INTERACTIVE,
                metric: Metric::P99,
                must: 3.0,
                aim: Some(1.5),
            }],
            span: TAILS,
        };
        for (mut arm, most) in arms {
            let (per_second, callers) = (most / 2.0, arm.callers());
            arm.pace = Pace::Open {
                per_second,
                callers,
            };
            arm.detail = format!("{per_second:.0}/s intended; {}", arm.detail);
            row.arms.push(arm);
        }
        let done = row.carry_out(self.cluster, self.screen).await?;
        row.end().await?;
        Ok(done)
    }

    pub(super) fn create(&self, network: BenchNetwork) -> Result<(Arc<dyn LoadWork>, usize)> {
        let tokens = self.tokens(network)?;
        let count = tokens.count();
        Ok((Arc::new(BenchCreate(tokens)), count))
    }

    pub(super) fn get(&self, network: BenchNetwork) -> Result<(Arc<dyn LoadWork>, usize)> {
        let tokens = self.tokens(network)?;
        let count = tokens.count();
        Ok((Arc::new(BenchGet(tokens)), count))
    }

    pub(super) fn tokens(&self, network: BenchNetwork) -> Result<Tokens> {
        Tokens::mint(&self.key, network)
    }
}

/// What pgbench needs to know of a network.
pub(super) fn variables(network: BenchNetwork) -> Vec<(&'static str, u64)> {
    vec![
        ("first", network.first.into()),
        ("last", network.last().into()),
        ("currencies", network.currencies.into()),
        ("records", network.records.into()),
    ]
}

/// Of P1, and of all else that everybody writes to one owner.
pub(super) fn goals_of_one_owner() -> Vec<Goal> {
    vec![
        Goal {
            of: EARMARK,
            against: INTERACTIVE,
            metric: Metric::PerSecond,
            must: 12.0,
            aim: Some(20.0),
        },
        Goal {
            of: EARMARK,
            against: TEXTBOOK,
            metric: Metric::PerSecond,
            must: 10.0,
            aim: None,
        },
    ]
}

/// Of P2, and of all else that is written to many owners.
pub(super) fn goals_of_many_owners() -> Vec<Goal> {
    vec![Goal {
        of: EARMARK,
        against: ONE_STATEMENT,
        metric: Metric::PerSecond,
        must: 1.2,
        aim: Some(2.0),
    }]
}
