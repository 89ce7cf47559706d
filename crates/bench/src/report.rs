//! What is shown of a run: the table, `report.json`, and an HTML page with plots.

mod files;
mod html;
mod plots;

use std::fmt::Write as _;
use std::fs;
use std::process::Command;

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::arm::{FinishedArm, Round, median, spread};
use crate::cluster::PostgresSetting;
use crate::results::{BenchResults, Curve, Growth, OpenLoop};
use crate::row::{GoalVerdict, JudgedGoal, Metric, RowDone};

/// The machine that a run was measured on.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Machine {
    pub(crate) processor: String,
    pub(crate) cores: usize,
    pub(crate) memory_gib: u64,
    pub(crate) kernel: String,
    /// The load average before the run: what others did.
    pub(crate) load_before: String,
}

/// Everything that is shown of a run.
#[derive(Serialize)]
pub(crate) struct BenchReport {
    pub(crate) commit: String,
    pub(crate) time: String,
    pub(crate) machine: Machine,
    pub(crate) postgres: String,
    pub(crate) settings: Vec<PostgresSetting>,
    pub(crate) seconds: u64,
    pub(crate) rows: Vec<RowReport>,
    /// Rows that could not be run to their end, and why.
    pub(crate) failures: Vec<String>,
    pub(crate) creates_by_callers: Vec<Curve>,
    pub(crate) gets_by_callers: Vec<Curve>,
    pub(crate) open_loops: Vec<OpenLoop>,
    pub(crate) growth: Vec<Growth>,
    /// The server's memory in MiB, by seconds.
    pub(crate) memory: Vec<(f64, f64)>,
}

/// A row as it is told.
#[derive(Serialize)]
pub(crate) struct RowReport {
    pub(crate) id: &'static str,
    pub(crate) work: &'static str,
    pub(crate) metric: Metric,
    pub(crate) is_met: bool,
    pub(crate) goals: Vec<JudgedGoal>,
    pub(crate) notes: Vec<String>,
    pub(crate) arms: Vec<ArmReport>,
}

/// An arm as it is told.
#[derive(Serialize)]
pub(crate) struct ArmReport {
    pub(crate) name: &'static str,
    pub(crate) detail: String,
    pub(crate) median: f64,
    /// The interquartile range as a share of the median.
    pub(crate) spread: f64,
    pub(crate) verified: Option<String>,
    pub(crate) rounds: Vec<Round>,
    #[serde(skip)]
    pub(crate) latency: Histogram<u64>,
}

impl Machine {
    /// Of what `/proc` tells.
    pub(crate) fn look() -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let value = |path: &str, key: &str| {
            let text = read(path);
            let line = text.lines().find(|line| line.starts_with(key));
            let value = line.and_then(|line| Some(line.split_once(':')?.1.trim().to_owned()));
            value.unwrap_or_else(|| "unknown".into())
        };
        let memory_kib: u64 = value("/proc/meminfo", "MemTotal")
            .trim_end_matches(" kB")
            .parse()
            .unwrap_or_default();
        Self {
            processor: value("/proc/cpuinfo", "model name"),
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            memory_gib: memory_kib / (1024 * 1024),
            kernel: read("/proc/sys/kernel/osrelease").trim().into(),
            load_before: read("/proc/loadavg")
                .split(' ')
                .take(3)
                .collect::<Vec<_>>()
                .join(" "),
        }
    }
}

