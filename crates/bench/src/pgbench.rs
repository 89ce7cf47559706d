//! Postgres's own load client: the same work without a server in between.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use tokio::process::Command;

use crate::client::{LoadOutcome, Pace};
use crate::cluster::BenchCluster;
use crate::span::Span;

/// What it runs again and again.
#[derive(Clone, Debug)]
pub(crate) struct Script {
    pub(crate) text: &'static str,
    /// What the text's variables are.
    pub(crate) variables: Vec<(&'static str, u64)>,
}

/// The program, with a folder for its scripts and logs.
#[derive(Clone)]
pub(crate) struct Pgbench {
    program: PathBuf,
    folder: PathBuf,
}

impl Pgbench {
    /// That of the cluster's own Postgres, else any that is found; not every package of Postgres has it.
    pub(crate) fn find(cluster: &BenchCluster, folder: &Path) -> Option<Self> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let debian = (15..=18)
            .rev()
            .map(|major| format!("/usr/lib/postgresql/{major}/bin").into());
        let mut folders = vec![cluster.programs().to_owned()];
        folders.extend(std::env::split_paths(&path).chain(debian));
        let program = folders
            .iter()
            .map(|folder| folder.join("pgbench"))
            .find(|program| {
                let run = std::process::Command::new(program)
                    .arg("--version")
                    .stdin(Stdio::null())
                    .output();
                run.is_ok_and(|output| output.status.success())
            })?;
        Some(Self {
            program,
            folder: folder.into(),
        })
    }

    /// Runs a script on a database. What it did in the warm-up is not counted: it is left out of pgbench's own log.
    pub(crate) async fn run(
        &self,
        cluster: &BenchCluster,
        database: &str,
        script: &Script,
        pace: Pace,
        span: Span,
    ) -> Result<LoadOutcome> {
        let (Pace::Closed(clients)
        | Pace::Open {
            callers: clients, ..
        }) = pace;
        let Span { warm_up, duration } = span;
        let folder = self.folder.join("pgbench");
        fs::create_dir_all(&folder)?;
        let file = folder.join("script.sql");
        fs::write(&file, script.text)?;
        let prefix = folder.join("log");
        let seconds = (warm_up + duration).as_secs();
        let started = SystemTime::now().duration_since(UNIX_EPOCH)?;
        let mut command = Command::new(&self.program);
        for (name, value) in &script.variables {
            command.arg(format!("--define={name}={value}"));
        }
        if let Pace::Open { per_second, .. } = pace {
            // Latencies then count from the time at which a transaction was to begin.
            command.arg(format!("--rate={per_second}"));
        }
        let output = command
            .args([
                "--no-vacuum",
                "--protocol=prepared",
                "--log",
                "--max-tries=1",
            ])
            .arg(format!("--log-prefix={}", prefix.display()))
            .arg(format!("--file={}", file.display()))
            .arg(format!("--client={clients}"))
            .arg(format!("--jobs={}", clients.min(2)))
            .arg(format!("--time={seconds}"))
            .arg(format!("--host={}", cluster.socket_folder()?.display()))
            .args(["--username=earmark", database])
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output()
            .await
            .context("starting pgbench")?;
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        if !output.status.success() {
            bail!("pgbench: {errors}");
        }
        let outcome = read_logs(&folder, started + warm_up, duration)?;
        fs::remove_dir_all(&folder)?;
        let told = |name: &str| {
            let line = printed.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok())
        };
        Ok(LoadOutcome {
            done: told("number of transactions actually processed:").context("pgbench's count")?,
            failed: told("number of failed transactions:").unwrap_or_default(),
            ..outcome
        })
    }
}

/// Reads `client transaction microseconds script epoch-seconds microseconds` for each transaction.
fn read_logs(folder: &Path, from: Duration, duration: Duration) -> Result<LoadOutcome> {
    let mut outcome = LoadOutcome::new(duration.as_secs_f64());
    let window = from..from + duration;
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "sql") {
            continue;
        }
        for line in BufReader::new(fs::File::open(path)?).lines() {
            let line = line?;
            let number = |index| -> Option<u64> { line.split(' ').nth(index)?.parse().ok() };
            // A failed transaction has a word in place of its time.
            if let (Some(took), Some(seconds), Some(micros)) = (number(2), number(4), number(5))
                && window.contains(&(Duration::from_secs(seconds) + Duration::from_micros(micros)))
            {
                outcome.latency.saturating_record(took);
            }
        }
    }
    Ok(outcome)
}
