//! Looks at the state of the database all the time: whether it answers, takes writes, and has the schema that this version
//! needs. Health and the server's refusals come from it. It depends on none of the pools: it has a connection of its own.

use std::collections::BTreeSet;
use std::pin::pin;
use std::sync::Arc;

use futures_util::future::{Either, select};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};
use tokio_postgres::{Client, SimpleQueryMessage};
use tokio_util::task::AbortOnDropHandle;

use crate::db::connect::{ConnectError, Connector};
use crate::db::{log, migrate};
use crate::error::SchemaVersions;
use crate::limits::{DB_LOOK_INTERVAL, DB_LOOK_MAX, DB_RENEW_PAUSE, HEALTH_HEDGE_AFTER};
use crate::metrics::database::{self, DatabaseHealth};

/// What was found at the last look.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum DatabaseState {
    /// Nobody has looked yet.
    #[default]
    Unknown,
    /// Neither the connection at hand nor a new one was answered in time.
    Silent,
    /// The connection at hand or a new one was answered.
    Answers {
        /// Whether new sessions cannot write: it is a standby, or its administrator has made it read-only.
        is_read_only: bool,
        /// What it lacks; `None` if it has every migration of this version, and maybe newer ones.
        outdated: Option<SchemaVersions>,
    },
}

impl DatabaseState {
    /// For the metrics; `None` if nobody has looked yet.
    fn health(&self) -> Option<DatabaseHealth> {
        let (answers, is_read_only, is_outdated) = match self {
            Self::Unknown => return None,
            Self::Silent => (false, false, false),
            Self::Answers {
                is_read_only,
                outdated,
            } => (true, *is_read_only, outdated.is_some()),
        };
        Some(DatabaseHealth {
            answers,
            is_read_only,
            is_outdated,
        })
    }
}

/// Looks until it is dropped. Clones share one task.
#[derive(Clone, Debug)]
pub struct Monitor {
    state: watch::Receiver<DatabaseState>,
    _task: Arc<AbortOnDropHandle<()>>,
}

impl Monitor {
    /// Begins to look. Must be called within a tokio runtime.
    pub fn start(connector: Connector) -> Self {
        let (found, state) = watch::channel(DatabaseState::default());
        let seen = state.clone();
        database::watch(move || {
            let is_looking = seen.has_changed().is_ok();
            seen.borrow().health().filter(|_| is_looking)
        });
        let task = tokio::spawn(Lookout::new(connector).keep_looking(found));
        Self {
            state,
            _task: Arc::new(AbortOnDropHandle::new(task)),
        }
    }

    /// What was found at the last look.
    pub fn state(&self) -> DatabaseState {
        self.state.borrow().clone()
    }
}

/// What a session answers.
struct SessionAnswer {
    is_read_only: bool,
    applied: BTreeSet<String>,
}

/// A connection that is used for nothing else.
struct LookoutSession {
    client: Client,
    made: Instant,
    _driver: AbortOnDropHandle<()>,
}

struct Lookout {
    connector: Connector,
    session: Option<LookoutSession>,
    /// The attempt to make another connection, which may take longer than a look.
    connecting: Option<JoinHandle<Result<LookoutSession, ConnectError>>>,
    /// Why the last attempt or question failed.
    failure: String,
}

impl Drop for Lookout {
    fn drop(&mut self) {
        if let Some(connecting) = &self.connecting {
            connecting.abort();
        }
    }
}

impl Lookout {
    fn new(connector: Connector) -> Self {
        Self {
            connector,
            session: None,
            connecting: None,
            failure: String::new(),
        }
    }

    async fn keep_looking(mut self, found: watch::Sender<DatabaseState>) {
        loop {
            let state = match timeout(DB_LOOK_MAX, self.look()).await {
                Ok(Some(answer)) => DatabaseState::Answers {
                    is_read_only: answer.is_read_only,
                    outdated: migrate::missing(&answer.applied),
                },
                Ok(None) => DatabaseState::Silent,
                Err(_) => {
                    self.failure = format!("no answer within {DB_LOOK_MAX:?}");
                    DatabaseState::Silent
                }
            };
            found.send_if_modified(|before| {
                let is_changed = *before != state;
                if is_changed {
                    self.report(&state);
                    *before = state;
                }
                is_changed
            });
            sleep(DB_LOOK_INTERVAL).await;
        }
    }

