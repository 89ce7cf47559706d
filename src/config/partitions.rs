//! Settings of the partitions that are made ahead.

use clap::{Args, ValueEnum};

use crate::db::partitions::PartitionRules;
use crate::limits::{PARTITIONS_AHEAD, PARTITIONS_AHEAD_MAX, PARTITIONS_AHEAD_MIN};
use crate::types::period::CalendarPeriod;

/// The time that one partition holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum PeriodSetting {
    /// A month of the calendar, in UTC.
    Month,
    /// Seven days from Monday on, in UTC.
    Week,
    /// A day, in UTC.
    Day,
}

/// How long periods are.
#[derive(Args, Clone, Debug)]
pub(crate) struct PeriodArgs {
    /// The time that one partition of the journal, or of closed records, holds, and that is sealed at once
    ///
    /// A partition is what is dropped or archived as a whole, and what its indexes are made of: it should have some ten
    /// million rows. The setting may be changed: the next period begins where the last one ends. Give it the same value
    /// wherever it is set.
    #[arg(
        long,
        env = "EARMARK_PERIOD",
        value_enum,
        default_value_t = PeriodSetting::Month
    )]
    period: PeriodSetting,
}

impl PeriodArgs {
    pub(crate) fn calendar(&self) -> CalendarPeriod {
        match self.period {
            PeriodSetting::Month => CalendarPeriod::Month,
            PeriodSetting::Week => CalendarPeriod::Week,
            PeriodSetting::Day => CalendarPeriod::Day,
        }
    }
}

/// Settings of `earmark migrate` and `earmark maintain`.
#[derive(Args, Clone, Debug)]
pub(crate) struct PartitionArgs {
    #[command(flatten)]
    period: PeriodArgs,

    /// For how many periods after the current one partitions are made, from 2 to 60
    ///
    /// It is how long the command may fail to run before rows have no partition of their own. They are then written to the
    /// DEFAULT partition, and no call fails.
    #[arg(
        long,
        env = "EARMARK_PARTITIONS_AHEAD",
        value_name = "N",
        default_value_t = PARTITIONS_AHEAD,
        value_parser = clap::value_parser!(u32).range(i64::from(PARTITIONS_AHEAD_MIN)..=i64::from(PARTITIONS_AHEAD_MAX))
    )]
    ahead: u32,
}

impl PartitionArgs {
    pub(crate) fn rules(&self) -> PartitionRules {
        PartitionRules {
            period: self.period.calendar(),
            ahead: self.ahead,
        }
    }
}
