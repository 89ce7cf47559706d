//! A writer's connection to the database, which is replaced when it is lost.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::db::connect::Connector;
use crate::db::error_text::text_of;
use crate::db::log;
use crate::db::pg_error::DbError;
use crate::ledger::engine::attempt::Doubt;
use crate::ledger::engine::connected::ConnectedWriters;
use crate::ledger::engine::durations::jitter;
use crate::ledger::engine::outage::OutageClock;
use crate::ledger::engine::store::Store;
use crate::limits::LEDGER_ROUND_TRIP_MAX;
use crate::metrics::database;

/// The time spent to find out whether a transaction was committed: its locks are released when the server notices that
/// the connection is lost.
const DOUBT_PATIENCE: Duration = Duration::from_secs(15);
const BACK_OFF_MAX: Duration = Duration::from_millis(500);
/// The pause before another connection is made where sessions are read-only.
const READ_ONLY_PAUSE: Duration = Duration::from_secs(1);
/// The time between two checks whether an idle connection still answers.
const IDLE_CHECK_INTERVAL: Duration = Duration::from_secs(5);
/// How long such a check may take; after that the connection is made anew.
const IDLE_CHECK_MAX: Duration = Duration::from_secs(2);
/// Longer than any connection is waited for while nothing is to be done.
const NO_HURRY: Duration = Duration::from_secs(3600);

pub(super) struct WriterConnection {
    connector: Connector,
    clock: Arc<OutageClock>,
    connected: ConnectedWriters,
    current: Option<OpenStore>,
    /// It goes on while nothing waits for it, so that an outage ends as early as possible.
    connecting: Option<AbortOnDropHandle<OpenStore>>,
    /// Whether the last connection that was made could not write.
    is_read_only: watch::Sender<bool>,
}

/// A connection with its prepared statements.
struct OpenStore {
    store: Store,
    /// Cancelled when the connection is lost.
    lost: CancellationToken,
}

impl WriterConnection {
    /// Connects when it is first used, or [kept](Self::keep).
    pub(super) fn new(
        connector: Connector,
        clock: Arc<OutageClock>,
        connected: ConnectedWriters,
    ) -> Self {
        Self {
            connector,
            clock,
            connected,
            current: None,
            connecting: None,
            is_read_only: watch::Sender::default(),
        }
    }

    fn begin(&mut self) -> &mut AbortOnDropHandle<OpenStore> {
        self.connecting.get_or_insert_with(|| {
            let attempt = ConnectAttempt {
                connector: self.connector.clone(),
                connected: self.connected.clone(),
                is_read_only: self.is_read_only.clone(),
            };
            AbortOnDropHandle::new(tokio::spawn(attempt.until_connected()))
        })
    }

    /// Connects whenever there is no connection, for as long as this is polled.
    pub(super) async fn keep(&mut self) -> Infallible {
        loop {
            let is_ready = self.is_ready(Instant::now() + NO_HURRY).await;
            match &self.current {
                Some(current) if is_ready => {
                    tokio::select! {
                        () = current.lost.cancelled() => {}
                        () = until_unanswered(&current.store) => self.current = None,
                    }
                }
                // The next connection is being made.
                _ => sleep(BACK_OFF_MAX).await,
            }
        }
    }

    /// Whether there is a connection with its prepared statements, or will be before `until`. False at once if there is none
    /// because connections cannot write.
    pub(super) async fn is_ready(&mut self, until: Instant) -> bool {
        if self.ready().is_some_and(Store::is_closed) {
            self.current = None;
        }
        if self.current.is_none() {
            self.clock.disconnected();
            let mut read_only = self.is_read_only.subscribe();
            let connected = tokio::select! {
                biased;
                connected = timeout_at(until, self.begin()) => connected,
                _ = read_only.wait_for(|is_read_only| *is_read_only) => return false,
            };
            let Ok(connected) = connected else {
                return false;
            };
            self.connecting = None;
            self.current = connected.ok();
            if self.current.is_some() {
                self.clock.connected();
            }
        }
        self.current.is_some()
    }

    /// Whether there is no connection because those that can be made cannot write.
    pub(super) fn is_refused(&self) -> bool {
        self.current.is_none() && *self.is_read_only.borrow()
    }

    /// The connection, if there is one.
    pub(super) fn ready(&self) -> Option<&Store> {
        self.current.as_ref().map(|current| &current.store)
    }

