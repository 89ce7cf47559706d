//! Reads the PEM files, and makes rustls's configuration of them.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls::crypto::ring;
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::sign::{CertifiedKey, SigningKey, SingleCertAndKey};
use rustls::{Error as RustlsError, InconsistentKeys, ServerConfig};
use sha2::{Digest, Sha256};

use super::certificate::CertificateValidity;
use crate::limits::TLS_RELOAD_INTERVAL;
use crate::pem;

/// The protocol that clients must offer by ALPN.
pub(super) const ALPN: &[u8] = b"h2";

const CERT: &str = "--tls-cert";
const KEY: &str = "--tls-key";
const CLIENT_CA: &str = "--tls-client-ca";

/// Whether a client needs a certificate, where the authorities of clients are known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TlsClientAuth {
    /// A connection without an accepted certificate is refused.
    #[default]
    Required,
    /// A client may have no certificate; one that it presents must be accepted.
    Optional,
}

/// The files that a listener's TLS is made from.
#[derive(Clone, Debug)]
pub struct TlsFiles {
    /// The certificate of the server, followed by those of the intermediate authorities that lead to its root.
    pub certificate: PathBuf,
    /// The private key of the certificate, not encrypted.
    pub key: PathBuf,
    /// The authorities whose certificates clients present; `None`: clients are not asked for one.
    pub client_ca: Option<PathBuf>,
    /// Whether a client may connect without a certificate. Without `client_ca` it has no effect.
    pub client_auth: TlsClientAuth,
    /// How often the files are looked at for changes. The command line has no option for it.
    pub reload_interval: Duration,
}

impl TlsFiles {
    /// A certificate and its key; clients need no certificate.
    pub fn new(certificate: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Self {
        Self {
            certificate: certificate.into(),
            key: key.into(),
            client_ca: None,
            client_auth: TlsClientAuth::default(),
            reload_interval: TLS_RELOAD_INTERVAL,
        }
    }
}

/// Why a file cannot be used. The text names the setting and the file, and says what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{flag} {}: {reason}", path.display())]
pub struct TlsFileError {
    flag: &'static str,
    path: PathBuf,
    reason: String,
}

/// What the files hold.
pub(super) struct TlsContents {
    certificate: Vec<u8>,
    key: Vec<u8>,
    client_ca: Option<Vec<u8>>,
}

/// A configuration that connections can use, and what it was made from.
pub(super) struct LoadedTls {
    pub(super) config: Arc<ServerConfig>,
    /// The validity of the server's own certificate.
    pub(super) validity: CertificateValidity,
    /// Identifies the contents of the files.
    pub(super) digest: [u8; 32],
}

impl TlsFiles {
    /// Reads all files. It blocks.
    ///
    /// # Errors
    /// The first file that cannot be read, or is too large.
    pub(super) fn read(&self) -> Result<TlsContents, TlsFileError> {
        let read = |flag, path: &Path| pem::read(path).map_err(|why| refused(flag, path, why));
        let client_ca = self.client_ca.as_deref();
        Ok(TlsContents {
            certificate: read(CERT, &self.certificate)?,
            key: read(KEY, &self.key)?,
            client_ca: client_ca.map(|path| read(CLIENT_CA, path)).transpose()?,
        })
    }

    /// Makes a configuration of what the files hold. The certificate's validity is not judged.
    ///
    /// # Errors
    /// The first file whose contents cannot be used, or that does not go with another one.
    pub(super) fn load(&self, contents: &TlsContents) -> Result<LoadedTls, TlsFileError> {
        let of_certificate = |reason: String| refused(CERT, &self.certificate, reason);
        let chain = pem::certificates(&contents.certificate).map_err(of_certificate)?;
        let validity = CertificateValidity::of(&chain[0]).map_err(|error| {
            of_certificate(format!("its first certificate cannot be decoded: {error}"))
        })?;
        let certified = CertifiedKey::new(chain, self.signing_key(&contents.key)?);
        match certified.keys_match() {
            Ok(()) | Err(RustlsError::InconsistentKeys(InconsistentKeys::Unknown)) => {}
            Err(RustlsError::InconsistentKeys(_)) => {
                let certificate = self.certificate.display();
                let reason = format!(
                    "it is not the key of the first certificate in {CERT} {certificate}: give the two that belong together, \
                     and the server's own certificate before those of its authorities"
                );
                return Err(refused(KEY, &self.key, reason));
            }
            Err(error) => return Err(of_certificate(error.to_string())),
        }
        // Named explicitly: the process-wide default depends on the other users of rustls in the process.
        let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| of_certificate(error.to_string()))?;
        let builder = match self.client_verifier(contents)? {
            Some(verifier) => builder.with_client_cert_verifier(verifier),
            None => builder.with_no_client_auth(),
        };
        let mut config = builder.with_cert_resolver(Arc::new(SingleCertAndKey::from(certified)));
        config.alpn_protocols = vec![ALPN.into()];
        if self.client_ca.is_some() {
            // A resumed session would not verify the client's certificate again, which may have expired since.
            config.session_storage = Arc::new(NoServerSessionStorage {});
            config.send_tls13_tickets = 0;
        }
        Ok(LoadedTls {
            config: Arc::new(config),
            validity,
            digest: contents.digest(),
        })
    }

