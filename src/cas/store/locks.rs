//! Locks within the process for changes of the same record.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use tokio::sync::{Mutex, MutexGuard};

use crate::cas::write::CasTarget;
use crate::limits::CAS_RECORD_LOCKS;

/// Serialises the changes of a record within this process. A change that waits for the record's row in the database
/// holds a connection, so many changes of one record could occupy the whole pool; a change that waits here holds none.
/// The row's lock remains what makes changes correct, across processes too. Clones share the locks.
#[derive(Clone, Debug)]
pub(in crate::cas) struct RecordLocks(Arc<[Mutex<()>]>);

impl RecordLocks {
    pub(in crate::cas) fn new() -> Self {
        Self((0..CAS_RECORD_LOCKS).map(|_| Mutex::default()).collect())
    }

    /// Waits for the lock of a record. Records are spread over the locks by a hash of their id or source id, so some
    /// share one and wait without need.
    pub(super) async fn lock(&self, target: &CasTarget) -> MutexGuard<'_, ()> {
        let mut hasher = DefaultHasher::new();
        target.to_string().hash(&mut hasher);
        let index = hasher.finish() % self.0.len() as u64;
        self.0[usize::try_from(index).unwrap_or(0)].lock().await
    }
}
