//! What becomes of a connection whose caller is gone before its statement was answered: the statement is cancelled, and
//! the connection is used again only once it has answered.

use diesel_async::SimpleAsyncConnection;
use tokio::time::{Instant, timeout};

use crate::db::connect::Connector;
use crate::db::pg_error::DbError;
use crate::db::pool_connection::{PoolConnection, PoolConnector};
use crate::db::pulse::Pulse;
use crate::limits::DB_SETTLE_MAX;
use crate::turns::Turn;
use crate::types::principal::Principal;

/// A connection that the pool has given out, and the place in its lane. Dropped, the connection goes back to the pool
/// before the place does.
pub(super) struct Loan {
    pub(super) connection: bb8::PooledConnection<'static, PoolConnector>,
    pub(super) turn: Turn<Principal>,
}

/// What is known of a connection that is given back without an answer to all that was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unsettled {
    /// Its caller was dropped: a statement may be under way.
    Abandoned,
    /// A statement failed. Others that were sent with it may still be under way.
    Failed,
    /// COMMIT was sent. It is not cancelled, since Postgres would end its wait for a standby and commit all the same.
    Committing,
}

/// Brings a connection to rest and gives it back, or closes it: if it does not answer within [`DB_SETTLE_MAX`], or has an
/// open transaction. Only then is its place in the lane free, so that a lane never has more connections than it may have.
pub(super) async fn settle(mut loan: Loan, state: Unsettled, connector: Connector, pulse: Pulse) {
    let connection = &mut *loan.connection;
    let answered = timeout(DB_SETTLE_MAX, rest(connection, state, &connector)).await;
    match answered {
        Ok(true) => {
            pulse.note();
            connection.is_idle = !connection.is_broken();
        }
        // The database may never read the farewell of a connection that is closed in the usual way.
        Ok(false) | Err(_) => connection.cut(),
    }
    let Loan { connection, turn } = loan;
    drop(connection);
    drop(turn);
}

/// Cancels what may be under way; true once the connection has answered something that was sent after it.
async fn rest(connection: &mut PoolConnection, state: Unsettled, connector: &Connector) -> bool {
    if state == Unsettled::Failed {
        // In nearly all cases nothing is under way.
        let answered = timeout(DB_SETTLE_MAX / 10, is_answered(connection)).await;
        if let Ok(answered) = answered {
            return answered;
        }
    }
    if state != Unsettled::Committing {
        connection.cancelled = Some(Instant::now());
        connector.cancel(connection.client.cancel_token()).await;
    }
    is_answered(connection).await
}

async fn is_answered(connection: &mut PoolConnection) -> bool {
    // The cancellation may come late and meet the empty statement instead.
    for _ in 0..2 {
        match connection.client.batch_execute("").await {
            Ok(()) => return true,
            Err(error) => match DbError::from(error) {
                DbError::StatementTimeout => {}
                _ => return false,
            },
        }
    }
    true
}
