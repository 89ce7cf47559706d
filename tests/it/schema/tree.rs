//! Dependence runs downward only, and what belongs to one library stays where it belongs.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// `cli → server → services → rpc → ledger → db → types`, from the ground up. A module uses what is below its floor,
/// and nothing beside it.
const FLOORS: &[&[&str]] = &[
    &["limits", "proto"],
    &["types"],
    &["error"],
    &["db"],
    &["auth", "ledger"],
    &["rpc"],
    &[
        "allocation",
        "balance",
        "bucket",
        "cas",
        "catalogue",
        "network",
    ],
    &["server"],
    &["app"],
    &["config", "demo"],
    &["telemetry"],
    &["cli"],
];

/// Where words of a library may stand: files whose path starts or ends so.
const HOMES: &[(&str, &[&str])] = &[
    (
        "crate::proto",
        &[
            "app.rs",
            "demo.rs",
            "demo/",
            "rpc/",
            "server/reflection.rs",
            "service.rs",
            "convert.rs",
            "/convert/",
        ],
    ),
    ("diesel::", &["db/", "store.rs", "/store/"]),
    (
        "tokio_postgres::",
        &["db/", "ledger/store", "ledger/verify"],
    ),
    (
        "tonic::",
        &[
            "app.rs",
            "demo.rs",
            "demo/",
            "rpc/",
            "server/",
            "server.rs",
            "service.rs",
            "proto.rs",
            "cli/healthcheck.rs",
        ],
    ),
];

fn sources() -> Vec<(String, String)> {
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut folders: Vec<PathBuf> = vec![top.clone()];
    let mut sources = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).expect("a file");
                let name = path.strip_prefix(&top).expect("below").to_string_lossy();
                sources.push((name.into_owned(), text));
            }
        }
    }
    assert!(sources.len() > 50);
    sources
}

fn floor_of(module: &str) -> usize {
    FLOORS
        .iter()
        .position(|floor| floor.contains(&module))
        .unwrap_or_else(|| panic!("the module {module} has no floor: put it where it belongs"))
}

#[test]
fn dependence_runs_downward_only() {
    let mut used = BTreeSet::new();
    for (file, text) in sources() {
        if ["lib.rs", "main.rs"].contains(&file.as_str()) {
            continue;
        }
        let module = file.split(['/', '.']).next().expect("a module");
        for path in text.split("crate::").skip(1) {
            let end = path.find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
            let other = &path[..end.unwrap_or(path.len())];
            assert!(!other.is_empty(), "{file}: spell `use crate::{{…}}` out");
            used.insert((module.to_owned(), other.to_owned(), file.clone()));
        }
    }
    for (module, other, file) in used {
        if module != other {
            let (above, below) = (floor_of(&module), floor_of(&other));
            assert!(
                above > below,
                "{file} uses {other}, which is not below {module}"
            );
        }
    }
}

#[test]
fn every_library_has_its_home() {
    for (file, text) in sources() {
        // A module's tests may say what they like.
        let text = text.split("#[cfg(test)]").next().unwrap_or_default();
        for (word, homes) in HOMES {
            let at_home = homes
                .iter()
                .any(|home| file.starts_with(home) || file.ends_with(home) || file.contains(home));
            let stands_there = text
                .lines()
                .any(|line| line.contains(word) && !line.trim_start().starts_with("//"));
            assert!(!stands_there || at_home, "{word} in {file}");
        }
    }
}
