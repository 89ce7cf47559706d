//! What a server has to keep up under attack, and the table of figures.

use std::fmt::Write as _;
use std::time::Duration;

use crate::victim::VictimFigures;

/// The most memory that a server may use, in MiB, unless it is given another limit.
pub(crate) const RSS_MAX_MIB: u64 = 256;
/// The most that it may log in each minute that has begun, in bytes.
const LOG_MINUTE_MAX_BYTES: u64 = 5_000_000;
/// How much longer than before the calls of others may take…
const SLOWER_MAX: u32 = 5;
/// … unless they take less than this.
const P99_ALWAYS_GOOD: Duration = Duration::from_millis(100);

/// The figures of one attack.
#[derive(Debug)]
pub(crate) struct AttackFigures {
    pub(crate) name: String,
    /// The other tenant's calls before the attack.
    pub(crate) quiet: VictimFigures,
    /// The calls of the same tenant while the server was attacked.
    pub(crate) attacked: VictimFigures,
    /// How long the attack lasted.
    pub(crate) duration: Duration,
    pub(crate) rss_peak_mib: u64,
    /// What the server was to stay below.
    pub(crate) rss_max_mib: u64,
    /// Bytes of the server's log, those of the other tenant's calls included.
    pub(crate) logged: u64,
    /// Whether the attackers had no token that is accepted, so that the log must stay small.
    pub(crate) judges_log: bool,
    /// How the server ended, if it did not stand.
    pub(crate) ended: Option<String>,
}

impl AttackFigures {
    /// What the server did not keep up; empty if it held. Times are left out where a machine's speed shall not matter.
    pub(crate) fn breaches(&self, judges_times: bool) -> Vec<String> {
        let mut breaches = Vec::new();
        if let Some(status) = &self.ended {
            breaches.push(format!("the server ended: {status}"));
        }
        if self.attacked.calls == 0 {
            breaches.push("no call was made".into());
        }
        for (code, calls) in &self.attacked.failures {
            let times: usize = calls.values().sum();
            let calls: Vec<_> = calls.keys().map(ToString::to_string).collect();
            breaches.push(format!("{times} {code} ({})", calls.join(", ")));
        }
        if self.rss_peak_mib >= self.rss_max_mib {
            breaches.push(format!("{} MiB", self.rss_peak_mib));
        }
        let minutes = self.duration.as_secs().div_ceil(60).max(1);
        if self.judges_log && self.logged >= LOG_MINUTE_MAX_BYTES * minutes {
            breaches.push(format!("{:.1} MB of log", megabytes(self.logged)));
        }
        let p99_max = (self.quiet.p99() * SLOWER_MAX).max(P99_ALWAYS_GOOD);
        if judges_times && self.attacked.p99() > p99_max {
            breaches.push(format!("p99 above {}", milliseconds(p99_max)));
        }
        breaches
    }
}

/// A table, with a verdict of each row.
pub(crate) fn table(rows: &[(AttackFigures, String)]) -> String {
    let mut table = String::from(
        "| attack | calls of others | failed | p99 before | p99 under attack | memory | log | health | verdict |\n\
         |---|--:|--:|--:|--:|--:|--:|---|---|\n",
    );
    for (figures, verdict) in rows {
        let AttackFigures {
            name,
            quiet,
            attacked,
            ..
        } = figures;
        let health = if attacked.was_serving() {
            "SERVING"
        } else {
            "lost"
        };
        _ = writeln!(
            table,
            "| {name} | {} | {} | {} | {} | {} MiB | {:.1} MB | {health} | {verdict} |",
            attacked.calls,
            attacked.failed(),
            milliseconds(quiet.p99()),
            milliseconds(attacked.p99()),
            figures.rss_peak_mib,
            megabytes(figures.logged),
        );
    }
    table
}

fn milliseconds(duration: Duration) -> String {
    format!("{:.1} ms", duration.as_secs_f64() * 1_000.0)
}

fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}
