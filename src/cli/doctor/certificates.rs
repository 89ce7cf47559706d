//! Certificates in files and of servers: whether they can be read, fit together, and for how long they are valid.

use std::fs;
use std::net::{TcpStream, ToSocketAddrs};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, ClientConnection, RootCertStore};
use x509_cert::Certificate;
use x509_cert::der::Decode;

use crate::cli::doctor::finding::Finding;
use crate::cli::doctor::words::{counted, span};
use crate::limits::DOCTOR_CHECK_MAX;

/// The time that a certificate should still be valid: less is a warning.
const VALID_WARNING_S: f64 = 30.0 * 86_400.0;

/// What a certificate says of itself.
#[derive(Clone, Debug)]
struct CertificateFacts {
    subject: String,
    /// Seconds until it becomes valid; negative if it is.
    valid_in_s: f64,
    /// Seconds until it expires; negative if it has.
    expires_in_s: f64,
}

impl CertificateFacts {
    fn of(der: &[u8]) -> Result<Self, String> {
        let certificate = Certificate::from_der(der)
            .map_err(|error| format!("a certificate cannot be read: {error}"))?;
        let validity = certificate.tbs_certificate.validity;
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default()
            .as_secs_f64();
        let after_now = |time: Duration| time.as_secs_f64() - now;
        Ok(Self {
            subject: certificate.tbs_certificate.subject.to_string(),
            valid_in_s: after_now(validity.not_before.to_unix_duration()),
            expires_in_s: after_now(validity.not_after.to_unix_duration()),
        })
    }
}

/// The certificates of a PEM file that are trusted as authorities.
pub(super) fn authorities(name: &'static str, file: &Path) -> Finding {
    match certificates(file) {
        Ok(certificates) => judge(name, &file.display().to_string(), &certificates),
        Err(why) => unreadable(name, file, &why),
    }
}

/// The certificates of a PEM file that are presented: the own one, then those of authorities between it and a root.
pub(super) fn chain(name: &'static str, file: &Path) -> Finding {
    authorities(name, file)
}

/// The files of a listener with TLS: its certificate, whether the key fits and no other user can read it, and the file of
/// the authorities of clients.
pub(super) fn listener(certificate: &Path, key: &Path, client_ca: Option<&Path>) -> Vec<Finding> {
    let mut findings = vec![
        chain("certificates.tls_cert", certificate),
        private_key(certificate, key),
    ];
    findings.extend(client_ca.map(|file| authorities("certificates.tls_client_ca", file)));
    findings
}

fn private_key(certificate: &Path, key: &Path) -> Finding {
    const NAME: &str = "certificates.tls_key";
    let read = PrivateKeyDer::from_pem_file(key).map_err(|error| error.to_string());
    let read = read.and_then(|key| Ok((key, certificates(certificate)?)));
    let (private_key, certificates) = match read {
        Ok(both) => both,
        Err(why) => return unreadable(NAME, key, &why),
    };
    let fits = CertifiedKey::from_der(certificates, private_key, &ring::default_provider());
    let shown = key.display();
    if let Err(error) = fits {
        return Finding::problem(
            NAME,
            format!(
                "{shown}: it cannot be used with {}: {error}",
                certificate.display()
            ),
            "give the private key of this certificate",
        );
    }
    let mode = fs::metadata(key).map(|metadata| metadata.permissions().mode());
    match mode {
        Ok(mode) if mode & 0o077 != 0 => Finding::warning(
            NAME,
            format!(
                "{shown}: it fits the certificate, but other users may use the file (mode {:o})",
                mode & 0o777
            ),
            format!("chmod 600 {shown}, as the user that the server runs as"),
        ),
        _ => Finding::ok(NAME, format!("{shown}: it fits the certificate")),
    }
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let read = CertificateDer::pem_file_iter(file)
        .and_then(|certificates| certificates.collect::<Result<Vec<_>, _>>());
    match read {
        Ok(certificates) if certificates.is_empty() => {
            Err("the file has no PEM certificate".into())
        }
        Ok(certificates) => Ok(certificates),
        Err(error) => Err(error.to_string()),
    }
}

fn unreadable(name: &'static str, file: &Path, why: &str) -> Finding {
    Finding::problem(
        name,
        format!("{}: {why}", file.display()),
        "correct the path, or the permissions of the file and its folders for the user that the server runs as",
    )
}

