//! Holds the files of a period against its manifest, and against each other: the entries are hashed again, down from the
//! period's digest. Nothing but the files is needed.

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};

use rust_decimal::Decimal;
use uuid::Uuid;

use crate::ledger::account::Balance;
use crate::ledger::archive::layout::file_name;
use crate::ledger::archive::manifest::{Manifest, StoredManifest, digest_of_file, read_manifest};
use crate::ledger::archive::table_file::{TableFileError, TableReader, TableRow};
use crate::ledger::archive::table_shape::{
    ALLOCATIONS, CARRY_FORWARDS, ENTRIES, SEALED_OWNERS, TABLES, TableShape,
};
use crate::ledger::seal::compare;
use crate::ledger::seal::digest::{PeriodHasher, SEAL_FORMAT};
use crate::ledger::seal::model::{
    AccountSeal, CarriedBalance, JournalLine, LineAmounts, OwnerSeal, PeriodBounds, SealDigest,
    SealKey,
};
use crate::ledger::seal::walk::{Walk, Walked};
use crate::limits::ARCHIVE_FAULTS_MAX;
use crate::types::amount::Amount;
use crate::types::ids::{AccountId, OwnerId};
use crate::types::time::Time;
use crate::types::unit::Unit;

/// Something in an archive that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArchiveFault {
    /// The file, or the folder where a file or a period is missing.
    pub path: PathBuf,
    /// What is wrong with it.
    pub text: String,
}

impl ArchiveFault {
    pub(super) fn new(path: &Path, text: impl ToString) -> Self {
        Self {
            path: path.to_owned(),
            text: text.to_string(),
        }
    }
}

impl fmt::Display for ArchiveFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path.display(), self.text)
    }
}

impl From<TableFileError> for ArchiveFault {
    fn from(error: TableFileError) -> Self {
        Self {
            path: error.path,
            text: error.reason,
        }
    }
}

/// What was found in a period's folder.
#[derive(Debug, Default)]
pub(super) struct PeriodCheck {
    /// None if it cannot be read, which is a fault.
    pub(super) manifest: Option<StoredManifest>,
    pub(super) faults: Vec<ArchiveFault>,
}

/// Checks a folder on a thread that may block.
pub(super) async fn check_folder(folder: &Path) -> PeriodCheck {
    let path = folder.to_owned();
    let checked = tokio::task::spawn_blocking(move || check(&path)).await;
    // A file that was made to deceive may bring the library to panic.
    checked.unwrap_or_else(|_| PeriodCheck {
        manifest: None,
        faults: vec![ArchiveFault::new(folder, "its files cannot be read")],
    })
}

fn check(folder: &Path) -> PeriodCheck {
    let stored = match read_manifest(folder) {
        Ok(stored) => stored,
        Err(error) => {
            return PeriodCheck {
                manifest: None,
                faults: vec![error.into()],
            };
        }
    };
    let mut faults = Vec::new();
    let mut files = Vec::new();
    for shape in TABLES {
        match check_file(folder, &stored.manifest, shape) {
            Ok((path, fault)) => {
                faults.extend(fault);
                files.push(path);
            }
            Err(fault) => faults.push(fault),
        }
    }
    // A file with another digest is read all the same, to find what is different in it.
    if let Ok([entries, allocations, carried, owners]) = <[PathBuf; 4]>::try_from(files) {
        let tree = SealTree::open(&stored.manifest, [&entries, &carried, &owners]);
        let hashed = tree.and_then(|tree| tree.check(&mut faults));
        faults.extend(hashed.err().map(Into::into));
        let read = check_allocations(&stored.manifest, &allocations, &mut faults);
        faults.extend(read.err().map(Into::into));
    }
    faults.truncate(ARCHIVE_FAULTS_MAX);
    PeriodCheck {
        manifest: Some(stored),
        faults,
    }
}

/// Holds a file against the manifest. An error: it is not there, or not in the manifest.
fn check_file(
    folder: &Path,
    manifest: &Manifest,
    shape: &TableShape,
) -> Result<(PathBuf, Option<ArchiveFault>), ArchiveFault> {
    let Some(file) = manifest.file(shape) else {
        let text = format!("its manifest names no file of {}", shape.table);
        return Err(ArchiveFault::new(folder, text));
    };
    let name = file_name(shape, manifest.bounds());
    let path = folder.join(&name);
    if file.name != name {
        let text = format!(
            "the manifest names {}, and the file of {} is {name}",
            file.name, shape.table
        );
        return Err(ArchiveFault::new(folder, text));
    }
    let (digest, bytes) = digest_of_file(&path)?;
    let expected = (file.sha256.0, file.bytes);
    let fault = ((digest, bytes) != expected).then(|| {
        let text = format!(
            "expected {} bytes with SHA-256 {}, found {bytes} bytes with {digest}",
            file.bytes, file.sha256.0
        );
        ArchiveFault::new(&path, text)
    });
    Ok((path, fault))
}

