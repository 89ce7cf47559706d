//! A running cluster, from its start to its stop.

use std::path::Path;
use std::sync::Arc;

use nix::sys::signal::Signal;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tokio_postgres::NoTls;
use tokio_postgres::error::SqlState;

use crate::binaries::PostgresBinaries;
use crate::data_dir::{self, DataDir};
use crate::endpoint::SocketEndpoint;
use crate::error::EmbeddedError;
use crate::lock::DataDirLock;
use crate::options::ClusterOptions;
use crate::paths::CLUSTER;
use crate::postmaster::Postmaster;
use crate::process::send_signal;
use crate::state::ClusterState;
use crate::supervisor::{self, SupervisorOrder};

/// A running cluster and the lock on its folder.
///
/// It ends by [`stop`](Self::stop) or [`detach`](Self::detach). If it is dropped instead, as when a test panics, a server
/// that it has started is signalled to shut down, without waiting for the end; an adopted server is left running.
#[derive(Debug)]
pub struct Cluster {
    data_dir: Arc<DataDir>,
    endpoint: SocketEndpoint,
    state: watch::Receiver<ClusterState>,
    /// This and the next two are `Some` until the cluster is stopped or detached.
    orders: Option<oneshot::Sender<SupervisorOrder>>,
    lock: Option<DataDirLock>,
    supervisor: Option<JoinHandle<Result<(), EmbeddedError>>>,
}

impl Cluster {
    /// Adopts or starts the server, and returns when it accepts connections.
    ///
    /// From then on a task on the current tokio runtime restarts the server whenever it ends. If the returned future is
    /// dropped before, what it has started is ended.
    ///
    /// # Errors
    /// [`EmbeddedError::Locked`] if another process runs this cluster, else the reason why Postgres could not be started.
    pub async fn start(options: ClusterOptions) -> Result<Self, EmbeddedError> {
        let settings = options.all_settings();
        let (durable, fresh) = (options.durable, options.fresh);
        let (data_dir, lock) = blocking(move || {
            let data_dir = data_dir::make_data_dir(&options.data_dir)?;
            let lock = DataDirLock::acquire(&data_dir)?;
            Ok((Arc::new(DataDir::prepare(&options, &data_dir)?), lock))
        })
        .await?;

        let mut running = Postmaster::adopt(&data_dir).await?;
        if fresh {
            if let Some(left_over) = running.take() {
                left_over.stop().await?;
            }
            data_dir.delete_cluster()?;
        }
        let postmaster = match running {
            Some(adopted) => adopted,
            None => {
                data_dir.ensure_cluster(durable).await?;
                let mut started = Postmaster::spawn(&data_dir, &settings, None)?;
                let unfinished = StartingServer::new(&started, &data_dir);
                let ready = started.ready(&data_dir).await;
                unfinished.finish();
                if let Err(error) = ready {
                    // The failure to start is reported, not a failure to stop.
                    _ = started.stop().await;
                    return Err(error);
                }
                started
            }
        };

        let endpoint = postmaster.endpoint.clone();
        let (orders, supervisor, state) =
            supervisor::spawn(Arc::clone(&data_dir), settings, postmaster);
        Ok(Self {
            data_dir,
            endpoint,
            state,
            orders: Some(orders),
            lock: Some(lock),
            supervisor: Some(supervisor),
        })
    }

    /// A URL for a database of this cluster, as libpq and tokio-postgres read it; its host is the socket's folder, and
    /// its user the superuser. It stays valid when the server is started again.
    #[must_use]
    pub fn url(&self, database: &str) -> String {
        self.endpoint.url(database)
    }

    /// The same for another role, such as one made by [`create_role_if_missing`](Self::create_role_if_missing).
    #[must_use]
    pub fn url_as(&self, role: &str, database: &str) -> String {
        self.endpoint.url_as(role, database)
    }

    /// Lines to be shown to the user, for example which folder is used in place of one that the server's user cannot enter.
    #[must_use]
    pub fn notes(&self) -> &[String] {
        &self.data_dir.notes
    }

    /// The cluster's folder, Postgres's `data_directory`.
    #[must_use]
    pub fn pgdata(&self) -> &Path {
        &self.data_dir.pgdata
    }

    /// The file that the server's log is appended to.
    #[must_use]
    pub fn log(&self) -> &Path {
        &self.data_dir.log
    }

    /// The Postgres programs that the cluster is run by.
    #[must_use]
    pub fn binaries(&self) -> &PostgresBinaries {
        &self.data_dir.binaries
    }

