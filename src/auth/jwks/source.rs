//! Where a JWKS document is read from: a file, a URL, or what an issuer's discovery document names.

use std::fmt;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use rustls::crypto::ring;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde_json::Value;
use ureq::tls::{Certificate, RootCerts, TlsConfig};

use crate::auth::jwks::document::{self, JwksError, JwksKey};
use crate::limits::{JWKS_BYTES_MAX, JWKS_TIMEOUT};
use crate::trace::{self, TraceSpan};

/// Where a JWKS document is read from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JwksSource {
    /// A path in the local file system.
    File(PathBuf),
    /// An `http` or `https` URL; up to three redirects are followed, from `https` to `https` only.
    Url(String),
    /// An issuer with a URL as its name, whose discovery document (OpenID Connect Discovery 1.0 §4) has the URL as
    /// `jwks_uri`. It is looked up with each read.
    Issuer(String),
}

impl JwksSource {
    /// A URL if the text starts with `http://` or `https://`, else a path.
    pub fn parse(text: &str) -> Self {
        if is_url(text) {
            Self::Url(text.into())
        } else {
            Self::File(text.into())
        }
    }

    /// The discovery of an issuer; `None` if its name is no `http` or `https` URL.
    pub fn of_issuer(issuer: &str) -> Option<Self> {
        is_url(issuer).then(|| Self::Issuer(issuer.into()))
    }
}

impl fmt::Display for JwksSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::Url(url) => f.write_str(url),
            Self::Issuer(issuer) => f.write_str(&discovery_url(issuer)),
        }
    }
}

fn is_url(text: &str) -> bool {
    text.starts_with("http://") || text.starts_with("https://")
}

/// A document that was read.
pub(crate) struct JwksDocument {
    /// The URL that it was read from: the one given, or the one that discovery has found. `None` for a file.
    pub(crate) url: Option<String>,
    /// The usable keys, which may be none.
    pub(crate) keys: Vec<JwksKey>,
}

/// Reads and parses the document on a blocking thread, since reads of both files and URLs block.
///
/// The certificate of an `https` server must lead to a root of the operating system's store, or of the PEM file `ca`.
/// Both are read each time, so that a root which is replaced on disk needs no restart.
pub(crate) async fn read(
    source: JwksSource,
    ca: Option<PathBuf>,
) -> Result<JwksDocument, JwksError> {
    let span = trace::current();
    let reading = tokio::task::spawn_blocking(move || {
        let http = HttpReader {
            ca: ca.as_deref(),
            deadline: Instant::now() + JWKS_TIMEOUT,
            span,
        };
        let (url, text) = match source {
            JwksSource::File(path) => (None, read_file(&path)?),
            JwksSource::Url(url) => {
                let text = http.get(&url)?;
                (Some(url), text)
            }
            JwksSource::Issuer(issuer) => {
                let url = discovered(&issuer, &http)?;
                let text = http.get(&url)?;
                (Some(url), text)
            }
        };
        let keys = document::parse(&text)?;
        Ok(JwksDocument { url, keys })
    });
    let read = reading.await;
    read.unwrap_or_else(|error| Err(JwksError::Unreadable(error.to_string())))
}

/// The certificates of a PEM file.
///
/// # Errors
/// `Roots` if the file cannot be read, or has no certificate.
pub(super) fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, JwksError> {
    let refused = |why: String| JwksError::Roots(format!("{}: {why}", file.display()));
    let read = CertificateDer::pem_file_iter(file)
        .and_then(|certificates| certificates.collect::<Result<Vec<_>, _>>());
    match read {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        Ok(_) => Err(refused("the file has no PEM certificate".into())),
        Err(error) => Err(refused(error.to_string())),
    }
}

fn read_file(path: &Path) -> Result<Vec<u8>, JwksError> {
    let unreadable = |error: io::Error| JwksError::Unreadable(error.to_string());
    let mut text = Vec::new();
    std::fs::File::open(path)
        .map_err(unreadable)?
        .take(JWKS_BYTES_MAX + 1)
        .read_to_end(&mut text)
        .map_err(unreadable)?;
    if text.len() as u64 > JWKS_BYTES_MAX {
        return Err(JwksError::TooLarge);
    }
    Ok(text)
}

/// Reads documents by HTTP, all of them until one deadline.
struct HttpReader<'a> {
    ca: Option<&'a Path>,
    deadline: Instant,
    /// Of the call that the read is for, if it is sampled.
    span: Option<TraceSpan>,
}

