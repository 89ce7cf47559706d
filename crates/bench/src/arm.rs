//! An arm: one way to do a row's work, on a database of its own.

use std::sync::Arc;
use std::time::Instant;

use anyhow::{Result, bail};
use hdrhistogram::Histogram;
use serde::Serialize;

use crate::client::{self, Load, LoadOutcome, LoadWork, Pace};
use crate::cluster::BenchCluster;
use crate::pgbench::{Pgbench, Script};
use crate::server::BenchServer;
use crate::span::Span;
use crate::usage::{Spent, Used};

/// What one round of an arm gave. Times are in milliseconds.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Round {
    /// Items, of which a call may have many.
    pub(crate) per_second: f64,
    pub(crate) p50: f64,
    pub(crate) p90: f64,
    pub(crate) p99: f64,
    /// That of each of its turns.
    pub(crate) p99s: Vec<f64>,
    pub(crate) p999: f64,
    pub(crate) max: f64,
    /// The processors that were in use on average.
    pub(crate) cores: Used,
    /// Processor time of one item.
    pub(crate) micros: Used,
    /// How many items one writing transaction carried; unset where nothing was written.
    pub(crate) items_per_transaction: Option<f64>,
    /// How much went into the write-ahead log.
    pub(crate) wal_bytes_per_item: f64,
}

/// How the work is done.
pub(crate) enum ArmDriver {
    /// By a server of one process or more, through gRPC.
    Served {
        servers: Vec<BenchServer>,
        work: Arc<dyn LoadWork>,
        connections: usize,
    },
    /// By pgbench, which runs a script without a server in between.
    Pgbench { pgbench: Pgbench, script: Script },
}

/// One way to do a row's work.
pub(crate) struct Arm {
    pub(crate) name: &'static str,
    /// What is particular to it, for the report.
    pub(crate) detail: String,
    pub(crate) database: String,
    pub(crate) how: ArmDriver,
    /// When its calls are sent in each round.
    pub(crate) pace: Pace,
    /// What it adds to; nothing if it only reads.
    pub(crate) stored: Option<GrowingTable>,
    pub(crate) rounds: Vec<Round>,
    /// The latencies of all rounds, in microseconds.
    pub(crate) latency: Histogram<u64>,
    /// What `earmark verify` said in the end.
    pub(crate) verified: Option<String>,
}

/// A table that gains a row with each item.
#[derive(Clone, Copy)]
pub(crate) struct GrowingTable {
    pub(crate) table: &'static str,
    /// The rows that it must hold.
    pub(crate) rows: u64,
}

impl Arm {
    pub(crate) fn new(
        name: &'static str,
        database: &str,
        how: ArmDriver,
        callers: usize,
        stored: Option<GrowingTable>,
    ) -> Self {
        Self {
            name,
            detail: String::new(),
            database: database.into(),
            how,
            pace: Pace::Closed(callers),
            stored,
            rounds: Vec::new(),
            latency: client::new_histogram(),
            verified: None,
        }
    }

    /// Keeps what came of a round.
    pub(crate) fn keep(&mut self, measured: Measured) -> Result<&Round> {
        self.rounds.push(Round::new(&measured));
        self.latency.add(measured.outcome.latency)?;
        Ok(&self.rounds[self.rounds.len() - 1])
    }

    /// Runs once, for a round of its own.
    pub(crate) async fn measure(
        &mut self,
        cluster: &BenchCluster,
        span: Span,
        pace: Pace,
    ) -> Result<(Round, Histogram<u64>)> {
        cluster.checkpoint().await?;
        let measured = self.turn(cluster, span, pace).await?;
        Ok((Round::new(&measured), measured.outcome.latency))
    }

    /// Runs once. Every acknowledged call must have left its record, and nothing else may have.
    pub(crate) async fn turn(
        &mut self,
        cluster: &BenchCluster,
        span: Span,
        pace: Pace,
    ) -> Result<Measured> {
        let before = self.look(cluster).await?;
        let outcome = self.run(cluster, span, pace).await?;
        let after = self.look(cluster).await?;
        if outcome.failed > 0 {
            let why = outcome.failure.unwrap_or_default();
            bail!("{}: {} calls failed: {why}", self.name, outcome.failed);
        }
        if let Some(GrowingTable { table, rows }) = &mut self.stored {
            *rows += outcome.done * u64::from(self.how.items());
            let found = cluster.count(&self.database, table).await?;
            if found != *rows {
                bail!("{}: {table} has {found} rows, not {rows}", self.name);
            }
        }
        let seconds = after.at.duration_since(before.at).as_secs_f64();
        Ok(Measured {
            p99s: vec![p99(&outcome.latency)],
            items: u64::from(self.how.items()),
            seconds,
            cores: after.spent.since(before.spent, seconds),
            wal_bytes: after.wal_bytes - before.wal_bytes,
            transactions: after.transactions - before.transactions,
            outcome,
        })
    }

    async fn run(&self, cluster: &BenchCluster, span: Span, pace: Pace) -> Result<LoadOutcome> {
        match &self.how {
            ArmDriver::Served {
                servers,
                work,
                connections,
            } => {
                let callers = match pace {
                    Pace::Closed(callers) => callers,
                    Pace::Open { .. } => usize::MAX,
                };
                let load = Load {
                    addresses: servers.iter().map(|server| server.address).collect(),
                    connections: (*connections).min(callers),
                    pace,
                    warm_up: span.warm_up,
                    duration: span.duration,
                    work: Arc::clone(work),
                };
                client::run(load).await
            }
            ArmDriver::Pgbench { pgbench, script } => {
                pgbench
                    .run(cluster, &self.database, script, pace, span)
                    .await
            }
        }
    }

