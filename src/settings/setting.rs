//! The settings of the commands, as clap describes them.

use std::any::TypeId;
use std::ffi::OsString;
use std::num::{NonZeroU16, NonZeroU32, NonZeroU64, NonZeroUsize};
use std::path::PathBuf;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, ArgAction, Command};

/// The setting that names the configuration file, which therefore cannot be in it.
pub(super) const CONFIG: &str = "config";
/// The command that shows the settings of another one.
pub(super) const SHOWING: &str = "config";
/// The command whose settings [`SHOWING`] shows.
pub(super) const SHOWN: &str = "serve";
/// The end of the name of a setting that names a file with the value of another one.
const FILE_SUFFIX: &str = "-file";

/// How a value is written in TOML.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ValueForm {
    Boolean,
    Integer,
    Number,
    Text,
}

/// A setting of one command.
#[derive(Clone, Debug)]
pub(crate) struct Setting {
    /// The long flag without its dashes, which is also the key in the file.
    pub(crate) name: String,
    /// The name of its environment variable.
    pub(crate) variable: String,
    pub(super) form: ValueForm,
    /// Whether it has several values, which the file has in an array.
    pub(super) is_list: bool,
    /// Whether its value is not to be shown.
    pub(super) is_secret: bool,
    pub(crate) is_required: bool,
    pub(super) default: Vec<String>,
    arg: Arg,
}

/// A command, and what can be set for it.
#[derive(Clone, Debug)]
pub(crate) struct CommandSettings {
    pub(crate) command: String,
    pub(crate) settings: Vec<Setting>,
}

/// The commands that have settings of their own besides those of every command. [`SHOWING`] is left out.
pub(crate) fn settings_of(root: &Command) -> Vec<CommandSettings> {
    let mut root = root.clone();
    root.build();
    let commands = root.get_subcommands();
    let commands = commands.filter(|command| command.get_name() != SHOWING);
    let with_settings = commands.map(|command| CommandSettings {
        command: command.get_name().into(),
        settings: command.get_arguments().filter_map(Setting::of).collect(),
    });
    with_settings
        .filter(|it| {
            it.settings
                .iter()
                .any(|setting| !setting.arg.is_global_set())
        })
        .collect()
}

impl CommandSettings {
    pub(super) fn find(&self, name: &str) -> Option<&Setting> {
        self.settings.iter().find(|setting| setting.name == name)
    }

    /// The names that the file may have for this command.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.in_file().map(|setting| setting.name.as_str())
    }

    /// The settings that the file may have for this command.
    pub(super) fn in_file(&self) -> impl Iterator<Item = &Setting> {
        self.settings
            .iter()
            .filter(|setting| setting.name != CONFIG)
    }

    /// The secrets whose values can be read from files, each with the setting that names the file.
    pub(super) fn secrets_in_files(&self) -> impl Iterator<Item = (&Setting, &Setting)> {
        self.settings.iter().filter_map(|file| {
            let secret = self.find(file.name.strip_suffix(FILE_SUFFIX)?)?;
            secret.is_secret.then_some((secret, file))
        })
    }
}

impl Setting {
    /// `None` for an argument that is no setting.
    fn of(arg: &Arg) -> Option<Self> {
        let name = arg.get_long()?.to_owned();
        let variable = arg.get_env()?.to_str()?.to_owned();
        let defaults = arg.get_default_values().iter();
        let default: Vec<String> = defaults
            .map(|value| value.to_string_lossy().into_owned())
            .collect();
        let is_list =
            arg.get_value_delimiter().is_some() || matches!(arg.get_action(), ArgAction::Append);
        Some(Self {
            name,
            variable,
            form: form_of(arg, &default),
            is_list,
            is_secret: arg.is_hide_env_values_set(),
            is_required: arg.is_required_set(),
            default: match arg.get_value_delimiter() {
                Some(comma) => default
                    .iter()
                    .flat_map(|value| value.split(comma))
                    .map(Into::into)
                    .collect(),
                None => default,
            },
            arg: arg.clone(),
        })
    }

    /// The identifier by which clap's matches have its value.
    pub(super) fn id(&self) -> &str {
        self.arg.get_id().as_str()
    }

    /// Whether its value is a path.
    pub(super) fn is_path(&self) -> bool {
        self.arg.get_value_parser().type_id() == TypeId::of::<PathBuf>()
    }

