//! The command line: `earmark <command>`, one file each.

use std::fmt::Display;
use std::io::{self, Write};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[cfg(feature = "dev")]
use crate::config::{DevArgs, MintArgs};
use crate::config::{HealthcheckArgs, LogArgs, MigrateArgs, ServeArgs, VerifyArgs};
use crate::telemetry;

#[cfg(feature = "dev")]
mod dev;
mod healthcheck;
mod migrate;
mod serve;
#[cfg(feature = "dev")]
mod token;
mod verify;

/// What a build without the feature `dev` says of the commands that it lacks.
#[cfg(not(feature = "dev"))]
const NO_DEV: &str = "This build is for production: it lacks the development commands `dev` and `token`. They are in \
    builds with cargo's default features.";

/// Earmark sets value aside, and never loses a unit of it.
///
/// A gRPC server on Postgres: a client earmarks part of a balance for a trading partner, and takes it back or lets it
/// go.
#[cfg_attr(
    feature = "dev",
    doc = " To look around, run `earmark dev`: it brings its own database, makes a token, and prints calls to try."
)]
#[derive(Parser)]
#[command(version, max_term_width = 100, arg_required_else_help = true)]
#[cfg_attr(not(feature = "dev"), command(after_help = NO_DEV))]
struct Cli {
    #[command(flatten)]
    log: LogArgs,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve on a Postgres of yours. Run `earmark migrate` first.
    ///
    /// Ends in peace on SIGTERM or SIGINT: says NOT_SERVING, serves on for the lame duck's time, lets calls end, flushes,
    /// exits. A second signal skips the waiting, not the flush.
    Serve(Box<ServeArgs>),
    /// Serve with a Postgres of its own, for development: no other set-up is needed.
    #[cfg(feature = "dev")]
    Dev(Box<DevArgs>),
    /// Bring a database's schema up to date. Safe to run while servers of the version before still serve.
    Migrate(MigrateArgs),
    /// Print a token for a server that `earmark dev` runs, and nothing else.
    #[cfg(feature = "dev")]
    Token(MintArgs),
    /// Ask a server whether it serves. Exits with 0 if it does, else with 1.
    Healthcheck(HealthcheckArgs),
    /// Check what is stored against the ledger's invariants, while servers go on serving.
    ///
    /// Prints every breach (at most 1,000) and a summary. Exits with 0 if everything holds, with 1 if something does not,
    /// and with 2 if it could not be checked. It repairs nothing.
    Verify(VerifyArgs),
    /// Commands of development builds, which this build refuses with a message that says so.
    #[cfg(not(feature = "dev"))]
    #[command(hide = true, name = "dev", alias = "token", disable_help_flag = true)]
    DevelopmentOnly {
        /// Flags of the command, which are ignored.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        ignored: Vec<String>,
    },
}

/// Why a command failed, for the one who ran it.
struct Failure {
    text: String,
    exit_code: u8,
}

impl Failure {
    /// Something went wrong.
    fn new(what: impl Display) -> Self {
        Self {
            text: what.to_string(),
            exit_code: 1,
        }
    }

    /// A setting cannot be used: the exit code is the one that a missing setting has.
    fn setting(what: impl Display) -> Self {
        Self {
            exit_code: 2,
            ..Self::new(what)
        }
    }
}

/// Runs the command that the process was started with.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            _ = writeln!(io::stderr(), "earmark: {}", failure.text);
            ExitCode::from(failure.exit_code)
        }
    }
}

fn run(cli: Cli) -> Result<(), Failure> {
    telemetry::init(&cli.log.log, cli.log.log_format)
        .map_err(|error| Failure::setting(format!("--log: {error}")))?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(Failure::new)?;
    runtime.block_on(async {
        match cli.command {
            Command::Serve(args) => serve::run(*args).await,
            #[cfg(feature = "dev")]
            Command::Dev(args) => dev::run(*args).await,
            Command::Migrate(args) => migrate::run(&args).await,
            #[cfg(feature = "dev")]
            Command::Token(args) => token::run(&args),
            Command::Healthcheck(args) => healthcheck::run(args).await,
            Command::Verify(args) => verify::run(args).await,
            #[cfg(not(feature = "dev"))]
            Command::DevelopmentOnly { .. } => Err(Failure::setting(NO_DEV)),
        }
    })
}

/// Prints to standard output; a reader that has gone is no failure.
fn print(text: &str) {
    _ = io::stdout().write_all(text.as_bytes());
    _ = io::stdout().flush();
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn help_tells_of_the_logs_after_what_is_a_commands_own() {
        let mut cli = Cli::command();
        cli.build();
        let commands = cli.get_subcommands_mut();
        for command in commands.filter(|command| command.get_name() != "help") {
            let help = command.render_long_help().to_string();
            let flags = help.lines().filter_map(|line| {
                let flag = line.trim_start().strip_prefix("--")?;
                flag.split_whitespace().next()
            });
            let flags: Vec<&str> = flags.collect();
            assert!(flags.ends_with(&["log", "log-format"]), "{flags:?}");
        }
    }

    #[test]
    fn every_flag_is_also_an_environment_variable() {
        let cli = Cli::command();
        cli.clone().debug_assert();
        for command in cli.get_subcommands().chain([&cli]) {
            let flags = command
                .get_arguments()
                .filter(|argument| !["help", "version"].contains(&argument.get_id().as_str()));
            for flag in flags {
                let name = flag.get_id();
                assert!(flag.get_env().is_some(), "{}: {name}", command.get_name());
                assert!(flag.get_help().is_some(), "{}: {name}", command.get_name());
            }
        }
    }
}
