//! One Postgres for all tests, and a database of its own for each.
//!
//! Whichever test comes first starts the cluster below `target/`; it then serves every test process (nextest runs
//! each test in one) and the next runs too. Every process holds a shared lock on a file while it lives, however
//! it ends; a detached watchdog, which is this same test binary, stops the cluster when that lock has been free
//! for a minute.
//!
//! A test's database is a copy of a template, which is made once for every state of `migrations/`.

mod own;
mod watchdog;

use std::env;
use std::fs::{self, File, FileTimes};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::SystemTime;

pub(crate) use own::{Frozen, OwnCluster, own_cluster, own_cluster_with, own_folder, own_options};

use earmark::db::partitions::{self, PartitionRules};
use earmark_dev_postgres::{Cluster, ClusterOptions};
use nix::errno::Errno;
use nix::sys::signal::kill;
use nix::unistd::{Pid, Uid};
use sha2::{Digest as _, Sha256};
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, NoTls};

/// The role that servers connect as. The cluster's superuser owns the tables, and is whom tests look as.
pub(crate) const SERVER_ROLE: &str = "earmark_server";

/// The seam to the schema: all that a new template database goes through.
async fn migrate(url: &str) {
    earmark::db::migrate::run(url)
        .await
        .expect("the migrations run");
    partitions::maintain(url, PartitionRules::default())
        .await
        .expect("partitions are made");
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.expect(url);
    tokio::spawn(connection);
    let sql = format!("CREATE ROLE {SERVER_ROLE} LOGIN");
    match client.batch_execute(&sql).await {
        Err(error) if error.code() != Some(&SqlState::DUPLICATE_OBJECT) => panic!("{sql}: {error}"),
        _ => {}
    }
    earmark::db::roles::grant(url, SERVER_ROLE)
        .await
        .expect("what a server needs is granted");
}

/// The URL of a test's database for a server's connections.
pub(crate) fn as_server(url: &str) -> String {
    let for_server = url.replacen("://earmark@", &format!("://{SERVER_ROLE}@"), 1);
    assert_ne!(for_server, url, "a URL of the superuser");
    for_server
}

/// A migrated database of a test's own; dropped at its end, but kept until the next run if the test panics.
#[derive(Debug)]
pub(crate) struct TestDatabase {
    pub(crate) url: String,
    pub(crate) name: String,
    server: String,
}

/// A migrated, empty database.
pub(crate) async fn database() -> TestDatabase {
    let mut shared = shared();
    let mut attempts = 0;
    loop {
        attempts += 1;
        match shared.copy_template().await {
            Ok(database) => return database,
            // The cluster was stopped by hand, or the template dropped by a run with other migrations.
            Err(_) if attempts < 3 => {
                forget(&shared);
                shared = self::shared();
            }
            Err(error) => panic!("a test database cannot be made: {error}"),
        }
    }
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!(
                "the test's database is kept until the next run: psql '{}'",
                self.url
            );
            return;
        }
        let (server, sql) = (
            self.server.clone(),
            format!("DROP DATABASE \"{}\" WITH (FORCE)", self.name),
        );
        let dropped = on_own_runtime(move || async move {
            let client = connect(&server, "postgres").await?;
            client.batch_execute(&sql).await
        });
        if let Err(error) = dropped {
            eprintln!("{} is left for the next run to drop: {error}", self.name);
        }
    }
}

/// The setting that `make test` gives where the machine has no Postgres of its own.
pub(crate) fn binaries() -> Option<PathBuf> {
    env::var_os("EARMARK_POSTGRES_BIN")
        .filter(|value| !value.is_empty())
        .map(PathBuf::from)
}

fn is_alive(pid: i32) -> bool {
    kill(Pid::from_raw(pid), None) != Err(Errno::ESRCH)
}

/// The running cluster, as every test of this process sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Shared {
    /// A URL that only lacks the database's name.
    server: String,
    template: String,
}

static SHARED: Mutex<Option<Shared>> = Mutex::new(None);
/// Locked for as long as this process lives.
static USED: Mutex<Option<File>> = Mutex::new(None);

fn shared() -> Shared {
    let mut known = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
    known
        .get_or_insert_with(|| on_own_runtime(|| find_or_start(Folder::of_this_user())))
        .clone()
}

fn forget(wrong: &Shared) {
    let mut known = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
    if known.as_ref() == Some(wrong) {
        *known = None;
    }
}

