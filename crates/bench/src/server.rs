//! The servers under test, each a process of its own.

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::textbook::TextbookReads;
use anyhow::{Context, Result, bail};
use earmark::auth::dev_key::{AUDIENCE, ISSUER, JWKS_FILE};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::process::{Child, Command};

/// Which server is started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BenchServerKind {
    /// The binary, as users run it.
    Earmark,
    /// The textbook's handlers, with a pool of so many connections.
    Textbook(u32, TextbookReads),
    /// Calls that touch no database.
    Null,
}

/// Where the programs and the keys are.
#[derive(Clone)]
pub(crate) struct Programs {
    pub(crate) earmark: PathBuf,
    /// Holds the development key whose tokens are used, and the servers' log.
    pub(crate) folder: PathBuf,
}

/// A server that answers; it ends with this value.
pub(crate) struct BenchServer {
    child: Child,
    pub(crate) address: SocketAddr,
}

impl BenchServer {
    pub(crate) async fn start(
        programs: &Programs,
        kind: BenchServerKind,
        url: &str,
    ) -> Result<Self> {
        let address = free_address()?;
        let mut command = match kind {
            BenchServerKind::Earmark => {
                let mut command = Command::new(&programs.earmark);
                command.arg("serve");
                command
            }
            BenchServerKind::Textbook(pool, reads) => {
                let mut command = Command::new(std::env::current_exe()?);
                command.args(["textbook", &pool.to_string(), reads.name()]);
                command
            }
            BenchServerKind::Null => {
                let mut command = Command::new(std::env::current_exe()?);
                command.arg("null");
                command
            }
        };
        let log = File::options()
            .create(true)
            .append(true)
            .open(programs.folder.join("servers.log"))?;
        let child = command
            .env("DATABASE_URL", url)
            .env("EARMARK_LISTEN", address.to_string())
            .env("EARMARK_JWKS", programs.folder.join(JWKS_FILE))
            .env("EARMARK_ISSUER", ISSUER)
            .env("EARMARK_AUDIENCE", AUDIENCE)
            .env("EARMARK_LAME_DUCK", "0s")
            .env("EARMARK_LOG", "warn,earmark::access=off")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .context("starting a server")?;
        let mut server = Self { child, address };
        server.ready(&programs.earmark).await?;
        Ok(server)
    }

    /// Waits until it says that it serves.
    async fn ready(&mut self, earmark: &Path) -> Result<()> {
        let started = Instant::now();
        while started.elapsed() < Duration::from_secs(20) {
            if let Some(status) = self.child.try_wait()? {
                bail!("the server ended: {status}");
            }
            let check = Command::new(earmark)
                .args(["healthcheck", "--address", &self.address.to_string()])
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status()
                .await?;
            if check.success() {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        bail!("the server does not serve after 20 s")
    }

    pub(crate) fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    /// Ends it in peace.
    pub(crate) async fn end(mut self) -> Result<()> {
        if let Some(pid) = self.child.id() {
            kill(Pid::from_raw(i32::try_from(pid)?), Signal::SIGTERM)?;
        }
        let ended = tokio::time::timeout(Duration::from_secs(20), self.child.wait()).await;
        let status = ended.context("a server does not end")??;
        if status.success() {
            Ok(())
        } else {
            bail!("a server ended with {status}")
        }
    }
}

/// An address that nobody listens on.
fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}