    /// A channel that holds the state of the server and is notified of each change.
    #[must_use]
    pub fn state(&self) -> watch::Receiver<ClusterState> {
        self.state.clone()
    }

    /// Makes a database if it does not exist, and returns whether it was missing.
    ///
    /// # Errors
    /// [`EmbeddedError::Query`] if Postgres refuses or cannot be reached.
    pub async fn create_database_if_missing(&self, name: &str) -> Result<bool, EmbeddedError> {
        let exists = "SELECT 1 FROM pg_database WHERE datname = $1";
        let create = format!("CREATE DATABASE {}", quoted(name));
        self.create_if_missing(name, exists, &create).await
    }

    /// Makes a role that may connect and has no privileges, if it does not exist, and returns whether it was missing.
    ///
    /// # Errors
    /// [`EmbeddedError::Query`] if Postgres refuses or cannot be reached.
    pub async fn create_role_if_missing(&self, name: &str) -> Result<bool, EmbeddedError> {
        let exists = "SELECT 1 FROM pg_roles WHERE rolname = $1";
        let create = format!("CREATE ROLE {} LOGIN", quoted(name));
        self.create_if_missing(name, exists, &create).await
    }

    async fn create_if_missing(
        &self,
        name: &str,
        exists: &str,
        create: &str,
    ) -> Result<bool, EmbeddedError> {
        let (client, connection) = tokio_postgres::connect(&self.url("postgres"), NoTls).await?;
        let connection = tokio::spawn(connection);
        let created = if client.query_opt(exists, &[&name]).await?.is_some() {
            false
        } else {
            match client.batch_execute(create).await {
                Ok(()) => true,
                Err(error)
                    if [SqlState::DUPLICATE_DATABASE, SqlState::DUPLICATE_OBJECT]
                        .map(Some)
                        .contains(&error.code().cloned()) =>
                {
                    false
                }
                Err(error) => return Err(error.into()),
            }
        };
        drop(client);
        _ = connection.await;
        Ok(created)
    }

    /// Shuts the server down, adopted or not, and releases the data folder's lock when it has ended.
    ///
    /// Sessions that are still open are ended: close connection pools first.
    ///
    /// # Errors
    /// [`EmbeddedError::NotStopped`] if it has not ended after an immediate shutdown either.
    pub async fn stop(mut self) -> Result<(), EmbeddedError> {
        self.finish(SupervisorOrder::Stop).await
    }

    /// Leaves the server running without a supervisor and releases the lock: the next [`start`](Self::start) adopts it.
    ///
    /// # Errors
    /// [`EmbeddedError::SupervisorGone`] if the runtime that started it has ended.
    pub async fn detach(mut self) -> Result<(), EmbeddedError> {
        self.finish(SupervisorOrder::Detach).await
    }

    async fn finish(&mut self, order: SupervisorOrder) -> Result<(), EmbeddedError> {
        // It fails only if the supervisor is gone, which the next statement reports.
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
            && let ClusterState::Running {
                pid,
                adopted: false,
                ..
            } = *self.state.borrow()
        {
            send_signal(pid, &self.data_dir.pgdata, Signal::SIGINT);
        }
    }
}

/// A server that does not accept connections yet. It is signalled to shut down if its start is given up.
struct StartingServer<'a> {
    pid: Option<u32>,
    pgdata: &'a Path,
}

impl<'a> StartingServer<'a> {
    fn new(started: &Postmaster, data_dir: &'a DataDir) -> Self {
        Self {
            pid: Some(started.pid),
            pgdata: &data_dir.pgdata,
        }
    }

    fn finish(mut self) {
        self.pid = None;
    }
}

impl Drop for StartingServer<'_> {
    fn drop(&mut self) {
        if let Some(pid) = self.pid {
            send_signal(pid, self.pgdata, Signal::SIGINT);
        }
    }
}

/// The URL of a database of the cluster that runs in this data folder, whichever process has started it;
/// `None` if none runs.
#[must_use]
pub fn running_url(data_dir: &Path, database: &str) -> Option<String> {
    let endpoint = Postmaster::find(&data_dir.join(CLUSTER))?;
    Some(endpoint.url(database))
}

/// Runs blocking work (files, child processes) on a thread outside of the runtime's workers.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, EmbeddedError> + Send + 'static,
) -> Result<T, EmbeddedError> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|_| EmbeddedError::SupervisorGone)?
}

/// A name as SQL writes it, whatever its characters.
fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
