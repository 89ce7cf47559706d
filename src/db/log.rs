//! Log lines about the database. Each names the database, and gives the text of the server's own error; of each cause
//! there is at most one line a second, with the number of those that were left out.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The time between two lines of one cause.
const INTERVAL: Duration = Duration::from_secs(1);
/// Causes that are remembered. A database in trouble has a few.
const CAUSES_MAX: usize = 256;

static LINES: Mutex<BTreeMap<String, CauseLines>> = Mutex::new(BTreeMap::new());

/// The lines of one cause.
#[derive(Clone, Copy, Debug)]
struct CauseLines {
    last: Instant,
    suppressed: u64,
}

/// Warns that something did not work. `database` is [`Connector::address`](crate::db::connect::Connector::address).
pub(crate) fn warn(database: &str, what: &'static str, error: &str) {
    if let Some(suppressed) = admit(&cause(database, what, error), Instant::now()) {
        tracing::warn!(database, error, suppressed, "{what}");
    }
}

/// What the lines of one cause have in common: numbers, such as those of files and processes, differ.
fn cause(database: &str, what: &str, error: &str) -> String {
    let mut cause = format!("{database} {what} ");
    let mut is_in_number = false;
    for character in error.chars() {
        let is_digit = character.is_ascii_digit();
        if !is_digit {
            cause.push(character);
        } else if !is_in_number {
            cause.push('#');
        }
        is_in_number = is_digit;
    }
    cause
}

/// Whether a line of this cause may be written now, and how many were left out since the last one.
fn admit(cause: &str, now: Instant) -> Option<u64> {
    let mut lines = LINES.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = lines.get_mut(cause) {
        if now.saturating_duration_since(known.last) < INTERVAL {
            known.suppressed += 1;
            return None;
        }
        known.last = now;
        return Some(std::mem::take(&mut known.suppressed));
    }
    if lines.len() >= CAUSES_MAX {
        lines.retain(|_, known| now.saturating_duration_since(known.last) < INTERVAL);
    }
    if lines.len() >= CAUSES_MAX {
        return None;
    }
    let first = CauseLines {
        last: now,
        suppressed: 0,
    };
    lines.insert(cause.into(), first);
    Some(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_cause_has_a_line_a_second_and_the_others_are_counted() {
        let start = Instant::now();
        let (one, other) = (
            cause("db:1/d", "it fails", "file 17/4: no space"),
            cause("db:1/d", "it fails", "no memory"),
        );
        assert_eq!(one, cause("db:1/d", "it fails", "file 9/123: no space"));
        assert_eq!(admit(&one, start), Some(0));
        for _ in 0..500 {
            assert_eq!(admit(&one, start + Duration::from_millis(999)), None);
        }
        assert_eq!(admit(&other, start), Some(0), "another cause");
        assert_eq!(admit(&one, start + INTERVAL), Some(500));
        assert_eq!(admit(&one, start + 2 * INTERVAL), Some(0));
        assert_ne!(one, cause("db:2/d", "it fails", "file 17/4: no space"));
    }

    #[test]
    fn causes_are_forgotten_rather_than_kept_without_limit() {
        let start = Instant::now() + Duration::from_secs(1_000);
        let all = (0..CAUSES_MAX * 2).map(|number| format!("cause {number:b}"));
        let admitted = all.filter(|cause| admit(cause, start).is_some()).count();
        assert!(admitted <= CAUSES_MAX, "{admitted}");
        assert!(admit("one more", start + 2 * INTERVAL).is_some());
    }
}
