//! The lock by which replicas migrate one after the other.

use tokio::time::{Instant, sleep};
use tokio_postgres::Client;

use crate::limits::{DB_MIGRATION_WAIT_MAX, MIGRATION_LOCK_PAUSE};

/// The key of the advisory lock: «earmark!» in ASCII.
const KEY: i64 = 0x6561_726d_6172_6b21;

/// Takes the lock for as long as the session lasts; false if others have held it for [`DB_MIGRATION_WAIT_MAX`].
///
/// It is asked for again and again: CREATE INDEX CONCURRENTLY waits for every statement that was begun before, and so for
/// one that waits for the lock, which would be a deadlock.
pub(crate) async fn take(client: &Client) -> Result<bool, tokio_postgres::Error> {
    let until = Instant::now() + DB_MIGRATION_WAIT_MAX;
    loop {
        let row = client
            .query_one("SELECT pg_try_advisory_lock($1)", &[&KEY])
            .await?;
        if row.get(0) {
            return Ok(true);
        }
        if Instant::now() >= until {
            return Ok(false);
        }
        sleep(MIGRATION_LOCK_PAUSE).await;
    }
}
