//! How many writers of a process have a connection by which they can write.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The number of connected writers; cheap to clone.
#[derive(Clone, Debug, Default)]
pub(super) struct ConnectedWriters(Arc<AtomicUsize>);

/// Counts a writer's connection until it is dropped.
#[derive(Debug)]
pub(super) struct CountedConnection(ConnectedWriters);

impl ConnectedWriters {
    /// Counts one more connection, until what is returned is dropped.
    pub(super) fn count(&self) -> CountedConnection {
        self.0.fetch_add(1, Ordering::Relaxed);
        CountedConnection(self.clone())
    }

    /// Whether there is any.
    pub(super) fn any(&self) -> bool {
        self.0.load(Ordering::Relaxed) > 0
    }
}

impl Drop for CountedConnection {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}
