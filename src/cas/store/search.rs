//! The SQL of searches. Criteria combine freely, so the number of different statements is unbounded: each is prepared
//! and planned for its values and then closed, except for the few common ones, which stay prepared. A statement's text
//! contains names of columns and operators only; every value is a parameter.

use std::collections::BTreeSet;

use diesel::sql_types::{BigInt, Nullable};
use diesel_async::{AsyncPgConnection, RunQueryDsl};

use super::rows::{COLUMNS, CasRowSql, Row};
use crate::cas::field::{CasArray, CasColumn, CasField, CasFieldType};
use crate::cas::model::CasAllocation;
use crate::cas::operand::CasOperand;
use crate::cas::search::{
    CasSearch, CasSortKey, CasSortPosition, Comparison, FieldCriterion, SearchCriterion,
};
use crate::db::pg_error::TransactionError;
use crate::db::pool::Pool;
use crate::db::read;
use crate::db::statement::{SqlText, SqlValue, Statement};
use crate::error::Result;
use crate::limits::CRITERION_COST;
use crate::types::amount::Amount;
use crate::types::ids::OwnerId;
use crate::types::time::Time;

/// A page of a search's result.
#[derive(Clone, Debug)]
pub(in crate::cas) struct CasSearchPage {
    /// The records of the page, and one more if another page follows.
    pub(in crate::cas) records: Vec<CasAllocation>,
    /// Number of records on all pages, if the search asks for it.
    pub(in crate::cas) total: Option<i64>,
}

/// Searches the records of a firm. The page and the total come from one statement, and so from one snapshot.
pub(in crate::cas) async fn search(
    pool: &Pool,
    firm: OwnerId,
    search: &CasSearch,
) -> Result<CasSearchPage> {
    read::one(pool, async |connection: &mut AsyncPgConnection| {
        let rows: Vec<(Option<i64>, Option<Row>)> =
            statement(firm, search).load(connection).await?;
        let mut found = CasSearchPage {
            records: Vec::with_capacity(rows.len()),
            total: None,
        };
        for (total, row) in rows {
            found.total = total;
            if let Some(row) = row {
                found.records.push(row.try_into()?);
            }
        }
        Ok::<_, TransactionError>(found)
    })
    .await
}

