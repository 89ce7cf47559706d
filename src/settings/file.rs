//! The configuration file: TOML, whose keys are the names of flags.
//!
//! A key at the top is for every command that has the flag; one in a table that has a command's name is for that command,
//! and replaces the one at the top. `doctor`, which looks at what `serve` would use, also takes the values in the table of
//! `serve`, behind those in its own. The whole file is checked, whichever command reads it.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::settings::setting::{CONFIG, CommandSettings, Setting, ValueForm};
use crate::types::nearest::nearest;

/// The command that looks at what [`EXAMINED`] would use.
const EXAMINER: &str = "doctor";
/// The command whose settings [`EXAMINER`] looks at.
const EXAMINED: &str = "serve";
/// The commands that only builds for development have.
const DEVELOPMENT_COMMANDS: [&str; 2] = ["dev", "token"];
/// How many characters of a value an error shows.
const SHOWN_CHARS_MAX: usize = 100;

/// Why a configuration file cannot be used.
#[derive(Debug, Error)]
pub(crate) enum ConfigFileError {
    #[error("--config {}: {source}; name a file that this user may read", path.display())]
    Unreadable { path: PathBuf, source: io::Error },
    #[error("{}:{line}: {text}", path.display())]
    Syntax {
        path: PathBuf,
        line: usize,
        text: String,
    },
    /// All values that are wrong, not only the first.
    #[error("{}", lines(path, problems))]
    Values {
        path: PathBuf,
        problems: Vec<ConfigProblem>,
    },
}

/// What is wrong with one line of the file.
#[derive(Debug)]
pub(crate) struct ConfigProblem {
    line: usize,
    text: String,
}

fn lines(path: &Path, problems: &[ConfigProblem]) -> impl fmt::Display {
    let lines = problems.iter();
    let lines =
        lines.map(|problem| format!("{}:{}: {}", path.display(), problem.line, problem.text));
    lines.collect::<Vec<_>>().join("\n")
}

/// A value of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FileValue {
    /// As the command line would have them; several for a list.
    pub(super) values: Vec<String>,
    pub(super) line: usize,
}

/// A configuration file whose values have been checked, except against each other.
#[derive(Clone, Debug)]
pub(crate) struct ConfigFile {
    pub(super) path: PathBuf,
    top: BTreeMap<String, FileValue>,
    tables: BTreeMap<String, BTreeMap<String, FileValue>>,
}

impl ConfigFile {
    /// Reads a file, and checks each of its values.
    ///
    /// # Errors
    /// Any variant of [`ConfigFileError`].
    pub(super) fn read(path: &Path, commands: &[CommandSettings]) -> Result<Self, ConfigFileError> {
        let unreadable = |source| ConfigFileError::Unreadable {
            path: path.into(),
            source,
        };
        let text = fs::read_to_string(path).map_err(unreadable)?;
        let table = DeTable::parse(&text).map_err(|error| ConfigFileError::Syntax {
            path: path.into(),
            line: error.span().map_or(1, |span| line_of(&text, span.start)),
            text: error.message().into(),
        })?;
        let mut reader = FileReader {
            text: &text,
            commands,
            problems: Vec::new(),
        };
        let (top, tables) = reader.read_top(table.get_ref());
        let mut problems = reader.problems;
        if problems.is_empty() {
            let path = path.into();
            return Ok(Self { path, top, tables });
        }
        problems.sort_by_key(|problem| problem.line);
        let path = path.into();
        Err(ConfigFileError::Values { path, problems })
    }

    /// The value that the file has for a setting of a command.
    pub(super) fn value(&self, command: &str, name: &str) -> Option<&FileValue> {
        let examined = (command == EXAMINER).then_some(EXAMINED);
        let tables = [Some(command), examined].into_iter().flatten();
        let mut tables = tables.filter_map(|table| self.tables.get(table));
        let own = tables.find_map(|table| table.get(name));
        own.or_else(|| self.top.get(name))
    }
}

