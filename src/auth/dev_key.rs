//! The key pair that `earmark dev` creates, and the tokens that `earmark token` signs with it.
//!
//! Only a development server trusts this key: `earmark serve` has no default for its JWKS, issuer and audience.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, fchown};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::SigningKey;
use ed25519_dalek::pkcs8::spki::der::pem::LineEnding;
use ed25519_dalek::pkcs8::{DecodePrivateKey, EncodePrivateKey, KeypairBytes};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde::Serialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use uuid::Uuid;

/// The claim `iss` of development tokens.
pub const ISSUER: &str = "earmark-dev";
/// The claim `aud` of development tokens.
pub const AUDIENCE: &str = "earmark";
/// File name of the private key in the data folder: Ed25519, PKCS#8 version 1 (version 2 is read too), PEM, mode 0600.
const KEY_FILE: &str = "dev-key.pem";
/// File name of the JWKS with the public key in the data folder.
pub const JWKS_FILE: &str = "dev-jwks.json";

/// Why a development key or token could not be made.
#[derive(Debug, thiserror::Error)]
pub enum DevKeyError {
    /// A file or folder cannot be read or written.
    #[error("cannot read or write {path}: {source}", path = path.display())]
    File {
        /// The file or folder.
        path: PathBuf,
        /// The operating system's error.
        source: io::Error,
    },
    /// The file of the private key holds something else.
    #[error(
        "{path} holds no Ed25519 key in PKCS#8 PEM form: delete the file, and the next `earmark dev` creates a new key",
        path = _0.display()
    )]
    NoKey(PathBuf),
    /// The operating system's random number generator failed.
    #[error("the system's random number generator failed: {0}")]
    Random(String),
    /// The key could not be encoded, or the token not be signed.
    #[error("the token cannot be signed: {0}")]
    Signing(String),
}

/// An Ed25519 key pair, with the key id (`kid`) of its tokens.
pub struct DevKey {
    key: SigningKey,
    id: String,
}

/// The claims of a development token besides `iss`, `aud`, `iat` and `exp`. Claims that are `None`
/// or empty are omitted.
#[derive(Clone, Debug, Default, Serialize)]
pub struct DevClaims {
    /// The bearer's name: 1 to 255 characters.
    pub sub: String,
    /// The token's scopes, separated by spaces.
    pub scope: String,
    /// The enterprises that the bearer is a member of.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub enterprises: Vec<Uuid>,
    /// The firm whose CAS allocations the bearer uses.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub firm_id: Option<String>,
    /// The companies whose catalogues the bearer may read and write.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub companies: Vec<i64>,
    /// The tenant whose buckets the bearer uses.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tenant: Option<Uuid>,
}

impl DevKey {
    /// Reads the key of a data folder. Creates the folder, the key and its JWKS where they are missing; of several
    /// processes that do so at the same time one creates the key for all.
    ///
    /// # Errors
    /// Files cannot be read or written, or the key's file holds something else.
    pub fn open_or_create(data_dir: &Path) -> Result<Self, DevKeyError> {
        let path = data_dir.join(KEY_FILE);
        let key = match Self::open(data_dir) {
            Err(DevKeyError::File { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                fs::create_dir_all(data_dir).map_err(|source| DevKeyError::File {
                    path: data_dir.into(),
                    source,
                })?;
                create_key_file(data_dir, &path)?;
                // Read it back, because another process may have created it in the meantime.
                Self::open(data_dir)?
            }
            found => found?,
        };
        let jwks_path = data_dir.join(JWKS_FILE);
        let text = format!("{:#}\n", key.jwks());
        if fs::read_to_string(&jwks_path).ok().as_ref() != Some(&text) {
            let written = write_beside(data_dir, JWKS_FILE, 0o644, text.as_bytes())
                .and_then(|temporary| fs::rename(temporary, &jwks_path));
            written.map_err(|source| DevKeyError::File {
                path: jwks_path,
                source,
            })?;
        }
        Ok(key)
    }

    /// Reads the key of a data folder, where `earmark dev` has created it.
    ///
    /// # Errors
    /// [`DevKeyError::File`] with `NotFound` if there is no key yet.
    pub fn open(data_dir: &Path) -> Result<Self, DevKeyError> {
        let path = data_dir.join(KEY_FILE);
        let pem = fs::read_to_string(&path).map_err(|source| DevKeyError::File {
            path: path.clone(),
            source,
        })?;
        let key = SigningKey::from_pkcs8_pem(&pem).map_err(|_| DevKeyError::NoKey(path))?;
        Ok(Self::new(key))
    }

    /// Creates a key that is stored nowhere, for tests.
    ///
    /// # Errors
    /// The system's random number generator fails.
    pub fn generate() -> Result<Self, DevKeyError> {
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).map_err(|error| DevKeyError::Random(error.to_string()))?;
        Ok(Self::new(SigningKey::from_bytes(&seed)))
    }

