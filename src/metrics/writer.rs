//! The ledger's writers: their queue, their batches, and what each phase of a batch takes.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use opentelemetry::metrics::{BoundCounter, BoundHistogram};

use crate::metrics::instrument::{MetricDescription, attributes, bound, described};

/// Why a batch is tried again.
#[derive(Clone, Copy, Debug)]
pub(crate) enum RetryCause {
    /// It collided with another write.
    Conflict,
    /// Its connection was lost before COMMIT was sent.
    ConnectionLost,
    /// Another session had locked one of its owners: it is tried without.
    Locked,
    /// COMMIT was not answered, and it was found not to be committed.
    InDoubt,
}

impl RetryCause {
    const ALL: [Self; 4] = [
        Self::Conflict,
        Self::ConnectionLost,
        Self::Locked,
        Self::InDoubt,
    ];

    const fn label(self) -> &'static str {
        match self {
            Self::Conflict => "conflict",
            Self::ConnectionLost => "connection_lost",
            Self::Locked => "locked",
            Self::InDoubt => "in_doubt",
        }
    }
}

/// How long the phases of a batch took.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct PhaseDurations {
    /// The owners' locks, and the state that is read under them.
    pub(crate) read: Duration,
    pub(crate) judge: Duration,
    pub(crate) write: Duration,
    pub(crate) commit: Duration,
}

/// What the queue of the writers has at a moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct QueueState {
    /// Owners with commands that wait.
    pub(crate) lanes: usize,
    /// Commands that wait, counting each part of one that has several.
    pub(crate) waiting: usize,
    /// Owners that another session has locked.
    pub(crate) parked: usize,
    pub(crate) batches: usize,
}

/// What the writers count.
pub(crate) struct WriterCounters {
    batch_commands: BoundHistogram<u64>,
    wait: BoundHistogram<f64>,
    read: BoundHistogram<f64>,
    judge: BoundHistogram<f64>,
    write: BoundHistogram<f64>,
    commit: BoundHistogram<f64>,
    retries: [BoundCounter<u64>; RetryCause::ALL.len()],
}

const CONFIGURED: MetricDescription = described(
    "earmark.writers.configured",
    "{writer}",
    "The setting --writers.",
);
const CONNECTED: MetricDescription = described(
    "earmark.writers.connected",
    "{writer}",
    "Writers that have a connection to the database.",
);
const LANES: MetricDescription = described(
    "earmark.writer.lanes",
    "{owner}",
    "Owners (enterprises, buckets) with commands that wait for a writer.",
);
const WAITING: MetricDescription = described(
    "earmark.writer.waiting",
    "{command}",
    "Commands that wait for a writer, counting each part of a submission.",
);
const WAITING_LIMIT: MetricDescription = described(
    "earmark.writer.waiting_limit",
    "{command}",
    "Commands that may wait; further ones are refused.",
);
const PARKED: MetricDescription = described(
    "earmark.writer.parked_owners",
    "{owner}",
    "Owners that another session has locked, whose commands are tried again later.",
);
const BATCHES: MetricDescription = described(
    "earmark.writer.batches_in_progress",
    "{batch}",
    "Batches that writers are carrying out.",
);

static COUNTERS: LazyLock<WriterCounters> = LazyLock::new(|| {
    let batch_commands = described(
        "earmark.writer.batch.commands",
        "{command}",
        "Commands of a batch that was committed.",
    );
    let wait = described(
        "earmark.writer.wait.duration",
        "s",
        "Time that a command waited for a writer.",
    );
    let phase = described(
        "earmark.writer.phase.duration",
        "s",
        "Time of a phase of a committed batch: read (locks and reads), judge, write, commit.",
    )
    .durations();
    let retries = described(
        "earmark.writer.retries",
        "{batch}",
        "Batches that were tried again, by cause.",
    )
    .counter();
    let of_phase = |name| phase.bind(&attributes(&[("phase", name)]));
    WriterCounters {
        batch_commands: batch_commands.sizes().bind(&[]),
        wait: wait.durations().bind(&[]),
        read: of_phase("read"),
        judge: of_phase("judge"),
        write: of_phase("write"),
        commit: of_phase("commit"),
        retries: RetryCause::ALL.map(|cause| bound(&retries, &[("cause", cause.label())])),
    }
});

/// What the writers count.
pub(crate) fn counters() -> &'static WriterCounters {
    &COUNTERS
}

impl WriterCounters {
    /// Records how long a command has waited that a writer has taken.
    pub(crate) fn waited(&self, duration: Duration) {
        self.wait.record(duration.as_secs_f64());
    }

    /// Records a batch that was committed.
    pub(crate) fn committed(&self, commands: usize, durations: PhaseDurations) {
        self.batch_commands.record(commands as u64);
        let phases = [&self.read, &self.judge, &self.write, &self.commit];
        let PhaseDurations {
            read,
            judge,
            write,
            commit,
        } = durations;
        for (phase, duration) in phases.into_iter().zip([read, judge, write, commit]) {
            phase.record(duration.as_secs_f64());
        }
    }

    /// Counts a batch that is tried again.
    pub(crate) fn retried(&self, cause: RetryCause) {
        self.retries[cause as usize].add(1);
    }
}

/// Serves what the queue has, as `read` finds it.
pub(crate) fn watch_queue<T: Send + Sync + 'static>(
    queue: &Arc<T>,
    limit: usize,
    read: fn(&T) -> QueueState,
) {
    LazyLock::force(&COUNTERS);
    LANES.read_of(&[], queue, move |queue| read(queue).lanes as f64);
    WAITING.read_of(&[], queue, move |queue| read(queue).waiting as f64);
    WAITING_LIMIT.read_of(&[], queue, move |_| limit as f64);
    PARKED.read_of(&[], queue, move |queue| read(queue).parked as f64);
    BATCHES.read_of(&[], queue, move |queue| read(queue).batches as f64);
}

/// Serves how many writers there are, and have a connection.
pub(crate) fn watch_writers<T: Send + Sync + 'static>(
    writers: &Arc<T>,
    configured: usize,
    connected: fn(&T) -> usize,
) {
    CONFIGURED.read_of(&[], writers, move |_| configured as f64);
    CONNECTED.read_of(&[], writers, move |writers| connected(writers) as f64);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_cause_has_the_counter_at_its_number() {
        for (place, cause) in RetryCause::ALL.into_iter().enumerate() {
            assert_eq!(cause as usize, place, "{cause:?}");
        }
    }
}
