//! The JSON schema of the configuration file, for editors.

use clap::Command;
use serde_json::{Map, Value, json};

use crate::settings::setting::{CommandSettings, Setting, ValueForm, settings_of};

/// The schema of the configuration file. It knows names, types, defaults and choices; ranges are in the descriptions.
pub(crate) fn schema(command: &Command) -> Value {
    let commands = settings_of(command);
    let mut properties = Map::new();
    for command in &commands {
        for setting in command.in_file() {
            let of = commands
                .iter()
                .filter(|it| it.find(&setting.name).is_some());
            let of: Vec<&str> = of.map(|it| it.command.as_str()).collect();
            let description = format!("{}\n\nOf: {}.", description(setting), of.join(", "));
            properties
                .entry(&setting.name)
                .or_insert_with(|| property(setting, &description));
        }
    }
    for command in &commands {
        let name = command.command.clone();
        properties.insert(name, table(command));
    }
    json!({
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "The configuration file of Earmark",
        "description": "A key at the top is for every command that has the flag of this name. A key in a table that has a \
            command's name is for that command, and replaces the one at the top. One in [serve] is for doctor, too.",
        "type": "object",
        "properties": properties,
        "additionalProperties": false,
    })
}

fn table(command: &CommandSettings) -> Value {
    let properties = command.in_file().map(|setting| {
        let property = property(setting, &description(setting));
        (setting.name.clone(), property)
    });
    json!({
        "description": format!("Settings of `earmark {}` only", command.command),
        "type": "object",
        "properties": Map::from_iter(properties),
        "additionalProperties": false,
    })
}

fn description(setting: &Setting) -> String {
    format!("{}\n\nVariable: {}.", setting.details(), setting.variable)
}

fn property(setting: &Setting, description: &str) -> Value {
    let mut value = Map::new();
    let type_name = match setting.form {
        ValueForm::Boolean => "boolean",
        ValueForm::Integer => "integer",
        ValueForm::Number => "number",
        ValueForm::Text => "string",
    };
    value.insert("type".into(), type_name.into());
    let choices = setting.choices();
    if !choices.is_empty() {
        value.insert("enum".into(), choices.into());
    }
    let mut property = match setting.is_list {
        true => Map::from_iter([
            ("type".into(), "array".into()),
            ("items".into(), value.into()),
        ]),
        false => value,
    };
    property.insert("description".into(), description.into());
    let defaults: Vec<Value> = setting
        .default
        .iter()
        .map(|it| default(setting, it))
        .collect();
    if setting.is_list && !defaults.is_empty() {
        property.insert("default".into(), defaults.into());
    } else if let Some(default) = defaults.into_iter().next() {
        property.insert("default".into(), default);
    }
    property.into()
}

fn default(setting: &Setting, text: &str) -> Value {
    match setting.form {
        // What is written the same way in JSON, or else shown as a text.
        ValueForm::Boolean | ValueForm::Integer | ValueForm::Number => {
            serde_json::from_str(text).unwrap_or_else(|_| text.into())
        }
        ValueForm::Text => text.into(),
    }
}
