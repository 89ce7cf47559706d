//! The process itself: its version, and what it takes of the machine, under the names that Prometheus's clients use.

use crate::metrics::instrument::{MetricDescription, described};
use crate::version::{COMMIT, VERSION};

const BUILD: MetricDescription = described(
    "earmark.build.info",
    "",
    "1, with the program's version and commit as labels.",
);

/// Serves the program's version, and on Linux the process's memory, processor time and open files.
pub(crate) fn watch() {
    BUILD.read_by([("version", VERSION), ("commit", COMMIT)], || Some(1.0));
    #[cfg(target_os = "linux")]
    linux::watch();
}

#[cfg(target_os = "linux")]
mod linux {
    use procfs::process::{Process, Stat};
    use procfs::{WithCurrentSystemInfo, boot_time_secs, ticks_per_second};

    use super::{MetricDescription, described};

    const CPU: MetricDescription = described(
        "process.cpu",
        "s",
        "Processor time, of users and of the system.",
    );
    const RESIDENT: MetricDescription =
        described("process.resident_memory", "By", "Memory in use.");
    const VIRTUAL: MetricDescription =
        described("process.virtual_memory", "By", "Memory in addresses.");
    const OPEN_FDS: MetricDescription = described("process.open_fds", "", "Open file descriptors.");
    const MAX_FDS: MetricDescription = described(
        "process.max_fds",
        "",
        "File descriptors that may be open: the soft limit.",
    );
    const THREADS: MetricDescription = described("process.threads", "", "Threads of the process.");
    const START: MetricDescription = described(
        "process.start_time",
        "s",
        "Unix time at which the process was started.",
    );

    pub(super) fn watch() {
        CPU.counted_by(|| {
            let stat = stat()?;
            Some((stat.utime + stat.stime) as f64 / ticks_per_second() as f64)
        });
        RESIDENT.read_by::<&str>([], || Some(stat()?.rss_bytes().get() as f64));
        VIRTUAL.read_by::<&str>([], || Some(stat()?.vsize as f64));
        THREADS.read_by::<&str>([], || Some(stat()?.num_threads as f64));
        OPEN_FDS.read_by::<&str>([], || Some(Process::myself().ok()?.fd_count().ok()? as f64));
        MAX_FDS.read_by::<&str>([], || {
            let limits = Process::myself().ok()?.limits().ok()?;
            match limits.max_open_files.soft_limit {
                procfs::process::LimitValue::Value(max) => Some(max as f64),
                procfs::process::LimitValue::Unlimited => None,
            }
        });
        START.read_by::<&str>([], || {
            let since_boot = stat()?.starttime as f64 / ticks_per_second() as f64;
            Some(boot_time_secs().ok()? as f64 + since_boot)
        });
    }

    fn stat() -> Option<Stat> {
        Process::myself().ok()?.stat().ok()
    }
}
