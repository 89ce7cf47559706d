//! TLS towards Postgres: the parameters of a database URL, and what is made of the files that they name.
//!
//! | parameter | meaning |
//! |---|---|
//! | `sslmode` | whether TLS is used, and what is verified: see the table of `db::connect` |
//! | `sslrootcert` | a PEM file of trusted authorities, or `system`; for `verify-ca` and `verify-full` |
//! | `sslcert`, `sslkey` | PEM files of a certificate to present, and of its private key |

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use percent_encoding::percent_decode_str;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use sha2::{Digest, Sha256};
use tokio_postgres::config::SslMode;
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::pem;

/// Time between two warnings that changed files cannot be used.
const WARNING_INTERVAL: Duration = Duration::from_secs(60);

/// Why the TLS parameters of a database URL cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseTlsError {
    /// A parameter is not UTF-8.
    #[error("the database URL is invalid: a parameter is not UTF-8")]
    NotUtf8,
    /// `sslmode` has a value that is not supported.
    #[error("sslmode={0} is not supported: use disable, prefer, require, verify-ca or verify-full")]
    SslMode(String),
    /// `sslrootcert` is set with a mode that verifies nothing, so the root would not be used.
    #[error(
        "sslrootcert needs sslmode=verify-full or verify-ca: the other modes verify no certificate"
    )]
    RootCertUnused,
    /// One of `sslcert` and `sslkey` is set without the other.
    #[error("{set} needs {missing}: set both, the file of a certificate and that of its key")]
    HalfAPair {
        /// The parameter that is set.
        set: &'static str,
        /// The parameter that is missing.
        missing: &'static str,
    },
    /// `sslcert` is set, and TLS is off.
    #[error("sslcert needs TLS, which sslmode=disable turns off: use sslmode=verify-full")]
    ClientCertUnused,
    /// A file that a parameter names cannot be used.
    #[error("{parameter}={}: {reason}", path.display())]
    File {
        /// The parameter of the URL that names it.
        parameter: &'static str,
        /// The path as the URL gives it.
        path: PathBuf,
        /// What is wrong with the file, and what to do.
        reason: String,
    },
    /// The operating system has no trusted root certificate.
    #[error(
        "the operating system trusts no authority ({0}): name a PEM file of yours by sslrootcert"
    )]
    NoSystemRoots(String),
    /// Rustls rejected the TLS settings.
    #[error("TLS cannot be set up: {0}")]
    Rustls(#[from] rustls::Error),
}

/// What is verified of the server's certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TlsVerification {
    /// Nothing: neither its authority nor its name.
    None,
    /// That it leads to a trusted authority.
    Authority,
    /// That, and that it has the host name of the URL.
    AuthorityAndName,
}

/// The TLS parameters of a database URL.
#[derive(Debug)]
pub(super) struct TlsParameters {
    pub(super) mode: SslMode,
    pub(super) verification: TlsVerification,
    /// The value of `sslmode`; `None` if the URL has none.
    pub(super) named: Option<String>,
    root_cert: Option<PathBuf>,
    cert: Option<PathBuf>,
    key: Option<PathBuf>,
}

/// Removes the TLS parameters from the URL: tokio-postgres supports none of those that verify, nor the files.
pub(super) fn split(url: &str) -> Result<(String, TlsParameters), DatabaseTlsError> {
    let mut tls = TlsParameters {
        mode: SslMode::Prefer,
        verification: TlsVerification::None,
        named: None,
        root_cert: None,
        cert: None,
        key: None,
    };
    // A password may contain a question mark: the parameters begin behind the host.
    let host = url.find('@').unwrap_or_default();
    let Some(question_mark) = url[host..].find('?') else {
        return Ok((url.into(), tls));
    };
    let (base, parameters) = url.split_at(host + question_mark);
    let mut rest = Vec::new();
    for parameter in parameters[1..].split('&') {
        match parameter.split_once('=') {
            Some(("sslmode", value)) => tls.set_mode(decoded(value)?)?,
            Some(("sslrootcert", value)) => tls.root_cert = Some(decoded(value)?.into()),
            Some(("sslcert", value)) => tls.cert = Some(decoded(value)?.into()),
            Some(("sslkey", value)) => tls.key = Some(decoded(value)?.into()),
            _ => rest.push(parameter),
        }
    }
    tls.check()?;
    let url = match rest.join("&") {
        rest if rest.is_empty() => base.into(),
        rest => format!("{base}?{rest}"),
    };
    Ok((url, tls))
}

