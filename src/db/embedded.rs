//! A Postgres cluster of our own, for development and tests.
//!
//! `earmark dev` and the tests need a Postgres without asking anybody to set one up. [`Cluster::start`] finds the
//! binaries, makes a cluster in a data folder if there is none, runs the server and looks after it:
//!
//! - **One keeper.** A process holds an exclusive `flock` on the data folder for as long as it has the [`Cluster`].
//! - **No network.** The server listens on a unix socket in a short folder that only its user and root can enter, so
//!   it asks for no password.
//! - **Never root.** Started by root, it runs as the data folder's non-root owner, else `postgres`, else `nobody`.
//!   If that user cannot reach the folder or the binaries, a place that it can reach is used and named in
//!   [`Cluster::notes`].
//! - **Own process group.** Ctrl-C in a terminal does not reach the server: its keeper stops it last, by
//!   [`Cluster::stop`].
//! - **Found again.** A server left by a killed keeper is adopted; what a killed server left is cleaned up.
//! - **Kept alive.** A server that dies is started again, with growing pauses; [`Cluster::state`] tells.

mod binaries;
mod error;
mod home;
mod postmaster;
mod reach;
mod socket;
mod supervisor;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use nix::sys::signal::Signal;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tokio_postgres::NoTls;
use tokio_postgres::error::SqlState;

pub use self::binaries::{Binaries, SUPPORTED_MAJORS, find_binaries};
pub use self::error::EmbeddedError;
use self::home::{FolderLock, Home};
use self::postmaster::{Endpoint, Postmaster};
use self::supervisor::Order;
pub use self::supervisor::State;

/// How to run a cluster.
#[derive(Clone, Debug)]
pub struct Options {
    /// The folder that holds the cluster (in `postgres/`) and its log; made if missing.
    pub data_dir: PathBuf,
    /// The folder of the Postgres programs; `None` looks for one, see [`find_binaries`].
    pub binaries: Option<PathBuf>,
    /// Server settings, for example `("max_connections", "400")`. An adopted server keeps those it was started with.
    pub settings: Vec<(String, String)>,
    /// Whether commits must survive a crash of the machine. Without it nothing waits for the disk.
    pub durable: bool,
    /// Delete the cluster that is there, and make a new one.
    pub fresh: bool,
}

impl Options {
    /// A durable cluster in `data_dir`, with binaries that are looked for.
    pub fn new(data_dir: impl Into<PathBuf>) -> Self {
        Self {
            data_dir: data_dir.into(),
            binaries: None,
            settings: Vec::new(),
            durable: true,
            fresh: false,
        }
    }

    /// Everything that is passed to the server.
    fn all_settings(&self) -> Vec<(String, String)> {
        let hasty = ["fsync", "full_page_writes"].map(|name| (name.to_owned(), "off".to_owned()));
        let hasty = hasty.into_iter().filter(|_| !self.durable);
        hasty.chain(self.settings.iter().cloned()).collect()
    }
}

/// A running cluster and the lock on its folder.
///
/// End it by [`stop`](Self::stop) or [`detach`](Self::detach). Merely dropped, as when a test panics, it tells a
/// server that it started to shut down, without waiting for it; an adopted server, which was there before, is left
/// running for the next keeper to adopt.
#[derive(Debug)]
pub struct Cluster {
    home: Arc<Home>,
    endpoint: Endpoint,
    state: watch::Receiver<State>,
    /// Both are `Some` until the cluster is stopped or detached.
    orders: Option<oneshot::Sender<Order>>,
    lock: Option<FolderLock>,
    supervisor: Option<JoinHandle<Result<(), EmbeddedError>>>,
}

impl Cluster {
    /// Adopts or starts the server, and returns when it accepts connections.
    ///
    /// A task on the current tokio runtime keeps it alive from then on.
    ///
    /// # Errors
    /// [`EmbeddedError::Locked`] if somebody else keeps this cluster; else what kept Postgres from starting.
    pub async fn start(options: Options) -> Result<Self, EmbeddedError> {
        let settings = options.all_settings();
        let (durable, fresh) = (options.durable, options.fresh);
        let (home, lock) = blocking(move || {
            let data_dir = home::make_data_dir(&options.data_dir)?;
            let lock = FolderLock::acquire(&data_dir)?;
            Ok((Arc::new(Home::prepare(&options, &data_dir)?), lock))
        })
        .await?;

        let mut running = Postmaster::adopt(&home).await?;
        if fresh {
            if let Some(left_over) = running.take() {
                left_over.stop().await?;
            }
            home.delete_cluster()?;
        }
        let postmaster = match running {
            Some(adopted) => adopted,
            None => {
                let making = Arc::clone(&home);
                blocking(move || making.ensure_cluster(durable)).await?;
                let mut started = Postmaster::spawn(&home, &settings, None)?;
                if let Err(error) = started.ready(&home).await {
                    // Its own failure is the news, not that of stopping it.
                    _ = started.stop().await;
                    return Err(error);
                }
                started
            }
        };

        let endpoint = postmaster.endpoint.clone();
        let (orders, supervisor, state) =
            supervisor::spawn(Arc::clone(&home), settings, postmaster);
        Ok(Self {
            home,
            endpoint,
            state,
            orders: Some(orders),
            lock: Some(lock),
            supervisor: Some(supervisor),
        })
    }

