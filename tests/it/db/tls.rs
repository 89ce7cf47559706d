//! What each `sslmode` does, against a proxy that speaks TLS (or not) in front of a real Postgres on its unix socket.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use diesel_async::{AsyncPgConnection, SimpleAsyncConnection};
use earmark::db::connect::{ConnectError, Connector};
use earmark::db::pool::{self, PoolSettings};
use earmark::db::read;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::time::timeout;
use tokio_postgres::Config;
use tokio_postgres::config::Host;
use tokio_rustls::TlsAcceptor;

use crate::support::cluster::{TestDatabase, database};
use crate::support::locks::session;

/// What a client sends to ask for TLS: its length, and a version that no protocol has.
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];

/// A Postgres that can be reached by TCP as `localhost`.
struct Proxy {
    _db: TestDatabase,
    folder: TempDir,
    port: u16,
    database: String,
    user: String,
    /// Sessions that were encrypted, and those that were not.
    encrypted: Arc<AtomicU32>,
    plain: Arc<AtomicU32>,
}

impl Proxy {
    async fn start(offers_tls: bool) -> Self {
        let db = database().await;
        let config: Config = db.url.parse().expect("a URL");
        let Some(Host::Unix(socket)) = config.get_hosts().first() else {
            panic!("the cluster listens on a unix socket");
        };
        let port = config.get_ports().first().copied().unwrap_or(5432);
        let socket = socket.join(format!(".s.PGSQL.{port}"));
        let folder = tempfile::tempdir().expect("a folder");
        let acceptor = TlsAcceptor::from(Arc::new(server_config(&folder)));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let proxy = Self {
            user: config.get_user().expect("a user").into(),
            database: config.get_dbname().expect("a database").into(),
            port: listener.local_addr().expect("bound").port(),
            folder,
            encrypted: Arc::default(),
            plain: Arc::default(),
            _db: db,
        };
        let acceptor = offers_tls.then_some(acceptor);
        let counters = (Arc::clone(&proxy.encrypted), Arc::clone(&proxy.plain));
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let serve = serve(client, acceptor.clone(), socket.clone(), counters.clone());
                tokio::spawn(serve);
            }
        });
        proxy
    }

    fn url(&self, host: &str, parameters: &str) -> String {
        let (user, port, database) = (&self.user, self.port, &self.database);
        format!("postgres://{user}@{host}:{port}/{database}{parameters}")
    }

    /// Connects, and says whether that was encrypted.
    async fn connect(&self, host: &str, parameters: &str) -> Result<bool, ConnectError> {
        let url = self.url(host, parameters);
        let before = self.encrypted.load(Ordering::SeqCst);
        let (client, _driver) = Connector::new(&url)?.connect().await?;
        client.batch_execute("SELECT 1").await.expect("it works");
        Ok(self.encrypted.load(Ordering::SeqCst) > before)
    }

    /// The parameters that trust an authority's file.
    fn verify_full(&self, authority: &str) -> String {
        let file = self.folder.path().join(authority);
        format!("?sslmode=verify-full&sslrootcert={}", file.display())
    }
}

async fn serve(
    mut client: TcpStream,
    acceptor: Option<TlsAcceptor>,
    socket: PathBuf,
    (encrypted, plain): (Arc<AtomicU32>, Arc<AtomicU32>),
) -> std::io::Result<()> {
    let mut first = [0; 8];
    client.read_exact(&mut first).await?;
    let mut server = UnixStream::connect(socket).await?;
    match acceptor {
        Some(acceptor) if first == SSL_REQUEST => {
            client.write_all(b"S").await?;
            let mut client = acceptor.accept(client).await?;
            encrypted.fetch_add(1, Ordering::SeqCst);
            copy_bidirectional(&mut client, &mut server).await?;
        }
        _ => {
            if first == SSL_REQUEST {
                client.write_all(b"N").await?;
            } else {
                server.write_all(&first).await?;
            }
            plain.fetch_add(1, Ordering::SeqCst);
            copy_bidirectional(&mut client, &mut server).await?;
        }
    }
    Ok(())
}

