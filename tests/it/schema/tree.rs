//! Dependence runs downward only, between modules and between crates; each library is used in its place only.

use std::collections::BTreeSet;
use std::fs;

use super::sources::{repository, server_sources};

/// `cli → server → services → rpc → ledger → db → types`, the lowest layer first. A module uses modules of lower layers
/// only, none of its own.
const LAYERS: &[&[&str]] = &[
    &["limits", "proto", "turns", "version"],
    &["metrics"],
    &["audit", "trace", "types"],
    &["error", "pem"],
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
    &["config", "demo", "settings"],
    &["telemetry"],
    &["cli"],
];

/// Where the paths of a library may be used: files whose path starts with, ends with or contains one of these.
const USED_IN: &[(&str, &[&str])] = &[
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
        &[
            "db/",
            "ledger/archive/",
            "ledger/engine/store.rs",
            "ledger/seal/",
            "ledger/store_error.rs",
            "ledger/table/",
            "ledger/verify.rs",
            "ledger/verify/seals.rs",
            "ledger/kinds.rs",
            "/kind.rs",
            "/statements.rs",
        ],
    ),
    ("parquet::", &["ledger/archive/table_file"]),
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

fn layer_of(module: &str) -> usize {
    LAYERS
        .iter()
        .position(|layer| layer.contains(&module))
        .unwrap_or_else(|| panic!("the module {module} is in no layer: add it to LAYERS"))
}

#[test]
fn dependence_runs_downward_only() {
    let mut used = BTreeSet::new();
    for source in server_sources() {
        let file = source.path.trim_start_matches("src/").to_owned();
        if ["lib.rs", "main.rs"].contains(&file.as_str()) {
            continue;
        }
        let module = file.split(['/', '.']).next().expect("a module");
        for path in source.text.split("crate::").skip(1) {
            let end = path.find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
            let other = &path[..end.unwrap_or(path.len())];
            assert!(!other.is_empty(), "{file}: spell `use crate::{{…}}` out");
            used.insert((module.to_owned(), other.to_owned(), file.clone()));
        }
    }
    for (module, other, file) in used {
        if module != other {
            let (above, below) = (layer_of(&module), layer_of(&other));
            assert!(
                above > below,
                "{file} uses {other}, which is not below {module}"
            );
        }
    }
}

#[test]
fn each_library_is_used_only_where_it_belongs() {
    for source in server_sources() {
        let file = source.path.trim_start_matches("src/");
        for (word, places) in USED_IN {
            let allowed = places.iter().any(|place| {
                file.starts_with(place) || file.ends_with(place) || file.contains(place)
            });
            let used = source
                .text
                .lines()
                .any(|line| line.contains(word) && !line.trim_start().starts_with("//"));
            assert!(!used || allowed, "{word} in {file}");
        }
    }
}

/// Crates that must not depend on the server, not even for their build.
const WITHOUT_THE_SERVER: &[&str] = &["client", "dev-postgres"];

#[test]
fn the_clients_crate_does_not_depend_on_the_server() {
    for name in WITHOUT_THE_SERVER {
        let path = repository().join("crates").join(name).join("Cargo.toml");
        // There is nothing to look at before the crate is there.
        let Ok(manifest) = fs::read_to_string(path) else {
            continue;
        };
        assert_eq!(server_dependencies(&manifest), [""; 0], "crates/{name}");
    }
}

/// The lines of a manifest by which a crate depends on the server, tests and examples aside.
fn server_dependencies(manifest: &str) -> Vec<&str> {
    let server = env!("CARGO_PKG_NAME");
    let mut section = "";
    let mut found = Vec::new();
    for line in manifest.lines().map(str::trim) {
        if let Some(header) = line.strip_prefix('[') {
            section = header.trim_end_matches(']');
        }
        let table = section.split("dependencies").next().unwrap_or_default();
        if !section.contains("dependencies") || table.ends_with("dev-") {
            continue;
        }
        let key = line.split(['.', ' ', '=']).next().unwrap_or_default();
        let named = key.trim_matches('"') == server
            || section.ends_with(&format!("dependencies.{server}"))
            || line.contains(&format!("package = \"{server}\""))
            || line.contains("path = \"../..\"");
        if named {
            found.push(line);
        }
    }
    found
}

#[test]
fn a_dependency_on_the_server_is_found_in_every_spelling() {
    let manifest = "[package]\nname = \"client\"\n[dependencies]\nearmark.workspace = true\ntonic = \"1\"\n\
                    server = { path = \"../..\" }\n[target.'cfg(unix)'.dependencies.earmark]\n\
                    [dev-dependencies]\nearmark = \"1\"\n[build-dependencies]\nother = { package = \"earmark\" }\n";
    let found = server_dependencies(manifest);
    assert_eq!(found.len(), 4, "{found:?}");
}
