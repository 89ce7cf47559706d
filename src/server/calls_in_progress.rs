//! Counts the calls in progress on one connection, and says since when there has been none.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// The calls in progress on one connection. A call counts from its request's headers until its answer is complete.
///
/// Beginning and ending a call costs some atomic operations and wakes nobody: who waits for idleness looks again when the
/// earliest possible time has come.
#[derive(Debug)]
pub(super) struct CallsInProgress {
    opened: Instant,
    count: AtomicUsize,
    /// When a call last ended or a part of an answer was last sent, in nanoseconds since `opened`.
    last_active: AtomicU64,
}

/// Counts as one call in progress until it is dropped.
#[derive(Debug)]
pub(super) struct CallInProgress(Arc<CallsInProgress>);

impl CallsInProgress {
    /// No calls, and idle from now on.
    pub(super) fn new() -> Self {
        Self {
            opened: Instant::now(),
            count: AtomicUsize::new(0),
            last_active: AtomicU64::new(0),
        }
    }

    /// Counts a call until the result is dropped.
    pub(super) fn begin(self: &Arc<Self>) -> CallInProgress {
        self.count.fetch_add(1, Ordering::AcqRel);
        CallInProgress(Arc::clone(self))
    }

    /// Begins the time of idleness anew, because a part of an answer was sent. What a call has left to be sent when it
    /// ends may take longer to send than the call itself took.
    pub(super) fn touch(&self) {
        let nanos = u64::try_from(self.opened.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.last_active.fetch_max(nanos, Ordering::AcqRel);
    }

    /// Completes when no call has been in progress, and no part of an answer was sent, for this time; the time before
    /// now does not count.
    pub(super) async fn idle_for(&self, time: Duration) {
        let mut idle_since = Instant::now();
        loop {
            sleep_until(idle_since + time).await;
            let now = Instant::now();
            idle_since = self.idle_since().map_or(now, |since| since.max(idle_since));
            if idle_since + time <= now {
                return;
            }
        }
    }

    /// `None` while calls are in progress: then the connection is idle from now on at the earliest.
    fn idle_since(&self) -> Option<Instant> {
        (self.count.load(Ordering::Acquire) == 0)
            .then(|| self.opened + Duration::from_nanos(self.last_active.load(Ordering::Acquire)))
    }
}

impl Drop for CallInProgress {
    fn drop(&mut self) {
        // In this order: whoever sees no call any more also sees when the last one ended.
        self.0.touch();
        self.0.count.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    /// How long `idle_for(MINUTE)` takes while something else goes on.
    async fn idle_after(calls: &CallsInProgress, meanwhile: impl Future<Output = ()>) -> Duration {
        let started = Instant::now();
        let idle = async {
            calls.idle_for(MINUTE).await;
            started.elapsed()
        };
        tokio::join!(idle, meanwhile).0
    }

    #[track_caller]
    fn assert_near(found: Duration, expected: Duration) {
        // The runtime's clock counts milliseconds.
        let difference = found.abs_diff(expected);
        assert!(
            difference < Duration::from_millis(5),
            "{found:?}, not {expected:?}"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn idleness_begins_when_the_last_call_ends() {
        let calls = Arc::new(CallsInProgress::new());
        let nothing = async {};
        assert_near(idle_after(&calls, nothing).await, MINUTE);

        let two_calls = async {
            let first = calls.begin();
            tokio::time::sleep(MINUTE / 2).await;
            let second = calls.begin();
            tokio::time::sleep(MINUTE).await;
            drop(first);
            tokio::time::sleep(MINUTE * 2).await;
            drop(second);
        };
        assert_near(idle_after(&calls, two_calls).await, MINUTE * 9 / 2);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_still_sent_of_an_answer_counts_and_earlier_idleness_does_not() {
        let calls = Arc::new(CallsInProgress::new());
        tokio::time::sleep(MINUTE * 10).await;
        let sending = async {
            for _ in 0..5 {
                tokio::time::sleep(MINUTE / 2).await;
                calls.touch();
            }
        };
        assert_near(idle_after(&calls, sending).await, MINUTE * 7 / 2);
    }
}
