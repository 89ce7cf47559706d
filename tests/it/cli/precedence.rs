//! Each setting is taken from the strongest source that has it, whatever flags there are.

use std::collections::BTreeMap;
use std::process::Command;

use serde_json::Value;

use super::settings::{Folder, shown};
use crate::support::process::{earmark, run, text};

/// The settings of `earmark serve`, as the schema describes them.
fn settings_of_serve() -> BTreeMap<String, Value> {
    let schema = run(&mut earmark(&["config", "--schema"]));
    let schema: Value = serde_json::from_slice(&schema.stdout).expect("JSON");
    let settings = &schema["properties"]["serve"]["properties"];
    serde_json::from_value(settings.clone()).expect("an object")
}

/// A value as the command line and as the file have it.
#[derive(Clone, Debug)]
struct Candidate {
    flag: String,
    toml: String,
}

/// Values that a setting may take, of which some may be refused.
fn candidates(name: &str, schema: &Value, folder: &Folder) -> Vec<Candidate> {
    let plain = |text: String| Candidate {
        toml: text.clone(),
        flag: text,
    };
    let quoted = |text: String| Candidate {
        toml: format!("{:?}", text),
        flag: text,
    };
    if name.ends_with("-file") {
        let files = (1..=3).map(|number| {
            let content = format!("postgres://h/{number}\n");
            let path = folder.write(&format!("{name}-{number}"), &content);
            quoted(path.display().to_string())
        });
        return files.collect();
    }
    let default = &schema["default"];
    match schema["type"].as_str().expect("a type") {
        "boolean" => ["true", "false"].map(|it| plain(it.into())).into(),
        "integer" => {
            let first = default.as_i64().unwrap_or(1);
            (1..=3)
                .map(|more| plain((first + more).to_string()))
                .collect()
        }
        "number" => [0.125, 0.25, 0.5]
            .map(|it: f64| plain(it.to_string()))
            .into(),
        "array" => (1..=3)
            .map(|number| Candidate {
                flag: format!("a{number},b"),
                toml: format!("[\"a{number}\", \"b\"]"),
            })
            .collect(),
        "string" => {
            if let Some(choices) = schema["enum"].as_array() {
                let choices = choices.iter().filter_map(Value::as_str);
                return choices.map(|it| quoted(it.into())).collect();
            }
            // Of a default, the number: 5s becomes 6s, 64MiB becomes 65MiB.
            let default = default.as_str().unwrap_or_default();
            let mut digits = default.rsplit(|it: char| !it.is_ascii_digit());
            let number = digits.find(|it| !it.is_empty()).unwrap_or("none");
            let bumped = (1..=3).filter_map(|more| {
                let bumped = number.parse::<u64>().ok()? + more;
                let at = default.rfind(number)?;
                let (before, after) = default.split_at(at);
                Some(format!("{before}{bumped}{}", &after[number.len()..]))
            });
            let others = [
                "http://h:1",
                "http://h:2",
                "http://h:3",
                "127.0.0.1:1001",
                "127.0.0.1:1002",
                "127.0.0.1:1003",
                "1s",
                "2s",
                "3s",
                "debug",
                "warn",
                "error",
            ];
            let free = (1..=3).map(|number| format!("value-{number}"));
            let all = bumped.chain(others.map(String::from)).chain(free);
            all.map(quoted).collect()
        }
        other => panic!("{name}: {other}"),
    }
}

/// Flags without which a setting is refused, for example that of the key to a certificate.
fn companions(refused: &str) -> Vec<String> {
    let Some((_, missing)) = refused.split_once("were not provided:") else {
        return Vec::new();
    };
    let missing = missing.lines().skip(1).take_while(|line| !line.is_empty());
    let flags = missing.filter_map(|line| line.split_whitespace().next());
    flags.map(|flag| format!("{flag}=value-0")).collect()
}

/// Three values that the program takes, or two of a setting that has no more; and what else must be set beside them.
fn accepted(name: &str, schema: &Value, folder: &Folder) -> (Vec<Candidate>, Vec<String>) {
    let mut accepted: Vec<Candidate> = Vec::new();
    let mut beside = Vec::new();
    for candidate in candidates(name, schema, folder) {
        let flag = format!("--{name}={}", candidate.flag);
        let mut output = run(earmark(&["config", &flag]).args(&beside));
        loop {
            let missing = companions(&text(&output.stderr));
            if missing.is_empty() {
                break;
            }
            beside.extend(missing);
            output = run(earmark(&["config", &flag]).args(&beside));
        }
        if output.status.success() {
            accepted.push(candidate);
        }
        if accepted.len() == 3 {
            break;
        }
    }
    assert!(accepted.len() >= 2, "{name}: give candidates for it");
    (accepted, beside)
}

#[test]
fn every_setting_is_taken_from_flag_then_variable_then_table_then_top_then_default() {
    let folder = Folder::new("");
    let settings = settings_of_serve();
    assert!(settings.len() > 30, "{}", settings.len());
    let defaults = shown(&mut earmark(&["config"]));
    for (name, schema) in settings {
        let (values, beside) = accepted(&name, &schema, &folder);
        let [of_file, of_variable] = [&values[0], &values[1]];
        let of_flag = values.last().expect("some");
        let description = schema["description"].as_str().unwrap_or_default();
        let (_, variable) = description.rsplit_once("Variable: ").expect("a variable");
        let variable = variable.trim_end_matches('.');
        let found = |command: &mut Command| {
            let shown = shown(command.args(&beside));
            shown[&name].clone()
        };
        let (_, origin) = &defaults[&name];
        assert!(
            ["default", "not set"].contains(&origin.as_str()) || origin.starts_with("required")
        );

        folder.write("earmark.toml", &format!("{name} = {}\n", of_file.toml));
        let (value, origin) = found(&mut folder.earmark(&["config"]));
        let line = |number| format!("{}:{number}", folder.file().display());
        assert_eq!((value, origin), (of_file.toml.clone(), line(1)), "{name}");

        let both = format!(
            "{name} = {}\n[serve]\n{name} = {}\n",
            of_variable.toml, of_file.toml
        );
        folder.write("earmark.toml", &both);
        let (value, origin) = found(&mut folder.earmark(&["config"]));
        assert_eq!((value, origin), (of_file.toml.clone(), line(3)), "{name}");

        let with_variable = || {
            let mut command = folder.earmark(&["config"]);
            command.env(variable, &of_variable.flag);
            command
        };
        let (value, origin) = found(&mut with_variable());
        let expected = format!("environment {variable}");
        assert_eq!(
            (value, origin),
            (of_variable.toml.clone(), expected),
            "{name}"
        );

        let flag = format!("--{name}={}", of_flag.flag);
        let (value, origin) = found(with_variable().arg(flag));
        assert_eq!(
            (value, origin),
            (of_flag.toml.clone(), "flag".into()),
            "{name}"
        );
    }
}
