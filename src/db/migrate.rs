//! The migrations that the binary holds, and whether a database has them.

use std::collections::BTreeSet;

use diesel::migration::{Migration, MigrationSource, MigrationVersion};
use diesel::pg::Pg;
use diesel_async::async_connection_wrapper::AsyncConnectionWrapper;
use diesel_async::{AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection};
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};
use thiserror::Error;

use crate::db::connect::{ConnectError, Connector, Session};
use crate::db::pg_error::DbFault;
use crate::db::pool::Pool;
use crate::db::read;
use crate::error;
use crate::limits::{DB_LOCK_WAIT_MAX, DB_MIGRATION_WAIT_MAX};

const MIGRATIONS: EmbeddedMigrations = embed_migrations!();

/// Names the lock that serialises replicas which start together: «earmark!» in ASCII.
const LOCK: i64 = 0x6561_726d_6172_6b21;

/// Why the migrations did not run. Those that ran before stay: each is a transaction of its own.
#[derive(Debug, Error)]
pub enum MigrateError {
    /// No connection.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// Another replica's migrations took too long, or the connection was lost.
    #[error("the migrations cannot start: {0:?}")]
    Start(DbFault),
    /// A migration failed and was rolled back.
    #[error("a migration failed: {0}")]
    Failed(String),
    /// The task was ended.
    #[error("the migrations were interrupted")]
    Interrupted,
}

/// Runs the migrations that the database lacks, and returns their names. Waits for another replica that does so.
///
/// # Errors
/// See [`MigrateError`].
pub async fn run(url: &str) -> Result<Vec<String>, MigrateError> {
    harnessed(url, |harness| {
        let applied = harness.run_pending_migrations(MIGRATIONS)?;
        Ok(names(&applied))
    })
    .await
}

/// Takes all migrations back, with everything that is stored: for tests of the way down.
///
/// # Errors
/// See [`MigrateError`].
pub async fn revert_all(url: &str) -> Result<Vec<String>, MigrateError> {
    harnessed(url, |harness| {
        let reverted = harness.revert_all_migrations(MIGRATIONS)?;
        Ok(names(&reverted))
    })
    .await
}

/// Whether the database has every migration that this binary holds; it may have newer ones.
///
/// # Errors
/// [`error::Error::DatabaseUnavailable`] and its like.
pub async fn is_current(pool: &Pool) -> error::Result<bool> {
    diesel::table! {
        __diesel_schema_migrations (version) {
            version -> Text,
        }
    }
    use __diesel_schema_migrations as applied;
    use diesel::QueryDsl;

    let applied: Vec<String> = read::one(pool, async |connection: &mut AsyncPgConnection| {
        let versions = applied::table.select(applied::version);
        match versions.load(connection).await.map_err(DbFault::from) {
            Err(DbFault::MissingTable) => Ok(Vec::new()),
            versions => versions,
        }
    })
    .await?;
    let applied: BTreeSet<String> = applied.into_iter().collect();
    let wanted = wanted().map_err(|error| error::Error::internal(format!("{error:?}")))?;
    Ok(wanted.is_subset(&applied))
}

fn wanted() -> diesel::migration::Result<BTreeSet<String>> {
    let migrations: Vec<Box<dyn Migration<Pg>>> = MIGRATIONS.migrations()?;
    let versions = migrations.iter().map(|m| m.name().version().to_string());
    Ok(versions.collect())
}

type Harness = AsyncConnectionWrapper<AsyncPgConnection>;

/// Runs diesel's blocking harness where blocking is allowed: on a runtime of one thread it would panic.
async fn harnessed(
    url: &str,
    work: impl FnOnce(&mut Harness) -> diesel::migration::Result<Vec<String>> + Send + 'static,
) -> Result<Vec<String>, MigrateError> {
    let session = Session {
        // A migration takes as long as it takes, but waits for the lock on the whole only a while.
        statement_timeout: std::time::Duration::ZERO,
        lock_timeout: DB_MIGRATION_WAIT_MAX,
        application_name: "earmark-migrate",
        ..Session::default()
    };
    let (client, driver) = Connector::with_session(url, &session)?.connect().await?;
    let mut connection = AsyncPgConnection::try_from(client)
        .await
        .map_err(|error| MigrateError::Failed(error.to_string()))?;
    // Held until the connection ends. Behind a table's lock a migration waits briefly: all others queue behind it.
    let lock = format!(
        "SELECT pg_advisory_lock({LOCK}); SET lock_timeout = {}",
        DB_LOCK_WAIT_MAX.as_millis()
    );
    let locked = connection.batch_execute(&lock).await;
    locked.map_err(|error| MigrateError::Start(error.into()))?;
    let task = tokio::task::spawn_blocking(move || {
        let mut harness = Harness::from(connection);
        work(&mut harness).map_err(|error| MigrateError::Failed(error.to_string()))
    });
    let result = task.await.unwrap_or(Err(MigrateError::Interrupted));
    // The connection, and with it the lock, is gone when this returns.
    _ = driver.await;
    result
}

fn names(versions: &[MigrationVersion<'_>]) -> Vec<String> {
    versions.iter().map(ToString::to_string).collect()
}
