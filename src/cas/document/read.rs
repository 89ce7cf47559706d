//! Reads the fields that callers set from the document form. Everywhere `null` means unset; members that the document
//! form does not have are violations.

use std::collections::BTreeMap;

use crate::cas::field::SERVER_MEMBERS;
use crate::cas::json::{Json, JsonNumber};
use crate::cas::model::{Affirmation, CasValue, Comment, RecordFields, StatusMessage};
use crate::cas::operand::unknown_enum_value;
use crate::cas::patch::escape;
use crate::cas::string_enum::StringEnum;
use crate::cas::validate::FieldNaming;
use crate::error::{Result, ViolatedRule, Violations, rule_with_value};
use crate::limits::CAS_ELEMENTS_MAX;
use crate::types::amount::Amount;
use crate::types::time::{Time, TimeTextError};

/// Reads the fields that callers set, and validates them; the members that the server sets are ignored.
///
/// # Errors
/// `InvalidRequest` with every violation, each with the JSON pointer of its value.
pub(crate) fn read(document: &Json) -> Result<RecordFields> {
    let mut violations = Violations::default();
    let root = DocumentValue {
        pointer: String::new(),
        value: Some(document),
        violations: &mut violations,
    };
    let fields = root.object(record_fields);
    fields.validate(FieldNaming::Document, &mut violations);
    violations.finish()?;
    Ok(fields)
}

fn record_fields(object: &mut ObjectReader<'_, '_>) -> RecordFields {
    for name in SERVER_MEMBERS {
        object.at(name);
    }
    let (value, override_value) = object
        .at("allocationValue")
        .object(|object| (value(object), object.at("overrideAllocation").object(value)));
    RecordFields {
        deal_id: object.at("dealId").text(),
        tranche_id: object.at("trancheId").text(),
        source_id: object.at("sourceId").text(),
        investor_account_id: object.at("investorAccountId").text(),
        indication_id: object.at("indicationId").text(),
        company_id: object.at("companyId").integer(),
        source_row_version: object.at("sourceRowVersion").text(),
        order_status: object.at("orderStatus").string_enum(),
        indication_group_id: object.at("indicationGroupId").text(),
        status_messages: object.at("statusMessages").array(status_message),
        value,
        override_value,
        distribution_type: object.at("distributionType").string_enum(),
        comments: object
            .at("comment")
            .object(|object| object.at("comments").array(comment)),
        affirmation: object.at("detail").object(|object| {
            object
                .at("order")
                .object(|object| object.at("affirmation").object(affirmation))
        }),
    }
}

fn value(object: &mut ObjectReader<'_, '_>) -> CasValue {
    CasValue {
        value_type: object.at("type").string_enum(),
        amount: object
            .at("data")
            .object(|object| object.at("amount").amount()),
    }
}

fn status_message(object: &mut ObjectReader<'_, '_>) -> StatusMessage {
    StatusMessage {
        code: object.at("code").text(),
        message: object.at("message").text(),
    }
}

fn comment(object: &mut ObjectReader<'_, '_>) -> Comment {
    Comment {
        comment_type: object.at("commentType").text(),
        comment: object.at("comment").text(),
        last_modified_by: object.at("lastModifiedBy").text(),
        last_modified_at: object.at("lastModifiedDateTime").time(),
    }
}

fn affirmation(object: &mut ObjectReader<'_, '_>) -> Affirmation {
    Affirmation {
        is_affirmed: object.at("isAffirmed").flag(),
        modified_by: object.at("modifiedBy").text(),
        modified_at: object.at("modifiedDateTime").time(),
    }
}

/// An object of the document, with the members that have been read so far.
struct ObjectReader<'d, 'v> {
    pointer: &'v str,
    members: &'d BTreeMap<String, Json>,
    /// Names of the members that the document form has here.
    known: Vec<&'static str>,
    violations: &'v mut Violations,
}

impl<'d> ObjectReader<'d, '_> {
    /// The value of a member; `null` is unset.
    fn at(&mut self, name: &'static str) -> DocumentValue<'d, '_> {
        self.known.push(name);
        DocumentValue {
            pointer: format!("{}/{name}", self.pointer),
            value: self.members.get(name).filter(|value| **value != Json::Null),
            violations: self.violations,
        }
    }

    fn refuse_unknown_members(self) {
        for name in self.members.keys() {
            if !self.known.contains(&name.as_str()) {
                let field = format!("{}/{}", self.pointer, escape(name));
                let rule = ViolatedRule::unknown_name("member", name, &self.known);
                self.violations.add(field, rule);
            }
        }
    }
}

