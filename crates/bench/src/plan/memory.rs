//! P8: the server's memory under ten minutes of all kinds of calls.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use tokio::time::{MissedTickBehavior, interval};
use tokio::try_join;

use super::{BenchRun, CONNECTIONS, MILLION};
use crate::client::{self, Load, LoadOutcome, LoadWork, Pace};
use crate::results::BenchResults;
use crate::row::{Bound, JudgedGoal, Metric, RowDone};
use crate::server::{BenchServer, BenchServerKind};
use crate::usage;
use crate::work::BenchList;

const DURATION: Duration = Duration::from_secs(600);
/// The end of it, whose slope is judged: by then everything that is kept is there.
const JUDGED: Duration = Duration::from_secs(300);
/// Callers of creates, gets and lists: together 256.
const SHARES: [usize; 3] = [128, 96, 32];

impl BenchRun<'_> {
    pub(super) async fn memory(&self, results: &mut BenchResults) -> Result<()> {
        self.seeded("million", &[MILLION]).await?;
        let database = self.copy("million", "p8").await?;
        let before = self.cluster.count(&database, "allocation").await?;
        let url = self.cluster.url(&database);
        let server = BenchServer::start(&self.programs, BenchServerKind::Earmark, &url).await?;
        let pid = server.pid().context("it runs")?;
        self.screen.stage("P8 memory", 1);
        self.screen.step("256 callers for ten minutes");

        let (create, tokens) = self.create(MILLION)?;
        let (get, _) = self.get(MILLION)?;
        let list: Arc<dyn LoadWork> = Arc::new(BenchList {
            tokens: self.tokens(MILLION)?,
            page_token: String::new(),
        });
        let load = |work: &Arc<dyn LoadWork>, connections: usize, callers: usize| Load {
            addresses: vec![server.address],
            connections,
            pace: Pace::Closed(callers),
            warm_up: Duration::ZERO,
            duration: DURATION,
            work: Arc::clone(work),
        };
        let [creators, getters, listers] = SHARES;
        let (created, got, listed, samples) = try_join!(
            client::run(load(&create, tokens, creators)),
            client::run(load(&get, tokens, getters)),
            client::run(load(&list, CONNECTIONS, listers)),
            watch(pid),
        )?;
        let (_, peak) = usage::memory(pid).context("it still runs")?;
        server.end().await?;
        refuse_failures(&[&created, &got, &listed])?;
        let stored = self.cluster.count(&database, "allocation").await?;
        if stored != before + created.done {
            bail!("{stored} rows, not {before} and {}", created.done);
        }
        let verified = self.cluster.verify(&database).await?;

        let slope = slope_per_minute(&samples);
        self.screen
            .done(&format!("P8: at most {peak:.1} MiB, {slope:.3} MiB/min"));
        let told = |what: &str, outcome: &LoadOutcome| {
            let p99 = outcome.latency.value_at_quantile(0.99) as f64 / 1_000.0;
            format!("{what}: {:.0}/s, p99 {p99:.1} ms", outcome.per_second())
        };
        results.rows.push(RowDone {
            id: "P8",
            work: "memory, 256 callers for ten minutes: 128 create, 96 get, 32 list 100",
            metric: Metric::PerSecond,
            arms: Vec::new(),
            judged: judge(peak, slope),
            notes: vec![
                told("creates", &created),
                told("gets", &got),
                told("lists", &listed),
                format!("earmark verify: {verified}"),
            ],
        });
        results.memory = samples;
        Ok(())
    }
}

/// An error if any call has failed.
fn refuse_failures(outcomes: &[&LoadOutcome]) -> Result<()> {
    for outcome in outcomes {
        if outcome.failed > 0 {
            let why = outcome.failure.clone().unwrap_or_default();
            bail!("{} calls failed: {why}", outcome.failed);
        }
    }
    Ok(())
}

/// Holds the largest memory and its growth against their goals.
fn judge(peak: f64, slope: f64) -> Vec<JudgedGoal> {
    vec![
        JudgedGoal::new(
            ("VmHWM", "MiB".into()),
            Some(peak),
            Bound::AtMost,
            (100.0, Some(50.0)),
        ),
        JudgedGoal::new(
            ("slope of the last five minutes", "MiB/min".into()),
            slope.is_finite().then_some(slope),
            Bound::AtMost,
            (1.0, None),
        ),
    ]
}

/// What the process has each second.
async fn watch(pid: u32) -> Result<Vec<(f64, f64)>> {
    let started = Instant::now();
    let mut seconds = interval(Duration::from_secs(1));
    seconds.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut samples = Vec::new();
    while started.elapsed() < DURATION {
        seconds.tick().await;
        let (now, _) = usage::memory(pid).context("the server has ended")?;
        samples.push((started.elapsed().as_secs_f64(), now));
    }
    Ok(samples)
}

/// Of the line that fits the judged samples best, by least squares.
fn slope_per_minute(samples: &[(f64, f64)]) -> f64 {
    let from = (DURATION - JUDGED).as_secs_f64();
    let judged: Vec<_> = samples.iter().filter(|sample| sample.0 >= from).collect();
    let count = judged.len() as f64;
    let mean_time = judged.iter().map(|sample| sample.0).sum::<f64>() / count;
    let mean = judged.iter().map(|sample| sample.1).sum::<f64>() / count;
    let (mut both, mut times) = (0.0, 0.0);
    for (time, memory) in judged {
        both += (time - mean_time) * (memory - mean);
        times += (time - mean_time) * (time - mean_time);
    }
    both / times * 60.0
}