    /// Closes the connection, so that the next use makes a new one. If the database had stopped answering, the time without
    /// a connection counts from then on: nobody waits for [`OUTAGE_PATIENCE`](crate::limits::OUTAGE_PATIENCE) once more.
    pub(super) fn drop_store(&mut self) {
        self.current = None;
        self.clock.disconnected();
    }

    /// Whether a transaction whose COMMIT was not answered was committed; `None` if that could not be found out in time.
    pub(super) async fn resolve(&mut self, doubt: &Doubt) -> Option<bool> {
        let Some(proof) = &doubt.proof else {
            // It wrote nothing, so its replies hold either way.
            return Some(true);
        };
        let until = Instant::now() + DOUBT_PATIENCE;
        let clock = Arc::clone(&self.clock);
        while self.is_ready(until).await
            && let Some(store) = self.ready()
        {
            clock.sent();
            match timeout_at(until, store.was_committed(&doubt.owners, proof)).await {
                Ok(Ok(was_committed)) => {
                    clock.answered();
                    return Some(was_committed);
                }
                Err(_) => {
                    // The connection is in the middle of a transaction.
                    self.drop_store();
                    return None;
                }
                Ok(Err(error)) => {
                    let what = "cannot find out yet whether a transaction was committed";
                    log::warn(self.connector.address(), what, &text_of(&error));
                    self.drop_store();
                }
            }
        }
        None
    }
}

/// Returns once an idle connection does not answer any more, though nobody has closed it.
async fn until_unanswered(store: &Store) {
    loop {
        sleep(IDLE_CHECK_INTERVAL).await;
        if !matches!(timeout(IDLE_CHECK_MAX, store.ping()).await, Ok(Ok(()))) {
            return;
        }
    }
}

/// What it takes to make a connection.
struct ConnectAttempt {
    connector: Connector,
    connected: ConnectedWriters,
    is_read_only: watch::Sender<bool>,
}

/// Why a connection cannot be used.
enum Unusable {
    /// The reason, for the log.
    Failed(String),
    /// There are no tables, or not all: migrations are missing, which the monitor of the database reports.
    NoTables,
    ReadOnly,
}

impl ConnectAttempt {
    /// Connects, and tries again with back-off and jitter until that succeeds.
    async fn until_connected(self) -> OpenStore {
        let mut back_off = Duration::from_millis(20);
        loop {
            let unusable = match self.connect().await {
                Ok(open) => {
                    self.set_read_only(false);
                    return open;
                }
                Err(unusable) => unusable,
            };
            let is_read_only = matches!(unusable, Unusable::ReadOnly);
            self.set_read_only(is_read_only);
            if let Unusable::Failed(error) = unusable {
                database::connect_failed();
                let what = "a writer has no database connection";
                log::warn(self.connector.address(), what, &error);
            }
            let pause = if is_read_only {
                READ_ONLY_PAUSE
            } else {
                back_off
            };
            sleep(jitter(pause)).await;
            back_off = (back_off * 2).min(BACK_OFF_MAX);
        }
    }

    fn set_read_only(&self, is_read_only: bool) {
        if self.is_read_only.send_replace(is_read_only) != is_read_only {
            self.connected.set_read_only(is_read_only);
        }
    }

    async fn connect(&self) -> Result<OpenStore, Unusable> {
        let connected = self.connector.connect().await;
        let (client, driver) = connected.map_err(|error| Unusable::Failed(error.to_string()))?;
        let preparing = async {
            let store = Store::prepare(client).await?;
            let can_write = store.can_write().await?;
            Ok((store, can_write))
        };
        let (store, can_write) = match timeout(LEDGER_ROUND_TRIP_MAX, preparing).await {
            Ok(prepared) => prepared.map_err(|error| match DbError::from(&error) {
                DbError::MissingTable => Unusable::NoTables,
                _ => Unusable::Failed(text_of(&error)),
            })?,
            Err(_) => {
                let text = "no answer while its statements were prepared";
                return Err(Unusable::Failed(text.into()));
            }
        };
        if !can_write {
            return Err(Unusable::ReadOnly);
        }
        let lost = CancellationToken::new();
        let (counted, noticed) = (self.connected.count(), lost.clone());
        tokio::spawn(async move {
            _ = driver.await;
            drop(counted);
            noticed.cancel();
        });
        Ok(OpenStore { store, lost })
    }
}
