//! Writes the files of a period: under another name first, from where they are read again and held against the seal.

use std::fs;
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use futures_util::TryStreamExt;
use tokio_postgres::{Client, Row};

use crate::ledger::archive::error::ArchiveError;
use crate::ledger::archive::layout::{file_name, period_folder, sync_folder, unfinished_folder};
use crate::ledger::archive::manifest::{
    ARCHIVE_FORMAT, HexDigest, MANIFEST_FILE, Manifest, ManifestFile, ManifestSeal, StoredManifest,
    digest_of_file,
};
use crate::ledger::archive::period_check::{ArchiveFault, check_folder};
use crate::ledger::archive::table_file::{Cell, TableWriter};
use crate::ledger::archive::table_shape::{ColumnKind, TABLES, TableShape};
use crate::ledger::seal::digest::SEAL_FORMAT;
use crate::ledger::seal::model::{PeriodSeal, SealDigest};
use crate::types::time::Time;

/// A period that is to be archived, behind the one before.
#[derive(Clone, Copy, Debug)]
pub(super) struct NextPeriod {
    pub(super) seal: PeriodSeal,
    /// The digest of the manifest before; none for the first.
    pub(super) previous_manifest: Option<SealDigest>,
}

impl NextPeriod {
    /// The end and the start of the period, as statements take them. To the first belongs all that is before it.
    pub(super) fn range(&self) -> (DateTime<Utc>, DateTime<Utc>) {
        let start = match self.seal.previous {
            Some(_) => self.seal.bounds.start,
            None => Time::MIN,
        };
        (self.seal.bounds.end.to_chrono(), start.to_chrono())
    }
}

/// The files of a period, complete and checked.
#[derive(Debug)]
pub(super) struct PeriodFiles {
    pub(super) folder: PathBuf,
    pub(super) stored: StoredManifest,
}

/// Finds the complete files of a period, and holds them against its seal; none if there are none yet.
pub(super) async fn find(
    directory: &Path,
    period: &NextPeriod,
) -> Result<Option<PeriodFiles>, ArchiveError> {
    let folder = period_folder(directory, period.seal.bounds);
    if !folder.try_exists().map_err(ArchiveError::file(&folder))? {
        return Ok(None);
    }
    let stored = checked(&folder, period).await?;
    Ok(Some(PeriodFiles { folder, stored }))
}

/// Writes the files of a period, without giving them their name.
pub(super) async fn write(
    client: &Client,
    directory: &Path,
    period: &NextPeriod,
) -> Result<(), ArchiveError> {
    let bounds = period.seal.bounds;
    let folder = unfinished_folder(directory, bounds);
    match fs::remove_dir_all(&folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(ArchiveError::file(&folder)(error));
        }
        _ => {}
    }
    fs::create_dir_all(&folder).map_err(ArchiveError::file(&folder))?;
    let mut files = Vec::new();
    for shape in TABLES {
        let name = file_name(shape, bounds);
        let path = folder.join(&name);
        let rows = write_table(client, shape, period, &path).await?;
        let (sha256, bytes) = digest_of_file(&path)?;
        files.push(ManifestFile {
            table: shape.table.into(),
            name,
            rows,
            bytes,
            sha256: HexDigest(sha256),
        });
    }
    let seal = &period.seal;
    let manifest = Manifest {
        format: ARCHIVE_FORMAT,
        start: bounds.start,
        end: bounds.end,
        seal: ManifestSeal {
            format: SEAL_FORMAT,
            previous_digest: seal.previous.map(HexDigest),
            digest: HexDigest(seal.digest),
            owners: seal.owners,
            entries: seal.entries,
        },
        previous_manifest: period.previous_manifest.map(HexDigest),
        files,
    };
    let path = folder.join(MANIFEST_FILE);
    fs::write(&path, manifest.to_text())
        .and_then(|()| fs::File::open(&path)?.sync_all())
        .and_then(|()| sync_folder(&folder))
        .map_err(ArchiveError::file(&path))
}

/// Reads what was written, and gives it the period's name if it is right.
pub(super) async fn complete(
    directory: &Path,
    period: &NextPeriod,
) -> Result<PeriodFiles, ArchiveError> {
    let unfinished = unfinished_folder(directory, period.seal.bounds);
    let stored = checked(&unfinished, period).await?;
    let folder = period_folder(directory, period.seal.bounds);
    fs::rename(&unfinished, &folder)
        .and_then(|()| sync_folder(directory))
        .map_err(ArchiveError::file(&folder))?;
    Ok(PeriodFiles { folder, stored })
}

/// The manifest of a folder that has all files of the period as they should be.
async fn checked(folder: &Path, period: &NextPeriod) -> Result<StoredManifest, ArchiveError> {
    let check = check_folder(folder).await;
    let bounds = period.seal.bounds;
    if let Some(error) = ArchiveError::faulty(bounds, check.faults) {
        return Err(error);
    }
    let other = |text: &str| {
        let fault = ArchiveFault::new(&folder.join(MANIFEST_FILE), text);
        ArchiveError::faulty(bounds, vec![fault])
    };
    let failure = match &check.manifest {
        None => other("it cannot be read"),
        Some(found) if found.manifest.seal() != period.seal => {
            other("it is of another seal than the database has")
        }
        Some(found)
            if found.manifest.previous_manifest.map(|digest| digest.0)
                != period.previous_manifest =>
        {
            other("it names another manifest before it than was archived")
        }
        Some(_) => None,
    };
    match (failure, check.manifest) {
        (None, Some(stored)) => Ok(stored),
        (failure, _) => Err(failure.unwrap_or_else(|| ArchiveError::Corrupt("no manifest".into()))),
    }
}

async fn write_table(
    client: &Client,
    shape: &'static TableShape,
    period: &NextPeriod,
    path: &Path,
) -> Result<i64, ArchiveError> {
    let (end, start) = period.range();
    let rows = client.query_raw(&shape.select(), [end, start]).await?;
    let mut rows = std::pin::pin!(rows);
    let mut writer = TableWriter::create(path, shape)?;
    while let Some(row) = rows.try_next().await? {
        writer.push(&cells(shape, &row)?)?;
    }
    Ok(writer.finish()?)
}

fn cells<'r>(shape: &TableShape, row: &'r Row) -> Result<Vec<Cell<'r>>, tokio_postgres::Error> {
    let columns = shape.columns.iter().enumerate();
    let cells = columns.map(|(index, column)| {
        let cell = match column.kind {
            ColumnKind::Id => row.try_get::<_, Option<_>>(index)?.map(Cell::Id),
            ColumnKind::Number => row.try_get::<_, Option<_>>(index)?.map(Cell::Number),
            ColumnKind::Time => {
                let time: Option<DateTime<Utc>> = row.try_get(index)?;
                time.map(|time| Cell::Time(Time::from(time).micros()))
            }
            ColumnKind::Text | ColumnKind::Amount => {
                row.try_get::<_, Option<_>>(index)?.map(Cell::Text)
            }
            ColumnKind::Bytes => row.try_get::<_, Option<_>>(index)?.map(Cell::Bytes),
        };
        Ok(cell.unwrap_or(Cell::Absent))
    });
    cells.collect()
}