/// Every test has a runtime of its own, and ends it: what is shared, or runs in a destructor, needs another one.
fn on_own_runtime<F: Future>(work: impl FnOnce() -> F + Send + 'static) -> F::Output
where
    F::Output: Send + 'static,
{
    let thread = thread::spawn(|| {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build();
        runtime.expect("a runtime").block_on(work())
    });
    thread
        .join()
        .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// The files by which test processes find each other.
#[derive(Clone, Debug)]
struct Folder(PathBuf);

impl Folder {
    /// One for each user, since a cluster belongs to one.
    fn of_this_user() -> Self {
        Self(Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("postgres-{}", Uid::effective())))
    }

    fn open(&self, name: &str) -> File {
        fs::create_dir_all(&self.0).expect("the test cluster's folder");
        let path = self.0.join(name);
        let file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path);
        file.expect("a lock file in the test cluster's folder")
    }

    /// Holds a shared lock while the cluster is used.
    fn users(&self) -> File {
        self.open("users.lock")
    }

    /// Says where a started cluster is.
    fn address(&self) -> PathBuf {
        self.0.join("address")
    }

    /// Names the last run that tidied up after its predecessors.
    fn last_run(&self) -> PathBuf {
        self.0.join("last-run")
    }

    fn options(&self) -> ClusterOptions {
        let settings = [
            ("max_connections", "400"),
            // A template must have no sessions while it is copied, and nothing here lives long enough to need it.
            ("autovacuum", "off"),
            ("max_wal_size", "4GB"),
            ("checkpoint_timeout", "30min"),
        ];
        ClusterOptions {
            durable: false,
            binaries: binaries(),
            settings: settings
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into(),
            ..ClusterOptions::new(self.0.join("data"))
        }
    }
}

async fn find_or_start(folder: Folder) -> Shared {
    let users = folder.users();
    users.lock_shared().expect("the users' lock");
    // Between two looks of the watchdog a short run would go unseen.
    let now = FileTimes::new().set_modified(SystemTime::now());
    users.set_times(now).expect("the time of the last use");
    USED.lock()
        .unwrap_or_else(PoisonError::into_inner)
        .replace(users);

    watchdog::ensure(&folder);
    let template = template_name();
    let is_first_of_run = fs::read_to_string(folder.last_run()).ok() != Some(run_id());
    if !is_first_of_run
        && let Some(server) = running_server(&folder).await
        && template_exists(&server, &template).await
    {
        return Shared { server, template };
    }

    let starting = folder.open("start.lock");
    starting.lock().expect("the starting lock");
    // Another process may have done it while this one waited.
    let server = match running_server(&folder).await {
        Some(server) => server,
        None => start_server(&folder).await,
    };
    drop_leftovers(&server).await;
    fs::write(folder.last_run(), run_id()).expect("the name of this run");
    if !template_exists(&server, &template).await {
        make_template(&server, &template).await;
    }
    starting.unlock().expect("the starting lock");
    Shared { server, template }
}

async fn running_server(folder: &Folder) -> Option<String> {
    let server = fs::read_to_string(folder.address()).ok()?;
    connect(&server, "postgres").await.ok()?;
    Some(server)
}

async fn start_server(folder: &Folder) -> String {
    let cluster = Cluster::start(folder.options())
        .await
        .unwrap_or_else(|error| panic!("{error}"));
    for note in cluster.notes() {
        eprintln!("{note}");
    }
    let server = cluster.url("");
    fs::write(folder.address(), &server).expect("the cluster's address");
    cluster.detach().await.expect("the cluster stays");
    server
}

async fn connect(server: &str, database: &str) -> Result<Client, tokio_postgres::Error> {
    let (client, connection) =
        tokio_postgres::connect(&format!("{server}{database}"), NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}

async fn template_exists(server: &str, template: &str) -> bool {
    let client = connect(server, "postgres").await.expect("a connection");
    let row = client
        .query_opt("SELECT 1 FROM pg_database WHERE datname = $1", &[&template])
        .await;
    row.expect("the databases").is_some()
}

/// Named by what makes it, so that changed migrations or privileges find no template of theirs.
fn template_name() -> String {
    let top = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = vec![top.join("src/db/roles.rs")];
    let mut folders = vec![top.join("migrations")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path)
            } else {
                files.push(path)
            }
        }
    }
    files.sort();
    let mut hash = Sha256::new();
    for path in files {
        let name = path
            .strip_prefix(top)
            .unwrap_or(&path)
            .to_string_lossy()
            .into_owned();
        let content = fs::read(&path).expect("a file of the schema");
        for part in [name.as_bytes(), &content] {
            hash.update(part.len().to_le_bytes());
            hash.update(part);
        }
    }
    let digits: String = hash
        .finalize()
        .iter()
        .take(6)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!("earmark_template_{digits}")
}

