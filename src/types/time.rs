//! Times in whole microseconds, as Postgres stores them.

use std::borrow::Cow;
use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use chrono::{DateTime, Datelike, SecondsFormat, TimeDelta, Timelike, Utc};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

/// A point in time, in whole microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct Time(DateTime<Utc>);

/// Why a text is refused as a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TimeTextError {
    /// The text is not in the form of RFC 3339.
    #[error("must be a time such as 2020-04-09T04:36:37.423Z, from the year 1 to 9999")]
    Malformed,
    /// The text has a second 60 where UTC never has one.
    #[error("must not have a second 60: leap seconds are only at 23:59:60 UTC")]
    NoLeapSecond,
}

impl Time {
    /// The first time of `google.protobuf.Timestamp`, 0001-01-01T00:00:00Z: no stored time is earlier.
    pub const MIN: Self = Self::of_seconds(-62_135_596_800);
    /// The first second past `google.protobuf.Timestamp`, 10000-01-01T00:00:00Z: every stored time is earlier.
    pub const MAX: Self = Self::of_seconds(253_402_300_800);

    const fn of_seconds(seconds: i64) -> Self {
        match DateTime::from_timestamp_secs(seconds) {
            Some(time) => Self(time),
            None => Self(DateTime::UNIX_EPOCH),
        }
    }

    /// The clock of this process, for tokens and logs. Records have times of the database's clock.
    pub fn now() -> Self {
        Self::floor(Utc::now())
    }

    /// Rounds down to whole microseconds.
    pub fn floor(time: DateTime<Utc>) -> Self {
        let excess = i64::from(time.timestamp_subsec_nanos() % 1_000);
        Self(time - TimeDelta::nanoseconds(excess))
    }

    /// Reads a time in RFC 3339, which may be finer than a microsecond. The leap second 23:59:60 UTC is read as the second
    /// after it, as Postgres does.
    ///
    /// # Errors
    /// What is wrong with the text, without regard to the years that can be stored.
    pub fn parse_exact(text: &str) -> Result<DateTime<Utc>, TimeTextError> {
        const SECOND_NANOS: u32 = 1_000_000_000;
        let time = DateTime::parse_from_rfc3339(text).map_err(|_| TimeTextError::Malformed)?;
        let time = time.to_utc();
        // chrono reads a second 60 in any minute, as a second 59 with more nanoseconds than a second has.
        let Some(nanos) = time.timestamp_subsec_nanos().checked_sub(SECOND_NANOS) else {
            return Ok(time);
        };
        if (time.hour(), time.minute()) != (23, 59) {
            return Err(TimeTextError::NoLeapSecond);
        }
        DateTime::from_timestamp(time.timestamp() + 1, nanos).ok_or(TimeTextError::Malformed)
    }

    /// Converts microseconds since 1970; `None` outside of the range of chrono.
    pub fn from_micros(micros: i64) -> Option<Self> {
        DateTime::from_timestamp_micros(micros).map(Self)
    }

    /// The time in microseconds since 1970.
    pub fn micros(self) -> i64 {
        self.0.timestamp_micros()
    }

    /// The time in whole seconds since 1970, and the rest in nanoseconds.
    pub fn seconds_and_nanos(self) -> (i64, u32) {
        (self.0.timestamp(), self.0.timestamp_subsec_nanos())
    }

    /// The time that is `duration` later; the greatest time of chrono if that is out of range.
    pub fn plus(self, duration: Duration) -> Self {
        TimeDelta::from_std(duration)
            .ok()
            .and_then(|delta| self.0.checked_add_signed(delta))
            .map_or(Self(DateTime::<Utc>::MAX_UTC), Self::floor)
    }

    /// The time one microsecond later.
    pub fn next(self) -> Self {
        self.plus(Duration::from_micros(1))
    }

    /// The time one microsecond earlier.
    pub fn previous(self) -> Self {
        Self(self.0 - TimeDelta::microseconds(1))
    }

