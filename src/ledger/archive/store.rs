//! What an archive reads and writes in the database beside the rows of its files.

use chrono::{DateTime, Utc};
use tokio_postgres::{Client, Row};

use crate::ledger::archive::error::ArchiveError;
use crate::ledger::archive::period_files::NextPeriod;
use crate::ledger::archive::table_shape::TableShape;
use crate::ledger::seal::digest::SEAL_FORMAT;
use crate::ledger::seal::model::{PeriodSeal, SealDigest};
use crate::ledger::seal::rows::{read_period, stored_digest};
use crate::types::time::Time;

const SEALED: &str = "\
    SELECT start_time, end_time, previous_digest, owners, entries, digest, format \
    FROM sealed_period ORDER BY end_time";

const ARCHIVED: &str =
    "SELECT end_time, entries, records, manifest_digest FROM archived_period ORDER BY end_time";

/// A period whose rows are in files, as the database has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ArchivedRow {
    pub(super) end: Time,
    pub(super) entries: i64,
    pub(super) records: i64,
    pub(super) manifest_digest: SealDigest,
}

/// What is sealed and archived, oldest first.
#[derive(Debug)]
pub(super) struct StoredPeriods {
    /// The time by the database's clock.
    pub(super) now: Time,
    pub(super) sealed: Vec<PeriodSeal>,
    pub(super) archived: Vec<ArchivedRow>,
}

impl StoredPeriods {
    /// Reads both in one snapshot, so that each archived period is a sealed one.
    pub(super) async fn read(client: &mut Client) -> Result<Self, ArchiveError> {
        let snapshot = client
            .build_transaction()
            .isolation_level(tokio_postgres::IsolationLevel::RepeatableRead)
            .read_only(true)
            .start()
            .await?;
        let now: DateTime<Utc> = snapshot
            .query_one("SELECT clock_timestamp()", &[])
            .await?
            .try_get(0)?;
        let mut sealed = Vec::new();
        for row in snapshot.query(SEALED, &[]).await? {
            let format: i32 = row.try_get(6)?;
            if format != SEAL_FORMAT {
                let text = format!("a period is sealed in format {format}, which is newer");
                return Err(ArchiveError::Corrupt(text));
            }
            sealed.push(read_period(&row)?);
        }
        let archived = snapshot.query(ARCHIVED, &[]).await?;
        let archived = archived
            .iter()
            .map(read_archived)
            .collect::<Result<_, _>>()?;
        Ok(Self {
            now: now.into(),
            sealed,
            archived,
        })
    }

    /// Everything before this time is archived.
    pub(super) fn archived_until(&self) -> Option<Time> {
        self.archived.last().map(|row| row.end)
    }

    /// The sealed periods that are not archived, up to this end.
    pub(super) fn waiting(&self, latest_end: Time) -> Vec<PeriodSeal> {
        let until = self.archived_until().unwrap_or(Time::MIN);
        let waiting = self.sealed.iter().filter(|seal| seal.bounds.end > until);
        waiting
            .take_while(|seal| seal.bounds.end <= latest_end)
            .copied()
            .collect()
    }
}

fn read_archived(row: &Row) -> Result<ArchivedRow, ArchiveError> {
    Ok(ArchivedRow {
        end: row.try_get::<_, DateTime<Utc>>(0)?.into(),
        entries: row.try_get(1)?,
        records: row.try_get(2)?,
        manifest_digest: stored_digest(row.try_get(3)?)?,
    })
}

/// The number of rows that a table has of a period.
pub(super) async fn count(
    client: &Client,
    shape: &TableShape,
    period: &NextPeriod,
) -> Result<i64, ArchiveError> {
    let (end, start) = period.range();
    let row = client.query_one(&shape.count(), &[&end, &start]).await?;
    Ok(row.try_get(0)?)
}

/// The statement that says that a period is archived.
pub(super) fn insert_archived(row: &ArchivedRow) -> String {
    format!(
        "INSERT INTO archived_period (end_time, entries, records, manifest_digest, archived_at)
         VALUES ('{}', {}, {}, '\\x{}', clock_timestamp());",
        row.end, row.entries, row.records, row.manifest_digest
    )
}