    async fn look(&self, cluster: &BenchCluster) -> Result<ArmSnapshot> {
        let (wal_bytes, transactions) = cluster.written().await?;
        Ok(ArmSnapshot {
            at: Instant::now(),
            spent: Spent::now(&self.how.pids(), cluster.pid()),
            wal_bytes,
            transactions,
        })
    }

    /// Callers, or pgbench's clients.
    pub(crate) fn callers(&self) -> usize {
        match self.pace {
            Pace::Closed(callers) | Pace::Open { callers, .. } => callers,
        }
    }

    /// Calls over so many connections, one caller each.
    pub(crate) fn call_over(&mut self, many: usize) {
        if let ArmDriver::Served { connections, .. } = &mut self.how {
            *connections = many;
        }
        self.pace = Pace::Closed(many);
        self.detail = format!("connections: {many}");
    }

    /// What came of it; it may go on with something else.
    pub(crate) fn finish(&mut self) -> FinishedArm {
        FinishedArm {
            name: self.name,
            detail: self.detail.clone(),
            rounds: std::mem::take(&mut self.rounds),
            latency: std::mem::replace(&mut self.latency, client::new_histogram()),
            verified: self.verified.take(),
        }
    }

    /// Ends the arm's servers.
    pub(crate) async fn end(self) -> Result<()> {
        if let ArmDriver::Served { servers, .. } = self.how {
            for server in servers {
                server.end().await?;
            }
        }
        Ok(())
    }
}

impl ArmDriver {
    fn items(&self) -> u32 {
        match self {
            Self::Served { work, .. } => work.items(),
            Self::Pgbench { .. } => 1,
        }
    }

    /// The pids of the server's processes; none for pgbench.
    pub(crate) fn pids(&self) -> Vec<u32> {
        match self {
            Self::Served { servers, .. } => servers.iter().filter_map(BenchServer::pid).collect(),
            Self::Pgbench { .. } => Vec::new(),
        }
    }
}

/// An arm that has run.
pub(crate) struct FinishedArm {
    pub(crate) name: &'static str,
    pub(crate) detail: String,
    pub(crate) rounds: Vec<Round>,
    pub(crate) latency: Histogram<u64>,
    pub(crate) verified: Option<String>,
}

/// What is looked at before and after.
struct ArmSnapshot {
    at: Instant,
    spent: Spent,
    wal_bytes: f64,
    transactions: u64,
}

/// What was seen of an arm while it ran, once or several times.
pub(crate) struct Measured {
    outcome: LoadOutcome,
    /// That of each turn.
    p99s: Vec<f64>,
    /// What a call counts as.
    items: u64,
    /// The whole time, warm-up included, in which the processors were used.
    seconds: f64,
    cores: Used,
    wal_bytes: f64,
    transactions: u64,
}

impl Measured {
    /// Takes what ran afterwards.
    pub(crate) fn add(&mut self, other: Self) -> Result<()> {
        let seconds = self.seconds + other.seconds;
        let used = self
            .cores
            .times(self.seconds)
            .plus(other.cores.times(other.seconds));
        self.cores = used.times(1.0 / seconds);
        self.seconds = seconds;
        self.p99s.extend(other.p99s);
        self.wal_bytes += other.wal_bytes;
        self.transactions += other.transactions;
        self.outcome.seconds += other.outcome.seconds;
        self.outcome.add(other.outcome)
    }
}

impl Round {
    fn new(measured: &Measured) -> Self {
        let Measured {
            outcome,
            seconds,
            cores,
            ..
        } = measured;
        let millis = |quantile| outcome.latency.value_at_quantile(quantile) as f64 / 1_000.0;
        let transactions = measured.transactions as f64;
        let items = measured.items as f64;
        let done = outcome.done.max(1) as f64 * items;
        // The server's own housekeeping makes a few transactions too.
        let writes = transactions > done / 10_000.0;
        Self {
            per_second: outcome.per_second() * items,
            p50: millis(0.5),
            p90: millis(0.9),
            p99: p99(&outcome.latency),
            p99s: measured.p99s.clone(),
            p999: millis(0.999),
            max: outcome.latency.max() as f64 / 1_000.0,
            cores: *cores,
            micros: cores.times(seconds * 1e6 / done),
            items_per_transaction: writes.then_some(done / transactions),
            wal_bytes_per_item: measured.wal_bytes / done,
        }
    }
}

fn p99(latency: &Histogram<u64>) -> f64 {
    latency.value_at_quantile(0.99) as f64 / 1_000.0
}

/// The middle of what the rounds gave.
pub(crate) fn median(rounds: &[Round], of: impl Fn(&Round) -> f64) -> f64 {
    middle_and_spread(rounds.iter().map(of)).0
}

/// The interquartile range as a share of the median.
pub(crate) fn spread(rounds: &[Round], of: impl Fn(&Round) -> f64) -> f64 {
    middle_and_spread(rounds.iter().map(of)).1
}

/// The median, and the interquartile range as a share of it.
pub(crate) fn middle_and_spread(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let mut sorted: Vec<f64> = values.collect();
    sorted.sort_by(f64::total_cmp);
    let middle = quantile(&sorted, 0.5);
    let range = quantile(&sorted, 0.75) - quantile(&sorted, 0.25);
    (middle, range / middle)
}

/// Interpolated between the two nearest values, which must be sorted.
pub(crate) fn quantile(sorted: &[f64], quantile: f64) -> f64 {
    let Some(last) = sorted.len().checked_sub(1) else {
        return f64::NAN;
    };
    let place = quantile * last as f64;
    let (low, high) = (place.floor() as usize, place.ceil() as usize);
    sorted[low] + (sorted[high] - sorted[low]) * place.fract()
}