/// Judges certificates by the one that expires first.
fn judge(name: &'static str, place: &str, certificates: &[CertificateDer<'_>]) -> Finding {
    let read: Result<Vec<CertificateFacts>, String> = certificates
        .iter()
        .map(|der| CertificateFacts::of(der))
        .collect();
    let facts = match read {
        Ok(facts) => facts,
        Err(why) => {
            return Finding::problem(name, format!("{place}: {why}"), "make the file anew");
        }
    };
    let first = facts
        .iter()
        .min_by(|a, b| a.expires_in_s.total_cmp(&b.expires_in_s));
    let Some(first) = first else {
        return Finding::problem(name, format!("{place}: no certificate"), "give one");
    };
    let number = i64::try_from(facts.len()).unwrap_or(i64::MAX);
    let found = format!(
        "{place}: {}, the first expires in {} ({})",
        counted(number, "certificate"),
        span(first.expires_in_s),
        first.subject
    );
    let renew = "renew it, and put the new one in its place";
    if first.expires_in_s < 0.0 {
        let ago = span(first.expires_in_s);
        return Finding::problem(
            name,
            format!(
                "{place}: a certificate has expired {ago} ago ({})",
                first.subject
            ),
            renew,
        );
    }
    if let Some(early) = facts.iter().find(|facts| facts.valid_in_s > 0.0) {
        return Finding::problem(
            name,
            format!(
                "{place}: a certificate is valid only in {} ({})",
                span(early.valid_in_s),
                early.subject
            ),
            "look at the clock of this machine (`timedatectl status`), or wait",
        );
    }
    if first.expires_in_s < VALID_WARNING_S {
        return Finding::warning(name, found, renew);
    }
    Finding::ok(name, found)
}

/// The certificate of an https server that leads to one of these roots, and those of the operating system. `None` if there is
/// no connection, or the certificate is not accepted: whoever reads from the server has said that already.
pub(super) fn of_https_server(
    name: &'static str,
    host: &str,
    port: u16,
    more_roots: Option<&Path>,
) -> Option<Finding> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if let Some(file) = more_roots {
        roots.add_parsable_certificates(certificates(file).ok()?);
    }
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .ok()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let server = ServerName::try_from(host.to_owned()).ok()?;
    let mut session = ClientConnection::new(Arc::new(config), server).ok()?;
    let addresses = (host, port).to_socket_addrs().ok()?;
    let limit = DOCTOR_CHECK_MAX / 4;
    let mut stream = addresses
        .take(2)
        .find_map(|address| TcpStream::connect_timeout(&address, limit).ok())?;
    stream.set_read_timeout(Some(limit)).ok()?;
    stream.set_write_timeout(Some(limit)).ok()?;
    while session.is_handshaking() {
        session.complete_io(&mut stream).ok()?;
    }
    let certificates = session.peer_certificates()?.to_vec();
    Some(judge(name, &format!("{host}:{port}"), &certificates))
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    use super::*;
    use crate::cli::doctor::finding::FindingState;

    /// A certificate that expires at the end of a year, its key, and the folder of both.
    fn files(year: i32, mode: u32) -> (tempfile::TempDir, std::path::PathBuf, std::path::PathBuf) {
        let folder = tempfile::tempdir().expect("a folder");
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(["localhost".to_owned()]).expect("a name");
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(year, 12, 31);
        let signed = params.self_signed(&key).expect("signed");
        let [cert_file, key_file] = ["cert.pem", "key.pem"].map(|name| folder.path().join(name));
        fs::write(&cert_file, signed.pem()).expect("written");
        fs::write(&key_file, key.serialize_pem()).expect("written");
        fs::set_permissions(&key_file, fs::Permissions::from_mode(mode)).expect("a mode");
        (folder, cert_file, key_file)
    }

    #[test]
    fn a_listeners_files_are_judged_one_by_one() {
        let (_folder, cert, key) = files(2999, 0o600);
        let found = listener(&cert, &key, Some(&cert));
        let states: Vec<_> = found.iter().map(|finding| finding.state).collect();
        assert_eq!(states, [FindingState::Ok; 3], "{found:?}");

        let (_other, other_cert, other_key) = files(2999, 0o644);
        let found = listener(&cert, &other_key, Some(Path::new("/none.pem")));
        assert_eq!(found[1].state, FindingState::Problem, "{found:?}");
        assert_eq!(found[2].state, FindingState::Problem);
        assert!(found[2].found.contains("/none.pem"), "{found:?}");
        let found = listener(&other_cert, &other_key, None);
        assert_eq!(found[1].state, FindingState::Warning);
        assert!(found[1].found.contains("mode 644"), "{found:?}");
    }

    #[test]
    fn an_expired_certificate_is_a_problem_and_says_since_when() {
        let (_folder, cert, _) = files(2021, 0o600);
        let found = authorities("certificates.jwks_ca", &cert);
        assert_eq!(found.state, FindingState::Problem);
        assert!(found.found.contains("has expired"), "{found:?}");
        let (_folder, _, key) = files(2021, 0o600);
        let none = authorities("certificates.jwks_ca", &key);
        assert!(none.found.contains("no PEM certificate"), "{none:?}");
    }
}
