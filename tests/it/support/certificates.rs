//! Certificate authorities of a test's own, what they sign, and clients that trust them.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use rcgen::string::Ia5String;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, SanType, date_time_ymd,
};
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion, version};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// The name that the certificates of test servers have.
pub(crate) const SERVER_NAME: &str = "earmark.test";

/// An authority that signs certificates.
pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate with its key, in PEM.
#[derive(Clone)]
pub(crate) struct Pair {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

/// What a certificate is for.
#[derive(Default)]
pub(crate) struct Wanted {
    pub(crate) dns: Vec<&'static str>,
    pub(crate) uri: Option<&'static str>,
    pub(crate) common_name: Option<&'static str>,
    /// Whether its time is over.
    pub(crate) is_expired: bool,
    /// For clients alone, for servers alone; neither: for both.
    pub(crate) usage: Option<ExtendedKeyUsagePurpose>,
}

fn ia5(text: &str) -> Ia5String {
    text.try_into().expect("ASCII")
}

impl Authority {
    pub(crate) fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(1);
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("authority {number}");
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().expect("a key");
        Self(CertifiedIssuer::self_signed(params, key).expect("signed"))
    }

    pub(crate) fn pem(&self) -> String {
        self.0.pem()
    }

    pub(crate) fn sign(&self, wanted: Wanted) -> Pair {
        let mut params = CertificateParams::default();
        let dns = wanted.dns.iter().map(|name| SanType::DnsName(ia5(name)));
        let uri = wanted.uri.iter().map(|uri| SanType::URI(ia5(uri)));
        params.subject_alt_names = dns.chain(uri).collect();
        if let Some(name) = wanted.common_name {
            params.distinguished_name.push(DnType::CommonName, name);
        }
        if wanted.is_expired {
            params.not_before = date_time_ymd(2020, 1, 1);
            params.not_after = date_time_ymd(2021, 1, 1);
        }
        params.extended_key_usages = wanted.usage.into_iter().collect();
        let key = KeyPair::generate().expect("a key");
        Pair {
            certificate: params.signed_by(&key, &self.0).expect("signed").pem(),
            key: key.serialize_pem(),
        }
    }

    /// A certificate for a server of that name.
    pub(crate) fn server(&self) -> Pair {
        self.sign(Wanted {
            dns: vec![SERVER_NAME],
            ..Wanted::default()
        })
    }

    /// A certificate for a client with that URI.
    pub(crate) fn client(&self, uri: &'static str) -> Pair {
        self.sign(Wanted {
            uri: Some(uri),
            usage: Some(ExtendedKeyUsagePurpose::ClientAuth),
            ..Wanted::default()
        })
    }

    /// How a client connects that trusts this authority, and presents a certificate if it has one.
    pub(crate) fn trusting(&self, pair: Option<&Pair>) -> ClientConfig {
        self.trusting_with(pair, &[&version::TLS13, &version::TLS12])
    }

    /// The same with these versions of TLS only.
    pub(crate) fn trusting_with(
        &self,
        pair: Option<&Pair>,
        versions: &[&'static SupportedProtocolVersion],
    ) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(self.0.der().clone()).expect("an authority");
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(versions)
            .expect("versions")
            .with_root_certificates(roots);
        let mut config = match pair {
            Some(pair) => {
                let certificate = CertificateDer::from_pem_slice(pair.certificate.as_bytes());
                let key = PrivateKeyDer::from_pem_slice(pair.key.as_bytes());
                let chain = vec![certificate.expect("a certificate")];
                let authenticated = builder.with_client_auth_cert(chain, key.expect("a key"));
                authenticated.expect("a pair")
            }
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = vec![b"h2".into()];
        config
    }
}

/// Connects, and makes the handshake.
pub(crate) async fn connect_tls(
    address: SocketAddr,
    config: ClientConfig,
) -> std::io::Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let name = ServerName::try_from(SERVER_NAME).expect("a name");
    TlsConnector::from(Arc::new(config))
        .connect(name, stream)
        .await
}

/// A folder with the files of a server, replaced as Kubernetes replaces those of a Secret: the files are links into a
/// folder that another link names.
pub(crate) struct SecretVolume {
    folder: tempfile::TempDir,
    generation: u32,
}

impl SecretVolume {
    /// A volume with these files, by their names.
    pub(crate) fn new(files: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let mut volume = Self {
            folder,
            generation: 0,
        };
        volume.replace(files);
        for (name, _) in files {
            let target = Path::new("..data").join(name);
            std::os::unix::fs::symlink(target, volume.path(name)).expect("linked");
        }
        volume
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Replaces all files at one instant.
    pub(crate) fn replace(&mut self, files: &[(&str, &str)]) {
        self.generation += 1;
        let name = format!("..{}", self.generation);
        fs::create_dir(self.path(&name)).expect("a folder");
        for (file, contents) in files {
            fs::write(self.path(&name).join(file), contents).expect("written");
        }
        std::os::unix::fs::symlink(&name, self.path("..data_tmp")).expect("linked");
        fs::rename(self.path("..data_tmp"), self.path("..data")).expect("replaced");
    }
}
