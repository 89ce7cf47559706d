//! Archives the oldest sealed periods, in order, while servers go on serving.
//!
//! Of each period the files are written, read again and held against the seal, and only then named. The database is changed
//! last: one short transaction records the period and detaches its partitions. So a run that is interrupted at any point goes
//! on: files without their name are written again, complete ones are read again, and what is recorded as archived and still
//! on line is taken away.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_postgres::Client;

use crate::db::connect::Connector;
use crate::db::migration_lock;
use crate::db::partitions::attached::attached;
use crate::ledger::archive::detached::{DetachedTable, detached_tables, drop_table};
use crate::ledger::archive::error::ArchiveError;
use crate::ledger::archive::layout::period_folder;
use crate::ledger::archive::period_check::{ArchiveFault, check_folder};
use crate::ledger::archive::period_files::{self, NextPeriod, PeriodFiles};
use crate::ledger::archive::plan::{PartitionSpan, plan};
use crate::ledger::archive::removal::{LeftPartition, remove_archived};
use crate::ledger::archive::store::{ArchivedRow, StoredPeriods, count, insert_archived};
use crate::ledger::archive::table_shape::{ALLOCATIONS, ENTRIES};
use crate::ledger::seal::model::{PeriodBounds, PeriodSeal, SealDigest};
use crate::types::time::Time;

/// What is to be archived, and where.
#[derive(Clone, Debug)]
pub struct ArchiveOptions {
    /// The folder of the archive; it is made if it is not there.
    pub directory: PathBuf,
    /// How long a period is kept in the database after its end.
    pub keep: Duration,
    /// Whether tables that were detached are dropped, once their files were read again.
    pub drop: bool,
}

/// What an archive has done, in the order in which it does it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ArchiveStep {
    /// The files of a period are written, under another name than theirs.
    Written(PeriodBounds),
    /// The files of a period were read again, are right, and have their name.
    Completed(PeriodBounds),
    /// A period is archived.
    Archived(ArchivedFiles),
    /// A partition of allocations stays on line until a later run.
    Left(LeftPartition),
    /// A period cannot be archived before the end of the partition that has its entries.
    Waiting {
        /// The first period that waits.
        bounds: PeriodBounds,
        /// The end of the partition; none if it has none.
        partition_end: Option<Time>,
    },
    /// A table was dropped that was a partition.
    Dropped(String),
}

/// A period whose rows are in files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArchivedFiles {
    /// When the period begins and ends.
    pub bounds: PeriodBounds,
    /// The folder that has its files.
    pub folder: PathBuf,
    /// The number of its entries.
    pub entries: i64,
    /// The number of allocations that were closed in it.
    pub records: i64,
    /// The digest of its manifest.
    pub manifest_digest: SealDigest,
}

/// The key of the advisory lock: «earmarch» in ASCII.
const LOCK_KEY: i64 = 0x6561_726d_6172_6368;

/// Rows are sorted by the database, on its disk if there are many.
const READ_SETTINGS: &str =
    "SET jit = off; SET work_mem = '64MB'; SET max_parallel_workers_per_gather = 0";

/// Archives what can be archived, and calls `done` after each step.
///
/// # Errors
/// Any variant of [`ArchiveError`].
pub async fn archive(
    connector: &Connector,
    options: &ArchiveOptions,
    mut done: impl FnMut(&ArchiveStep) + Send + Sync,
) -> Result<(), ArchiveError> {
    let connector = connector.adjusted(|session| {
        session.statement_timeout = Duration::ZERO;
        session.application_name = "earmark-archive";
    });
    let (client, driver) = connector.connect().await?;
    let mut run = ArchiveRun {
        connector: &connector,
        options,
        client,
        left: Vec::new(),
        done: &mut done,
    };
    let ended = run.archive_all().await;
    drop(run);
    // Once the driver has ended, the connection is closed and the lock is released.
    _ = driver.await;
    ended
}