fn decoded(value: &str) -> Result<String, DatabaseTlsError> {
    let text = percent_decode_str(value).decode_utf8();
    text.map(Into::into).map_err(|_| DatabaseTlsError::NotUtf8)
}

impl TlsParameters {
    fn set_mode(&mut self, value: String) -> Result<(), DatabaseTlsError> {
        (self.mode, self.verification) = match value.as_str() {
            "disable" => (SslMode::Disable, TlsVerification::None),
            "prefer" => (SslMode::Prefer, TlsVerification::None),
            "require" => (SslMode::Require, TlsVerification::None),
            "verify-ca" => (SslMode::Require, TlsVerification::Authority),
            "verify-full" => (SslMode::Require, TlsVerification::AuthorityAndName),
            _ => return Err(DatabaseTlsError::SslMode(value)),
        };
        self.named = Some(value);
        Ok(())
    }

    /// Refuses what would have no effect, or only half of it.
    fn check(&self) -> Result<(), DatabaseTlsError> {
        let half = |set, missing| Err(DatabaseTlsError::HalfAPair { set, missing });
        match (&self.cert, &self.key) {
            (Some(_), None) => return half("sslcert", "sslkey"),
            (None, Some(_)) => return half("sslkey", "sslcert"),
            (Some(_), Some(_)) if self.mode == SslMode::Disable => {
                return Err(DatabaseTlsError::ClientCertUnused);
            }
            _ => {}
        }
        if self.root_cert.is_some() && self.verification == TlsVerification::None {
            return Err(DatabaseTlsError::RootCertUnused);
        }
        Ok(())
    }

    /// The file of trusted authorities; `None` for those of the operating system.
    fn root_file(&self) -> Option<&Path> {
        let file = self.root_cert.as_deref();
        file.filter(|file| *file != Path::new("system"))
    }

    fn load(&self) -> Result<FileContents, DatabaseTlsError> {
        let read = |parameter, path: Option<&Path>| {
            let contents = path.map(pem::read).transpose();
            contents.map_err(|why| refused(parameter, path, why))
        };
        let key = self.key.as_deref();
        if let Some(path) = key {
            check_permissions(path).map_err(|why| refused("sslkey", key, why))?;
        }
        Ok(FileContents {
            roots: read("sslrootcert", self.root_file())?,
            cert: read("sslcert", self.cert.as_deref())?,
            key: read("sslkey", key)?,
        })
    }

