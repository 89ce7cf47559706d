//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

/// Attacks a server of its own, and shows what the calls of another tenant notice of it.
#[derive(Parser)]
#[command(max_term_width = 100, arg_required_else_help = true)]
pub(crate) struct AttackCli {
    #[command(subcommand)]
    pub(crate) command: AttackCommand,
}

#[derive(Subcommand)]
pub(crate) enum AttackCommand {
    /// Each attack on a new server. Exits with 0 if the server held against all of them
    Run(RunArgs),
    /// Each attack on a server program (--server) from before the guards. Exits with 0 if every attack succeeded
    Unguarded(RunArgs),
    /// All attacks at the same time on one server, whose memory is limited
    AllAtOnce(AllAtOnceArgs),
    /// Each attack for a moment, one after the other on one server. Times are not judged
    Short(RunArgs),
    /// One attacker: what the other commands start
    #[command(hide = true)]
    Attacker(AttackerArgs),
}

#[derive(Args)]
pub(crate) struct RunArgs {
    /// The attacks; without names all of them
    pub(crate) names: Vec<String>,
    /// How long each attack lasts; the default is 10, of `short` 2
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=600))]
    pub(crate) seconds: Option<u64>,
    /// Another server program than the one that is built into this program
    #[arg(long, value_name = "PATH")]
    pub(crate) server: Option<PathBuf>,
    /// The priority of attackers, from 0 to 19: at 19 they get what the server and the calls of others leave, so that
    /// processor time is not what the server is short of. On a machine that is busy otherwise they then attack little
    #[arg(long, value_name = "N", default_value_t = 19, value_parser = clap::value_parser!(u8).range(0..=19))]
    pub(crate) nice: u8,
}

impl RunArgs {
    /// How long each attack lasts, unless it is said.
    pub(crate) fn duration(&self, default: u64) -> Duration {
        Duration::from_secs(self.seconds.unwrap_or(default))
    }
}

#[derive(Args)]
pub(crate) struct AllAtOnceArgs {
    /// The attacks; without names all of them
    pub(crate) names: Vec<String>,
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=60))]
    pub(crate) minutes: u64,
    /// What the server may use, such as 512M: by a cgroup (v2) if this process may make one, else it is ended as soon
    /// as it uses more
    #[arg(long, value_name = "SIZE", default_value = "512M", value_parser = mebibytes)]
    pub(crate) memory: u64,
    /// Another server program than the one that is built into this program
    #[arg(long, value_name = "PATH")]
    pub(crate) server: Option<PathBuf>,
    /// The priority of attackers, from 0 to 19: at 19 they get what the server and the calls of others leave, so that
    /// processor time is not what the server is short of. On a machine that is busy otherwise they then attack little
    #[arg(long, value_name = "N", default_value_t = 19, value_parser = clap::value_parser!(u8).range(0..=19))]
    pub(crate) nice: u8,
}

#[derive(Args)]
pub(crate) struct AttackerArgs {
    pub(crate) name: String,
    /// The target as JSON
    #[arg(long)]
    pub(crate) target: String,
    #[arg(long)]
    pub(crate) seconds: u64,
}

/// Reads a size such as `512M` or `1G`, as MiB.
fn mebibytes(text: &str) -> Result<u64, String> {
    let (number, factor) = match text.strip_suffix('G') {
        Some(number) => (number, 1_024),
        None => (text.strip_suffix('M').unwrap_or(text), 1),
    };
    match number.parse::<u64>() {
        Ok(number) if number > 0 => Ok(number * factor),
        _ => Err("must be a number of MiB or GiB, for example 512M or 1G".into()),
    }
}
