//! A type's name means one thing in the whole workspace.

use std::collections::BTreeMap;

use super::sources::{Source, all_sources};

/// Names that several modules may define.
const ALLOWED: &[(&str, &str)] = &[
    ("Row", "each service's store reads rows of its own tables"),
    (
        "Cursor",
        "each list's page token holds that list's own position",
    ),
    ("List", "each service's own request for a list"),
];

#[test]
fn no_type_name_is_defined_twice() {
    let mut definitions: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for source in all_sources() {
        for name in defined_types(&source) {
            definitions
                .entry(name)
                .or_default()
                .push(source.path.clone());
        }
    }
    assert!(definitions.len() > 100, "only {} types", definitions.len());
    definitions.retain(|name, files| {
        files.len() > 1 && ALLOWED.iter().all(|(allowed, _)| name != allowed)
    });
    let repeated: Vec<_> = definitions
        .iter()
        .map(|(name, files)| format!("  {name}: {}", files.join(", ")))
        .collect();
    assert!(
        repeated.is_empty(),
        "defined more than once; rename all but one:\n{}",
        repeated.join("\n")
    );
}

/// The structs, enums, traits and type aliases that a file defines. Associated types are none: they are indented, and
/// aliases are looked for at the margin alone.
fn defined_types(source: &Source) -> Vec<String> {
    let code = source.code();
    let mut names = Vec::new();
    for line in code.lines() {
        let at_margin = !line.starts_with(' ');
        let mut words = line.split_whitespace().peekable();
        while words
            .peek()
            .is_some_and(|word| word.starts_with("pub") || *word == "unsafe")
        {
            // `pub(in crate::a)` is two words.
            if words.next() == Some("pub(in") {
                words.next();
            }
        }
        let defines = match words.next() {
            Some("struct" | "enum" | "trait") => true,
            Some("type") => at_margin,
            _ => false,
        };
        let name = words.next().filter(|_| defines).unwrap_or_default();
        let end = name.find(|c: char| !c.is_alphanumeric());
        let name = &name[..end.unwrap_or(name.len())];
        if name.starts_with(|c: char| c.is_uppercase()) {
            names.push(name.to_owned());
        }
    }
    names
}

#[test]
fn definitions_are_found_and_associated_types_are_not() {
    let text = "pub(in crate::a) struct A<T>(T);\nenum B {\npub unsafe trait C: D {\n    type E;\n}\n\
                type F = u8;\n// struct G;\nfn f() {\n    struct H;\n}\n";
    let source = Source {
        path: String::new(),
        text: text.into(),
    };
    assert_eq!(defined_types(&source), ["A", "B", "C", "F", "H"]);
}
