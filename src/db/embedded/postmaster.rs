//! One running Postgres server: started, adopted, awaited, stopped.

use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::process::Child;
use tokio::time::{sleep, timeout};
use tokio_postgres::NoTls;

use super::error::{EmbeddedError, IoContext as _};
use super::home::{Home, give_to_owner_of};
use super::socket;

/// Recovery after a crash may take a while.
const READY_MAX: Duration = Duration::from_secs(60);
/// A fast shutdown ends all sessions and writes a checkpoint.
const FAST_STOP_MAX: Duration = Duration::from_secs(15);
/// An immediate shutdown writes nothing; after 5 s Postgres itself kills what is left.
const IMMEDIATE_STOP_MAX: Duration = Duration::from_secs(8);
/// The processes of a server that was killed end as soon as they notice.
const ORPHANS_MAX: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(10);
const ADOPTED_POLL: Duration = Duration::from_millis(100);
/// Past this the log of earlier runs is dropped at start.
const LOG_BYTES_MAX: u64 = 16 * 1024 * 1024;
pub(super) const PORT: u16 = 5432;

/// Where a server listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Endpoint {
    pub(super) socket_dir: PathBuf,
    pub(super) port: u16,
}

impl Endpoint {
    /// A URL that tokio-postgres and libpq read.
    pub(super) fn url(&self, database: &str) -> String {
        let host = percent_encode(&self.socket_dir.to_string_lossy());
        let database = percent_encode(database);
        match self.port {
            PORT => format!("postgresql://earmark@{host}/{database}"),
            port => format!("postgresql://earmark@{host}:{port}/{database}"),
        }
    }
}

/// A server process.
#[derive(Debug)]
pub(super) struct Postmaster {
    pub(super) pid: u32,
    pub(super) endpoint: Endpoint,
    pgdata: PathBuf,
    /// `None` if it was found running: then it is nobody's child here.
    child: Option<Child>,
}

impl Postmaster {
    /// Where the server that runs on this folder listens, if there is one and it is ready.
    pub(super) fn find(pgdata: &Path) -> Option<Endpoint> {
        let pgdata = fs::canonicalize(pgdata).ok()?;
        let file = PidFile::read(&pgdata.join("postmaster.pid"))?;
        is_postmaster(file.pid, &pgdata)
            .then(|| file.endpoint_if_ready())
            .flatten()
    }

