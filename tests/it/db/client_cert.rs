//! Client certificates and `verify-ca`, against a real Postgres whose pg_hba.conf demands `clientcert=verify-full`.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use earmark::db::connect::{ConnectError, Connector};
use earmark_dev_postgres::Cluster;
use nix::unistd::{Uid, chown};
use tokio_postgres::Config;

use crate::support::certificates::{Authority, Pair, Wanted};
use crate::support::cluster::{OwnCluster, SERVER_ROLE, own_cluster, own_options};

/// Only who connects by TCP needs a certificate, whose common name is the role's name.
const HBA: &str = "local all all trust\n\
                   hostssl all all 127.0.0.0/8 trust clientcert=verify-full\n";
/// The host name in the certificate of the server.
const HOST: &str = "db.test";

/// A Postgres with TLS on the loopback network.
struct TlsPostgres {
    cluster: OwnCluster,
    files: PathBuf,
    address: String,
    port: u16,
    servers: Authority,
    clients: Authority,
}

impl TlsPostgres {
    async fn start() -> Self {
        let (servers, clients) = (Authority::new(), Authority::new());
        // The first start makes the folder, whose owner the server runs as.
        let OwnCluster { cluster, folder } = own_cluster().await;
        cluster.stop().await.expect("it stops");
        let owner = fs::metadata(folder.path().join("data/postgres"));
        let owner = Uid::from_raw(owner.expect("a cluster").uid());
        let files = folder.path().join("tls");
        fs::create_dir(&files).expect("a folder");
        fs::set_permissions(&files, fs::Permissions::from_mode(0o755)).expect("ours");
        let pair = servers.sign(Wanted {
            dns: vec![HOST],
            ..Wanted::default()
        });
        for (name, contents) in [
            ("server.crt", pair.certificate.as_str()),
            ("server.key", &pair.key),
            ("clients.crt", &clients.pem()),
            ("servers.crt", &servers.pem()),
            ("pg_hba.conf", HBA),
        ] {
            let path = files.join(name);
            write(&path, contents);
            chown(&path, Some(owner), None).expect("given to the server");
        }
        // A loopback address of its own, since the port is always the same.
        let [_, b, c, d] = std::process::id().to_be_bytes();
        let address = format!("127.{}.{c}.{}", 1 + b % 100, 1 + d % 250);
        let path = |name: &str| files.join(name).display().to_string();
        let mut options = own_options(folder.path());
        options.settings = [
            ("listen_addresses", address.clone()),
            ("ssl", "on".into()),
            ("ssl_cert_file", path("server.crt")),
            ("ssl_key_file", path("server.key")),
            ("ssl_ca_file", path("clients.crt")),
            ("hba_file", path("pg_hba.conf")),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into();
        let cluster = Cluster::start(options).await.expect("a cluster");
        let cluster = OwnCluster { cluster, folder };
        let config: Config = cluster.database("tls").await.parse().expect("a URL");
        Self {
            cluster,
            files,
            address,
            port: config.get_ports().first().copied().unwrap_or(5432),
            servers,
            clients,
        }
    }

    /// A URL by which a client without files of its own connects to this host.
    fn url(&self, host: &str, parameters: &str) -> String {
        let (address, port) = (&self.address, self.port);
        let roots = self.files.join("servers.crt");
        format!(
            "postgres://{SERVER_ROLE}@{host}:{port}/tls?hostaddr={address}&sslrootcert={}{parameters}",
            roots.display()
        )
    }

    /// The parameters that present a certificate.
    fn presenting(&self, pair: &Pair) -> String {
        let (cert, key) = (self.files.join("client.crt"), self.files.join("client.key"));
        write(&cert, &pair.certificate);
        write(&key, &pair.key);
        format!("&sslcert={}&sslkey={}", cert.display(), key.display())
    }

    fn client(&self, common_name: &'static str) -> Pair {
        self.clients.sign(Wanted {
            common_name: Some(common_name),
            ..Wanted::default()
        })
    }
}

fn write(path: &Path, contents: &str) {
    fs::write(path, contents).expect("written");
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).expect("ours");
}

/// The certificate that Postgres has verified of a new connection.
async fn subject(connector: &Connector) -> Result<Option<String>, ConnectError> {
    let (client, _driver) = connector.connect().await?;
    let sql = "SELECT client_dn FROM pg_stat_ssl WHERE ssl AND pid = pg_backend_pid()";
    let row = client.query_one(sql, &[]).await.expect("encrypted");
    Ok(row.get(0))
}

async fn connect(url: &str) -> Result<Option<String>, ConnectError> {
    subject(&Connector::new(url)?).await
}

#[tokio::test]
async fn a_client_certificate_is_presented_and_renewed() {
    let postgres = TlsPostgres::start().await;
    let good = postgres.client(SERVER_ROLE);
    let files = postgres.presenting(&good);
    let full = format!("&sslmode=verify-full{files}");
    let expected = Some(format!("/CN={SERVER_ROLE}"));
    let connector = Connector::new(&postgres.url(HOST, &full)).expect("good files");
    let connected = subject(&connector).await.expect("connected");
    assert!(connected.is_some_and(|dn| dn.ends_with(&expected.clone().expect("a name"))));

    let without = connect(&postgres.url(HOST, "&sslmode=verify-full")).await;
    let why = without.expect_err("no certificate").to_string();
    assert!(why.contains("requires a valid client certificate"), "{why}");

    // Files that cannot be used leave those before in use; others are used without a restart.
    write(&postgres.files.join("client.key"), "no key");
    subject(&connector).await.expect("as before");
    postgres.presenting(&postgres.client("somebody_else"));
    let refused = subject(&connector).await.expect_err("another role's");
    let why = refused.to_string();
    assert!(why.contains("authentication failed"), "{why}");
    postgres.presenting(&postgres.client(SERVER_ROLE));
    subject(&connector).await.expect("renewed");

    let key = postgres.files.join("client.key");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).expect("ours");
    let readable = Connector::new(&postgres.url(HOST, &full));
    let why = readable.expect_err("readable by all").to_string();
    assert!(why.contains("sslkey=") && why.contains("0644"), "{why}");
    let other = postgres.client(SERVER_ROLE).key;
    write(&key, &other);
    let mismatched = Connector::new(&postgres.url(HOST, &full));
    let why = mismatched.expect_err("another key").to_string();
    assert!(why.contains("does not go with"), "{why}");
    postgres.cluster.stop().await;
}

#[tokio::test]
async fn verify_ca_asks_for_the_authority_and_not_for_the_name() {
    let postgres = TlsPostgres::start().await;
    let files = postgres.presenting(&postgres.client(SERVER_ROLE));
    let url = |host: &str, mode: &str| postgres.url(host, &format!("&sslmode={mode}{files}"));
    connect(&url(HOST, "verify-full")).await.expect("verified");
    connect(&url(HOST, "verify-ca")).await.expect("verified");
    connect(&url("other.test", "verify-ca"))
        .await
        .expect("whatever its name");
    let refused = connect(&url("other.test", "verify-full")).await;
    let why = refused.expect_err("another name").to_string();
    assert!(why.contains("certificate"), "{why}");

    write(&postgres.files.join("servers.crt"), &Authority::new().pem());
    for mode in ["verify-ca", "verify-full"] {
        let refused = connect(&url(HOST, mode)).await;
        let why = refused.expect_err("another authority").to_string();
        assert!(why.contains("certificate"), "{why}");
    }
    write(&postgres.files.join("servers.crt"), &postgres.servers.pem());
    connect(&url(HOST, "verify-ca")).await.expect("verified");
    postgres.cluster.stop().await;
}
