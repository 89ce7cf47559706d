//! The connections of a pool, and how it makes them.

use bb8::ManageConnection;
use diesel_async::AsyncPgConnection;
use diesel_async::pooled_connection::PoolableConnection;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

use crate::db::connect::{ConnectError, Connector};
use crate::db::log;
use crate::db::pulse::Pulse;
use crate::limits::{DB_CONNECT_MAX, DB_LATE_CANCEL_MAX};
use crate::metrics::database;

/// A connection that knows whether it may be used by another caller.
pub(super) struct PoolConnection {
    pub(super) client: AsyncPgConnection,
    /// Whether everything that was sent has been answered. The pool closes a connection that is returned otherwise.
    pub(super) is_idle: bool,
    /// When a cancellation of a statement was last sent.
    pub(super) cancelled: Option<Instant>,
    /// When it was made.
    pub(super) made: Instant,
    driver: JoinHandle<()>,
}

impl PoolConnection {
    /// Whether its statement may have been ended by a cancellation that was meant for the one before.
    pub(super) fn may_be_cancelled_late(&self) -> bool {
        self.cancelled
            .is_some_and(|sent| sent.elapsed() < DB_LATE_CANCEL_MAX)
    }

    /// Whether it has been lost, or has an open transaction.
    pub(super) fn is_broken(&mut self) -> bool {
        self.client.is_broken()
    }

    /// Closes the socket, whether or not the database still owes answers.
    pub(super) fn cut(&self) {
        self.driver.abort();
    }
}

/// Makes the connections of one pool.
pub(super) struct PoolConnector {
    pub(super) connector: Connector,
    pub(super) pulse: Pulse,
}

impl PoolConnector {
    async fn make(&self) -> Result<PoolConnection, ConnectError> {
        let (client, driver) = self.connector.connect().await?;
        let setting_up = AsyncPgConnection::try_from(client);
        let client = timeout(DB_CONNECT_MAX, setting_up)
            .await
            .map_err(|_| ConnectError::TimedOut(DB_CONNECT_MAX))?
            .map_err(|error| ConnectError::Session(error.to_string()))?;
        self.pulse.note();
        Ok(PoolConnection {
            client,
            is_idle: true,
            cancelled: None,
            made: Instant::now(),
            driver,
        })
    }
}

impl ManageConnection for PoolConnector {
    type Connection = PoolConnection;
    type Error = ConnectError;

    /// Logs why a connection could not be made: the pool retries without reporting the reason.
    async fn connect(&self) -> Result<PoolConnection, ConnectError> {
        self.make().await.inspect_err(|error| {
            database::connect_failed();
            let database = self.connector.address();
            log::warn(
                database,
                "the pool cannot connect to the database",
                &error.to_string(),
            );
        })
    }

    /// Never called, since a test at each checkout would be a round trip for every call.
    async fn is_valid(&self, _: &mut PoolConnection) -> Result<(), ConnectError> {
        Ok(())
    }

    fn has_broken(&self, connection: &mut PoolConnection) -> bool {
        !connection.is_idle || connection.is_broken() || std::thread::panicking()
    }
}
