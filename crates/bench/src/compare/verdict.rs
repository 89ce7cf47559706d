//! What came of a row for two builds, and whether it is good enough.

use std::fmt::Write as _;

use crate::arm::{Round, median, quantile};
use crate::row::Metric;

/// A row that both builds have run.
pub(crate) struct BenchComparison {
    id: &'static str,
    work: &'static str,
    metric: Metric,
    /// Medians over the rounds.
    base: f64,
    head: f64,
    /// Processor time of a call in microseconds, server and Postgres together: medians over the rounds.
    base_micros: f64,
    head_micros: f64,
    ratio: RatioQuartiles,
}

/// Quartiles of the rounds' ratios head/base.
#[derive(Clone, Copy, Debug, PartialEq)]
struct RatioQuartiles {
    low: f64,
    median: f64,
    high: f64,
}

impl RatioQuartiles {
    fn new(mut ratios: Vec<f64>) -> Self {
        ratios.sort_by(f64::total_cmp);
        Self {
            low: quantile(&ratios, 0.25),
            median: quantile(&ratios, 0.5),
            high: quantile(&ratios, 0.75),
        }
    }

    /// Whether head is worse than the floor allows, by more than the rounds vary: the middle half of the ratios must lie
    /// on the worse side of 1 as a whole.
    fn is_worse(self, more_is_better: bool, floor: f64) -> bool {
        if more_is_better {
            self.median < floor && self.high < 1.0
        } else {
            self.median > 1.0 / floor && self.low > 1.0
        }
    }
}

impl BenchComparison {
    /// The rounds of both builds are compared pairwise, in the order in which they ran.
    pub(crate) fn new(
        (id, work): (&'static str, &'static str),
        metric: Metric,
        base: &[Round],
        head: &[Round],
    ) -> Self {
        let ratios = base
            .iter()
            .zip(head)
            .map(|(base, head)| metric.of(head) / metric.of(base));
        let micros = |rounds| median(rounds, |round| round.micros.server + round.micros.postgres);
        Self {
            id,
            work,
            metric,
            base: median(base, |round| metric.of(round)),
            head: median(head, |round| metric.of(round)),
            base_micros: micros(base),
            head_micros: micros(head),
            ratio: RatioQuartiles::new(ratios.collect()),
        }
    }

    pub(crate) fn is_worse(&self, floor: f64) -> bool {
        self.ratio.is_worse(self.metric.is_more_better(), floor)
    }
}

/// A table for people, a line for each row.
pub(crate) fn table(comparisons: &[BenchComparison], floor: f64) -> String {
    let mut text = format!(
        "{:<4}{:<58}{:>14}{:>14}{:>8}{:>16}{:>20}\n",
        "row", "work", "base", "head", "ratio", "quartiles", "CPU µs a call"
    );
    for comparison in comparisons {
        let BenchComparison {
            id,
            work,
            metric,
            ratio,
            ..
        } = comparison;
        let quartiles = format!("{:.3} to {:.3}", ratio.low, ratio.high);
        let micros = format!(
            "{:.1} → {:.1}",
            comparison.base_micros, comparison.head_micros
        );
        let verdict = if comparison.is_worse(floor) {
            "  WORSE"
        } else {
            ""
        };
        _ = writeln!(
            text,
            "{id:<4}{work:<58}{:>14}{:>14}{:>8.3}{quartiles:>16}{micros:>20}{verdict}",
            metric.show(comparison.base),
            metric.show(comparison.head),
            ratio.median,
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quartiles(ratios: [f64; 5]) -> RatioQuartiles {
        RatioQuartiles::new(ratios.into())
    }

    #[test]
    fn a_rate_is_worse_only_below_the_floor_and_clear_of_one() {
        assert!(quartiles([0.90, 0.94, 0.95, 0.96, 1.02]).is_worse(true, 0.97));
        // Within the floor.
        assert!(!quartiles([0.96, 0.97, 0.98, 0.985, 0.99]).is_worse(true, 0.97));
        // Below the floor, but the rounds vary by more than that.
        assert!(!quartiles([0.80, 0.90, 0.95, 1.01, 1.10]).is_worse(true, 0.97));
        assert!(!quartiles([1.1, 1.2, 1.3, 1.4, 1.5]).is_worse(true, 0.97));
    }

    #[test]
    fn a_latency_is_worse_only_above_the_inverse_and_clear_of_one() {
        assert!(quartiles([0.99, 1.04, 1.05, 1.06, 1.07]).is_worse(false, 0.97));
        assert!(!quartiles([1.0, 1.01, 1.02, 1.025, 1.03]).is_worse(false, 0.97));
        assert!(!quartiles([0.9, 0.99, 1.05, 1.06, 1.2]).is_worse(false, 0.97));
        assert!(!quartiles([0.5, 0.6, 0.7, 0.8, 0.9]).is_worse(false, 0.97));
    }

    #[test]
    fn quartiles_are_those_of_the_sorted_ratios() {
        let found = quartiles([1.4, 1.0, 1.3, 1.1, 1.2]);
        assert_eq!((found.low, found.median, found.high), (1.1, 1.2, 1.3));
    }
}
