//! Which partitions a table lacks. Pure: what the table has, and the time, are given.

use crate::limits::{PARTITION_NOTICE, PARTITION_SCAN_BYTES_MAX, PARTITIONS_AHEAD};
use crate::types::period::CalendarPeriod;
use crate::types::time::Time;

/// What is made ahead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartitionRules {
    /// The time that one partition holds.
    pub period: CalendarPeriod,
    /// How many periods after the current one have partitions.
    pub ahead: u32,
}

impl Default for PartitionRules {
    fn default() -> Self {
        Self {
            period: CalendarPeriod::default(),
            ahead: PARTITIONS_AHEAD,
        }
    }
}

impl PartitionRules {
    /// The time that partitions must reach, if the period of `current` is to have so many after it.
    pub(super) fn target(self, current: Time) -> Time {
        let current = self.period.end_of(current);
        (0..self.ahead).fold(current, |end, _| self.period.end_of(end))
    }
}

/// What the DEFAULT partition holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct DefaultRows {
    /// The least and the greatest key from the end of the last partition to [`end_of_wanted`].
    pub(super) wanted: Option<(Time, Time)>,
    /// Whether there are rows besides. They stay where they are.
    pub(super) has_others: bool,
    /// The size of its rows. To scan a small one takes no time.
    pub(super) bytes: i64,
}

impl DefaultRows {
    /// Whether scanning it takes so long that nobody may wait for it.
    pub(super) fn is_large(&self) -> bool {
        self.bytes > PARTITION_SCAN_BYTES_MAX
    }
}

/// A partition to be made, of the keys from one time up to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PartitionStep {
    pub(super) from: Time,
    pub(super) to: Time,
    /// Whether the DEFAULT partition becomes it, with the rows that it has. Only the first step can be so.
    pub(super) is_default: bool,
}

/// No partition is made for this time or later ones, so that rows with such keys are in nobody's way.
pub(super) fn end_of_wanted(now: Time, rules: PartitionRules) -> Time {
    rules.target(now.plus(PARTITION_NOTICE))
}