    fn client_config(&self, files: &FileContents) -> Result<ClientConfig, DatabaseTlsError> {
        // Named explicitly: the process-wide default depends on the other users of rustls in the process.
        let provider = Arc::new(ring::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()?;
        let lenient = |roots| Arc::new(LenientVerifier { provider, roots });
        let builder = match self.verification {
            TlsVerification::None => builder
                .dangerous()
                .with_custom_certificate_verifier(lenient(None)),
            TlsVerification::Authority => builder
                .dangerous()
                .with_custom_certificate_verifier(lenient(Some(self.roots(files)?))),
            TlsVerification::AuthorityAndName => builder.with_root_certificates(self.roots(files)?),
        };
        let (Some(cert), Some(key)) = (&files.cert, &files.key) else {
            return Ok(builder.with_no_client_auth());
        };
        let of_key = |why: String| refused("sslkey", self.key.as_deref(), why);
        let chain =
            pem::certificates(cert).map_err(|why| refused("sslcert", self.cert.as_deref(), why))?;
        let key = pem::private_key(key).map_err(of_key)?;
        let config = builder.with_client_auth_cert(chain, key);
        config.map_err(|error| {
            of_key(format!(
                "it does not go with the certificate of sslcert: {error}"
            ))
        })
    }

    fn roots(&self, files: &FileContents) -> Result<RootCertStore, DatabaseTlsError> {
        match &files.roots {
            Some(contents) => pem::authorities(contents)
                .map_err(|why| refused("sslrootcert", self.root_file(), why)),
            None => pem::system_authorities().map_err(DatabaseTlsError::NoSystemRoots),
        }
    }
}

fn refused(parameter: &'static str, path: Option<&Path>, reason: String) -> DatabaseTlsError {
    let path = path.unwrap_or(Path::new("")).into();
    DatabaseTlsError::File {
        parameter,
        path,
        reason,
    }
}

/// Refuses a private key that other users may read, by the rule of libpq: a file of this user, 0600 or less; or one of
/// root, 0640 or less, whose group this user is in.
fn check_permissions(key: &Path) -> Result<(), String> {
    let metadata = fs::metadata(key)
        .map_err(|error| format!("{error}: give a PEM file that this process can read"))?;
    let (mode, is_of_root) = (metadata.mode() & 0o777, metadata.uid() == 0);
    let (allowed, text) = if is_of_root {
        (0o740, "0640, since root owns it")
    } else {
        (0o700, "0600")
    };
    if mode & !allowed == 0 {
        return Ok(());
    }
    Err(format!(
        "other users may use this private key (its permissions are {mode:04o}): make them {text}, or less (in Kubernetes: \
         defaultMode 0440 of the volume, and fsGroup)"
    ))
}

/// What the files hold that the parameters name.
struct FileContents {
    roots: Option<Vec<u8>>,
    cert: Option<Vec<u8>>,
    key: Option<Vec<u8>>,
}

impl FileContents {
    fn digest(&self) -> [u8; 32] {
        let mut digest = Sha256::new();
        for part in [&self.roots, &self.cert, &self.key] {
            let bytes = part.as_deref().unwrap_or_default();
            digest.update(bytes.len().to_le_bytes());
            digest.update(bytes);
        }
        digest.finalize().into()
    }
}

/// Makes the TLS of connections. Files are looked at again before each connection, so that no renewal of a certificate
/// needs a restart of the process.
pub(super) struct DatabaseTls {
    parameters: TlsParameters,
    state: Mutex<DatabaseTlsState>,
}

struct DatabaseTlsState {
    digest: [u8; 32],
    connector: MakeRustlsConnect,
    warned: Option<Instant>,
}

impl DatabaseTls {
    /// Reads the files for the first time.
    pub(super) fn open(parameters: TlsParameters) -> Result<Self, DatabaseTlsError> {
        let contents = parameters.load()?;
        let config = parameters.client_config(&contents)?;
        Ok(Self {
            state: Mutex::new(DatabaseTlsState {
                digest: contents.digest(),
                connector: MakeRustlsConnect::new(config),
                warned: None,
            }),
            parameters,
        })
    }

