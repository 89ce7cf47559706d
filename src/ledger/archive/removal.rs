//! Takes archived rows out of the tables that servers read: whole partitions are detached, and what lies in a DEFAULT partition
//! is deleted. Whatever is left on line by an interrupted run is older than the archive's end, so that nobody reads it.

use chrono::{DateTime, Utc};
use tokio_postgres::{Client, Row};
use uuid::Uuid;

use crate::db::partitions::at_once::at_once;
use crate::db::partitions::attached::{AttachedPartition, attached, default_partition};
use crate::ledger::archive::error::ArchiveError;
use crate::ledger::archive::table_shape::{ALLOCATIONS, ENTRIES, TableShape};
use crate::limits::{
    ARCHIVE_DELETE_ROWS, ARCHIVE_DETACH_AT_ONCE, ARCHIVE_MOVED_RECORDS_MAX,
    ARCHIVE_OPEN_RECORDS_MAX,
};
use crate::types::time::Time;

/// How the comment of a detached table begins: so a later run finds it.
pub(super) const DETACHED: &str = "earmark archive: its rows are in the files of periods up to ";

/// A partition that stays on line although its time is archived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftPartition {
    /// The name of the partition, with its schema.
    pub partition: String,
    /// Its records that were closed later than the archive's end, or are still open; at least so many.
    pub records: usize,
}

/// Takes away what is older than the archive's end. If that is to be recorded, the first transaction does so by the statements
/// of `record`; then `recorded` is called.
pub(super) async fn remove_archived(
    client: &Client,
    until: Time,
    record: &str,
    recorded: impl FnOnce() + Send,
) -> Result<Vec<LeftPartition>, ArchiveError> {
    let (statements, left) = find_ended(client, until).await?;
    let mut record = Some((record, recorded)).filter(|(record, _)| !record.is_empty());
    let chunks = statements
        .chunks(ARCHIVE_DETACH_AT_ONCE)
        .map(<[String]>::concat);
    // Nothing may be detached before it is recorded that it is archived.
    let without_partitions = statements.is_empty() && record.is_some();
    let alone = without_partitions.then(String::new);
    for chunk in alone.into_iter().chain(chunks) {
        let (text, recorded) = record.take().unzip();
        let text = text.unwrap_or_default();
        let work = format!(
            "DO $archive$ BEGIN
                 PERFORM set_config('enable_seqscan', 'off', true), set_config('enable_hashjoin', 'off', true),
                     set_config('enable_mergejoin', 'off', true);
                 {chunk} {text}
             END $archive$;"
        );
        // One statement, so that the limit of its time is that of the whole.
        at_once(client, ENTRIES.table, &work).await?;
        if let Some(recorded) = recorded {
            recorded();
        }
    }
    for (shape, time) in [(&ENTRIES, "time"), (&ALLOCATIONS, "updated_at")] {
        delete_from_default(client, shape, time, until).await?;
    }
    Ok(left)
}

/// The statements that detach what has ended, of one partition each; and the partitions that stay.
async fn find_ended(
    client: &Client,
    until: Time,
) -> Result<(Vec<String>, Vec<LeftPartition>), ArchiveError> {
    let mut left = Vec::new();
    let mut statements = Vec::new();
    for partition in ended(client, &ENTRIES, until).await? {
        statements.push(detach(&ENTRIES, &partition, until));
    }
    for partition in ended(client, &ALLOCATIONS, until).await? {
        let kept = KeptRecords::find(client, &partition, until).await?;
        if kept.closed.len() > ARCHIVE_MOVED_RECORDS_MAX
            || kept.open.len() > ARCHIVE_OPEN_RECORDS_MAX
        {
            left.push(LeftPartition {
                partition: partition.name,
                records: kept.closed.len() + kept.open.len(),
            });
            continue;
        }
        let moved = kept.move_into_default(&partition, until);
        statements.push(detach(&ALLOCATIONS, &partition, until) + &moved);
    }
    Ok((statements, left))
}

/// The partitions of a table that have ended by then.
async fn ended(
    client: &Client,
    shape: &TableShape,
    until: Time,
) -> Result<Vec<AttachedPartition>, ArchiveError> {
    let mut partitions = attached(client, shape.table).await?;
    partitions.retain(|partition| partition.to.is_some_and(|to| to <= until));
    Ok(partitions)
}

