//! Standbys, replication slots and the archive of the write-ahead log.

use crate::db::inspect::look::{InspectError, Look};

/// The standbys of a primary, or of a standby that passes the log on.
#[derive(Clone, Debug, Default)]
pub(crate) struct StandbyFacts {
    pub(crate) count: i64,
    /// Those among them of which the role may see no more than that they are there.
    pub(crate) hidden: i64,
    /// Those that a COMMIT may wait for.
    pub(crate) synchronous: i64,
    /// By how many bytes and seconds the slowest one is behind, if the role may see it.
    pub(crate) lag_bytes: Option<i64>,
    pub(crate) lag_s: Option<f64>,
    /// `synchronous_standby_names`: empty if COMMIT waits for none.
    pub(crate) synchronous_names: String,
}

/// To be asked of a primary only.
pub(crate) async fn standbys(look: &Look<'_>) -> Result<StandbyFacts, InspectError> {
    let sql = "SELECT count(*), count(*) FILTER (WHERE state IS NULL),
            count(*) FILTER (WHERE sync_state IN ('sync', 'quorum')),
            max(pg_wal_lsn_diff(pg_current_wal_lsn(), replay_lsn))::int8,
            max(extract(epoch FROM replay_lag))::float8,
            current_setting('synchronous_standby_names')
        FROM pg_stat_replication";
    let row = look.row(sql, &[]).await?;
    Ok(StandbyFacts {
        count: row.get(0),
        hidden: row.get(1),
        synchronous: row.get(2),
        lag_bytes: row.get(3),
        lag_s: row.get(4),
        synchronous_names: row.get(5),
    })
}

/// A standby's delay behind its primary, in seconds; `None` before its first transaction.
pub(crate) async fn replay_delay(look: &Look<'_>) -> Result<Option<f64>, InspectError> {
    let sql = "SELECT CASE WHEN pg_last_wal_receive_lsn() = pg_last_wal_replay_lsn() THEN 0
                ELSE extract(epoch FROM clock_timestamp() - pg_last_xact_replay_timestamp())::float8 END";
    Ok(look.row(sql, &[]).await?.get(0))
}

/// A replication slot that nobody uses.
#[derive(Clone, Debug)]
pub(crate) struct IdleSlot {
    pub(crate) name: String,
    /// Bytes of the write-ahead log that are kept for it.
    pub(crate) kept_bytes: i64,
}

/// Slots in use, and those that are not, the one that keeps most first. To be asked of a primary only.
pub(crate) async fn slots(look: &Look<'_>) -> Result<(i64, Vec<IdleSlot>), InspectError> {
    let in_use = "SELECT count(*) FROM pg_replication_slots WHERE active";
    let idle = "SELECT slot_name::text, coalesce(pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn), 0)::int8
                  FROM pg_replication_slots WHERE NOT active ORDER BY 2 DESC, 1";
    let count = look.row(in_use, &[]).await?.get(0);
    let rows = look.rows(idle, &[]).await?;
    let each = rows.iter().map(|row| IdleSlot {
        name: row.get(0),
        kept_bytes: row.get(1),
    });
    Ok((count, each.collect()))
}

/// What the archiver has done since the statistics were last reset.
#[derive(Clone, Debug, Default)]
pub(crate) struct ArchiverFacts {
    pub(crate) archived: i64,
    /// Seconds since a file was archived last.
    pub(crate) archived_s: Option<f64>,
    /// The file that failed last, if none was archived since.
    pub(crate) failing: Option<String>,
}

pub(crate) async fn archiver(look: &Look<'_>) -> Result<ArchiverFacts, InspectError> {
    let sql = "SELECT archived_count, extract(epoch FROM clock_timestamp() - last_archived_time)::float8,
            CASE WHEN last_failed_time > coalesce(last_archived_time, '-infinity') THEN last_failed_wal END
        FROM pg_stat_archiver";
    let row = look.row(sql, &[]).await?;
    Ok(ArchiverFacts {
        archived: row.get(0),
        archived_s: row.get(1),
        failing: row.get(2),
    })
}
