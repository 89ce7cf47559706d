//! Reads certificates and private keys from PEM files. Errors are reasons: the caller puts the setting and the file before
//! them.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use rustls::RootCertStore;
use rustls::pki_types::pem::{Error, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::limits::PEM_FILE_BYTES_MAX;

/// The contents of a file, up to the size that any bundle of certificates has.
///
/// # Errors
/// Why the file cannot be read, and what to do.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, String> {
    let unreadable = |error: io::Error| match error.kind() {
        io::ErrorKind::PermissionDenied => {
            format!("{error}: let the user read it that this process runs as")
        }
        _ => format!("{error}: give a PEM file that this process can read"),
    };
    let mut contents = Vec::new();
    let file = File::open(path).map_err(unreadable)?;
    file.take(PEM_FILE_BYTES_MAX + 1)
        .read_to_end(&mut contents)
        .map_err(unreadable)?;
    if contents.len() as u64 > PEM_FILE_BYTES_MAX {
        return Err(format!(
            "it is larger than {PEM_FILE_BYTES_MAX} bytes: give a PEM file"
        ));
    }
    Ok(contents)
}

/// All certificates, at least one, in their order.
///
/// # Errors
/// There is none, or the PEM is broken.
pub(crate) fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match all {
        Ok(all) if all.is_empty() => Err("it has no certificate in PEM (BEGIN CERTIFICATE)".into()),
        Ok(all) => Ok(all),
        Err(error) => Err(format!("its PEM cannot be read: {error}")),
    }
}

/// The first private key.
///
/// # Errors
/// There is none, it is encrypted, or the PEM is broken.
pub(crate) fn private_key(pem: &[u8]) -> Result<PrivateKeyDer<'static>, String> {
    PrivateKeyDer::from_pem_slice(pem).map_err(|error| {
        let is_encrypted = pem.windows(9).any(|part| part == b"ENCRYPTED");
        match error {
            _ if is_encrypted => "the key is encrypted, which is not supported: decrypt it with `openssl pkey`, and let no \
                                  other user read the file"
                .into(),
            Error::NoItemsFound => {
                "it has no private key in PEM (PRIVATE KEY, RSA PRIVATE KEY or EC PRIVATE KEY)".into()
            }
            other => format!("its PEM cannot be read: {other}"),
        }
    })
}

/// A store of authorities, each of which must be usable.
///
/// # Errors
/// As for [`certificates`], or the first certificate that cannot be used.
pub(crate) fn authorities(pem: &[u8]) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for (index, authority) in certificates(pem)?.into_iter().enumerate() {
        roots.add(authority).map_err(|error| {
            let number = index + 1;
            format!("certificate number {number} cannot be used as an authority: {error}")
        })?;
    }
    Ok(roots)
}

/// The authorities that the operating system trusts.
///
/// # Errors
/// There is none, with the first error that was met.
pub(crate) fn system_authorities() -> Result<RootCertStore, String> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    // A store of hundreds of certificates may have one that is of no use; the others are.
    let (added, _) = roots.add_parsable_certificates(found.certs);
    if added > 0 {
        return Ok(roots);
    }
    let why = found.errors.first().map(ToString::to_string);
    Err(why.unwrap_or_else(|| "it has no certificate".into()))
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair};

    use super::*;

    #[test]
    fn files_that_cannot_be_used_say_what_to_do() {
        let missing = read(Path::new("/nowhere.pem")).expect_err("no file");
        assert!(missing.contains("give a PEM file"), "{missing}");
        let large = tempfile::NamedTempFile::new().expect("a file");
        let length = PEM_FILE_BYTES_MAX + 1;
        large.as_file().set_len(length).expect("a sparse file");
        let refused = read(large.path()).expect_err("too large");
        assert!(refused.contains("larger than"), "{refused}");

        let key = KeyPair::generate().expect("a key");
        let signed = CertificateParams::default().self_signed(&key);
        let certificate = signed.expect("signed").pem();
        for (pem, of_certificates, of_key) in [
            ("", "no certificate in PEM", "no private key in PEM"),
            (&certificate, "", "no private key in PEM"),
            (&key.serialize_pem(), "no certificate in PEM", ""),
            (
                "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n",
                "no certificate in PEM",
                "openssl pkey",
            ),
            (
                "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n",
                "cannot be read",
                "cannot be read",
            ),
        ] {
            let certificates = certificates(pem.as_bytes()).err().unwrap_or_default();
            assert!(certificates.contains(of_certificates), "{certificates}");
            assert_eq!(certificates.is_empty(), of_certificates.is_empty());
            let key = private_key(pem.as_bytes()).err().unwrap_or_default();
            assert!(key.contains(of_key), "{key}");
            assert_eq!(key.is_empty(), of_key.is_empty());
        }
        let not_an_authority = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        let refused = authorities(not_an_authority.as_bytes()).expect_err("no DER");
        assert!(refused.starts_with("certificate number 1"), "{refused}");
    }
}
