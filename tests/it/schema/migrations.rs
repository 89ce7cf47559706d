//! No migration keeps servers waiting that serve meanwhile: what reads or locks a table that may be large is done
//! concurrently, or so that only the catalogue changes.

use std::fs;
use std::path::Path;

/// Tables that stay small whatever is done: a scan of one takes milliseconds.
const SMALL: [&str; 5] = [
    "catalogue_company",
    "client",
    "connection",
    "enterprise",
    "partner",
];

/// A migration's statements, in upper case where they are no names of ours, without comments.
fn statements(sql: &str) -> Vec<String> {
    let lines = sql
        .lines()
        .map(|line| line.split("--").next().unwrap_or_default());
    let text = lines.collect::<Vec<_>>().join(" ");
    // A body in `$migration$` may contain others in `$$`.
    let outer = if text.contains("$migration$") {
        "$migration$"
    } else {
        "$$"
    };
    // The bodies of DO contain semicolons.
    let mut statements = vec![String::new()];
    for (index, part) in text.split(outer).enumerate() {
        let is_body = index % 2 == 1;
        for (count, piece) in part.split(';').enumerate() {
            if count > 0 && !is_body {
                statements.push(String::new());
            }
            statements.last_mut().expect("one").push_str(piece);
        }
    }
    let words = |statement: &String| statement.split_whitespace().collect::<Vec<_>>().join(" ");
    statements
        .iter()
        .map(words)
        .filter(|words| !words.is_empty())
        .collect()
}

/// The word behind these.
fn word_behind<'a>(statement: &'a str, words: &str) -> Option<&'a str> {
    let (_, rest) = statement.split_once(words)?;
    rest.trim_start().split([' ', '(']).next()
}

/// Why a statement would keep others waiting, or does not work.
fn fault(
    statement: &str,
    created: &[&str],
    is_alone: bool,
    is_in_transaction: bool,
) -> Option<&'static str> {
    let is_free = |table: &str| created.contains(&table) || SMALL.contains(&table);
    // Steps that end their transactions themselves: what each of them takes has tests of its own.
    if statement.starts_with("DO ") && statement.contains(" COMMIT") {
        return is_in_transaction.then_some("COMMIT needs run_in_transaction = false");
    }
    let is_index =
        statement.starts_with("CREATE INDEX") || statement.starts_with("CREATE UNIQUE INDEX");
    if statement.contains(" CONCURRENTLY ") {
        return (!is_alone).then_some(
            "CONCURRENTLY has to be alone, with run_in_transaction = false in metadata.toml",
        );
    }
    if is_index && !is_free(word_behind(statement, " ON ")?) {
        return Some("CREATE INDEX stops writes while it reads the table: CONCURRENTLY");
    }
    if statement.starts_with("UPDATE ") && !is_free(word_behind(statement, "UPDATE ")?) {
        return Some("UPDATE of a whole table in one transaction: in batches");
    }
    let table = word_behind(statement, "ALTER TABLE ")?;
    if is_free(table) {
        return None;
    }
    let adds_check = statement.contains(" ADD CONSTRAINT ")
        && (statement.contains(" CHECK ") || statement.contains(" FOREIGN KEY "));
    let is_valid_later = statement.ends_with("NOT VALID") || statement.contains("NOT VALID'");
    if adds_check && !is_valid_later {
        return Some("a constraint reads the table under an exclusive lock: NOT VALID");
    }
    let adds_unique = statement.contains(" ADD CONSTRAINT ")
        && (statement.contains(" UNIQUE (") || statement.contains(" PRIMARY KEY ("));
    if adds_unique {
        return Some(
            "it makes an index under an exclusive lock: USING INDEX, of one made CONCURRENTLY",
        );
    }
    if statement.contains(" SET NOT NULL") || statement.contains(" TYPE ") {
        return Some("it reads or writes the whole table under an exclusive lock");
    }
    let is_filled = statement.contains(" ADD COLUMN ")
        && statement.contains(" DEFAULT ")
        && (statement.contains("random") || statement.contains("clock_timestamp"));
    is_filled.then_some("a default that differs from row to row writes the whole table")
}

fn faults(sql: &str, runs_in_transaction: bool) -> Vec<String> {
    let statements = statements(sql);
    let created: Vec<&str> = statements
        .iter()
        .filter_map(|statement| word_behind(statement, "CREATE TABLE "))
        .collect();
    let is_alone = statements.len() == 1 && !runs_in_transaction;
    let found = statements.iter().filter_map(|statement| {
        let fault = fault(statement, &created, is_alone, runs_in_transaction)?;
        Some(format!("{fault}: {statement}"))
    });
    found.collect()
}

#[test]
fn no_migration_keeps_servers_waiting() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations");
    let mut seen = 0;
    for entry in fs::read_dir(folder).expect("a folder").flatten() {
        let sql = fs::read_to_string(entry.path().join("up.sql")).expect("a migration");
        let metadata = fs::read_to_string(entry.path().join("metadata.toml"));
        let runs_in_transaction =
            !metadata.is_ok_and(|text| text.contains("run_in_transaction = false"));
        let faults = faults(&sql, runs_in_transaction);
        assert!(faults.is_empty(), "{}: {faults:#?}", entry.path().display());
        seen += 1;
    }
    assert!(seen >= 9, "{seen}");
}

#[test]
fn what_keeps_servers_waiting_is_found() {
    for (sql, is_in_transaction, expected) in [
        ("CREATE INDEX a ON entry (unit);", true, 1),
        ("CREATE UNIQUE INDEX a ON entry (unit);", true, 1),
        ("CREATE INDEX CONCURRENTLY a ON entry (unit);", true, 1),
        (
            "CREATE INDEX CONCURRENTLY a ON entry (unit); SELECT 1;",
            false,
            1,
        ),
        ("CREATE INDEX CONCURRENTLY a ON entry (unit);", false, 0),
        (
            "CREATE TABLE new (a int); CREATE INDEX i ON new (a);",
            true,
            0,
        ),
        ("CREATE INDEX a ON partner (name);", true, 0),
        (
            "ALTER TABLE entry ADD CONSTRAINT c CHECK (version > 0);",
            true,
            1,
        ),
        (
            "ALTER TABLE entry ADD CONSTRAINT c CHECK (version > 0) NOT VALID;",
            true,
            0,
        ),
        ("ALTER TABLE entry VALIDATE CONSTRAINT c;", true, 0),
        ("ALTER TABLE entry ADD CONSTRAINT c UNIQUE (unit);", true, 1),
        ("ALTER TABLE entry ALTER COLUMN unit SET NOT NULL;", true, 1),
        (
            "ALTER TABLE entry ADD COLUMN a uuid DEFAULT gen_random_uuid();",
            true,
            1,
        ),
        ("ALTER TABLE entry ADD COLUMN a uuid;", true, 0),
        (
            "-- A word; of explanation.\nUPDATE entry SET unit = '';",
            true,
            1,
        ),
        (
            "DO $$ BEGIN PERFORM 1; PERFORM 2; END $$; SELECT 1;",
            true,
            0,
        ),
    ] {
        assert_eq!(faults(sql, is_in_transaction).len(), expected, "{sql}");
    }
}
