//! What a patch makes of a record, written down a second time: the form as one table, and the operations as they are read
//! aloud. Numbers are of the few that an `f64` holds exactly.

use serde_json::{Map, Value, json};

use super::pb;

/// How a patch ends that changes nothing.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum End {
    /// This operation is a test that does not hold.
    TestFailed(usize),
    /// This operation is about something that is not there.
    Missing(usize),
    /// This operation is about something that no record can have.
    Wrong(usize),
    /// The result is no record.
    NoRecord,
}

/// What may stand somewhere.
enum Form {
    Text,
    Whole,
    Number,
    Flag,
    Word(&'static [&'static str]),
    Object(&'static [(&'static str, Form)]),
    List(&'static Form),
}

use Form::{Flag, List, Number, Object, Text, Whole, Word};

const VALUE_TYPE: Form = Word(&["cash", "quantity"]);
const DATA: Form = Object(&[("amount", Number)]);

/// A record without its times, which no patch here names.
const RECORD: Form = Object(&[
    ("dealId", Text),
    ("trancheId", Text),
    ("sourceId", Text),
    ("investorAccountId", Text),
    ("indicationId", Text),
    ("companyId", Whole),
    ("sourceRowVersion", Text),
    (
        "orderStatus",
        Word(&[
            "pending",
            "delivered",
            "successful",
            "failed",
            "deletePending",
        ]),
    ),
    ("indicationGroupId", Text),
    (
        "statusMessages",
        List(&Object(&[("code", Text), ("message", Text)])),
    ),
    (
        "allocationValue",
        Object(&[
            ("type", VALUE_TYPE),
            ("data", DATA),
            (
                "overrideAllocation",
                Object(&[("type", VALUE_TYPE), ("data", DATA)]),
            ),
        ]),
    ),
    ("distributionType", Word(&["manual", "auto", "none"])),
    (
        "comment",
        Object(&[(
            "comments",
            List(&Object(&[
                ("commentType", Text),
                ("comment", Text),
                ("lastModifiedBy", Text),
            ])),
        )]),
    ),
    (
        "detail",
        Object(&[(
            "order",
            Object(&[(
                "affirmation",
                Object(&[("isAffirmed", Flag), ("modifiedBy", Text)]),
            )]),
        )]),
    ),
]);

/// What is left of a value once it is stored: null where it is unset, `None` where it has no place in a record.
fn stored(value: &Value, form: &Form) -> Option<Value> {
    let fits = match form {
        Text => value.is_string(),
        Whole => value.as_f64().is_some_and(|number| number.fract() == 0.0),
        Number => value.is_number(),
        Flag => value.is_boolean(),
        Word(words) => words.iter().any(|word| *value == **word),
        Object(members) => return stored_object(value, members),
        List(form) => return stored_list(value, form),
    };
    (fits || value.is_null()).then(|| in_floats(value))
}

fn stored_object(value: &Value, form: &[(&str, Form)]) -> Option<Value> {
    let nothing = Map::new();
    let members = if value.is_null() {
        &nothing
    } else {
        value.as_object()?
    };
    let is_known = |name: &String| form.iter().any(|(known, _)| name == known);
    if !members.keys().all(is_known) {
        return None;
    }
    let mut kept = Map::new();
    for (name, form) in form {
        let member = stored(members.get(*name).unwrap_or(&Value::Null), form)?;
        if !member.is_null() {
            kept.insert((*name).into(), member);
        }
    }
    Some(if kept.is_empty() {
        Value::Null
    } else {
        kept.into()
    })
}

fn stored_list(value: &Value, form: &Form) -> Option<Value> {
    if value.is_null() {
        return Some(json!([]));
    }
    let items = value.as_array()?.iter();
    let kept = items.map(|item| match stored(item, form)? {
        // An element with nothing in it is still one, but null never was.
        Value::Null => item.is_object().then(|| json!({})),
        kept => Some(kept),
    });
    kept.collect()
}

