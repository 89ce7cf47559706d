//! How time is divided into periods, in UTC.

use chrono::{DateTime, Datelike, Days, Months, NaiveDate, NaiveTime, Utc};

use crate::types::time::Time;

/// How long the periods are of which partitions are made, and which are sealed. It may change: the next period begins where the last one ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CalendarPeriod {
    /// A month of the calendar.
    #[default]
    Month,
    /// Seven days from Monday on.
    Week,
    /// A day of the calendar.
    Day,
}

impl CalendarPeriod {
    /// The beginning of the period that holds this time.
    pub fn start_of(self, time: Time) -> Time {
        midnight(self.first_day(time))
    }

    /// The beginning of the next period, which is later than this time.
    pub fn end_of(self, time: Time) -> Time {
        let first = self.first_day(time);
        let next = match self {
            Self::Month => first.checked_add_months(Months::new(1)),
            Self::Week => first.checked_add_days(Days::new(7)),
            Self::Day => first.checked_add_days(Days::new(1)),
        };
        // The calendar ends in the year 262142.
        midnight(next.unwrap_or(NaiveDate::MAX))
    }

    fn first_day(self, time: Time) -> NaiveDate {
        let day = time.to_chrono().date_naive();
        let passed = match self {
            Self::Month => day.day0(),
            Self::Week => day.weekday().num_days_from_monday(),
            Self::Day => 0,
        };
        let first = day.checked_sub_days(Days::new(passed.into()));
        first.unwrap_or(NaiveDate::MIN)
    }
}

fn midnight(day: NaiveDate) -> Time {
    DateTime::<Utc>::from_naive_utc_and_offset(day.and_time(NaiveTime::MIN), Utc).into()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn time(text: &str) -> Time {
        Time::floor(Time::parse_exact(text).expect(text))
    }

    #[test]
    fn periods_begin_where_the_calendar_says() {
        use CalendarPeriod::{Day, Month, Week};
        for (period, at, start, end) in [
            (
                Month,
                "2024-02-29T23:59:59.999999Z",
                "2024-02-01T00:00:00Z",
                "2024-03-01T00:00:00Z",
            ),
            (
                Month,
                "2026-12-01T00:00:00Z",
                "2026-12-01T00:00:00Z",
                "2027-01-01T00:00:00Z",
            ),
            // A Sunday.
            (
                Week,
                "2026-11-29T12:00:00Z",
                "2026-11-23T00:00:00Z",
                "2026-11-30T00:00:00Z",
            ),
            (
                Week,
                "2026-11-30T00:00:00Z",
                "2026-11-30T00:00:00Z",
                "2026-12-07T00:00:00Z",
            ),
            (
                Day,
                "2026-12-31T00:00:00.000001Z",
                "2026-12-31T00:00:00Z",
                "2027-01-01T00:00:00Z",
            ),
        ] {
            let at = time(at);
            assert_eq!(period.start_of(at), time(start), "{period:?} {at}");
            assert_eq!(period.end_of(at), time(end), "{period:?} {at}");
        }
    }

    proptest! {
        #[test]
        fn every_time_is_in_one_period(
            micros in Time::MIN.micros()..Time::MAX.micros(),
            period in prop_oneof![
                Just(CalendarPeriod::Month), Just(CalendarPeriod::Week), Just(CalendarPeriod::Day)
            ],
        ) {
            let at = Time::from_micros(micros).expect("in range");
            let (start, end) = (period.start_of(at), period.end_of(at));
            prop_assert!(start <= at && at < end);
            prop_assert_eq!(period.start_of(start), start);
            prop_assert_eq!(period.end_of(start), end);
            prop_assert_eq!(period.start_of(end.previous()), start);
        }
    }
}
