//! A pool of connections for reads and for writes outside of the ledger. The ledger's writers have their own
//! connections.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use diesel_async::AsyncPgConnection;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use crate::db::connect::Connector;
use crate::db::pool_connection::PoolConnector;
use crate::db::pulse::Pulse;
use crate::db::settle::{Loan, Unsettled, settle};
use crate::db::statement_spans;
use crate::error::{Error, Outcome, Result};
use crate::limits::{
    DB_CHECKOUT_MAX, DB_CHECKOUTS_WAITING_MAX, DB_STATEMENT_GRACE, DB_STATEMENT_MAX,
};
use crate::metrics::lanes::{DatabaseLane, LaneCounters, LaneState};
use crate::trace;
use crate::turns::{ShareOfTurns, TooManyWait, Turns};
use crate::types::principal::Principal;
use crate::types::read_class::ReadClass;

/// A pool of connections to one database, used on behalf of a principal. Cheap to clone.
#[derive(Clone)]
pub struct Pool {
    lane: Arc<PoolLane>,
    principal: Principal,
}

/// What all clones of a pool share.
struct PoolLane {
    connections: bb8::Pool<PoolConnector>,
    /// One turn for each connection. bb8 alone gives a connection that was returned to whoever asks next, so a caller
    /// with many calls would have them all, and some of many callers would wait until they time out.
    turns: Turns<Principal>,
    connector: Connector,
    pulse: Pulse,
    checkout_timeout: Duration,
    read_limit: Option<ReadLimit>,
    hedge_after: Option<Duration>,
    /// Connections that were made before are not used any more.
    oldest: watch::Sender<Option<Instant>>,
    /// The number of connections, one for each turn.
    places: usize,
    /// Once it is known what lane the pool serves.
    counters: OnceLock<&'static LaneCounters>,
}

impl PoolLane {
    fn state(&self) -> LaneState {
        let pool = self.connections.state();
        let count = |connections| usize::try_from(connections).unwrap_or(usize::MAX);
        LaneState {
            waiting: self.turns.waiting(),
            in_use: self.places - self.turns.free(),
            limit: self.places,
            idle_connections: count(pool.idle_connections),
            used_connections: count(pool.connections.saturating_sub(pool.idle_connections)),
        }
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool")
            .field("principal", &self.principal)
            .field("read_limit", &self.lane.read_limit)
            .finish_non_exhaustive()
    }
}

/// The class of the reads of a pool, and how long each may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadLimit {
    /// Stands in the error of a read that takes longer.
    pub class: ReadClass,
    /// How long a read may take, its wait for a connection included.
    pub max: Duration,
}

/// A connection of the pool, which gets it back on drop. It counts as in use until [`Pooled::settled`] is called: dropped
/// before, its statement is cancelled, and the pool gets it back once it has answered. Inside a transaction it is closed.
pub struct Pooled {
    /// There until this is dropped.
    loan: Option<Loan>,
    lane: Arc<PoolLane>,
    state: Unsettled,
    /// Whether its statements have spans.
    is_traced: bool,
}

impl Pooled {
    /// Declares that everything sent has been answered, so that the next caller can have the connection at once.
    pub fn settled(mut self) {
        self.lane.pulse.note();
        if let Some(loan) = &mut self.loan {
            loan.connection.is_idle = true;
        }
    }

    /// Declares that a statement failed, so that there is most likely nothing to cancel.
    pub(super) fn failed(mut self) {
        self.state = Unsettled::Failed;
    }

    /// Declares that COMMIT is sent next, which is not to be cancelled.
    pub(super) fn committing(&mut self) {
        self.state = Unsettled::Committing;
    }

    /// Whether its statement may have been ended by a cancellation that was meant for the one before.
    pub(super) fn may_be_cancelled_late(&self) -> bool {
        self.loan().connection.may_be_cancelled_late()
    }

    /// When the connection was made.
    pub(super) fn made(&self) -> Instant {
        self.loan().connection.made
    }

    fn loan(&self) -> &Loan {
        self.loan.as_ref().expect("it is taken on drop only")
    }
}

impl Deref for Pooled {
    type Target = AsyncPgConnection;

    fn deref(&self) -> &AsyncPgConnection {
        &self.loan().connection.client
    }
}

impl DerefMut for Pooled {
    fn deref_mut(&mut self) -> &mut AsyncPgConnection {
        let loan = self.loan.as_mut().expect("it is taken on drop only");
        &mut loan.connection.client
    }
}

impl Drop for Pooled {
    fn drop(&mut self) {
        let Some(mut loan) = self.loan.take() else {
            return;
        };
        let connection = &mut loan.connection;
        if self.is_traced {
            statement_spans::stop(&mut connection.client);
        }
        if connection.is_idle {
            return;
        }
        let (connector, pulse) = (self.lane.connector.clone(), self.lane.pulse.clone());
        // Without a runtime there is nobody to wait, and the pool closes it.
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(settle(loan, self.state, connector, pulse));
        }
    }
}

