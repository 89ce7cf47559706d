//! Reads the requests of searches.

use std::collections::BTreeSet;

use prost::Message;

use super::record::CasView;
use crate::cas::field::{CasColumn, CasField};
use crate::cas::search::{
    CasSearch, CasSortKey, CasSortPosition, Comparison, CriterionError, Cursor, FieldCriterion,
    SearchCriterion, parse_array, parse_field,
};
use crate::error::{Result, ViolatedRule};
use crate::limits::{
    ARRAY_CRITERION_COST, CAS_PAGE_DEFAULT, CAS_PAGE_MAX, CRITERIA_MAX, CRITERION_BYTES_MAX,
    CRITERION_COST, FIELDS_CHARS_MAX, SEARCH_COST_MAX, SORT_FIELDS_MAX,
};
use crate::proto::cas::v1 as pb;
use crate::proto::common::v1::SortDirection;
use crate::rpc::call::Call;
use crate::rpc::page_token::Binding;
use crate::rpc::read::Reader;
use crate::types::page::{Page, Start};

/// The request of a search.
pub(in crate::cas) struct CasSearchRequest {
    pub(in crate::cas) search: CasSearch,
    /// The fields of each record that the answer contains.
    pub(in crate::cas) view: CasView,
    /// The number of records on all pages as the page token has it, if the answer shows that instead of a new one.
    pub(in crate::cas) total_of_token: Option<i64>,
    /// The number of the page, from 1; 0 if the request has a page token.
    pub(in crate::cas) page_number: i32,
    /// The search that page tokens are valid for.
    pub(in crate::cas) binding: Binding,
}

/// Reads a search. Page tokens are bound to the firm that the caller's token names, if it names one.
pub(in crate::cas) fn search(
    call: &Call,
    message: pb::SearchAllocationsRequest,
) -> Result<CasSearchRequest> {
    let bound = pb::SearchAllocationsRequest {
        // The projection does not change which records follow a page, nor does the order of criteria.
        projection: String::new(),
        count: 0,
        criteria: sorted(&message.criteria),
        ..message.clone()
    };
    let firm = call.caller.require_firm().map(|firm| firm.0.as_bytes());
    let binding = Binding::with_owner(call.rpc.path, &bound, firm.unwrap_or_default());

    let mut reader = Reader::new();
    let criteria = criteria(&mut reader, &message.criteria);
    let page = reader.page_from_1::<Cursor>(
        message.page,
        message.page_size,
        (CAS_PAGE_DEFAULT, CAS_PAGE_MAX),
        &message.page_token,
        binding,
    );
    let view = view(&mut reader, &message.projection);
    let order = order(&mut reader, &message.sort_fields);
    let count: Option<pb::TotalCount> = reader.optional_enum("count", message.count);
    let (page, total_of_token) = positioned(&mut reader, page, &order);
    reader.finish()?;
    Ok(CasSearchRequest {
        search: CasSearch {
            criteria,
            order,
            page,
            is_counted: match count {
                Some(pb::TotalCount::Exact) => true,
                Some(_) => false,
                None => message.page_token.is_empty(),
            },
        },
        view,
        total_of_token: total_of_token.filter(|_| count.is_none()),
        page_number: match message.page_token.as_str() {
            "" => message.page.unwrap_or(1),
            _ => 0,
        },
        binding,
    })
}

/// The criteria in an order that does not depend on theirs, each once: a record must meet all of them. The same goes for the
/// values of `in`, of which it must have one, unless any of them contains a comma.
fn sorted(criteria: &[pb::Criterion]) -> Vec<pb::Criterion> {
    let mut sorted = criteria.to_vec();
    let sort_values = |operator: &str, value: &mut String| {
        if operator == "in" && !value.contains('\\') {
            let values: BTreeSet<&str> = value.split(',').collect();
            *value = Vec::from_iter(values).join(",");
        }
    };
    for criterion in &mut sorted {
        sort_values(&criterion.operator, &mut criterion.value);
        for element in &mut criterion.any {
            sort_values(&element.operator, &mut element.value);
        }
        criterion.any.sort_by_cached_key(Message::encode_to_vec);
        criterion.any.dedup();
    }
    sorted.sort_by_cached_key(Message::encode_to_vec);
    sorted.dedup();
    sorted
}

