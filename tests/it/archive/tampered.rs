//! Whatever is changed in an archive is found, and named.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use earmark::db::connect::Connector;
use earmark::ledger::archive::verify::verify_archive;
use parquet::column::reader::ColumnReader;
use parquet::column::writer::ColumnWriter;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::file::writer::SerializedFileWriter;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::ArchiveFixture;

/// An archive of both stretches, with a copy of its files.
struct TamperedArchive {
    it: ArchiveFixture,
    folders: Vec<PathBuf>,
}

impl TamperedArchive {
    async fn open() -> Self {
        let it = ArchiveFixture::open().await;
        it.seal(it.ends[0]).await;
        let mut periods = it.archive().await;
        it.seal(it.ends[1]).await;
        periods.extend(it.archive().await);
        copy(&it.directory(), &it.folder.path().join("kept"));
        let folders = periods.into_iter().map(|period| period.folder).collect();
        Self { it, folders }
    }

    /// The file of a period whose name begins so.
    fn file(&self, period: usize, stem: &str) -> PathBuf {
        let files = fs::read_dir(&self.folders[period]).expect("a folder");
        let mut paths = files.map(|file| file.expect("a file").path());
        let is_named = |path: &PathBuf| {
            let name = path.file_name().expect("a name").to_string_lossy();
            name.starts_with(stem)
        };
        paths.find(is_named).expect(stem)
    }

    async fn faults(&self, is_compared: bool) -> Vec<String> {
        let connector = Connector::new(self.it.url()).expect("a URL");
        let connector = is_compared.then_some(&connector);
        let mut faults = Vec::new();
        let summary = verify_archive(&self.it.directory(), connector, |fault| {
            faults.push(fault.to_string())
        })
        .await
        .expect("read");
        assert_eq!(summary.faults, i64::try_from(faults.len()).expect("few"));
        faults
    }

    fn restore(&self) {
        fs::remove_dir_all(self.it.directory()).expect("removed");
        copy(&self.it.folder.path().join("kept"), &self.it.directory());
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("an entry");
        let target = to.join(entry.file_name());
        if entry.file_type().expect("a type").is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), &target).expect("copied");
        }
    }
}

/// Writes a file anew, with 1 added to a number of its first row.
fn rewrite(path: &Path, column: &str) {
    let reader = SerializedFileReader::new(File::open(path).expect("a file")).expect("Parquet");
    let schema = reader
        .metadata()
        .file_metadata()
        .schema_descr()
        .root_schema_ptr();
    let names: Vec<String> = schema
        .get_fields()
        .iter()
        .map(|field| field.name().to_owned())
        .collect();
    let written = path.with_extension("written");
    let file = File::create(&written).expect("a file");
    let mut writer = SerializedFileWriter::new(file, schema, Arc::default()).expect("a writer");
    let group = reader.get_row_group(0).expect("rows");
    let rows = usize::try_from(group.metadata().num_rows()).expect("few");
    let mut new_group = writer.next_row_group().expect("a group");
    for (index, name) in names.iter().enumerate() {
        let mut target = new_group
            .next_column()
            .expect("a column")
            .expect("a column");
        match (
            group.get_column_reader(index).expect("a column"),
            target.untyped(),
        ) {
            (ColumnReader::Int64ColumnReader(mut from), ColumnWriter::Int64ColumnWriter(to)) => {
                let mut values = Vec::new();
                from.read_records(rows, None, None, &mut values)
                    .expect("read");
                if name == column {
                    values[0] += 1;
                }
                to.write_batch(&values, None, None).expect("written");
            }
            (
                ColumnReader::ByteArrayColumnReader(mut from),
                ColumnWriter::ByteArrayColumnWriter(to),
            ) => {
                let mut values = Vec::new();
                from.read_records(rows, None, None, &mut values)
                    .expect("read");
                to.write_batch(&values, None, None).expect("written");
            }
            (
                ColumnReader::FixedLenByteArrayColumnReader(mut from),
                ColumnWriter::FixedLenByteArrayColumnWriter(to),
            ) => {
                let mut values = Vec::new();
                from.read_records(rows, None, None, &mut values)
                    .expect("read");
                to.write_batch(&values, None, None).expect("written");
            }
            _ => panic!("an unexpected column {name}"),
        }
        target.close().expect("closed");
    }
    new_group.close().expect("closed");
    writer.close().expect("closed");
    fs::rename(&written, path).expect("renamed");
}

/// Changes a manifest, which stays one.
fn change_manifest(folder: &Path, change: impl FnOnce(&mut Value)) {
    let path = folder.join("manifest.json");
    let text = fs::read(&path).expect("a manifest");
    let mut manifest = serde_json::from_slice(&text).expect("JSON");
    change(&mut manifest);
    fs::write(&path, format!("{manifest:#}\n")).expect("written");
}

