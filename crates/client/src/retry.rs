//! When a failed call is repeated, and after which pause.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout_at};
use tonic::{Code, Response, Status};

use crate::error::{CallError, WriteOutcome};

/// When a failed call is repeated, and after which pause.
///
/// A call is repeated only where that is safe:
/// - if the error has a [`retry_delay`](CallError::retry_delay) and its [`outcome`](CallError::outcome) says that nothing has changed;
/// - and, for a [`repeatable`](Self::repeatable) call, whatever the outcome: if the error has a delay, its outcome is
///   unknown, or the code is UNAVAILABLE, ABORTED or DEADLINE_EXCEEDED. Exceptions are VERSION_MISMATCH, and a list or search
///   that took longer than the server allows: a repeated request would meet them again.
///
/// The pause before a try is random between half and the whole of a back-off, which starts at
/// [`backoff_min`](Self::backoff_min) and doubles up to [`backoff_max`](Self::backoff_max). If the server names a delay, the
/// pause is that delay plus the back-off's random part, so that callers refused together do not return together.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct RetryPolicy {
    /// Whether a second execution of the call changes nothing more: true of a read, and of a write whose request has
    /// its idempotency key set.
    pub is_repeatable: bool,
    /// The number of tries, the first included; 0 counts as 1.
    pub tries_max: u32,
    /// The time from the first try to the end of the last, pauses included. A try that is still running then is given up
    /// with DEADLINE_EXCEEDED, and the outcome of a write is then unknown.
    pub deadline: Duration,
    /// The back-off before the second try.
    pub backoff_min: Duration,
    /// The largest value that the back-off grows to.
    pub backoff_max: Duration,
}

impl RetryPolicy {
    /// For a call that must not be sent again unless the server says that nothing has changed: 5 tries within 30 s,
    /// back-off from 100 ms to 5 s.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            is_repeatable: false,
            tries_max: 5,
            deadline: Duration::from_secs(30),
            backoff_min: Duration::from_millis(100),
            backoff_max: Duration::from_secs(5),
        }
    }

    /// As [`new`](Self::new), for a read, or for a write whose request has its idempotency key set (`request_id`,
    /// `client_external_id`, `source_id`, whichever the message has). Every try must send the same key.
    #[must_use]
    pub const fn repeatable() -> Self {
        Self {
            is_repeatable: true,
            ..Self::new()
        }
    }

    /// Whether a call that failed so may be sent again.
    #[must_use]
    pub fn allows(&self, error: &CallError) -> bool {
        if error.retry_delay().is_some() && error.outcome() == Some(WriteOutcome::NotApplied) {
            return true;
        }
        let passes_by_itself = match error.code() {
            Code::Unavailable => true,
            // The server's limit for reads would be met again, unless the server names a delay.
            Code::DeadlineExceeded => {
                error.metadata("limit").is_none() || error.retry_delay().is_some()
            }
            Code::Aborted => error.reason_name() != Some("VERSION_MISMATCH"),
            _ => error.retry_delay().is_some() || error.outcome() == Some(WriteOutcome::Unknown),
        };
        self.is_repeatable && passes_by_itself
    }

    /// The pause after a number of failed tries, of which there is at least one. `random` is from 0 to 1.
    fn pause(&self, failed: u32, error: &CallError, random: f64) -> Duration {
        let doubled = 2_u32.saturating_pow(failed.saturating_sub(1));
        let backoff = self
            .backoff_min
            .saturating_mul(doubled)
            .min(self.backoff_max);
        let half = backoff / 2;
        let jitter = half.mul_f64(random);
        error.retry_delay().unwrap_or(half).saturating_add(jitter)
    }
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self::new()
    }
}

/// Calls until an answer comes, an error that the policy does not repeat, or the end of its tries or its time.
///
/// `call` makes one try, and each try has to send the same request. Tonic's clients are cheap to clone, so that a try can
/// have one of its own: `async || client.clone().get_allocation(request.clone()).await`.
///
/// # Errors
/// The error of the last try. A pause that would pass the deadline is not begun.
pub async fn retry<T>(
    policy: &RetryPolicy,
    mut call: impl AsyncFnMut() -> Result<Response<T>, Status>,
) -> Result<Response<T>, CallError> {
    let end = Instant::now() + policy.deadline;
    let mut failed = 0;
    loop {
        let error = match timeout_at(end, call()).await {
            Ok(Ok(response)) => return Ok(response),
            Ok(Err(status)) => CallError::from(status),
            Err(_elapsed) => {
                let text = "the retry policy's deadline passed before an answer came";
                return Err(Status::deadline_exceeded(text).into());
            }
        };
        failed += 1;
        let pause = policy.pause(failed, &error, fastrand::f64());
        let is_in_time = Instant::now() + pause < end;
        if failed >= policy.tries_max || !is_in_time || !policy.allows(&error) {
            return Err(error);
        }
        sleep(pause).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_back_off_doubles_to_its_maximum_and_varies_by_half() {
        let policy = RetryPolicy::new();
        let error = CallError::from(Status::unavailable("gone"));
        let millis = |failed, random| policy.pause(failed, &error, random).as_millis();
        assert_eq!((millis(1, 0.0), millis(1, 1.0)), (50, 100));
        assert_eq!((millis(3, 0.0), millis(3, 1.0)), (200, 400));
        assert_eq!((millis(40, 0.0), millis(40, 1.0)), (2_500, 5_000));
    }
}
