//! An arm: one way to do a row's work, on a database of its own.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use hdrhistogram::Histogram;
use serde::Serialize;

use crate::client::{self, Load, Outcome, Pace, Work};
use crate::cluster::BenchCluster;
use crate::pgbench::{Pgbench, Script};
use crate::server::Server;
use crate::usage::{Spent, Used};

/// What one round of an arm gave. Times are in milliseconds.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Round {
    /// Items, of which a call may have many.
    pub(crate) per_second: f64,
    pub(crate) p50: f64,
    pub(crate) p90: f64,
    pub(crate) p99: f64,
    pub(crate) p999: f64,
    pub(crate) max: f64,
    /// Processors in use.
    pub(crate) cores: Used,
    /// Processor time of one item.
    pub(crate) micros: Used,
    /// How many items one writing transaction carried; unset where nothing was written.
    pub(crate) items_per_transaction: Option<f64>,
    /// How much went into the write-ahead log.
    pub(crate) wal_bytes_per_item: f64,
}

/// How the work is done.
pub(crate) enum How {
    /// By a server of one process or more, through gRPC.
    Served {
        servers: Vec<Server>,
        work: Arc<dyn Work>,
        connections: usize,
    },
    /// By pgbench.
    Pgbench { pgbench: Pgbench, script: Script },
}

/// One way to do a row's work.
pub(crate) struct Arm {
    pub(crate) name: &'static str,
    /// What is particular to it, for the report.
    pub(crate) detail: String,
    pub(crate) database: String,
    pub(crate) how: How,
    /// Of its rounds.
    pub(crate) pace: Pace,
    /// What it adds to; nothing if it only reads.
    pub(crate) stored: Option<Stored>,
    pub(crate) rounds: Vec<Round>,
    /// The latencies of all rounds, in microseconds.
    pub(crate) latency: Histogram<u64>,
    /// What `earmark verify` said in the end.
    pub(crate) verified: Option<String>,
}

/// A table that gains a row with each item.
#[derive(Clone, Copy)]
pub(crate) struct Stored {
    pub(crate) table: &'static str,
    /// The rows that it must hold.
    pub(crate) rows: u64,
}

/// How long a round is.
#[derive(Clone, Copy)]
pub(crate) struct Span {
    pub(crate) warm_up: Duration,
    pub(crate) duration: Duration,
}

