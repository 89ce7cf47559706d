//! Whether the database answers: a slow statement or a slow batch is not an outage.
//!
//! Each writer records when it began to wait for the database, and all writers together record when the database last
//! answered. The time without an answer counts from the later of the two: an answer to another writer ends it. Once it has
//! lasted for [`OUTAGE_PROBE_AFTER`], the writer probes the database by a new connection. Commands that wait are refused only
//! if the writer has no connection, or if the probe has no answer either.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::{Instant, timeout};
use tokio_util::task::AbortOnDropHandle;

use crate::db::connect::Connector;
use crate::db::pulse::is_answered;
use crate::ledger::engine::lanes::Queue;
use crate::limits::{OUTAGE_PATIENCE, OUTAGE_PROBE_AFTER, OUTAGE_PROBE_WAIT};

/// The interval at which a writer with a batch checks how long it has waited for the database.
const CHECK_INTERVAL: Duration = Duration::from_millis(250);

/// A moment that other threads may read, in microseconds since the process's writers were started; 0 for none.
#[derive(Debug)]
struct SharedMoment {
    epoch: Instant,
    micros: AtomicU64,
}

impl SharedMoment {
    fn none(epoch: Instant) -> Self {
        Self {
            epoch,
            micros: AtomicU64::new(0),
        }
    }

    fn set(&self, at: Instant) {
        let micros = at.saturating_duration_since(self.epoch).as_micros();
        let micros = u64::try_from(micros).unwrap_or(u64::MAX).max(1);
        self.micros.store(micros, Ordering::Relaxed);
    }

    fn clear(&self) {
        self.micros.store(0, Ordering::Relaxed);
    }

    fn get(&self) -> Option<Instant> {
        match self.micros.load(Ordering::Relaxed) {
            0 => None,
            micros => Some(self.epoch + Duration::from_micros(micros)),
        }
    }
}

/// The time at which the database last answered any writer of this process, or a probe; cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct LastAnswer(Arc<SharedMoment>);

impl LastAnswer {
    /// A first answer now.
    pub(super) fn new() -> Self {
        let now = Instant::now();
        let moment = SharedMoment::none(now);
        moment.set(now);
        Self(Arc::new(moment))
    }

    fn note(&self) {
        self.0.set(Instant::now());
    }

    fn later_than(&self, since: Instant) -> Instant {
        self.0.get().map_or(since, |answered| answered.max(since))
    }
}

/// Measures how long one writer has waited for the database.
#[derive(Debug)]
pub(super) struct OutageClock {
    connector: Connector,
    last_answer: LastAnswer,
    /// The time since which a round trip has had no answer.
    round_trip_since: SharedMoment,
    /// The time since which there has been no connection.
    disconnected_since: SharedMoment,
    /// The time since which neither a round trip nor the probes have had an answer, once that has lasted too long.
    unanswered_since: SharedMoment,
}

impl OutageClock {
    pub(super) fn new(connector: Connector, last_answer: LastAnswer) -> Self {
        let epoch = last_answer.0.epoch;
        Self {
            connector,
            last_answer,
            round_trip_since: SharedMoment::none(epoch),
            disconnected_since: SharedMoment::none(epoch),
            unanswered_since: SharedMoment::none(epoch),
        }
    }

    /// The servers and the name of the database, for logs.
    pub(super) fn database(&self) -> &str {
        self.connector.address()
    }

    /// Records that a round trip begins.
    pub(super) fn sent(&self) {
        self.round_trip_since.set(Instant::now());
    }

    /// Records that the round trip was answered, also if by an error.
    pub(super) fn answered(&self) {
        self.round_trip_since.clear();
        self.last_answer.note();
    }

    /// Records that there is no connection. If it was closed because the database had stopped answering, that counts from the moment
    /// at which it stopped.
    pub(super) fn disconnected(&self) {
        self.round_trip_since.clear();
        if self.disconnected_since.get().is_none() {
            let since = self.unanswered_since.get().unwrap_or_else(Instant::now);
            self.disconnected_since.set(since);
        }
    }

    /// Records that there is a connection.
    pub(super) fn connected(&self) {
        self.disconnected_since.clear();
        self.unanswered_since.clear();
        self.last_answer.note();
    }

    /// The time since which there has been no connection; now, if there may be one.
    pub(super) fn waits_since(&self) -> Instant {
        self.disconnected_since.get().unwrap_or_else(Instant::now)
    }

    /// Runs the writer's work on a batch. While the database does not answer, commands behind it are refused that have
    /// waited for as long as an outage may last: nothing of them was sent.
    pub(super) async fn while_watched(&self, queue: &Queue, work: impl Future<Output = ()>) {
        let mut work = pin!(work);
        let mut probing = Probing::default();
        // While the writer computes, or the process itself gets no processor, nothing is checked, and the probe's wait,
        // which is counted in checks, does not grow.
        while timeout(CHECK_INTERVAL, &mut work).await.is_err() {
            if self.is_outage(&mut probing) {
                queue.refuse_since(Instant::now() - OUTAGE_PATIENCE);
            }
        }
        self.unanswered_since.clear();
    }

    fn is_outage(&self, probing: &mut Probing) -> bool {
        if let Some(since) = self.disconnected_since.get() {
            *probing = Probing::default();
            return self.last_answer.later_than(since).elapsed() >= OUTAGE_PATIENCE;
        }
        let waiting_since = self.round_trip_since.get();
        let waiting_since = waiting_since.map(|since| self.last_answer.later_than(since));
        match waiting_since {
            Some(since) if since.elapsed() >= OUTAGE_PROBE_AFTER => {
                let is_outage = probing.checks * CHECK_INTERVAL >= OUTAGE_PROBE_WAIT;
                probing.check(&self.connector, &self.last_answer);
                if is_outage {
                    self.unanswered_since.set(since);
                }
                is_outage
            }
            _ => {
                *probing = Probing::default();
                self.unanswered_since.clear();
                false
            }
        }
    }
}

/// The probes during one wait, one at a time.
#[derive(Default)]
struct Probing {
    probe: Option<AbortOnDropHandle<()>>,
    /// The number of checks since the first probe began.
    checks: u32,
}

impl Probing {
    /// Begins a probe unless one is under way.
    fn check(&mut self, connector: &Connector, last_answer: &LastAnswer) {
        self.checks += 1;
        let is_over = self.probe.as_ref().is_none_or(|probe| probe.is_finished());
        if is_over {
            let work = probe(connector.clone(), last_answer.clone());
            self.probe = Some(AbortOnDropHandle::new(tokio::spawn(work)));
        }
    }
}

/// Asks the database by a new connection. An answer is noted.
async fn probe(connector: Connector, last_answer: LastAnswer) {
    if is_answered(&connector).await {
        last_answer.note();
    }
}
