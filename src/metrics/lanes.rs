//! The lanes to the database: who waits in them, for how long, and the connections behind them.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use opentelemetry::metrics::{BoundCounter, BoundHistogram};

use crate::metrics::instrument::{MetricDescription, attributes, bound, described};

/// A lane: its calls wait for each other, and for no others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DatabaseLane {
    ByKey,
    /// Reads by id, which are joined into one statement.
    ById,
    List,
    Search,
    /// Writes of records outside of the ledger.
    Records,
}

/// What a lane has at a moment.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct LaneState {
    pub(crate) waiting: usize,
    pub(crate) in_use: usize,
    /// Places in the lane, each with at most one connection.
    pub(crate) limit: usize,
    pub(crate) idle_connections: usize,
    pub(crate) used_connections: usize,
}

/// What a lane counts.
pub(crate) struct LaneCounters {
    wait: BoundHistogram<f64>,
    refused: BoundCounter<u64>,
}

/// Reads by id that wait for a statement, of all kinds of records together.
static WAITING_BY_ID: AtomicUsize = AtomicUsize::new(0);

const WAITING: MetricDescription = described(
    "earmark.lane.waiting",
    "{call}",
    "Calls that wait for a connection of the lane; in the lane by_id for a statement.",
);
const IN_USE: MetricDescription = described(
    "earmark.lane.in_use",
    "{connection}",
    "Places of the lane that are taken, each with a connection.",
);
const LIMIT: MetricDescription = described(
    "earmark.lane.limit",
    "{connection}",
    "Places of the lane: the connections that it opens at most.",
);
const CONNECTIONS: MetricDescription = described(
    "earmark.pool.connections",
    "{connection}",
    "Open connections of the lane's pool, by state: idle or used.",
);

static COUNTERS: LazyLock<Vec<LaneCounters>> = LazyLock::new(|| {
    let wait = described(
        "earmark.lane.wait.duration",
        "s",
        "Time that a call waited in the lane before its statement was sent.",
    )
    .durations();
    let refused = described(
        "earmark.lane.refused",
        "{call}",
        "Calls refused with OVERLOADED because too many waited in the lane, or for too long.",
    )
    .counter();
    let counters = |lane: DatabaseLane| {
        let labels = [("lane", lane.label())];
        LaneCounters {
            wait: wait.bind(&attributes(&labels)),
            refused: bound(&refused, &labels),
        }
    };
    DatabaseLane::ALL.map(counters).into()
});

impl DatabaseLane {
    const ALL: [Self; 5] = [
        Self::ByKey,
        Self::ById,
        Self::List,
        Self::Search,
        Self::Records,
    ];

    const fn label(self) -> &'static str {
        match self {
            Self::ByKey => "by_key",
            Self::ById => "by_id",
            Self::List => "list",
            Self::Search => "search",
            Self::Records => "records",
        }
    }

    /// What the lane counts.
    pub(crate) fn counters(self) -> &'static LaneCounters {
        &COUNTERS[self as usize]
    }

    /// Serves what the lane has, as `read` finds it.
    pub(crate) fn watch<T: Send + Sync + 'static>(
        self,
        component: &Arc<T>,
        read: fn(&T) -> LaneState,
    ) {
        LazyLock::force(&COUNTERS);
        let gauge =
            |gauge: MetricDescription, state: Option<&'static str>, of: fn(LaneState) -> usize| {
                let component = Arc::downgrade(component);
                let labels = [("lane", self.label())];
                let state = state.map(|state| ("state", state));
                gauge.read_by(labels.into_iter().chain(state), move || {
                    let component = component.upgrade()?;
                    Some(of(read(&component)) as f64)
                });
            };
        match self {
            Self::ById => gauge(WAITING, None, |_| WAITING_BY_ID.load(Ordering::Relaxed)),
            _ => gauge(WAITING, None, |state| state.waiting),
        }
        gauge(IN_USE, None, |state| state.in_use);
        gauge(LIMIT, None, |state| state.limit);
        gauge(CONNECTIONS, Some("idle"), |state| state.idle_connections);
        gauge(CONNECTIONS, Some("used"), |state| state.used_connections);
    }
}

impl LaneCounters {
    /// Records how long a call has waited that has its turn.
    pub(crate) fn waited(&self, duration: Duration) {
        self.wait.record(duration.as_secs_f64());
    }

    /// Counts a call that was refused.
    pub(crate) fn refused(&self) {
        self.refused.add(1);
    }
}

/// Counts a read by id that begins to wait for a statement.
pub(crate) fn begin_wait_by_id() {
    WAITING_BY_ID.fetch_add(1, Ordering::Relaxed);
}

/// Counts reads by id that do not wait for a statement any more.
pub(crate) fn end_wait_by_id(reads: usize) {
    WAITING_BY_ID.fetch_sub(reads, Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_lane_has_the_counters_at_its_number() {
        for (place, lane) in DatabaseLane::ALL.into_iter().enumerate() {
            assert_eq!(lane as usize, place, "{lane:?}");
        }
    }
}