/// That a file has the number of rows that its manifest says.
fn check_rows(reader: &TableReader, found: i64, expected: i64) -> Option<ArchiveFault> {
    (found != expected).then(|| {
        ArchiveFault::new(
            reader.path(),
            format!("expected {expected} rows, found {found}"),
        )
    })
}

/// The files that the period's digest covers.
struct SealTree<'a> {
    manifest: &'a Manifest,
    bounds: PeriodBounds,
    entries: TableReader,
    carried: TableReader,
    owners: TableReader,
    /// The rows that were read of each.
    rows: [i64; 3],
}

impl<'a> SealTree<'a> {
    fn open(
        manifest: &'a Manifest,
        [entries, carried, owners]: [&Path; 3],
    ) -> Result<Self, TableFileError> {
        Ok(Self {
            manifest,
            bounds: manifest.bounds(),
            entries: TableReader::open(entries, &ENTRIES)?,
            carried: TableReader::open(carried, &CARRY_FORWARDS)?,
            owners: TableReader::open(owners, &SEALED_OWNERS)?,
            rows: [0; 3],
        })
    }

    /// Goes through the three files side by side, owner by owner.
    fn check(mut self, faults: &mut Vec<ArchiveFault>) -> Result<(), TableFileError> {
        let manifest = self.manifest;
        if manifest.seal.format != SEAL_FORMAT {
            let text = format!(
                "it was sealed in format {}, which is newer",
                manifest.seal.format
            );
            return Err(TableFileError::new(self.entries.path(), text));
        }
        let seal = manifest.seal();
        let mut hasher = PeriodHasher::new(seal.previous, self.bounds);
        while let Some(owner) = self.next_owner()? {
            let walked = self.entries_of(owner, faults)?;
            let accounts = self.accounts_of(owner)?;
            let stored = self.seals_of(owner)?;
            stored.iter().for_each(|seal| hasher.add(seal));
            let of_entries = compare::accounts(self.bounds, &walked, &accounts);
            let of_accounts = compare::owners(self.bounds, &accounts, &stored);
            let files = [self.entries.path(), self.carried.path()];
            let found = [of_entries, of_accounts];
            for (path, breaches) in files.into_iter().zip(found) {
                faults.extend(
                    breaches
                        .iter()
                        .map(|breach| ArchiveFault::new(path, breach)),
                );
            }
            if faults.len() > ARCHIVE_FAULTS_MAX {
                return Ok(());
            }
        }
        let of_period = compare::period(&seal, &hasher.finish());
        faults.extend(of_period.map(|breach| ArchiveFault::new(self.owners.path(), breach)));
        let files = [
            (&self.entries, &ENTRIES),
            (&self.carried, &CARRY_FORWARDS),
            (&self.owners, &SEALED_OWNERS),
        ];
        for ((reader, shape), rows) in files.into_iter().zip(self.rows) {
            faults.extend(check_rows(reader, rows, manifest.rows(shape)));
        }
        Ok(())
    }

    /// The least owner that is next in one of the files.
    fn next_owner(&mut self) -> Result<Option<Uuid>, TableFileError> {
        let mut owners = BTreeSet::new();
        for reader in [&mut self.entries, &mut self.carried, &mut self.owners] {
            if let Some(row) = reader.peek()? {
                owners.insert(row.id(0)?);
            }
        }
        Ok(owners.first().copied())
    }

    fn entries_of(
        &mut self,
        owner: Uuid,
        faults: &mut Vec<ArchiveFault>,
    ) -> Result<Walked, TableFileError> {
        let mut walk = Walk::without_openings(self.bounds);
        let mut is_in_order = true;
        while let Some(row) = self.entries.peek()? {
            if row.id(0)? != owner {
                break;
            }
            if is_in_order && let Err(error) = walk.step(&line(row)?) {
                is_in_order = false;
                let text = format!("owner {owner}: {error}");
                faults.push(ArchiveFault::new(self.entries.path(), text));
            }
            self.entries.advance();
            self.rows[0] += 1;
        }
        Ok(walk.finish())
    }

