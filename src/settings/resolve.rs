//! Decides for each setting which source its value comes from: flag, environment variable, file, default.
//!
//! The values of the file become arguments behind those of the process, so that clap judges them as it judges flags:
//! what is required, what needs or excludes what, and how a value is read.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use clap::error::{ContextKind, ContextValue};
use clap::parser::ValueSource;
use clap::{ArgMatches, Command};
use thiserror::Error;

use crate::settings::file::{ConfigFile, ConfigFileError};
use crate::settings::setting::{CONFIG, CommandSettings, SHOWING, SHOWN, Setting, settings_of};

/// The command that a bad file does not stop: it is a server's probe, and an error in the file must not lead to a restart
/// of a server that works.
const PROBE: &str = "healthcheck";

/// Where a value comes from. A later one replaces an earlier one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum ValueOrigin {
    Default,
    /// The configuration file, with the line.
    File(PathBuf, usize),
    Environment(String),
    Flag,
}

/// A command line that was read, with the values of the file.
#[derive(Debug)]
pub(crate) struct ResolvedCommand {
    pub(crate) matches: ArgMatches,
    /// The command whose settings these are, if the command has any.
    pub(super) settings: Option<CommandSettings>,
    /// By the name of the setting. For a secret that is read from a file, also the path of that file.
    pub(super) origins: BTreeMap<String, (ValueOrigin, Option<PathBuf>)>,
    /// The file that was read.
    pub(crate) file: Option<PathBuf>,
    /// What the user should know, though the command can run.
    pub(crate) warning: Option<String>,
}

/// Why the settings of a command cannot be used.
#[derive(Debug, Error)]
pub(crate) enum ResolveError {
    /// The command line itself, or what it and the file come to; also the request for help or the version.
    #[error("{0}")]
    CommandLine(Box<clap::Error>),
    #[error(transparent)]
    File(#[from] ConfigFileError),
    #[error("--{flag} {}: {source}; name a file that this user may read", path.display())]
    UnreadableSecret {
        flag: String,
        path: PathBuf,
        source: io::Error,
    },
    #[error("give either --{secret} or --{file}: both are set, by {origin}")]
    SecretTwice {
        secret: String,
        file: String,
        origin: &'static str,
    },
}

/// Reads a command line, with the environment and the file that `--config` names.
///
/// # Errors
/// Any variant of [`ResolveError`].
pub(crate) fn resolve(
    command: &Command,
    arguments: &[OsString],
) -> Result<ResolvedCommand, ResolveError> {
    // Only finds out which command it is, and which flags are there. What is wrong is found below.
    let seen = command
        .clone()
        .ignore_errors(true)
        .try_get_matches_from(arguments)
        .map_err(command_line)?;
    let commands = settings_of(command);
    let seen = seen.subcommand().and_then(|(name, matches)| {
        let name = if name == SHOWING { SHOWN } else { name };
        let settings = commands.iter().find(|it| it.command == name)?;
        Some((settings, matches))
    });
    let Some((settings, seen)) = seen else {
        return Ok(ResolvedCommand {
            matches: command
                .clone()
                .try_get_matches_from(arguments)
                .map_err(command_line)?,
            settings: None,
            origins: BTreeMap::new(),
            file: None,
            warning: None,
        });
    };
    let mut sources = Sources {
        settings,
        file: None,
        from_file: Vec::new(),
        origins: BTreeMap::new(),
    };
    let mut warning = None;
    if let Some(path) = seen.get_one::<PathBuf>(CONFIG) {
        match ConfigFile::read(path, &commands) {
            Ok(file) => sources.file = Some(file),
            Err(error) if settings.command == PROBE => {
                warning = Some(format!("{error}\nThe file is ignored."));
            }
            Err(error) => return Err(error.into()),
        }
    }
    sources.find(seen);
    sources.read_secrets(seen)?;
    let all = with_more(
        arguments,
        sources.from_file.iter().flat_map(|it| it.1.clone()),
    );
    let matches = command
        .clone()
        .try_get_matches_from(all)
        .map_err(|error| sources.explain(error))?;
    Ok(ResolvedCommand {
        matches,
        settings: Some(settings.clone()),
        file: sources.file.map(|file| file.path),
        origins: sources.origins,
        warning,
    })
}

fn command_line(error: clap::Error) -> ResolveError {
    ResolveError::CommandLine(Box::new(error))
}

/// Arguments with others at their end, but before a `--`, behind which nothing is a flag.
fn with_more(arguments: &[OsString], more: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let end = arguments.iter().position(|it| it == "--");
    let (before, after) = arguments.split_at(end.unwrap_or(arguments.len()));
    before
        .iter()
        .cloned()
        .chain(more)
        .chain(after.iter().cloned())
        .collect()
}

/// The sources of one command's settings.
struct Sources<'a> {
    settings: &'a CommandSettings,
    file: Option<ConfigFile>,
    /// The settings that take their values from files, with the arguments that say so.
    from_file: Vec<(String, Vec<OsString>)>,
    origins: BTreeMap<String, (ValueOrigin, Option<PathBuf>)>,
}

