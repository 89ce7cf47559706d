//! One server process: started here or adopted, waited for, and stopped.

use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use tokio::process::Child;
use tokio::time::{sleep, timeout};

use crate::data_dir::DataDir;
use crate::endpoint::{PORT, SocketEndpoint};
use crate::error::{EmbeddedError, IoErrorContext as _};
use crate::pid_file::{PostmasterPidFile, remove_stale};
use crate::process::{is_postmaster, send_signal};
use crate::socket;
use crate::user::give_to_owner_of;

/// How long a start may take, recovery after a crash included.
const READY_MAX: Duration = Duration::from_secs(60);
/// How long a fast shutdown may take: it ends all sessions and writes a checkpoint.
const FAST_STOP_MAX: Duration = Duration::from_secs(15);
/// How long an immediate shutdown may take: it writes nothing, and after 5 s Postgres kills its remaining processes.
const IMMEDIATE_STOP_MAX: Duration = Duration::from_secs(8);
const POLL: Duration = Duration::from_millis(10);
const ADOPTED_POLL: Duration = Duration::from_millis(100);
/// A log that is longer than this is emptied at the next start.
const LOG_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// The main process of a server.
#[derive(Debug)]
pub(crate) struct Postmaster {
    pub(crate) pid: u32,
    pub(crate) endpoint: SocketEndpoint,
    pgdata: PathBuf,
    /// `None` if the server was adopted: it is then no child of this process, and its exit status cannot be read.
    child: Option<Child>,
}

impl Postmaster {
    /// The endpoint of the server that runs on this folder; `None` if there is none, or if it does not accept connections yet.
    pub(crate) fn find(pgdata: &Path) -> Option<SocketEndpoint> {
        let pgdata = fs::canonicalize(pgdata).ok()?;
        let file = PostmasterPidFile::read(&pgdata.join("postmaster.pid"))?;
        is_postmaster(file.pid, &pgdata)
            .then(|| file.endpoint_if_ready())
            .flatten()
    }

    /// Takes over the server that runs on this folder. Without one, the pid file of a server that is gone is removed.
    pub(crate) async fn adopt(data_dir: &DataDir) -> Result<Option<Self>, EmbeddedError> {
        let path = data_dir.pgdata.join("postmaster.pid");
        let Some(file) = PostmasterPidFile::read(&path) else {
            return Ok(None);
        };
        let deadline = Instant::now() + READY_MAX;
        while is_postmaster(file.pid, &data_dir.pgdata) {
            // It may still be starting, or already be stopping.
            let current = PostmasterPidFile::read(&path).filter(|current| current.pid == file.pid);
            if let Some(endpoint) = current.and_then(PostmasterPidFile::endpoint_if_ready)
                && endpoint.probe().await.is_ok()
            {
                let pgdata = data_dir.pgdata.clone();
                return Ok(Some(Self {
                    pid: file.pid,
                    endpoint,
                    pgdata,
                    child: None,
                }));
            }
            if Instant::now() > deadline {
                return Err(EmbeddedError::PidFileInUse {
                    path,
                    pid: file.pid,
                });
            }
            sleep(POLL).await;
        }
        remove_stale(&path, &file).await?;
        Ok(None)
    }

