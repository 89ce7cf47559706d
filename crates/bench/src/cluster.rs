//! The Postgres that everything runs on: one cluster, set up for measuring, with a database for each arm.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use earmark_dev_postgres::{Cluster, ClusterOptions, ClusterState};
use serde::Serialize;
use tokio::process::Command;
use tokio_postgres::{Client, NoTls};

/// Checkpoints in the middle of an arm would be measured with it, so there are none: each arm begins with one.
const SETTINGS: [(&str, &str); 6] = [
    ("max_wal_size", "16GB"),
    ("checkpoint_timeout", "30min"),
    ("shared_buffers", "2GB"),
    ("max_connections", "200"),
    ("autovacuum", "on"),
    ("synchronous_commit", "on"),
];

/// What the report shows of the server's settings, as it answers them itself.
const SHOWN: [&str; 9] = [
    "fsync",
    "synchronous_commit",
    "full_page_writes",
    "wal_sync_method",
    "max_wal_size",
    "checkpoint_timeout",
    "shared_buffers",
    "autovacuum",
    "max_connections",
];

/// A setting of the server, read back from it.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct PostgresSetting {
    pub(crate) name: String,
    pub(crate) value: String,
}

/// The cluster of a run; it is deleted at the end.
pub(crate) struct BenchCluster {
    cluster: Cluster,
    folder: PathBuf,
    earmark: PathBuf,
}

impl BenchCluster {
    /// Starts a new one. One that an earlier run left is deleted.
    pub(crate) async fn start(folder: &Path, earmark: &Path) -> Result<Self> {
        let options = ClusterOptions {
            settings: SETTINGS
                .map(|(name, value)| (name.into(), value.into()))
                .into(),
            binaries: std::env::var_os("EARMARK_POSTGRES_BIN").map(PathBuf::from),
            fresh: true,
            ..ClusterOptions::new(folder)
        };
        let cluster = Cluster::start(options).await?;
        Ok(Self {
            cluster,
            folder: folder.into(),
            earmark: earmark.into(),
        })
    }

    /// Stops and deletes it.
    pub(crate) async fn end(self) -> Result<()> {
        let pgdata = self.cluster.pgdata().to_owned();
        self.cluster.stop().await?;
        fs::remove_dir_all(&pgdata).with_context(|| format!("deleting {}", pgdata.display()))?;
        fs::remove_dir_all(&self.folder)
            .with_context(|| format!("deleting {}", self.folder.display()))
    }

    pub(crate) fn url(&self, database: &str) -> String {
        self.cluster.url(database)
    }

    /// The folder of the socket, as libpq takes it for a host.
    pub(crate) fn socket_folder(&self) -> Result<PathBuf> {
        let config: tokio_postgres::Config = self.url("postgres").parse()?;
        match config.get_hosts() {
            [tokio_postgres::config::Host::Unix(path)] => Ok(path.clone()),
            hosts => bail!("the cluster listens on {hosts:?}"),
        }
    }

    /// The folder of Postgres's programs.
    pub(crate) fn programs(&self) -> &Path {
        &self.cluster.binaries().dir
    }

    /// The pid of the server's main process.
    pub(crate) fn pid(&self) -> Option<u32> {
        match *self.cluster.state().borrow() {
            ClusterState::Running { pid, .. } => Some(pid),
            _ => None,
        }
    }

    pub(crate) async fn connect(&self, database: &str) -> Result<Client> {
        let (client, connection) = tokio_postgres::connect(&self.url(database), NoTls).await?;
        tokio::spawn(connection);
        Ok(client)
    }

    /// Makes a database, migrated by this build of the server.
    pub(crate) async fn create(&self, name: &str, earmark: &Path) -> Result<()> {
        self.cluster.create_database_if_missing(name).await?;
        self.run_earmark(earmark, &["migrate"], name).await?;
        Ok(())
    }

    /// Makes a database that is a copy of another.
    pub(crate) async fn copy(&self, template: &str, name: &str) -> Result<()> {
        let client = self.connect("postgres").await?;
        let sql = format!("CREATE DATABASE \"{name}\" TEMPLATE \"{template}\" STRATEGY FILE_COPY");
        client.batch_execute(&sql).await?;
        Ok(())
    }

    /// Runs a command of the server's program on a database; what it prints is answered.
    async fn run_earmark(
        &self,
        earmark: &Path,
        arguments: &[&str],
        database: &str,
    ) -> Result<String> {
        let output = Command::new(earmark)
            .args(arguments)
            .env("DATABASE_URL", self.url(database))
            .env("EARMARK_LOG", "warn")
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output()
            .await?;
        let printed = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        if !output.status.success() {
            let errors = String::from_utf8_lossy(&output.stderr);
            bail!(
                "earmark {}: {printed} {}",
                arguments.join(" "),
                errors.trim()
            );
        }
        Ok(printed)
    }

    /// `earmark verify`: its summary.
    pub(crate) async fn verify(&self, database: &str) -> Result<String> {
        self.run_earmark(&self.earmark, &["verify"], database).await
    }

    /// The rows of a table.
    pub(crate) async fn count(&self, database: &str, table: &str) -> Result<u64> {
        let client = self.connect(database).await?;
        let row = client
            .query_one(&format!("SELECT count(*) FROM {table}"), &[])
            .await?;
        Ok(u64::try_from(row.get::<_, i64>(0))?)
    }

    /// Puts every arm to the same start: all that was written before is out of the way.
    pub(crate) async fn checkpoint(&self) -> Result<()> {
        let client = self.connect("postgres").await?;
        client.batch_execute("CHECKPOINT").await?;
        tokio::time::sleep(Duration::from_millis(100)).await;
        Ok(())
    }

    /// How much has gone into the write-ahead log, and how many transactions have written, since the cluster was made.
    pub(crate) async fn written(&self) -> Result<(f64, u64)> {
        let client = self.connect("postgres").await?;
        let sql = "SELECT (pg_current_wal_insert_lsn() - '0/0')::float8, \
                          pg_snapshot_xmax(pg_current_snapshot())::text";
        let row = client.query_one(sql, &[]).await?;
        Ok((row.get(0), row.get::<_, &str>(1).parse()?))
    }

    /// The server's version, and its settings as it has them.
    pub(crate) async fn settings(&self) -> Result<(String, Vec<PostgresSetting>)> {
        let client = self.connect("postgres").await?;
        let version = client.query_one("SELECT version()", &[]).await?.get(0);
        let mut settings = Vec::new();
        for name in SHOWN {
            let row = client
                .query_one("SELECT current_setting($1)", &[&name])
                .await?;
            settings.push(PostgresSetting {
                name: name.into(),
                value: row.get(0),
            });
        }
        for name in ["fsync", "synchronous_commit", "full_page_writes"] {
            if !settings
                .iter()
                .any(|setting| setting.name == name && setting.value == "on")
            {
                bail!("{name} is not on: what is measured would not be durable");
            }
        }
        Ok((version, settings))
    }
}
