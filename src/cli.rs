//! The command line: `earmark <command>`, with one file per command.

use std::ffi::OsString;
use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::LazyLock;

use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::task::AbortOnDropHandle;

use crate::cli::failure::CliFailure;
use crate::cli::reload::RunningSettings;
#[cfg(feature = "archive")]
use crate::config::ArchiveArgs;
use crate::config::{
    CompletionsArgs, ConfigFileArgs, DoctorArgs, HealthcheckArgs, LogArgs, MaintainArgs, ManArgs,
    MigrateArgs, SealArgs, ServeArgs, ShowConfigArgs, VerifyArgs,
};
#[cfg(feature = "dev")]
use crate::config::{DevArgs, MintArgs};
use crate::db::migrate as migrations;
use crate::settings::{EffectiveSettings, ResolveError, ResolvedCommand, resolve};
use crate::telemetry::{self, LogFilter};
use crate::version::{COMMIT, VERSION};

#[cfg(feature = "archive")]
mod archive;
mod completions;
#[cfg(feature = "dev")]
mod dev;
mod doctor;
mod failure;
#[cfg(feature = "dev")]
mod greeting;
mod healthcheck;
mod listen;
mod maintain;
mod man;
mod metrics;
mod migrate;
mod open_files;
mod output;
mod reload;
mod seal;
mod serve;
mod show_config;
mod tls_connector;
#[cfg(feature = "dev")]
mod token;
mod traces;
mod verify;

/// What a build without the feature `dev` prints about the commands that it lacks.
#[cfg(not(feature = "dev"))]
const NO_DEV: &str = "This build is for production: it lacks the development commands `dev` and `token`. They are in \
    builds with cargo's default features.";

/// What `earmark --version` prints behind the name.
static VERSION_TEXT: LazyLock<String> = LazyLock::new(|| {
    let schema = migrations::newest();
    format!("{VERSION} (commit {COMMIT}, schema {schema})")
});

/// Earmark is a gRPC ledger service on PostgreSQL that reserves value for a purpose.
///
/// Clients allocate parts of their balances to trading partners, and get them back or have them cleared; tenants
/// reserve and use prepaid balances.
#[cfg_attr(
    feature = "dev",
    doc = " To try it, run `earmark dev`: it starts a PostgreSQL of its own, loads demo data, and prints calls to copy and a token."
)]
#[derive(Parser)]
#[command(version = VERSION_TEXT.as_str(), max_term_width = 100, arg_required_else_help = true)]
#[cfg_attr(not(feature = "dev"), command(after_help = NO_DEV))]
struct Cli {
    #[command(flatten)]
    _config: ConfigFileArgs,
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
    ///
    /// Afterwards makes the partitions that are missing, as `earmark maintain` does.
    Migrate(MigrateArgs),
    /// Make the partitions that the next months need. Run it every day; servers keep serving meanwhile
    ///
    /// It takes the role that owns the tables, as `earmark migrate` does, may be repeated and interrupted, and makes nobody
    /// wait. Prints what it made. Where it did not run for long, rows were written to the DEFAULT partition of a table: that
    /// becomes the partition of these rows, and another one takes its place.
    Maintain(MaintainArgs),
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
    /// Seal the periods of the journal that have ended. Servers can keep serving meanwhile
    ///
    /// Hashes the entries of each period, the balances at its end, and the digest of the period before, and prints the
    /// period's digest: whoever keeps it can show later that nothing of the periods up to it was changed. Connects as the
    /// role that owns the tables. May be repeated, and goes on where it was interrupted. Exits with 0 if there is nothing
    /// left to seal, and with 1 if an entry does not follow from the one before it, or the seal could not be completed.
    Seal(SealArgs),
    /// Move sealed periods of the journal from the database into files. Servers can keep serving meanwhile
    ///
    /// Writes the entries of each period, and the allocations that were closed in it, to Parquet files, reads them again, and
    /// holds them against the seal of the period. Then it detaches the partitions, which makes nobody wait, and prints the
    /// period. Balances, open allocations and idempotency keys stay in the database. Connects as the role that owns the tables.
    /// May be repeated, and goes on where it was interrupted. Exits with 0 if there is nothing left to archive, and with 1 if
    /// the files are not what was sealed, or the archive could not be completed.
    #[cfg(feature = "archive")]
    Archive(ArchiveArgs),
    /// Print the settings of `earmark serve`, and where each value comes from
    ///
    /// The flags are those of `earmark serve`, and so are the environment and the configuration file. What is printed is
    /// itself a configuration file, without the passwords.
    Config(ShowConfigArgs),
    /// Print completions for a shell
    ///
    /// For example, for bash: source <(earmark completions bash)
    Completions(CompletionsArgs),
    /// Print a manual page, or write those of all commands to a folder
    ///
    /// For example: earmark man serve | man -l -
    Man(ManArgs),
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

/// The program's command line.
fn command() -> clap::Command {
    let root = Cli::command();
    // `config` takes the flags of `serve`. A missing one is something to show.
    let of_serve = root.find_subcommand("serve").into_iter();
    let flags = of_serve.flat_map(clap::Command::get_arguments);
    let flags: Vec<clap::Arg> = flags.map(|flag| flag.clone().required(false)).collect();
    root.mut_subcommand("config", |config| config.args(flags))
}

/// Runs the command that the process's arguments name, and returns its exit code. A failure is
/// printed to standard error.
pub fn main() -> ExitCode {
    let process = Process {
        command: command(),
        arguments: std::env::args_os().collect(),
    };
    match process.run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            _ = writeln!(io::stderr(), "earmark: {}", failure.text);
            ExitCode::from(failure.exit_code)
        }
    }
}

