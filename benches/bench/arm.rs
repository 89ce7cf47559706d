//! An arm: one way to do a row's work, on a database of its own.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use hdrhistogram::Histogram;
use serde::Serialize;

use crate::client::{self, Load, Outcome, Pace, Work};
use crate::cluster::BenchCluster;
use crate::ids::Network;
use crate::pgbench::{Pgbench, Script};
use crate::server::Server;
use crate::usage::{Cores, Spent};

/// What one round of an arm gave. Times are in milliseconds.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Round {
    pub(crate) per_second: f64,
    pub(crate) p50: f64,
    pub(crate) p90: f64,
    pub(crate) p99: f64,
    pub(crate) p999: f64,
    pub(crate) max: f64,
    pub(crate) cores: Cores,
    /// How many calls one writing transaction carried; unset where nothing was written.
    pub(crate) calls_per_transaction: Option<f64>,
    /// How much went into the write-ahead log.
    pub(crate) wal_bytes_per_call: f64,
}

/// How the work is done.
pub(crate) enum How {
    /// By a server, through gRPC.
    Served {
        server: Server,
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
    pub(crate) network: Network,
    pub(crate) how: How,
    /// Callers, or pgbench's clients.
    pub(crate) callers: usize,
    /// The records that its database must hold.
    pub(crate) records: u64,
    /// Whether it adds to them.
    pub(crate) writes: bool,
    pub(crate) rounds: Vec<Round>,
    /// The latencies of all rounds, in microseconds.
    pub(crate) latency: Histogram<u64>,
    /// What `earmark verify` said in the end.
    pub(crate) verified: Option<String>,
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
        network: Network,
        how: How,
        callers: usize,
        writes: bool,
    ) -> Self {
        Self {
            name,
            detail: String::new(),
            database: database.into(),
            network,
            how,
            callers,
            records: network.records_total(),
            writes,
            rounds: Vec::new(),
            latency: client::new_histogram(),
            verified: None,
        }
    }

    /// Runs a round and keeps what came of it.
    pub(crate) async fn round(&mut self, cluster: &BenchCluster, span: Span) -> Result<&Round> {
        let (round, latency) = self
            .measure(cluster, span, Pace::Closed(self.callers))
            .await?;
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
        if self.writes {
            self.records += outcome.done;
            let found = cluster.count_allocations(&self.database).await?;
            if found != self.records {
                bail!(
                    "{}: {found} records are stored, not {}",
                    self.name,
                    self.records
                );
            }
        }
        let round = Round::new(&outcome, &before, &after);
        Ok((round, outcome.latency))
    }

    async fn run(&self, cluster: &BenchCluster, span: Span, pace: Pace) -> Result<Outcome> {
        match &self.how {
            How::Served {
                server,
                work,
                connections,
            } => {
                let callers = match pace {
                    Pace::Closed(callers) => callers,
                    Pace::Open(_) => usize::MAX,
                };
                let load = Load {
                    address: server.address,
                    connections: (*connections).min(callers),
                    pace,
                    warm_up: span.warm_up,
                    duration: span.duration,
                    work: Arc::clone(work),
                };
                client::run(load).await
            }
            How::Pgbench { pgbench, script } => {
                let Pace::Closed(clients) = pace else {
                    bail!("pgbench runs in a closed loop only");
                };
                pgbench
                    .run(
                        cluster,
                        &self.database,
                        *script,
                        self.network,
                        clients,
                        span,
                    )
                    .await
            }
        }
    }

    async fn look(&self, cluster: &BenchCluster) -> Result<Look> {
        let server = match &self.how {
            How::Served { server, .. } => server.pid(),
            How::Pgbench { .. } => None,
        };
        let (wal_bytes, transactions) = cluster.written().await?;
        Ok(Look {
            at: Instant::now(),
            spent: Spent::now(server, cluster.pid()),
            wal_bytes,
            transactions,
        })
    }

    /// Ends the arm's server.
    pub(crate) async fn end(self) -> Result<Finished> {
        if let How::Served { server, .. } = self.how {
            server.end().await?;
        }
        Ok(Finished {
            name: self.name,
            detail: self.detail,
            rounds: self.rounds,
            latency: self.latency,
            verified: self.verified,
        })
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
    fn new(outcome: &Outcome, before: &Look, after: &Look) -> Self {
        let millis = |quantile| outcome.latency.value_at_quantile(quantile) as f64 / 1_000.0;
        let transactions = after.transactions - before.transactions;
        // The server's own housekeeping makes a few transactions too.
        let writes = transactions as f64 > outcome.done as f64 / 10_000.0;
        Self {
            per_second: outcome.per_second(),
            p50: millis(0.5),
            p90: millis(0.9),
            p99: millis(0.99),
            p999: millis(0.999),
            max: outcome.latency.max() as f64 / 1_000.0,
            cores: after.spent.since(
                before.spent,
                after.at.duration_since(before.at).as_secs_f64(),
            ),
            calls_per_transaction: writes.then(|| outcome.done as f64 / transactions as f64),
            wal_bytes_per_call: (after.wal_bytes - before.wal_bytes) / outcome.done.max(1) as f64,
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
