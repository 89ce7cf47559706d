//! The command line: `earmark <command>`, with one file per command.

use std::io::{self, Write};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::cli::failure::CliFailure;
#[cfg(feature = "dev")]
use crate::config::{DevArgs, MintArgs};
use crate::config::{DoctorArgs, HealthcheckArgs, LogArgs, MigrateArgs, ServeArgs, VerifyArgs};
use crate::telemetry;

#[cfg(feature = "dev")]
mod dev;
mod doctor;
mod failure;
#[cfg(feature = "dev")]
mod greeting;
mod healthcheck;
mod listen;
mod migrate;
mod open_files;
mod output;
mod serve;
#[cfg(feature = "dev")]
mod token;
mod verify;

/// What a build without the feature `dev` prints about the commands that it lacks.
#[cfg(not(feature = "dev"))]
const NO_DEV: &str = "This build is for production: it lacks the development commands `dev` and `token`. They are in \
    builds with cargo's default features.";

/// Earmark is a gRPC ledger service on PostgreSQL that reserves value for a purpose.
///
/// Clients allocate parts of their balances to trading partners, and get them back or have them cleared; tenants
/// reserve and use prepaid balances.
#[cfg_attr(
    feature = "dev",
    doc = " To try it, run `earmark dev`: it starts a PostgreSQL of its own, loads demo data, and prints calls to copy and a token."
)]
#[derive(Parser)]
#[command(version, max_term_width = 100, arg_required_else_help = true)]
#[cfg_attr(not(feature = "dev"), command(after_help = NO_DEV))]
struct Cli {
    #[command(flatten)]
    log: LogArgs,
    #[command(subcommand)]
    command: CliCommand,
}

#[derive(Subcommand)]
enum CliCommand {
    /// Serve on an existing PostgreSQL database. Run `earmark migrate` on it first
    ///
    /// SIGTERM or SIGINT starts a shutdown: health changes to NOT_SERVING, calls are accepted for the lame duck's time,
    /// calls in progress may end within the drain's time, accepted writes are committed, and the process exits with 0.
    /// A second signal ends the waits at once, but accepted writes are still committed.
    Serve(Box<ServeArgs>),
    /// Serve with a PostgreSQL of its own and demo data, for development
    ///
    /// PostgreSQL's programs must be installed; nothing else is needed. Everything is stored in the data folder. When
    /// the server serves, it prints calls to copy and a token for a day.
    #[cfg(feature = "dev")]
    Dev(Box<DevArgs>),
    /// Apply the migrations that a database lacks. Servers of the previous version can keep serving meanwhile
    Migrate(MigrateArgs),
    /// Print a token for a server that `earmark dev` runs, signed with the key in its data folder
    #[cfg(feature = "dev")]
    Token(MintArgs),
    /// Check the health of a server. Exits with 0 if it is SERVING, else with 1
    Healthcheck(HealthcheckArgs),
    /// Check the stored ledger against its invariants. Servers can keep serving meanwhile
    ///
    /// Prints every breach (the first 1,000 of them) and a summary. Exits with 0 if all invariants hold, with 1 if
    /// one is breached, and with 2 if the check could not be completed. It repairs nothing. While it runs,
    /// PostgreSQL cannot remove old row versions, and migrations of the ledger's tables may fail: on a large
    /// database, run it at a quiet time.
    Verify(VerifyArgs),
    /// Look at the database and all else that a server with the same settings would use, and say what to do
    ///
    /// Takes the settings of serve, of which only the database must be given; what is not given is not looked at. Prints
    /// for each check whether it is ok, a warning or a problem, what was found, and what to do. Exits with 0 if there is
    /// no problem, else with 1. It changes nothing, and ends after about a minute at the latest.
    Doctor(Box<DoctorArgs>),
    /// Commands of development builds, which this build refuses with a message that says so.
    #[cfg(not(feature = "dev"))]
    #[command(hide = true, name = "dev", alias = "token", disable_help_flag = true)]
    DevelopmentOnly {
        /// Flags of the command, which are ignored.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        ignored: Vec<String>,
    },
}

/// Runs the command that the process's arguments name, and returns its exit code. A failure is
/// printed to standard error.
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

fn run(cli: Cli) -> Result<(), CliFailure> {
    telemetry::init(&cli.log.log, cli.log.log_format)
        .map_err(|error| {
            CliFailure::setting(format!(
                "--log {}: {error}; write a level (error, warn, info, debug, trace) or target=level, separated by commas",
                cli.log.log
            ))
        })?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| {
            CliFailure::new(format!("cannot start the threads of the process: {error}"))
        })?;
    let ended = runtime.block_on(async {
        match cli.command {
            CliCommand::Serve(args) => serve::run(*args).await,
            #[cfg(feature = "dev")]
            CliCommand::Dev(args) => dev::run(*args).await,
            CliCommand::Migrate(args) => migrate::run(&args).await,
            #[cfg(feature = "dev")]
            CliCommand::Token(args) => token::run(&args),
            CliCommand::Healthcheck(args) => healthcheck::run(args).await,
            CliCommand::Verify(args) => verify::run(args).await,
            CliCommand::Doctor(args) => doctor::run(*args).await,
            #[cfg(not(feature = "dev"))]
            CliCommand::DevelopmentOnly { .. } => Err(CliFailure::setting(NO_DEV)),
        }
    });
    // All that must be done is done: what still blocks a thread is a read of the issuer's keys, and nobody needs it.
    runtime.shutdown_background();
    ended
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::auth::scope::Scope;

    #[test]
    fn help_lists_the_log_options_after_a_commands_own() {
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
    #[test]
    fn the_help_of_token_names_every_scope() {
        let mut cli = Cli::command();
        let token = cli.find_subcommand_mut("token").expect("a command");
        let help = token.render_long_help().to_string();
        for scope in Scope::ALL {
            assert!(help.contains(scope.name()), "{}: {help}", scope.name());
        }
    }
}