impl Sources<'_> {
    /// Finds each setting's source.
    fn find(&mut self, seen: &ArgMatches) {
        for setting in &self.settings.settings {
            let name = &setting.name;
            let in_file = self
                .file
                .as_ref()
                .and_then(|file| Some((file, file.value(&self.settings.command, name)?)));
            let origin = if seen.value_source(setting.id()) == Some(ValueSource::CommandLine) {
                ValueOrigin::Flag
            } else if std::env::var_os(&setting.variable).is_some() {
                ValueOrigin::Environment(setting.variable.clone())
            } else if let Some((file, value)) = in_file {
                let arguments = setting.arguments(&value.values);
                self.from_file.push((name.clone(), arguments));
                ValueOrigin::File(file.path.clone(), value.line)
            } else {
                ValueOrigin::Default
            };
            self.origins.insert(name.clone(), (origin, None));
        }
    }

    /// Reads the secrets that have a file of their own.
    fn read_secrets(&mut self, seen: &ArgMatches) -> Result<(), ResolveError> {
        let settings = self.settings;
        for (secret, file) in settings.secrets_in_files() {
            let origin_of = |setting: &Setting| self.origins.get(&setting.name).map(|it| &it.0);
            let (Some(own), Some(of_file)) = (origin_of(secret), origin_of(file)) else {
                continue;
            };
            let set_by = match (own, of_file) {
                (_, ValueOrigin::Default) => continue,
                (ValueOrigin::File(..), ValueOrigin::File(..)) => Some("the configuration file"),
                (ValueOrigin::Environment(_), ValueOrigin::Environment(_)) => {
                    Some("environment variables")
                }
                (ValueOrigin::Flag, ValueOrigin::Flag) => Some("flags"),
                _ => None,
            };
            if let Some(origin) = set_by {
                return Err(ResolveError::SecretTwice {
                    secret: secret.name.clone(),
                    file: file.name.clone(),
                    origin,
                });
            }
            if own > of_file {
                continue;
            }
            let Some(path) = self.path_of(file, of_file, seen) else {
                continue;
            };
            let origin = of_file.clone();
            let value = read_secret(&path).map_err(|source| ResolveError::UnreadableSecret {
                flag: file.name.clone(),
                path: path.clone(),
                source,
            })?;
            self.from_file.retain(|(name, _)| *name != secret.name);
            let arguments = secret.arguments(&[value]);
            self.from_file.push((secret.name.clone(), arguments));
            self.origins
                .insert(secret.name.clone(), (origin, Some(path)));
        }
        Ok(())
    }

    /// The path that a setting holds, wherever it comes from.
    fn path_of(
        &self,
        setting: &Setting,
        origin: &ValueOrigin,
        seen: &ArgMatches,
    ) -> Option<PathBuf> {
        let path = match origin {
            ValueOrigin::Flag => {
                let mut raw = seen.get_raw(setting.id())?;
                raw.next().map(OsStr::to_os_string)?
            }
            ValueOrigin::Environment(variable) => std::env::var_os(variable)?,
            ValueOrigin::File(..) => {
                let file = self.file.as_ref()?;
                let value = file.value(&self.settings.command, &setting.name)?;
                value.values.first()?.into()
            }
            ValueOrigin::Default => return None,
        };
        Some(path.into())
    }

    /// Adds to an error of clap which of the flags that it names are not on the command line.
    fn explain(&self, mut error: clap::Error) -> ResolveError {
        let named: Vec<String> = [ContextKind::InvalidArg, ContextKind::PriorArg]
            .into_iter()
            .flat_map(|kind| match error.get(kind) {
                Some(ContextValue::String(text)) => vec![text.clone()],
                Some(ContextValue::Strings(texts)) => texts.clone(),
                _ => Vec::new(),
            })
            .collect();
        let is_named = |name: &str| {
            let flag = format!("--{name}");
            let mut first_words = named
                .iter()
                .filter_map(|text| text.split_whitespace().next());
            first_words.any(|word| word == flag)
        };
        let from_files = self.from_file.iter().filter(|(name, _)| is_named(name));
        let notes: Vec<String> = from_files
            .filter_map(|(name, _)| match self.origins.get(name)? {
                (_, Some(path)) => Some(format!("--{name} is from {}", path.display())),
                (ValueOrigin::File(path, line), None) => {
                    Some(format!("--{name} is from {}:{line}", path.display()))
                }
                _ => None,
            })
            .collect();
        if !notes.is_empty() {
            let note = notes.join("\n").into();
            error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![note]));
        }
        command_line(error)
    }
}

