//! The tables of `docs/configuration.md`, made from the flags' own help.

use std::fmt::Write as _;

use clap::Command;

use crate::settings::setting::{CommandSettings, Setting, ValueForm, settings_of};

/// Above this line of the page stands what was written by hand; below it what is made here.
pub(crate) const MARK: &str = "<!-- Made from the code, by UPDATE_DOCS=1: see CONTRIBUTING.md. -->";

const LINE_CHARS_MAX: usize = 120;

/// A setting with the commands that have it.
struct Row<'a> {
    setting: &'a Setting,
    commands: Vec<&'a str>,
    is_required: bool,
}

/// What stands below [`MARK`].
pub(crate) fn page(command: &Command) -> String {
    let commands = settings_of(command);
    let rows = rows(&commands);
    let mut page = format!("{MARK}\n\n## All settings\n\n");
    page.push_str("| flag | variable | default | of | what |\n|---|---|---|---|---|\n");
    for Row {
        setting,
        commands: of,
        is_required,
    } in &rows
    {
        let name = &setting.name;
        let of = match of.len() == commands.len() {
            true => "all".into(),
            false => of.join(", "),
        };
        let default = match *is_required {
            true => "required".into(),
            false => default_of(setting),
        };
        let summary = escaped(&setting.summary());
        _ = writeln!(
            page,
            "| [`--{name}`](#--{name}) | `{}` | {default} | {of} | {summary} |",
            setting.variable
        );
    }
    page.push_str("\n## Each setting in detail\n");
    for Row { setting, .. } in &rows {
        _ = writeln!(page, "\n### `--{}`", setting.name);
        for paragraph in setting.details().split("\n\n") {
            let end = if paragraph.ends_with(['.', ':', '?']) {
                ""
            } else {
                "."
            };
            _ = write!(
                page,
                "\n{}",
                wrapped(&format!("{}{end}", escaped(paragraph)))
            );
        }
        let choices = setting.choices_with_help();
        if !choices.is_empty() {
            page.push('\n');
        }
        for (name, help) in choices {
            _ = writeln!(page, "- `{name}`: {help}");
        }
    }
    page
}

/// The settings in the order of the commands, those of all commands first.
fn rows(commands: &[CommandSettings]) -> Vec<Row<'_>> {
    let all = commands.iter().flat_map(|command| &command.settings);
    let mut rows: Vec<Row<'_>> = Vec::new();
    for setting in all {
        if rows.iter().any(|row| row.setting.name == setting.name) {
            continue;
        }
        let with_it = commands
            .iter()
            .filter(|it| it.find(&setting.name).is_some());
        let is_required = with_it
            .clone()
            .any(|it| it.find(&setting.name).is_some_and(|it| it.is_required));
        let commands = with_it.map(|it| it.command.as_str()).collect();
        rows.push(Row {
            setting,
            commands,
            is_required,
        });
    }
    rows.sort_by_key(|row| row.commands.len() < commands.len());
    rows
}

fn default_of(setting: &Setting) -> String {
    match (setting.default.join(",").as_str(), setting.form) {
        ("", _) if setting.default.is_empty() => "none".into(),
        ("", _) => "`\"\"`".into(),
        ("false", ValueForm::Boolean) => "no".into(),
        (default, _) => format!("`{default}`"),
    }
}

/// A text in which Markdown sees neither tags, tables nor emphasis.
fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    for letter in text.chars() {
        if matches!(letter, '<' | '|' | '*' | '_') {
            escaped.push('\\');
        }
        escaped.push(letter);
    }
    escaped
}

fn wrapped(paragraph: &str) -> String {
    let mut text = String::new();
    let mut line_chars = 0;
    for word in paragraph.split_whitespace() {
        let chars = word.chars().count();
        if line_chars > 0 && line_chars + 1 + chars > LINE_CHARS_MAX {
            text.push('\n');
            line_chars = 0;
        } else if line_chars > 0 {
            text.push(' ');
            line_chars += 1;
        }
        text.push_str(word);
        line_chars += chars;
    }
    text.push('\n');
    text
}
