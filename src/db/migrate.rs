//! Runs the migrations that are compiled into the binary, and checks whether a database has them.

use std::collections::BTreeSet;
use std::time::Duration;

use diesel::migration::{Migration, MigrationSource, MigrationVersion};
use diesel::pg::Pg;
use diesel_async::async_connection_wrapper::AsyncConnectionWrapper;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};
use thiserror::Error;
use tokio::time::{Instant, sleep};
use tokio_postgres::Client;

use crate::db::connect::{ConnectError, Connector, Session};
use crate::db::pg_error::DbError;
use crate::db::pool::Pool;
use crate::db::read;
use crate::error;
use crate::limits::{DB_LOCK_WAIT_MAX, DB_MIGRATION_PAUSE, DB_MIGRATION_WAIT_MAX};

const MIGRATIONS: EmbeddedMigrations = embed_migrations!();

/// The key of the advisory lock that serialises the migrations of replicas: «earmark!» in ASCII.
const LOCK: i64 = 0x6561_726d_6172_6b21;

/// Why migrations failed. Each runs in its own transaction, or in several steps, so those before the failed one stay applied.
#[derive(Debug, Error)]
pub enum MigrateError {
    /// The connection could not be made.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The migrations of another replica took longer than [`DB_MIGRATION_WAIT_MAX`], or the connection was lost.
    #[error(
        "the migrations cannot start, the lock of another replica was not released or the connection was lost: {0:?}"
    )]
    Start(DbError),
    /// A migration failed and was rolled back.
    #[error("a migration failed: {0}")]
    Failed(String),
    /// The task that runs them panicked or was cancelled.
    #[error("the migrations were interrupted")]
    Interrupted,
}

/// Runs the migrations that the database lacks, and returns their names. Waits for other replicas that do the same.
///
/// # Errors
/// Any variant of [`MigrateError`].
pub async fn run(url: &str) -> Result<Vec<String>, MigrateError> {
    with_migration_lock(url, |harness| {
        let applied = harness.run_pending_migrations(MIGRATIONS)?;
        Ok(names(&applied))
    })
    .await
}

/// Reverts all migrations, which deletes all data, and returns their names. For tests of the down migrations.
///
/// # Errors
/// Any variant of [`MigrateError`].
pub async fn revert_all(url: &str) -> Result<Vec<String>, MigrateError> {
    with_migration_lock(url, |harness| {
        let reverted = harness.revert_all_migrations(MIGRATIONS)?;
        Ok(names(&reverted))
    })
    .await
}

/// Whether the database has every migration of this binary. It may also have newer ones.
///
/// # Errors
/// Those of [`read::one`], above all [`error::Error::DatabaseUnavailable`].
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
        match versions.load(connection).await.map_err(DbError::from) {
            Err(DbError::MissingTable) => Ok(Vec::new()),
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

/// Takes the lock of migrations, which is held until the connection ends, and returns whether it was free in time.
///
/// It is asked for again and again: who waits for it in a statement has a snapshot, for the end of which the CREATE INDEX
/// CONCURRENTLY of the replica that holds the lock would wait in turn.
pub(super) async fn lock(client: &Client) -> Result<bool, tokio_postgres::Error> {
    let until = Instant::now() + DB_MIGRATION_WAIT_MAX;
    loop {
        let sql = "SELECT pg_try_advisory_lock($1)";
        if client.query_one(sql, &[&LOCK]).await?.get(0) {
            return Ok(true);
        }
        if Instant::now() >= until {
            return Ok(false);
        }
        sleep(DB_MIGRATION_PAUSE).await;
    }
}

type MigrationConnection = AsyncConnectionWrapper<AsyncPgConnection>;

/// Runs diesel's blocking harness on a thread where blocking is allowed, under the lock of migrations.
async fn with_migration_lock(
    url: &str,
    work: impl FnOnce(&mut MigrationConnection) -> diesel::migration::Result<Vec<String>>
    + Send
    + 'static,
) -> Result<Vec<String>, MigrateError> {
    let session = Session {
        // A migration may take as long as it needs. It waits for a table only briefly, since all later statements on the
        // table wait behind it.
        statement_timeout: Duration::ZERO,
        lock_timeout: DB_LOCK_WAIT_MAX,
        application_name: "earmark-migrate",
        ..Session::default()
    };
    let (client, driver) = Connector::with_session(url, &session)?.connect().await?;
    match lock(&client).await {
        Ok(true) => {}
        Ok(false) => return Err(MigrateError::Start(DbError::LockTimeout)),
        Err(error) => return Err(MigrateError::Start(error.into())),
    }
    let connection = AsyncPgConnection::try_from(client)
        .await
        .map_err(|error| MigrateError::Failed(error.to_string()))?;
    let task = tokio::task::spawn_blocking(move || {
        let mut harness = MigrationConnection::from(connection);
        work(&mut harness).map_err(|error| MigrateError::Failed(error.to_string()))
    });
    let result = task.await.unwrap_or(Err(MigrateError::Interrupted));
    // Once the driver has ended, the connection is closed and the lock is released.
    _ = driver.await;
    result
}

fn names(versions: &[MigrationVersion<'_>]) -> Vec<String> {
    versions.iter().map(ToString::to_string).collect()
}
