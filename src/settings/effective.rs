//! The settings that a command has in the end, as `earmark config` prints them.

use std::fmt::Write as _;
use std::path::Path;

use crate::settings::resolve::{ResolvedCommand, ValueOrigin};
use crate::settings::setting::{Setting, ValueForm};

/// What is printed in place of a password.
const HIDDEN: &str = "***";
/// The origin of a value that nobody has set.
const DEFAULT: &str = "default";

/// The settings of a command, each with its value and where that comes from.
#[derive(Clone, Debug)]
pub(crate) struct EffectiveSettings {
    command: String,
    values: Vec<EffectiveValue>,
}

#[derive(Clone, Debug)]
struct EffectiveValue {
    setting: Setting,
    /// Empty if it is not set and has no default; several for a list.
    values: Vec<String>,
    /// Where the value comes from, in words.
    origin: String,
    /// Whether it is in a file that another setting names.
    is_from_own_file: bool,
}

impl EffectiveSettings {
    /// `None` if the command has no settings.
    pub(crate) fn of(resolved: &ResolvedCommand) -> Option<Self> {
        let settings = resolved.settings.as_ref()?;
        let (_, matches) = resolved.matches.subcommand()?;
        let in_file = settings.in_file();
        let values = in_file.map(|setting| {
            let raw = matches.get_raw(setting.id()).into_iter().flatten();
            let values: Vec<String> = raw.map(|it| it.to_string_lossy().into_owned()).collect();
            let origin = resolved.origins.get(&setting.name);
            let is_from_own_file = matches!(origin, Some((_, Some(_))));
            let origin = match origin {
                Some((_, Some(path))) => path.display().to_string(),
                Some((ValueOrigin::Flag, _)) => "flag".into(),
                Some((ValueOrigin::Environment(variable), _)) => format!("environment {variable}"),
                Some((ValueOrigin::File(path, line), _)) => format!("{}:{line}", path.display()),
                Some((ValueOrigin::Default, _)) | None => DEFAULT.into(),
            };
            EffectiveValue {
                setting: setting.clone(),
                values,
                origin,
                is_from_own_file,
            }
        });
        Some(Self {
            command: settings.command.clone(),
            values: values.collect(),
        })
    }

    /// The flags that must be set, and are not.
    pub(crate) fn missing(&self) -> Vec<&Setting> {
        let unset = self.values.iter().filter(|it| it.values.is_empty());
        unset
            .map(|it| &it.setting)
            .filter(|setting| setting.is_required)
            .collect()
    }

    /// The names of the settings whose values differ.
    pub(crate) fn changed_in(&self, other: &Self) -> Vec<&str> {
        let pairs = self.values.iter().zip(&other.values);
        pairs
            .filter(|(one, other)| one.values != other.values)
            .map(|(one, _)| one.setting.name.as_str())
            .collect()
    }

    /// The first value of a setting, as the command line would have it.
    pub(crate) fn value(&self, name: &str) -> Option<&str> {
        let found = self.values.iter().find(|it| it.setting.name == name)?;
        found.values.first().map(String::as_str)
    }

    /// Takes over one value of others.
    pub(crate) fn take(&mut self, name: &str, other: &Self) {
        let pairs = self.values.iter_mut().zip(&other.values);
        for (own, other) in pairs.filter(|(own, _)| own.setting.name == name) {
            *own = other.clone();
        }
    }

    /// The paths that settings hold, each with the setting's name.
    pub(crate) fn files(&self) -> impl Iterator<Item = (&str, &Path)> {
        let paths = self.values.iter().filter(|it| it.setting.is_path());
        paths.flat_map(|it| {
            let values = it.values.iter();
            values.map(|value| (it.setting.name.as_str(), Path::new(value)))
        })
    }

