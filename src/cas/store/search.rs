//! Searches. Any criteria can meet in one, so their texts are without number: each is planned for the values that it asks
//! for, and none is kept prepared but those that are made all the time. Texts are put together of our own words alone; every
//! value is a parameter.

use diesel::sql_types::{BigInt, Nullable};
use diesel_async::{AsyncPgConnection, RunQueryDsl};

use super::rows::{COLUMNS, Row, RowSql};
use crate::cas::field::{Field, Kind, Place as Stored};
use crate::cas::model::CasAllocation;
use crate::cas::search::{Criterion, Operand, Place, Search, SortKey, Test};
use crate::db::pg_error::Failure;
use crate::db::pool::Pool;
use crate::db::read;
use crate::db::statement::{SqlText, SqlValue, Statement};
use crate::error::Result;
use crate::types::amount::Amount;
use crate::types::ids::OwnerId;
use crate::types::time::Time;

/// What a search finds.
#[derive(Clone, Debug)]
pub(in crate::cas) struct Found {
    /// The page and one more.
    pub(in crate::cas) records: Vec<CasAllocation>,
    /// How many there are on all pages.
    pub(in crate::cas) total: i64,
}

/// A page of the firm's records that fit, and how many fit: both as of one moment.
pub(in crate::cas) async fn search(pool: &Pool, firm: OwnerId, search: &Search) -> Result<Found> {
    read::one(pool, async |connection: &mut AsyncPgConnection| {
        let rows: Vec<(i64, Option<Row>)> = statement(firm, search).load(connection).await?;
        let mut found = Found {
            records: Vec::with_capacity(rows.len()),
            total: 0,
        };
        for (total, row) in rows {
            found.total = total;
            if let Some(row) = row {
                found.records.push(row.try_into()?);
            }
        }
        Ok::<_, Failure>(found)
    })
    .await
}

fn statement(firm: OwnerId, search: &Search) -> Statement<(BigInt, Nullable<RowSql>)> {
    let mut parameters = Parameters(Vec::new());
    let mut fits = format!("owner_id = {}", parameters.add(firm.0));
    for criterion in &search.criteria {
        fits += &format!(" AND {}", condition(criterion, &mut parameters));
    }
    let behind = match search.page.after() {
        None => String::new(),
        Some(place) => format!(" AND {}", behind(&search.order, place, &mut parameters)),
    };
    let order = order(&search.order);
    let limit = parameters.add(search.page.fetch());
    let skip = parameters.add(search.page.skip());
    let text = format!(
        "SELECT c.total, page.*
        FROM (SELECT count(*) AS total FROM cas_allocation WHERE {fits}) c
        LEFT JOIN (
            SELECT {COLUMNS} FROM cas_allocation WHERE {fits}{behind} ORDER BY {order} LIMIT {limit} OFFSET {skip}
        ) page ON true
        ORDER BY {order}"
    );
    let text = SqlText::new(&text);
    let statement = if is_common(search) {
        Statement::new(&text)
    } else {
        Statement::unkept(&text)
    };
    let values = parameters.0.into_iter().enumerate();
    values.fold(statement, |statement, (index, value)| {
        statement.bind(&format!("p{index}"), value)
    })
}

/// Whether this is a search that is made all the time: for one value of a field that has an index in the order of creation,
/// and few records of each value. Their texts are six.
fn is_common(search: &Search) -> bool {
    const FIELDS: [Field; 3] = [Field::DealId, Field::TrancheId, Field::InvestorAccountId];
    match search.criteria.as_slice() {
        [criterion] => {
            search.order.is_empty()
                && FIELDS.contains(&criterion.field)
                && matches!(criterion.test, Test::Is(_))
        }
        _ => false,
    }
}

/// The values of a statement's parameters, which are named `p0`, `p1` and so on.
struct Parameters(Vec<SqlValue>);

impl Parameters {
    /// Adds a value, and returns the parameter as it stands in the text.
    fn add(&mut self, value: impl Into<SqlValue>) -> String {
        let parameter = format!(":p{}", self.0.len());
        self.0.push(value.into());
        parameter
    }
}

impl From<&Operand> for SqlValue {
    fn from(operand: &Operand) -> Self {
        match operand {
            Operand::Id(id) => (*id).into(),
            Operand::Text(text) => text.clone().into(),
            Operand::Integer(number) => (*number).into(),
            Operand::Decimal(amount) => amount.to_decimal().into(),
            Operand::Time(time) => (*time).into(),
            Operand::Flag(flag) => (*flag).into(),
        }
    }
}