/// Makes the manifest say what a file of it is now.
fn adjust_manifest(folder: &Path, path: &Path) {
    let bytes = fs::read(path).expect("a file");
    let digest: String = Sha256::digest(&bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let name = path.file_name().expect("a name").to_str().expect("UTF-8");
    change_manifest(folder, |manifest| {
        let files = manifest["files"].as_array_mut().expect("files");
        let file = files
            .iter_mut()
            .find(|file| file["name"] == name)
            .expect(name);
        file["bytes"] = bytes.len().into();
        file["sha256"] = digest.into();
    });
}

fn assert_named(faults: &[String], path: &Path, text: &str) {
    let start = format!("{}: ", path.display());
    let is_named = faults
        .iter()
        .any(|fault| fault.starts_with(&start) && fault.contains(text));
    assert!(is_named, "no {start}…{text} in {faults:#?}");
}

#[tokio::test]
async fn a_changed_or_missing_file_is_named() {
    let archive = TamperedArchive::open().await;
    assert_eq!(archive.faults(true).await, Vec::<String>::new());
    for stem in ["entries", "allocations", "carry-forwards", "sealed-owners"] {
        let path = archive.file(0, stem);
        let mut bytes = fs::read(&path).expect("a file");
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(&path, &bytes).expect("written");
        assert_named(&archive.faults(false).await, &path, "bytes with SHA-256");
        fs::remove_file(&path).expect("removed");
        let faults = archive.faults(false).await;
        assert_named(&faults, &path, "No such file");
        assert_eq!(faults.len(), 1);
        archive.restore();
    }
    // Cut off, and something else.
    let path = archive.file(0, "entries");
    let bytes = fs::read(&path).expect("a file");
    for bytes in [&bytes[..bytes.len() - 1], b"PAR1", b""] {
        fs::write(&path, bytes).expect("written");
        adjust_manifest(&archive.folders[0], &path);
        assert_named(&archive.faults(false).await, &path, "");
    }
    archive.restore();
    assert_eq!(archive.faults(true).await, Vec::<String>::new());
}

/// The digests of the seal find what the digests of the files cannot, if these were written anew.
#[tokio::test]
async fn a_rewritten_row_is_named_though_its_manifest_was_rewritten_too() {
    let archive = TamperedArchive::open().await;
    let owner = &archive.it.fixture.parties.enterprise;
    let (first, second) = (&archive.folders[0], &archive.folders[1]);
    for (stem, column, text) in [
        ("entries", "reservation_count", format!("owner {owner}, ")),
        ("entries", "time", format!("owner {owner}")),
        (
            "carry-forwards",
            "version",
            format!("owner {owner}, all accounts, all units: "),
        ),
        (
            "sealed-owners",
            "entries",
            "all owners, all accounts, all units: expected period".into(),
        ),
    ] {
        let path = archive.file(0, stem);
        rewrite(&path, column);
        adjust_manifest(first, &path);
        let faults = archive.faults(false).await;
        assert_named(&faults, &path, &text);
        assert_named(
            &faults,
            &second.join("manifest.json"),
            "one of the two was changed",
        );
        assert_named(
            &archive.faults(true).await,
            &first.join("manifest.json"),
            "as the database has it",
        );
        archive.restore();
    }
}

#[tokio::test]
async fn a_changed_manifest_is_named() {
    let archive = TamperedArchive::open().await;
    let (first, second) = (&archive.folders[0], &archive.folders[1]);
    let (of_first, of_second) = (first.join("manifest.json"), second.join("manifest.json"));
    for key in ["entries", "owners"] {
        change_manifest(first, |manifest| manifest["seal"][key] = 1_000.into());
        let faults = archive.faults(false).await;
        assert_named(
            &faults,
            &archive.file(0, "sealed-owners"),
            "expected period",
        );
        assert_named(
            &archive.faults(true).await,
            &of_first,
            "as the database has it",
        );
        archive.restore();
    }
    change_manifest(second, |manifest| {
        manifest["seal"]["previousDigest"] = "0".repeat(64).into();
    });
    assert_named(
        &archive.faults(false).await,
        &of_second,
        "does not follow from the digest",
    );
    archive.restore();
    change_manifest(first, |manifest| {
        manifest["files"][1]["rows"] = 1_000.into()
    });
    assert_named(
        &archive.faults(false).await,
        &archive.file(0, "allocations"),
        "expected 1000 rows",
    );
    archive.restore();
    change_manifest(first, |manifest| manifest["format"] = 2.into());
    assert_named(
        &archive.faults(false).await,
        &of_first,
        "format 2, which is newer",
    );
    archive.restore();
    fs::write(&of_first, "{}").expect("written");
    assert_named(&archive.faults(false).await, &of_first, "it is no manifest");
    archive.restore();
    // Only who knows the manifest's digest sees that its form is another.
    let text = fs::read_to_string(&of_first).expect("a manifest");
    fs::write(&of_first, text + "\n").expect("written");
    assert_named(
        &archive.faults(false).await,
        &of_second,
        "one of the two was changed",
    );
    archive.restore();

    let sql = &archive.it.sql;
    let changed = "UPDATE archived_period SET records = records + 1";
    sql.batch_execute(changed).await.expect(changed);
    assert_named(
        &archive.faults(true).await,
        &of_first,
        "allocations as the database has it",
    );
}

#[tokio::test]
async fn a_missing_period_is_named() {
    let archive = TamperedArchive::open().await;
    let directory = archive.it.directory();
    let last = archive.folders.len() - 1;
    fs::remove_dir_all(&archive.folders[0]).expect("removed");
    assert_named(
        &archive.faults(false).await,
        &directory,
        "the period before",
    );
    assert_named(
        &archive.faults(true).await,
        &archive.folders[0],
        "is missing, which the database says",
    );
    archive.restore();
    fs::remove_dir_all(&archive.folders[last]).expect("removed");
    assert_eq!(
        archive.faults(false).await,
        Vec::<String>::new(),
        "only the database has it"
    );
    assert_named(
        &archive.faults(true).await,
        &archive.folders[last],
        "is missing, which the database says",
    );
    archive.restore();
    let other = directory.join("20000101-20000201");
    fs::rename(&archive.folders[0], &other).expect("renamed");
    assert_named(
        &archive.faults(false).await,
        &other,
        "its manifest is that of",
    );
}
