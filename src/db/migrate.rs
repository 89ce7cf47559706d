//! Runs the migrations that are compiled into the binary, and checks whether a database has them.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use diesel::connection::SimpleConnection;
use diesel::migration::{Migration, MigrationSource, MigrationVersion};
use diesel::pg::Pg;
use diesel_async::async_connection_wrapper::AsyncConnectionWrapper;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};
use thiserror::Error;
use tokio_postgres::Client;

use crate::db::connect::{ConnectError, Connector, Session};
use crate::db::error_text::text_of;
use crate::db::migration_lock;
use crate::db::pg_error::DbError;
use crate::db::pool::Pool;
use crate::db::read;
use crate::error::{self, SchemaVersions};
use crate::limits::{DB_MIGRATION_WAIT_MAX, MIGRATION_LOCK_PAUSE, MIGRATION_LOCK_WAIT_MAX};

const MIGRATIONS: EmbeddedMigrations = embed_migrations!();

/// Why migrations failed. Each runs in its own transaction, or in several steps, so those before the failed one stay applied.
#[derive(Debug, Error)]
pub enum MigrateError {
    /// The connection could not be made.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The database is not in UTF-8. Nothing was changed.
    #[error(
        "the database {database:?} has the encoding {encoding}, and texts are in every language: create one with the \
         encoding UTF8, for example with CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0"
    )]
    Encoding {
        /// The name of the database.
        database: String,
        /// The encoding, as Postgres names it.
        encoding: String,
    },
    /// The migrations of another replica took longer than [`DB_MIGRATION_WAIT_MAX`].
    #[error(
        "the migrations of another replica have not ended in {DB_MIGRATION_WAIT_MAX:?}: try again then"
    )]
    Locked,
    /// The connection was lost, or Postgres refused a statement, before the first migration.
    #[error("the migrations cannot start: {}", text_of(.0))]
    Start(tokio_postgres::Error),
    /// A migration failed and was rolled back.
    #[error("a migration failed: {0}")]
    Failed(String),
    /// The task that runs them panicked or was cancelled.
    #[error("the migrations were interrupted")]
    Interrupted,
}

/// Runs the migrations that the database lacks, and returns their names. Waits for other replicas that do the same.
///
/// Servers go on meanwhile. A migration in a transaction waits for a lock no longer than [`MIGRATION_LOCK_WAIT_MAX`], since
/// all statements that come later wait behind it; it is tried again until it gets the lock. One outside of a transaction
/// (`run_in_transaction = false` in its `metadata.toml`) holds no lock that a server's statement waits for.
///
/// # Errors
/// Any variant of [`MigrateError`].
pub async fn run(url: &str) -> Result<Vec<String>, MigrateError> {
    with_migration_lock(url, |harness| {
        let mut applied = Vec::new();
        for migration in harness.pending_migrations(MIGRATIONS).map_err(failed)? {
            apply(harness, &*migration)?;
            applied.push(migration.name().version().to_string());
        }
        Ok(applied)
    })
    .await
}

fn failed(error: Box<dyn std::error::Error + Send + Sync>) -> MigrateError {
    MigrateError::Failed(error.to_string())
}

/// Runs one migration, again as long as others hold a lock that it needs.
fn apply(
    harness: &mut MigrationConnection,
    migration: &dyn Migration<Pg>,
) -> Result<(), MigrateError> {
    let in_transaction = migration.metadata().run_in_transaction();
    let lock_wait = if in_transaction {
        MIGRATION_LOCK_WAIT_MAX
    } else {
        drop_unfinished_indexes(harness)?;
        // It waits for all transactions that have begun before, and nothing waits behind it.
        Duration::ZERO
    };
    let setting = format!("SET lock_timeout = {}", lock_wait.as_millis());
    SimpleConnection::batch_execute(harness, &setting).map_err(|error| failed(error.into()))?;
    let until = Instant::now() + DB_MIGRATION_WAIT_MAX;
    loop {
        let Err(error) = harness.run_migration(migration) else {
            return Ok(());
        };
        let is_locked = error.to_string().contains("due to lock timeout");
        if !is_locked || Instant::now() >= until {
            return Err(failed(error));
        }
        std::thread::sleep(MIGRATION_LOCK_PAUSE);
    }
}

