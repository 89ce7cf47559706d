//! Runs the migrations that are compiled into the binary, and checks whether a database has them.

use std::collections::BTreeSet;

use diesel::migration::{Migration, MigrationSource, MigrationVersion};
use diesel::pg::Pg;
use diesel_async::async_connection_wrapper::AsyncConnectionWrapper;
use diesel_async::{AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection};
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};
use thiserror::Error;

use crate::db::connect::{ConnectError, Connector, Session};
use crate::db::pg_error::DbError;
use crate::db::pool::Pool;
use crate::db::read;
use crate::error::{self, SchemaVersions};
use crate::limits::{DB_LOCK_WAIT_MAX, DB_MIGRATION_WAIT_MAX};

const MIGRATIONS: EmbeddedMigrations = embed_migrations!();

/// The key of the advisory lock that serialises the migrations of replicas: «earmark!» in ASCII.
pub(super) const LOCK: i64 = 0x6561_726d_6172_6b21;

/// Why migrations failed. Each runs in its own transaction, so those before the failed one stay applied.
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
    Ok(missing(&applied).is_none())
}

/// What a database with these migrations lacks; `None` if it has every one of this binary. It may also have newer ones.
pub(super) fn missing(applied: &BTreeSet<String>) -> Option<SchemaVersions> {
    // Its names were checked when it was compiled.
    let wanted = wanted().unwrap_or_default();
    let first = wanted.iter().find(|version| !applied.contains(*version))?;
    let found = applied.iter().take_while(|version| *version < first).last();
    Some(SchemaVersions {
        found: found.cloned(),
        needed: wanted.last().cloned().unwrap_or_default(),
    })
}

fn wanted() -> diesel::migration::Result<BTreeSet<String>> {
    let migrations: Vec<Box<dyn Migration<Pg>>> = MIGRATIONS.migrations()?;
    let versions = migrations.iter().map(|m| m.name().version().to_string());
    Ok(versions.collect())
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
        // A migration may take as long as it needs; only the wait for the advisory lock is limited.
        statement_timeout: std::time::Duration::ZERO,
        lock_timeout: DB_MIGRATION_WAIT_MAX,
        application_name: "earmark-migrate",
        ..Session::default()
    };
    let (client, driver) = Connector::with_session(url, &session)?.connect().await?;
    let mut connection = AsyncPgConnection::try_from(client)
        .await
        .map_err(|error| MigrateError::Failed(error.to_string()))?;
    // Held until the connection ends. A migration waits for a table only briefly, since all later statements on the
    // table wait behind it.
    let lock = format!(
        "SELECT pg_advisory_lock({LOCK}); SET lock_timeout = {}",
        DB_LOCK_WAIT_MAX.as_millis()
    );
    let locked = connection.batch_execute(&lock).await;
    locked.map_err(|error| MigrateError::Start(error.into()))?;
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
