//! The writer's connection: made when needed, made anew when lost.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_util::task::AbortOnDropHandle;

use crate::db::connect::Connector;
use crate::ledger::store::Store;
use crate::ledger::writer::attempt::Doubt;
use crate::ledger::writer::jitter;
use crate::ledger::writer::outage::OutageClock;
use crate::limits::LEDGER_ROUND_TRIP_MAX;

/// How long to ask what became of a transaction: its locks are gone when the server notices the lost connection.
const DOUBT_PATIENCE: Duration = Duration::from_secs(15);
const BACK_OFF_MAX: Duration = Duration::from_millis(500);

pub(super) struct Link {
    connector: Connector,
    clock: Arc<OutageClock>,
    store: Option<Store>,
    /// Goes on while nobody waits for it, so that an outage ends as soon as it can.
    connecting: Option<AbortOnDropHandle<Store>>,
}

impl Link {
    /// Begins to connect: the first command need not wait for it.
    pub(super) fn new(connector: Connector, clock: Arc<OutageClock>) -> Self {
        let mut link = Self {
            connector,
            clock,
            store: None,
            connecting: None,
        };
        link.begin();
        link
    }

    fn begin(&mut self) {
        let work = connect(self.connector.clone());
        self.connecting = Some(AbortOnDropHandle::new(tokio::spawn(work)));
    }

    /// The prepared connection; `None` if there is none to be had before `until`.
    pub(super) async fn store(&mut self, until: Instant) -> Option<&Store> {
        if self.store.as_ref().is_some_and(Store::is_closed) {
            self.store = None;
        }
        if self.store.is_none() {
            self.clock.disconnected();
            if self.connecting.is_none() {
                self.begin();
            }
            let connected = timeout_at(until, self.connecting.as_mut()?).await.ok()?;
            self.connecting = None;
            self.store = connected.ok();
            if self.store.is_some() {
                self.clock.connected();
            }
        }
        self.store.as_ref()
    }

    /// Gives the connection up.
    pub(super) fn drop_store(&mut self) {
        self.store = None;
    }

    /// Whether a transaction whose COMMIT was not answered is on disk; `None` if that could not be learnt in time.
    pub(super) async fn resolve(&mut self, doubt: &Doubt) -> Option<bool> {
        let Some(proof) = &doubt.proof else {
            // Nothing was to be written: what was read is as true as ever.
            return Some(true);
        };
        let until = Instant::now() + DOUBT_PATIENCE;
        let clock = Arc::clone(&self.clock);
        while let Some(store) = self.store(until).await {
            clock.sent();
            let asked = timeout_at(until, store.was_written(&doubt.owners, proof)).await;
            match asked {
                Ok(Ok(was_written)) => {
                    clock.answered();
                    return Some(was_written);
                }
                Err(_) => {
                    // It is in the middle of a transaction.
                    self.drop_store();
                    return None;
                }
                Ok(Err(error)) => {
                    tracing::warn!(%error, "cannot learn what became of a transaction yet");
                    self.drop_store();
                }
            }
        }
        None
    }
}

/// Tries until it succeeds, with back-off and jitter.
async fn connect(connector: Connector) -> Store {
    let mut back_off = Duration::from_millis(20);
    loop {
        let failed = match connector.connect().await {
            Ok((client, _)) => match timeout(LEDGER_ROUND_TRIP_MAX, Store::prepare(client)).await {
                Ok(Ok(store)) => return store,
                Ok(Err(error)) => error.to_string(),
                Err(_) => "no answer while its statements were prepared".into(),
            },
            Err(error) => error.to_string(),
        };
        tracing::warn!(error = failed, "a writer has no database connection");
        sleep(jitter(back_off)).await;
        back_off = (back_off * 2).min(BACK_OFF_MAX);
    }
}
