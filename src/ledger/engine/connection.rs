//! A writer's connection to the database, which is replaced when it is lost.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_util::task::AbortOnDropHandle;

use crate::db::connect::Connector;
use crate::ledger::engine::attempt::Doubt;
use crate::ledger::engine::durations::jitter;
use crate::ledger::engine::outage::OutageClock;
use crate::ledger::engine::store::Store;
use crate::limits::LEDGER_ROUND_TRIP_MAX;

/// The time spent to find out whether a transaction was committed: its locks are released when the server notices that
/// the connection is lost.
const DOUBT_PATIENCE: Duration = Duration::from_secs(15);
const BACK_OFF_MAX: Duration = Duration::from_millis(500);

pub(super) struct WriterConnection {
    connector: Connector,
    clock: Arc<OutageClock>,
    store: Option<Store>,
    /// It goes on while nothing waits for it, so that an outage ends as early as possible.
    connecting: Option<AbortOnDropHandle<Store>>,
}

impl WriterConnection {
    /// Begins to connect at once, before the first command.
    pub(super) fn new(connector: Connector, clock: Arc<OutageClock>) -> Self {
        let mut connection = Self {
            connector,
            clock,
            store: None,
            connecting: None,
        };
        connection.begin();
        connection
    }

    fn begin(&mut self) {
        let work = connect(self.connector.clone());
        self.connecting = Some(AbortOnDropHandle::new(tokio::spawn(work)));
    }

    /// Whether there is a connection with its prepared statements, or will be before `until`.
    pub(super) async fn is_ready(&mut self, until: Instant) -> bool {
        if self.store.as_ref().is_some_and(Store::is_closed) {
            self.store = None;
        }
        if self.store.is_none() {
            self.clock.disconnected();
            if self.connecting.is_none() {
                self.begin();
            }
            let Some(connecting) = self.connecting.as_mut() else {
                return false;
            };
            let Ok(connected) = timeout_at(until, connecting).await else {
                return false;
            };
            self.connecting = None;
            self.store = connected.ok();
            if self.store.is_some() {
                self.clock.connected();
            }
        }
        self.store.is_some()
    }

    /// The connection, if there is one.
    pub(super) fn ready(&self) -> Option<&Store> {
        self.store.as_ref()
    }

    /// Closes the connection, so that the next use makes a new one.
    pub(super) fn drop_store(&mut self) {
        self.store = None;
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
                    tracing::warn!(%error, "cannot find out yet whether a transaction was committed");
                    self.drop_store();
                }
            }
        }
        None
    }
}

/// Connects, and tries again with back-off and jitter until that succeeds.
async fn connect(connector: Connector) -> Store {
    let mut back_off = Duration::from_millis(20);
    loop {
        let failed = match connector.connect().await {
            Ok((client, _)) => {
                let prepare = Store::prepare(client);
                match timeout(LEDGER_ROUND_TRIP_MAX, prepare).await {
                    Ok(Ok(store)) => return store,
                    Ok(Err(error)) => error.to_string(),
                    Err(_) => "no answer while its statements were prepared".into(),
                }
            }
            Err(error) => error.to_string(),
        };
        tracing::warn!(error = failed, "a writer has no database connection");
        sleep(jitter(back_off)).await;
        back_off = (back_off * 2).min(BACK_OFF_MAX);
    }
}
