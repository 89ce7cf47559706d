//! When the statements of a writer's connection are planned anew.
//!
//! Each is planned once for all parameters, which saves more time than running it takes. A plan that was made while a
//! table was small may use an index that leads to all rows of an owner, though, and would take longer with each row. So
//! plans are dropped whenever the process has written as many rows as before they were made, and when they are old, since
//! other processes write too.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// The age at which plans are made anew in any case. It takes some milliseconds.
const PLAN_AGE_MAX: Duration = Duration::from_secs(30);

/// The number of rows that all writers of the process have written. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(super) struct RowsWritten(Arc<AtomicU64>);

impl RowsWritten {
    /// Adds rows that were written.
    pub(super) fn add(&self, rows: usize) {
        self.0.fetch_add(rows as u64, Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The age of the plans of one connection.
#[derive(Debug)]
pub(super) struct PlanAge {
    rows_written: RowsWritten,
    made: Mutex<PlansMade>,
}

#[derive(Clone, Copy, Debug)]
struct PlansMade {
    at_rows: u64,
    at: Instant,
}

impl PlanAge {
    /// Plans are made from now on.
    pub(super) fn new(rows_written: RowsWritten) -> Self {
        let made = PlansMade {
            at_rows: rows_written.get(),
            at: Instant::now(),
        };
        Self {
            rows_written,
            made: Mutex::new(made),
        }
    }

    /// The rows that this connection and others write.
    pub(super) fn rows_written(&self) -> &RowsWritten {
        &self.rows_written
    }

    /// Whether the plans must be dropped now. If so, it counts them as made anew.
    pub(super) fn is_over(&self) -> bool {
        let now = PlansMade {
            at_rows: self.rows_written.get(),
            at: Instant::now(),
        };
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        let has_doubled = now.at_rows > 2 * made.at_rows;
        let is_over = has_doubled || now.at - made.at >= PLAN_AGE_MAX;
        if is_over {
            *made = now;
        }
        is_over
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn plans_are_dropped_when_the_rows_have_doubled() {
        let rows = RowsWritten::default();
        let age = PlanAge::new(rows.clone());
        assert!(!age.is_over());
        let mut dropped_at = Vec::new();
        for row in 1..=10_000 {
            rows.add(1);
            if age.is_over() {
                dropped_at.push(row);
            }
        }
        assert_eq!(dropped_at[..4], [1, 3, 7, 15]);
        assert_eq!(dropped_at.last(), Some(&8_191));
    }

    #[tokio::test(start_paused = true)]
    async fn rows_of_other_writers_count() {
        let rows = RowsWritten::default();
        let (first, second) = (PlanAge::new(rows.clone()), PlanAge::new(rows.clone()));
        rows.add(1_000);
        assert!(first.is_over());
        assert!(second.is_over());
        assert!(!second.is_over());
    }

    #[tokio::test(start_paused = true)]
    async fn old_plans_are_dropped_though_nothing_was_written() {
        let age = PlanAge::new(RowsWritten::default());
        tokio::time::advance(PLAN_AGE_MAX - Duration::from_millis(1)).await;
        assert!(!age.is_over());
        tokio::time::advance(Duration::from_millis(1)).await;
        assert!(age.is_over());
        assert!(!age.is_over());
    }
}
