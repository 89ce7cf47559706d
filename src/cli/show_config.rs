//! `earmark config`: prints the settings of `earmark serve`, or checks them.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use clap::{Command, FromArgMatches as _};

use crate::auth::jwks::Jwks;
use crate::cli::failure::CliFailure;
use crate::cli::output::print;
use crate::config::{ServeArgs, ShowConfigArgs};
use crate::db::connect::Connector;
use crate::settings::{EffectiveSettings, ResolvedCommand, schema};

/// Bits of a file's mode that allow others to read it.
const READ_BY_OTHERS: u32 = 0o004;

pub(super) async fn run(
    command: &Command,
    args: &ShowConfigArgs,
    resolved: &ResolvedCommand,
) -> Result<(), CliFailure> {
    if args.schema {
        print(&format!("{:#}\n", schema(command)));
        return Ok(());
    }
    let Some(settings) = EffectiveSettings::of(resolved) else {
        return Err(CliFailure::new("there are no settings"));
    };
    if args.check {
        return check(&settings, resolved).await;
    }
    print(&settings.to_toml(args.show_secrets));
    Ok(())
}

/// Everything that can be found out without a connection.
async fn check(settings: &EffectiveSettings, resolved: &ResolvedCommand) -> Result<(), CliFailure> {
    let missing = settings.missing();
    let mut problems: Vec<String> = missing
        .iter()
        .map(|it| {
            let (name, variable) = (&it.name, &it.variable);
            format!(
                "{name} is missing: set --{name}, {variable}, or `{name}` in the configuration file"
            )
        })
        .collect();
    problems.extend(unreadable_files(settings));
    if missing.is_empty()
        && let Some((_, matches)) = resolved.matches.subcommand()
    {
        let args = ServeArgs::from_arg_matches(matches).map_err(CliFailure::setting)?;
        problems.extend(problems_of(&args).await);
    }
    if problems.is_empty() {
        let set = settings.set_count();
        print(&format!(
            "The configuration can be used: {set} settings are not at their defaults.\n"
        ));
        for note in resolved
            .file
            .iter()
            .filter_map(|file| open_secrets(settings, file))
        {
            print(&note);
        }
        return Ok(());
    }
    Err(CliFailure::setting(problems.join("\n")))
}

/// The files of settings that cannot be read.
fn unreadable_files(settings: &EffectiveSettings) -> Vec<String> {
    let files = settings.files();
    let unreadable = files.filter_map(|(name, path)| match fs::File::open(path) {
        Ok(_) => None,
        Err(error) => Some(format!("--{name} {}: {error}", path.display())),
    });
    unreadable.collect()
}

/// What `earmark serve` would refuse once its settings are read.
async fn problems_of(args: &ServeArgs) -> Vec<String> {
    let mut problems = Vec::new();
    match (args.tokens.source(), args.tokens.key_settings()) {
        (Ok(source), Ok(settings)) => {
            if let Err(error) = Jwks::check_files(&source, &settings).await {
                problems.push(format!("--jwks {source}: {error}"));
            }
        }
        (source, settings) => problems.extend(source.err().into_iter().chain(settings.err())),
    }
    if let Err(error) = Connector::new(&args.database.database_url) {
        problems.push(format!("--database-url: {error}"));
    }
    problems
}

/// Says so if the configuration file has secrets that every user of the machine can read.
fn open_secrets(settings: &EffectiveSettings, file: &Path) -> Option<String> {
    let mode = |path: &Path| -> io::Result<u32> { Ok(fs::metadata(path)?.permissions().mode()) };
    let is_open = mode(file).is_ok_and(|mode| mode & READ_BY_OTHERS != 0);
    let path = file.display().to_string();
    let secrets: Vec<&str> = settings.secrets_in_file(&path).collect();
    (is_open && !secrets.is_empty()).then(|| {
        format!(
            "Note: {} has {}, and every user of this machine can read it: chmod o-r, or use a file of its own.\n",
            file.display(),
            secrets.join(", ")
        )
    })
}
