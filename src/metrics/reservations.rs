//! Open and overdue reservations, as they were last sampled.

use std::sync::Arc;
use std::time::Duration;

use crate::metrics::instrument::{MetricDescription, described};
use crate::metrics::sample::LastSample;

/// Longer than the time between some samples.
const SAMPLE_AGE_MAX: Duration = Duration::from_secs(60);

/// What was found of one kind of reservations.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct ReservationSample {
    pub(crate) open: f64,
    pub(crate) overdue: f64,
    /// How long ago the oldest overdue one should have been released.
    pub(crate) lag: Duration,
}

/// The last sample of one kind of reservations, which is served until it is too old.
#[derive(Debug)]
pub(crate) struct SampledReservations(LastSample<ReservationSample>);

const OPEN: MetricDescription = described(
    "earmark.reservations.open",
    "{reservation}",
    "Open reservations in the database: counted up to 10,000, above that the planner's estimate.",
);
const OVERDUE: MetricDescription = described(
    "earmark.reservations.overdue",
    "{reservation}",
    "Open reservations past their expire time: counted up to 10,000.",
);
const LAG: MetricDescription = described(
    "earmark.reservations.expiry_lag",
    "s",
    "How long the oldest overdue reservation is overdue; 0 without any.",
);

impl SampledReservations {
    /// Serves the samples of one kind of reservations.
    pub(crate) fn served_as(kind: &'static str) -> Arc<Self> {
        let samples = Arc::new(Self(LastSample::new(SAMPLE_AGE_MAX)));
        let serve = |gauge: MetricDescription, of: fn(ReservationSample) -> f64| {
            let samples = Arc::downgrade(&samples);
            gauge.read_by([("kind", kind)], move || {
                samples.upgrade()?.0.recent().map(of)
            });
        };
        serve(OPEN, |sample| sample.open);
        serve(OVERDUE, |sample| sample.overdue);
        serve(LAG, |sample| sample.lag.as_secs_f64());
        samples
    }

    /// Replaces the last sample.
    pub(crate) fn set(&self, sample: ReservationSample) {
        self.0.set(sample);
    }
}