fn statement(
    firm: OwnerId,
    search: &CasSearch,
) -> Statement<(Nullable<BigInt>, Nullable<CasRowSql>)> {
    let mut parameters = Parameters(Vec::new());
    let owner = format!("owner_id = {}", parameters.add(firm.0));
    let fits = format!("{owner}{}", conditions(&search.criteria, &mut parameters));
    let behind = match search.page.after() {
        None => String::new(),
        Some(position) => format!(" AND {}", after(&search.order, position, &mut parameters)),
    };
    let order = order(&search.order);
    let limit = parameters.add(search.page.fetch());
    let skip = parameters.add(search.page.skip());
    // Criteria that take long are judged once for the total and the page. For others a page is read by an index, as far
    // as it reaches.
    let is_dear = |each: &SearchCriterion| each.cost() > CRITERION_COST;
    let (with, counted, fits) = if search.is_counted && search.criteria.iter().any(is_dear) {
        (
            format!("WITH found AS MATERIALIZED (SELECT id FROM cas_allocation WHERE {fits}) "),
            "found".to_owned(),
            format!("{owner} AND id IN (SELECT id FROM found)"),
        )
    } else {
        let counted = format!("cas_allocation WHERE {fits}");
        (String::new(), counted, fits)
    };
    let page = format!(
        "FROM cas_allocation WHERE {fits}{behind} ORDER BY {order} LIMIT {limit} OFFSET {skip}"
    );
    let text = if search.is_counted {
        format!(
            "{with}SELECT c.total, page.*
            FROM (SELECT count(*) AS total FROM {counted}) c
            LEFT JOIN (SELECT {COLUMNS} {page}) page ON true
            ORDER BY {order}"
        )
    } else {
        format!("SELECT NULL::bigint, {COLUMNS} {page}")
    };
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

/// Whether the statement of this search stays prepared: it has one criterion, `=` on a field with an index and few
/// records per value, and the default order. With or without a page token and a total that makes twelve texts.
fn is_common(search: &CasSearch) -> bool {
    const FIELDS: [CasField; 3] = [
        CasField::DealId,
        CasField::TrancheId,
        CasField::InvestorAccountId,
    ];
    match search.criteria.as_slice() {
        [SearchCriterion::Field(criterion)] => {
            search.order.is_empty()
                && FIELDS.contains(&criterion.field)
                && matches!(criterion.comparison, Comparison::Equal(_))
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

impl From<&CasOperand> for SqlValue {
    fn from(operand: &CasOperand) -> Self {
        match operand {
            CasOperand::Id(id) => (*id).into(),
            CasOperand::Text(text) => text.clone().into(),
            CasOperand::Integer(number) => (*number).into(),
            CasOperand::Decimal(amount) => amount.to_decimal().into(),
            CasOperand::Time(time) => (*time).into(),
            CasOperand::Flag(flag) => (*flag).into(),
        }
    }
}

/// The values of `in` as one array parameter. They are all of the type of their field.
fn list(operands: &[CasOperand]) -> SqlValue {
    macro_rules! all {
        ($operand:ident, $to:expr) => {
            operands
                .iter()
                .filter_map(|operand| match operand {
                    CasOperand::$operand(value) => Some($to(value.clone())),
                    _ => None,
                })
                .collect::<Vec<_>>()
                .into()
        };
    }
    match operands {
        [CasOperand::Id(_), ..] => all!(Id, |id| id),
        [CasOperand::Integer(_), ..] => all!(Integer, |number| number),
        [CasOperand::Decimal(_), ..] => all!(Decimal, Amount::to_decimal),
        [CasOperand::Time(_), ..] => all!(Time, Time::to_chrono),
        [CasOperand::Flag(_), ..] => all!(Flag, |flag| flag),
        [CasOperand::Text(_), ..] | [] => all!(Text, |text| text),
    }
}

/// The criteria on the members of one array, whose elements are taken apart once for all of them.
struct ArrayConditions {
    array: CasArray,
    /// The members that the criteria name, as columns with their types.
    members: BTreeSet<String>,
    fits: Vec<String>,
}

/// The SQL conditions of the criteria, each with AND before it.
fn conditions(criteria: &[SearchCriterion], parameters: &mut Parameters) -> String {
    let mut all = String::new();
    let mut arrays: Vec<ArrayConditions> = Vec::new();
    for criterion in criteria {
        let FieldCriterion { field, comparison } = match criterion {
            SearchCriterion::Field(criterion) => criterion,
            SearchCriterion::AnyElement { array, criteria } => {
                of_array(&mut arrays, *array).add_any(criteria, parameters);
                continue;
            }
        };
        match field.column() {
            CasColumn::Nullable(column) => {
                all += &format!(" AND {}", compare(column, true, comparison, parameters));
            }
            CasColumn::Required(column) => {
                all += &format!(" AND {}", compare(column, false, comparison, parameters));
            }
            CasColumn::Element { array, .. } => {
                of_array(&mut arrays, array).add(*field, comparison, parameters);
            }
        }
    }
    for ArrayConditions {
        array,
        members,
        fits,
    } in arrays
    {
        let members: Vec<String> = members.into_iter().collect();
        all += &format!(
            " AND (SELECT {} FROM jsonb_to_recordset({}) AS element({}))",
            fits.join(" AND "),
            array.column(),
            members.join(", ")
        );
    }
    all
}

/// The conditions on this array, which are added if there are none yet.
fn of_array(arrays: &mut Vec<ArrayConditions>, array: CasArray) -> &mut ArrayConditions {
    let known = arrays.iter().position(|each| each.array == array);
    let index = known.unwrap_or_else(|| {
        arrays.push(ArrayConditions {
            array,
            members: BTreeSet::new(),
            fits: Vec::new(),
        });
        arrays.len() - 1
    });
    &mut arrays[index]
}

impl ArrayConditions {
    /// Adds a criterion that any element may meet.
    fn add(&mut self, field: CasField, comparison: &Comparison, parameters: &mut Parameters) {
        let fits = self.element_fits(field, comparison, parameters);
        // Without elements there is nothing to aggregate, which is NULL: that counts as one unset value.
        let of_none = comparison.is_met_by_unset();
        self.fits
            .push(format!("coalesce(bool_or({fits}), {of_none})"));
    }

    /// Adds criteria that one and the same element must meet.
    fn add_any(&mut self, criteria: &[FieldCriterion], parameters: &mut Parameters) {
        let fits: Vec<String> = criteria
            .iter()
            .map(|each| self.element_fits(each.field, &each.comparison, parameters))
            .collect();
        self.fits
            .push(format!("coalesce(bool_or({}), false)", fits.join(" AND ")));
    }

    /// The condition that an element meets a criterion.
    fn element_fits(
        &mut self,
        field: CasField,
        comparison: &Comparison,
        parameters: &mut Parameters,
    ) -> String {
        let member = match field.column() {
            CasColumn::Element { member, .. } => member,
            CasColumn::Nullable(column) | CasColumn::Required(column) => column,
        };
        self.members.insert(match field.field_type() {
            CasFieldType::Time => format!("\"{member}\" timestamptz"),
            _ => format!(r#""{member}" text COLLATE "C""#),
        });
        compare(
            &format!("element.\"{member}\""),
            true,
            comparison,
            parameters,
        )
    }
}

/// The SQL value of a member of an array's element, which is stored as a JSON string: a text or a time.
fn element(element: &str, member: &str, field_type: CasFieldType) -> String {
    match field_type {
        CasFieldType::Time => format!("({element}->>'{member}')::timestamptz"),
        _ => format!(r#"({element}->>'{member}') COLLATE "C""#),
    }
}

fn compare(
    value: &str,
    may_be_null: bool,
    comparison: &Comparison,
    parameters: &mut Parameters,
) -> String {
    let (operator, operand) = match comparison {
        Comparison::Equal(operand) => ("=", operand),
        // NULL differs from every value.
        Comparison::NotEqual(operand) if may_be_null => ("IS DISTINCT FROM", operand),
        Comparison::NotEqual(operand) => ("<>", operand),
        Comparison::Greater(operand) => (">", operand),
        Comparison::GreaterOrEqual(operand) => (">=", operand),
        Comparison::Less(operand) => ("<", operand),
        Comparison::LessOrEqual(operand) => ("<=", operand),
        Comparison::In(operands) => {
            return format!("{value} = ANY({})", parameters.add(list(operands)));
        }
        Comparison::Like(pattern) => {
            // In texts that repeat themselves, this takes a fraction of the time of LIKE.
            if let Some(contained) = pattern.contained_text() {
                return format!("strpos({value}, {}) > 0", parameters.add(contained));
            }
            let pattern = parameters.add(pattern.to_string());
            return format!("{value} LIKE {pattern}");
        }
        Comparison::IsSet => return format!("{value} IS NOT NULL"),
        Comparison::IsUnset => return format!("{value} IS NULL"),
    };
    format!("{value} {operator} {}", parameters.add(operand))
}

/// The SQL value that a field is sorted by.
fn sorted(field: CasField) -> String {
    match field.column() {
        CasColumn::Nullable(column) | CasColumn::Required(column) => column.into(),
        CasColumn::Element { array, member } => element(
            &format!("({}->0)", array.column()),
            member,
            field.field_type(),
        ),
    }
}

/// The ORDER BY list. NULL is greater than every value: that is the default of Postgres, so that the indexes serve.
fn order(keys: &[CasSortKey]) -> String {
    let mut order = String::new();
    for key in keys {
        let direction = if key.descending { " DESC" } else { "" };
        order += &format!("{}{direction}, ", sorted(key.field));
    }
    order + "created_at, id"
}

/// The condition for records after a position: equal in the first keys and greater in the next one.
fn after(keys: &[CasSortKey], position: &CasSortPosition, parameters: &mut Parameters) -> String {
    let created_at = parameters.add(position.created_at);
    let id = parameters.add(position.id);
    let mut after = format!("(created_at, id) > ({created_at}, {id})");
    // From the least significant key to the most significant one.
    for (key, value) in keys.iter().zip(&position.values).rev() {
        let column = sorted(key.field);
        after = match (value, key.descending) {
            (Some(value), false) => {
                let value = parameters.add(value);
                format!(
                    "({column} > {value} OR {column} IS NULL OR ({column} = {value} AND {after}))"
                )
            }
            (Some(value), true) => {
                let value = parameters.add(value);
                format!("({column} < {value} OR ({column} = {value} AND {after}))")
            }
            (None, false) => format!("({column} IS NULL AND {after})"),
            (None, true) => format!("({column} IS NOT NULL OR {after})"),
        };
    }
    // An index scan cannot start at a condition with OR: this redundant bound on the first key lets it.
    let bound = match (keys, position.values.as_slice()) {
        ([key, ..], [Some(value), ..]) => match (key.field.column(), key.descending) {
            (CasColumn::Required(column), false) => {
                format!("{column} >= {} AND ", parameters.add(value))
            }
            (CasColumn::Required(column) | CasColumn::Nullable(column), true) => {
                format!("{column} <= {} AND ", parameters.add(value))
            }
            _ => String::new(),
        },
        _ => String::new(),
    };
    bound + &after
}
