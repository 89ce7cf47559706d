//! Decides whether a queued write is carried out by a writer or withdrawn at its deadline.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use crate::error::Outcome;

const OPEN: u8 = 0;
const TAKEN: u8 = 1;
const WITHDRAWN: u8 = 2;

/// Decides by one atomic swap whether a write is carried out or withdrawn. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Claim(Arc<AtomicU8>);

impl Claim {
    /// Nobody has it yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the write in order to carry it out; false if it was withdrawn. Taking twice is no harm: a batch that
    /// failed is tried again.
    pub fn take(&self) -> bool {
        self.0
            .compare_exchange(OPEN, TAKEN, Ordering::AcqRel, Ordering::Acquire)
            .map_or_else(|found| found == TAKEN, |_| true)
    }

    /// Gives the write back untouched: until it is taken again, its deadline may withdraw it.
    pub fn give_back(&self) {
        _ = self
            .0
            .compare_exchange(TAKEN, OPEN, Ordering::AcqRel, Ordering::Acquire);
    }

    /// Withdraws the write because its deadline has passed, and says what that means for it.
    pub fn withdraw(&self) -> Outcome {
        match self
            .0
            .compare_exchange(OPEN, WITHDRAWN, Ordering::AcqRel, Ordering::Acquire)
        {
            Err(TAKEN) => Outcome::Unknown,
            _ => Outcome::NotApplied,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_is_either_taken_or_withdrawn() {
        let claim = Claim::new();
        assert!(claim.take());
        assert!(claim.take(), "a second try of the same batch");
        assert_eq!(claim.withdraw(), Outcome::Unknown);

        let claim = Claim::new();
        assert_eq!(claim.withdraw(), Outcome::NotApplied);
        assert!(!claim.clone().take());

        let claim = Claim::new();
        assert!(claim.take());
        claim.give_back();
        assert_eq!(claim.withdraw(), Outcome::NotApplied);
        claim.give_back();
        assert!(!claim.take(), "withdrawn for good");
    }
}
