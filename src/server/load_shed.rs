//! Refuses calls above the server's limit at once. A queue in front of the handlers would only delay every caller
//! until its deadline passes.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::error::{Error, Result};

/// Limits the number of calls in progress.
pub(super) struct LoadShedder {
    rpcs: Arc<Semaphore>,
    public: Arc<Semaphore>,
}

/// Counts as one call in progress until it is dropped, which is when the response has been sent.
pub(super) type CallPermit = OwnedSemaphorePermit;

impl LoadShedder {
    pub(super) fn new(calls_max: usize) -> Self {
        Self {
            rpcs: Arc::new(Semaphore::new(calls_max)),
            public: Arc::new(Semaphore::new(calls_max)),
        }
    }

    /// Admits a call, or refuses it with `Overloaded`.
    ///
    /// Health and reflection (`is_public`) are counted apart from RPCs, with the same limit: long health watches must
    /// not use up the RPCs' limit, and a server that is busy with RPCs must still answer health checks.
    pub(super) fn admit(&self, is_public: bool) -> Result<CallPermit> {
        let permits = if is_public { &self.public } else { &self.rpcs };
        Arc::clone(permits)
            .try_acquire_owned()
            .map_err(|_| Error::Overloaded)
    }
}
