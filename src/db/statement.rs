//! Statements written as SQL text with named parameters, for what diesel's DSL cannot express: recursion, LATERAL, and
//! nested LIMITs that hold the planner to an index.
//!
//! A connection prepares each text once and keeps it, so a statement has few texts. Texts are put together from words of
//! this crate alone: every value is a parameter. A statement is a whole query, never a part of another.

use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::sync::{Arc, PoisonError, RwLock};

use chrono::{DateTime, Utc};
use diesel::dsl::AsSelect;
use diesel::pg::{Pg, PgQueryBuilder};
use diesel::query_builder::{AstPass, Query, QueryBuilder, QueryFragment, QueryId};
use diesel::result::Error::QueryBuilderError;
use diesel::sql_types::{Array, BigInt, Bool, Nullable, Numeric, Text, Timestamptz};
use diesel::{QueryResult, Selectable, SelectableHelper, sql_types};
use rust_decimal::Decimal;
use uuid::Uuid;

use crate::types::time::Time;

/// SQL with parameters that are written `:name`, in small letters, digits and underscores. One may stand in several places.
///
/// In quotes, a colon is a colon; comments are not recognised.
#[derive(Clone, Debug)]
pub(crate) struct SqlText(Arc<ParsedSql>);

/// A text, cut where each of its parameters stands for the first time; later places already have their number.
#[derive(Debug)]
struct ParsedSql {
    parameters: Vec<SqlParameter>,
    rest: String,
}

#[derive(Debug)]
struct SqlParameter {
    /// The text between the parameter before and this one.
    sql_before: String,
    name: String,
}

impl SqlText {
    /// Finds the parameters in a text and numbers them in the order of their first places, as diesel will.
    pub(crate) fn new(text: &str) -> Self {
        let mut parameters: Vec<SqlParameter> = Vec::new();
        let mut sql = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(found) = rest.find([':', '\'', '"']) {
            sql.push_str(&rest[..found]);
            rest = &rest[found..];
            let name = parameter_name(rest);
            if name.is_empty() {
                let len = verbatim_len(rest);
                sql.push_str(&rest[..len]);
                rest = &rest[len..];
                continue;
            }
            rest = &rest[1 + name.len()..];
            match parameters.iter().position(|earlier| earlier.name == name) {
                Some(index) => sql += &format!("${}", index + 1),
                None => parameters.push(SqlParameter {
                    sql_before: std::mem::take(&mut sql),
                    name: name.into(),
                }),
            }
        }
        sql.push_str(rest);
        Self(Arc::new(ParsedSql {
            parameters,
            rest: sql,
        }))
    }
}

/// The name behind a colon at the text's begin; empty if there is no parameter.
fn parameter_name(text: &str) -> &str {
    let name = text.strip_prefix(':').unwrap_or_default();
    if !name.starts_with(|c: char| c.is_ascii_lowercase()) {
        return "";
    }
    let in_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    let len = name.find(|c| !in_name(c)).unwrap_or(name.len());
    &name[..len]
}

/// The length of the cast's `::`, of a lone colon, or of the quoted text that begins here.
fn verbatim_len(text: &str) -> usize {
    let quote = match text.chars().next() {
        Some(quote @ ('\'' | '"')) => quote,
        _ => return if text.starts_with("::") { 2 } else { 1 },
    };
    let closing = text[1..].find(quote);
    closing.map_or(text.len(), |len| len + 2)
}

/// The texts of a statement that has one for each shape `S`, of which there are few. Each is built when it is first used.
pub(crate) struct SqlTexts<S> {
    build: fn(&S) -> String,
    built: RwLock<BTreeMap<S, SqlText>>,
}

impl<S: Ord> SqlTexts<S> {
    pub(crate) const fn new(build: fn(&S) -> String) -> Self {
        let built = RwLock::new(BTreeMap::new());
        Self { build, built }
    }

    pub(crate) fn get(&self, shape: S) -> SqlText {
        let built = self.built.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(text) = built.get(&shape) {
            return text.clone();
        }
        drop(built);
        let text = SqlText::new(&(self.build)(&shape));
        let mut built = self.built.write().unwrap_or_else(PoisonError::into_inner);
        built.entry(shape).or_insert(text).clone()
    }
}