/// The partitions to be made, each of which begins where the one before ends. The last of those that exist ends at `last`.
///
/// Where the DEFAULT partition must keep what it has, because other rows are in it too, it also keeps what is written until
/// the first partition begins: that one must be so far ahead that no row of it is written while it is made.
pub(super) fn plan(
    last: Option<Time>,
    default: &DefaultRows,
    now: Time,
    rules: PartitionRules,
) -> Vec<PartitionStep> {
    let period = rules.period;
    let mut target = rules.target(now);
    let start = last.unwrap_or_else(|| period.start_of(now));
    if start >= target {
        return Vec::new();
    }
    let soon = now.plus(PARTITION_NOTICE);
    let mut steps = Vec::new();
    let mut from = start;
    if let Some((least, greatest)) = default.wanted {
        target = rules.target(soon);
        let end = period.end_of(greatest.max(soon).max(start));
        if !default.has_others {
            let from = last.unwrap_or_else(|| period.start_of(least.min(now)));
            steps.push(PartitionStep {
                from,
                to: end,
                is_default: true,
            });
        }
        from = end;
    } else if default.is_large() && start <= soon {
        target = rules.target(soon);
        from = period.end_of(soon);
    }
    let current = period.start_of(now);
    while from < target {
        // Nothing was written in the periods that have passed: one partition is enough for them.
        let to = period.end_of(from).max(current);
        steps.push(PartitionStep {
            from,
            to,
            is_default: false,
        });
        from = to;
    }
    steps
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    const DAY: Duration = Duration::from_secs(24 * 60 * 60);

    fn time(text: &str) -> Time {
        Time::floor(Time::parse_exact(text).expect(text))
    }

    fn rules(period: CalendarPeriod, ahead: u32) -> PartitionRules {
        PartitionRules { period, ahead }
    }

    /// The steps as texts: the first days, with a star for the DEFAULT partition.
    fn planned(last: Option<&str>, default: &DefaultRows, rules: PartitionRules) -> Vec<String> {
        let now = time("2026-11-30T18:00:00Z");
        let day = |time: Time| time.to_string()[..10].to_owned();
        let steps = plan(last.map(time), default, now, rules);
        let shown = steps.iter().map(|step| {
            let star = if step.is_default { "*" } else { "" };
            format!("{} to {}{star}", day(step.from), day(step.to))
        });
        shown.collect()
    }

    #[test]
    fn a_table_without_partitions_begins_with_the_current_period() {
        let empty = DefaultRows::default();
        assert_eq!(
            planned(None, &empty, rules(CalendarPeriod::Month, 2)),
            [
                "2026-11-01 to 2026-12-01",
                "2026-12-01 to 2027-01-01",
                "2027-01-01 to 2027-02-01"
            ]
        );
        assert_eq!(
            planned(None, &empty, rules(CalendarPeriod::Day, 2)),
            [
                "2026-11-30 to 2026-12-01",
                "2026-12-01 to 2026-12-02",
                "2026-12-02 to 2026-12-03"
            ]
        );
    }

    #[test]
    fn the_next_partition_begins_where_the_last_one_ends() {
        let empty = DefaultRows::default();
        let monthly = rules(CalendarPeriod::Month, 2);
        assert_eq!(
            planned(Some("2026-12-19T00:00:00Z"), &empty, monthly),
            ["2026-12-19 to 2027-01-01", "2027-01-01 to 2027-02-01"]
        );
        assert_eq!(
            planned(Some("2027-02-01T00:00:00Z"), &empty, monthly),
            [""; 0]
        );
        // Nobody wrote anything for months.
        assert_eq!(
            planned(
                Some("2026-06-15T00:00:00Z"),
                &empty,
                rules(CalendarPeriod::Day, 1)
            ),
            [
                "2026-06-15 to 2026-11-30",
                "2026-11-30 to 2026-12-01",
                "2026-12-01 to 2026-12-02"
            ]
        );
    }

    #[test]
    fn the_default_partition_becomes_that_of_the_rows_it_holds() {
        let wanted = Some((time("2026-11-03T00:00:00Z"), time("2026-11-30T17:59:59Z")));
        let late = DefaultRows {
            wanted,
            ..DefaultRows::default()
        };
        let monthly = rules(CalendarPeriod::Month, 2);
        // The month ends in six hours, which is too soon: its rows and those of the next one stay together.
        assert_eq!(
            planned(Some("2026-11-01T00:00:00Z"), &late, monthly),
            [
                "2026-11-01 to 2027-01-01*",
                "2027-01-01 to 2027-02-01",
                "2027-02-01 to 2027-03-01"
            ]
        );
        let mixed = DefaultRows {
            has_others: true,
            ..late
        };
        assert_eq!(
            planned(Some("2026-11-01T00:00:00Z"), &mixed, monthly),
            ["2027-01-01 to 2027-02-01", "2027-02-01 to 2027-03-01"]
        );
    }

    #[test]
    fn a_large_default_partition_is_not_scanned_while_its_rows_are_written() {
        let large = DefaultRows {
            has_others: true,
            bytes: PARTITION_SCAN_BYTES_MAX + 1,
            ..DefaultRows::default()
        };
        let monthly = rules(CalendarPeriod::Month, 2);
        assert_eq!(
            planned(Some("2026-11-01T00:00:00Z"), &large, monthly),
            ["2027-01-01 to 2027-02-01", "2027-02-01 to 2027-03-01"]
        );
        assert_eq!(
            planned(Some("2027-01-15T00:00:00Z"), &large, monthly),
            ["2027-01-15 to 2027-02-01"]
        );
    }

    prop_compose! {
        fn situation()(
            now in 0_i64..4_000_000_000_000_000,
            last in proptest::option::of(-1_000_i64..200),
            least in proptest::option::of((0.0..1.0, 0.0..1.0)),
            has_others in any::<bool>(),
            is_large in any::<bool>(),
            period in prop_oneof![
                Just(CalendarPeriod::Month), Just(CalendarPeriod::Week), Just(CalendarPeriod::Day)
            ],
            ahead in 1_u32..12,
        ) -> (Time, Option<Time>, DefaultRows, PartitionRules) {
            let rules = PartitionRules { period, ahead };
            let now = Time::from_micros(now).expect("in range");
            let last = last.map(|days| now.micros() + days * DAY.as_micros() as i64);
            let target = end_of_wanted(now, rules).micros();
            let lowest = last.unwrap_or(now.micros() - 1_000 * DAY.as_micros() as i64);
            let within = |part: f64| lowest + ((target - 1 - lowest) as f64 * part) as i64;
            let wanted = least.filter(|_| lowest < target - 1).map(|(a, b): (f64, f64)| {
                let (least, greatest) = (within(a.min(b)), within(a.max(b)));
                (Time::from_micros(least).expect("a time"), Time::from_micros(greatest).expect("a time"))
            });
            let bytes = if is_large { PARTITION_SCAN_BYTES_MAX + 1 } else { 0 };
            let last = last.map(|micros| Time::from_micros(micros).expect("a time"));
            (now, last, DefaultRows { wanted, has_others, bytes }, rules)
        }
    }

    proptest! {
        #[test]
        fn partitions_reach_the_target_without_a_gap((now, last, default, rules) in situation()) {
            let target = rules.target(now);
            let steps = plan(last, &default, now, rules);
            for pair in steps.windows(2) {
                prop_assert_eq!(pair[0].to, pair[1].from);
                prop_assert!(!pair[1].is_default);
            }
            for step in &steps {
                prop_assert!(step.from < step.to);
                prop_assert!(last.is_none_or(|last| last <= step.from));
                prop_assert_eq!(rules.period.start_of(step.to), step.to);
            }
            prop_assert!(steps.len() <= rules.ahead as usize + 2, "{:?}", steps);
            let reached = steps.last().map(|step| step.to).or(last);
            // Rows of the last period before it stay in the DEFAULT partition.
            let stays = default.wanted.is_some() || default.is_large();
            prop_assert!(reached.is_some_and(|reached| reached >= target) || (steps.is_empty() && stays));
            if let Some(reached) = reached.filter(|reached| *reached >= target) {
                prop_assert_eq!(plan(Some(reached), &DefaultRows { wanted: None, ..default }, now, rules), vec![]);
            }
        }

        #[test]
        fn no_row_of_the_default_partition_is_in_another_one((now, last, default, rules) in situation()) {
            let steps = plan(last, &default, now, rules);
            let soon = now.plus(PARTITION_NOTICE);
            for step in &steps {
                let holds = |time: Time| step.from <= time && time < step.to;
                let (least, greatest) = default.wanted.unzip();
                if step.is_default {
                    prop_assert!(!default.has_others);
                    prop_assert!(least.is_some_and(holds) && greatest.is_some_and(holds));
                    prop_assert!(step.to > soon);
                } else {
                    prop_assert!(greatest.is_none_or(|greatest| greatest < step.from));
                    prop_assert!(!default.is_large() || step.from > soon || !default.has_others);
                }
            }
        }
    }
}