/// A value of the document with its JSON pointer. Every method returns a value, that of an unset field where there is a
/// violation, so that the rest of the document is checked too.
struct DocumentValue<'d, 'v> {
    pointer: String,
    value: Option<&'d Json>,
    violations: &'v mut Violations,
}

impl<'d> DocumentValue<'d, '_> {
    fn text(self) -> Option<String> {
        self.parse("must be a string", |value| match value {
            Json::Text(text) => Some(text.clone()),
            _ => None,
        })
    }

    fn flag(self) -> Option<bool> {
        self.parse("must be true or false", |value| match value {
            Json::Bool(is) => Some(*is),
            _ => None,
        })
    }

    fn integer(self) -> Option<i64> {
        self.parse("must be an integer of 64 bits", |value| {
            number(value)?.to_plain(19, 0)?.parse().ok()
        })
    }

    fn amount(self) -> Option<Amount> {
        let rule = "must be a number of at most 16 digits before and 12 after the point";
        self.parse(rule, |value| {
            Amount::parse_decimal(&number(value)?.to_plain(16, 12)?)
        })
    }

    fn time(self) -> Option<Time> {
        let value = self.value?;
        let read = match value {
            Json::Text(text) => Time::parse_exact(text).map(Time::floor),
            _ => Err(TimeTextError::Malformed),
        };
        let storable = |time: Time| time.is_storable().then_some(time);
        let read = read.and_then(|time| storable(time).ok_or(TimeTextError::Malformed));
        read.map_err(|error| {
            let rule = violated(&error.to_string(), value);
            self.violations.add(self.pointer, rule);
        })
        .ok()
    }

    fn string_enum<E: StringEnum>(self) -> Option<E> {
        let value = self.value?;
        let values: Vec<_> = E::ALL.iter().map(|value| value.as_str()).collect();
        let rule = match value {
            Json::Text(text) => match E::parse(text) {
                Some(value) => return Some(value),
                None => unknown_enum_value(&values, text),
            },
            _ => violated(&format!("must be one of {}", values.join(", ")), value),
        };
        self.violations.add(self.pointer, rule);
        None
    }

    /// Reads an object; all members of an unset one are unset.
    fn object<T: Default>(self, read: impl FnOnce(&mut ObjectReader<'d, '_>) -> T) -> T {
        match self.value {
            None => T::default(),
            Some(Json::Object(members)) => {
                let mut object = ObjectReader {
                    pointer: &self.pointer,
                    members,
                    known: Vec::new(),
                    violations: self.violations,
                };
                let value = read(&mut object);
                object.refuse_unknown_members();
                value
            }
            Some(value) => {
                let rule = violated("must be an object", value);
                self.violations.add(self.pointer, rule);
                T::default()
            }
        }
    }

    /// Reads an array of objects; an unset one is empty. Of an array that is too long only one element more than
    /// allowed is read, which is enough for the violation.
    fn array<T: Default>(self, read: impl Fn(&mut ObjectReader<'d, '_>) -> T) -> Vec<T> {
        let Some(Json::Array(items)) = self.value else {
            if let Some(value) = self.value {
                let rule = violated("must be an array", value);
                self.violations.add(self.pointer, rule);
            }
            return Vec::new();
        };
        let elements = items
            .iter()
            .enumerate()
            .take(CAS_ELEMENTS_MAX + 1)
            .map(|(index, item)| {
                let element = DocumentValue {
                    pointer: format!("{}/{index}", self.pointer),
                    value: Some(item),
                    violations: &mut *self.violations,
                };
                element.object(&read)
            });
        elements.collect()
    }

    fn parse<T>(self, rule: &str, parse: impl FnOnce(&Json) -> Option<T>) -> Option<T> {
        let value = self.value?;
        let parsed = parse(value);
        if parsed.is_none() {
            self.violations.add(self.pointer, violated(rule, value));
        }
        parsed
    }
}

/// The rule that a value violates, with the kind of the value, and the value if it is short.
fn violated(rule: &str, value: &Json) -> String {
    match value {
        Json::Null => format!("{rule}, got null"),
        Json::Bool(is) => format!("{rule}, got {is}"),
        Json::Number(number) => {
            // Its characters are ASCII.
            let shown: String = number.as_str().chars().take(100).collect();
            let ellipsis = if shown.len() < number.as_str().len() {
                "…"
            } else {
                ""
            };
            format!("{rule}, got the number {shown}{ellipsis}")
        }
        Json::Text(text) => rule_with_value(rule, text).replacen(", got ", ", got the text ", 1),
        Json::Array(_) => format!("{rule}, got an array"),
        Json::Object(_) => format!("{rule}, got an object"),
    }
}

fn number(value: &Json) -> Option<&JsonNumber> {
    match value {
        Json::Number(number) => Some(number),
        _ => None,
    }
}
