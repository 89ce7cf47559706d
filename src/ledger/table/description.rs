//! Descriptions of records, and the arrays that carry the rows of a batch: one array for each column, with an element for
//! each row.

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use crate::ledger::store_error::StoreError;

/// A row as the driver gives it.
pub(in crate::ledger) use tokio_postgres::Row;

/// The SQL type of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::ledger) enum SqlType {
    /// The SQL type `uuid`.
    Uuid,
    /// The SQL type `text`.
    Text,
    /// `jsonb`, sent and read as text.
    Json,
    /// The SQL type `numeric`.
    Numeric,
    /// The SQL type `bigint`.
    BigInt,
    /// The SQL type `timestamptz`.
    Timestamptz,
    /// The SQL type `bytea`.
    Bytea,
}

impl SqlType {
    /// The type of the arrays that carry the column.
    pub(super) const fn array_name(self) -> &'static str {
        match self {
            Self::Uuid => "uuid[]",
            Self::Text | Self::Json => "text[]",
            Self::Numeric => "numeric[]",
            Self::BigInt => "bigint[]",
            Self::Timestamptz => "timestamptz[]",
            Self::Bytea => "bytea[]",
        }
    }
}

/// A value that fills one or more columns.
pub(in crate::ledger) trait Stored: Sized {
    /// The types of its columns.
    const TYPES: &'static [SqlType];

    /// Appends the value to the arrays of its columns.
    fn push<'a>(&'a self, arrays: &mut Arrays<'a>);

    /// Reads the value from its columns, the first of which is at `position`, and moves `position` past them.
    ///
    /// # Errors
    /// A column holds what this version does not write.
    fn read(row: &Row, position: &mut usize) -> Result<Self, StoreError>;
}

/// A column of a description.
#[derive(Clone, Copy, Debug)]
pub(in crate::ledger) struct Column {
    /// The column's name in the database.
    pub(in crate::ledger) name: &'static str,
    /// The column's type in the database.
    pub(in crate::ledger) sql_type: SqlType,
}

/// A record whose columns are described; the macro `columns!` implements it.
pub(in crate::ledger) trait Described: Sized {
    /// Appends the columns in the order of the description.
    fn columns(list: &mut Vec<Column>);

    /// Appends the record's values to the arrays of its columns.
    fn push<'a>(&'a self, arrays: &mut Arrays<'a>);

    /// Reads the record from its columns, the first of which is at `position`, and moves `position` past them.
    ///
    /// # Errors
    /// A column holds what this version does not write.
    fn read(row: &Row, position: &mut usize) -> Result<Self, StoreError>;
}

/// Describes a record: for each field either the names of its columns, or `{ nested }` for a field that has a
/// description of its own.
macro_rules! columns {
    ($record:ident { $($field:ident: $columns:tt;)+ }) => {
        impl $crate::ledger::table::description::Described for $record {
            fn columns(list: &mut Vec<$crate::ledger::table::description::Column>) {
                $($crate::ledger::table::description::columns!(@list $record, $field, $columns, list);)+
            }

            fn push<'a>(&'a self, arrays: &mut $crate::ledger::table::description::Arrays<'a>) {
                $($crate::ledger::table::description::columns!(@push $columns, &self.$field, arrays);)+
            }

            fn read(
                row: &tokio_postgres::Row,
                position: &mut usize,
            ) -> Result<Self, $crate::ledger::store_error::StoreError> {
                Ok(Self {
                    $($field: $crate::ledger::table::description::columns!(@read $columns, row, position),)+
                })
            }
        }
    };
    (@list $record:ident, $field:ident, { nested }, $list:ident) => {
        $crate::ledger::table::description::list_nested($list, |record: &$record| &record.$field)
    };
    (@list $record:ident, $field:ident, [$($name:literal),+], $list:ident) => {
        $crate::ledger::table::description::list_columns($list, &[$($name),+], |record: &$record| &record.$field)
    };
    (@push { nested }, $value:expr, $arrays:ident) => {
        $crate::ledger::table::description::Described::push($value, $arrays)
    };
    (@push [$($name:literal),+], $value:expr, $arrays:ident) => {
        $crate::ledger::table::description::Stored::push($value, $arrays)
    };
    (@read { nested }, $row:ident, $position:ident) => {
        $crate::ledger::table::description::Described::read($row, $position)?
    };
    (@read [$($name:literal),+], $row:ident, $position:ident) => {
        $crate::ledger::table::description::Stored::read($row, $position)?
    };
}

pub(in crate::ledger) use columns;