    /// The first paragraph of its help.
    pub(super) fn summary(&self) -> String {
        let help = self.arg.get_help().map(ToString::to_string);
        help.unwrap_or_default()
    }

    /// All of its help.
    pub(super) fn details(&self) -> String {
        let help = self.arg.get_long_help().map(ToString::to_string);
        help.unwrap_or_else(|| self.summary())
    }

    /// The values to choose from, if there are only some.
    pub(super) fn choices(&self) -> Vec<String> {
        let values = self.arg.get_possible_values().into_iter();
        match self.form {
            ValueForm::Text => values.map(|value| value.get_name().to_owned()).collect(),
            _ => Vec::new(),
        }
    }

    /// The same, each with its help.
    #[cfg(all(test, feature = "dev"))]
    pub(super) fn choices_with_help(&self) -> Vec<(String, String)> {
        let values = self.arg.get_possible_values().into_iter();
        let helped = values
            .filter_map(|value| Some((value.get_name().to_owned(), value.get_help()?.to_string())));
        helped.collect()
    }

    /// The arguments that give it these values on the command line.
    pub(super) fn arguments(&self, values: &[String]) -> Vec<OsString> {
        let flag = |value: &str| OsString::from(format!("--{}={value}", self.name));
        if matches!(self.arg.get_action(), ArgAction::SetTrue) {
            let is_set = values.iter().any(|value| value == "true");
            return Vec::from_iter(is_set.then(|| format!("--{}", self.name).into()));
        }
        match self.arg.get_value_delimiter() {
            Some(comma) => vec![flag(&values.join(&comma.to_string()))],
            None => values.iter().map(|value| flag(value)).collect(),
        }
    }

    /// Checks one value as the command line would.
    ///
    /// # Errors
    /// The rule that the value breaks.
    pub(super) fn check(&self, value: &str) -> Result<(), String> {
        if matches!(self.arg.get_action(), ArgAction::SetTrue) {
            return Ok(());
        }
        if let Some(comma) = self.arg.get_value_delimiter()
            && value.contains(comma)
        {
            return Err(format!("a value must not contain {comma:?}"));
        }
        let arg = Arg::new("value")
            .long("value")
            .value_parser(self.arg.get_value_parser().clone());
        let parsed = Command::new("check")
            .no_binary_name(true)
            .arg(arg)
            .try_get_matches_from([format!("--value={value}")]);
        parsed.map(|_| ()).map_err(|error| rule_of(&error))
    }
}

/// What a value must be, from clap's error about it.
fn rule_of(error: &clap::Error) -> String {
    if let Some(source) = std::error::Error::source(error) {
        return source.to_string();
    }
    match error.get(ContextKind::ValidValue) {
        Some(ContextValue::Strings(valid)) if !valid.is_empty() => {
            format!("must be one of {}", valid.join(", "))
        }
        _ if error.kind() == ErrorKind::InvalidValue => "must not be empty".into(),
        _ => "is not a value of this setting".into(),
    }
}

/// The type of the value says what its form is, but for numbers that are written with a unit, such as 64MiB.
fn form_of(arg: &Arg, default: &[String]) -> ValueForm {
    let value_type = arg.get_value_parser().type_id();
    if value_type == TypeId::of::<bool>() {
        return ValueForm::Boolean;
    }
    let integers = [
        TypeId::of::<u8>(),
        TypeId::of::<u16>(),
        TypeId::of::<u32>(),
        TypeId::of::<u64>(),
        TypeId::of::<usize>(),
        TypeId::of::<i8>(),
        TypeId::of::<i16>(),
        TypeId::of::<i32>(),
        TypeId::of::<i64>(),
        TypeId::of::<NonZeroU16>(),
        TypeId::of::<NonZeroU32>(),
        TypeId::of::<NonZeroU64>(),
        TypeId::of::<NonZeroUsize>(),
    ];
    let has_unit = arg
        .get_value_names()
        .is_some_and(|names| names.iter().any(|name| name.as_str() == "BYTES"))
        || default.iter().any(|value| value.parse::<i64>().is_err());
    let is = |types: &[TypeId]| types.iter().any(|it| value_type == *it);
    if is(&integers) && !has_unit {
        ValueForm::Integer
    } else if is(&[TypeId::of::<f32>(), TypeId::of::<f64>()]) {
        ValueForm::Number
    } else {
        ValueForm::Text
    }
}
