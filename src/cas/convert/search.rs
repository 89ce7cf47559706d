//! Reads a search.

use std::collections::BTreeSet;

use super::record::View;
use crate::cas::field::Field;
use crate::cas::search::{Criterion, Cursor, Place, Search, SortKey, parse_field};
use crate::error::Result;
use crate::limits::{
    CAS_PAGE_DEFAULT, CAS_PAGE_MAX, CRITERIA_MAX, CRITERION_BYTES_MAX, FIELDS_CHARS_MAX,
    SORT_FIELDS_MAX,
};
use crate::proto::cas::v1 as pb;
use crate::proto::common::v1::SortDirection;
use crate::rpc::call::Call;
use crate::rpc::page_token::Binding;
use crate::rpc::read::Reader;
use crate::types::page::{Page, Start};

/// A search as it was asked for.
pub(in crate::cas) struct Asked {
    pub(in crate::cas) search: Search,
    /// What is shown of each record.
    pub(in crate::cas) view: View,
    /// The page's number, from 1; 0 where a token was given.
    pub(in crate::cas) number: i32,
    /// What page tokens are bound to.
    pub(in crate::cas) binding: Binding,
}

/// Reads a search, of the caller's firm if the token names one.
pub(in crate::cas) fn search(call: &Call, message: pb::SearchAllocationsRequest) -> Result<Asked> {
    let bound = pb::SearchAllocationsRequest {
        // How a record is shown does not change which records follow.
        projection: String::new(),
        page: 0,
        page_size: 0,
        page_token: String::new(),
        ..message.clone()
    };
    let firm = call.caller.firm.as_ref().map(|firm| firm.0.as_bytes());
    let binding = Binding::with_owner(call.rpc.path, &bound, firm.unwrap_or_default());

    let mut reader = Reader::new();
    let criteria = criteria(&mut reader, &message.criteria);
    let page = reader.numbered_page::<Cursor>(
        message.page,
        message.page_size,
        (CAS_PAGE_DEFAULT, CAS_PAGE_MAX),
        &message.page_token,
        binding,
    );
    let view = view(&mut reader, &message.projection);
    let order = order(&mut reader, &message.sort_fields);
    let page = placed(&mut reader, page, &order);
    reader.finish()?;
    let is_numbered = message.page_token.is_empty();
    Ok(Asked {
        search: Search {
            criteria,
            order,
            page,
        },
        view,
        number: if is_numbered { message.page.max(1) } else { 0 },
        binding,
    })
}

fn criteria(reader: &mut Reader, criteria: &[pb::Criterion]) -> Vec<Criterion> {
    if criteria.len() > CRITERIA_MAX {
        reader.violation("criteria", format!("takes at most {CRITERIA_MAX} criteria"));
        return Vec::new();
    }
    let mut read = Vec::with_capacity(criteria.len());
    for (index, criterion) in criteria.iter().enumerate() {
        if criterion.value.len() > CRITERION_BYTES_MAX {
            let description = format!("must have at most {CRITERION_BYTES_MAX} bytes");
            reader.violation(format!("criteria[{index}].value"), description);
            continue;
        }
        match Criterion::parse(&criterion.field, &criterion.operator, &criterion.value) {
            Ok(criterion) => read.push(criterion),
            Err(fault) => {
                let place = format!("criteria[{index}].{}", fault.part);
                reader.violation(place, fault.description);
            }
        }
    }
    read
}

/// Reads what is shown: everything unless something is named.
fn view(reader: &mut Reader, projection: &str) -> View {
    const FIELD: &str = "projection";
    let text = reader.optional_text(FIELD, Some(projection), FIELDS_CHARS_MAX);
    let text = text.unwrap_or_default();
    if text.is_empty() {
        return View::all();
    }
    let mut fields = BTreeSet::from([Field::Id]);
    if text.len() > FIELDS_CHARS_MAX {
        return View::of(fields);
    }
    for name in text.split(',').map(str::trim) {
        let named = Field::parse_part(name);
        if named.is_empty() {
            let description = format!("no field `{name}`: must be some of {}", Field::names());
            reader.violation(FIELD, description);
        }
        fields.extend(named);
    }
    View::of(fields)
}

fn order(reader: &mut Reader, sort_fields: &[pb::SortField]) -> Vec<SortKey> {
    if sort_fields.len() > SORT_FIELDS_MAX {
        let description = format!("takes at most {SORT_FIELDS_MAX} fields");
        reader.violation("sort_fields", description);
        return Vec::new();
    }
    let mut order: Vec<SortKey> = Vec::with_capacity(sort_fields.len());
    for (index, sort) in sort_fields.iter().enumerate() {
        let place = |part: &str| format!("sort_fields[{index}].{part}");
        let direction: Option<SortDirection> =
            reader.optional_enum(&place("direction"), sort.direction);
        match parse_field(&sort.field) {
            Ok(field) if order.iter().any(|key| key.field == field) => {
                reader.violation(place("field"), "stands here already");
            }
            Ok(field) => order.push(SortKey {
                field,
                descending: direction == Some(SortDirection::Desc),
            }),
            Err(description) => reader.violation(place("field"), description),
        }
    }
    order
}

/// Finds the place of a page in the order.
fn placed(reader: &mut Reader, page: Page<Cursor>, order: &[SortKey]) -> Page<Place> {
    let start = match page.start {
        Start::Skip(records) => Start::Skip(records),
        Start::After(cursor) => match cursor.place(order) {
            Some(place) => Start::After(place),
            None => {
                reader.page_token_is_invalid();
                Start::Skip(0)
            }
        },
    };
    Page {
        size: page.size,
        start,
    }
}