fn criteria(reader: &mut Reader, criteria: &[pb::Criterion]) -> Vec<SearchCriterion> {
    let count: usize = criteria.iter().map(|each| each.any.len().max(1)).sum();
    if count > CRITERIA_MAX {
        let rule = format!("must have at most {CRITERIA_MAX} criteria, got {count}");
        reader.violation("criteria", rule);
        return Vec::new();
    }
    let mut read = Vec::with_capacity(criteria.len());
    let mut costs = Vec::with_capacity(count);
    for (index, criterion) in criteria.iter().enumerate() {
        let path = format!("criteria[{index}]");
        if criterion.any.is_empty() {
            let (field, operator) = (&criterion.field, &criterion.operator);
            let parse = |value: &str| FieldCriterion::parse(field, operator, value);
            let criterion = field_criterion(reader, &path, &criterion.value, &mut costs, parse);
            read.extend(criterion.map(SearchCriterion::Field));
        } else {
            read.extend(any_element(reader, &path, criterion, &mut costs));
        }
    }
    check_cost(reader, &costs);
    read
}

/// What a criterion costs, and what makes it dear.
struct CriterionCost {
    path: String,
    cost: usize,
    is_like: bool,
    is_of_array: bool,
}

/// Reads a criterion on one field; `None` if it is invalid. `parse` is given its value.
fn field_criterion(
    reader: &mut Reader,
    path: &str,
    value: &str,
    costs: &mut Vec<CriterionCost>,
    parse: impl Fn(&str) -> Result<FieldCriterion, CriterionError>,
) -> Option<FieldCriterion> {
    if value.len() > CRITERION_BYTES_MAX {
        let bytes = value.len();
        let rule = format!("must have at most {CRITERION_BYTES_MAX} bytes, got {bytes}");
        reader.violation(format!("{path}.value"), rule);
        return None;
    }
    match parse(value) {
        Ok(criterion) => {
            costs.push(CriterionCost {
                path: path.into(),
                cost: criterion.cost(),
                is_like: matches!(criterion.comparison, Comparison::Like(_)),
                is_of_array: matches!(criterion.field.column(), CasColumn::Element { .. }),
            });
            Some(criterion)
        }
        Err(CriterionError { member, rule }) => {
            reader.violation(format!("{path}.{member}"), rule);
            None
        }
    }
}

/// Reads criteria that one element of an array must meet; `None` if the array or any of them is invalid.
fn any_element(
    reader: &mut Reader,
    path: &str,
    criterion: &pb::Criterion,
    costs: &mut Vec<CriterionCost>,
) -> Option<SearchCriterion> {
    for (member, text) in [
        ("operator", &criterion.operator),
        ("value", &criterion.value),
    ] {
        if !text.is_empty() {
            let rule = "must be empty together with `any`, whose criteria have their own";
            reader.violation_by(format!("{path}.{member}"), rule, text);
        }
    }
    let array = match parse_array(&criterion.field) {
        Ok(array) => array,
        Err(rule) => {
            reader.violation(format!("{path}.field"), rule);
            return None;
        }
    };
    let mut read = Vec::with_capacity(criterion.any.len());
    for (index, inner) in criterion.any.iter().enumerate() {
        let path = format!("{path}.any[{index}]");
        let parse =
            |value: &str| FieldCriterion::parse_in(array, &inner.field, &inner.operator, value);
        read.extend(field_criterion(reader, &path, &inner.value, costs, parse));
    }
    (read.len() == criterion.any.len()).then_some(SearchCriterion::AnyElement {
        array,
        criteria: read,
    })
}

