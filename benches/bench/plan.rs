//! What is measured, and in which order.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use earmark::auth::dev_key::{DevClaims, DevKey};

use crate::arm::{Arm, How, Span, median};
use crate::client::{Pace, Work};
use crate::cluster::BenchCluster;
use crate::ids::{self, Network};
use crate::pgbench::{Pgbench, Script};
use crate::report::{Curve, OpenLoop, Point};
use crate::row::{Goal, Metric, Row, RowDone};
use crate::screen::Screen;
use crate::server::{Kind, Programs, Server};
use crate::textbook::Reads;
use crate::work::{self, Create, Get, Tokens};

/// One account, on which everybody waits for everybody. Its few records are there for the planner's statistics.
const HOT: Network = Network {
    enterprises: 1,
    currencies: 1,
    records: 1_000,
};
/// 100,000 accounts with a record each.
const SPREAD: Network = Network {
    enterprises: 5_000,
    currencies: 20,
    records: 1,
};
/// The same with 1,000,000 records.
const MILLION: Network = Network {
    records: 10,
    ..SPREAD
};

const CALLERS: usize = 256;
/// Connections of the callers of one enterprise.
const CONNECTIONS: usize = 8;
const PGBENCH_CLIENTS: [usize; 4] = [1, 8, 16, 64];
const TEXTBOOK_POOLS: [u32; 4] = [4, 8, 16, 32];
/// Share of its own throughput at which an arm is called in an open loop.
const OPEN_LOOP_SHARE: f64 = 0.7;

const EARMARK: &str = "Earmark";
const INTERACTIVE: &str = "pgbench, interactive transaction";
const ONE_STATEMENT: &str = "pgbench, one statement";
const TEXTBOOK: &str = "textbook server";
const TEXTBOOK_STATEMENT: &str = "textbook server, lone statements";
const NULL: &str = "call without a database";

const WRITES: Span = span(1_000, 3_000);
const READS: Span = span(500, 2_500);
const SHORT: Span = span(1_000, 2_000);

const fn span(warm_up_ms: u64, duration_ms: u64) -> Span {
    Span {
        warm_up: Duration::from_millis(warm_up_ms),
        duration: Duration::from_millis(duration_ms),
    }
}

const ROWS: [&str; 4] = ["P1", "P2", "P4", "P6"];

/// Which rows are measured.
pub(crate) struct Wanted(Vec<String>);

impl Wanted {
    /// Those that are named; all if none is.
    pub(crate) fn read<'r>(rows: impl Iterator<Item = &'r str>) -> Result<Self> {
        let rows: Vec<String> = rows.map(str::to_owned).collect();
        match rows.iter().find(|row| !ROWS.contains(&row.as_str())) {
            Some(unknown) => bail!(
                "there is no row {unknown:?}: the rows are {}",
                ROWS.join(", ")
            ),
            None => Ok(Self(rows)),
        }
    }

    fn has(&self, row: &str) -> bool {
        self.0.is_empty() || self.0.iter().any(|wanted| wanted == row)
    }
}

/// Everything that the rows need.
pub(crate) struct Bench<'a> {
    pub(crate) cluster: &'a BenchCluster,
    pub(crate) screen: &'a Screen,
    programs: Programs,
    key: DevKey,
    pgbench: Option<Pgbench>,
}

/// What came of everything.
#[derive(Default)]
pub(crate) struct Results {
    pub(crate) rows: Vec<RowDone>,
    pub(crate) creates: Vec<Curve>,
    pub(crate) gets: Vec<Curve>,
    pub(crate) open_loops: Vec<OpenLoop>,
    /// Rows that could not be run to their end, and why.
    pub(crate) failures: Vec<String>,
}

impl Results {
    fn note(&mut self, row: &str, outcome: Result<()>) {
        if let Err(error) = outcome {
            self.failures.push(format!("{row}: {error:#}"));
        }
    }
}

