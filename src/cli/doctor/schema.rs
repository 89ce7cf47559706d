//! The schema: migrations, indexes, statistics targets, partitions, and what the role may do with the tables.

use crate::cli::doctor::finding::Finding;
use crate::cli::doctor::looks::Looks;
use crate::cli::doctor::words::{bytes, counted, first_few};
use crate::db::inspect::tables::{self, InvalidIndex, MigrationFacts, STATISTICS_TARGET};
use crate::db::inspect::{partitions, server};
use crate::db::partitions::counts::PartitionCounts;
use crate::db::roles::RolePower;
use crate::limits::PARTITIONS_AHEAD_MIN;

pub(super) async fn all(looks: &mut Looks) {
    looks
        .add("schema.migrations", tables::migrations, migrations)
        .await;
    if let Some(power) = looks.ask("role.privileges", server::role_power).await {
        looks.push(privileges(&power));
        looks.push(limits(&power));
    }
    looks
        .add("schema.indexes", tables::invalid_indexes, |found| {
            indexes(&found)
        })
        .await;
    looks
        .add(
            "schema.statistics_targets",
            tables::statistics_targets,
            |found| statistics_targets(&found),
        )
        .await;
    looks
        .add("schema.partitions", partitions::partitions, |found| {
            partitions_ahead(&found)
        })
        .await;
}

fn migrations(facts: MigrationFacts) -> Finding {
    const NAME: &str = "schema.migrations";
    let MigrationFacts {
        applied,
        newest,
        lacking,
        unknown,
    } = facts;
    if !lacking.is_empty() {
        return Finding::problem(
            NAME,
            format!(
                "{} of {} are missing: {}; calls end with SCHEMA_OUTDATED",
                lacking.len(),
                lacking.len() + applied - unknown.len(),
                first_few(&lacking)
            ),
            "run `earmark migrate --grant <role>` as the owner of the tables, with this version of the program or a newer one",
        );
    }
    let newest = newest.unwrap_or_default();
    if !unknown.is_empty() {
        return Finding::warning(
            NAME,
            format!(
                "all of this version, and {} of a newer one: {}",
                unknown.len(),
                first_few(&unknown)
            ),
            "a server of this version works with it: replace it by the newer version soon",
        );
    }
    Finding::ok(NAME, format!("all {applied}, up to {newest}"))
}

fn privileges(power: &RolePower) -> Finding {
    const NAME: &str = "role.privileges";
    if !power.sees_tables {
        return Finding::problem(
            NAME,
            "the tables are not there, or the role may not use their schema",
            "run `earmark migrate --grant <role>` as the owner of the tables",
        );
    }
    if power.missing.is_empty() {
        return Finding::ok(NAME, "the role may do all that a server needs");
    }
    Finding::problem(
        NAME,
        format!("the role lacks {}", first_few(&power.missing)),
        "run `earmark migrate --grant <role>` as the owner of the tables",
    )
}

fn limits(power: &RolePower) -> Finding {
    const NAME: &str = "role.limits";
    let advice = "serve as another role: CREATE ROLE earmark_server LOGIN PASSWORD '…', then `earmark migrate --grant \
                  earmark_server`";
    match power.unlimited {
        Some(why) => Finding::warning(
            NAME,
            format!("the role {why}: it can rewrite the journal and change the schema"),
            advice,
        ),
        None if power.exceeding.is_empty() => Finding::ok(
            NAME,
            "the role cannot rewrite the journal or change the schema",
        ),
        None => Finding::warning(
            NAME,
            format!(
                "the role has more than a server needs: {}",
                first_few(&power.exceeding)
            ),
            "run `earmark migrate --grant <role>`, which revokes it; what it has from PUBLIC or another role \
             is to be revoked there",
        ),
    }
}

fn indexes(invalid: &[InvalidIndex]) -> Finding {
    const NAME: &str = "schema.indexes";
    let (building, left): (Vec<&InvalidIndex>, Vec<&InvalidIndex>) =
        invalid.iter().partition(|index| index.is_being_built);
    let names = |indexes: &[&InvalidIndex]| {
        let names = indexes
            .iter()
            .map(|index| format!("{} on {}", index.name, index.table));
        first_few(&names.collect::<Vec<_>>())
    };
    if let Some(first) = left.first() {
        return Finding::problem(
            NAME,
            format!("invalid and therefore not used: {}", names(&left)),
            format!(
                "run `earmark migrate` if migrations are missing, which drops and makes it anew; else REINDEX INDEX \
                 CONCURRENTLY {0}, or, if its name ends in _ccnew or _ccold, DROP INDEX CONCURRENTLY {0}",
                first.name
            ),
        );
    }
    if !building.is_empty() {
        return Finding::warning(
            NAME,
            format!("being built at the moment: {}", names(&building)),
            "wait until it is built: SELECT * FROM pg_stat_progress_create_index",
        );
    }
    Finding::ok(NAME, "all are valid")
}

fn statistics_targets(others: &[String]) -> Finding {
    const NAME: &str = "schema.statistics_targets";
    let Some(first) = others.first() else {
        return Finding::ok(
            NAME,
            format!(
                "{STATISTICS_TARGET} for all columns of the tables that grow, as migrations set it"
            ),
        );
    };
    let (table, column) = first.split_once('.').unwrap_or((first, ""));
    Finding::warning(
        NAME,
        format!(
            "not {STATISTICS_TARGET}, as migrations set it, for {}: {}",
            counted(i64::try_from(others.len()).unwrap_or(i64::MAX), "column"),
            first_few(others)
        ),
        format!(
            "each ANALYZE of these tables reads more rows than it should, while calls wait: ALTER TABLE {table} ALTER COLUMN \
             {column} SET STATISTICS {STATISTICS_TARGET} (of an index: ALTER INDEX … ALTER COLUMN NUMBER)"
        ),
    )
}

fn partitions_ahead(tables: &[PartitionCounts]) -> Finding {
    const NAME: &str = "schema.partitions";
    if tables.is_empty() {
        return Finding::ok(NAME, "no table has any");
    }
    let ahead = tables.iter().map(|it| match it.default_bytes {
        0 => format!("{} ahead for {}", it.ahead, it.table),
        size => format!(
            "{} ahead for {} ({} in the DEFAULT one)",
            it.ahead,
            it.table,
            bytes(size)
        ),
    });
    let found = first_few(&ahead.collect::<Vec<_>>());
    if let Some(changed) = tables.iter().find(|it| it.has_check) {
        return Finding::warning(
            NAME,
            format!(
                "{found}; the DEFAULT one of {} refuses rows of some months, because a run that makes partitions goes on or \
                     was interrupted",
                changed.table
            ),
            "run `earmark maintain` as the owner of the tables, which goes on where the other one was interrupted",
        );
    }
    let fewest = tables.iter().map(|it| it.ahead).min().unwrap_or_default();
    if fewest < i64::from(PARTITIONS_AHEAD_MIN) {
        return Finding::warning(
            NAME,
            found,
            "run `earmark maintain` every day as the owner of the tables; rows without a partition of their time go to the \
             DEFAULT one, and no call fails",
        );
    }
    Finding::ok(NAME, found)
}
