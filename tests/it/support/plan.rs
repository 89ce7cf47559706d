//! Runs the statements that a pool's only connection has prepared under EXPLAIN.

use std::collections::BTreeSet;

use diesel::sql_types::{BigInt, Text};
use diesel::{OptionalExtension, QueryableByName};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use earmark::db::pool::{self, Pool};
use serde_json::Value;
use tokio_postgres::{Client, SimpleQueryMessage};

/// A statement that a call has prepared.
#[derive(QueryableByName)]
pub(crate) struct Prepared {
    #[diesel(sql_type = Text)]
    name: String,
    #[diesel(sql_type = Text)]
    statement: String,
    #[diesel(sql_type = Text)]
    types: String,
    /// How often it was carried out with the plan that is made once for all parameters.
    #[diesel(sql_type = BigInt)]
    pub(crate) generic_plans: i64,
}

/// What a statement cost, and how it read each table.
#[derive(Debug)]
pub(crate) struct Cost {
    pub(crate) blocks: u64,
    pub(crate) millis: f64,
    pub(crate) scans: BTreeSet<String>,
}

impl Prepared {
    /// The statement of this form that was prepared last.
    pub(crate) async fn last(pool: &Pool, form: &str) -> Self {
        Self::find(pool, form).await.expect("prepared")
    }

    /// The same, if there is one yet.
    pub(crate) async fn find(pool: &Pool, form: &str) -> Option<Self> {
        let mut connection = pool::checkout(pool).await.expect("free");
        let db: &mut AsyncPgConnection = &mut connection;
        let prepared = diesel::sql_query(
            "SELECT name, statement, array_to_string(parameter_types, ',') AS types, generic_plans
               FROM pg_prepared_statements
              WHERE statement LIKE $1 ORDER BY prepare_time DESC LIMIT 1",
        );
        let prepared = prepared.bind::<Text, _>(form);
        let found = prepared.get_result(db).await.optional();
        found.expect("the view is readable")
    }

    /// What it costs with these parameters, as SQL: carried out under EXPLAIN, planned for them.
    pub(crate) async fn explain(&self, session: &Client, parameters: &str) -> Cost {
        let Prepared {
            name,
            statement,
            types,
            ..
        } = self;
        let sql = format!(
            "PREPARE \"{name}\" ({types}) AS {statement};
             EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) EXECUTE \"{name}\" ({parameters});
             DEALLOCATE \"{name}\""
        );
        let answers = session.simple_query(&sql).await.expect(&sql);
        let plan = answers.iter().find_map(|answer| match answer {
            SimpleQueryMessage::Row(row) => row.get(0),
            _ => None,
        });
        let plan: Value = serde_json::from_str(plan.expect("a plan")).expect("JSON");
        let top = &plan[0]["Plan"];
        let mut scans = BTreeSet::new();
        collect(top, &mut scans);
        let blocks = |key: &str| top[key].as_u64().expect("counted");
        Cost {
            blocks: blocks("Shared Hit Blocks") + blocks("Shared Read Blocks"),
            millis: plan[0]["Execution Time"].as_f64().expect("timed"),
            scans,
        }
    }
}

/// Every node that reads a table: how, and by which index.
fn collect(node: &Value, scans: &mut BTreeSet<String>) {
    let text = |key: &str| node[key].as_str().unwrap_or_default().to_owned();
    if !text("Relation Name").is_empty() {
        let index = text("Index Name");
        scans.insert(format!(
            "{} {} {index}",
            text("Relation Name"),
            text("Node Type")
        ));
    }
    for child in node["Plans"].as_array().into_iter().flatten() {
        collect(child, scans);
    }
}