async fn take_lock(client: &Client) -> Result<(), ArchiveError> {
    let row = client
        .query_one("SELECT pg_try_advisory_lock($1)", &[&LOCK_KEY])
        .await?;
    if row.try_get(0)? {
        Ok(())
    } else {
        Err(ArchiveError::Busy)
    }
}

struct ArchiveRun<'a> {
    connector: &'a Connector,
    options: &'a ArchiveOptions,
    client: Client,
    /// What the last change has left on line.
    left: Vec<LeftPartition>,
    done: &'a mut (dyn FnMut(&ArchiveStep) + Send + Sync),
}

impl ArchiveRun<'_> {
    async fn archive_all(&mut self) -> Result<(), ArchiveError> {
        take_lock(&self.client).await?;
        self.client.batch_execute(READ_SETTINGS).await?;
        let directory = &self.options.directory;
        fs::create_dir_all(directory).map_err(ArchiveError::file(directory))?;
        let periods = StoredPeriods::read(&mut self.client).await?;
        if let Some(until) = periods.archived_until() {
            self.change(until, "", Vec::new()).await?;
        }
        self.archive_waiting(&periods).await?;
        for partition in std::mem::take(&mut self.left) {
            (self.done)(&ArchiveStep::Left(partition));
        }
        if self.options.drop {
            self.drop_detached().await?;
        }
        Ok(())
    }

    async fn archive_waiting(&mut self, periods: &StoredPeriods) -> Result<(), ArchiveError> {
        let keep = i64::try_from(self.options.keep.as_micros()).unwrap_or(i64::MAX);
        let latest_end = periods
            .now
            .micros()
            .checked_sub(keep)
            .and_then(Time::from_micros);
        let waiting = periods.waiting(latest_end.unwrap_or(Time::MIN));
        let partitions: Vec<PartitionSpan> = attached(&self.client, ENTRIES.table)
            .await?
            .iter()
            .map(|partition| PartitionSpan {
                from: partition.from,
                to: partition.to,
            })
            .collect();
        let plan = plan(&waiting, |seal| seal.bounds, &partitions);
        let mut previous = periods.archived.last().map(|row| row.manifest_digest);
        for group in &plan.groups {
            previous = self.archive_group(group, previous).await?;
        }
        if let Some((bounds, partition)) = plan.waiting {
            (self.done)(&ArchiveStep::Waiting {
                bounds,
                partition_end: partition.to,
            });
        }
        Ok(())
    }

    /// Archives periods together. Returns the digest of the last manifest.
    async fn archive_group(
        &mut self,
        group: &[PeriodSeal],
        mut previous_manifest: Option<SealDigest>,
    ) -> Result<Option<SealDigest>, ArchiveError> {
        let mut archived = Vec::new();
        let mut record = String::new();
        let mut until = Time::MIN;
        for seal in group {
            let period = NextPeriod {
                seal: *seal,
                previous_manifest,
            };
            let files = self.files_of(&period).await?;
            let row = self.compare_counts(&period, &files).await?;
            previous_manifest = Some(files.stored.digest);
            until = seal.bounds.end;
            record += &insert_archived(&row);
            archived.push(ArchivedFiles {
                bounds: seal.bounds,
                folder: files.folder,
                entries: row.entries,
                records: row.records,
                manifest_digest: row.manifest_digest,
            });
        }
        self.change(until, &record, archived).await?;
        Ok(previous_manifest)
    }

    /// The complete files of a period, which are written unless they are there.
    async fn files_of(&mut self, period: &NextPeriod) -> Result<PeriodFiles, ArchiveError> {
        let directory = &self.options.directory;
        if let Some(files) = period_files::find(directory, period).await? {
            return Ok(files);
        }
        period_files::write(&self.client, directory, period).await?;
        (self.done)(&ArchiveStep::Written(period.seal.bounds));
        let files = period_files::complete(directory, period).await?;
        (self.done)(&ArchiveStep::Completed(period.seal.bounds));
        Ok(files)
    }

    /// Nothing may be in the database that is not in the files.
    async fn compare_counts(
        &self,
        period: &NextPeriod,
        files: &PeriodFiles,
    ) -> Result<ArchivedRow, ArchiveError> {
        let manifest = &files.stored.manifest;
        for shape in [&ENTRIES, &ALLOCATIONS] {
            let (stored, written) = (
                count(&self.client, shape, period).await?,
                manifest.rows(shape),
            );
            if stored != written {
                return Err(ArchiveError::Differs {
                    bounds: period.seal.bounds,
                    table: shape.table,
                    stored,
                    written,
                });
            }
        }
        Ok(ArchivedRow {
            end: manifest.end,
            entries: manifest.rows(&ENTRIES),
            records: manifest.rows(&ALLOCATIONS),
            manifest_digest: files.stored.digest,
        })
    }

    /// Changes the database, on a connection that holds the lock of migrations as long. What is recorded is `archived`.
    async fn change(
        &mut self,
        until: Time,
        record: &str,
        archived: Vec<ArchivedFiles>,
    ) -> Result<(), ArchiveError> {
        let (client, driver): (Client, JoinHandle<()>) = self.connector.connect().await?;
        if !migration_lock::take(&client).await? {
            return Err(ArchiveError::Locked);
        }
        let done = &mut self.done;
        let recorded = || {
            for files in archived {
                done(&ArchiveStep::Archived(files));
            }
        };
        let left = remove_archived(&client, until, record, recorded).await;
        drop(client);
        // Once the driver has ended, the connection is closed and the lock is released.
        _ = driver.await;
        self.left = left?;
        Ok(())
    }

    /// Drops what was detached, by this run or an earlier one.
    async fn drop_detached(&mut self) -> Result<(), ArchiveError> {
        let tables = detached_tables(&self.client).await?;
        if tables.is_empty() {
            return Ok(());
        }
        let periods = StoredPeriods::read(&mut self.client).await?;
        let mut checked = BTreeSet::new();
        for table in tables {
            self.check_again(&periods, &table, &mut checked).await?;
            drop_table(&self.client, &table).await?;
            (self.done)(&ArchiveStep::Dropped(table.name));
        }
        Ok(())
    }

    /// Reads the files of the periods again that have the rows of a table, each once in this run.
    async fn check_again(
        &self,
        periods: &StoredPeriods,
        table: &DetachedTable,
        checked: &mut BTreeSet<Time>,
    ) -> Result<(), ArchiveError> {
        let Some((first, last)) = table.times else {
            return Ok(());
        };
        let unarchived = |from: Time| ArchiveError::Unarchived {
            table: table.name.clone(),
            from: from.to_string(),
        };
        if periods.archived_until().is_none_or(|until| last >= until) {
            return Err(unarchived(last));
        }
        let holding = periods.sealed.iter().filter(|seal| {
            let is_before = seal.previous.is_some() && last < seal.bounds.start;
            first < seal.bounds.end && !is_before
        });
        for PeriodSeal { bounds, .. } in holding {
            let row = periods.archived.iter().find(|row| row.end == bounds.end);
            let row = row.ok_or_else(|| unarchived(bounds.end))?;
            if !checked.insert(bounds.end) {
                continue;
            }
            let folder = period_folder(&self.options.directory, *bounds);
            let mut check = check_folder(&folder).await;
            let digest = check.manifest.map(|stored| stored.digest);
            if check.faults.is_empty() && digest != Some(row.manifest_digest) {
                let text = "its manifest is not the one that was archived";
                check.faults.push(ArchiveFault::new(&folder, text));
            }
            if let Some(error) = ArchiveError::faulty(*bounds, check.faults) {
                return Err(error);
            }
        }
        Ok(())
    }
}
