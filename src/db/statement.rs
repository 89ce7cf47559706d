//! Statements written as SQL text, for what diesel cannot say: recursion, LATERAL, fences that hold the planner to an
//! index. Each text is prepared once per connection and kept, so a statement has few texts; one of many is not kept.

use std::borrow::Cow;
use std::marker::PhantomData;

use chrono::{DateTime, Utc};
use diesel::pg::Pg;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::sql_types::{Array, BigInt, Bool, Nullable, Numeric, Text, Timestamptz};
use diesel::{QueryResult, sql_types};
use rust_decimal::Decimal;
use uuid::Uuid;

use crate::types::time::Time;

/// A text with its parameters, `$1` being the first; answers rows of the SQL type `Row`.
pub struct Statement<Row> {
    text: Cow<'static, str>,
    parameters: Vec<Parameter>,
    is_kept: bool,
    row: PhantomData<Row>,
}

/// A value of a parameter.
pub enum Parameter {
    /// uuid
    Id(Uuid),
    /// uuid[]
    Ids(Vec<Uuid>),
    /// text
    Text(String),
    /// text[]
    Texts(Vec<String>),
    /// bigint
    Count(i64),
    /// bigint[]
    Counts(Vec<i64>),
    /// numeric
    Decimal(Decimal),
    /// numeric[]
    Decimals(Vec<Decimal>),
    /// boolean
    Flag(bool),
    /// boolean[]
    Flags(Vec<bool>),
    /// timestamptz
    Time(DateTime<Utc>),
    /// timestamptz[]
    Times(Vec<DateTime<Utc>>),
    /// A uuid that may be NULL.
    OptionalId(Option<Uuid>),
    /// A text that may be NULL.
    OptionalText(Option<String>),
    /// A timestamptz that may be NULL.
    OptionalTime(Option<DateTime<Utc>>),
}

impl From<Time> for Parameter {
    fn from(time: Time) -> Self {
        Self::Time(time.to_chrono())
    }
}

impl From<Option<Time>> for Parameter {
    fn from(time: Option<Time>) -> Self {
        Self::OptionalTime(time.map(Time::to_chrono))
    }
}

impl<Row> Statement<Row> {
    /// A text and its parameters, in the order of their numbers.
    pub fn new(text: impl Into<Cow<'static, str>>, parameters: Vec<Parameter>) -> Self {
        Self {
            text: text.into(),
            parameters,
            is_kept: true,
            row: PhantomData,
        }
    }

    /// The same for one of texts without number: prepared for this once and closed, so that the connection's memory of
    /// statements does not grow with what callers ask.
    pub fn unkept(text: impl Into<Cow<'static, str>>, parameters: Vec<Parameter>) -> Self {
        Self {
            is_kept: false,
            ..Self::new(text, parameters)
        }
    }
}

impl<Row> QueryFragment<Pg> for Statement<Row> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        // diesel numbers parameters as it meets them: it meets all of them in this comment, so that the text can name
        // each as often as it likes.
        if !self.is_kept {
            out.unsafe_to_cache_prepared();
        }
        out.push_sql("/*");
        for parameter in &self.parameters {
            match parameter {
                Parameter::Id(id) => out.push_bind_param::<sql_types::Uuid, _>(id)?,
                Parameter::Ids(ids) => out.push_bind_param::<Array<sql_types::Uuid>, _>(ids)?,
                Parameter::Text(text) => out.push_bind_param::<Text, _>(text)?,
                Parameter::Texts(texts) => out.push_bind_param::<Array<Text>, _>(texts)?,
                Parameter::Count(count) => out.push_bind_param::<BigInt, _>(count)?,
                Parameter::Counts(counts) => out.push_bind_param::<Array<BigInt>, _>(counts)?,
                Parameter::Decimal(decimal) => out.push_bind_param::<Numeric, _>(decimal)?,
                Parameter::Decimals(decimals) => {
                    out.push_bind_param::<Array<Numeric>, _>(decimals)?;
                }
                Parameter::Flag(flag) => out.push_bind_param::<Bool, _>(flag)?,
                Parameter::Flags(flags) => out.push_bind_param::<Array<Bool>, _>(flags)?,
                Parameter::Times(times) => out.push_bind_param::<Array<Timestamptz>, _>(times)?,
                Parameter::Time(time) => out.push_bind_param::<Timestamptz, _>(time)?,
                Parameter::OptionalId(id) => {
                    out.push_bind_param::<Nullable<sql_types::Uuid>, _>(id)?;
                }
                Parameter::OptionalText(text) => {
                    out.push_bind_param::<Nullable<Text>, _>(text)?;
                }
                Parameter::OptionalTime(time) => {
                    out.push_bind_param::<Nullable<Timestamptz>, _>(time)?;
                }
            }
        }
        out.push_sql("*/ ");
        out.push_sql(&self.text);
        Ok(())
    }
}

impl<Row> Query for Statement<Row> {
    type SqlType = Row;
}

impl<Row> QueryId for Statement<Row> {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}