    /// Takes over the server that runs on this folder, if there is one. If not, what a dead one left is removed.
    pub(super) async fn adopt(home: &Home) -> Result<Option<Self>, EmbeddedError> {
        let path = home.pgdata.join("postmaster.pid");
        let Some(file) = PidFile::read(&path) else {
            return Ok(None);
        };
        let deadline = Instant::now() + READY_MAX;
        while is_postmaster(file.pid, &home.pgdata) {
            // It may still be starting, or already be stopping.
            let current = PidFile::read(&path).filter(|current| current.pid == file.pid);
            if let Some(endpoint) = current.and_then(PidFile::endpoint_if_ready)
                && connect(&endpoint).await.is_ok()
            {
                let pgdata = home.pgdata.clone();
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

    /// Starts a server, in a process group of its own: a Ctrl-C in the terminal must not reach it.
    /// Its socket is in `preferred` if possible.
    pub(super) fn spawn(
        home: &Home,
        settings: &[(String, String)],
        preferred: Option<&Path>,
    ) -> Result<Self, EmbeddedError> {
        let socket_dir = socket::claim(home, preferred)?;
        let log = File::options()
            .create(true)
            .append(true)
            .open(&home.log)
            .at("open", &home.log)?;
        give_to_owner_of(&home.pgdata, &log);
        if log.metadata().is_ok_and(|meta| meta.len() > LOG_BYTES_MAX) {
            log.set_len(0).at("truncate", &home.log)?;
        }
        let mut command = home.command("postgres");
        command.arg("-D").arg(&home.pgdata);
        let socket_folder = socket_dir.to_string_lossy().into_owned();
        let port = PORT.to_string();
        let fixed = [
            ("listen_addresses", ""),
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
        for (name, value) in given.chain(fixed) {
            command.arg("-c").arg(format!("{name}={value}"));
        }
        let errors = log.try_clone().at("open", &home.log)?;
        command
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(errors)
            .process_group(0);
        let child = tokio::process::Command::from(command)
            .spawn()
            .at("run", home.binaries.program("postgres"))?;
        let pid = child.id().unwrap_or_default();
        let endpoint = Endpoint {
            socket_dir,
            port: PORT,
        };
        Ok(Self {
            pid,
            endpoint,
            pgdata: home.pgdata.clone(),
            child: Some(child),
        })
    }

    pub(super) fn is_adopted(&self) -> bool {
        self.child.is_none()
    }

    /// Waits until it accepts connections.
    pub(super) async fn ready(&mut self, home: &Home) -> Result<(), EmbeddedError> {
        let started = Instant::now();
        let path = self.pgdata.join("postmaster.pid");
        let mut last = "it has not written its pid file".to_owned();
        loop {
            if let Some(child) = &mut self.child
                && let Some(status) = child
                    .try_wait()
                    .at("watch", home.binaries.program("postgres"))?
            {
                let (log, log_tail) = (home.log.clone(), tail(&home.log));
                return Err(EmbeddedError::DiedAtStart {
                    status: status.to_string(),
                    log,
                    log_tail,
                });
            }
            let file = PidFile::read(&path).filter(|file| file.pid == self.pid);
            if file.and_then(PidFile::endpoint_if_ready).is_some() {
                match connect(&self.endpoint).await {
                    Ok(()) => return Ok(()),
                    Err(error) => last = error,
                }
            }
            if started.elapsed() > READY_MAX {
                let (log, log_tail) = (home.log.clone(), tail(&home.log));
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

    /// Waits until it has ended, and says how.
    pub(super) async fn died(&mut self) -> String {
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

    /// Fast shutdown, then immediate shutdown.
    pub(super) async fn stop(mut self) -> Result<(), EmbeddedError> {
        for (signal, patience) in [
            (Signal::SIGINT, FAST_STOP_MAX),
            (Signal::SIGQUIT, IMMEDIATE_STOP_MAX),
        ] {
            send(self.pid, &self.pgdata, signal);
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

/// Sends a signal to the server of `pgdata`, but never to a process that merely got its number.
pub(super) fn send(pid: u32, pgdata: &Path, signal: Signal) {
    if let Ok(raw) = i32::try_from(pid)
        && is_postmaster(pid, pgdata)
    {
        // It may have ended in between, which is what is wanted.
        _ = kill(Pid::from_raw(raw), signal);
    }
}

/// Opens one connection and closes it again.
async fn connect(endpoint: &Endpoint) -> Result<(), String> {
    let url = endpoint.url("postgres");
    match timeout(Duration::from_secs(5), tokio_postgres::connect(&url, NoTls)).await {
        Ok(Ok(_client_and_connection)) => Ok(()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_elapsed) => Err("no answer within 5 s".to_owned()),
    }
}

/// What a server writes about itself: pid, folder, start time, port, socket folder, addresses, shared memory, state.
struct PidFile {
    pid: u32,
    lines: Vec<String>,
}

impl PidFile {
    fn read(path: &Path) -> Option<Self> {
        let text = fs::read_to_string(path).ok()?;
        let lines: Vec<String> = text.lines().map(|line| line.trim().to_owned()).collect();
        // A standalone backend writes its pid negated.
        let pid = lines.first()?.parse::<i64>().ok()?.unsigned_abs();
        Some(Self {
            pid: u32::try_from(pid).ok()?,
            lines,
        })
    }

    fn endpoint_if_ready(self) -> Option<Endpoint> {
        let line = |index: usize| {
            self.lines
                .get(index)
                .map(String::as_str)
                .unwrap_or_default()
        };
        if line(7) != "ready" || line(4).is_empty() {
            return None;
        }
        Some(Endpoint {
            socket_dir: PathBuf::from(line(4)),
            port: line(3).parse().ok()?,
        })
    }

    /// The identifier of the server's shared memory segment.
    fn shared_memory_id(&self) -> Option<u64> {
        self.lines.get(6)?.split_whitespace().nth(1)?.parse().ok()
    }
}

/// Removes the pid file of a server that is gone.
///
/// The file is also Postgres's own guard against a second server beside the surviving sessions of a killed one,
/// so it goes only after the last of them has left the shared memory.
async fn remove_stale(path: &Path, file: &PidFile) -> Result<(), EmbeddedError> {
    let started = Instant::now();
    loop {
        match file.shared_memory_id().map(attached_processes) {
            Some(Some(0)) => break,
            Some(Some(_)) if started.elapsed() < ORPHANS_MAX => sleep(POLL).await,
            // Not to be known here, or not ending: Postgres decides by itself, and says so in its log.
            _ => return Ok(()),
        }
    }
    tracing::info!(path = %path.display(), pid = file.pid, "removing the pid file of a Postgres that is gone");
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error).at("delete", path),
        _ => Ok(()),
    }
}

/// How many processes use a shared memory segment; `None` if this system does not tell.
fn attached_processes(id: u64) -> Option<u64> {
    let table = fs::read_to_string("/proc/sysvipc/shm").ok()?;
    let mut rows = table
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>());
    let header = rows.next()?;
    let column = |name| header.iter().position(|title| *title == name);
    let (id_column, count_column) = (column("shmid")?, column("nattch")?);
    let row = rows.find(|row| row.get(id_column).and_then(|text| text.parse().ok()) == Some(id));
    match row {
        Some(row) => row.get(count_column)?.parse().ok(),
        None => Some(0),
    }
}

/// Whether the process is a Postgres server of this folder, and not one that merely got the number of a dead one.
pub(super) fn is_postmaster(pid: u32, pgdata: &Path) -> bool {
    if cfg!(target_os = "linux") {
        // A server's working directory is its data folder. Root in a container may not be allowed to read it.
        match fs::read_link(format!("/proc/{pid}/cwd")) {
            Ok(cwd) => cwd == pgdata,
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                let arguments = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
                arguments
                    .split(|byte| *byte == 0)
                    .any(|argument| argument == pgdata.as_os_str().as_encoded_bytes())
            }
            Err(_) => false,
        }
    } else {
        let listed = std::process::Command::new("ps")
            .args(["-o", "command=", "-p", &pid.to_string()])
            .output();
        listed.is_ok_and(|output| {
            String::from_utf8_lossy(&output.stdout).contains(&*pgdata.to_string_lossy())
        })
    }
}

/// The last lines of a log, indented.
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

fn percent_encode(text: &str) -> String {
    let keep = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(byte);
    text.bytes()
        .map(|byte| {
            if keep(&byte) {
                char::from(byte).to_string()
            } else {
                format!("%{byte:02X}")
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_leads_tokio_postgres_to_the_socket() -> Result<(), tokio_postgres::Error> {
        let endpoint = Endpoint {
            socket_dir: PathBuf::from("/tmp/a b/€"),
            port: 5433,
        };
        let config: tokio_postgres::Config = endpoint.url("my db").parse()?;
        assert_eq!(
            config.get_hosts(),
            [tokio_postgres::config::Host::Unix(PathBuf::from(
                "/tmp/a b/€"
            ))]
        );
        assert_eq!(
            (config.get_dbname(), config.get_user()),
            (Some("my db"), Some("earmark"))
        );
        assert_eq!(config.get_ports(), [5433]);
        Ok(())
    }
}
