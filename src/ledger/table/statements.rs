//! The statements that descriptions make.

use std::marker::PhantomData;

use tokio_postgres::{Client, Row, Statement};

use super::description::{Arrays, Column, Described, SqlType, columns_of, select_list};
use crate::ledger::store_error::{PgResult, StoreError};
use crate::trace;

/// `unnest($1::uuid[], …) n(owner_id, …)` over these columns.
fn unnest(columns: &[Column], alias: &str) -> String {
    let arrays: Vec<String> = columns
        .iter()
        .enumerate()
        .map(|(index, column)| format!("${}::{}", index + 1, column.sql_type.array_name()))
        .collect();
    format!(
        "unnest({}) {alias}({})",
        arrays.join(", "),
        names(columns, "")
    )
}

fn names(columns: &[Column], prefix: &str) -> String {
    let names: Vec<String> = columns
        .iter()
        .map(|column| format!("{prefix}{}", column.name))
        .collect();
    names.join(", ")
}

/// Inserts records into a table. Their owners exist: the transaction holds the locks of the owners' rows.
pub(in crate::ledger) struct Insert<R> {
    table: &'static str,
    statement: Statement,
    columns: Vec<Column>,
    record: PhantomData<fn(&R)>,
}

impl<R: Described> Insert<R> {
    /// Prepares the statement for this table.
    pub(in crate::ledger) async fn prepare(client: &Client, table: &'static str) -> PgResult<Self> {
        let columns = columns_of::<R>();
        let statement = client.prepare(&insert_text(table, &columns)).await?;
        Ok(Self {
            table,
            statement,
            columns,
            record: PhantomData,
        })
    }

    /// Sends the records, if there are any, and compares the number of rows written with theirs.
    ///
    /// # Errors
    /// The statement's; a number of rows that differs.
    pub(in crate::ledger) async fn execute(
        &self,
        client: &Client,
        records: &[&R],
    ) -> Result<(), StoreError> {
        let all = self.columns.iter().map(|_| true);
        let arrays = Arrays::of(&self.columns, all, records);
        let what = ("INSERT", self.table);
        execute(client, &self.statement, what, &arrays, records.len()).await
    }
}

fn insert_text(table: &str, columns: &[Column]) -> String {
    let selected: Vec<String> = columns
        .iter()
        .map(|Column { name, sql_type }| match sql_type {
            SqlType::Json => format!("n.{name}::jsonb"),
            _ => format!("n.{name}"),
        })
        .collect();
    format!(
        "INSERT INTO {table} ({}) SELECT {} FROM {}",
        names(columns, ""),
        selected.join(", "),
        unnest(columns, "n")
    )
}

/// Updates some columns of stored records, and of none but those that a condition lets through: a second check
/// behind the owner's lock.
pub(in crate::ledger) struct Update<R> {
    table: &'static str,
    statement: Statement,
    columns: Vec<Column>,
    /// For each column of the description, whether the statement takes it.
    is_taken: Vec<bool>,
    record: PhantomData<fn(&R)>,
}

/// What an [`Update`] takes of a record.
#[derive(Clone, Copy, Debug)]
pub(in crate::ledger) struct UpdateShape {
    /// The table to update.
    pub(in crate::ledger) table: &'static str,
    /// The columns that find the row.
    pub(in crate::ledger) keys: &'static [&'static str],
    /// The columns that are set.
    pub(in crate::ledger) set: &'static [&'static str],
    /// Columns that only the condition takes.
    pub(in crate::ledger) compared: &'static [&'static str],
    /// What must hold of the stored row `t`, given the record's columns `n`.
    pub(in crate::ledger) condition: &'static str,
    /// Whether other indexes of the table begin with columns of the key, too.
    pub(in crate::ledger) has_other_indexes: bool,
}

impl<R: Described> Update<R> {
    /// Prepares the statement of this shape.
    pub(in crate::ledger) async fn prepare(client: &Client, shape: UpdateShape) -> PgResult<Self> {
        let all = columns_of::<R>();
        let is_taken: Vec<bool> = all
            .iter()
            .map(|column| {
                [shape.keys, shape.set, shape.compared]
                    .iter()
                    .any(|names| names.contains(&column.name))
            })
            .collect();
        let taken = all.iter().zip(&is_taken).filter(|(_, taken)| **taken);
        let columns: Vec<Column> = taken.map(|(column, _)| *column).collect();
        let statement = client.prepare(&update_text(shape, &columns)).await?;
        Ok(Self {
            table: shape.table,
            statement,
            columns: all,
            is_taken,
            record: PhantomData,
        })
    }