    /// One line for each change.
    fn report(&self, state: &DatabaseState) {
        let database = self.connector.address();
        match state {
            DatabaseState::Unknown => {}
            DatabaseState::Silent => {
                log::warn(database, "the database does not answer", &self.failure);
            }
            DatabaseState::Answers {
                outdated: Some(SchemaVersions { found, needed }),
                ..
            } => tracing::error!(
                database,
                schema_found = found.as_deref().unwrap_or("none"),
                schema_needed = needed,
                "the database's schema is outdated: run `earmark migrate`; until then calls end with SCHEMA_OUTDATED"
            ),
            DatabaseState::Answers {
                is_read_only: true, ..
            } => tracing::warn!(
                database,
                "the database takes no writes, only reads: it is a standby, or default_transaction_read_only is on"
            ),
            DatabaseState::Answers { .. } => {
                tracing::info!(database, "the database answers and takes writes");
            }
        }
    }

    /// Asks by the connection at hand, and if that does not answer soon by a new one as well.
    async fn look(&mut self) -> Option<SessionAnswer> {
        let Some(session) = self.session.take() else {
            return self.look_anew().await;
        };
        let mut first = pin!(ask(session));
        match timeout(HEALTH_HEDGE_AFTER, &mut first).await {
            Ok(Some(answered)) => return Some(self.keep(answered)),
            Ok(None) => return self.look_anew().await,
            Err(_) => {}
        }
        let answered = match select(first, pin!(self.look_anew())).await {
            Either::Right((Some(answer), _)) => return Some(answer),
            Either::Right((None, first)) => first.await,
            Either::Left((None, anew)) => return anew.await,
            Either::Left((answered, _)) => answered,
        };
        Some(self.keep(answered?))
    }

    async fn look_anew(&mut self) -> Option<SessionAnswer> {
        let connecting = self
            .connecting
            .get_or_insert_with(|| tokio::spawn(connect(self.connector.clone())));
        let connected = connecting.await;
        self.connecting = None;
        match connected {
            Ok(Ok(session)) => {
                let answered = ask(session).await?;
                Some(self.keep(answered))
            }
            Ok(Err(error)) => {
                self.failure = error.to_string();
                None
            }
            Err(_) => None,
        }
    }

    /// Keeps a connection that has answered. A session that was made read-only stays so, though new ones may not be.
    fn keep(&mut self, answered: (LookoutSession, SessionAnswer)) -> SessionAnswer {
        let (session, answer) = answered;
        if !(answer.is_read_only && session.made.elapsed() >= DB_RENEW_PAUSE) {
            self.session = Some(session);
        }
        answer
    }
}

async fn connect(connector: Connector) -> Result<LookoutSession, ConnectError> {
    let (client, driver) = connector.connect().await?;
    Ok(LookoutSession {
        client,
        made: Instant::now(),
        _driver: AbortOnDropHandle::new(driver),
    })
}

/// The last column is null if no migration was ever run. Without prepared statements, which a pooler might lose.
const STATE: &str = "SELECT pg_is_in_recovery() OR current_setting('transaction_read_only')::bool, \
                     to_regclass('__diesel_schema_migrations')";
const APPLIED: &str = "SELECT version FROM __diesel_schema_migrations";

async fn ask(session: LookoutSession) -> Option<(LookoutSession, SessionAnswer)> {
    let client = &session.client;
    let state = client.simple_query(STATE).await.ok()?;
    let state = state.iter().find_map(row)?;
    let is_read_only = state.first()?.as_deref() == Some("t");
    let mut applied = BTreeSet::new();
    if state.get(1)?.is_some() {
        let rows = client.simple_query(APPLIED).await.ok()?;
        applied.extend(
            rows.iter()
                .filter_map(row)
                .filter_map(|row| row.into_iter().next()?),
        );
    }
    Some((
        session,
        SessionAnswer {
            is_read_only,
            applied,
        },
    ))
}

/// The columns of a row, as texts.
fn row(message: &SimpleQueryMessage) -> Option<Vec<Option<String>>> {
    match message {
        SimpleQueryMessage::Row(row) => Some(
            (0..row.len())
                .map(|column| row.get(column).map(str::to_owned))
                .collect(),
        ),
        _ => None,
    }
}
