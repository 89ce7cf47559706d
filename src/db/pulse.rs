//! Whether the database answers anybody. A statement that takes long says nothing about that; an answer to any other
//! statement does, and so does a probe by a new connection.

use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::{Either, select};
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use crate::db::connect::{ConnectError, Connector};
use crate::limits::{DB_ANSWER_AGE_MAX, DB_PROBE_MAX, DB_SILENCE_CHECK, DB_SILENCE_MAX};

/// The SQLSTATE of a server that refuses a connection because it has as many as it may have.
const TOO_MANY_CONNECTIONS: &str = "53300";
/// The interval at which those who wait for a probe look whether somebody else got an answer.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);

/// When the database last answered a statement or a probe of this process. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Pulse(Arc<PulseState>);

#[derive(Debug)]
struct PulseState {
    connector: Connector,
    epoch: Instant,
    /// Microseconds since the epoch.
    last_answer: AtomicU64,
    /// The probe under way, whose channel closes when it ends.
    probe: Mutex<Option<watch::Receiver<()>>>,
}

/// What became of statements that were waited for.
pub(super) enum Watched<T> {
    Done(T),
    /// The database answers nobody.
    Silent,
    /// Their time is over, while the database answers others.
    TooLong,
}

impl Pulse {
    /// A first answer now, and probes by this connector.
    pub fn new(connector: Connector) -> Self {
        Self(Arc::new(PulseState {
            connector,
            epoch: Instant::now(),
            last_answer: AtomicU64::new(0),
            probe: Mutex::new(None),
        }))
    }

    /// Records an answer, which may also be an error that the database reports.
    pub fn note(&self) {
        let micros = self.0.epoch.elapsed().as_micros();
        let micros = u64::try_from(micros).unwrap_or(u64::MAX);
        self.0.last_answer.store(micros, Ordering::Relaxed);
    }

    /// Whether the database has answered anybody within [`DB_ANSWER_AGE_MAX`], or answers a probe or anybody else within
    /// [`DB_PROBE_MAX`]. Callers at the same time share one probe.
    pub async fn beats(&self) -> bool {
        let asked = Instant::now();
        let since = asked
            .checked_sub(DB_ANSWER_AGE_MAX)
            .unwrap_or(self.0.epoch)
            .max(self.0.epoch);
        let patience = asked + DB_PROBE_MAX;
        if self.has_answered_since(since) {
            return true;
        }
        let (mut probe, mut is_fresh) = self.probe();
        loop {
            let look = patience.min(Instant::now() + LOOK_INTERVAL);
            let is_over = timeout_at(look, probe.changed()).await.is_ok();
            if self.has_answered_since(since) {
                return true;
            }
            if Instant::now() >= patience || (is_over && is_fresh) {
                return false;
            }
            if is_over {
                // Somebody else's probe, which began earlier.
                (probe, is_fresh) = self.probe();
            }
        }
    }

    /// Whether the database has answered nobody for [`DB_SILENCE_MAX`]. Where nobody asks, that is no sign of anything.
    pub(super) fn is_silent(&self) -> bool {
        Instant::now()
            .checked_sub(DB_SILENCE_MAX)
            .is_some_and(|since| since > self.0.epoch && !self.has_answered_since(since))
    }

    /// Waits for statements that have `begun` until `end`, and no longer than the database answers somebody. That they take long is no sign
    /// that it does not answer.
    pub(super) async fn watch<T>(
        &self,
        begun: Instant,
        end: Instant,
        work: impl Future<Output = T>,
    ) -> Watched<T> {
        let mut work = pin!(work);
        let mut look = end.min(begun + DB_SILENCE_MAX);
        loop {
            if let Ok(done) = timeout_at(look, &mut work).await {
                return Watched::Done(done);
            }
            match select(&mut work, pin!(self.beats())).await {
                Either::Left((done, _)) => return Watched::Done(done),
                Either::Right((false, _)) => return Watched::Silent,
                Either::Right((true, _)) if Instant::now() >= end => return Watched::TooLong,
                Either::Right((true, _)) => look = end.min(Instant::now() + DB_SILENCE_CHECK),
            }
        }
    }

    fn has_answered_since(&self, since: Instant) -> bool {
        let micros = self.0.last_answer.load(Ordering::Relaxed);
        self.0.epoch + Duration::from_micros(micros) >= since
    }

    /// The probe that is under way, or else a new one; whether it is new.
    fn probe(&self) -> (watch::Receiver<()>, bool) {
        let mut under_way = self.0.probe.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(probe) = under_way.as_ref()
            && probe.has_changed().is_ok()
        {
            return (probe.clone(), false);
        }
        let (running, probe) = watch::channel(());
        *under_way = Some(probe.clone());
        let pulse = self.clone();
        tokio::spawn(async move {
            if is_answered(&pulse.0.connector).await {
                pulse.note();
            }
            drop(running);
        });
        (probe, true)
    }
}

/// Whether the database answers a new connection, of which the session's settings are the first statement. Takes at most
/// as long as a connection may take to be made.
pub async fn is_answered(connector: &Connector) -> bool {
    match connector.connect().await {
        Ok(_) => true,
        // A server that has no connection to spare has answered all the same.
        Err(ConnectError::Postgres(error)) => error
            .code()
            .is_some_and(|code| code.code() == TOO_MANY_CONNECTIONS),
        Err(_) => false,
    }
}