/// The command line that was given, and what it may be.
struct Process {
    command: clap::Command,
    arguments: Vec<OsString>,
}

impl Process {
    fn run(self) -> Result<(), CliFailure> {
        let resolved = match resolve(&self.command, &self.arguments) {
            Ok(resolved) => resolved,
            // Help and the version are such errors too, and are no failures.
            Err(ResolveError::CommandLine(error)) => error.exit(),
            Err(error) => return Err(CliFailure::setting(error)),
        };
        let cli = match Cli::from_arg_matches(&resolved.matches) {
            Ok(cli) => cli,
            Err(error) => error.format(&mut self.command.clone()).exit(),
        };
        if let Some(warning) = &resolved.warning {
            _ = writeln!(io::stderr(), "earmark: {warning}");
        }
        let command = self.command.clone();
        match &cli.command {
            CliCommand::Completions(args) => {
                completions::run(command, args);
                return Ok(());
            }
            CliCommand::Man(args) => return man::run(command, args),
            _ => {}
        }
        let log = telemetry::init(&cli.log.log, cli.log.log_format)
            .map_err(|error| CliFailure::setting(format!("--log {}: {error}", cli.log.log)))?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
            .map_err(|error| {
                CliFailure::new(format!("cannot start the threads of the process: {error}"))
            })?;
        let ended = runtime.block_on(self.run_command(cli.command, &resolved, log));
        // All that must be done is done: what still blocks a thread is a read of the issuer's keys, and nobody needs it.
        runtime.shutdown_background();
        ended
    }

    async fn run_command(
        self,
        command: CliCommand,
        resolved: &ResolvedCommand,
        log: LogFilter,
    ) -> Result<(), CliFailure> {
        match command {
            CliCommand::Serve(args) => {
                let _reload = self.reload_on_hangup(resolved, log)?;
                serve::run(*args).await
            }
            #[cfg(feature = "dev")]
            CliCommand::Dev(args) => dev::run(*args).await,
            CliCommand::Migrate(args) => migrate::run(&args).await,
            CliCommand::Maintain(args) => maintain::run(&args).await,
            #[cfg(feature = "dev")]
            CliCommand::Token(args) => token::run(&args),
            CliCommand::Healthcheck(args) => healthcheck::run(args).await,
            CliCommand::Verify(args) => verify::run(args).await,
            CliCommand::Seal(args) => seal::run(&args).await,
            #[cfg(feature = "archive")]
            CliCommand::Archive(args) => archive::run(&args).await,
            CliCommand::Doctor(args) => doctor::run(*args).await,
            CliCommand::Config(args) => show_config::run(&self.command, &args, resolved).await,
            CliCommand::Completions(_) | CliCommand::Man(_) => Ok(()),
            #[cfg(not(feature = "dev"))]
            CliCommand::DevelopmentOnly { .. } => Err(CliFailure::setting(NO_DEV)),
        }
    }

