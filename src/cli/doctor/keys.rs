//! The keys of tokens: whether they can be read, which there are, and the certificate of the server that has them.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use tokio::time::Instant;
use url::{Host, Url};

use crate::auth::jwks::{self, JwksDocument, JwksError, JwksSource};
use crate::cli::doctor::certificates;
use crate::cli::doctor::finding::Finding;
use crate::cli::doctor::words::{counted, span};
use crate::config::ExaminedArgs;
use crate::limits::JWKS_WAIT_MAX;

/// All checks of the keys of tokens.
pub(super) async fn all(examined: &ExaminedArgs) -> Vec<Finding> {
    const NAME: &str = "keys.jwks";
    if !examined.names_keys() {
        return vec![Finding::not_looked_at(
            NAME,
            "neither --jwks nor --issuer is given",
            "give --issuer, and --jwks unless its keys are found by discovery, as to `earmark serve`",
        )];
    }
    let tokens = &examined.serve.tokens;
    let mut findings = Vec::new();
    let settings = match tokens.key_settings() {
        Ok(settings) => settings,
        Err(why) => {
            return vec![Finding::problem(
                "keys.settings",
                why,
                "correct one of the two",
            )];
        }
    };
    let ca = settings.ca;
    findings.extend(
        ca.as_deref()
            .map(|file| certificates::authorities("certificates.jwks_ca", file)),
    );
    match tokens.source() {
        Ok(source) => findings.extend(document(source, ca).await),
        Err(why) => findings.push(Finding::problem(
            NAME,
            why,
            "give --jwks FILE or URL, or the issuer's URL as --issuer",
        )),
    }
    findings
}

async fn document(source: JwksSource, ca: Option<PathBuf>) -> Vec<Finding> {
    let begun = Instant::now();
    let read = jwks::read_document(source.clone(), ca.clone()).await;
    let took_s = begun.elapsed().as_secs_f64();
    let document = match read {
        Ok(document) => document,
        Err(error) => return vec![unreadable(&source, &error, took_s)],
    };
    let mut findings = vec![keys(&source, &document, took_s)];
    if let Some(url) = &document.url {
        findings.extend(transport(url));
        findings.extend(certificate(url.clone(), ca).await);
    }
    findings
}

fn unreadable(source: &JwksSource, error: &JwksError, took_s: f64) -> Finding {
    let text = error.to_string();
    let advice = match error {
        JwksError::Unreadable(_) if text.contains("certificate") => {
            "give the certificate of the issuer's private authority as --jwks-ca FILE; if the issuer's certificate has \
             expired, have it renewed"
        }
        JwksError::Unreadable(_) if matches!(source, JwksSource::File(_)) => {
            "correct --jwks, or let the user that the server runs as read the file"
        }
        JwksError::Unreadable(_) => {
            "see that the issuer can be reached from here (`curl -v URL`), and correct --jwks or --issuer"
        }
        JwksError::Discovery(_) => {
            "write --issuer to the letter as the issuer does, or name the keys with --jwks URL"
        }
        JwksError::Roots(_) => {
            "correct --jwks-ca, or set SSL_CERT_FILE to the operating system's certificates"
        }
        JwksError::NoKey | JwksError::Malformed | JwksError::TooLarge => {
            "correct --jwks: it must lead to a JWKS document with a key for RS256, ES256 or EdDSA"
        }
    };
    Finding::problem(
        "keys.jwks",
        format!("{source}: {text} (after {})", span(took_s)),
        advice,
    )
}

fn keys(source: &JwksSource, document: &JwksDocument, took_s: f64) -> Finding {
    const NAME: &str = "keys.jwks";
    let place = match (&document.url, source) {
        (Some(url), JwksSource::Issuer(_)) => format!("{url}, as {source} says"),
        _ => source.to_string(),
    };
    if document.keys.is_empty() {
        let why = JwksError::NoKey;
        return unreadable(source, &why, took_s);
    }
    let mut algorithms: BTreeMap<String, usize> = BTreeMap::new();
    for key in &document.keys {
        *algorithms
            .entry(format!("{:?}", key.algorithm))
            .or_default() += 1;
    }
    let by_algorithm: Vec<String> = algorithms
        .iter()
        .map(|(algorithm, count)| format!("{count} {algorithm}"))
        .collect();
    let age = match source {
        JwksSource::File(path) => file_age(path),
        _ => String::new(),
    };
    let length = i64::try_from(document.keys.len()).unwrap_or(i64::MAX);
    let found = format!(
        "{place}: {} ({}), read in {}{age}",
        counted(length, "usable key"),
        by_algorithm.join(", "),
        span(took_s)
    );
    if document.keys.len() > 1 && document.keys.iter().any(|key| key.id().is_none()) {
        return Finding::warning(
            NAME,
            format!("{found}; some have no kid"),
            "have the issuer give each key a kid: without one, every such key is tried for a token",
        );
    }
    if took_s > JWKS_WAIT_MAX.as_secs_f64() / 2.0 {
        return Finding::warning(
            NAME,
            format!(
                "{found}: calls that need a new key wait at most {}",
                span(JWKS_WAIT_MAX.as_secs_f64())
            ),
            "find out why the issuer answers slowly, or serve its keys from a file or a cache close by (--jwks)",
        );
    }
    Finding::ok(NAME, found)
}

fn file_age(path: &Path) -> String {
    let age = fs::metadata(path)
        .and_then(|metadata| metadata.modified())
        .ok()
        .and_then(|time| time.elapsed().ok());
    age.map_or_else(String::new, |age| {
        format!(", written {} ago", span(age.as_secs_f64()))
    })
}

/// What is to be said of keys that are read in the clear.
fn transport(url: &str) -> Option<Finding> {
    let url = Url::parse(url).ok()?;
    let is_local = match url.host()? {
        Host::Domain(name) => name == "localhost",
        Host::Ipv4(address) => address.is_loopback(),
        Host::Ipv6(address) => address.is_loopback(),
    };
    (url.scheme() == "http" && !is_local).then(|| {
        Finding::warning(
            "keys.transport",
            format!("{url} is not encrypted: whoever is in between can replace the keys, and so make tokens"),
            "name the keys by https, with --jwks-ca for a private authority",
        )
    })
}

async fn certificate(url: String, ca: Option<PathBuf>) -> Option<Finding> {
    let url = Url::parse(&url)
        .ok()
        .filter(|url| url.scheme() == "https")?;
    let look = move || {
        let host = url.host_str()?;
        let port = url.port_or_known_default()?;
        certificates::of_https_server("keys.certificate", host, port, ca.as_deref())
    };
    tokio::task::spawn_blocking(look).await.ok().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_keys_that_cross_a_network_in_the_clear_are_warned_of() {
        for (url, expected) in [
            ("http://issuer.example/jwks", true),
            ("https://issuer.example/jwks", false),
            ("http://localhost:1/jwks", false),
            ("http://127.0.0.1/jwks", false),
            ("http://[::1]/jwks", false),
        ] {
            assert_eq!(transport(url).is_some(), expected, "{url}");
        }
    }
}
