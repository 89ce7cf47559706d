//! The file `postmaster.pid`, in which a server describes itself.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tokio::time::sleep;

use crate::endpoint::SocketEndpoint;
use crate::error::{EmbeddedError, IoErrorContext as _};

/// The backends of a killed server end once they find that it is gone.
const ORPHANS_MAX: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(10);

/// The lines of `postmaster.pid`: pid, data folder, start time, port, socket folder, addresses, shared memory, state.
pub(crate) struct PostmasterPidFile {
    pub(crate) pid: u32,
    lines: Vec<String>,
}

impl PostmasterPidFile {
    pub(crate) fn read(path: &Path) -> Option<Self> {
        let text = fs::read_to_string(path).ok()?;
        let lines: Vec<String> = text.lines().map(|line| line.trim().to_owned()).collect();
        // A standalone backend writes its pid negated.
        let pid = lines.first()?.parse::<i64>().ok()?.unsigned_abs();
        Some(Self {
            pid: u32::try_from(pid).ok()?,
            lines,
        })
    }

    pub(crate) fn endpoint_if_ready(self) -> Option<SocketEndpoint> {
        let line = |index: usize| {
            self.lines
                .get(index)
                .map(String::as_str)
                .unwrap_or_default()
        };
        if line(7) != "ready" || line(4).is_empty() {
            return None;
        }
        Some(SocketEndpoint {
            socket_dir: PathBuf::from(line(4)),
            port: line(3).parse().ok()?,
        })
    }

    /// The System V identifier of the server's shared memory segment.
    fn shared_memory_id(&self) -> Option<u64> {
        self.lines.get(6)?.split_whitespace().nth(1)?.parse().ok()
    }
}

/// Removes the pid file of a server that is gone.
///
/// Postgres refuses to start while the file names living backends of a killed server, which would still write to the
/// data folder. It is therefore removed only once no process is attached to the shared memory any more.
pub(crate) async fn remove_stale(
    path: &Path,
    file: &PostmasterPidFile,
) -> Result<(), EmbeddedError> {
    let started = Instant::now();
    loop {
        match file.shared_memory_id().map(attached_processes) {
            Some(Some(0)) => break,
            Some(Some(_)) if started.elapsed() < ORPHANS_MAX => sleep(POLL).await,
            // Unknown on this system, or the backends do not end: Postgres then decides by itself and logs why it refuses.
            _ => return Ok(()),
        }
    }
    tracing::info!(path = %path.display(), pid = file.pid, "removing the pid file of a Postgres that is gone");
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error).at("delete", path),
        _ => Ok(()),
    }
}

/// The number of processes that are attached to a shared memory segment; `None` on systems without /proc/sysvipc.
fn attached_processes(id: u64) -> Option<u64> {
    let table = fs::read_to_string("/proc/sysvipc/shm").ok()?;
    let mut rows = table
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>());
    let header = rows.next()?;
    let column = |name| header.iter().position(|title| *title == name);
    let (id_column, count_column) = (column("shmid")?, column("nattch")?);
    let row = rows.find(|row| row.get(id_column).and_then(|text| text.parse().ok()) == Some(id));
    match row {
        Some(row) => row.get(count_column)?.parse().ok(),
        None => Some(0),
    }
}
