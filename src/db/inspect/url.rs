//! What a database URL says about TLS, without a judgement whether it can be used.

use std::path::PathBuf;

use percent_encoding::percent_decode_str;

/// How connections are encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encryption {
    /// They are not: passwords and records can be read on the way.
    Never,
    /// If the server offers it; its certificate is not verified.
    IfOffered,
    /// Always; the server's certificate is not verified.
    Unverified,
    /// Always, and the server's certificate is verified.
    Verified,
}

/// The parameters of TLS in a database URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TlsWishes {
    pub(crate) encryption: Encryption,
    /// The file that `sslrootcert` names.
    pub(crate) root_file: Option<PathBuf>,
    /// The file that `sslcert` names.
    pub(crate) certificate_file: Option<PathBuf>,
}

impl TlsWishes {
    pub(crate) fn of(url: &str) -> Self {
        // A password may contain a question mark: the parameters begin behind the host.
        let host = url.find('@').unwrap_or_default();
        let parameters = url[host..]
            .split_once('?')
            .map_or("", |(_, parameters)| parameters);
        let value = |wanted: &str| {
            let found = parameters
                .split('&')
                .filter_map(|parameter| parameter.split_once('='))
                .find(|(name, _)| *name == wanted);
            found.map(|(_, value)| percent_decode_str(value).decode_utf8_lossy().into_owned())
        };
        let encryption = match value("sslmode").as_deref() {
            Some("disable") => Encryption::Never,
            Some("require") => Encryption::Unverified,
            Some("verify-ca" | "verify-full") => Encryption::Verified,
            _ => Encryption::IfOffered,
        };
        Self {
            encryption,
            root_file: value("sslrootcert")
                .filter(|file| file != "system")
                .map(PathBuf::from),
            certificate_file: value("sslcert").map(PathBuf::from),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_found_behind_the_host() {
        let url =
            "postgres://u:p?sslmode=disable@h/d?a=b&sslmode=verify-full&sslrootcert=%2Fx%20y.pem";
        let wishes = TlsWishes::of(url);
        assert_eq!(wishes.encryption, Encryption::Verified);
        assert_eq!(wishes.root_file, Some("/x y.pem".into()));
        assert_eq!(wishes.certificate_file, None);

        let encryption = |url| TlsWishes::of(url).encryption;
        assert_eq!(encryption("postgres://h/d"), Encryption::IfOffered);
        assert_eq!(
            encryption("postgres://h/d?sslmode=require"),
            Encryption::Unverified
        );
        assert_eq!(
            encryption("postgres://h/d?sslmode=disable"),
            Encryption::Never
        );
        let system = TlsWishes::of("postgres://h/d?sslmode=verify-full&sslrootcert=system");
        assert_eq!(system.root_file, None);
    }
}
