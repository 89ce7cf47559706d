//! Reads the requests of searches.

use std::collections::BTreeSet;

use prost::Message;

use super::record::CasView;
use crate::cas::field::CasField;
use crate::cas::search::{
    CasSearch, CasSortKey, CasSortPosition, Cursor, SearchCriterion, parse_field,
};
use crate::error::{Result, rule_with_value};
use crate::limits::{
    ARRAY_CRITERION_COST, CAS_PAGE_DEFAULT, CAS_PAGE_MAX, CRITERIA_MAX, CRITERION_BYTES_MAX,
    FIELDS_CHARS_MAX, SEARCH_COST_MAX, SORT_FIELDS_MAX,
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
        criteria: sorted(&message.criteria),
        ..message.clone()
    };
    let firm = call.caller.firm.as_ref().map(|firm| firm.0.as_bytes());
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
    let page = positioned(&mut reader, page, &order);
    reader.finish()?;
    Ok(CasSearchRequest {
        search: CasSearch {
            criteria,
            order,
            page,
        },
        view,
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
    for criterion in &mut sorted {
        if criterion.operator == "in" && !criterion.value.contains('\\') {
            let values: BTreeSet<&str> = criterion.value.split(',').collect();
            criterion.value = Vec::from_iter(values).join(",");
        }
    }
    sorted.sort_by_cached_key(Message::encode_to_vec);
    sorted.dedup();
    sorted
}

fn criteria(reader: &mut Reader, criteria: &[pb::Criterion]) -> Vec<SearchCriterion> {
    if criteria.len() > CRITERIA_MAX {
        let count = criteria.len();
        let rule = format!("must have at most {CRITERIA_MAX} criteria, got {count}");
        reader.violation("criteria", rule);
        return Vec::new();
    }
    let mut read = Vec::with_capacity(criteria.len());
    let mut costs = Vec::with_capacity(criteria.len());
    for (index, criterion) in criteria.iter().enumerate() {
        if criterion.value.len() > CRITERION_BYTES_MAX {
            let bytes = criterion.value.len();
            let rule = format!("must have at most {CRITERION_BYTES_MAX} bytes, got {bytes}");
            reader.violation(format!("criteria[{index}].value"), rule);
            continue;
        }
        match SearchCriterion::parse(&criterion.field, &criterion.operator, &criterion.value) {
            Ok(criterion) => {
                costs.push((criterion.cost(), index));
                read.push(criterion);
            }
            Err(error) => {
                let field = format!("criteria[{index}].{}", error.member);
                reader.violation(field, error.description);
            }
        }
    }
    check_cost(reader, criteria, &costs);
    read
}

/// Reports a search that would take the database too long, at the first of its dearest criteria.
fn check_cost(reader: &mut Reader, criteria: &[pb::Criterion], costs: &[(usize, usize)]) {
    let total: usize = costs.iter().map(|(cost, _)| cost).sum();
    let dearest = costs.iter().rev().max_by_key(|(cost, _)| cost);
    let Some((cost, index)) = dearest.filter(|_| total > SEARCH_COST_MAX) else {
        return;
    };
    let is_like = criteria[*index].operator == "like";
    let member = if is_like { "value" } else { "field" };
    let rule = format!(
        "makes the search too expensive: it costs {total}, at most {SEARCH_COST_MAX}, and this criterion {cost}; a \
         criterion on an array costs {ARRAY_CRITERION_COST}, and `like` more by the text behind a `%`"
    );
    reader.violation(format!("criteria[{index}].{member}"), rule);
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
            let rule = rule_with_value("must contain only paths of fields", name);
            reader.violation(
                FIELD,
                format!("{rule}: the fields are {}", CasField::names()),
            );
        }
        fields.extend(named);
    }
    CasView::of(fields)
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
                reader.violation(path("field"), rule_with_value(rule, &sort.field));
            }
            Ok(field) => order.push(CasSortKey {
                field,
                descending: direction == Some(SortDirection::Desc),
            }),
            Err(description) => reader.violation(path("field"), description),
        }
    }
    order
}

/// Reads the position of the page token in this sort order.
fn positioned(
    reader: &mut Reader,
    page: Page<Cursor>,
    order: &[CasSortKey],
) -> Page<CasSortPosition> {
    let start = match page.start {
        Start::First => Start::First,
        Start::Skip(records) => Start::Skip(records),
        Start::After(cursor) => match cursor.position(order) {
            Some(position) => Start::After(position),
            None => {
                reader.page_token_is_invalid();
                Start::First
            }
        },
    };
    Page {
        size: page.size,
        size_field: page.size_field,
        start,
    }
}