    /// What a connection that begins now uses. Files that cannot be used are warned of, and those before stay in use.
    pub(super) fn connector(&self) -> MakeRustlsConnect {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let parameters = &self.parameters;
        if parameters.root_file().is_none() && parameters.cert.is_none() {
            return state.connector.clone();
        }
        let renewed = parameters.load().and_then(|contents| {
            let digest = contents.digest();
            if digest == state.digest {
                return Ok(None);
            }
            let config = parameters.client_config(&contents)?;
            Ok(Some((digest, MakeRustlsConnect::new(config))))
        });
        match renewed {
            Ok(None) => {}
            Ok(Some((digest, connector))) => {
                tracing::info!(
                    "the files of TLS towards the database have changed: connections that begin now use them"
                );
                (state.digest, state.connector) = (digest, connector);
            }
            Err(error) => {
                let is_due = state
                    .warned
                    .is_none_or(|at| at.elapsed() >= WARNING_INTERVAL);
                if is_due {
                    state.warned = Some(Instant::now());
                    tracing::warn!(
                        %error,
                        "the files of TLS towards the database cannot be used: connections go on with what was read before"
                    );
                }
            }
        }
        state.connector.clone()
    }
}

/// Accepts a certificate whatever name it has, from one of the authorities or, without any, from anybody. It always checks
/// that the peer has the private key.
#[derive(Debug)]
struct LenientVerifier {
    provider: Arc<CryptoProvider>,
    /// `None`: the authority is not verified either.
    roots: Option<RootCertStore>,
}

impl ServerCertVerifier for LenientVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if let Some(roots) = &self.roots {
            verify_server_cert_signed_by_trust_anchor(
                &ParsedCertificate::try_from(end_entity)?,
                roots,
                intermediates,
                now,
                self.provider.signature_verification_algorithms.all,
            )?;
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, cert, dss, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let algorithms = &self.provider.signature_verification_algorithms;
        algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn the_parameters_are_taken_off_the_url() {
        let url = "postgres://u:p?w@h:1/d?sslmode=verify-full&a=b&sslrootcert=%2Fx%20y.pem&sslcert=/c&sslkey=/k";
        let (rest, tls) = split(url).expect("valid");
        assert_eq!(rest, "postgres://u:p?w@h:1/d?a=b");
        assert_eq!(tls.mode, SslMode::Require);
        assert_eq!(tls.verification, TlsVerification::AuthorityAndName);
        assert_eq!(tls.root_file(), Some(Path::new("/x y.pem")));
        assert_eq!(tls.cert.as_deref(), Some(Path::new("/c")));
        assert_eq!(tls.key.as_deref(), Some(Path::new("/k")));

        for (mode, expected) in [
            ("disable", (SslMode::Disable, TlsVerification::None)),
            ("require", (SslMode::Require, TlsVerification::None)),
            ("verify-ca", (SslMode::Require, TlsVerification::Authority)),
        ] {
            let (rest, tls) = split(&format!("postgresql://h/d?sslmode={mode}")).expect("valid");
            assert_eq!(rest, "postgresql://h/d");
            assert_eq!((tls.mode, tls.verification), expected, "{mode}");
        }
    }

    #[test]
    fn parameters_without_an_effect_are_refused() {
        let refused = |parameters: &str| {
            let refused = split(&format!("postgres://h/d?{parameters}"));
            refused.expect_err(parameters).to_string()
        };
        for mode in ["allow", "", "REQUIRE"] {
            let text = refused(&format!("sslmode={mode}"));
            assert!(text.contains("is not supported"), "{text}");
        }
        for (parameters, expected) in [
            ("sslmode=require&sslrootcert=x", "needs sslmode=verify-full"),
            ("sslcert=x", "sslcert needs sslkey"),
            ("sslkey=x", "sslkey needs sslcert"),
            ("sslcert=x&sslkey=y&sslmode=disable", "needs TLS"),
            ("sslrootcert=%FF", "not UTF-8"),
        ] {
            let text = refused(parameters);
            assert!(text.contains(expected), "{text}");
        }
    }

    #[test]
    fn a_private_key_that_others_may_read_is_refused() {
        let key = tempfile::NamedTempFile::new().expect("a file");
        let is_of_root = key.as_file().metadata().expect("there").uid() == 0;
        for (mode, is_allowed) in [
            (0o600, true),
            (0o400, true),
            (0o640, is_of_root),
            (0o440, is_of_root),
            (0o660, false),
            (0o644, false),
            (0o604, false),
        ] {
            let permissions = fs::Permissions::from_mode(mode);
            fs::set_permissions(key.path(), permissions).expect("ours");
            let checked = check_permissions(key.path());
            assert_eq!(checked.is_ok(), is_allowed, "{mode:o}: {checked:?}");
        }
        let missing = check_permissions(Path::new("/nowhere.pem")).expect_err("no file");
        assert!(missing.contains("give a PEM file"), "{missing}");
    }
}