    fn new(key: SigningKey) -> Self {
        // The JWK thumbprint of RFC 7638: the required members, sorted by name, without spaces.
        let x = URL_SAFE_NO_PAD.encode(key.verifying_key());
        let members = format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}"#);
        let id = URL_SAFE_NO_PAD.encode(Sha256::digest(members));
        Self { key, id }
    }

    /// The public key as a JWKS document.
    pub fn jwks(&self) -> Value {
        self.jwks_named(Some(&self.id))
    }

    /// The same with another `kid`, or without any.
    pub(super) fn jwks_named(&self, id: Option<&str>) -> Value {
        let x = URL_SAFE_NO_PAD.encode(self.key.verifying_key());
        let mut key = json!({"kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "use": "sig", "x": x});
        if let Some(id) = id {
            key["kid"] = id.into();
        }
        json!({ "keys": [key] })
    }

    /// Signs a token with `iss` [`ISSUER`] and `aud` [`AUDIENCE`] that expires after `ttl`.
    ///
    /// # Errors
    /// The claims or the key cannot be encoded.
    pub fn mint(&self, claims: &DevClaims, ttl: Duration) -> Result<String, DevKeyError> {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or(Duration::ZERO);
        let signing = |error: &dyn ToString| DevKeyError::Signing(error.to_string());
        let mut all = serde_json::to_value(claims).map_err(|error| signing(&error))?;
        all["iss"] = ISSUER.into();
        all["aud"] = AUDIENCE.into();
        all["iat"] = now.as_secs().into();
        all["exp"] = now.saturating_add(ttl).as_secs().into();
        self.sign(&all)
    }

    /// Signs a token with exactly these claims, for tests of claims that [`DevKey::mint`] would never write.
    ///
    /// # Errors
    /// The claims or the key cannot be encoded.
    pub fn sign(&self, claims: &Value) -> Result<String, DevKeyError> {
        self.sign_named(Some(&self.id), claims)
    }

    /// The same with another `kid` in the token's header, or without any.
    pub(super) fn sign_named(
        &self,
        id: Option<&str>,
        claims: &Value,
    ) -> Result<String, DevKeyError> {
        let signing = |error: &dyn ToString| DevKeyError::Signing(error.to_string());
        let der = pkcs8_v1(&self.key)
            .to_pkcs8_der()
            .map_err(|error| signing(&error))?;
        let header = Header {
            kid: id.map(str::to_owned),
            ..Header::new(Algorithm::EdDSA)
        };
        jsonwebtoken::encode(&header, claims, &EncodingKey::from_ed_der(der.as_bytes()))
            .map_err(|error| signing(&error))
    }
}

/// The key in version 1 of PKCS#8 (RFC 5958), which has no public key: neither OpenSSL 3 nor the Python package
/// cryptography reads version 2, which `SigningKey` would write.
fn pkcs8_v1(key: &SigningKey) -> KeypairBytes {
    KeypairBytes {
        secret_key: key.to_bytes(),
        public_key: None,
    }
}

fn create_key_file(data_dir: &Path, path: &Path) -> Result<(), DevKeyError> {
    let file_error = |source| DevKeyError::File {
        path: path.into(),
        source,
    };
    let pem = pkcs8_v1(&DevKey::generate()?.key)
        .to_pkcs8_pem(LineEnding::LF)
        .map_err(|error| DevKeyError::Signing(error.to_string()))?;
    let temporary = write_beside(data_dir, KEY_FILE, 0o600, pem.as_bytes()).map_err(file_error)?;
    // A hard link never replaces an existing file, as a rename would: of two processes only one creates the key.
    let linked = fs::hard_link(&temporary, path);
    fs::remove_file(&temporary).map_err(file_error)?;
    match linked {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(file_error(error)),
        _ => Ok(()),
    }
}

/// Writes and syncs a temporary file in the folder. The caller renames or links it, so that under its final name the
/// file is always complete.
fn write_beside(folder: &Path, name: &str, mode: u32, content: &[u8]) -> io::Result<PathBuf> {
    let path = folder.join(format!(".{name}.{}", Uuid::new_v4()));
    let mut file: File = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(&path)?;
    // When root works in another user's folder, that user must be able to read the file afterwards.
    let folder = fs::metadata(folder)?;
    if folder.uid() != file.metadata()?.uid() {
        fchown(&file, Some(folder.uid()), Some(folder.gid()))?;
    }
    file.write_all(content)?;
    file.sync_all()?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn the_key_is_private_and_lasts() {
        let folder = tempfile::tempdir().expect("a folder");
        let data_dir = folder.path().join("new");
        let first = DevKey::open_or_create(&data_dir).expect("made");
        let mode = fs::metadata(data_dir.join(KEY_FILE))
            .expect("there")
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);

        fs::remove_file(data_dir.join(JWKS_FILE)).expect("there");
        let second = DevKey::open_or_create(&data_dir).expect("found");
        assert_eq!(first.id, second.id);
        let jwks = fs::read_to_string(data_dir.join(JWKS_FILE)).expect("written again");
        assert!(jwks.contains(&first.id));

        let mut left: Vec<_> = fs::read_dir(&data_dir)
            .expect("readable")
            .map(|entry| entry.expect("an entry").file_name())
            .collect();
        left.sort();
        assert_eq!(left, [JWKS_FILE, KEY_FILE], "no temporary file is left");
    }

    #[test]
    fn processes_that_start_together_share_one_key() {
        let folder = tempfile::tempdir().expect("a folder");
        let ids: Vec<String> = std::thread::scope(|scope| {
            let starts: Vec<_> = (0..8)
                .map(|_| scope.spawn(|| DevKey::open_or_create(folder.path()).expect("a key").id))
                .collect();
            starts
                .into_iter()
                .map(|start| start.join().expect("no panic"))
                .collect()
        });
        assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    }

    /// RFC 8410 §7: version 0, which is v1, the algorithm's id, and the 32 bytes of the key in two octet strings.
    const V1: &[u8] = &[
        0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20,
    ];

    #[test]
    fn the_key_file_is_pkcs8_of_version_1() {
        use ed25519_dalek::pkcs8::Document;

        let folder = tempfile::tempdir().expect("a folder");
        let key = DevKey::open_or_create(folder.path()).expect("made");
        let pem = fs::read_to_string(folder.path().join(KEY_FILE)).expect("there");
        let (label, der) = Document::from_pem(&pem).expect("PEM");
        assert_eq!(label, "PRIVATE KEY");
        let expected = [V1, &key.key.to_bytes()].concat();
        assert_eq!(der.as_bytes(), expected);
    }

    #[test]
    fn a_key_file_of_version_2_still_works() {
        let folder = tempfile::tempdir().expect("a folder");
        let key = DevKey::generate().expect("a key");
        let older = key.key.to_pkcs8_pem(LineEnding::LF).expect("encoded");
        assert!(
            older.len() > 160,
            "with the public key, which version 1 lacks"
        );
        fs::write(folder.path().join(KEY_FILE), older.as_bytes()).expect("written");
        let opened = DevKey::open_or_create(folder.path()).expect("read");
        assert_eq!(opened.id, key.id);
        let file = fs::read_to_string(folder.path().join(KEY_FILE)).expect("there");
        assert_eq!(file, *older, "nobody else's file is changed");
    }

    #[test]
    fn what_is_no_key_is_named() {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join(KEY_FILE), "no key").expect("written");
        let refused = DevKey::open_or_create(folder.path());
        assert!(matches!(refused, Err(DevKeyError::NoKey(_))));
    }
}
