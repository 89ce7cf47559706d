//! Times in whole microseconds, as Postgres stores them.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use chrono::{DateTime, Datelike, SecondsFormat, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

/// A point in time, in whole microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Time(DateTime<Utc>);

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
    use super::*;

    #[test]
    fn floor_drops_what_is_finer_than_a_microsecond_before_1970_too() {
        let after = DateTime::from_timestamp(1, 1_999).expect("in range");
        assert_eq!(Time::floor(after).micros(), 1_000_001);
        let before = DateTime::from_timestamp(-1, 999_999_999).expect("in range");
        assert_eq!(Time::floor(before).micros(), -1);
    }
}