    /// Sends the records, if there are any, and compares the number of rows changed with theirs.
    ///
    /// # Errors
    /// The statement's; a number of rows that differs.
    pub(in crate::ledger) async fn execute(
        &self,
        client: &Client,
        records: &[&R],
    ) -> Result<(), StoreError> {
        let arrays = Arrays::of(&self.columns, self.is_taken.iter().copied(), records);
        let what = ("UPDATE", self.table);
        execute(client, &self.statement, what, &arrays, records.len()).await
    }
}

fn update_text(shape: UpdateShape, columns: &[Column]) -> String {
    let set: Vec<String> = shape
        .set
        .iter()
        .map(|name| format!("{name} = n.{name}"))
        .collect();
    let (table, set, given) = (shape.table, set.join(", "), unnest(columns, "n"));
    let condition = shape.condition;
    if shape.has_other_indexes {
        let first = first_by_key(table, shape.keys, "n", "t.ctid");
        return format!(
            "UPDATE {table} t SET {set} FROM {given} CROSS JOIN LATERAL ({first}) stored \
             WHERE t.ctid = stored.ctid AND {condition}"
        );
    }
    let keys: Vec<String> = shape
        .keys
        .iter()
        .map(|name| format!("t.{name} = n.{name}"))
        .collect();
    let keys = keys.join(" AND ");
    format!("UPDATE {table} t SET {set} FROM {given} WHERE {keys} AND {condition}")
}

/// Moves stored records from one table to another that has the same columns, and sets some of them on the way.
pub(in crate::ledger) struct Move<R> {
    table: &'static str,
    statement: Statement,
    columns: Vec<Column>,
    /// For each column of the description, whether the statement takes it.
    is_taken: Vec<bool>,
    record: PhantomData<fn(&R)>,
}

/// What a [`Move`] takes of a record.
#[derive(Clone, Copy, Debug)]
pub(in crate::ledger) struct MoveShape {
    /// The table that has the rows.
    pub(in crate::ledger) from: &'static str,
    /// The table that gets them.
    pub(in crate::ledger) to: &'static str,
    /// The columns that find the row.
    pub(in crate::ledger) keys: &'static [&'static str],
    /// The columns that are set.
    pub(in crate::ledger) set: &'static [&'static str],
}

impl<R: Described> Move<R> {
    /// Prepares the statement of this shape.
    pub(in crate::ledger) async fn prepare(client: &Client, shape: MoveShape) -> PgResult<Self> {
        let columns = columns_of::<R>();
        let is_taken = columns
            .iter()
            .map(|column| shape.keys.contains(&column.name) || shape.set.contains(&column.name))
            .collect();
        let statement = client.prepare(&move_text(shape, &columns)).await?;
        Ok(Self {
            table: shape.to,
            statement,
            columns,
            is_taken,
            record: PhantomData,
        })
    }

    /// Sends the records, if there are any, and compares the number of rows moved with theirs.
    ///
    /// # Errors
    /// The statement's; a number of rows that differs.
    pub(in crate::ledger) async fn execute(
        &self,
        client: &Client,
        records: &[&R],
    ) -> Result<(), StoreError> {
        let arrays = Arrays::of(&self.columns, self.is_taken.iter().copied(), records);
        let what = ("INSERT", self.table);
        execute(client, &self.statement, what, &arrays, records.len()).await
    }
}