fn line_of(text: &str, offset: usize) -> usize {
    let before = text.as_bytes().iter().take(offset);
    before.filter(|byte| **byte == b'\n').count() + 1
}

struct FileReader<'a> {
    text: &'a str,
    commands: &'a [CommandSettings],
    problems: Vec<ConfigProblem>,
}

type FileValues = BTreeMap<String, FileValue>;

impl FileReader<'_> {
    fn read_top(&mut self, table: &DeTable<'_>) -> (FileValues, BTreeMap<String, FileValues>) {
        let mut top = FileValues::new();
        let mut tables = BTreeMap::new();
        let all = self.commands;
        for (key, value) in table {
            let (name, line) = (key.get_ref().as_ref(), line_of(self.text, key.span().start));
            let command = all.iter().find(|it| it.command == name);
            match (command, value.get_ref()) {
                (Some(command), DeValue::Table(inner)) => {
                    let read = self.read_table(command, inner);
                    tables.insert(name.to_owned(), read);
                }
                (Some(_), _) => self.report(
                    line,
                    format!("`{name}` is a command: its settings are in a table [{name}]"),
                ),
                (None, DeValue::Table(_)) => {
                    let text = self.unknown_table(name);
                    self.report(line, text);
                }
                (None, value) => {
                    // Commands that share a flag share its rules, or the value must suit all of them.
                    let settings = all.iter().filter_map(|it| it.find(name));
                    let settings: Vec<&Setting> = settings.filter(|it| it.name != CONFIG).collect();
                    if settings.is_empty() {
                        let text = self.unknown_key(name);
                        self.report(line, text);
                    }
                    if let Some(read) = self.read_value(&settings, line, value) {
                        top.insert(name.to_owned(), read);
                    }
                }
            }
        }
        (top, tables)
    }

    fn read_table(&mut self, command: &CommandSettings, table: &DeTable<'_>) -> FileValues {
        let mut read = FileValues::new();
        for (key, value) in table {
            let (name, line) = (key.get_ref().as_ref(), line_of(self.text, key.span().start));
            match command.find(name).filter(|it| it.name != CONFIG) {
                Some(setting) => {
                    if let Some(value) = self.read_value(&[setting], line, value.get_ref()) {
                        read.insert(name.to_owned(), value);
                    }
                }
                None => {
                    let text = self.unknown_key_of(command, name);
                    self.report(line, text);
                }
            }
        }
        read
    }

    fn report(&mut self, line: usize, text: String) {
        self.problems.push(ConfigProblem { line, text });
    }

    fn unknown_table(&self, name: &str) -> String {
        if DEVELOPMENT_COMMANDS.contains(&name) {
            return format!(
                "[{name}] is for a command of development builds, which this build for production lacks: remove the table"
            );
        }
        let commands = || self.commands.iter().map(|it| it.command.as_str());
        let advice = match nearest(name, commands()) {
            Some(command) => format!("did you mean [{command}]?"),
            None => format!("tables are {}", commands().collect::<Vec<_>>().join(", ")),
        };
        format!("no command `{}`: {advice}", shortened(name))
    }

    fn unknown_key(&self, name: &str) -> String {
        if name == CONFIG {
            return "`config` names this file, and cannot be in it: remove it".into();
        }
        let known = self.commands.iter().flat_map(CommandSettings::names);
        unknown(name, known, "earmark <command> --help")
    }

    fn unknown_key_of(&self, command: &CommandSettings, name: &str) -> String {
        if name == CONFIG {
            return self.unknown_key(name);
        }
        let others = self.commands.iter().filter(|it| it.find(name).is_some());
        let others: Vec<String> = others.map(|it| format!("[{}]", it.command)).collect();
        if !others.is_empty() {
            return format!(
                "`{name}` is no setting of {}: it belongs at the top of the file, or in {}",
                command.command,
                others.join(" or ")
            );
        }
        let help = format!("earmark {} --help", command.command);
        unknown(name, command.names(), &help)
    }

    /// A value in the form that all these settings have, which differ only in the command.
    fn read_value(
        &mut self,
        settings: &[&Setting],
        line: usize,
        value: &DeValue<'_>,
    ) -> Option<FileValue> {
        let (setting, others) = settings.split_first()?;
        let elements: Vec<&DeValue<'_>> = match value {
            DeValue::Array(elements) if setting.is_list => {
                elements.iter().map(Spanned::get_ref).collect()
            }
            other if !setting.is_list => vec![other],
            _ => {
                self.report(
                    line,
                    format!("{}: must be {}", setting.name, expected(setting)),
                );
                return None;
            }
        };
        let mut values = Vec::new();
        for element in elements {
            let checked = text_of(setting, element).and_then(|value| {
                for setting in [setting].into_iter().chain(others) {
                    setting
                        .check(&value)
                        .map_err(|rule| with_value(setting, rule, &value))?;
                }
                Ok(value)
            });
            match checked {
                Ok(value) => values.push(value),
                Err(rule) => {
                    self.report(line, format!("{}: {rule}", setting.name));
                    return None;
                }
            }
        }
        Some(FileValue { values, line })
    }
}