/// Reports a search that would take the database too long, at the first of its dearest criteria.
fn check_cost(reader: &mut Reader, costs: &[CriterionCost]) {
    let total: usize = costs.iter().map(|each| each.cost).sum();
    let dearest = costs.iter().rev().max_by_key(|each| each.cost);
    let Some(dearest) = dearest.filter(|_| total > SEARCH_COST_MAX) else {
        return;
    };
    let why = match (dearest.is_like, dearest.is_of_array) {
        (true, false) => "`like` costs more by the text behind a `%`".to_owned(),
        (true, true) => format!(
            "one on an array costs {ARRAY_CRITERION_COST}, and `like` more by the text behind a `%`"
        ),
        (false, true) => format!("one on an array costs {ARRAY_CRITERION_COST}"),
        (false, false) => format!("one on a field costs {CRITERION_COST}"),
    };
    let cost = dearest.cost;
    let rule = format!(
        "makes the search too expensive: it costs {total}, at most {SEARCH_COST_MAX}, and this criterion {cost}; {why}"
    );
    let member = if dearest.is_like { "value" } else { "field" };
    reader.violation(format!("{}.{member}", dearest.path), rule);
}

/// Reads the fields to return: the id and those that the projection names, or all if it is empty.
fn view(reader: &mut Reader, projection: &str) -> CasView {
    const FIELD: &str = "projection";
    let text = reader.optional_text(FIELD, Some(projection), FIELDS_CHARS_MAX);
    let text = text.unwrap_or_default();
    if text.is_empty() {
        return CasView::all();
    }
    let mut fields = BTreeSet::from([CasField::Id]);
    if text.len() > FIELDS_CHARS_MAX {
        return CasView::of(fields);
    }
    for name in text.split(',').map(str::trim) {
        let named = CasField::parse_part(name);
        if named.is_empty() {
            reader.violation(FIELD, unknown_part(name));
        }
        fields.extend(named);
    }
    CasView::of(fields)
}

/// The rule for a name that is neither a field nor an object or array of fields.
fn unknown_part(name: &str) -> ViolatedRule {
    if name.is_empty() {
        return "must not have an empty name: remove the comma".into();
    }
    let mut parts = Vec::new();
    for name in CasField::names() {
        let ends = name.match_indices('.').map(|(end, _)| end);
        for end in ends.chain([name.len()]) {
            if !parts.contains(&&name[..end]) {
                parts.push(&name[..end]);
            }
        }
    }
    ViolatedRule::unknown_name("field", name, &parts)
}

fn order(reader: &mut Reader, sort_fields: &[pb::SortField]) -> Vec<CasSortKey> {
    if sort_fields.len() > SORT_FIELDS_MAX {
        let count = sort_fields.len();
        let rule = format!("must have at most {SORT_FIELDS_MAX} fields, got {count}");
        reader.violation("sort_fields", rule);
        return Vec::new();
    }
    let mut order: Vec<CasSortKey> = Vec::with_capacity(sort_fields.len());
    for (index, sort) in sort_fields.iter().enumerate() {
        let path = |member: &str| format!("sort_fields[{index}].{member}");
        let direction: Option<SortDirection> =
            reader.optional_enum(&path("direction"), sort.direction);
        match parse_field(&sort.field) {
            Ok(field) if order.iter().any(|key| key.field == field) => {
                let rule = "must not repeat the field of an earlier sort field";
                reader.violation_by(path("field"), rule, &sort.field);
            }
            Ok(field) => order.push(CasSortKey {
                field,
                descending: direction == Some(SortDirection::Desc),
            }),
            Err(rule) => reader.violation(path("field"), rule),
        }
    }
    order
}

/// Reads the position of the page token in this sort order, and the total that it carries on.
fn positioned(
    reader: &mut Reader,
    page: Page<Cursor>,
    order: &[CasSortKey],
) -> (Page<CasSortPosition>, Option<i64>) {
    let (start, total) = match page.start {
        Start::First => (Start::First, None),
        Start::Skip(records) => (Start::Skip(records), None),
        Start::After(cursor) => match cursor.position(order) {
            Some((position, total)) => (Start::After(position), total),
            None => {
                reader.page_token_is_invalid();
                (Start::First, None)
            }
        },
    };
    let page = Page {
        size: page.size,
        size_field: page.size_field,
        start,
    };
    (page, total)
}