    /// Whether the time is within the years 1 to 9999, which the database stores and answers can show.
    pub fn is_storable(self) -> bool {
        (1..=9999).contains(&self.0.year())
    }

    /// The time in the type of chrono, which diesel takes.
    pub fn to_chrono(self) -> DateTime<Utc> {
        self.0
    }

    /// The time in the type of the standard library, which tokio-postgres takes.
    pub fn to_system(self) -> SystemTime {
        self.0.into()
    }
}

impl<'de> Deserialize<'de> for Time {
    /// Takes only what [`Time`] serialises: page tokens come from callers, who could write times that Postgres refuses.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<str>::deserialize(deserializer)?;
        let exact = Self::parse_exact(&text).map_err(D::Error::custom)?;
        let time = Self::floor(exact);
        if time.0 != exact || !time.is_storable() {
            return Err(D::Error::custom(TimeTextError::Malformed));
        }
        Ok(time)
    }
}

impl From<DateTime<Utc>> for Time {
    fn from(time: DateTime<Utc>) -> Self {
        Self::floor(time)
    }
}

impl From<SystemTime> for Time {
    fn from(time: SystemTime) -> Self {
        Self::floor(time.into())
    }
}

impl fmt::Display for Time {
    /// RFC 3339 with six fraction digits.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.to_rfc3339_opts(SecondsFormat::Micros, true))
    }
}

/// Seconds since 1970 by the wall clock, as tokens count.
pub fn unix_seconds() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |passed| passed.as_secs())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_second_60_is_read_only_where_utc_has_leap_seconds() {
        for (text, read) in [
            ("2016-12-31T23:59:60Z", Some("2017-01-01T00:00:00.000000Z")),
            (
                "2016-12-31T23:59:60.25Z",
                Some("2017-01-01T00:00:00.250000Z"),
            ),
            (
                "2016-12-31T15:59:60-08:00",
                Some("2017-01-01T00:00:00.000000Z"),
            ),
            (
                "2017-01-01T00:59:60.9+01:00",
                Some("2017-01-01T00:00:00.900000Z"),
            ),
            (
                "2016-12-31T23:59:59.9Z",
                Some("2016-12-31T23:59:59.900000Z"),
            ),
            ("2016-12-31T22:59:60Z", None),
            ("2016-12-31T23:58:60Z", None),
            ("2016-12-31T23:59:60-08:00", None),
            ("2016-12-31T23:59:61Z", None),
            ("2016-12-31", None),
        ] {
            let found = Time::parse_exact(text).map(|exact| Time::floor(exact).to_string());
            assert_eq!(found.ok().as_deref(), read, "{text}");
        }
    }

    #[test]
    fn what_was_never_serialised_is_no_time() {
        for text in [
            "-262143-01-01T00:00:00Z",
            "0000-12-31T23:59:59Z",
            "+10000-01-01T00:00:00Z",
            "9999-12-31T23:59:60Z",
            "2020-01-01T00:00:00.0000001Z",
            "2020-01-01T12:00:60Z",
            "2020-01-01",
        ] {
            let read: Result<Time, _> = serde_json::from_str(&format!("{text:?}"));
            assert!(read.is_err(), "{text}: {read:?}");
        }
    }

    proptest! {
        #[test]
        fn a_serialised_time_is_read_back(micros in Time::MIN.micros()..Time::MAX.micros()) {
            let time = Time::from_micros(micros).expect("in range");
            let text = serde_json::to_string(&time).expect("a text");
            prop_assert_eq!(serde_json::from_str::<Time>(&text).expect(&text), time);
        }
    }

    #[test]
    fn floor_drops_what_is_finer_than_a_microsecond_before_1970_too() {
        let after = DateTime::from_timestamp(1, 1_999).expect("in range");
        assert_eq!(Time::floor(after).micros(), 1_000_001);
        let before = DateTime::from_timestamp(-1, 999_999_999).expect("in range");
        assert_eq!(Time::floor(before).micros(), -1);
    }
}
