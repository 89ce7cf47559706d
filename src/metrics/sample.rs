//! What is sampled now and then, and served until it is too old.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The last sample of something.
#[derive(Debug)]
pub(super) struct LastSample<T> {
    /// A sample that is older is not served any more: its database may have changed since.
    age_max: Duration,
    last: Mutex<Option<(Instant, T)>>,
}

impl<T: Copy> LastSample<T> {
    /// Without a sample, until one is set.
    pub(super) fn new(age_max: Duration) -> Self {
        Self {
            age_max,
            last: Mutex::new(None),
        }
    }

    /// Replaces the last sample.
    pub(super) fn set(&self, sample: T) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        *last = Some((Instant::now(), sample));
    }

    /// The last sample, unless it is too old.
    pub(super) fn recent(&self) -> Option<T> {
        let last = *self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let (taken, sample) = last?;
        (taken.elapsed() < self.age_max).then_some(sample)
    }
}