/// The commit that the sources are of; a `+` says that they were changed since.
pub(crate) fn commit() -> String {
    let git = |arguments: &[&str]| {
        let output = Command::new("git")
            .args(arguments)
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .output();
        let output = output.ok().filter(|output| output.status.success());
        output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let Some(commit) = git(&["rev-parse", "--short=12", "HEAD"]) else {
        return "unknown".into();
    };
    let changed = git(&["status", "--porcelain"]).is_some_and(|changes| !changes.is_empty());
    format!("{commit}{}", if changed { "+" } else { "" })
}

impl RowReport {
    fn new(row: RowDone) -> Self {
        let metric = row.metric;
        Self {
            id: row.id,
            work: row.work,
            metric,
            is_met: row.is_met(),
            goals: row.judged,
            notes: row.notes,
            arms: row
                .arms
                .into_iter()
                .map(|arm| ArmReport::new(arm, metric))
                .collect(),
        }
    }
}

impl ArmReport {
    fn new(arm: FinishedArm, metric: Metric) -> Self {
        Self {
            median: median(&arm.rounds, |round| metric.of(round)),
            spread: spread(&arm.rounds, |round| metric.of(round)),
            name: arm.name,
            detail: arm.detail,
            verified: arm.verified,
            rounds: arm.rounds,
            latency: arm.latency,
        }
    }
}

impl BenchReport {
    pub(crate) fn new(
        machine: Machine,
        (postgres, settings): (String, Vec<PostgresSetting>),
        seconds: u64,
        results: BenchResults,
    ) -> Self {
        Self {
            commit: commit(),
            time: chrono::Utc::now()
                .format("%Y-%m-%d %H:%M:%S UTC")
                .to_string(),
            machine,
            postgres,
            settings,
            seconds,
            rows: results.rows.into_iter().map(RowReport::new).collect(),
            failures: results.failures,
            creates_by_callers: results.creates,
            gets_by_callers: results.gets,
            open_loops: results.open_loops,
            growth: results.growth,
            memory: results.memory,
        }
    }

    /// Whether every row is there and reached what it must.
    pub(crate) fn is_met(&self) -> bool {
        self.failures.is_empty() && self.rows.iter().all(|row| row.is_met)
    }

    /// The report as text, for the terminal.
    pub(crate) fn table(&self) -> String {
        let mut text = String::new();
        // A String never refuses a write.
        _ = writeln!(
            text,
            "\n{}, {} cores; {}",
            self.machine.processor, self.machine.cores, self.postgres
        );
        let settings: Vec<String> = self
            .settings
            .iter()
            .map(|setting| format!("{}={}", setting.name, setting.value))
            .collect();
        _ = writeln!(text, "{}", settings.join(" "));
        _ = writeln!(
            text,
            "commit {}, {} min {:02} s, load average before it {}",
            self.commit,
            self.seconds / 60,
            self.seconds % 60,
            self.machine.load_before
        );
        _ = writeln!(
            text,
            "median ± interquartile range; cores in use, and µs of processor time for each item, by server + Postgres + client"
        );
        for row in &self.rows {
            _ = writeln!(text, "\n{} {}", row.id, row.work);
            for arm in &row.arms {
                _ = writeln!(text, "   {}", arm_line(arm, row.metric));
            }
            for note in &row.notes {
                _ = writeln!(text, "   {note}");
            }
            for goal in &row.goals {
                _ = writeln!(text, "   {}", goal_line(goal));
            }
        }
        for failure in &self.failures {
            _ = writeln!(text, "\n{failure}\n   → MISSED: not measured to the end");
        }
        for open in &self.open_loops {
            _ = writeln!(
                text,
                "\nopen loop, {}: {:.0}/s intended, {:.0}/s done; p50 {:.2}, p99 {:.2}, p99.9 {:.2} ms",
                open.name,
                open.rate,
                open.round.per_second,
                open.round.p50,
                open.round.p99,
                open.round.p999,
            );
        }
        text
    }
}

fn arm_line(arm: &ArmReport, metric: Metric) -> String {
    let middle = |of: fn(&Round) -> f64| median(&arm.rounds, of);
    let batch = middle(|round| round.items_per_transaction.unwrap_or(0.0));
    let batch = if batch > 0.0 {
        format!("{batch:.1} a transaction; ")
    } else {
        String::new()
    };
    format!(
        "{:<34} {:>14} ±{:>2.0} %  p50 {:>7.2}  p99 {:>7.2} ms  cores {:.2}+{:.2}+{:.2}  µs {:.0}+{:.0}+{:.0}  {batch}{}",
        arm.name,
        metric.show(arm.median),
        arm.spread * 100.0,
        middle(|round| round.p50),
        middle(|round| round.p99),
        middle(|round| round.cores.server),
        middle(|round| round.cores.postgres),
        middle(|round| round.cores.client),
        middle(|round| round.micros.server),
        middle(|round| round.micros.postgres),
        middle(|round| round.micros.client),
        arm.detail,
    )
}

/// Whether a goal was reached, as people read it.
pub(crate) fn goal_line(goal: &JudgedGoal) -> String {
    let value = goal
        .value
        .map_or_else(|| "?".into(), |value| format!("{value:.2}"));
    let aim = goal
        .aim
        .map(|aim| format!(", aim {aim}"))
        .unwrap_or_default();
    let verdict = match &goal.verdict {
        GoalVerdict::Met => "met".into(),
        GoalVerdict::Aim => "met, the aim too".into(),
        GoalVerdict::Missed(why) => format!("MISSED: {why}"),
    };
    format!(
        "→ {}: {value} {} (must be {} {}{aim}): {verdict}",
        goal.of,
        goal.what,
        goal.bound.sign(),
        goal.must
    )
}
