//! The pool of connections for reads and for writes outside of the ledger. The ledger's writers
//! have their own connections.

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

/// A pool of connections to one database. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Pool {
    connections: bb8::Pool<AsyncPgConnection>,
    /// One permit per connection, which calls get in the order in which they ask. bb8 alone gives a connection
    /// that was returned to a new caller before the one that it woke for it, so some of many callers would wait
    /// until they time out.
    permits: Arc<Semaphore>,
    /// How long a call waits for a connection before it fails.
    checkout_timeout: Duration,
}

/// A connection of the pool, which gets it back on drop. The pool closes it if it is broken or inside a transaction.
pub struct Pooled<'pool> {
    connection: bb8::PooledConnection<'pool, AsyncPgConnection>,
    /// Released after the connection was returned, since fields are dropped in their order.
    _permit: SemaphorePermit<'pool>,
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

/// The size of a pool, and the age of its connections.
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

/// Makes a pool, which connects in the background: a database that cannot be reached yet is no error.
///
/// Must be called within a tokio runtime.
pub fn open(connector: Connector, settings: &PoolSettings) -> Pool {
    let mut config = ManagerConfig::default();
    // Has no effect while `test_on_check_out` is off; that stays off, since a ping is a round trip for every call.
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
    let permits = usize::try_from(settings.max_size).unwrap_or(Semaphore::MAX_PERMITS);
    Pool {
        connections,
        permits: Arc::new(Semaphore::new(permits)),
        checkout_timeout: settings.checkout_timeout,
    }
}

/// Logs why a connection could not be made: the pool retries without reporting the reason.
fn bad_connection(error: ConnectError) -> ConnectionError {
    tracing::warn!(%error, "the pool cannot connect to the database");
    ConnectionError::BadConnection(error.to_string())
}

/// Takes a connection from the pool, but none that is already known to be dead.
///
/// # Errors
/// After [`PoolSettings::checkout_timeout`] [`Error::Overloaded`] if all connections are in use, else
/// [`Error::DatabaseUnavailable`], since none could be made.
pub async fn checkout(pool: &Pool) -> Result<Pooled<'_>> {
    let found = timeout(pool.checkout_timeout, find(pool)).await;
    found.ok().flatten().ok_or_else(|| {
        let state = pool.connections.state();
        // With a free permit this call was waiting for a connection to be made, not for one to be returned.
        let all_in_use = pool.permits.available_permits() == 0 && state.connections > 0;
        if all_in_use {
            Error::Overloaded
        } else {
            Error::DatabaseUnavailable(Outcome::NotApplied)
        }
    })
}

async fn find(pool: &Pool) -> Option<Pooled<'_>> {
    let permit = pool.permits.acquire().await.ok()?;
    loop {
        let mut connection = pool.connections.get().await.ok()?;
        // After a restart of Postgres the pool is full of dead connections; dropping one closes it
        // without a round trip.
        if !connection.is_broken() {
            return Some(Pooled {
                connection,
                _permit: permit,
            });
        }
    }
}