/// The size of a pool, the age of its connections, and what its reads are.
#[derive(Clone, Debug)]
pub struct PoolSettings {
    /// The number of connections that the pool opens at most. With too few, calls wait; each takes
    /// a process of Postgres.
    pub max_size: u32,
    /// The number of connections that stay open though idle, so that a burst of calls does not wait for new ones.
    pub min_idle: u32,
    /// The age at which a connection is replaced, and with it prepared statements that a migration has made invalid.
    pub max_lifetime: Duration,
    /// How long a connection may be idle before it is closed, as long as `min_idle` remain.
    pub idle_timeout: Duration,
    /// How long a call waits for a connection before it fails.
    pub checkout_timeout: Duration,
    /// How much of the pool a principal may have.
    pub share: ShareOfTurns,
    /// How long its reads may take; without it as long as a call.
    pub read_limit: Option<ReadLimit>,
    /// How long a read waits before it is sent by a second connection as well, so that one process of Postgres that
    /// stands still delays nobody. For short reads only: it doubles their work when the database is slow.
    pub hedge_after: Option<Duration>,
}

impl Default for PoolSettings {
    fn default() -> Self {
        Self {
            max_size: 16,
            min_idle: 1,
            max_lifetime: Duration::from_secs(30 * 60),
            idle_timeout: Duration::from_secs(10 * 60),
            checkout_timeout: DB_CHECKOUT_MAX,
            share: ShareOfTurns::Fair,
            read_limit: None,
            hedge_after: None,
        }
    }
}

/// Makes a pool with a pulse of its own, as [`open_with`] does.
pub fn open(connector: Connector, settings: &PoolSettings) -> Pool {
    let pulse = Pulse::new(connector.clone());
    open_with(connector, settings, pulse)
}

/// Makes a pool, which connects in the background: a database that cannot be reached yet is no error. It is used on behalf
/// of the server until [`Pool::on_behalf_of`] names somebody else.
///
/// Must be called within a tokio runtime.
pub fn open_with(connector: Connector, settings: &PoolSettings, pulse: Pulse) -> Pool {
    let limit = settings
        .read_limit
        .map(|limit| limit.max + DB_STATEMENT_GRACE);
    let connector = connector.adjusted(|session| {
        // Zero is no limit.
        let longest = match session.statement_timeout {
            Duration::ZERO => Duration::MAX,
            longest => longest,
        };
        if let Some(limit) = limit.filter(|limit| *limit < longest) {
            session.statement_timeout = limit;
        }
    });
    let connections = bb8::Pool::builder()
        .max_size(settings.max_size)
        .min_idle(settings.min_idle.min(settings.max_size))
        .max_lifetime(settings.max_lifetime)
        .idle_timeout(settings.idle_timeout)
        .connection_timeout(settings.checkout_timeout)
        .test_on_check_out(false)
        .build_unchecked(PoolConnector {
            connector: connector.clone(),
            pulse: pulse.clone(),
        });
    let places = usize::try_from(settings.max_size).unwrap_or(usize::MAX);
    let lane = PoolLane {
        connections,
        turns: Turns::new(places, settings.share, DB_CHECKOUTS_WAITING_MAX),
        connector,
        pulse,
        checkout_timeout: settings.checkout_timeout,
        read_limit: settings.read_limit,
        hedge_after: settings.hedge_after,
        oldest: watch::Sender::default(),
        places,
        counters: OnceLock::new(),
    };
    Pool {
        lane: Arc::new(lane),
        principal: Principal::Server,
    }
}

impl Pool {
    /// The same pool, used on behalf of this principal: its calls take turns with those of others.
    #[must_use]
    pub fn on_behalf_of(&self, principal: Principal) -> Self {
        Self {
            lane: Arc::clone(&self.lane),
            principal,
        }
    }

    /// Counts what waits and what is refused here as that of this lane. Reads by id wait in a queue of their own, which counts
    /// them, before they come here.
    #[must_use]
    pub(super) fn counted_as(self, lane: DatabaseLane) -> Self {
        lane.watch(&self.lane, PoolLane::state);
        if lane != DatabaseLane::ById {
            _ = self.lane.counters.set(lane.counters());
        }
        self
    }

    /// The error of a call that has waited too long, or may not even wait.
    pub(super) fn overloaded(&self) -> Error {
        if let Some(counters) = self.lane.counters.get() {
            counters.refused();
        }
        Error::Overloaded
    }

    /// Whether the database answers anybody.
    pub(super) fn pulse(&self) -> &Pulse {
        &self.lane.pulse
    }

