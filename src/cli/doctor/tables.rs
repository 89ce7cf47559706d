//! How the tables are kept: autovacuum, statistics, dead rows, numbers of transactions.

use crate::cli::doctor::finding::Finding;
use crate::cli::doctor::looks::Looks;
use crate::cli::doctor::words::{count, first_few, span};
use crate::db::inspect::tables::{self, TableFacts, TransactionIdFacts};

/// A table of fewer rows or bytes needs neither vacuum nor statistics.
const SMALL_ROWS: i64 = 10_000;
const SMALL_BYTES: i64 = 1 << 20;
/// The part of a table's row versions that may be dead. Autovacuum comes from 20 % on.
const DEAD_PERCENT: i64 = 40;
/// The part of a table's rows that may have changed since it was analyzed. Autovacuum comes from 10 % on.
const CHANGED_PERCENT: i64 = 50;
/// Ages of the oldest transaction: autovacuum freezes from 200 million on, and Postgres stops at 2,100 million.
const AGE_WARNING: i64 = 500_000_000;
const AGE_PROBLEM: i64 = 1_500_000_000;

pub(super) async fn all(looks: &mut Looks) {
    if let Some(facts) = looks.ask("tables.statistics", tables::tables).await {
        looks.push(autovacuum(&facts));
        looks.push(statistics(&facts));
        looks.push(dead_rows(&facts));
    }
    looks
        .add("tables.transaction_ids", tables::transaction_ids, |facts| {
            transaction_ids(&facts)
        })
        .await;
}

fn names<'a>(tables: impl Iterator<Item = &'a TableFacts>) -> Vec<String> {
    tables.map(|table| table.name.clone()).collect()
}

fn autovacuum(tables: &[TableFacts]) -> Finding {
    const NAME: &str = "tables.autovacuum";
    let off = names(tables.iter().filter(|table| !table.has_autovacuum));
    let Some(first) = off.first() else {
        return Finding::ok(NAME, "no table is exempt from it");
    };
    Finding::problem(
        NAME,
        format!(
            "off for {}: dead rows stay, and statistics grow old",
            first_few(&off)
        ),
        format!("ALTER TABLE {first} RESET (autovacuum_enabled)"),
    )
}

fn statistics(tables: &[TableFacts]) -> Finding {
    const NAME: &str = "tables.statistics";
    let is_large =
        |table: &&TableFacts| table.live_rows >= SMALL_ROWS || table.pages_bytes >= SMALL_BYTES;
    let never = names(
        tables
            .iter()
            .filter(is_large)
            .filter(|table| !table.is_analyzed),
    );
    if !never.is_empty() {
        return Finding::warning(
            NAME,
            format!("never analyzed: {}; plans are guesses", first_few(&never)),
            format!("ANALYZE {}", never.join(", ")),
        );
    }
    let stale = names(tables.iter().filter(|table| {
        table.changed_rows >= SMALL_ROWS
            && table.changed_rows.saturating_mul(100)
                > table.live_rows.saturating_mul(CHANGED_PERCENT)
    }));
    if !stale.is_empty() {
        return Finding::warning(
            NAME,
            format!(
                "more than {CHANGED_PERCENT} % of the rows have changed since the last ANALYZE: {}",
                first_few(&stale)
            ),
            format!(
                "ANALYZE {}; autovacuum should have done it: see that it is on and has workers",
                stale.join(", ")
            ),
        );
    }
    Finding::ok(
        NAME,
        "every large table was analyzed, and not long ago for its changes",
    )
}