impl Arm {
    pub(crate) fn new(
        name: &'static str,
        database: &str,
        how: How,
        callers: usize,
        stored: Option<Stored>,
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

    /// Runs a round and keeps what came of it.
    pub(crate) async fn round(&mut self, cluster: &BenchCluster, span: Span) -> Result<&Round> {
        let (round, latency) = self.measure(cluster, span, self.pace).await?;
        self.latency.add(latency)?;
        self.rounds.push(round);
        Ok(&self.rounds[self.rounds.len() - 1])
    }

    /// Runs once. Every acknowledged call must have left its record, and nothing else may have.
    pub(crate) async fn measure(
        &mut self,
        cluster: &BenchCluster,
        span: Span,
        pace: Pace,
    ) -> Result<(Round, Histogram<u64>)> {
        cluster.checkpoint().await?;
        let before = self.look(cluster).await?;
        let outcome = self.run(cluster, span, pace).await?;
        let after = self.look(cluster).await?;
        if outcome.failed > 0 {
            let why = outcome.failure.unwrap_or_default();
            bail!("{}: {} calls failed: {why}", self.name, outcome.failed);
        }
        if let Some(Stored { table, rows }) = &mut self.stored {
            *rows += outcome.done * u64::from(self.how.items());
            let found = cluster.count(&self.database, table).await?;
            if found != *rows {
                bail!("{}: {table} has {found} rows, not {rows}", self.name);
            }
        }
        let round = Round::new(&outcome, self.how.items(), &before, &after);
        Ok((round, outcome.latency))
    }

    async fn run(&self, cluster: &BenchCluster, span: Span, pace: Pace) -> Result<Outcome> {
        match &self.how {
            How::Served {
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
            How::Pgbench { pgbench, script } => {
                pgbench
                    .run(cluster, &self.database, script, pace, span)
                    .await
            }
        }
    }

    async fn look(&self, cluster: &BenchCluster) -> Result<Look> {
        let (wal_bytes, transactions) = cluster.written().await?;
        Ok(Look {
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
        if let How::Served { connections, .. } = &mut self.how {
            *connections = many;
        }
        self.pace = Pace::Closed(many);
        self.detail = format!("connections: {many}");
    }

    /// What came of it; it may go on with something else.
    pub(crate) fn finish(&mut self) -> Finished {
        Finished {
            name: self.name,
            detail: self.detail.clone(),
            rounds: std::mem::take(&mut self.rounds),
            latency: std::mem::replace(&mut self.latency, client::new_histogram()),
            verified: self.verified.take(),
        }
    }

    /// Ends the arm's servers.
    pub(crate) async fn end(self) -> Result<()> {
        if let How::Served { servers, .. } = self.how {
            for server in servers {
                server.end().await?;
            }
        }
        Ok(())
    }
}

impl How {
    fn items(&self) -> u32 {
        match self {
            Self::Served { work, .. } => work.items(),
            Self::Pgbench { .. } => 1,
        }
    }

    /// The server's processes.
    pub(crate) fn pids(&self) -> Vec<u32> {
        match self {
            Self::Served { servers, .. } => servers.iter().filter_map(Server::pid).collect(),
            Self::Pgbench { .. } => Vec::new(),
        }
    }
}

/// An arm that has run.
pub(crate) struct Finished {
    pub(crate) name: &'static str,
    pub(crate) detail: String,
    pub(crate) rounds: Vec<Round>,
    pub(crate) latency: Histogram<u64>,
    pub(crate) verified: Option<String>,
}

/// What is looked at before and after.
struct Look {
    at: Instant,
    spent: Spent,
    wal_bytes: f64,
    transactions: u64,
}

impl Round {
    fn new(outcome: &Outcome, items: u32, before: &Look, after: &Look) -> Self {
        let millis = |quantile| outcome.latency.value_at_quantile(quantile) as f64 / 1_000.0;
        let transactions = (after.transactions - before.transactions) as f64;
        let done = outcome.done.max(1) as f64 * f64::from(items);
        // The server's own housekeeping makes a few transactions too.
        let writes = transactions > done / 10_000.0;
        let seconds = after.at.duration_since(before.at).as_secs_f64();
        let cores = after.spent.since(before.spent, seconds);
        Self {
            per_second: outcome.per_second() * f64::from(items),
            p50: millis(0.5),
            p90: millis(0.9),
            p99: millis(0.99),
            p999: millis(0.999),
            max: outcome.latency.max() as f64 / 1_000.0,
            cores,
            micros: cores.times(seconds * 1e6 / done),
            items_per_transaction: writes.then_some(done / transactions),
            wal_bytes_per_item: (after.wal_bytes - before.wal_bytes) / done,
        }
    }
}

/// The middle of what the rounds gave.
pub(crate) fn median(rounds: &[Round], of: impl Fn(&Round) -> f64) -> f64 {
    quantile(&sorted(rounds, of), 0.5)
}

/// The interquartile range as a share of the median.
pub(crate) fn spread(rounds: &[Round], of: impl Fn(&Round) -> f64) -> f64 {
    let sorted = sorted(rounds, of);
    (quantile(&sorted, 0.75) - quantile(&sorted, 0.25)) / quantile(&sorted, 0.5)
}

fn sorted(rounds: &[Round], of: impl Fn(&Round) -> f64) -> Vec<f64> {
    let mut values: Vec<f64> = rounds.iter().map(of).collect();
    values.sort_by(f64::total_cmp);
    values
}

/// Interpolated between the two nearest values.
fn quantile(sorted: &[f64], quantile: f64) -> f64 {
    let Some(last) = sorted.len().checked_sub(1) else {
        return f64::NAN;
    };
    let place = quantile * last as f64;
    let (low, high) = (place.floor() as usize, place.ceil() as usize);
    sorted[low] + (sorted[high] - sorted[low]) * place.fract()
}