    /// Reads the settings again at each SIGHUP, until the handle is dropped.
    fn reload_on_hangup(
        self,
        resolved: &ResolvedCommand,
        log: LogFilter,
    ) -> Result<Option<AbortOnDropHandle<()>>, CliFailure> {
        let hangups = signal(SignalKind::hangup())
            .map_err(|error| CliFailure::new(format!("cannot handle SIGHUP: {error}")))?;
        let running = EffectiveSettings::of(resolved).map(|settings| RunningSettings {
            command: self.command,
            arguments: self.arguments,
            settings,
            log,
        });
        Ok(running.map(|running| AbortOnDropHandle::new(tokio::spawn(running.reload_on(hangups)))))
    }
}

#[cfg(all(test, feature = "dev"))]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;
    use crate::auth::scope::Scope;
    use crate::settings::page::{MARK, page as settings_page};
    use crate::settings::{schema, settings_of};

    /// Commands whose own arguments say what they print, and are no settings.
    const SHOWING: [&str; 3] = ["config", "completions", "man"];

    #[test]
    fn help_lists_the_log_options_after_a_commands_own() {
        let mut cli = command();
        cli.build();
        let commands = cli.get_subcommands_mut();
        for command in commands.filter(|command| command.get_name() != "help") {
            let help = command.render_long_help().to_string();
            let flags = help.lines().filter_map(|line| {
                let flag = line.trim_start().strip_prefix("--")?;
                flag.split_whitespace().next()
            });
            let flags: Vec<&str> = flags.collect();
            let last = ["config", "log", "log-format"];
            assert!(flags.ends_with(&last), "{flags:?}");
        }
    }

    #[test]
    fn every_flag_is_also_an_environment_variable() {
        let cli = command();
        cli.clone().debug_assert();
        let with_settings = |it: &&clap::Command| !SHOWING.contains(&it.get_name());
        for command in cli.get_subcommands().filter(with_settings).chain([&cli]) {
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
    fn no_setting_is_called_like_a_command() {
        let commands = settings_of(&command());
        let names: Vec<&str> = commands.iter().map(|it| it.command.as_str()).collect();
        assert!(
            names.contains(&"serve") && !names.contains(&"config"),
            "{names:?}"
        );
        for setting in commands.iter().flat_map(|it| &it.settings) {
            assert!(!names.contains(&setting.name.as_str()), "{}", setting.name);
        }
    }

    #[test]
    fn the_page_of_settings_and_the_schema_are_made_from_the_code() {
        let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
        let page = docs.join("configuration.md");
        let found = fs::read_to_string(&page).expect("a page");
        let (by_hand, _) = found.split_once(MARK).expect("the mark");
        let page_made = format!("{by_hand}{}", settings_page(&command()));
        let schema_made = format!("{:#}\n", schema(&command()));
        let made = [
            (page, page_made),
            (docs.join("earmark.schema.json"), schema_made),
        ];
        for (path, made) in made {
            if std::env::var_os("UPDATE_DOCS").is_some() {
                fs::write(&path, &made).expect("written");
            }
            let found = fs::read_to_string(&path).unwrap_or_default();
            let lines = || found.lines().zip(made.lines());
            let differing = lines().find(|(found, made)| found != made);
            assert!(
                found == made,
                "{} is not what the flags say, first in {differing:?}: run this test with UPDATE_DOCS=1",
                path.display()
            );
        }
    }

    #[test]
    fn the_help_of_token_names_every_scope() {
        let mut cli = command();
        let token = cli.find_subcommand_mut("token").expect("a command");
        let help = token.render_long_help().to_string();
        for scope in Scope::ALL {
            assert!(help.contains(scope.name()), "{}: {help}", scope.name());
        }
    }
}
