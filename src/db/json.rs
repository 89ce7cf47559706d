//! Reading of `jsonb` columns.

use std::fmt::Debug;

use diesel::deserialize::{self, FromSql, FromSqlRow};
use diesel::pg::{Pg, PgValue};
use diesel::sql_types::Jsonb;
use serde::de::DeserializeOwned;

/// The value of a `jsonb` column, deserialised from its text without an intermediate `serde_json::Value`.
#[derive(Debug, FromSqlRow)]
pub(crate) struct Parsed<T: Debug>(pub(crate) T);

impl<T: DeserializeOwned + Debug> FromSql<Jsonb, Pg> for Parsed<T> {
    fn from_sql(value: PgValue<'_>) -> deserialize::Result<Self> {
        // The binary format is a version byte, which is 1, and the JSON text.
        match value.as_bytes() {
            [1, text @ ..] => Ok(Self(serde_json::from_slice(text)?)),
            _ => Err("jsonb: the version of its binary format is not 1".into()),
        }
    }
}
