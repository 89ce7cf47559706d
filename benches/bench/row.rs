//! A row of the table: Earmark and what it is held against, in turns.

use anyhow::Result;
use serde::Serialize;

use crate::arm::{Arm, Finished, Round, Span, median, spread};
use crate::cluster::BenchCluster;
use crate::screen::Screen;

/// Rounds of every row.
const ROUNDS: usize = 5;
/// More of them for a row that is not steady.
const ROUNDS_MORE: usize = 5;
/// The interquartile range, as a share of the median, above which a row is not steady.
const SPREAD_MAX: f64 = 0.25;

/// What is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Metric {
    /// Calls per second: more is better.
    PerSecond,
    /// The median latency: less is better.
    P50,
}

impl Metric {
    pub(crate) fn of(self, round: &Round) -> f64 {
        match self {
            Self::PerSecond => round.per_second,
            Self::P50 => round.p50,
        }
    }

    /// A value as people read it.
    pub(crate) fn show(self, value: f64) -> String {
        match self {
            Self::PerSecond => format!("{value:.0}/s"),
            Self::P50 => format!("p50 {value:.2} ms"),
        }
    }

    /// Whether a ratio is as good as another.
    fn reaches(self, ratio: f64, bound: f64) -> bool {
        match self {
            Self::PerSecond => ratio >= bound,
            Self::P50 => ratio <= bound,
        }
    }

    pub(crate) fn sign(self) -> &'static str {
        match self {
            Self::PerSecond => "≥",
            Self::P50 => "≤",
        }
    }
}

/// What Earmark's median must be as a multiple of another arm's.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Goal {
    pub(crate) against: &'static str,
    pub(crate) must: f64,
    pub(crate) aim: Option<f64>,
}

/// A row, about to be run. The first arm is Earmark's.
pub(crate) struct Row {
    pub(crate) id: &'static str,
    pub(crate) work: &'static str,
    pub(crate) metric: Metric,
    pub(crate) arms: Vec<Arm>,
    pub(crate) goals: Vec<Goal>,
    pub(crate) span: Span,
}

/// Whether a goal was reached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Verdict {
    /// What it must.
    Met,
    /// What it is to come to.
    Aim,
    /// And why.
    Missed(String),
}

/// A goal with what came of it.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Judged {
    pub(crate) against: String,
    pub(crate) ratio: Option<f64>,
    pub(crate) must: f64,
    pub(crate) aim: Option<f64>,
    pub(crate) verdict: Verdict,
}

/// A row that has run.
pub(crate) struct RowDone {
    pub(crate) id: &'static str,
    pub(crate) work: &'static str,
    pub(crate) metric: Metric,
    pub(crate) arms: Vec<Finished>,
    pub(crate) judged: Vec<Judged>,
}

impl RowDone {
    pub(crate) fn is_met(&self) -> bool {
        self.judged
            .iter()
            .all(|judged| !matches!(judged.verdict, Verdict::Missed(_)))
    }
}

impl Row {
    /// Runs the arms in turns, until they are steady or have had their rounds.
    pub(crate) async fn run(&mut self, cluster: &BenchCluster, screen: &Screen) -> Result<()> {
        screen.stage(
            &format!("{} {}", self.id, self.work),
            ROUNDS * self.arms.len(),
        );
        for round in 0..ROUNDS + ROUNDS_MORE {
            if round >= ROUNDS && self.is_steady() {
                break;
            }
            for arm in &mut self.arms {
                screen.step(&format!("round {}: {}", round + 1, arm.name));
                let measured = arm.round(cluster, self.span).await?;
                let text = self.metric.show(self.metric.of(measured));
                screen.done(&format!("round {} {}: {text}", round + 1, arm.name));
            }
        }
        Ok(())
    }

    /// Holds every arm's database against the ledger's invariants.
    pub(crate) async fn verify(&mut self, cluster: &BenchCluster, screen: &Screen) -> Result<()> {
        for arm in &mut self.arms {
            screen.step(&format!("verify {}", arm.database));
            let summary = cluster.verify(&arm.database).await?;
            screen.done(&format!("{}: {summary}", arm.name));
            arm.verified = Some(summary);
        }
        Ok(())
    }

    /// Ends the servers, and judges.
    pub(crate) async fn end(self) -> Result<RowDone> {
        let judged = self.goals.iter().map(|goal| self.judge(goal)).collect();
        let mut arms = Vec::new();
        for arm in self.arms {
            arms.push(arm.end().await?);
        }
        Ok(RowDone {
            id: self.id,
            work: self.work,
            metric: self.metric,
            arms,
            judged,
        })
    }

    fn is_steady(&self) -> bool {
        self.arms.iter().all(|arm| self.spread(arm) <= SPREAD_MAX)
    }

    fn spread(&self, arm: &Arm) -> f64 {
        spread(&arm.rounds, |round| self.metric.of(round))
    }

    fn judge(&self, goal: &Goal) -> Judged {
        let median = |arm: &Arm| median(&arm.rounds, |round| self.metric.of(round));
        let against = self.arms.iter().find(|arm| arm.name == goal.against);
        let ratio = against.map(|arm| median(&self.arms[0]) / median(arm));
        let verdict = match (ratio, against) {
            (Some(ratio), Some(against)) => self.verdict(goal, ratio, against),
            _ => Verdict::Missed("not measured".into()),
        };
        Judged {
            against: goal.against.into(),
            ratio,
            must: goal.must,
            aim: goal.aim,
            verdict,
        }
    }

    fn verdict(&self, goal: &Goal, ratio: f64, against: &Arm) -> Verdict {
        for arm in [&self.arms[0], against] {
            let spread = self.spread(arm);
            if spread > SPREAD_MAX {
                return Verdict::Missed(format!("{} spreads by {:.0} %", arm.name, spread * 100.0));
            }
        }
        if goal.aim.is_some_and(|aim| self.metric.reaches(ratio, aim)) {
            Verdict::Aim
        } else if self.metric.reaches(ratio, goal.must) {
            Verdict::Met
        } else {
            Verdict::Missed("too slow".into())
        }
    }
}
