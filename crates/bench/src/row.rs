//! A row of the table: Earmark and what it is held against, in turns.

use anyhow::Result;
use serde::Serialize;

use crate::arm::{Arm, FinishedArm, Measured, Round, middle_and_spread};
use crate::cluster::BenchCluster;
use crate::screen::Screen;
use crate::span::Span;

/// Rounds of every row.
const ROUNDS: usize = 5;
/// More of them for a row that is not steady.
const ROUNDS_MORE: usize = 5;
/// Turns of a round that measures tails.
const TURNS: usize = 6;
/// The interquartile range, as a share of the median, above which a row is not steady.
const SPREAD_MAX: f64 = 0.25;

/// The value by which arms are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Metric {
    /// Calls per second: more is better.
    PerSecond,
    /// The time of a call where as many callers wait in both arms: less is better.
    Time,
    /// The median latency: less is better.
    P50,
    /// The latency that one call of a hundred passes: less is better.
    P99,
}

impl Metric {
    pub(crate) fn of(self, round: &Round) -> f64 {
        match self {
            Self::PerSecond => round.per_second,
            Self::Time => 1_000.0 / round.per_second,
            Self::P50 => round.p50,
            Self::P99 => round.p99,
        }
    }

    /// A value as people read it.
    pub(crate) fn show(self, value: f64) -> String {
        match self {
            Self::PerSecond => format!("{value:.0}/s"),
            Self::Time => format!("{value:.2} ms"),
            Self::P50 => format!("p50 {value:.2} ms"),
            Self::P99 => format!("p99 {value:.2} ms"),
        }
    }

    /// Tails are compared round by round: the machine's own moods change them from one round to the next, for all arms.
    fn is_of_a_tail(self) -> bool {
        self == Self::P99
    }

    pub(crate) fn is_more_better(self) -> bool {
        self.bound() == Bound::AtLeast
    }

    fn bound(self) -> Bound {
        match self {
            Self::PerSecond => Bound::AtLeast,
            Self::Time | Self::P50 | Self::P99 => Bound::AtMost,
        }
    }
}

/// On which side of a goal one has to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Bound {
    AtLeast,
    AtMost,
}

impl Bound {
    fn holds(self, value: f64, bound: f64) -> bool {
        match self {
            Self::AtLeast => value >= bound,
            Self::AtMost => value <= bound,
        }
    }

    pub(crate) fn sign(self) -> &'static str {
        match self {
            Self::AtLeast => "≥",
            Self::AtMost => "≤",
        }
    }
}

/// What an arm's median must be as a multiple of another arm's.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Goal {
    pub(crate) of: &'static str,
    pub(crate) against: &'static str,
    pub(crate) metric: Metric,
    pub(crate) must: f64,
    pub(crate) aim: Option<f64>,
}

/// A row, about to be run. The first arm is Earmark's.
pub(crate) struct BenchRow {
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
pub(crate) enum GoalVerdict {
    /// The value is what it must be.
    Met,
    /// What it is to come to.
    Aim,
    /// The goal was not reached or not measured; the text says why.
    Missed(String),
}

/// A goal with what came of it.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct JudgedGoal {
    /// Whose value it is.
    pub(crate) of: String,
    /// What the value is: a multiple of another arm's, or an amount with its unit.
    pub(crate) what: String,
    /// Unset if it was not measured.
    pub(crate) value: Option<f64>,
    pub(crate) bound: Bound,
    pub(crate) must: f64,
    pub(crate) aim: Option<f64>,
    pub(crate) verdict: GoalVerdict,
}

impl JudgedGoal {
    /// Holds a value against its goal.
    pub(crate) fn new(
        (of, what): (&str, String),
        value: Option<f64>,
        bound: Bound,
        (must, aim): (f64, Option<f64>),
    ) -> Self {
        let verdict = match value {
            None => GoalVerdict::Missed("not measured".into()),
            Some(value) if aim.is_some_and(|aim| bound.holds(value, aim)) => GoalVerdict::Aim,
            Some(value) if bound.holds(value, must) => GoalVerdict::Met,
            Some(_) => GoalVerdict::Missed("not reached".into()),
        };
        Self {
            of: of.into(),
            what,
            value,
            bound,
            must,
            aim,
            verdict,
        }
    }
}

/// A row that has run.
pub(crate) struct RowDone {
    pub(crate) id: &'static str,
    pub(crate) work: &'static str,
    pub(crate) metric: Metric,
    pub(crate) arms: Vec<FinishedArm>,
    pub(crate) judged: Vec<JudgedGoal>,
    /// What else is worth telling, a line each.
    pub(crate) notes: Vec<String>,
}

impl RowDone {
    pub(crate) fn is_met(&self) -> bool {
        self.judged
            .iter()
            .all(|judged| !matches!(judged.verdict, GoalVerdict::Missed(_)))
    }
}