/// A text with values for its parameters, which answers rows of the SQL type `Row`.
///
/// To run one whose values do not match its parameters is an error of diesel's query builder.
pub(crate) struct Statement<Row> {
    text: SqlText,
    values: Vec<Option<SqlValue>>,
    misuse: Option<String>,
    is_kept: bool,
    row: PhantomData<Row>,
}

impl<Row> Statement<Row> {
    /// A statement that stays prepared on each connection that has run it.
    pub(crate) fn new(text: &SqlText) -> Self {
        Self {
            values: text.0.parameters.iter().map(|_| None).collect(),
            text: text.clone(),
            misuse: None,
            is_kept: true,
            row: PhantomData,
        }
    }

    /// A statement with one of texts without number: prepared for this once and closed, so that the connection's memory of
    /// statements does not grow with what callers ask.
    pub(crate) fn unkept(text: &SqlText) -> Self {
        Self {
            is_kept: false,
            ..Self::new(text)
        }
    }

    /// Gives a parameter its value. The text must name the parameter, and each is given once.
    pub(crate) fn bind(mut self, name: &str, value: impl Into<SqlValue>) -> Self {
        match self.value_mut(name) {
            Some(place @ None) => *place = Some(value.into()),
            Some(Some(_)) => self.misuse = Some(format!("parameter `{name}` is given twice")),
            None => self.misuse = Some(format!("the text has no parameter `{name}`")),
        }
        self
    }

    /// The same for a parameter that only some shapes of the text name.
    pub(crate) fn bind_if_named(self, name: &str, value: impl Into<SqlValue>) -> Self {
        let mut parameters = self.text.0.parameters.iter();
        if parameters.any(|parameter| parameter.name == name) {
            self.bind(name, value)
        } else {
            self
        }
    }

    fn value_mut(&mut self, name: &str) -> Option<&mut Option<SqlValue>> {
        let parameters = &self.text.0.parameters;
        let index = parameters
            .iter()
            .position(|parameter| parameter.name == name)?;
        self.values.get_mut(index)
    }

    /// The text as Postgres gets it, if all parameters have a value and no other was given.
    #[cfg(test)]
    pub(crate) fn sql(&self) -> Result<String, String> {
        sql(self).map_err(|error| error.to_string())
    }
}

impl<Row> QueryFragment<Pg> for Statement<Row> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        if let Some(misuse) = &self.misuse {
            return Err(QueryBuilderError(misuse.as_str().into()));
        }
        if !self.is_kept {
            out.unsafe_to_cache_prepared();
        }
        for (parameter, value) in self.text.0.parameters.iter().zip(&self.values) {
            let Some(value) = value else {
                let missing = format!("parameter `{}` has no value", parameter.name);
                return Err(QueryBuilderError(missing.into()));
            };
            out.push_sql(&parameter.sql_before);
            // Writes the number, too.
            value.push(&mut out)?;
        }
        out.push_sql(&self.text.0.rest);
        Ok(())
    }
}

impl<Row> Query for Statement<Row> {
    type SqlType = Row;
}

/// The text is the key by which a connection finds the statement that it has prepared.
impl<Row> QueryId for Statement<Row> {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

/// The columns of a row as they stand behind SELECT, in the order of its fields.
pub(crate) fn select_list<R>() -> String
where
    R: Selectable<Pg>,
    AsSelect<R, Pg>: QueryFragment<Pg>,
{
    // Columns of a table have neither parameters nor anything else that could fail.
    sql(&R::as_select()).unwrap_or_default()
}

/// The condition of a filter with any number of values; empty where the filter is not set.
pub(crate) fn any_condition(is_set: bool, column: &str, parameter: &str) -> String {
    if is_set {
        format!(" AND {column} = ANY(:{parameter})")
    } else {
        String::new()
    }
}

fn sql(fragment: &impl QueryFragment<Pg>) -> QueryResult<String> {
    let mut builder = PgQueryBuilder::default();
    fragment.to_sql(&mut builder, &Pg)?;
    Ok(builder.finish())
}

/// Defines the types of values, each with what is converted into it and the SQL type that it is sent as.
macro_rules! sql_values {
    ($($variant:ident($rust:ty) as $sql:ty,)*) => {
        /// A value of a parameter, as diesel takes it.
        #[derive(Debug)]
        pub(crate) enum SqlValue {
            $($variant($rust),)*
        }

        impl SqlValue {
            fn push<'b>(&'b self, out: &mut AstPass<'_, 'b, Pg>) -> QueryResult<()> {
                match self {
                    $(Self::$variant(value) => out.push_bind_param::<$sql, _>(value),)*
                }
            }
        }

        $(impl From<$rust> for SqlValue {
            fn from(value: $rust) -> Self {
                Self::$variant(value)
            }
        })*
    };
}