/// A certificate for `localhost`; in the folder lie the authority that signed it and one that did not.
fn server_config(folder: &TempDir) -> ServerConfig {
    let authority = || {
        let mut params = CertificateParams::new([]).expect("valid");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("signed")
    };
    let (ours, other) = (authority(), authority());
    for (name, authority) in [("ours.pem", &ours), ("other.pem", &other)] {
        std::fs::write(folder.path().join(name), authority.pem()).expect("written");
    }
    std::fs::write(folder.path().join("empty.pem"), "no certificate").expect("written");
    let key = KeyPair::generate().expect("a key");
    let names = ["localhost".to_owned()];
    let certificate = CertificateParams::new(names)
        .expect("valid")
        .signed_by(&key, &ours)
        .expect("signed");
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .expect("a certificate")
}

#[tokio::test]
async fn each_sslmode_encrypts_as_documented_when_the_server_offers_tls() {
    let proxy = Proxy::start(true).await;
    let encrypted = async |parameters: &str| proxy.connect("localhost", parameters).await;
    assert!(!encrypted("?sslmode=disable").await.expect("connected"));
    assert!(encrypted("").await.expect("connected"), "the default");
    assert!(encrypted("?sslmode=prefer").await.expect("connected"));
    assert!(encrypted("?sslmode=require").await.expect("connected"));
    let verified = encrypted(&proxy.verify_full("ours.pem")).await;
    assert!(verified.expect("connected"));
}

#[tokio::test]
async fn a_statement_is_cancelled_over_tls() {
    let proxy = Proxy::start(true).await;
    let url = proxy.url("localhost", "?sslmode=require");
    let pool = pool::open(
        Connector::new(&url).expect("a URL"),
        &PoolSettings::default(),
    );
    let asleep = read::one(&pool, async |connection: &mut AsyncPgConnection| {
        connection.batch_execute("SELECT pg_sleep(60)").await
    });
    let cancelled = timeout(Duration::from_millis(500), asleep).await;
    assert!(cancelled.is_err());
    let looking = session(&url).await;
    let running = "SELECT FROM pg_stat_activity
         WHERE datname = current_database() AND wait_event = 'PgSleep'";
    let mut looks = 0;
    while !looking.query(running, &[]).await.expect(running).is_empty() {
        looks += 1;
        assert!(looks < 100, "it still runs");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn verify_full_refuses_an_unknown_authority_and_another_host_name() {
    let proxy = Proxy::start(true).await;
    for (host, parameters) in [
        ("localhost", proxy.verify_full("other.pem")),
        ("127.0.0.1", proxy.verify_full("ours.pem")),
    ] {
        let refused = proxy.connect(host, &parameters).await;
        let error = refused.expect_err("not verified");
        assert!(matches!(error, ConnectError::Postgres(_)), "{error}");
        assert!(error.to_string().contains("certificate"), "{error}");
    }
    assert_eq!(proxy.encrypted.load(Ordering::SeqCst), 0);
    assert_eq!(
        proxy.plain.load(Ordering::SeqCst),
        0,
        "nothing in the clear"
    );

    let unreadable = proxy
        .connect("localhost", &proxy.verify_full("empty.pem"))
        .await;
    let unreadable = unreadable.expect_err("no certificate");
    assert!(matches!(unreadable, ConnectError::Tls(_)), "{unreadable}");
    assert!(unreadable.to_string().contains("empty.pem"), "{unreadable}");
}

#[tokio::test]
async fn only_modes_that_allow_plain_text_connect_to_a_server_without_tls() {
    let proxy = Proxy::start(false).await;
    for parameters in ["", "?sslmode=prefer", "?sslmode=disable"] {
        let encrypted = proxy.connect("localhost", parameters).await;
        assert!(!encrypted.expect("connected"), "{parameters}");
    }
    for parameters in ["?sslmode=require", &proxy.verify_full("ours.pem")] {
        let refused = proxy.connect("localhost", parameters).await;
        let error = refused.expect_err("no TLS").to_string();
        assert!(error.contains("TLS"), "{error}");
    }
}
