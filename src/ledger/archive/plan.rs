//! Which periods are archived together. Pure: what is sealed, and the partitions of the journal, are given.

use crate::ledger::seal::model::PeriodBounds;
use crate::types::time::Time;

/// The times of a partition; none where it has no bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PartitionSpan {
    pub(super) from: Option<Time>,
    pub(super) to: Option<Time>,
}

impl PartitionSpan {
    /// Whether the partition has times before this one, and others.
    fn is_cut_at(self, at: Time) -> bool {
        self.from.is_none_or(|from| from < at) && self.to.is_none_or(|to| at < to)
    }
}

/// What is archived, oldest first.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct ArchivePlan<P> {
    /// Periods that are archived together: at the end of the last of them, no partition has times on both sides.
    pub(super) groups: Vec<Vec<P>>,
    /// The first period that could be archived but for the partition that has also later times.
    pub(super) waiting: Option<(PeriodBounds, PartitionSpan)>,
}

/// Divides periods, the oldest first, that follow each other and have ended long enough ago.
pub(super) fn plan<P: Copy>(
    periods: &[P],
    bounds: impl Fn(&P) -> PeriodBounds,
    partitions: &[PartitionSpan],
) -> ArchivePlan<P> {
    let mut groups = Vec::new();
    let mut group = Vec::new();
    let mut cut = None;
    for period in periods {
        let end = bounds(period).end;
        group.push(*period);
        cut = partitions.iter().find(|span| span.is_cut_at(end)).copied();
        if cut.is_none() {
            groups.push(std::mem::take(&mut group));
        }
    }
    let waiting = group.first().map(bounds).zip(cut);
    ArchivePlan { groups, waiting }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn day(number: i64) -> Time {
        Time::from_micros(number * 86_400_000_000).expect("in range")
    }

    fn period(start: i64, end: i64) -> PeriodBounds {
        PeriodBounds {
            start: day(start),
            end: day(end),
        }
    }

    fn span(from: Option<i64>, to: Option<i64>) -> PartitionSpan {
        PartitionSpan {
            from: from.map(day),
            to: to.map(day),
        }
    }

    #[test]
    fn a_partition_of_two_periods_is_archived_with_both() {
        let periods = [period(0, 30), period(30, 60), period(60, 90)];
        let partitions = [
            span(None, Some(60)),
            span(Some(60), Some(90)),
            span(Some(90), Some(120)),
        ];
        let plan = plan(&periods, |period| *period, &partitions);
        assert_eq!(plan.groups, [periods[..2].to_vec(), periods[2..].to_vec()]);
        assert_eq!(plan.waiting, None);
    }

    #[test]
    fn a_period_waits_for_the_end_of_its_partition() {
        let periods = [period(0, 30), period(30, 60), period(60, 75)];
        let partitions = [span(Some(0), Some(30)), span(Some(30), Some(90))];
        let plan = plan(&periods, |period| *period, &partitions);
        assert_eq!(plan.groups, [vec![periods[0]]]);
        assert_eq!(plan.waiting, Some((periods[1], partitions[1])));
    }

    #[test]
    fn rows_without_a_partition_of_their_own_bind_no_period() {
        let periods = [period(0, 30), period(30, 60)];
        let plan = plan(&periods, |period| *period, &[span(Some(100), None)]);
        assert_eq!(plan.groups.len(), 2);
    }

    proptest! {
        #[test]
        fn each_group_ends_where_no_partition_is_cut(
            ends in proptest::collection::btree_set(1_i64..60, 1..12),
            bounds in proptest::collection::btree_set(0_i64..60, 0..12),
        ) {
            let ends: Vec<i64> = ends.into_iter().collect();
            let starts = std::iter::once(0).chain(ends.iter().copied());
            let periods: Vec<PeriodBounds> = starts.zip(&ends).map(|(start, end)| period(start, *end)).collect();
            let bounds: Vec<i64> = bounds.into_iter().collect();
            let partitions: Vec<PartitionSpan> =
                bounds.windows(2).map(|pair| span(Some(pair[0]), Some(pair[1]))).collect();
            let plan = plan(&periods, |period| *period, &partitions);
            let taken: Vec<PeriodBounds> = plan.groups.iter().flatten().copied().collect();
            prop_assert_eq!(&taken[..], &periods[..taken.len()]);
            prop_assert_eq!(plan.waiting.is_some(), taken.len() < periods.len());
            let cut = |end: Time| partitions.iter().any(|span| span.is_cut_at(end));
            for group in &plan.groups {
                let (last, others) = group.split_last().expect("not empty");
                prop_assert!(!cut(last.end));
                prop_assert!(others.iter().all(|period| cut(period.end)));
            }
            prop_assert!(periods[taken.len()..].iter().all(|period| cut(period.end)));
        }
    }
}
