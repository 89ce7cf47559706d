//! What is read off a certificate besides what rustls needs: the time that it is valid in, and whom it names.

use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use x509_cert::Certificate;
use x509_cert::der::Decode;
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;

use crate::limits::PEER_IDENTITY_CHARS_MAX;

/// The time in which a certificate is valid, in seconds of Unix time, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct CertificateValidity {
    pub(super) not_before: u64,
    pub(super) not_after: u64,
}

impl CertificateValidity {
    /// The validity of a certificate.
    ///
    /// # Errors
    /// The reason why the certificate cannot be decoded.
    pub(super) fn of(certificate: &CertificateDer<'_>) -> Result<Self, String> {
        let decoded = Certificate::from_der(certificate).map_err(|error| error.to_string())?;
        let validity = decoded.tbs_certificate.validity;
        Ok(Self {
            not_before: validity.not_before.to_unix_duration().as_secs(),
            not_after: validity.not_after.to_unix_duration().as_secs(),
        })
    }

    /// Why the certificate is not valid at this time; `None` if it is.
    pub(super) fn fault_at(self, now: u64) -> Option<String> {
        if now > self.not_after {
            Some(format!("it has expired at {}", as_text(self.not_after)))
        } else if now < self.not_before {
            Some(format!(
                "it is valid only from {} on",
                as_text(self.not_before)
            ))
        } else {
            None
        }
    }
}

/// A time in the form of RFC 3339.
pub(super) fn as_text(unix_seconds: u64) -> String {
    let seconds = i64::try_from(unix_seconds).unwrap_or(i64::MAX);
    match chrono::DateTime::from_timestamp(seconds, 0) {
        Some(time) => time.to_rfc3339_opts(chrono::SecondsFormat::Secs, true),
        None => format!("{unix_seconds} s of Unix time"),
    }
}

/// Whom a certificate names: the first URI of its subject alternative names, such as a SPIFFE ID, else the first DNS
/// name. `None` if it has neither. The subject's common name does not count.
pub(super) fn identity(certificate: &CertificateDer<'_>) -> Option<Arc<str>> {
    let decoded = Certificate::from_der(certificate).ok()?;
    let (_, names) = decoded.tbs_certificate.get::<SubjectAltName>().ok()??;
    let uri = names.0.iter().find_map(|name| match name {
        GeneralName::UniformResourceIdentifier(uri) => Some(uri.as_str()),
        _ => None,
    });
    let dns = || {
        names.0.iter().find_map(|name| match name {
            GeneralName::DnsName(name) => Some(name.as_str()),
            _ => None,
        })
    };
    let name = uri.or_else(dns)?;
    let cut: String = name.chars().take(PEER_IDENTITY_CHARS_MAX).collect();
    Some(cut.into())
}

#[cfg(test)]
mod tests {
    use rcgen::string::Ia5String;
    use rcgen::{CertificateParams, KeyPair, SanType, date_time_ymd};

    use super::*;

    fn certificate(names: Vec<SanType>) -> CertificateDer<'static> {
        let mut params = CertificateParams::default();
        params.subject_alt_names = names;
        params.not_before = date_time_ymd(2024, 1, 1);
        params.not_after = date_time_ymd(2025, 1, 1);
        let key = KeyPair::generate().expect("a key");
        params.self_signed(&key).expect("signed").der().clone()
    }

    fn ia5(text: &str) -> Ia5String {
        text.try_into().expect("ASCII")
    }

    #[test]
    fn a_uri_counts_before_a_dns_name_and_nothing_else_does() {
        let dns = SanType::DnsName(ia5("client.internal"));
        let uri = SanType::URI(ia5("spiffe://prod/ns/a/sa/b"));
        let address = SanType::IpAddress([10, 0, 0, 1].into());
        let long = SanType::DnsName(ia5(&"x".repeat(2 * PEER_IDENTITY_CHARS_MAX)));
        for (names, expected) in [
            (
                vec![dns.clone(), uri.clone()],
                Some("spiffe://prod/ns/a/sa/b"),
            ),
            (vec![address.clone(), dns], Some("client.internal")),
            (vec![address], None),
            (vec![], None),
        ] {
            assert_eq!(identity(&certificate(names)).as_deref(), expected);
        }
        let cut = identity(&certificate(vec![long])).expect("a name");
        assert_eq!(cut.len(), PEER_IDENTITY_CHARS_MAX);
        assert_eq!(identity(&CertificateDer::from(vec![1, 2, 3])), None);
    }

    #[test]
    fn a_certificate_is_valid_from_its_first_second_to_its_last() {
        let validity = CertificateValidity::of(&certificate(vec![])).expect("decoded");
        let (first, last) = (1_704_067_200, 1_735_689_600);
        assert_eq!((validity.not_before, validity.not_after), (first, last));
        assert_eq!(validity.fault_at(first), None);
        assert_eq!(validity.fault_at(last), None);
        let early = validity.fault_at(first - 1).expect("too early");
        assert!(early.contains("2024-01-01T00:00:00Z"), "{early}");
        let late = validity.fault_at(last + 1).expect("too late");
        assert!(late.contains("expired at 2025-01-01T00:00:00Z"), "{late}");
        assert!(CertificateValidity::of(&CertificateDer::from(vec![1, 2, 3])).is_err());
    }
}
