//! Which periods are to be sealed.

use crate::ledger::seal::model::PeriodBounds;
use crate::types::period::CalendarPeriod;
use crate::types::time::Time;

/// What is known when a seal begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SealState {
    /// The end of the last sealed period.
    pub sealed_until: Option<Time>,
    /// The end of the period of which an interrupted seal has written a part.
    pub unfinished: Option<Time>,
    /// The time of the journal's first entry, which matters only if nothing is sealed yet.
    pub first_entry: Option<Time>,
    /// No period may be sealed that ends later than this.
    pub latest_end: Time,
}

/// The periods that can be sealed: from where the last one ends, each ends at the next boundary, and the last one at `until` if
/// that is given. The first begins at midnight UTC before the first entry, whatever the length: one that is unfinished keeps its
/// start then, and it keeps its end.
pub fn periods_to_seal(
    state: &SealState,
    length: CalendarPeriod,
    until: Option<Time>,
) -> Vec<PeriodBounds> {
    let mut periods = Vec::new();
    let first_entry = state
        .first_entry
        .map(|time| CalendarPeriod::Day.start_of(time));
    let Some(mut start) = state.sealed_until.or(first_entry) else {
        return periods;
    };
    let latest_end = until.map_or(state.latest_end, |until| until.min(state.latest_end));
    let mut unfinished = state.unfinished.filter(|end| *end > start);
    loop {
        let end = match unfinished.take() {
            // It was finished when it was begun.
            Some(end) if end <= state.latest_end => end,
            Some(_) => return periods,
            None => {
                let boundary = length.end_of(start);
                let end = until.map_or(boundary, |until| boundary.min(until));
                if end > latest_end || end <= start {
                    return periods;
                }
                end
            }
        };
        periods.push(PeriodBounds { start, end });
        start = end;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(text: &str) -> Time {
        Time::parse_exact(text).map(Time::floor).expect(text)
    }

    #[test]
    fn periods_begin_at_midnight_utc_of_the_first_monday_or_day() {
        let time = at("2024-02-29T23:59:59.999999Z");
        for (length, start, end) in [
            (
                CalendarPeriod::Month,
                "2024-02-01T00:00:00Z",
                "2024-03-01T00:00:00Z",
            ),
            (
                CalendarPeriod::Week,
                "2024-02-26T00:00:00Z",
                "2024-03-04T00:00:00Z",
            ),
            (
                CalendarPeriod::Day,
                "2024-02-29T00:00:00Z",
                "2024-03-01T00:00:00Z",
            ),
        ] {
            assert_eq!(length.start_of(time), at(start), "{length:?}");
            assert_eq!(length.end_of(time), at(end), "{length:?}");
            assert_eq!(length.start_of(at(start)), at(start), "{length:?}");
            assert_eq!(length.end_of(at(start)), at(end), "{length:?}");
            assert!(length.end_of(at(end)) > at(end), "{length:?}");
        }
    }

    fn state(sealed_until: Option<&str>, latest_end: &str) -> SealState {
        SealState {
            sealed_until: sealed_until.map(at),
            unfinished: None,
            first_entry: Some(at("2026-01-15T12:00:00Z")),
            latest_end: at(latest_end),
        }
    }

    fn ends(state: &SealState, until: Option<&str>) -> Vec<String> {
        let periods = periods_to_seal(state, CalendarPeriod::Month, until.map(at));
        let mut ends: Vec<String> = periods.iter().map(|it| it.start.to_string()).collect();
        ends.truncate(1);
        ends.extend(periods.iter().map(|it| it.end.to_string()));
        ends.iter()
            .map(|time| time[..16].replace(":00", "h").replace("T", " "))
            .collect()
    }

    #[test]
    fn finished_periods_are_sealed_from_the_first_entry_or_the_last_seal_on() {
        let new = state(None, "2026-03-20T00:00:00Z");
        assert_eq!(
            ends(&new, None),
            ["2026-01-15 00h", "2026-02-01 00h", "2026-03-01 00h"]
        );
        let sealed = state(Some("2026-02-10T00:00:00Z"), "2026-03-20T00:00:00Z");
        assert_eq!(ends(&sealed, None), ["2026-02-10 00h", "2026-03-01 00h"]);
        let early = state(None, "2026-01-31T23:59:59Z");
        assert_eq!(ends(&early, None), [""; 0]);
        let empty = SealState {
            first_entry: None,
            ..new
        };
        assert_eq!(ends(&empty, None), [""; 0]);
    }

    #[test]
    fn a_given_end_is_the_last_ones_and_an_unfinished_one_keeps_its_own() {
        let new = state(None, "2026-03-20T00:00:00Z");
        let until = Some("2026-02-07T05:00:00Z");
        assert_eq!(
            ends(&new, until),
            ["2026-01-15 00h", "2026-02-01 00h", "2026-02-07 05h"]
        );
        let interrupted = SealState {
            unfinished: Some(at("2026-01-20T00:00:00Z")),
            ..new
        };
        assert_eq!(
            ends(&interrupted, until),
            [
                "2026-01-15 00h",
                "2026-01-20 00h",
                "2026-02-01 00h",
                "2026-02-07 05h"
            ]
        );
        let sealed = state(Some("2026-02-07T05:00:00Z"), "2026-03-20T00:00:00Z");
        assert_eq!(ends(&sealed, until), [""; 0]);
    }

    proptest! {
        #[test]
        fn periods_are_contiguous_and_end_in_time(
            first in 1_600_000_000_000_000_i64..1_700_000_000_000_000,
            passed in 0_i64..10_000_000_000_000,
            until in proptest::option::of(0_i64..10_000_000_000_000),
            length in prop_oneof![Just(CalendarPeriod::Month), Just(CalendarPeriod::Week), Just(CalendarPeriod::Day)],
        ) {
            let time = |micros| Time::from_micros(micros).expect("in range");
            let state = SealState {
                sealed_until: None,
                unfinished: None,
                first_entry: Some(time(first)),
                latest_end: time(first + passed),
            };
            let until = until.map(|after| time(first + after));
            let periods = periods_to_seal(&state, length, until);
            prop_assert!(periods.windows(2).all(|pair| pair[0].end == pair[1].start));
            for bounds in &periods {
                prop_assert!(bounds.start < bounds.end && bounds.end <= state.latest_end);
                prop_assert!(until.is_none_or(|until| bounds.end <= until));
            }
            if let Some(first_period) = periods.first() {
                prop_assert!(first_period.start <= time(first));
            }
            // Nothing that is finished is left over.
            let midnight = CalendarPeriod::Day.start_of(time(first));
            let start = periods.last().map_or(midnight, |last| last.end);
            let next = until.map_or(length.end_of(start), |until| until.min(length.end_of(start)));
            prop_assert!(next > state.latest_end || next <= start);
        }
    }
}
