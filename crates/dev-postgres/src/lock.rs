//! The lock that one process holds on a data folder.

use std::fs::{File, TryLockError};
use std::io::{Read as _, Seek as _, Write as _};
use std::path::Path;

use crate::error::{EmbeddedError, IoErrorContext as _};
use crate::user::give_to_owner_of;

/// The locked file; it holds the pid of the process that has locked it.
const LOCK: &str = "postgres.lock";

/// The exclusive lock on a data folder. The system releases it when the process ends, however it ends.
#[derive(Debug)]
pub(crate) struct DataDirLock(File);

impl DataDirLock {
    /// Takes the lock without waiting.
    ///
    /// # Errors
    /// [`EmbeddedError::Locked`] if another process, or another part of this one, holds it.
    pub(crate) fn acquire(data_dir: &Path) -> Result<Self, EmbeddedError> {
        let path = data_dir.join(LOCK);
        let mut file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .at("open", &path)?;
        give_to_owner_of(data_dir, &file);
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                _ = file.read_to_string(&mut holder);
                let holder = holder.trim().parse().ok();
                return Err(EmbeddedError::Locked {
                    path: data_dir.to_owned(),
                    holder,
                });
            }
            Err(TryLockError::Error(error)) => return Err(error).at("lock", &path),
        }
        // For the message that another process prints when it finds the folder locked.
        _ = file
            .set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| writeln!(file, "{}", std::process::id()));
        Ok(Self(file))
    }

    /// Releases the lock at once. Closing the file would not: a child that is being started may have inherited the descriptor.
    pub(crate) fn release(self) {
        _ = self.0.unlock();
    }
}