sql_values! {
    Uuid(Uuid) as sql_types::Uuid,
    Uuids(Vec<Uuid>) as Array<sql_types::Uuid>,
    OptionalUuid(Option<Uuid>) as Nullable<sql_types::Uuid>,
    Text(String) as Text,
    Texts(Vec<String>) as Array<Text>,
    Words(Vec<&'static str>) as Array<Text>,
    OptionalText(Option<String>) as Nullable<Text>,
    OptionalWord(Option<&'static str>) as Nullable<Text>,
    BigInt(i64) as BigInt,
    BigInts(Vec<i64>) as Array<BigInt>,
    OptionalBigInts(Vec<Option<i64>>) as Array<Nullable<BigInt>>,
    Numeric(Decimal) as Numeric,
    Numerics(Vec<Decimal>) as Array<Numeric>,
    Bool(bool) as Bool,
    Bools(Vec<bool>) as Array<Bool>,
    Timestamp(DateTime<Utc>) as Timestamptz,
    Timestamps(Vec<DateTime<Utc>>) as Array<Timestamptz>,
    OptionalTimestamp(Option<DateTime<Utc>>) as Nullable<Timestamptz>,
    OptionalTimestamps(Vec<Option<DateTime<Utc>>>) as Array<Nullable<Timestamptz>>,
}

impl From<Time> for SqlValue {
    fn from(time: Time) -> Self {
        time.to_chrono().into()
    }
}

impl From<Option<Time>> for SqlValue {
    fn from(time: Option<Time>) -> Self {
        time.map(Time::to_chrono).into()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    fn statement(text: &str) -> Statement<Bool> {
        Statement::new(&SqlText::new(text))
    }

    #[test]
    fn parameters_are_numbered_by_their_first_places() {
        let sql = statement("SELECT :b, :a_2, :b + :c WHERE :a_2")
            .bind("a_2", true)
            .bind("c", 3)
            .bind("b", 1)
            .sql();
        assert_eq!(sql.as_deref(), Ok("SELECT $1, $2, $1 + $3 WHERE $2"));
    }

    #[test]
    fn casts_and_what_is_quoted_hold_no_parameters() {
        let text = r#"SELECT ':a'::text, ":b", 'it''s :c', x::uuid[], '{}', ':"' || :d, a[1:2], '"#;
        let sql = statement(text).bind("d", 1).sql();
        assert_eq!(sql, Ok(text.replace(":d", "$1")));
    }

    #[test]
    fn a_missing_parameter_is_an_error() {
        let sql = statement("SELECT :a, :b").bind("a", 1).sql();
        let error = sql.expect_err("b is missing");
        assert!(error.contains("parameter `b` has no value"), "{error}");
    }

    #[test]
    fn an_unused_parameter_is_an_error_unless_other_shapes_name_it() {
        let with_one = || statement("SELECT :a").bind("a", 1);
        let error = with_one().bind("b", 1).sql().expect_err("b is unused");
        assert!(error.contains("has no parameter `b`"), "{error}");
        let sql = with_one().bind_if_named("b", 1).sql();
        assert_eq!(sql.as_deref(), Ok("SELECT $1"));
    }

    #[test]
    fn a_parameter_given_twice_is_an_error() {
        let sql = statement("SELECT :a").bind("a", 1).bind("a", 2).sql();
        let error = sql.expect_err("a is given twice");
        assert!(error.contains("`a` is given twice"), "{error}");
    }

    #[test]
    fn a_shapes_text_is_built_once() {
        static BUILT: AtomicU32 = AtomicU32::new(0);
        static TEXTS: SqlTexts<bool> = SqlTexts::new(|shape| {
            BUILT.fetch_add(1, Ordering::Relaxed);
            format!("SELECT {shape}")
        });
        for shape in [true, false, true, true] {
            let sql = Statement::<Bool>::new(&TEXTS.get(shape)).sql();
            assert_eq!(sql, Ok(format!("SELECT {shape}")));
        }
        assert_eq!(BUILT.load(Ordering::Relaxed), 2);
    }
}
