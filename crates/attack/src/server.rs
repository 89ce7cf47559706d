//! The server under attack, as a process of its own.

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use earmark::auth::dev_key::{AUDIENCE, ISSUER};
use tokio::process::{Child, Command};
use tonic::transport::Endpoint;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

/// How long a server may take to serve.
const START_MAX: Duration = Duration::from_secs(20);

/// Which server is attacked.
#[derive(Clone, Debug)]
pub(crate) enum ServerProgram {
    /// The one that is built into this program.
    BuiltIn,
    /// Another build of `earmark`.
    Other(PathBuf),
}

impl ServerProgram {
    /// `earmark` with a command, or what does the same.
    fn command(&self, command: &str) -> Result<Command> {
        Ok(match self {
            Self::Other(path) => {
                let mut program = Command::new(path);
                program.arg(command);
                program
            }
            Self::BuiltIn => {
                let mut program = Command::new(std::env::current_exe()?);
                program.arg(command);
                program
            }
        })
    }

    /// Applies the migrations to a database.
    pub(crate) async fn migrate(&self, url: &str) -> Result<()> {
        let mut command = self.command("migrate")?;
        let output = command
            .env("DATABASE_URL", url)
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output()
            .await?;
        if !output.status.success() {
            bail!(
                "migrate: {}",
                String::from_utf8_lossy(&output.stderr).trim()
            );
        }
        Ok(())
    }
}

/// A server that answers. It is killed on drop.
pub(crate) struct AttackedServer {
    child: Child,
    pub(crate) address: SocketAddr,
    log: PathBuf,
}

impl AttackedServer {
    /// Starts one with its usual settings, and waits until it says that it serves.
    pub(crate) async fn start(
        program: &ServerProgram,
        url: &str,
        jwks: &str,
        log: PathBuf,
    ) -> Result<Self> {
        let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
        let stderr = File::create(&log).with_context(|| log.display().to_string())?;
        let child = program
            .command("serve")?
            .env("DATABASE_URL", url)
            .env("EARMARK_LISTEN", address.to_string())
            .env("EARMARK_JWKS", jwks)
            .env("EARMARK_ISSUER", ISSUER)
            .env("EARMARK_AUDIENCE", AUDIENCE)
            .env("EARMARK_LAME_DUCK", "0s")
            .env("EARMARK_LOG", "info")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(stderr)
            .kill_on_drop(true)
            .spawn()
            .context("starting the server")?;
        let mut server = Self {
            child,
            address,
            log,
        };
        server.ready().await?;
        Ok(server)
    }

    async fn ready(&mut self) -> Result<()> {
        let started = Instant::now();
        let endpoint = Endpoint::from_shared(format!("http://{}", self.address))?;
        while started.elapsed() < START_MAX {
            if let Some(status) = self.child.try_wait()? {
                bail!("the server ended: {status}: see {}", self.log.display());
            }
            if let Ok(channel) = endpoint.connect().await {
                let check = HealthClient::new(channel)
                    .check(HealthCheckRequest::default())
                    .await;
                if check.is_ok_and(|answer| answer.into_inner().status == 1) {
                    return Ok(());
                }
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        bail!(
            "the server does not serve after {START_MAX:?}: see {}",
            self.log.display()
        )
    }

    /// The process, while it runs.
    pub(crate) fn pid(&self) -> Result<u32> {
        self.child.id().context("the server has ended")
    }

    /// Bytes that it has logged.
    pub(crate) fn logged(&self) -> Result<u64> {
        Ok(fs::metadata(&self.log)?.len())
    }

    /// How it ended, if it did so by itself.
    pub(crate) fn ended(&mut self) -> Result<Option<String>> {
        Ok(self.child.try_wait()?.map(|status| status.to_string()))
    }

    /// Ends it at once: its database is not used any more.
    pub(crate) async fn end(mut self) -> Result<()> {
        Ok(self.child.kill().await?)
    }
}
