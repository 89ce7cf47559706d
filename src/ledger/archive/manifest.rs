//! The manifest of a period: what its files are, and the seal that they were held against.

use std::fs;
use std::io::Read;
use std::path::Path;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::ledger::archive::table_file::TableFileError;
use crate::ledger::archive::table_shape::TableShape;
use crate::ledger::seal::model::{PeriodBounds, PeriodSeal, SealDigest};
use crate::types::time::Time;

/// The name of the manifest in the folder of its period.
pub(super) const MANIFEST_FILE: &str = "manifest.json";

/// The version of the files' form.
pub(super) const ARCHIVE_FORMAT: u32 = 1;

/// What a period's folder holds. The digests are in hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Manifest {
    /// [`ARCHIVE_FORMAT`] when it was written.
    pub(super) format: u32,
    pub(super) start: Time,
    pub(super) end: Time,
    pub(super) seal: ManifestSeal,
    /// The digest of the manifest of the period before; none for the first.
    pub(super) previous_manifest: Option<HexDigest>,
    /// In the order of the tables.
    pub(super) files: Vec<ManifestFile>,
}

/// The seal of the period, as the database has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ManifestSeal {
    pub(super) format: i32,
    pub(super) previous_digest: Option<HexDigest>,
    pub(super) digest: HexDigest,
    pub(super) owners: i64,
    pub(super) entries: i64,
}

/// A file of the period.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ManifestFile {
    /// The table whose rows it has.
    pub(super) table: String,
    pub(super) name: String,
    pub(super) rows: i64,
    pub(super) bytes: u64,
    pub(super) sha256: HexDigest,
}

impl Manifest {
    /// The manifest's text, of which its digest is.
    pub(super) fn to_text(&self) -> String {
        // Strings and numbers only: it cannot fail.
        let text = serde_json::to_string_pretty(self).unwrap_or_default();
        format!("{text}\n")
    }

    pub(super) fn bounds(&self) -> PeriodBounds {
        PeriodBounds {
            start: self.start,
            end: self.end,
        }
    }

    /// The file of a table.
    pub(super) fn file(&self, shape: &TableShape) -> Option<&ManifestFile> {
        self.files.iter().find(|file| file.table == shape.table)
    }

    /// The number of rows in the file of a table.
    pub(super) fn rows(&self, shape: &TableShape) -> i64 {
        self.file(shape).map_or(0, |file| file.rows)
    }

    /// The seal that the manifest says the period has.
    pub(super) fn seal(&self) -> PeriodSeal {
        PeriodSeal {
            bounds: self.bounds(),
            previous: self.seal.previous_digest.map(|digest| digest.0),
            owners: self.seal.owners,
            entries: self.seal.entries,
            digest: self.seal.digest.0,
        }
    }
}

/// A digest that is written as 64 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub(super) struct HexDigest(pub(super) SealDigest);

impl From<HexDigest> for String {
    fn from(digest: HexDigest) -> Self {
        digest.0.to_string()
    }
}

impl TryFrom<String> for HexDigest {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let mut bytes = [0; 32];
        let is_hex = text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        for (index, byte) in bytes.iter_mut().enumerate() {
            let digits = text.get(2 * index..2 * index + 2).filter(|_| is_hex);
            *byte = digits
                .and_then(|digits| u8::from_str_radix(digits, 16).ok())
                .ok_or("a digest has 64 hexadecimal digits")?;
        }
        Ok(Self(SealDigest(bytes)))
    }
}

/// A manifest as it was read, with the digest of its text.
#[derive(Clone, Debug)]
pub(super) struct StoredManifest {
    pub(super) manifest: Manifest,
    pub(super) digest: SealDigest,
}

/// Reads the manifest in a folder.
pub(super) fn read_manifest(folder: &Path) -> Result<StoredManifest, TableFileError> {
    let path = folder.join(MANIFEST_FILE);
    let text = fs::read(&path).map_err(|error| TableFileError::new(&path, error))?;
    let manifest: Manifest = serde_json::from_slice(&text)
        .map_err(|error| TableFileError::new(&path, format!("it is no manifest: {error}")))?;
    if manifest.format != ARCHIVE_FORMAT {
        let text = format!("it has format {}, which is newer", manifest.format);
        return Err(TableFileError::new(&path, text));
    }
    Ok(StoredManifest {
        manifest,
        digest: digest_of(&text),
    })
}

pub(super) fn digest_of(bytes: &[u8]) -> SealDigest {
    SealDigest(Sha256::digest(bytes).into())
}

/// The digest and the length of a file.
pub(super) fn digest_of_file(path: &Path) -> Result<(SealDigest, u64), TableFileError> {
    let failed = |error| TableFileError::new(path, error);
    let mut file = fs::File::open(path).map_err(|error| failed(error.to_string()))?;
    let mut sha = Sha256::new();
    let mut buffer = vec![0; 1 << 18];
    let mut length = 0;
    loop {
        let read = file
            .read(&mut buffer)
            .map_err(|error| failed(error.to_string()))?;
        if read == 0 {
            return Ok((SealDigest(sha.finalize().into()), length));
        }
        length += read as u64;
        sha.update(&buffer[..read]);
    }
}
