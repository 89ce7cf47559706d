//! Partitions of the tables that grow for years: made ahead of the time that their rows will have, without stopping anybody.
//!
//! A table is partitioned by range, over times or over ids that begin with a time, and has a DEFAULT partition: a partition
//! that is missing never refuses a write. What is written there meanwhile is not moved. The DEFAULT partition becomes the
//! partition of that range, and another one takes its place.

pub(crate) mod at_once;
#[cfg(feature = "archive")]
pub(crate) mod attached;
mod change;
pub(crate) mod counts;
mod error;
mod key;
mod maintain;
mod plan;
mod state;

pub use error::MaintainError;
pub use maintain::{PartitionChange, maintain, planned};
pub use plan::PartitionRules;