/// Drops what CREATE INDEX CONCURRENTLY leaves when it is interrupted: an index of the same name that is never used.
fn drop_unfinished_indexes(harness: &mut MigrationConnection) -> Result<(), MigrateError> {
    #[derive(diesel::QueryableByName)]
    struct Index {
        #[diesel(sql_type = diesel::sql_types::Text)]
        name: String,
    }

    let unfinished = "SELECT i.indexrelid::regclass::text AS name \
                        FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid \
                       WHERE NOT i.indisvalid AND c.relnamespace = current_schema()::regnamespace";
    let found: Vec<Index> = diesel::RunQueryDsl::load(diesel::sql_query(unfinished), harness)
        .map_err(|error| failed(error.into()))?;
    for Index { name } in found {
        let drop = format!("DROP INDEX CONCURRENTLY {name}");
        SimpleConnection::batch_execute(harness, &drop).map_err(|error| failed(error.into()))?;
    }
    Ok(())
}

/// Reverts all migrations, which deletes all data, and returns their names. For tests of the down migrations.
///
/// # Errors
/// Any variant of [`MigrateError`].
pub async fn revert_all(url: &str) -> Result<Vec<String>, MigrateError> {
    with_migration_lock(url, |harness| {
        let reverted = harness.revert_all_migrations(MIGRATIONS).map_err(failed)?;
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

/// The version of the schema that this binary needs: that of its last migration.
pub fn newest() -> String {
    // Its names were checked when it was compiled.
    let wanted = wanted().unwrap_or_default();
    wanted.last().cloned().unwrap_or_default()
}

/// The migrations of this binary that are not among these, and those of these that the binary lacks.
pub(super) fn compare(applied: &BTreeSet<String>) -> (Vec<String>, Vec<String>) {
    // Its names were checked when it was compiled.
    let wanted = wanted().unwrap_or_default();
    let lacking = wanted.difference(applied).cloned().collect();
    (lacking, applied.difference(&wanted).cloned().collect())
}

fn wanted() -> diesel::migration::Result<BTreeSet<String>> {
    let migrations: Vec<Box<dyn Migration<Pg>>> = MIGRATIONS.migrations()?;
    let versions = migrations.iter().map(|m| m.name().version().to_string());
    Ok(versions.collect())
}

/// Refuses a database in which texts of clients cannot be stored, or are compared otherwise than in the code.
async fn require_utf8(client: &Client) -> Result<(), MigrateError> {
    let encoding = client
        .query_one(
            "SELECT current_database()::text, current_setting('server_encoding')",
            &[],
        )
        .await
        .map_err(MigrateError::Start)?;
    match encoding.get(1) {
        "UTF8" => Ok(()),
        other => Err(MigrateError::Encoding {
            database: encoding.get(0),
            encoding: String::from(other),
        }),
    }
}

type MigrationConnection = AsyncConnectionWrapper<AsyncPgConnection>;

/// Runs diesel's blocking harness on a thread where blocking is allowed, under the lock of migrations.
async fn with_migration_lock(
    url: &str,
    work: impl FnOnce(&mut MigrationConnection) -> Result<Vec<String>, MigrateError> + Send + 'static,
) -> Result<Vec<String>, MigrateError> {
    let session = Session {
        // A migration may take as long as it needs. Its wait for locks is limited before each.
        statement_timeout: Duration::ZERO,
        application_name: "earmark-migrate",
        ..Session::default()
    };
    let (client, driver) = Connector::with_session(url, &session)?.connect().await?;
    require_utf8(&client).await?;
    // Held until the connection ends.
    match migration_lock::take(&client).await {
        Ok(true) => {}
        Ok(false) => return Err(MigrateError::Locked),
        Err(error) => return Err(MigrateError::Start(error)),
    }
    let connection = AsyncPgConnection::try_from(client)
        .await
        .map_err(|error| MigrateError::Failed(error.to_string()))?;
    let task = tokio::task::spawn_blocking(move || {
        let mut harness = MigrationConnection::from(connection);
        work(&mut harness)
    });
    let result = task.await.unwrap_or(Err(MigrateError::Interrupted));
    // Once the driver has ended, the connection is closed and the lock is released.
    _ = driver.await;
    result
}

fn names(versions: &[MigrationVersion<'_>]) -> Vec<String> {
    versions.iter().map(ToString::to_string).collect()
}