    /// A URL for a database of this cluster, as libpq and tokio-postgres read it; its host is the socket's folder.
    /// It stays valid when the server is started again.
    #[must_use]
    pub fn url(&self, database: &str) -> String {
        self.endpoint.url(database)
    }

    /// Lines that the user should see: which places are used instead of unreachable ones, for example.
    #[must_use]
    pub fn notes(&self) -> &[String] {
        &self.home.notes
    }

    /// Postgres's data folder.
    #[must_use]
    pub fn pgdata(&self) -> &Path {
        &self.home.pgdata
    }

    /// The server's log file.
    #[must_use]
    pub fn log(&self) -> &Path {
        &self.home.log
    }

    /// The programs that it runs.
    #[must_use]
    pub fn binaries(&self) -> &Binaries {
        &self.home.binaries
    }

    /// What the server does now, and every change of it.
    #[must_use]
    pub fn state(&self) -> watch::Receiver<State> {
        self.state.clone()
    }

    /// Makes a database, and says whether it was missing.
    ///
    /// # Errors
    /// [`EmbeddedError::Query`] if Postgres refuses or cannot be reached.
    pub async fn create_database_if_missing(&self, name: &str) -> Result<bool, EmbeddedError> {
        let (client, connection) = tokio_postgres::connect(&self.url("postgres"), NoTls).await?;
        let connection = tokio::spawn(connection);
        let sql = format!("CREATE DATABASE \"{}\"", name.replace('"', "\"\""));
        let exists = client
            .query_opt("SELECT 1 FROM pg_database WHERE datname = $1", &[&name])
            .await?
            .is_some();
        let created = if exists {
            false
        } else {
            match client.batch_execute(&sql).await {
                Ok(()) => true,
                Err(error) if error.code() == Some(&SqlState::DUPLICATE_DATABASE) => false,
                Err(error) => return Err(error.into()),
            }
        };
        drop(client);
        _ = connection.await;
        Ok(created)
    }

    /// Shuts the server down, adopted or not, and frees the folder when it has ended.
    ///
    /// Its sessions are ended at once: close pools before.
    ///
    /// # Errors
    /// [`EmbeddedError::NotStopped`] if it does not end even when told to drop everything.
    pub async fn stop(mut self) -> Result<(), EmbeddedError> {
        self.finish(Order::Stop).await
    }

    /// Leaves the server running without a keeper, and frees the folder: the next start adopts it.
    ///
    /// # Errors
    /// [`EmbeddedError::SupervisorGone`] if the runtime that started it has ended.
    pub async fn detach(mut self) -> Result<(), EmbeddedError> {
        self.finish(Order::Detach).await
    }

    async fn finish(&mut self, order: Order) -> Result<(), EmbeddedError> {
        // Refused only by a supervisor that is gone, which the next line reports.
        _ = self.orders.take().map(|orders| orders.send(order));
        let outcome = match self.supervisor.take() {
            Some(supervisor) => supervisor
                .await
                .map_err(|_| EmbeddedError::SupervisorGone)?,
            None => Err(EmbeddedError::SupervisorGone),
        };
        if let Some(lock) = self.lock.take() {
            lock.release();
        }
        outcome
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let kept = self.orders.take();
        if kept.is_some()
            && let State::Running {
                pid,
                adopted: false,
                ..
            } = *self.state.borrow()
        {
            postmaster::send(pid, &self.home.pgdata, Signal::SIGINT);
        }
    }
}

/// A URL for a database of the cluster that runs in this data folder, whoever keeps it; `None` if none does.
#[must_use]
pub fn running_url(data_dir: &Path, database: &str) -> Option<String> {
    let endpoint = Postmaster::find(&data_dir.join(home::CLUSTER))?;
    Some(endpoint.url(database))
}

/// Runs what waits for the disk or for a child beside the runtime.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, EmbeddedError> + Send + 'static,
) -> Result<T, EmbeddedError> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|_| EmbeddedError::SupervisorGone)?
}