impl BenchRow {
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
            let turns = if self.metric.is_of_a_tail() { TURNS } else { 1 };
            let mut all: Vec<Option<Measured>> = self.arms.iter().map(|_| None).collect();
            for turn in 0..turns {
                for (arm, seen) in self.arms.iter_mut().zip(&mut all) {
                    screen.step(&format!("round {}: {}", round + 1, arm.name));
                    if turn == 0 {
                        cluster.checkpoint().await?;
                    }
                    let measured = arm.turn(cluster, self.span, arm.pace).await?;
                    match seen {
                        None => *seen = Some(measured),
                        Some(seen) => seen.add(measured)?,
                    }
                    if turn + 1 == turns
                        && let Some(measured) = seen.take()
                    {
                        let kept = arm.keep(measured)?;
                        let text = self.metric.show(self.metric.of(kept));
                        screen.done(&format!("round {} {}: {text}", round + 1, arm.name));
                    }
                }
            }
        }
        Ok(())
    }

    /// Holds every arm's database against the ledger's invariants, each once.
    pub(crate) async fn verify(&mut self, cluster: &BenchCluster, screen: &Screen) -> Result<()> {
        for index in 0..self.arms.len() {
            let (before, rest) = self.arms.split_at_mut(index);
            let arm = &mut rest[0];
            if before.iter().any(|other| other.database == arm.database) {
                continue;
            }
            screen.step(&format!("verify {}", arm.database));
            let summary = cluster.verify(&arm.database).await?;
            screen.done(&format!("{}: {summary}", arm.name));
            arm.verified = Some(summary);
        }
        Ok(())
    }

    /// Runs the arms, verifies their databases, and judges. The arms can go on with another row.
    pub(crate) async fn carry_out(
        &mut self,
        cluster: &BenchCluster,
        screen: &Screen,
    ) -> Result<RowDone> {
        self.run(cluster, screen).await?;
        self.verify(cluster, screen).await?;
        Ok(self.finish())
    }

    /// Judges. The arms can go on with another row.
    pub(crate) fn finish(&mut self) -> RowDone {
        let judged = self.goals.iter().map(|goal| self.judge(goal)).collect();
        RowDone {
            id: self.id,
            work: self.work,
            metric: self.metric,
            arms: self.arms.iter_mut().map(Arm::finish).collect(),
            judged,
            notes: Vec::new(),
        }
    }

    /// Ends the servers of all arms.
    pub(crate) async fn end(self) -> Result<()> {
        for arm in self.arms {
            arm.end().await?;
        }
        Ok(())
    }

    /// Whether everything that goals are about is.
    fn is_steady(&self) -> bool {
        self.goals.iter().all(|goal| {
            self.compare(goal)
                .is_none_or(|compared| compared.unsteady.is_none())
        })
    }

    /// Holds the arms of a goal against each other, if both were measured.
    fn compare(&self, goal: &Goal) -> Option<Compared> {
        let named = |name| self.arms.iter().find(|arm: &&Arm| arm.name == name);
        let (of, against) = (named(goal.of)?, named(goal.against)?);
        let values = |arm: &'_ Arm| -> Vec<f64> {
            let value = |round| goal.metric.of(round);
            arm.rounds.iter().map(value).collect()
        };
        if goal.metric.is_of_a_tail() {
            let rounds = of.rounds.iter().zip(&against.rounds);
            // Of all calls of a round: a stall that only one of its turns met is the arm's own as well.
            let ratios = rounds.map(|(of, against)| goal.metric.of(of) / goal.metric.of(against));
            let (ratio, spread) = middle_and_spread(ratios);
            let unsteady = (spread > SPREAD_MAX)
                .then(|| format!("the ratio spreads by {:.0} %", spread * 100.0));
            return Some(Compared { ratio, unsteady });
        }
        let (of_values, against_values) = (values(of), values(against));
        let (of_middle, of_spread) = middle_and_spread(of_values.into_iter());
        let (against_middle, against_spread) = middle_and_spread(against_values.into_iter());
        let unsteady = [(against, against_spread), (of, of_spread)]
            .into_iter()
            .find(|(_, spread)| *spread > SPREAD_MAX)
            .map(|(arm, spread)| format!("{} spreads by {:.0} %", arm.name, spread * 100.0));
        Some(Compared {
            ratio: of_middle / against_middle,
            unsteady,
        })
    }

    fn judge(&self, goal: &Goal) -> JudgedGoal {
        let compared = self.compare(goal);
        let ratio = compared.as_ref().map(|compared| compared.ratio);
        let what = match goal.metric {
            Metric::PerSecond => format!("× {}", goal.against),
            Metric::Time => format!("× the time of {}", goal.against),
            Metric::P50 => format!("× the p50 of {}", goal.against),
            Metric::P99 => format!("× the p99 of {}", goal.against),
        };
        let mut judged = JudgedGoal::new(
            (goal.of, what),
            ratio,
            goal.metric.bound(),
            (goal.must, goal.aim),
        );
        if let Some(why) = compared.and_then(|compared| compared.unsteady) {
            judged.verdict = GoalVerdict::Missed(why);
        }
        judged
    }
}

/// One arm as a multiple of another.
struct Compared {
    ratio: f64,
    /// Why that says nothing.
    unsteady: Option<String>,
}
