//! Who used the processors and how much memory, by Linux's own count.

use std::fs;

use serde::Serialize;

/// Linux counts processor time in hundredths of a second, on every architecture.
const TICKS_PER_SECOND: f64 = 100.0;

/// Processor time; zero where the system does not tell.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Spent {
    server: f64,
    postgres: f64,
    client: f64,
}

/// Processors in use on average, or processor time of one item in microseconds.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct Used {
    /// The server under test; none for pgbench.
    pub(crate) server: f64,
    /// Postgres, with all its processes.
    pub(crate) postgres: f64,
    /// The load client, or pgbench.
    pub(crate) client: f64,
}

impl Spent {
    /// What was spent up to now.
    pub(crate) fn now(servers: &[u32], postmaster: Option<u32>) -> Self {
        let own = |process: &ProcessUsage| process.own;
        let with_children = |process: &ProcessUsage| process.own + process.reaped_children;
        let of = |pid: Option<u32>, time: &dyn Fn(&ProcessUsage) -> f64| {
            pid.and_then(ProcessUsage::read)
                .map_or(0.0, |process| time(&process))
        };
        let backends: f64 = postmaster.map_or(0.0, |pid| children_of(pid).iter().map(own).sum());
        Self {
            server: servers.iter().map(|pid| of(Some(*pid), &own)).sum(),
            postgres: of(postmaster, &with_children) + backends,
            client: of(Some(std::process::id()), &with_children),
        }
    }

    /// Processors in use since then.
    pub(crate) fn since(self, before: Self, seconds: f64) -> Used {
        Used {
            server: (self.server - before.server) / seconds,
            postgres: (self.postgres - before.postgres) / seconds,
            client: (self.client - before.client) / seconds,
        }
    }
}

impl Used {
    pub(crate) fn plus(self, other: Self) -> Self {
        Self {
            server: self.server + other.server,
            postgres: self.postgres + other.postgres,
            client: self.client + other.client,
        }
    }

    pub(crate) fn times(self, factor: f64) -> Self {
        Self {
            server: self.server * factor,
            postgres: self.postgres * factor,
            client: self.client * factor,
        }
    }
}

/// A process's memory in MiB: what it has now, and the most that it ever had.
pub(crate) fn memory(pid: u32) -> Option<(f64, f64)> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let mib = |name: &str| -> Option<f64> {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        let kib: f64 = line.split_whitespace().next()?.parse().ok()?;
        Some(kib / 1_024.0)
    };
    Some((mib("VmRSS:")?, mib("VmHWM:")?))
}

struct ProcessUsage {
    parent: u32,
    own: f64,
    reaped_children: f64,
}

impl ProcessUsage {
    fn read(pid: u32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name before may hold spaces and brackets itself.
        let (_, fields) = stat.rsplit_once(") ")?;
        let fields: Vec<&str> = fields.split(' ').collect();
        let seconds = |index: usize| -> Option<f64> {
            let ticks: f64 = fields.get(index)?.parse().ok()?;
            Some(ticks / TICKS_PER_SECOND)
        };
        Some(Self {
            parent: fields.get(1)?.parse().ok()?,
            own: seconds(11)? + seconds(12)?,
            reaped_children: seconds(13)? + seconds(14)?,
        })
    }
}

fn children_of(parent: u32) -> Vec<ProcessUsage> {
    let Ok(folder) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    folder
        .flatten()
        .filter_map(|entry| ProcessUsage::read(entry.file_name().to_str()?.parse().ok()?))
        .filter(|process| process.parent == parent)
        .collect()
}
