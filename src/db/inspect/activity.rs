//! What sessions do at the moment: how many there are, for how long transactions are open, and who waits for a lock.

use crate::db::inspect::look::{InspectError, Look};

/// How many connections there are, and may be.
#[derive(Clone, Debug, Default)]
pub(crate) struct ConnectionFacts {
    pub(crate) max: i64,
    /// Those that are kept for superusers and for members of `pg_use_reserved_connections`.
    pub(crate) reserved: i64,
    /// Connections of clients to any database of the cluster, this one aside.
    pub(crate) in_use: i64,
    /// Those among them whose `application_name` is Earmark's.
    pub(crate) of_earmark: i64,
    /// The limit of the role, if it has one, and its connections.
    pub(crate) role_max: Option<i64>,
    pub(crate) of_role: i64,
    /// The limit of the database, if it has one, and its connections.
    pub(crate) database_max: Option<i64>,
    pub(crate) of_database: i64,
}

pub(crate) async fn connections(look: &Look<'_>) -> Result<ConnectionFacts, InspectError> {
    // Of others' sessions a role without pg_read_all_stats sees no more than the first columns.
    let sql = "WITH clients AS (
            SELECT * FROM pg_stat_activity
            WHERE datid IS NOT NULL AND coalesce(backend_type, 'client backend') = 'client backend'
                AND pid <> pg_backend_pid()
        )
        SELECT current_setting('max_connections')::int8,
            current_setting('superuser_reserved_connections')::int8
                + coalesce(current_setting('reserved_connections', true), '0')::int8,
            (SELECT count(*) FROM clients),
            (SELECT count(*) FROM clients WHERE application_name = 'earmark'),
            (SELECT rolconnlimit::int8 FROM pg_roles WHERE rolname = current_user),
            (SELECT count(*) FROM clients WHERE usename = current_user),
            (SELECT datconnlimit::int8 FROM pg_database WHERE datname = current_database()),
            (SELECT count(*) FROM clients WHERE datname = current_database())";
    let row = look.row(sql, &[]).await?;
    let limit = |index: usize| row.get::<_, Option<i64>>(index).filter(|limit| *limit >= 0);
    Ok(ConnectionFacts {
        max: row.get(0),
        reserved: row.get(1),
        in_use: row.get(2),
        of_earmark: row.get(3),
        role_max: limit(4),
        of_role: row.get(5),
        database_max: limit(6),
        of_database: row.get(7),
    })
}

/// The transaction that has been open for longest.
#[derive(Clone, Debug)]
pub(crate) struct OpenTransaction {
    pub(crate) pid: i32,
    pub(crate) age_s: f64,
    pub(crate) role: String,
    pub(crate) application: String,
    /// `active`, `idle in transaction` and others.
    pub(crate) state: String,
}

/// The oldest transactions of clients, and how many sessions the role may not look at.
#[derive(Clone, Debug, Default)]
pub(crate) struct TransactionFacts {
    pub(crate) oldest: Option<OpenTransaction>,
    pub(crate) hidden: i64,
}

pub(crate) async fn transactions(look: &Look<'_>) -> Result<TransactionFacts, InspectError> {
    let oldest = "SELECT pid, extract(epoch FROM clock_timestamp() - xact_start)::float8,
                         coalesce(usename::text, ''), coalesce(application_name, ''), coalesce(state, '')
                    FROM pg_stat_activity
                   WHERE xact_start IS NOT NULL AND backend_type = 'client backend' AND pid <> pg_backend_pid()
                   ORDER BY xact_start LIMIT 1";
    let rows = look.rows(oldest, &[]).await?;
    let oldest = rows.first().map(|row| OpenTransaction {
        pid: row.get(0),
        age_s: row.get(1),
        role: row.get(2),
        application: row.get(3),
        state: row.get(4),
    });
    let hidden =
        "SELECT count(*) FROM pg_stat_activity WHERE datid IS NOT NULL AND backend_type IS NULL";
    Ok(TransactionFacts {
        oldest,
        hidden: look.row(hidden, &[]).await?.get(0),
    })
}

/// A transaction that was prepared for two-phase commit, and neither committed nor rolled back.
#[derive(Clone, Debug)]
pub(crate) struct PreparedTransaction {
    pub(crate) name: String,
    pub(crate) database: String,
    pub(crate) age_s: f64,
}

/// Those of the cluster, the oldest first: each of them keeps vacuum from removing rows everywhere.
pub(crate) async fn prepared_transactions(
    look: &Look<'_>,
) -> Result<Vec<PreparedTransaction>, InspectError> {
    let sql = "SELECT gid, database::text, extract(epoch FROM clock_timestamp() - prepared)::float8
                 FROM pg_prepared_xacts ORDER BY prepared";
    let rows = look.rows(sql, &[]).await?;
    let each = rows.iter().map(|row| PreparedTransaction {
        name: row.get(0),
        database: row.get(1),
        age_s: row.get(2),
    });
    Ok(each.collect())
}

/// A session that waits for a lock.
#[derive(Clone, Debug)]
pub(crate) struct LockWait {
    pub(crate) pid: i32,
    /// The table, if the lock is of one or of a row of one.
    pub(crate) table: Option<String>,
    pub(crate) waited_s: f64,
    /// The sessions that it waits for; 0 stands for a prepared transaction.
    pub(crate) blocked_by: Vec<i32>,
}

/// Those in this database, the longest wait first, and how many there are.
pub(crate) async fn lock_waits(look: &Look<'_>) -> Result<(i64, Option<LockWait>), InspectError> {
    // A wait that has just begun has no time yet.
    let sql = "SELECT count(*) OVER (), l.pid, l.relation::regclass::text,
                      coalesce(extract(epoch FROM clock_timestamp() - l.waitstart), 0)::float8,
                      pg_blocking_pids(l.pid)
                 FROM pg_locks l
                WHERE NOT l.granted AND (l.database IS NULL OR l.database = (
                      SELECT oid FROM pg_database WHERE datname = current_database()))
                  AND l.pid IN (SELECT pid FROM pg_stat_activity WHERE datname = current_database())
                ORDER BY l.waitstart LIMIT 1";
    let rows = look.rows(sql, &[]).await?;
    Ok(match rows.first() {
        None => (0, None),
        Some(row) => {
            let longest = LockWait {
                pid: row.get(1),
                table: row.get(2),
                waited_s: row.get(3),
                blocked_by: row.get(4),
            };
            (row.get(0), Some(longest))
        }
    })
}