impl HttpReader<'_> {
    /// Reads a document, as a part of the trace of the call that it is for.
    fn get(&self, url: &str) -> Result<Vec<u8>, JwksError> {
        let span = self.span.as_ref();
        let span = span.and_then(|parent| trace::http_span(parent, url));
        let result = self.get_within(url, span.as_ref());
        if let Some(span) = span
            && let Err(error) = &result
        {
            span.fail(match error {
                JwksError::TooLarge => "too_large",
                _ => "unreadable",
            });
        }
        result
    }

    fn get_within(&self, url: &str, span: Option<&TraceSpan>) -> Result<Vec<u8>, JwksError> {
        let unreadable = |error: ureq::Error| match error {
            ureq::Error::BodyExceedsLimit(_) => JwksError::TooLarge,
            other => JwksError::Unreadable(format!("{url}: {other}")),
        };
        let is_https = url.starts_with("https://");
        let mut tls = TlsConfig::builder()
            .unversioned_rustls_crypto_provider(Arc::new(ring::default_provider()));
        if is_https {
            tls = tls.root_certs(RootCerts::Specific(Arc::new(self.roots()?)));
        }
        let agent = ureq::Agent::config_builder()
            .timeout_global(Some(
                self.deadline.saturating_duration_since(Instant::now()),
            ))
            .max_redirects(3)
            .https_only(is_https)
            .tls_config(tls.build())
            .build()
            .new_agent();
        let mut request = agent.get(url);
        for (name, value) in span.map(trace::inject).unwrap_or_default() {
            request = request.header(name, value);
        }
        let mut response = request.call().map_err(unreadable)?;
        if let Some(span) = span {
            let code = i64::from(response.status().as_u16());
            span.set("http.response.status_code", code);
        }
        response
            .body_mut()
            .with_config()
            .limit(JWKS_BYTES_MAX)
            .read_to_vec()
            .map_err(unreadable)
    }

    fn roots(&self) -> Result<Vec<Certificate<'static>>, JwksError> {
        let mut roots = rustls_native_certs::load_native_certs().certs;
        if let Some(ca) = self.ca {
            roots.extend(certificates(ca)?);
        }
        if roots.is_empty() {
            let why = "neither the operating system nor --jwks-ca has any";
            return Err(JwksError::Roots(why.into()));
        }
        let der = |root: CertificateDer<'_>| Certificate::from_der(&root).to_owned();
        Ok(roots.into_iter().map(der).collect())
    }
}

/// The URL of an issuer's discovery document.
fn discovery_url(issuer: &str) -> String {
    let issuer = issuer.strip_suffix('/').unwrap_or(issuer);
    format!("{issuer}/.well-known/openid-configuration")
}

/// The URL of the JWKS that an issuer's discovery document names.
fn discovered(issuer: &str, http: &HttpReader<'_>) -> Result<String, JwksError> {
    let url = discovery_url(issuer);
    let text = http.get(&url)?;
    jwks_uri(issuer, &text).map_err(|why| JwksError::Discovery(format!("{url}: {why}")))
}

fn jwks_uri(issuer: &str, document: &[u8]) -> Result<String, String> {
    let document: Value =
        serde_json::from_slice(document).map_err(|_| "the document is no JSON".to_owned())?;
    let text = |name: &str| document.get(name).and_then(Value::as_str);
    // As OpenID Connect Discovery §4.3 prescribes: else one issuer's document could name the keys of another.
    if text("issuer") != Some(issuer) {
        let found = text("issuer").unwrap_or("none");
        return Err(format!(
            "its `issuer` is {found:?}, which must be {issuer:?} to the letter"
        ));
    }
    match text("jwks_uri") {
        Some(uri) if uri.starts_with("https://") => Ok(uri.into()),
        Some(uri) if is_url(uri) && issuer.starts_with("http://") => Ok(uri.into()),
        Some(uri) => Err(format!("its `jwks_uri` is no https URL, but {uri:?}")),
        None => Err("it has no `jwks_uri`".into()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_url_is_distinguished_from_a_path() {
        assert_eq!(
            JwksSource::parse("https://a/b"),
            JwksSource::Url("https://a/b".into())
        );
        assert_eq!(
            JwksSource::parse("a/b.json"),
            JwksSource::File("a/b.json".into())
        );
        assert_eq!(JwksSource::of_issuer("earmark-dev"), None);
    }

    #[test]
    fn the_discovery_document_lies_below_the_issuer() {
        for issuer in ["https://a/realms/b", "https://a/realms/b/"] {
            let source = JwksSource::of_issuer(issuer).expect("a URL");
            let expected = "https://a/realms/b/.well-known/openid-configuration";
            assert_eq!(source.to_string(), expected);
        }
    }

    #[test]
    fn a_discovery_document_must_be_the_issuers_and_name_an_equally_safe_url() {
        let uri = |issuer: &str, document: Value| jwks_uri(issuer, document.to_string().as_bytes());
        let named = |issuer: &str, uri: &str| json!({"issuer": issuer, "jwks_uri": uri});
        let good = uri("https://a/", named("https://a/", "https://b/keys"));
        assert_eq!(good, Ok("https://b/keys".into()));
        let plain = uri("http://a", named("http://a", "http://a/keys"));
        assert_eq!(plain, Ok("http://a/keys".into()));

        for (document, why) in [
            (
                named("https://a", "https://a/keys"),
                "must be \"https://a/\"",
            ),
            (named("https://a/", "http://a/keys"), "no https URL"),
            (named("https://a/", "file:///etc/keys"), "no https URL"),
            (json!({"issuer": "https://a/"}), "no `jwks_uri`"),
            (json!({"issuer": ["https://a/"]}), "must be \"https://a/\""),
            (json!([]), "must be \"https://a/\""),
        ] {
            let refused = uri("https://a/", document).expect_err(why);
            assert!(refused.contains(why), "{refused}");
        }
        assert!(jwks_uri("https://a/", b"<html>").is_err());
    }

    #[test]
    fn a_file_without_certificates_is_named() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        for path in [file.path(), Path::new("/none.pem")] {
            let refused = certificates(path).expect_err("none").to_string();
            assert!(refused.contains(path.to_str().expect("UTF-8")), "{refused}");
        }
    }
}