    fn signing_key(&self, contents: &[u8]) -> Result<Arc<dyn SigningKey>, TlsFileError> {
        let of_key = |reason: String| refused(KEY, &self.key, reason);
        let key = pem::private_key(contents).map_err(of_key)?;
        ring::sign::any_supported_type(&key).map_err(|error| {
            of_key(format!(
                "the key cannot be used ({error}): it must be RSA of 2048 to 4096 bits, ECDSA on P-256 or P-384, or Ed25519"
            ))
        })
    }

    fn client_verifier(
        &self,
        contents: &TlsContents,
    ) -> Result<Option<Arc<dyn ClientCertVerifier>>, TlsFileError> {
        let (Some(path), Some(contents)) = (&self.client_ca, &contents.client_ca) else {
            return Ok(None);
        };
        let of_authorities = |reason: String| refused(CLIENT_CA, path, reason);
        let roots = Arc::new(pem::authorities(contents).map_err(of_authorities)?);
        let provider = Arc::new(ring::default_provider());
        let builder = WebPkiClientVerifier::builder_with_provider(roots, provider);
        let builder = match self.client_auth {
            TlsClientAuth::Required => builder,
            TlsClientAuth::Optional => builder.allow_unauthenticated(),
        };
        let verifier = builder.build().map(Some);
        verifier.map_err(|error| of_authorities(error.to_string()))
    }

    /// The error of a certificate that is not valid now.
    pub(super) fn invalid_now(&self, fault: String) -> TlsFileError {
        refused(CERT, &self.certificate, fault)
    }
}

impl TlsContents {
    /// Identifies the contents; equal ones need not be loaded again.
    pub(super) fn digest(&self) -> [u8; 32] {
        let mut digest = Sha256::new();
        let none = Vec::new();
        for part in [
            &self.certificate,
            &self.key,
            self.client_ca.as_ref().unwrap_or(&none),
        ] {
            digest.update(part.len().to_le_bytes());
            digest.update(part);
        }
        digest.finalize().into()
    }
}

fn refused(flag: &'static str, path: &Path, reason: String) -> TlsFileError {
    let path = path.into();
    TlsFileError { flag, path, reason }
}

#[cfg(test)]
mod tests {
    use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};
    use tempfile::TempDir;

    use super::*;

    /// The error of files with these contents, in the order of the settings; none if they can be used.
    fn error(certificate: &str, key: &str, client_ca: &str) -> Option<String> {
        let folder = TempDir::new().expect("a folder");
        let write = |name: &str, contents: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, contents).expect("written");
            path
        };
        let files = TlsFiles {
            client_ca: Some(write("ca.crt", client_ca)),
            ..TlsFiles::new(write("tls.crt", certificate), write("tls.key", key))
        };
        let contents = files.read().expect("readable");
        let error = files.load(&contents).err()?;
        Some(error.to_string())
    }

    fn pair(is_authority: bool) -> (String, String) {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::default();
        if is_authority {
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        }
        let certificate = params.self_signed(&key).expect("signed").pem();
        (certificate, key.serialize_pem())
    }

    #[test]
    fn what_cannot_be_used_is_named_with_its_setting() {
        let (certificate, key) = pair(false);
        let (authority, other_key) = pair(true);
        assert_eq!(error(&certificate, &key, &authority), None);
        for (certificate, key, client_ca, expected) in [
            ("", &*key, &*authority, ["--tls-cert", "has no certificate"]),
            (&key, &key, &authority, ["--tls-cert", "has no certificate"]),
            (
                &certificate,
                &certificate,
                &authority,
                ["--tls-key", "no private key"],
            ),
            (
                &certificate,
                &other_key,
                &authority,
                ["--tls-key", "belong together"],
            ),
            // The authority before the server's own certificate.
            (
                &format!("{authority}{certificate}"),
                &key,
                &authority,
                ["--tls-key", "own certificate before"],
            ),
            (
                "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
                &key,
                &authority,
                ["--tls-cert", "cannot be decoded"],
            ),
            (
                &certificate,
                "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
                &authority,
                ["--tls-key", "must be RSA"],
            ),
            (
                &certificate,
                &key,
                "",
                ["--tls-client-ca", "has no certificate"],
            ),
        ] {
            let error = error(certificate, key, client_ca).expect("unusable");
            for part in expected {
                assert!(error.contains(part), "{part}: {error}");
            }
        }
    }

    #[test]
    fn a_file_that_cannot_be_read_is_named_with_its_setting() {
        let files = TlsFiles::new("/nowhere/tls.crt", "/nowhere/tls.key");
        let Err(error) = files.read() else {
            panic!("there is no such file");
        };
        let error = error.to_string();
        assert!(
            error.starts_with("--tls-cert /nowhere/tls.crt: "),
            "{error}"
        );
    }

    #[test]
    fn a_change_of_any_file_is_seen() {
        let contents = |certificate: &str, key: &str, client_ca: Option<&str>| TlsContents {
            certificate: certificate.into(),
            key: key.into(),
            client_ca: client_ca.map(Into::into),
        };
        let all = [
            contents("a", "b", Some("c")),
            contents("x", "b", Some("c")),
            contents("a", "x", Some("c")),
            contents("a", "b", Some("x")),
            contents("a", "b", None),
            contents("ab", "", Some("c")),
        ];
        let digests = all.iter().map(TlsContents::digest);
        let distinct: std::collections::BTreeSet<_> = digests.collect();
        assert_eq!(distinct.len(), all.len());
    }
}