fn dead_rows(tables: &[TableFacts]) -> Finding {
    const NAME: &str = "tables.dead_rows";
    let percent = |table: &TableFacts| {
        table.dead_rows.saturating_mul(100) / (table.dead_rows + table.live_rows).max(1)
    };
    let worst = tables
        .iter()
        .filter(|table| table.dead_rows >= SMALL_ROWS)
        .max_by_key(|table| percent(table));
    let dead: i64 = tables.iter().map(|table| table.dead_rows).sum();
    let live: i64 = tables.iter().map(|table| table.live_rows).sum();
    match worst.filter(|table| percent(table) >= DEAD_PERCENT) {
        None => Finding::ok(
            NAME,
            format!("about {} beside {} that live", count(dead), count(live)),
        ),
        Some(table) => {
            let vacuumed = match table.vacuumed_s {
                Some(age) => format!("vacuumed {} ago", span(age)),
                None => "never vacuumed since statistics are kept".into(),
            };
            Finding::warning(
                NAME,
                format!(
                    "{}: about {} of {} row versions are dead ({} %), {vacuumed}",
                    table.name,
                    count(table.dead_rows),
                    count(table.dead_rows + table.live_rows),
                    percent(table)
                ),
                format!(
                    "VACUUM (VERBOSE, ANALYZE) {}; if rows are «dead but not yet removable», an old transaction, a \
                     prepared one or a replication slot keeps them",
                    table.name
                ),
            )
        }
    }
}

fn transaction_ids(facts: &TransactionIdFacts) -> Finding {
    const NAME: &str = "tables.transaction_ids";
    let age = facts.xid_age.max(facts.multixact_age);
    let found = format!(
        "the oldest transaction that is not frozen is {} behind (database {}), multixacts {}; PostgreSQL stops at \
         2,100,000,000",
        count(facts.xid_age),
        facts.database,
        count(facts.multixact_age)
    );
    let advice = format!(
        "connect to the database {} and VACUUM (FREEZE) what SELECT relname, age(relfrozenxid) FROM pg_class WHERE relkind = \
         'r' ORDER BY 2 DESC names first; see that no old transaction, prepared one or replication slot keeps it from that",
        facts.database
    );
    match age {
        AGE_PROBLEM.. => Finding::problem(NAME, found, advice),
        AGE_WARNING.. => Finding::warning(NAME, found, advice),
        _ => Finding::ok(NAME, found),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::doctor::finding::FindingState;

    fn table() -> TableFacts {
        TableFacts {
            name: "entry".into(),
            live_rows: 100_000,
            is_analyzed: true,
            has_autovacuum: true,
            pages_bytes: 10 << 20,
            ..TableFacts::default()
        }
    }

    #[test]
    fn tables_that_are_not_kept_are_named() {
        let good = [table()];
        for found in [autovacuum(&good), statistics(&good), dead_rows(&good)] {
            assert_eq!(found.state, FindingState::Ok, "{found:?}");
        }
        let mut bad = table();
        bad.has_autovacuum = false;
        bad.is_analyzed = false;
        bad.dead_rows = 100_000;
        bad.vacuumed_s = Some(7_200.0);
        let bad = [bad];
        assert_eq!(autovacuum(&bad).state, FindingState::Problem);
        let found = statistics(&bad);
        assert_eq!(found.advice.as_deref(), Some("ANALYZE entry"));
        let found = dead_rows(&bad);
        assert_eq!(found.state, FindingState::Warning);
        assert!(
            found.found.contains("(50 %), vacuumed 2 h 0 min ago"),
            "{found:?}"
        );
    }

    #[test]
    fn small_tables_are_left_alone() {
        let mut small = table();
        small.live_rows = 10;
        small.dead_rows = 1_000;
        small.pages_bytes = 8_192;
        small.is_analyzed = false;
        let small = [small];
        assert_eq!(statistics(&small).state, FindingState::Ok);
        assert_eq!(dead_rows(&small).state, FindingState::Ok);
    }

    #[test]
    fn statistics_grow_old_with_changes() {
        let mut changed = table();
        changed.changed_rows = 60_000;
        assert_eq!(statistics(&[changed]).state, FindingState::Warning);
    }

    #[test]
    fn numbers_of_transactions_run_out() {
        let of = |xid_age, multixact_age| {
            let database = "d".into();
            transaction_ids(&TransactionIdFacts {
                database,
                xid_age,
                multixact_age,
            })
            .state
        };
        assert_eq!(of(200_000_000, 0), FindingState::Ok);
        assert_eq!(of(600_000_000, 0), FindingState::Warning);
        assert_eq!(of(0, 1_600_000_000), FindingState::Problem);
    }
}