    /// The servers and the name of the database, for logs.
    pub(super) fn database(&self) -> &str {
        self.lane.connector.address()
    }

    /// Has no connection used again that was made before now: others may be in the state that one of them was found in.
    pub(super) fn renew(&self) {
        self.lane.oldest.send_replace(Some(Instant::now()));
    }

    /// How long a call waits for a connection, as in [`PoolSettings::checkout_timeout`].
    pub(super) fn checkout_timeout(&self) -> Duration {
        self.lane.checkout_timeout
    }

    /// How long a read may take, its wait for a connection included.
    pub(super) fn read_max(&self) -> Duration {
        let limit = self.lane.read_limit;
        limit.map_or(DB_STATEMENT_MAX, |limit| limit.max)
    }

    /// The error of a read that has taken longer than that, while the database answered others.
    pub(super) fn too_long(&self) -> Error {
        match self.lane.read_limit {
            Some(ReadLimit { class, max: limit }) => Error::ReadTooLong { class, limit },
            None => Error::DatabaseUnavailable(Outcome::NotApplied),
        }
    }

    /// How long a read waits before a second connection is used, as in [`PoolSettings::hedge_after`].
    pub(super) fn hedge_after(&self) -> Option<Duration> {
        self.lane.hedge_after
    }
}

/// Takes a connection from the pool when it is the principal's turn, but none that is already known to be dead.
///
/// # Errors
/// After [`PoolSettings::checkout_timeout`] [`Error::Overloaded`] if all connections are in use, or
/// [`Error::DatabaseUnavailable`] if none can be made or the database answers nobody. [`Error::Overloaded`] at once if
/// [`DB_CHECKOUTS_WAITING_MAX`] calls of the principal wait.
pub async fn checkout(pool: &Pool) -> Result<Pooled> {
    let has_turn = AtomicBool::new(false);
    match timeout(pool.lane.checkout_timeout, find(pool, &has_turn, None)).await {
        Ok(Ok(Some(connection))) => Ok(connection),
        Ok(Err(TooManyWait)) => Err(too_many_wait(pool)),
        Err(_) if !has_turn.load(Ordering::Relaxed) && pool.lane.pulse.beats().await => {
            Err(pool.overloaded())
        }
        // With its turn, the call was waiting for a connection to be made.
        Ok(Ok(None)) | Err(_) => Err(Error::DatabaseUnavailable(Outcome::NotApplied)),
    }
}

/// The same without a bound on the wait for the principal's turn, which the caller has to set. `has_turn` becomes true
/// once that wait is over. With `made_after` it is a connection that was made later; older ones that nobody uses are closed.
pub(super) async fn turn(
    pool: &Pool,
    has_turn: &AtomicBool,
    made_after: Option<Instant>,
) -> Result<Pooled> {
    match find(pool, has_turn, made_after).await {
        Ok(Some(connection)) => Ok(connection),
        Ok(None) => Err(Error::DatabaseUnavailable(Outcome::NotApplied)),
        Err(TooManyWait) => Err(too_many_wait(pool)),
    }
}

/// The error of a call that may not even wait: many wait because the database answers nobody, or because many call.
fn too_many_wait(pool: &Pool) -> Error {
    if pool.lane.pulse.is_silent() {
        Error::DatabaseUnavailable(Outcome::NotApplied)
    } else {
        pool.overloaded()
    }
}

async fn find(
    pool: &Pool,
    has_turn: &AtomicBool,
    made_after: Option<Instant>,
) -> Result<Option<Pooled>, TooManyWait> {
    let lane = &pool.lane;
    let counted = lane
        .counters
        .get()
        .map(|counters| (counters, Instant::now()));
    let turn = lane.turns.take(pool.principal).await?;
    has_turn.store(true, Ordering::Relaxed);
    loop {
        let Ok(mut connection) = lane.connections.get_owned().await else {
            return Ok(None);
        };
        // After a restart of Postgres the pool is full of dead connections; dropping one closes it
        // without a round trip.
        let oldest = (*lane.oldest.borrow()).max(made_after);
        let is_too_old = oldest.is_some_and(|oldest| connection.made < oldest);
        if connection.is_broken() || is_too_old {
            connection.is_idle = false;
            continue;
        }
        connection.is_idle = false;
        let traced = trace::current();
        let is_traced = traced.is_some();
        if let Some(span) = traced {
            statement_spans::start(&mut connection.client, span);
        }
        if let Some((counters, begun)) = counted {
            counters.waited(begun.elapsed());
        }
        return Ok(Some(Pooled {
            is_traced,
            loan: Some(Loan { connection, turn }),
            lane: Arc::clone(lane),
            state: Unsettled::Abandoned,
        }));
    }
}
