//! Reads what partitions a table has, and what its DEFAULT partition holds.

use tokio_postgres::{Client, Row};

use crate::db::partitions::counts::{CHECK, with_bounds};
use crate::db::partitions::key::{KeyBound, KeyKind};
use crate::db::partitions::plan::{DefaultRows, PartitionRules, end_of_wanted};
use crate::types::time::Time;

/// A partitioned table, as the catalogs describe it.
#[derive(Clone, Debug)]
pub(super) struct PartitionedTable {
    pub(super) name: String,
    /// The schema, quoted where SQL needs it.
    pub(super) schema: String,
    /// The column that it is partitioned by, quoted likewise.
    pub(super) key: String,
    pub(super) kind: KeyKind,
    /// The name of the DEFAULT partition, quoted likewise; `None` if there is none.
    pub(super) default: Option<String>,
    /// Where the last of the other partitions ends; `None` if there is no other.
    pub(super) last: Option<KeyBound>,
    /// Whether one of them has no upper bound. Then nothing can be made ahead.
    pub(super) is_endless: bool,
    /// Whether the DEFAULT partition has a check that an interrupted run has left.
    pub(super) has_check: bool,
    pub(super) default_bytes: i64,
    /// The time by the database's clock.
    pub(super) now: Time,
}

impl PartitionedTable {
    /// All of them, in the order of their names.
    pub(super) async fn all(client: &Client) -> Result<Vec<Self>, tokio_postgres::Error> {
        let sql = with_bounds(&format!(
            "SELECT t.name, t.schema, t.key, t.is_id, quote_ident(d.relname), last.upper, last.upper_micros,
                    EXISTS (SELECT FROM bounds b WHERE b.table_id = t.table_id AND b.upper IS NULL),
                    EXISTS (SELECT FROM pg_constraint WHERE conrelid = t.default_id AND conname = '{CHECK}'),
                    coalesce(pg_relation_size(nullif(t.default_id, 0)), 0),
                    (extract(epoch FROM statement_timestamp()) * 1000000)::int8
               FROM of_table t
               LEFT JOIN pg_class d ON d.oid = t.default_id
               LEFT JOIN LATERAL (
                    SELECT b.upper, b.upper_micros FROM bounds b
                     WHERE b.table_id = t.table_id AND b.upper IS NOT NULL ORDER BY b.upper_micros DESC, b.upper DESC LIMIT 1
               ) last ON true
              ORDER BY t.name"
        ));
        let rows = client.query(&sql, &[]).await?;
        Ok(rows.iter().map(Self::read).collect())
    }

    fn read(row: &Row) -> Self {
        let time = |micros: i64| Time::from_micros(micros).unwrap_or(Time::MAX);
        let upper: Option<String> = row.get(5);
        let last = upper.zip(row.get::<_, Option<i64>>(6));
        Self {
            name: row.get(0),
            schema: row.get(1),
            key: row.get(2),
            kind: if row.get(3) {
                KeyKind::Id
            } else {
                KeyKind::Time
            },
            default: row.get(4),
            last: last.map(|(literal, micros)| KeyBound {
                at: time(micros),
                literal,
            }),
            is_endless: row.get(7),
            has_check: row.get(8),
            default_bytes: row.get(9),
            now: time(row.get(10)),
        }
    }

    /// The table's name with its schema.
    pub(super) fn path(&self) -> String {
        self.in_schema(&self.name)
    }

    /// A name in the table's schema; it must be quoted where SQL needs it.
    pub(super) fn in_schema(&self, name: &str) -> String {
        format!("{}.{name}", self.schema)
    }

    /// The bound of this time: the end of the last partition as it stands, or a new one.
    pub(super) fn bound(&self, at: Time) -> KeyBound {
        let last = self.last.as_ref().filter(|last| last.at == at);
        last.cloned().unwrap_or_else(|| self.kind.bound_at(at))
    }

    /// What the DEFAULT partition holds. Reads all of its rows: there is no index that begins with the key.
    pub(super) async fn default_rows(
        &self,
        client: &Client,
        rules: PartitionRules,
    ) -> Result<DefaultRows, tokio_postgres::Error> {
        let Some(default) = self.default.as_ref().filter(|_| self.default_bytes > 0) else {
            return Ok(DefaultRows::default());
        };
        let (kind, key) = (self.kind, &self.key);
        let target = kind.bound_at(end_of_wanted(self.now, rules)).literal;
        let mut wanted = format!("{key} < '{target}'");
        if let Some(last) = &self.last {
            wanted = format!("{key} >= '{}' AND {wanted}", last.literal);
        }
        let sql = format!(
            "SELECT {}, {}, coalesce(bool_or(NOT is_wanted), false)
               FROM (SELECT {} AS key, {wanted} AS is_wanted FROM {}) held",
            kind.shown("min(key) FILTER (WHERE is_wanted)"),
            kind.shown("max(key) FILTER (WHERE is_wanted)"),
            kind.comparable(key),
            self.in_schema(default)
        );
        let row = client.query_one(&sql, &[]).await?;
        let time = |index| {
            let shown: Option<&str> = row.get(index);
            shown.and_then(|shown| kind.time_of(shown))
        };
        Ok(DefaultRows {
            wanted: time(0).zip(time(1)),
            has_others: row.get(2),
            bytes: self.default_bytes,
        })
    }
}