impl<'a> Bench<'a> {
    pub(crate) fn new(
        cluster: &'a BenchCluster,
        screen: &'a Screen,
        folder: &Path,
        earmark: PathBuf,
    ) -> Result<Self> {
        Ok(Self {
            cluster,
            screen,
            key: DevKey::open_or_create(folder)?,
            programs: Programs {
                earmark,
                folder: folder.into(),
            },
            pgbench: Pgbench::find(cluster, folder),
        })
    }

    /// Seeds the databases from which those of the arms are copied.
    pub(crate) async fn seed(&self) -> Result<()> {
        self.screen.stage("Seeding", 3);
        for (name, network) in [("hot", HOT), ("spread", SPREAD), ("million", MILLION)] {
            self.screen.step(name);
            self.cluster.seed(name, network).await?;
            let records = network.records_total();
            let accounts = network.enterprises * network.currencies;
            self.screen
                .done(&format!("{name}: {accounts} accounts, {records} records"));
        }
        Ok(())
    }

    /// The rows, one after the other. One that fails does not keep the others from being measured.
    pub(crate) async fn run(&self, wanted: &Wanted) -> Results {
        let mut results = Results::default();
        for row in ROWS.into_iter().filter(|row| wanted.has(row)) {
            let outcome = match row {
                "P1" => self.hot_account(&mut results).await,
                "P2" => self.many_accounts(&mut results).await,
                "P4" => self.reads(&mut results).await,
                _ => self.single_caller(&mut results).await,
            };
            results.note(row, outcome);
        }
        results
    }

    /// P1.
    async fn hot_account(&self, results: &mut Results) -> Result<()> {
        let work = self.create(HOT)?;
        let database = self.copy("hot", "p1_earmark").await?;
        let mut arms = vec![
            self.served(EARMARK, Kind::Earmark, &database, HOT, &work)
                .await?,
        ];
        if let Some(pgbench) = &self.pgbench {
            let database = self.copy("hot", "p1_pgbench").await?;
            let how = How::Pgbench {
                pgbench: pgbench.clone(),
                script: Script::Interactive,
            };
            let mut arm = Arm::new(INTERACTIVE, &database, HOT, how, 1, true);
            results.creates.push(self.best_clients(&mut arm).await?);
            arms.push(arm);
        }
        let database = self.copy("hot", "p1_textbook").await?;
        arms.push(
            self.best_pool((TEXTBOOK, Reads::Transaction), &database, HOT, &work)
                .await?,
        );
        let goals = vec![
            Goal {
                against: INTERACTIVE,
                must: 12.0,
                aim: Some(20.0),
            },
            Goal {
                against: TEXTBOOK,
                must: 10.0,
                aim: None,
            },
        ];
        let mut row = Row {
            id: "P1",
            work: "CreateAllocation, CONFIRMED, one account, 256 callers",
            metric: Metric::PerSecond,
            arms,
            goals,
            span: WRITES,
        };
        row.run(self.cluster, self.screen).await?;
        self.screen
            .stage("P1 at other numbers of callers, and in an open loop", 10);
        for arm in row
            .arms
            .iter_mut()
            .filter(|arm| matches!(arm.how, How::Served { .. }))
        {
            results
                .creates
                .push(self.curve(arm, &[1, 8, 64, 1_024]).await?);
            results.open_loops.push(self.open_loop(arm).await?);
        }
        row.verify(self.cluster, self.screen).await?;
        results.rows.push(row.end().await?);
        Ok(())
    }