    fn accounts_of(&mut self, owner: Uuid) -> Result<Vec<AccountSeal>, TableFileError> {
        let mut accounts = Vec::new();
        while let Some(row) = self.carried.peek()? {
            if row.id(0)? != owner {
                break;
            }
            accounts.push(account(row, self.bounds.end)?);
            self.carried.advance();
            self.rows[1] += 1;
        }
        Ok(accounts)
    }

    /// One, if the file is as it should be.
    fn seals_of(&mut self, owner: Uuid) -> Result<Vec<OwnerSeal>, TableFileError> {
        let mut seals = Vec::new();
        while let Some(row) = self.owners.peek()? {
            if row.id(0)? != owner {
                break;
            }
            seals.push(OwnerSeal {
                owner: OwnerId(owner),
                end: self.bounds.end,
                entries: row.number(1)?,
                digest: digest(row, 2)?,
            });
            self.owners.advance();
            self.rows[2] += 1;
        }
        Ok(seals)
    }
}

/// An entry, by the columns of [`ENTRIES`].
fn line(row: TableRow<'_>) -> Result<JournalLine<'_>, TableFileError> {
    let amounts = [4, 5, 6, 7].map(|column| amount(row, column).ok());
    let [
        Some(available_delta),
        Some(held_delta),
        Some(available),
        Some(held),
    ] = amounts
    else {
        return Err(row.unreadable(4));
    };
    Ok(JournalLine {
        owner: row.id(0)?,
        account: row.id(1)?,
        unit: row.text(2)?,
        version: row.number(3)?,
        amounts: Some(LineAmounts {
            available_delta,
            held_delta,
            available,
            held,
        }),
        reservation_count: row.number(8)?,
        cause: row.text(9)?,
        cause_id: row.id(10)?,
        time: Some(row.time(11)?),
    })
}

/// A carry-forward, by the columns of [`CARRY_FORWARDS`].
fn account(row: TableRow<'_>, end: Time) -> Result<AccountSeal, TableFileError> {
    Ok(AccountSeal {
        key: SealKey {
            owner: OwnerId(row.id(0)?),
            account: AccountId(row.id(1)?),
            unit: Unit::stored(row.text(2)?),
        },
        end,
        entries: row.number(6)?,
        carried: CarriedBalance {
            balance: Balance {
                available: amount(row, 7)?,
                held: amount(row, 8)?,
                version: row.number(3)?,
                reservation_count: row.number(5)?,
            },
            time: row.time(4)?,
        },
        digest: digest(row, 9)?,
    })
}

fn amount(row: TableRow<'_>, column: usize) -> Result<Amount, TableFileError> {
    let decimal = Decimal::from_str_exact(row.text(column)?).ok();
    let amount = decimal.and_then(Amount::from_decimal);
    amount.ok_or_else(|| row.unreadable(column))
}

fn digest(row: TableRow<'_>, column: usize) -> Result<SealDigest, TableFileError> {
    let digest = SealDigest::stored(row.bytes(column)?);
    digest.ok_or_else(|| row.unreadable(column))
}

/// That each record was closed in the period, and that there is none twice.
fn check_allocations(
    manifest: &Manifest,
    path: &Path,
    faults: &mut Vec<ArchiveFault>,
) -> Result<(), TableFileError> {
    let mut reader = TableReader::open(path, &ALLOCATIONS)?;
    let closed_at = ALLOCATIONS.position("updated_at");
    let is_first = manifest.seal.previous_digest.is_none();
    let mut before = None;
    let mut rows = 0;
    while let Some(row) = reader.peek()? {
        let (owner, id, closed_at) = (row.id(0)?, row.id(1)?, row.time(closed_at)?);
        let is_in_period = closed_at < manifest.end && (is_first || closed_at >= manifest.start);
        if !is_in_period || before.is_some_and(|before| before >= (owner, id)) {
            let text = format!(
                "the allocation {id} of owner {owner}, closed at {closed_at}, has no place in it"
            );
            faults.push(ArchiveFault::new(path, text));
        }
        before = Some((owner, id));
        rows += 1;
        reader.advance();
        if faults.len() > ARCHIVE_FAULTS_MAX {
            return Ok(());
        }
    }
    faults.extend(check_rows(&reader, rows, manifest.rows(&ALLOCATIONS)));
    Ok(())
}