/// Appends the columns of a field; the accessor only names its type.
pub(in crate::ledger) fn list_columns<R, T: Stored>(
    list: &mut Vec<Column>,
    names: &[&'static str],
    _: fn(&R) -> &T,
) {
    assert_eq!(names.len(), T::TYPES.len(), "columns of {names:?}");
    let columns = names.iter().zip(T::TYPES);
    list.extend(columns.map(|(name, sql_type)| Column {
        name,
        sql_type: *sql_type,
    }));
}

/// Appends the columns of a field that has a description; the accessor only names its type.
pub(in crate::ledger) fn list_nested<R, T: Described>(list: &mut Vec<Column>, _: fn(&R) -> &T) {
    T::columns(list);
}

pub(super) fn columns_of<R: Described>() -> Vec<Column> {
    let mut columns = Vec::new();
    R::columns(&mut columns);
    columns
}

/// The list for SELECT of a described record's columns, of the table with this alias.
pub(in crate::ledger) fn select_list<R: Described>(alias: &str) -> String {
    let columns = columns_of::<R>().into_iter();
    let columns: Vec<String> = columns
        .map(|Column { name, sql_type }| match sql_type {
            SqlType::Json => format!("{alias}.{name}::text"),
            _ => format!("{alias}.{name}"),
        })
        .collect();
    columns.join(", ")
}

/// The record that a row begins with.
///
/// # Errors
/// A column holds what this version does not write.
pub(in crate::ledger) fn read_first<R: Described>(row: &Row) -> Result<R, StoreError> {
    R::read(row, &mut 0)
}

/// The values of one column.
enum ArrayOf<'a> {
    Uuid(Vec<Option<Uuid>>),
    Text(Vec<Option<&'a str>>),
    Numeric(Vec<Option<Decimal>>),
    BigInt(Vec<Option<i64>>),
    Timestamptz(Vec<Option<DateTime<Utc>>>),
    Bytea(Vec<Option<&'a [u8]>>),
    /// The statement does not take this column.
    Skipped,
}

impl ArrayOf<'_> {
    fn new(sql_type: SqlType, rows: usize) -> Self {
        match sql_type {
            SqlType::Uuid => Self::Uuid(Vec::with_capacity(rows)),
            SqlType::Text | SqlType::Json => Self::Text(Vec::with_capacity(rows)),
            SqlType::Numeric => Self::Numeric(Vec::with_capacity(rows)),
            SqlType::BigInt => Self::BigInt(Vec::with_capacity(rows)),
            SqlType::Timestamptz => Self::Timestamptz(Vec::with_capacity(rows)),
            SqlType::Bytea => Self::Bytea(Vec::with_capacity(rows)),
        }
    }

    fn parameter(&self) -> Option<&(dyn ToSql + Sync)> {
        match self {
            Self::Uuid(values) => Some(values),
            Self::Text(values) => Some(values),
            Self::Numeric(values) => Some(values),
            Self::BigInt(values) => Some(values),
            Self::Timestamptz(values) => Some(values),
            Self::Bytea(values) => Some(values),
            Self::Skipped => None,
        }
    }
}

/// The arrays of a statement. Each record appends one element to each of them, column by column.
pub(in crate::ledger) struct Arrays<'a> {
    arrays: Vec<ArrayOf<'a>>,
    /// The column that the next value belongs to.
    next: usize,
}

macro_rules! push {
    ($($(#[$doc:meta])* $name:ident($variant:ident: $value:ty);)+) => {$(
        $(#[$doc])*
        pub(in crate::ledger) fn $name(&mut self, value: Option<$value>) {
            match &mut self.arrays[self.next] {
                ArrayOf::$variant(values) => values.push(value),
                ArrayOf::Skipped => {}
                _ => unreachable!("a value is of its column's type"),
            }
            self.next += 1;
        }
    )+};
}

impl<'a> Arrays<'a> {
    /// The arrays of these columns that hold these records; a column that is not taken has none.
    pub(super) fn of<R: Described>(
        columns: &[Column],
        is_taken: impl Iterator<Item = bool>,
        records: &[&'a R],
    ) -> Self {
        let arrays = columns.iter().zip(is_taken).map(|(column, is_taken)| {
            if is_taken {
                ArrayOf::new(column.sql_type, records.len())
            } else {
                ArrayOf::Skipped
            }
        });
        let mut arrays = Self {
            arrays: arrays.collect(),
            next: 0,
        };
        for record in records {
            arrays.next = 0;
            record.push(&mut arrays);
        }
        arrays
    }

    /// The statement's parameters, in the order of the columns that it takes.
    pub(super) fn parameters(&self) -> Vec<&(dyn ToSql + Sync)> {
        self.arrays.iter().filter_map(ArrayOf::parameter).collect()
    }

    push! {
        /// Appends to a `uuid` column.
        uuid(Uuid: Uuid);
        /// Appends to a `text` or `jsonb` column.
        text(Text: &'a str);
        /// Appends to a `numeric` column.
        numeric(Numeric: Decimal);
        /// Appends to a `bigint` column.
        big_int(BigInt: i64);
        /// Appends to a `timestamptz` column.
        timestamptz(Timestamptz: DateTime<Utc>);
        /// Appends to a `bytea` column.
        bytea(Bytea: &'a [u8]);
    }
}