/// One statement, so that what is not given need not be sent: the columns that stay come from the deleted rows.
fn move_text(shape: MoveShape, columns: &[Column]) -> String {
    let is_set = |column: &&Column| shape.set.contains(&column.name);
    let taken: Vec<Column> = columns
        .iter()
        .filter(|column| shape.keys.contains(&column.name) || is_set(column))
        .copied()
        .collect();
    let moved: Vec<String> = columns
        .iter()
        .map(|column| match is_set(&column) {
            true => format!("n.{}", column.name),
            false => format!("t.{}", column.name),
        })
        .collect();
    let MoveShape { from, to, keys, .. } = shape;
    format!(
        "WITH moved AS (DELETE FROM {from} t USING {given} CROSS JOIN LATERAL ({first}) stored \
         WHERE t.ctid = stored.ctid RETURNING {moved}) \
         INSERT INTO {to} ({names}) SELECT {names} FROM moved",
        given = unnest(&taken, "n"),
        first = first_by_key(from, keys, "n", "t.ctid"),
        moved = moved.join(", "),
        names = names(columns, ""),
    )
}

async fn execute(
    client: &Client,
    statement: &Statement,
    (operation, table): (&'static str, &'static str),
    arrays: &Arrays<'_>,
    sent: usize,
) -> Result<(), StoreError> {
    if sent == 0 {
        return Ok(());
    }
    let parameters = arrays.parameters();
    let sending = client.execute(statement, &parameters);
    let written = trace::statement(operation, table, sending).await?;
    if usize::try_from(written) == Ok(sent) {
        Ok(())
    } else {
        Err(StoreError::RowCount {
            table,
            sent,
            written,
        })
    }
}

/// Selects the record of a table `t` that has the key of the row `given`: in the order of the key's last column, of which a
/// range is asked for that has one value.
///
/// The order is what leads the planner to the index of the key. The statement is planned once, perhaps while the table has
/// few rows, or few of each owner. Then it costs as little to read all rows of an owner by another index of the table, and
/// a plan that does so would become slower with each row. Sorting is off in the sessions that use this (see
/// [`crate::db::connect`]), so the index must have the order, and none but the key's has it.
fn first_by_key(table: &str, key: &[&str], given: &str, selected: &str) -> String {
    let (last, others) = key.split_last().expect("a key has a column");
    let others: String = others
        .iter()
        .map(|name| format!("t.{name} = {given}.{name} AND "))
        .collect();
    format!(
        "SELECT {selected} FROM {table} t \
         WHERE {others}t.{last} >= {given}.{last} AND t.{last} <= {given}.{last} ORDER BY t.{last} LIMIT 1"
    )
}

/// Reads the records of a table that have one of many keys.
pub(in crate::ledger) struct Lookup<K> {
    table: &'static str,
    statement: Statement,
    columns: Vec<Column>,
    key: PhantomData<fn(&K)>,
}

impl<K: Described> Lookup<K> {
    /// Prepares the statement that reads these records by the key's columns, which the table has under the same names.
    pub(in crate::ledger) async fn prepare<R: Described>(
        client: &Client,
        table: &'static str,
    ) -> PgResult<Self> {
        Self::prepare_select(client, &select_list::<R>("t"), table, "").await
    }

    /// The same with other things selected: from the table, as `t`, and what is joined to it.
    pub(in crate::ledger) async fn prepare_select(
        client: &Client,
        selected: &str,
        table: &'static str,
        joined: &str,
    ) -> PgResult<Self> {
        let columns = columns_of::<K>();
        let key: Vec<&str> = columns.iter().map(|column| column.name).collect();
        let first = first_by_key(table, &key, "k", "*");
        let text = format!(
            "SELECT {selected} FROM {} CROSS JOIN LATERAL ({first}) t {joined}",
            unnest(&columns, "k")
        );
        let statement = client.prepare(&text).await?;
        Ok(Self {
            table,
            statement,
            columns,
            key: PhantomData,
        })
    }

    /// Sends the keys, if there are any.
    ///
    /// # Errors
    /// The error of the statement.
    pub(in crate::ledger) async fn query<'a>(
        &self,
        client: &Client,
        keys: impl IntoIterator<Item = &'a K>,
    ) -> PgResult<Vec<Row>>
    where
        K: 'a,
    {
        let keys: Vec<&K> = keys.into_iter().collect();
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let all = self.columns.iter().map(|_| true);
        let arrays = Arrays::of(&self.columns, all, &keys);
        let parameters = arrays.parameters();
        let sending = client.query(&self.statement, &parameters);
        trace::statement("SELECT", self.table, sending).await
    }
}

#[cfg(test)]
mod tests;