    /// P2.
    async fn many_accounts(&self, results: &mut Results) -> Result<()> {
        let work = self.create(SPREAD)?;
        let database = self.copy("spread", "p2_earmark").await?;
        let mut arms = vec![
            self.served(EARMARK, Kind::Earmark, &database, SPREAD, &work)
                .await?,
        ];
        if let Some(pgbench) = &self.pgbench {
            let database = self.copy("spread", "p2_pgbench").await?;
            let how = How::Pgbench {
                pgbench: pgbench.clone(),
                script: Script::OneStatement,
            };
            let mut arm = Arm::new(ONE_STATEMENT, &database, SPREAD, how, 1, true);
            self.best_clients(&mut arm).await?;
            arms.push(arm);
        }
        let mut row = Row {
            id: "P2",
            work: "CreateAllocation over 100,000 accounts, 100 tokens, 256 callers",
            metric: Metric::PerSecond,
            arms,
            goals: vec![Goal {
                against: ONE_STATEMENT,
                must: 1.2,
                aim: Some(2.0),
            }],
            span: WRITES,
        };
        row.run(self.cluster, self.screen).await?;
        row.verify(self.cluster, self.screen).await?;
        results.rows.push(row.end().await?);
        Ok(())
    }

    /// P4. Nothing is written, so that all arms read one database.
    async fn reads(&self, results: &mut Results) -> Result<()> {
        let work: Arc<dyn Work> = Arc::new(Get(self.tokens(MILLION)?));
        let arms = vec![
            self.served(EARMARK, Kind::Earmark, "million", MILLION, &work)
                .await?,
            self.served(NULL, Kind::Null, "million", MILLION, &work)
                .await?,
            self.best_pool((TEXTBOOK, Reads::Transaction), "million", MILLION, &work)
                .await?,
            // No goal is set against it; who knows that one statement needs no transaction shall see what that gains.
            self.best_pool(
                (TEXTBOOK_STATEMENT, Reads::Statement),
                "million",
                MILLION,
                &work,
            )
            .await?,
        ];
        let goals = vec![
            Goal {
                against: NULL,
                must: 0.55,
                aim: Some(0.75),
            },
            Goal {
                against: TEXTBOOK,
                must: 2.2,
                aim: None,
            },
        ];
        let mut row = Row {
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
        // Nobody writes to it: once is enough.
        row.arms[0].verified = Some(self.cluster.verify("million").await?);
        results.rows.push(row.end().await?);
        Ok(())
    }

    /// P6.
    async fn single_caller(&self, results: &mut Results) -> Result<()> {
        let work = self.create(HOT)?;
        let database = self.copy("hot", "p6_earmark").await?;
        let mut earmark = self
            .served(EARMARK, Kind::Earmark, &database, HOT, &work)
            .await?;
        earmark.callers = 1;
        earmark.detail = "connections: 1".into();
        let mut arms = vec![earmark];
        if let Some(pgbench) = &self.pgbench {
            let database = self.copy("hot", "p6_pgbench").await?;
            let how = How::Pgbench {
                pgbench: pgbench.clone(),
                script: Script::Interactive,
            };
            arms.push(Arm::new(INTERACTIVE, &database, HOT, how, 1, true));
        }
        let mut row = Row {
            id: "P6",
            work: "CreateAllocation, a single caller",
            metric: Metric::P50,
            arms,
            goals: vec![Goal {
                against: INTERACTIVE,
                must: 1.5,
                aim: Some(1.0),
            }],
            span: SHORT,
        };
        row.run(self.cluster, self.screen).await?;
        row.verify(self.cluster, self.screen).await?;
        results.rows.push(row.end().await?);
        Ok(())
    }

    async fn copy(&self, template: &str, name: &str) -> Result<String> {
        self.screen.step(&format!("copying {name}"));
        self.cluster.copy(template, name).await?;
        Ok(name.into())
    }

    async fn served(
        &self,
        name: &'static str,
        kind: Kind,
        database: &str,
        network: Network,
        work: &Arc<dyn Work>,
    ) -> Result<Arm> {
        let server = Server::start(&self.programs, kind, &self.cluster.url(database)).await?;
        // A connection bears one token: where there are many tokens, there are as many connections.
        let tokens = usize::try_from(work::tokens_needed(network))?;
        let connections = tokens.max(CONNECTIONS);
        let how = How::Served {
            server,
            work: Arc::clone(work),
            connections,
        };
        let mut arm = Arm::new(name, database, network, how, CALLERS, work.writes());
        arm.detail = format!("connections: {connections}");
        Ok(arm)
    }

    /// Tries pgbench with several numbers of clients, and leaves it with the best.
    async fn best_clients(&self, arm: &mut Arm) -> Result<Curve> {
        self.screen.stage(
            &format!("Best number of clients: {}", arm.name),
            PGBENCH_CLIENTS.len(),
        );
        let curve = self.curve(arm, &PGBENCH_CLIENTS).await?;
        let best = curve
            .points
            .iter()
            .max_by(|a, b| a.per_second.total_cmp(&b.per_second));
        arm.callers = best.context("several were tried")?.callers;
        arm.detail = format!("clients: {}, the best of {PGBENCH_CLIENTS:?}", arm.callers);
        Ok(curve)
    }

    /// Tries the textbook server with pools of several sizes, and answers the best.
    async fn best_pool(
        &self,
        (name, reads): (&'static str, Reads),
        database: &str,
        network: Network,
        work: &Arc<dyn Work>,
    ) -> Result<Arm> {
        self.screen
            .stage(&format!("Best pool: {name}"), TEXTBOOK_POOLS.len());
        let mut best = None;
        let mut records = network.records_total();
        for pool in TEXTBOOK_POOLS {
            self.screen.step(&format!("pool of {pool}"));
            let mut arm = self
                .served(name, Kind::Textbook(pool, reads), database, network, work)
                .await?;
            arm.records = records;
            let pace = Pace::Closed(CALLERS);
            let (round, _) = arm.measure(self.cluster, SHORT, pace).await?;
            records = arm.records;
            arm.end().await?;
            self.screen
                .done(&format!("pool of {pool}: {:.0}/s", round.per_second));
            if best.is_none_or(|(most, _)| round.per_second > most) {
                best = Some((round.per_second, pool));
            }
        }
        let (_, pool) = best.context("several were tried")?;
        let mut arm = self
            .served(name, Kind::Textbook(pool, reads), database, network, work)
            .await?;
        arm.records = records;
        arm.detail = format!(
            "pool: {pool}, the best of {TEXTBOOK_POOLS:?}; {}",
            arm.detail
        );
        Ok(arm)
    }

    /// One short run at each number of callers; the rounds, where there are any, give another point.
    async fn curve(&self, arm: &mut Arm, callers: &[usize]) -> Result<Curve> {
        let mut points = Vec::new();
        if !arm.rounds.is_empty() {
            points.push(Point {
                callers: arm.callers,
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
    async fn open_loop(&self, arm: &mut Arm) -> Result<OpenLoop> {
        let rate = median(&arm.rounds, |round| round.per_second) * OPEN_LOOP_SHARE;
        self.screen.step(&format!("{}: open loop", arm.name));
        let (round, latency) = arm.measure(self.cluster, WRITES, Pace::Open(rate)).await?;
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

    fn create(&self, network: Network) -> Result<Arc<dyn Work>> {
        Ok(Arc::new(Create(self.tokens(network)?)))
    }

    fn tokens(&self, network: Network) -> Result<Tokens> {
        let mint = |token| {
            let claims = DevClaims {
                sub: "bench".into(),
                scope: "settlement_network_read settlement_network_write".into(),
                enterprises: work::enterprises_of(network, token)
                    .map(ids::enterprise)
                    .collect(),
                ..DevClaims::default()
            };
            self.key.mint(&claims, Duration::from_secs(3_600))
        };
        let tokens: Result<_, _> = (0..work::tokens_needed(network)).map(mint).collect();
        Ok(Tokens {
            network,
            tokens: tokens?,
        })
    }
}
