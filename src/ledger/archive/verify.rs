//! Checks an archive as a whole: each period by itself, the chain from period to period, and what a database says of it.

use std::path::{Path, PathBuf};

use crate::db::connect::Connector;
use crate::ledger::archive::error::ArchiveError;
use crate::ledger::archive::layout::{period_folder, period_folders, period_name};
use crate::ledger::archive::manifest::{MANIFEST_FILE, StoredManifest};
use crate::ledger::archive::period_check::{ArchiveFault, check_folder};
use crate::ledger::archive::store::{ArchivedRow, StoredPeriods};
use crate::ledger::archive::table_shape::{ALLOCATIONS, ENTRIES};
use crate::ledger::seal::model::PeriodSeal;

/// What an archive holds, as its manifests say, and how many faults were found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ArchiveSummary {
    /// The number of periods with a manifest that can be read.
    pub periods: i64,
    /// The number of their entries.
    pub entries: i64,
    /// The number of allocations that were closed in them.
    pub records: i64,
    /// All faults that were found.
    pub faults: i64,
}

/// A period of the archive.
struct FoundPeriod {
    folder: PathBuf,
    stored: StoredManifest,
}

/// Checks all periods in a folder, and calls `found` for each fault. With a database, holds them against its periods too.
///
/// # Errors
/// Any of [`ArchiveError`] that reading the folder or the database may have.
pub async fn verify_archive(
    directory: &Path,
    connector: Option<&Connector>,
    mut found: impl FnMut(&ArchiveFault),
) -> Result<ArchiveSummary, ArchiveError> {
    let mut summary = ArchiveSummary::default();
    let mut report = |fault: &ArchiveFault| {
        summary.faults += 1;
        found(fault);
    };
    let folders = period_folders(directory).map_err(ArchiveError::file(directory))?;
    let mut periods = Vec::new();
    for folder in folders {
        let check = check_folder(&folder).await;
        check.faults.iter().for_each(&mut report);
        if let Some(stored) = check.manifest {
            check_name(&folder, &stored).iter().for_each(&mut report);
            periods.push(FoundPeriod { folder, stored });
        }
    }
    periods.sort_by_key(|period| period.stored.manifest.end);
    chain(directory, &periods).iter().for_each(&mut report);
    if let Some(connector) = connector {
        let (mut client, _driver) = connector.connect().await?;
        let stored = StoredPeriods::read(&mut client).await?;
        for row in &stored.archived {
            let seal = stored.sealed.iter().find(|seal| seal.bounds.end == row.end);
            // A constraint holds that it is sealed.
            if let Some(seal) = seal {
                let period = periods.iter().find(|it| it.stored.manifest.end == row.end);
                compare(directory, seal, row, period)
                    .iter()
                    .for_each(&mut report);
            }
        }
    }
    for FoundPeriod { stored, .. } in &periods {
        summary.periods += 1;
        summary.entries += stored.manifest.rows(&ENTRIES);
        summary.records += stored.manifest.rows(&ALLOCATIONS);
    }
    Ok(summary)
}

/// That a folder has the name of its period.
fn check_name(folder: &Path, stored: &StoredManifest) -> Option<ArchiveFault> {
    let name = period_name(stored.manifest.bounds());
    let is_named = folder
        .file_name()
        .is_some_and(|found| found == name.as_str());
    (!is_named).then(|| ArchiveFault::new(folder, format!("its manifest is that of {name}")))
}

/// That each period follows from the one before it, and the first from nothing.
fn chain(directory: &Path, periods: &[FoundPeriod]) -> Vec<ArchiveFault> {
    let mut faults = Vec::new();
    let mut before: Option<&FoundPeriod> = None;
    for period in periods {
        let manifest = &period.stored.manifest;
        let fault = match before.map(|before| &before.stored) {
            None if manifest.seal.previous_digest.is_some() => Some((
                directory.to_owned(),
                format!("the period before {} is missing", manifest.start),
            )),
            Some(before) if before.manifest.end != manifest.start => Some((
                directory.to_owned(),
                format!(
                    "the period from {} to {} is missing",
                    before.manifest.end, manifest.start
                ),
            )),
            Some(before) if manifest.seal.previous_digest != Some(before.manifest.seal.digest) => {
                Some((
                    period.folder.join(MANIFEST_FILE),
                    format!(
                        "it does not follow from the digest {} of the period before",
                        before.manifest.seal.digest.0
                    ),
                ))
            }
            before
                if manifest.previous_manifest.map(|digest| digest.0)
                    != before.map(|it| it.digest) =>
            {
                Some((
                    period.folder.join(MANIFEST_FILE),
                    "it names another manifest before it than there is: one of the two was changed"
                        .into(),
                ))
            }
            _ => None,
        };
        faults.extend(fault.map(|(path, text)| ArchiveFault::new(&path, text)));
        before = Some(period);
    }
    faults
}

/// That a period of the database is in the archive, and is the same.
fn compare(
    directory: &Path,
    seal: &PeriodSeal,
    row: &ArchivedRow,
    period: Option<&FoundPeriod>,
) -> Vec<ArchiveFault> {
    let Some(period) = period else {
        let folder = period_folder(directory, seal.bounds);
        let text = format!(
            "the period {} is missing, which the database says is archived",
            seal.bounds
        );
        return vec![ArchiveFault::new(&folder, text)];
    };
    let StoredManifest { manifest, digest } = &period.stored;
    let path = period.folder.join(MANIFEST_FILE);
    let mut faults = Vec::new();
    if *digest != row.manifest_digest {
        let text = format!(
            "expected SHA-256 {} as the database has it, found {digest}",
            row.manifest_digest
        );
        faults.push(ArchiveFault::new(&path, text));
    }
    if manifest.seal() != *seal {
        let text = format!(
            "expected the seal {} as the database has it, found {}",
            seal.digest, manifest.seal.digest.0
        );
        faults.push(ArchiveFault::new(&path, text));
    }
    let counts = (manifest.rows(&ENTRIES), manifest.rows(&ALLOCATIONS));
    if counts != (row.entries, row.records) {
        let text = format!(
            "expected {} entries and {} allocations as the database has it, found {} and {}",
            row.entries, row.records, counts.0, counts.1
        );
        faults.push(ArchiveFault::new(&path, text));
    }
    faults
}
