//! Durations for the log and for retries.

use std::time::Duration;

/// Microseconds as the largest integer that the log takes.
pub(super) fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// A random duration between half of this one and all of it, so that those that failed together do not retry together.
pub(super) fn jitter(duration: Duration) -> Duration {
    let random = u32::from(uuid::Uuid::new_v4().as_bytes()[0]);
    duration / 2 + duration * random / 512
}