/// A secret ends where its line ends: editors and `echo` add the newline.
fn read_secret(path: &Path) -> io::Result<String> {
    let text = fs::read_to_string(path)?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

#[cfg(test)]
mod tests {
    use clap::{Arg, value_parser};

    use super::*;

    /// Two settings of which the first needs the second, and one that excludes both.
    fn command() -> Command {
        let setting = |name: &'static str| {
            let variable = format!("EARMARK_OF_NO_PROCESS_{name}");
            Arg::new(name).long(name).env(&*variable.leak())
        };
        let config = Arg::new(CONFIG)
            .long(CONFIG)
            .global(true)
            .value_parser(value_parser!(PathBuf));
        let serve = Command::new("serve")
            .arg(setting("cert").requires("key"))
            .arg(setting("key"))
            .arg(setting("plain").conflicts_with("cert"))
            .arg(setting("name").required(true));
        Command::new("earmark").arg(config).subcommand(serve)
    }

    fn resolved(file: &str, flags: &[&str]) -> Result<ResolvedCommand, String> {
        let named = tempfile::NamedTempFile::new().expect("a file");
        fs::write(named.path(), file).expect("written");
        let path = named.path().to_str().expect("UTF-8");
        let arguments = [&["earmark", "serve", "--config", path], flags].concat();
        let arguments: Vec<OsString> = arguments.into_iter().map(Into::into).collect();
        resolve(&command(), &arguments).map_err(|error| error.to_string().replace(path, "FILE"))
    }

    #[test]
    fn settings_of_file_and_flags_are_judged_together() {
        let both = resolved("name = 'n'\nkey = 'k'\n", &["--cert", "c"]).expect("accepted");
        let (_, matches) = both.matches.subcommand().expect("serve");
        let value = |name: &str| matches.get_one::<String>(name).map(String::as_str);
        assert_eq!(
            ["name", "key", "cert"].map(value),
            ["n", "k", "c"].map(Some)
        );

        let lacking = resolved("name = 'n'\ncert = 'c'\n", &[]).expect_err("no key");
        assert!(lacking.contains("--key <key>"), "{lacking}");
        let excluded = resolved("name = 'n'\nkey = 'k'\ncert = 'c'\n", &["--plain", "p"]);
        let excluded = excluded.expect_err("they exclude each other");
        assert!(excluded.contains("--cert is from FILE:3"), "{excluded}");
        assert!(!excluded.contains("--key is from"), "{excluded}");
        let missing = resolved("key = 'k'\n", &[]).expect_err("no name");
        assert!(missing.contains("--name <name>"), "{missing}");
    }

    #[test]
    fn arguments_are_added_before_those_that_are_no_flags() {
        let given = ["earmark", "--", "x"].map(OsString::from);
        let all = with_more(&given, ["--a=b".into()].into_iter());
        assert_eq!(all, ["earmark", "--a=b", "--", "x"]);
    }
}