    /// The secrets that the configuration file itself has.
    pub(crate) fn secrets_in_file(&self, file: &str) -> impl Iterator<Item = &str> {
        let prefix = format!("{file}:");
        let secrets = self.values.iter().filter(|it| it.setting.is_secret);
        secrets
            .filter(move |it| it.origin.starts_with(&prefix))
            .map(|it| it.setting.name.as_str())
    }

    /// How many values are not defaults.
    pub(crate) fn set_count(&self) -> usize {
        let set = self.values.iter().filter(|it| !it.is_default());
        set.count()
    }

    /// A configuration file that gives these values again, each with its origin as a comment. What is not set is a
    /// comment, defaults too: to set one may need other settings. So is a secret with a part that is not shown.
    pub(crate) fn to_toml(&self, shows_secrets: bool) -> String {
        let lines = self.values.iter().map(|it| it.line(shows_secrets));
        let lines: Vec<(String, String)> = lines.collect();
        let widths = lines.iter().map(|(line, _)| line.chars().count());
        let width = widths.filter(|width| *width <= 60).max().unwrap_or(0);
        let mut text = format!("# The settings of `earmark {}`.\n", self.command);
        for (line, comment) in lines {
            _ = writeln!(text, "{line:width$}  # {comment}");
        }
        text
    }
}

impl EffectiveValue {
    fn is_default(&self) -> bool {
        self.origin == DEFAULT
    }

    fn line(&self, shows_secrets: bool) -> (String, String) {
        let name = &self.setting.name;
        if self.values.is_empty() {
            let comment = match self.setting.is_required {
                true => format!("required, and not set: --{name}, {}", self.setting.variable),
                false => "not set".into(),
            };
            return (format!("# {name}"), comment);
        }
        let mut is_hidden = false;
        let shown = self.values.iter().map(|value| {
            let shown = match self.setting.is_secret && !shows_secrets {
                true => without_password(value),
                false => value.clone(),
            };
            is_hidden |= shown != *value;
            match self.setting.form {
                ValueForm::Text => quoted(&shown),
                _ => shown,
            }
        });
        let shown: Vec<String> = shown.collect();
        let value = match self.setting.is_list {
            true => format!("[{}]", shown.join(", ")),
            false => shown.join(""),
        };
        if is_hidden {
            let comment = format!("{}; --show-secrets shows it all", self.origin);
            return (format!("# {name} = {value}"), comment);
        }
        let comment = match self.is_from_own_file || self.is_default() {
            true => "# ",
            false => "",
        };
        (format!("{comment}{name} = {value}"), self.origin.clone())
    }
}

/// A text as TOML. The escapes of JSON are also TOML's, which does not allow DEL as it is.
fn quoted(text: &str) -> String {
    let json = serde_json::Value::from(text).to_string();
    json.replace('\u{7f}', "\\u007F")
}

/// A URL without the password in its user part or its parameters. Of a text that is no URL nothing is shown.
fn without_password(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else {
        return HIDDEN.into();
    };
    // A password may have letters that should have been escaped.
    let (user, rest) = match rest.rsplit_once('@') {
        Some((user, rest)) => (Some(user), rest),
        None => (None, rest),
    };
    let user = user.map(|user| match user.split_once(':') {
        Some((name, _)) => format!("{name}:{HIDDEN}@"),
        None => format!("{user}@"),
    });
    let (place, parameters) = match rest.split_once('?') {
        Some((place, parameters)) => (place, Some(parameters)),
        None => (rest, None),
    };
    let parameters = parameters.map(|all| {
        let each = all
            .split('&')
            .map(|parameter| match parameter.split_once('=') {
                Some((name, _)) if name.to_lowercase().contains("password") => {
                    format!("{name}={HIDDEN}")
                }
                _ => parameter.to_owned(),
            });
        format!("?{}", each.collect::<Vec<_>>().join("&"))
    });
    format!(
        "{scheme}://{}{place}{}",
        user.unwrap_or_default(),
        parameters.unwrap_or_default()
    )
}