    /// Starts a server in a process group of its own, so that Ctrl-C in the terminal does not signal it.
    /// Its socket is in the folder `preferred` if that is free.
    pub(crate) fn spawn(
        data_dir: &DataDir,
        settings: &[(String, String)],
        preferred: Option<&Path>,
    ) -> Result<Self, EmbeddedError> {
        let socket_dir = socket::claim(data_dir, preferred)?;
        let log = File::options()
            .create(true)
            .append(true)
            .open(&data_dir.log)
            .at("open", &data_dir.log)?;
        give_to_owner_of(&data_dir.pgdata, &log);
        if log.metadata().is_ok_and(|meta| meta.len() > LOG_BYTES_MAX) {
            log.set_len(0).at("truncate", &data_dir.log)?;
        }
        let mut command = data_dir.command("postgres");
        command.arg("-D").arg(&data_dir.pgdata);
        let socket_folder = socket_dir.to_string_lossy().into_owned();
        let port = PORT.to_string();
        let default = [("listen_addresses", "")];
        let fixed = [
            ("port", port.as_str()),
            ("unix_socket_directories", socket_folder.as_str()),
            ("unix_socket_permissions", "0700"),
            ("logging_collector", "off"),
            ("log_destination", "stderr"),
            ("timezone", "UTC"),
            ("log_timezone", "UTC"),
        ];
        let given = settings
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()));
        // The last one of a name wins.
        for (name, value) in default.into_iter().chain(given).chain(fixed) {
            command.arg("-c").arg(format!("{name}={value}"));
        }
        let errors = log.try_clone().at("open", &data_dir.log)?;
        command
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(errors)
            .process_group(0);
        let child = tokio::process::Command::from(command)
            .spawn()
            .at("run", data_dir.binaries.program("postgres"))?;
        let pid = child.id().unwrap_or_default();
        let endpoint = SocketEndpoint {
            socket_dir,
            port: PORT,
        };
        Ok(Self {
            pid,
            endpoint,
            pgdata: data_dir.pgdata.clone(),
            child: Some(child),
        })
    }

    pub(crate) fn is_adopted(&self) -> bool {
        self.child.is_none()
    }

    /// Waits until the server accepts connections, for [`READY_MAX`] at most.
    pub(crate) async fn ready(&mut self, data_dir: &DataDir) -> Result<(), EmbeddedError> {
        let started = Instant::now();
        let path = self.pgdata.join("postmaster.pid");
        let mut last = "it has not written its pid file".to_owned();
        loop {
            if let Some(child) = &mut self.child
                && let Some(status) = child
                    .try_wait()
                    .at("watch", data_dir.binaries.program("postgres"))?
            {
                let (log, log_tail) = (data_dir.log.clone(), tail(&data_dir.log));
                return Err(EmbeddedError::DiedAtStart {
                    status: status.to_string(),
                    log,
                    log_tail,
                });
            }
            let file = PostmasterPidFile::read(&path).filter(|file| file.pid == self.pid);
            if file
                .and_then(PostmasterPidFile::endpoint_if_ready)
                .is_some()
            {
                match self.endpoint.probe().await {
                    Ok(()) => return Ok(()),
                    Err(error) => last = error,
                }
            }
            if started.elapsed() > READY_MAX {
                let (log, log_tail) = (data_dir.log.clone(), tail(&data_dir.log));
                return Err(EmbeddedError::NotReady {
                    seconds: READY_MAX.as_secs(),
                    last,
                    log,
                    log_tail,
                });
            }
            sleep(POLL).await;
        }
    }

    /// Waits until the process has ended, and returns its exit status for people.
    pub(crate) async fn died(&mut self) -> String {
        match &mut self.child {
            Some(child) => match child.wait().await {
                Ok(status) => status.to_string(),
                Err(error) => error.to_string(),
            },
            None => {
                while is_postmaster(self.pid, &self.pgdata) {
                    sleep(ADOPTED_POLL).await;
                }
                "it was adopted, so its exit status is unknown".to_owned()
            }
        }
    }

    /// Ends the server by a fast shutdown; if that takes too long, by an immediate one.
    pub(crate) async fn stop(mut self) -> Result<(), EmbeddedError> {
        for (signal, patience) in [
            (Signal::SIGINT, FAST_STOP_MAX),
            (Signal::SIGQUIT, IMMEDIATE_STOP_MAX),
        ] {
            send_signal(self.pid, &self.pgdata, signal);
            if timeout(patience, self.died()).await.is_ok() {
                socket::remove(&self.endpoint.socket_dir);
                return Ok(());
            }
            tracing::warn!(pid = self.pid, %signal, "the embedded Postgres has not stopped yet");
        }
        let seconds = (FAST_STOP_MAX + IMMEDIATE_STOP_MAX).as_secs();
        Err(EmbeddedError::NotStopped {
            pid: self.pid,
            seconds,
        })
    }
}

/// The last eight lines of a log, each indented by two spaces.
fn tail(path: &Path) -> String {
    const BYTES: u64 = 2_000;
    let read = || -> io::Result<String> {
        let mut file = File::open(path)?;
        let len = file.metadata()?.len();
        file.seek(SeekFrom::Start(len.saturating_sub(BYTES)))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    let text = read().unwrap_or_else(|error| error.to_string());
    let lines: Vec<&str> = text.lines().collect();
    let from = lines.len().saturating_sub(8);
    lines
        .iter()
        .skip(from)
        .map(|line| format!("  {line}"))
        .collect::<Vec<_>>()
        .join("\n")
}
