//! Partitions that are made ahead, as they were last counted.

use std::sync::Arc;
use std::time::Duration;

use crate::metrics::instrument::{MetricDescription, described};
use crate::metrics::sample::LastSample;

/// Longer than the time between two counts.
const SAMPLE_AGE_MAX: Duration = Duration::from_secs(180);

/// What was found of a partitioned table.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct PartitionSample {
    /// Partitions that begin in the future.
    pub(crate) ahead: f64,
    /// The size of the rows in the DEFAULT partition.
    pub(crate) default_bytes: f64,
}

/// The last count of one table's partitions.
#[derive(Debug)]
pub(crate) struct SampledPartitions(LastSample<PartitionSample>);

const AHEAD: MetricDescription = described(
    "earmark.partitions.ahead",
    "{partition}",
    "Partitions of the table that begin in the future.",
);
const DEFAULT_SIZE: MetricDescription = described(
    "earmark.partitions.default_size",
    "By",
    "Size of the rows in the table's DEFAULT partition; 0 if it was never written to.",
);

impl SampledPartitions {
    /// Serves the counts of one table; none before the first, so none of a table that is not partitioned.
    pub(crate) fn served_as(table: &'static str) -> Arc<Self> {
        let samples = Arc::new(Self(LastSample::new(SAMPLE_AGE_MAX)));
        let serve = |gauge: MetricDescription, of: fn(PartitionSample) -> f64| {
            let samples = Arc::downgrade(&samples);
            gauge.read_by([("table", table)], move || {
                samples.upgrade()?.0.recent().map(of)
            });
        };
        serve(AHEAD, |sample| sample.ahead);
        serve(DEFAULT_SIZE, |sample| sample.default_bytes);
        samples
    }

    /// Replaces the last count.
    pub(crate) fn set(&self, sample: PartitionSample) {
        self.0.set(sample);
    }
}
