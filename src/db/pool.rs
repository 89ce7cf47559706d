//! The pool of connections for reads and for the small writes; the ledger's writer has a connection of its own.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::time::Duration;

use diesel::ConnectionError;
use diesel_async::AsyncPgConnection;
use diesel_async::pooled_connection::bb8;
use diesel_async::pooled_connection::{
    AsyncDieselConnectionManager, ManagerConfig, PoolableConnection, RecyclingMethod,
};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;

use crate::db::connect::{ConnectError, Connector};
use crate::error::{Error, Outcome, Result};
use crate::limits::DB_CHECKOUT_MAX;

/// The pool. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Pool {
    connections: bb8::Pool<AsyncPgConnection>,
    /// A place for each connection, which calls get in the order in which they come. bb8 lets whoever just came take the
    /// connection for which another was woken: of many who wait, some would wait until they are refused.
    places: Arc<Semaphore>,
    /// The longest wait for a connection.
    checkout_timeout: Duration,
}

/// A connection on loan from the pool; a broken one, or one inside a transaction, is closed when it is given back.
pub struct Pooled<'pool> {
    connection: bb8::PooledConnection<'pool, AsyncPgConnection>,
    /// Given back behind the connection.
    _place: SemaphorePermit<'pool>,
}

impl Deref for Pooled<'_> {
    type Target = AsyncPgConnection;

    fn deref(&self) -> &AsyncPgConnection {
        &self.connection
    }
}

impl DerefMut for Pooled<'_> {
    fn deref_mut(&mut self) -> &mut AsyncPgConnection {
        &mut self.connection
    }
}

/// How large the pool is, and how old its connections grow.
#[derive(Clone, Debug)]
pub struct PoolSettings {
    /// Connections at the most. Too few: calls wait; too many: Postgres has a process for each.
    pub max_size: u32,
    /// Connections kept ready though idle, so that a burst need not wait for handshakes.
    pub min_idle: u32,
    /// A connection older than this is replaced: a prepared statement broken by a migration goes with it.
    pub max_lifetime: Duration,
    /// A connection idle for longer is closed, down to `min_idle`.
    pub idle_timeout: Duration,
    /// The longest wait for a connection.
    pub checkout_timeout: Duration,
}

impl Default for PoolSettings {
    fn default() -> Self {
        Self {
            max_size: 10,
            min_idle: 2,
            max_lifetime: Duration::from_secs(30 * 60),
            idle_timeout: Duration::from_secs(10 * 60),
            checkout_timeout: DB_CHECKOUT_MAX,
        }
    }
}

/// Makes the pool, which connects on its own from now on: a database that is not there yet is no error.
///
/// Needs a tokio runtime.
pub fn open(connector: Connector, settings: &PoolSettings) -> Pool {
    let mut config = ManagerConfig::default();
    // Never used as long as `test_on_check_out` is off: a ping would be a round trip for every call.
    config.recycling_method = RecyclingMethod::Fast;
    config.custom_setup = Box::new(move |_url| {
        let connector = connector.clone();
        Box::pin(async move {
            let (client, _driver) = connector.connect().await.map_err(bad_connection)?;
            AsyncPgConnection::try_from(client).await
        })
    });
    let connections = bb8::Pool::builder()
        .max_size(settings.max_size)
        .min_idle(settings.min_idle.min(settings.max_size))
        .max_lifetime(settings.max_lifetime)
        .idle_timeout(settings.idle_timeout)
        .connection_timeout(settings.checkout_timeout)
        .test_on_check_out(false)
        .build_unchecked(AsyncDieselConnectionManager::new_with_config("", config));
    let places = usize::try_from(settings.max_size).unwrap_or(Semaphore::MAX_PERMITS);
    Pool {
        connections,
        places: Arc::new(Semaphore::new(places)),
        checkout_timeout: settings.checkout_timeout,
    }
}

/// The pool tries again by itself and keeps the reason to itself; the log has it.
fn bad_connection(error: ConnectError) -> ConnectionError {
    tracing::warn!(%error, "the pool cannot connect to the database");
    ConnectionError::BadConnection(error.to_string())
}

/// Takes a connection that is not known to be dead.
///
/// # Errors
/// [`Error::Overloaded`] if all are in use, [`Error::DatabaseUnavailable`] if none can be made.
pub async fn checkout(pool: &Pool) -> Result<Pooled<'_>> {
    let found = timeout(pool.checkout_timeout, find(pool)).await;
    found.ok().flatten().ok_or_else(|| {
        let state = pool.connections.state();
        // Whoever has a place and no connection waits for one to be made.
        let all_in_use = pool.places.available_permits() == 0 && state.connections > 0;
        if all_in_use {
            Error::Overloaded
        } else {
            Error::DatabaseUnavailable(Outcome::NotApplied)
        }
    })
}

async fn find(pool: &Pool) -> Option<Pooled<'_>> {
    let place = pool.places.acquire().await.ok()?;
    loop {
        let mut connection = pool.connections.get().await.ok()?;
        // After a restart of the server a pool is full of these: each costs nothing but this look, and is closed.
        if !connection.is_broken() {
            return Some(Pooled {
                connection,
                _place: place,
            });
        }
    }
}