/// Every number as an `f64`, so that 1 is 1.0.
fn in_floats(value: &Value) -> Value {
    match value {
        Value::Number(number) => json!(number.as_f64()),
        Value::Array(items) => items.iter().map(in_floats).collect(),
        Value::Object(members) => members
            .iter()
            .map(|(name, value)| (name.clone(), in_floats(value)))
            .collect(),
        other => other.clone(),
    }
}

/// The pointers to everything in a document but itself.
pub(super) fn paths(document: &Value) -> Vec<String> {
    let children: Vec<(String, &Value)> = match document {
        Value::Object(members) => members
            .iter()
            .map(|(name, value)| (name.clone(), value))
            .collect(),
        Value::Array(items) => items
            .iter()
            .enumerate()
            .map(|(at, value)| (at.to_string(), value))
            .collect(),
        _ => Vec::new(),
    };
    let below = children.into_iter().flat_map(|(name, value)| {
        let inside = paths(value)
            .into_iter()
            .map(|path| format!("/{name}{path}"))
            .collect::<Vec<_>>();
        [vec![format!("/{name}")], inside].concat()
    });
    below.collect()
}

/// Whether a record can have what a pointer leads to; `adds` allows the place behind an array's last element.
fn is_possible(pointer: &str, adds: bool) -> bool {
    let mut form = &RECORD;
    let mut names = pointer.split('/').skip(1).peekable();
    while let Some(name) = names.next() {
        form = match form {
            Object(members) => match members.iter().find(|(known, _)| *known == name) {
                Some((_, form)) => form,
                None => return false,
            },
            List(form) if is_position(name) => form,
            List(form) if name == "-" && adds && names.peek().is_none() => form,
            _ => return false,
        };
    }
    true
}

fn is_position(name: &str) -> bool {
    let number: Result<u64, _> = name.parse();
    number.is_ok_and(|number| number.to_string() == name)
}

/// What a test reads: null where a member is unset, and nothing where an element is not there.
fn read(document: &Value, pointer: &str) -> Option<Value> {
    let mut value = document;
    let mut names = pointer.split('/').skip(1);
    while let Some(name) = names.next() {
        let inner = match value {
            Value::Object(members) => members.get(name),
            Value::Array(items) => Some(items.get(name.parse::<usize>().ok()?)?),
            Value::Null if is_position(name) => return None,
            Value::Null => None,
            _ => return None,
        };
        match inner {
            Some(inner) => value = inner,
            None => return (!names.any(is_position)).then_some(Value::Null),
        }
    }
    Some(value.clone())
}

/// What a patch makes of a document, read-only members aside. No pointer here needs an escape, or is empty.
pub(super) fn patched(document: &Value, operations: &Value) -> Result<Value, End> {
    let operations = operations.as_array().expect("an array");
    for (index, operation) in operations.iter().enumerate() {
        let text = |name: &str| operation[name].as_str().expect("a text");
        let (path, from) = (text("path"), text("from"));
        let op = text("op");
        let is_from_used = ["move", "copy"].contains(&op);
        let adds = is_from_used || op == "add";
        if !is_possible(path, adds) || (is_from_used && !is_possible(from, false)) {
            return Err(End::Wrong(index));
        }
    }
    let mut document = document.clone();
    for (index, operation) in operations.iter().enumerate() {
        let text = |name: &str| operation[name].as_str().expect("a text");
        let (path, from, value) = (text("path"), text("from"), &operation["value"]);
        let there = |path: &str| paths(&document).iter().any(|each| each == path);
        let found = |path: &str| document.pointer(path).filter(|_| there(path)).cloned();
        let done = match text("op") {
            "add" => put(&mut document, path, value.clone()),
            "remove" => take(&mut document, path).map(drop),
            "replace" => match there(path) {
                true => document
                    .pointer_mut(path)
                    .map(|place| *place = value.clone()),
                false => None,
            },
            "move" if path == from => found(path).map(drop),
            "move" => take(&mut document, from).and_then(|value| put(&mut document, path, value)),
            "copy" => found(from).and_then(|value| put(&mut document, path, value)),
            _ => match read(&document, path) {
                Some(found) if in_floats(&found) == in_floats(value) => Some(()),
                _ => return Err(End::TestFailed(index)),
            },
        };
        done.ok_or(End::Missing(index))?;
    }
    stored(&document, &RECORD).ok_or(End::NoRecord)
}

