//! Limits how many lines a second are logged of what others can cause as often as they like.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// What time is saved up to: after a pause, the lines of one second may come at once.
const CREDIT_MAX: Duration = Duration::from_secs(1);

/// A token bucket for one kind of log line: so many lines a second, and as many at once. It counts the others.
#[derive(Debug)]
pub(super) struct LogRate(Mutex<LogCredit>);

impl LogRate {
    /// At most `per_second` lines a second, and after a pause as many at once.
    pub(super) const fn new(per_second: u32) -> Self {
        Self(Mutex::new(LogCredit::new(per_second)))
    }

    /// Whether one more line may be logged now. If not, it is counted as suppressed.
    pub(super) fn admit(&self) -> bool {
        self.lock().admit(Instant::now())
    }

    /// How many lines were suppressed since this was asked last.
    pub(super) fn take_suppressed(&self) -> u64 {
        std::mem::take(&mut self.lock().suppressed)
    }

    fn lock(&self) -> MutexGuard<'_, LogCredit> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The state of a [`LogRate`]. Credit is time: a line costs the time after which the next one is due.
#[derive(Debug)]
struct LogCredit {
    per_second: u32,
    credit: Duration,
    /// When the credit was last brought up to date.
    updated: Option<Instant>,
    suppressed: u64,
}

impl LogCredit {
    const fn new(per_second: u32) -> Self {
        Self {
            per_second,
            credit: CREDIT_MAX,
            updated: None,
            suppressed: 0,
        }
    }

    fn admit(&mut self, now: Instant) -> bool {
        // Threads come here in another order than they have read the clock.
        let updated = self.updated.map_or(now, |updated| updated.max(now));
        let passed = self.updated.map_or(Duration::ZERO, |last| updated - last);
        self.updated = Some(updated);
        self.credit = self.credit.saturating_add(passed).min(CREDIT_MAX);
        let cost = CREDIT_MAX / self.per_second.max(1);
        match self.credit.checked_sub(cost) {
            Some(rest) => {
                self.credit = rest;
                true
            }
            None => {
                self.suppressed += 1;
                false
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many of so many lines, all at this time, are logged.
    fn admitted(credit: &mut LogCredit, lines: usize, now: Instant) -> usize {
        (0..lines).filter(|_| credit.admit(now)).count()
    }

    #[test]
    fn lines_pass_at_the_rate_and_the_others_are_counted() {
        let mut credit = LogCredit::new(100);
        let start = Instant::now();
        assert_eq!(admitted(&mut credit, 1_000, start), 100, "at once");
        assert_eq!(credit.suppressed, 900);
        let later = start + Duration::from_millis(250);
        assert_eq!(admitted(&mut credit, 1_000, later), 25);
        let later = later + Duration::from_secs(1_000);
        assert_eq!(admitted(&mut credit, 1_000, later), 100, "not saved up");
        assert_eq!(credit.suppressed, 900 + 975 + 900);
    }

    #[test]
    fn a_steady_flood_passes_at_the_rate() {
        let mut credit = LogCredit::new(100);
        let start = Instant::now();
        // 8,000 a second for 10 s.
        let passed = (0..80_000_u32)
            .filter(|line| credit.admit(start + Duration::from_micros(125) * *line))
            .count();
        assert!((1_090..=1_100).contains(&passed), "{passed}");
        assert_eq!(credit.suppressed, 80_000 - passed as u64);
    }

    #[test]
    fn a_slow_stream_of_lines_passes_whole() {
        let mut credit = LogCredit::new(1);
        let start = Instant::now();
        for second in 0..100 {
            let now = start + Duration::from_secs(second);
            assert_eq!(admitted(&mut credit, 3, now), 1, "{second}");
        }
        assert_eq!(credit.suppressed, 200);
    }

    #[test]
    fn a_clock_that_is_read_out_of_order_gives_no_credit_twice() {
        let mut credit = LogCredit::new(2);
        let start = Instant::now();
        let later = start + Duration::from_millis(900);
        assert_eq!(admitted(&mut credit, 3, later), 2);
        assert!(
            !credit.admit(start),
            "another thread read its clock earlier"
        );
        assert!(!credit.admit(later), "the 0.9 s have not passed again");
    }

    #[test]
    fn the_number_of_suppressed_lines_is_given_once() {
        let rate = LogRate::new(1);
        let passed = (0..10).filter(|_| rate.admit()).count() as u64;
        assert_eq!(rate.take_suppressed(), 10 - passed);
        assert_eq!(rate.take_suppressed(), 0);
    }
}
