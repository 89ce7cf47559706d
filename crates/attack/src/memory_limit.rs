//! The memory of a server: the most that it used, and a limit.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::task::JoinHandle;

const CGROUPS: &str = "/sys/fs/cgroup";
const SAMPLE_INTERVAL: Duration = Duration::from_millis(100);

/// Reads the peak of a process's resident memory again and again: of a process that has ended nothing can be read.
pub(crate) struct MemoryWatch {
    peak_kib: Arc<AtomicU64>,
    sampling: JoinHandle<()>,
}

impl MemoryWatch {
    /// Begins. A process that uses more than `limit_mib` is killed.
    pub(crate) fn start(pid: u32, limit_mib: Option<u64>) -> Self {
        let peak_kib = Arc::new(AtomicU64::new(0));
        let peak = Arc::clone(&peak_kib);
        let sampling = tokio::spawn(async move {
            while let Some(kib) = peak_of(pid) {
                peak.fetch_max(kib, Ordering::Relaxed);
                if limit_mib.is_some_and(|limit| kib > limit * 1_024)
                    && let Ok(raw) = i32::try_from(pid)
                {
                    _ = kill(Pid::from_raw(raw), Signal::SIGKILL);
                    return;
                }
                tokio::time::sleep(SAMPLE_INTERVAL).await;
            }
        });
        Self { peak_kib, sampling }
    }

    /// The peak in MiB.
    pub(crate) fn peak_mib(&self) -> u64 {
        self.peak_kib.load(Ordering::Relaxed) / 1_024
    }
}

impl Drop for MemoryWatch {
    fn drop(&mut self) {
        self.sampling.abort();
    }
}

/// The peak in KiB; `None` if the process has ended.
fn peak_of(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// A cgroup (v2) below that of this process, with a limit of its memory; it is removed on drop.
pub(crate) struct MemoryCgroup {
    folder: PathBuf,
}

impl MemoryCgroup {
    /// Makes one. The error is the reason why this machine gives none.
    pub(crate) fn create(limit_mib: u64) -> Result<Self, String> {
        let controllers = fs::read_to_string(Path::new(CGROUPS).join("cgroup.controllers"))
            .map_err(|error| format!("{CGROUPS} is no cgroup v2: {error}"))?;
        if !controllers.split_whitespace().any(|name| name == "memory") {
            return Err(format!("{CGROUPS} does not control memory"));
        }
        let own = fs::read_to_string("/proc/self/cgroup").map_err(|error| error.to_string())?;
        let path = own.lines().find_map(|line| line.strip_prefix("0::/"));
        let path = path.ok_or("this process is in no cgroup v2")?;
        let name = format!("earmark-attack-{}", std::process::id());
        let cgroup = Self {
            folder: Path::new(CGROUPS).join(path).join(name),
        };
        let failed = |error| format!("{}: {error}", cgroup.folder.display());
        fs::create_dir(&cgroup.folder).map_err(failed)?;
        let limit = (limit_mib * 1_024 * 1_024).to_string();
        fs::write(cgroup.folder.join("memory.max"), limit).map_err(failed)?;
        // Without a swap limit the server would be slowed down instead of ended; not every kernel has one.
        _ = fs::write(cgroup.folder.join("memory.swap.max"), "0");
        Ok(cgroup)
    }

    /// Moves a process into it.
    pub(crate) fn take(&self, pid: u32) -> std::io::Result<()> {
        fs::write(self.folder.join("cgroup.procs"), pid.to_string())
    }
}

impl Drop for MemoryCgroup {
    fn drop(&mut self) {
        // It can be removed once its process has ended.
        _ = fs::remove_dir(&self.folder);
    }
}