fn unknown<'a>(name: &str, known: impl Iterator<Item = &'a str>, help: &str) -> String {
    let advice = match nearest(name, known) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("its keys are the flags that `{help}` lists, without their dashes"),
    };
    format!("no setting `{}`: {advice}", shortened(name))
}

fn shortened(text: &str) -> String {
    let shown: String = text.chars().take(SHOWN_CHARS_MAX).collect();
    let ellipsis = if shown.len() < text.len() { "…" } else { "" };
    format!("{}{ellipsis}", shown.escape_debug())
}

fn with_value(setting: &Setting, rule: String, value: &str) -> String {
    if setting.is_secret || rule.contains(value) {
        rule
    } else {
        format!("{rule}, got \"{}\"", shortened(value))
    }
}

/// What a value of a setting must be, as it is written in TOML.
fn expected(setting: &Setting) -> String {
    let one = match setting.form {
        ValueForm::Boolean => "true or false",
        ValueForm::Integer => "a whole number",
        ValueForm::Number => "a number",
        ValueForm::Text => "a text in quotes",
    };
    let example = setting.default.first().map(|default| match setting.form {
        ValueForm::Text => format!("\"{default}\""),
        _ => default.clone(),
    });
    let example = match (setting.is_list, &example) {
        (_, None) => String::new(),
        (true, Some(example)) => format!(", such as [{example}]"),
        (false, Some(example)) => format!(", such as {example}"),
    };
    if setting.is_list {
        return format!("an array, each element {one}{example}");
    }
    format!("{one}{example}")
}

/// The value as the command line would have it.
fn text_of(setting: &Setting, value: &DeValue<'_>) -> Result<String, String> {
    let text = match (setting.form, value) {
        (ValueForm::Boolean, DeValue::Boolean(value)) => value.to_string(),
        (ValueForm::Integer | ValueForm::Number, DeValue::Integer(number)) => {
            match i64::from_str_radix(number.as_str(), number.radix()) {
                Ok(number) => number.to_string(),
                Err(_) => number.to_string(),
            }
        }
        (ValueForm::Number, DeValue::Float(number)) => number.to_string(),
        (ValueForm::Text, DeValue::String(text)) => text.as_ref().to_owned(),
        _ => {
            let got = match value {
                DeValue::String(text) if !setting.is_secret => {
                    format!("the text \"{}\"", shortened(text))
                }
                DeValue::String(_) => "a text".into(),
                DeValue::Integer(number) => format!("the number {number}"),
                DeValue::Float(number) => format!("the number {number}"),
                DeValue::Boolean(value) => value.to_string(),
                DeValue::Datetime(_) => "a date".into(),
                DeValue::Array(_) => "an array".into(),
                DeValue::Table(_) => "a table".into(),
            };
            return Err(format!("must be {}, got {got}", expected(setting)));
        }
    };
    Ok(text)
}
