//! Whether the writers of a process can write.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::metrics::writer;

/// Counts the writers that have a connection, and those whose connections cannot write; cheap to clone.
#[derive(Clone, Debug, Default)]
pub(super) struct ConnectedWriters(Arc<WriterCounts>);

#[derive(Debug, Default)]
struct WriterCounts {
    connected: AtomicUsize,
    read_only: AtomicUsize,
}

/// Counts a writer's connection until it is dropped.
#[derive(Debug)]
pub(super) struct CountedConnection(ConnectedWriters);

impl ConnectedWriters {
    /// Counts one more connection, until what is returned is dropped.
    pub(super) fn count(&self) -> CountedConnection {
        self.0.connected.fetch_add(1, Ordering::Relaxed);
        CountedConnection(self.clone())
    }

    /// Records that the connections of one more writer cannot write, or that this is over.
    pub(super) fn set_read_only(&self, is_read_only: bool) {
        if is_read_only {
            self.0.read_only.fetch_add(1, Ordering::Relaxed);
        } else {
            self.0.read_only.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Serves these numbers, beside that of all writers.
    pub(super) fn watch(&self, configured: usize) {
        writer::watch_writers(&self.0, configured, |counts| {
            counts.connected.load(Ordering::Relaxed)
        });
    }

    /// Whether there is a connection, and no writer has to refuse what it takes.
    pub(super) fn can_write(&self) -> bool {
        let counts = &self.0;
        counts.connected.load(Ordering::Relaxed) > 0
            && counts.read_only.load(Ordering::Relaxed) == 0
    }
}

impl Drop for CountedConnection {
    fn drop(&mut self) {
        self.0.0.connected.fetch_sub(1, Ordering::Relaxed);
    }
}
