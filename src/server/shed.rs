//! Refuses what is more than the server can do, at once: a queue would only make every caller wait for its deadline.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::error::{Error, Result};

/// Bounds the calls at work.
pub(super) struct Shed {
    rpcs: Arc<Semaphore>,
    open: Arc<Semaphore>,
}

/// A place among the calls at work, until the answer has been sent.
pub(super) type Place = OwnedSemaphorePermit;

impl Shed {
    pub(super) fn new(calls_max: usize) -> Self {
        Self {
            rpcs: Arc::new(Semaphore::new(calls_max)),
            open: Arc::new(Semaphore::new(calls_max)),
        }
    }

    /// A place for an RPC, or one for what needs no token: watchers of health must not crowd out calls, and a server full
    /// of calls still says that it is well.
    pub(super) fn admit(&self, needs_token: bool) -> Result<Place> {
        let places = if needs_token { &self.rpcs } else { &self.open };
        Arc::clone(places)
            .try_acquire_owned()
            .map_err(|_| Error::Overloaded)
    }
}