/// The statements that detach a partition.
fn detach(shape: &TableShape, partition: &AttachedPartition, until: Time) -> String {
    format!(
        "ALTER TABLE {} DETACH PARTITION {partition};
         COMMENT ON TABLE {partition} IS '{DETACHED}{until}';",
        shape.table,
        partition = partition.name
    )
}

/// Records of a partition that are not archived.
struct KeptRecords {
    /// They may be closed at any moment.
    open: Vec<(Uuid, Uuid)>,
    closed: Vec<(Uuid, Uuid)>,
}

impl KeptRecords {
    /// Finds them; no more than shows that there are too many.
    async fn find(
        client: &Client,
        partition: &AttachedPartition,
        until: Time,
    ) -> Result<Self, ArchiveError> {
        let (lower, upper) = &partition.literals;
        let bounds = [(">=", lower), ("<", upper)];
        let within: Vec<String> = bounds
            .iter()
            .filter_map(|(operator, bound)| {
                bound
                    .as_ref()
                    .map(|bound| format!("id {operator} '{bound}'"))
            })
            .collect();
        let open = format!(
            "SELECT owner_id, id FROM open_allocation WHERE {} LIMIT {}",
            within.join(" AND "),
            ARCHIVE_OPEN_RECORDS_MAX + 1
        );
        let closed = format!(
            "SELECT owner_id, id FROM {} WHERE updated_at >= $1 LIMIT {}",
            partition.name,
            ARCHIVE_MOVED_RECORDS_MAX + 1
        );
        let read = |row: &Row| Ok::<_, tokio_postgres::Error>((row.try_get(0)?, row.try_get(1)?));
        // In this order: a record that is closed between the two is in both.
        let open = client.query(&open, &[]).await?;
        let closed = client.query(&closed, &[&until.to_chrono()]).await?;
        Ok(Self {
            open: open.iter().map(read).collect::<Result<_, _>>()?,
            closed: closed.iter().map(read).collect::<Result<_, _>>()?,
        })
    }

    /// The statement that moves those that are closed by then into the DEFAULT partition.
    fn move_into_default(&self, partition: &AttachedPartition, until: Time) -> String {
        let all = || self.open.iter().chain(&self.closed);
        if all().next().is_none() {
            return String::new();
        }
        let ids = |id: fn(&(Uuid, Uuid)) -> Uuid| {
            let ids: Vec<String> = all().map(|key| id(key).to_string()).collect();
            ids.join(",")
        };
        let columns: Vec<&str> = ALLOCATIONS
            .columns
            .iter()
            .map(|column| column.name)
            .collect();
        let columns = columns.join(", ");
        format!(
            "WITH key AS (
                 SELECT DISTINCT owner_id, id FROM unnest('{{{}}}'::uuid[], '{{{}}}'::uuid[]) key(owner_id, id)
             ), kept AS (
                 DELETE FROM {} p USING key
                 WHERE p.owner_id = key.owner_id AND p.id = key.id AND p.updated_at >= '{until}' RETURNING p.*
             )
             INSERT INTO {} ({columns}) SELECT {columns} FROM kept;",
            ids(|key| key.0),
            ids(|key| key.1),
            partition.name,
            ALLOCATIONS.table
        )
    }
}

/// Deletes archived rows from the DEFAULT partition, in the order in which they are stored.
async fn delete_from_default(
    client: &Client,
    shape: &TableShape,
    time: &str,
    until: Time,
) -> Result<(), ArchiveError> {
    let Some(default) = default_partition(client, shape.table).await? else {
        return Ok(());
    };
    let delete = client
        .prepare(&format!(
            "WITH old AS (
                 SELECT ctid AS place FROM {default} WHERE ctid > $1::text::tid AND {time} < $2 LIMIT $3
             ), deleted AS (
                 DELETE FROM {default} d USING old WHERE d.ctid = old.place AND d.{time} < $2 RETURNING old.place
             )
             SELECT max(place)::text FROM deleted"
        ))
        .await?;
    let until: DateTime<Utc> = until.to_chrono();
    let mut last = String::from("(0,0)");
    loop {
        let row = client
            .query_one(&delete, &[&last, &until, &ARCHIVE_DELETE_ROWS])
            .await?;
        match row.try_get(0)? {
            Some(place) => last = place,
            None => return Ok(()),
        }
    }
}