/// Made under another name first: a template is whole or absent.
async fn make_template(server: &str, template: &str) {
    let client = connect(server, "postgres").await.expect("a connection");
    let unfinished = format!("{template}_unfinished");
    let sql = |text: String| async {
        client
            .batch_execute(&{ text })
            .await
            .expect("a statement about the template")
    };
    sql(format!("DROP DATABASE IF EXISTS {unfinished} WITH (FORCE)")).await;
    sql(format!("CREATE DATABASE {unfinished}")).await;
    migrate(&format!("{server}{unfinished}")).await;
    // A pool may still be closing its connections.
    sql(format!(
        "ALTER DATABASE {unfinished} ALLOW_CONNECTIONS false"
    ))
    .await;
    let sessions =
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = $1";
    client
        .query(sessions, &[&unfinished])
        .await
        .expect("no sessions");
    sql(format!("ALTER DATABASE {unfinished} RENAME TO {template}")).await;
    // Those of other migrations have had their day.
    let others = "SELECT datname FROM pg_database WHERE datname LIKE 'earmark\\_template\\_%' AND datname <> $1";
    for other in client
        .query(others, &[&template])
        .await
        .expect("the databases")
    {
        sql(format!("DROP DATABASE \"{}\"", other.get::<_, String>(0))).await;
    }
}

/// Drops what earlier runs left: databases of dead processes.
async fn drop_leftovers(server: &str) {
    let client = connect(server, "postgres").await.expect("a connection");
    let rows = client
        .query(
            "SELECT datname FROM pg_database WHERE datname LIKE 'test\\_%'",
            &[],
        )
        .await;
    for name in rows
        .expect("the databases")
        .iter()
        .map(|row| row.get::<_, String>(0))
    {
        let mut parts = name.split('_').skip(1);
        let run = parts.next().unwrap_or_default();
        let pid = parts.next().and_then(|pid| pid.parse().ok());
        if run != run_id() && pid.is_none_or(|pid| !is_alive(pid)) {
            _ = client
                .batch_execute(&format!("DROP DATABASE IF EXISTS \"{name}\" WITH (FORCE)"))
                .await;
        }
    }
}

/// The same in all processes of one run, so that a failed test's database stays to be looked at.
fn run_id() -> String {
    let run = env::var("NEXTEST_RUN_ID").unwrap_or_else(|_| std::process::id().to_string());
    run.chars()
        .filter(char::is_ascii_alphanumeric)
        .take(8)
        .collect()
}

impl Shared {
    async fn copy_template(&self) -> Result<TestDatabase, tokio_postgres::Error> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("test_{}_{}_{count}", run_id(), std::process::id());
        let client = connect(&self.server, "postgres").await?;
        // Measured without fsync: 18 ms, where WAL_LOG takes 37 ms.
        let sql = format!(
            "CREATE DATABASE \"{name}\" TEMPLATE {} STRATEGY FILE_COPY",
            self.template
        );
        match client.batch_execute(&sql).await {
            Ok(()) => {}
            // Left by a process of the same number.
            Err(error) if error.code() == Some(&SqlState::DUPLICATE_DATABASE) => {
                client
                    .batch_execute(&format!("DROP DATABASE \"{name}\" WITH (FORCE)"))
                    .await?;
                client.batch_execute(&sql).await?;
            }
            Err(error) => return Err(error),
        }
        Ok(TestDatabase {
            url: format!("{}{name}", self.server),
            name,
            server: self.server.clone(),
        })
    }
}

#[tokio::test]
async fn each_test_has_a_database_of_its_own() {
    let (one, two) = (database().await, database().await);
    assert_ne!(one.name, two.name);
    let server = one.server.clone();
    let client = connect(&server, &one.name).await.expect("a connection");
    let applied = "SELECT count(*) FROM __diesel_schema_migrations";
    let applied: i64 = client
        .query_one(applied, &[])
        .await
        .expect("a migrated database")
        .get(0);
    assert!(applied > 0);
    client
        .batch_execute("CREATE TABLE only_here ()")
        .await
        .expect("a table");
    let other = connect(&server, &two.name).await.expect("a connection");
    other
        .batch_execute("SELECT FROM only_here")
        .await
        .expect_err("no such table");

    let names = [one.name.clone(), two.name.clone()];
    drop((one, two));
    let client = connect(&server, "postgres").await.expect("a connection");
    let left = client
        .query(
            "SELECT FROM pg_database WHERE datname = ANY($1)",
            &[&&names[..]],
        )
        .await;
    assert_eq!(
        left.expect("the databases").len(),
        0,
        "dropped even with open connections"
    );
}

#[tokio::test]
async fn a_test_can_kill_a_cluster_of_its_own() {
    let own = own_cluster().await;
    let url = own.database("shelf").await;
    assert!(tokio_postgres::connect(&url, NoTls).await.is_ok());
    assert!(own.folder.path().is_dir());
    own.stop().await;
    assert!(tokio_postgres::connect(&url, NoTls).await.is_err());
}