/// The values of an `in`, which all are of their field's kind.
fn list(operands: &[Operand]) -> SqlValue {
    macro_rules! all {
        ($operand:ident, $to:expr) => {
            operands
                .iter()
                .filter_map(|operand| match operand {
                    Operand::$operand(value) => Some($to(value.clone())),
                    _ => None,
                })
                .collect::<Vec<_>>()
                .into()
        };
    }
    match operands {
        [Operand::Id(_), ..] => all!(Id, |id| id),
        [Operand::Integer(_), ..] => all!(Integer, |number| number),
        [Operand::Decimal(_), ..] => all!(Decimal, Amount::to_decimal),
        [Operand::Time(_), ..] => all!(Time, Time::to_chrono),
        [Operand::Flag(_), ..] => all!(Flag, |flag| flag),
        [Operand::Text(_), ..] | [] => all!(Text, |text| text),
    }
}

/// A criterion as SQL.
fn condition(criterion: &Criterion, parameters: &mut Parameters) -> String {
    match criterion.field.place() {
        Stored::Column(column) => compare(column, true, &criterion.test, parameters),
        Stored::Required(column) => compare(column, false, &criterion.test, parameters),
        Stored::Element { array, member } => {
            let value = element("element", member, criterion.field.kind());
            let fits = compare(&value, true, &criterion.test, parameters);
            let any = format!(
                "EXISTS (SELECT FROM jsonb_array_elements({array}) AS element WHERE {fits})"
            );
            match criterion.test {
                Test::IsNot(_) => format!("({array} = '[]' OR {any})"),
                _ => any,
            }
        }
    }
}

/// A member of an array's element. What is stored is a text, which is a text or a time.
fn element(element: &str, member: &str, kind: Kind) -> String {
    match kind {
        Kind::Time => format!("({element}->>'{member}')::timestamptz"),
        _ => format!(r#"({element}->>'{member}') COLLATE "C""#),
    }
}

fn compare(value: &str, may_be_null: bool, test: &Test, parameters: &mut Parameters) -> String {
    let (operator, operand) = match test {
        Test::Is(operand) => ("=", operand),
        // What is NULL is not that either.
        Test::IsNot(operand) if may_be_null => ("IS DISTINCT FROM", operand),
        Test::IsNot(operand) => ("<>", operand),
        Test::Above(operand) => (">", operand),
        Test::AtLeast(operand) => (">=", operand),
        Test::Below(operand) => ("<", operand),
        Test::AtMost(operand) => ("<=", operand),
        Test::In(operands) => {
            return format!("{value} = ANY({})", parameters.add(list(operands)));
        }
        Test::Like(pattern) => {
            let pattern = parameters.add(pattern.clone());
            return format!("{value} LIKE {pattern}");
        }
    };
    format!("{value} {operator} {}", parameters.add(operand))
}

/// What a field is sorted by.
fn sorted(field: Field) -> String {
    match field.place() {
        Stored::Column(column) | Stored::Required(column) => column.into(),
        Stored::Element { array, member } => {
            element(&format!("({array}->0)"), member, field.kind())
        }
    }
}

/// NULL is above all values, as Postgres has it unless told otherwise: so the order's indexes serve.
fn order(keys: &[SortKey]) -> String {
    let mut order = String::new();
    for key in keys {
        let direction = if key.descending { " DESC" } else { "" };
        order += &format!("{}{direction}, ", sorted(key.field));
    }
    order + "created_at, id"
}

/// Behind a place: what is equal in the keys before, and behind in the next.
fn behind(keys: &[SortKey], place: &Place, parameters: &mut Parameters) -> String {
    let created_at = parameters.add(place.created_at);
    let id = parameters.add(place.id);
    let mut behind = format!("(created_at, id) > ({created_at}, {id})");
    // From the least key outwards.
    for (key, value) in keys.iter().zip(&place.values).rev() {
        let column = sorted(key.field);
        behind = match (value, key.descending) {
            (Some(value), false) => {
                let value = parameters.add(value);
                format!(
                    "({column} > {value} OR {column} IS NULL OR ({column} = {value} AND {behind}))"
                )
            }
            (Some(value), true) => {
                let value = parameters.add(value);
                format!("({column} < {value} OR ({column} = {value} AND {behind}))")
            }
            (None, false) => format!("({column} IS NULL AND {behind})"),
            (None, true) => format!("({column} IS NOT NULL OR {behind})"),
        };
    }
    // An OR is no place to begin at: an index needs to be told where the first key is.
    let bound = match (keys, place.values.as_slice()) {
        ([key, ..], [Some(value), ..]) => match (key.field.place(), key.descending) {
            (Stored::Required(column), false) => {
                format!("{column} >= {} AND ", parameters.add(value))
            }
            (Stored::Required(column) | Stored::Column(column), true) => {
                format!("{column} <= {} AND ", parameters.add(value))
            }
            _ => String::new(),
        },
        _ => String::new(),
    };
    bound + &behind
}