fn put(document: &mut Value, path: &str, value: Value) -> Option<()> {
    let (parent, last) = path.rsplit_once('/').expect("a pointer");
    match document.pointer_mut(parent)? {
        Value::Object(members) => drop(members.insert(last.into(), value)),
        Value::Array(items) => {
            let mut ends = 0..=items.len();
            let at = match last {
                "-" => items.len(),
                digits => ends.find(|at| at.to_string() == digits)?,
            };
            items.insert(at, value);
        }
        _ => return None,
    }
    Some(())
}

fn take(document: &mut Value, path: &str) -> Option<Value> {
    let (parent, last) = path.rsplit_once('/').expect("a pointer");
    match document.pointer_mut(parent)? {
        Value::Object(members) => members.remove(last),
        Value::Array(items) => {
            let at = (0..items.len()).find(|at| at.to_string() == last)?;
            Some(items.remove(at))
        }
        _ => None,
    }
}

/// A record as the document has it, without the server's members.
pub(super) fn document(record: &pb::CasAllocation) -> Value {
    let word = |words: &[&str], number: i32| match usize::try_from(number).expect("positive") {
        0 => Value::Null,
        at => json!(words[at - 1]),
    };
    let amount = |data: &Option<pb::AllocationValueData>| {
        let amount = data.as_ref().and_then(|data| data.amount.as_ref());
        amount.map(|amount| amount.parse::<f64>().expect("a number"))
    };
    let time = |time: &Option<prost_types::Timestamp>| {
        assert_eq!(*time, None, "no patch here sets a time");
    };
    let kinds = ["cash", "quantity"];
    let value = record.allocation_value.clone().unwrap_or_default();
    let instead = value.override_allocation.clone().unwrap_or_default();
    let comments = record.comment.iter().flat_map(|comment| &comment.comments);
    let comments = comments.map(|comment| {
        time(&comment.last_modified_date_time);
        json!({
            "commentType": comment.comment_type,
            "comment": comment.comment,
            "lastModifiedBy": comment.last_modified_by,
        })
    });
    let statuses = record.status_messages.iter();
    let statuses = statuses.map(|status| json!({"code": status.code, "message": status.message}));
    let affirmation = record
        .detail
        .clone()
        .and_then(|detail| detail.order?.affirmation);
    let affirmation = affirmation.unwrap_or_default();
    time(&affirmation.modified_date_time);
    let statuses_of_order = [
        "pending",
        "delivered",
        "successful",
        "failed",
        "deletePending",
    ];
    let written = json!({
        "dealId": record.deal_id,
        "trancheId": record.tranche_id,
        "sourceId": record.source_id,
        "investorAccountId": record.investor_account_id,
        "indicationId": record.indication_id,
        "companyId": record.company_id,
        "sourceRowVersion": record.source_row_version,
        "orderStatus": word(&statuses_of_order, record.order_status),
        "indicationGroupId": record.indication_group_id,
        "statusMessages": statuses.collect::<Vec<_>>(),
        "allocationValue": {
            "type": word(&kinds, value.r#type),
            "data": {"amount": amount(&value.data)},
            "overrideAllocation": {
                "type": word(&kinds, instead.r#type),
                "data": {"amount": amount(&instead.data)},
            },
        },
        "distributionType": word(&["manual", "auto", "none"], record.distribution_type),
        "comment": {"comments": comments.collect::<Vec<_>>()},
        "detail": {"order": {"affirmation": {
            "isAffirmed": affirmation.is_affirmed,
            "modifiedBy": affirmation.modified_by,
        }}},
    });
    stored(&written, &RECORD).expect("a record")
}
