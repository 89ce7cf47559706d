//! From document to what a record's writers say. Null stands for unset, wherever a member is; members that the form does
//! not have are refused.

use std::collections::BTreeMap;

use chrono::DateTime;

use crate::cas::document::READ_ONLY;
use crate::cas::json::{Json, Number};
use crate::cas::model::{Affirmation, Comment, Said, Spelling, StatusMessage, Value, Word};
use crate::cas::patch::escape;
use crate::error::{Result, Violations};
use crate::limits::CAS_ELEMENTS_MAX;
use crate::types::amount::Amount;
use crate::types::time::Time;

/// Reads what the writers say, and judges it whole; fields are named by their JSON pointers. What the server's members
/// hold is not looked at.
pub fn read(document: &Json) -> Result<Said> {
    let mut violations = Violations::default();
    let whole = Place {
        pointer: String::new(),
        value: Some(document),
        violations: &mut violations,
    };
    let said = whole.object(said);
    said.judge(Spelling::Document, &mut violations);
    violations.finish()?;
    Ok(said)
}

fn said(object: &mut Object<'_, '_>) -> Said {
    for name in READ_ONLY {
        object.at(name);
    }
    let (value, override_value) = object
        .at("allocationValue")
        .object(|object| (value(object), object.at("overrideAllocation").object(value)));
    Said {
        deal_id: object.at("dealId").text(),
        tranche_id: object.at("trancheId").text(),
        source_id: object.at("sourceId").text(),
        investor_account_id: object.at("investorAccountId").text(),
        indication_id: object.at("indicationId").text(),
        company_id: object.at("companyId").integer(),
        source_row_version: object.at("sourceRowVersion").text(),
        order_status: object.at("orderStatus").word(),
        indication_group_id: object.at("indicationGroupId").text(),
        status_messages: object.at("statusMessages").array(status_message),
        value,
        override_value,
        distribution_type: object.at("distributionType").word(),
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

fn value(object: &mut Object<'_, '_>) -> Value {
    Value {
        kind: object.at("type").word(),
        amount: object
            .at("data")
            .object(|object| object.at("amount").amount()),
    }
}

fn status_message(object: &mut Object<'_, '_>) -> StatusMessage {
    StatusMessage {
        code: object.at("code").text(),
        message: object.at("message").text(),
    }
}

fn comment(object: &mut Object<'_, '_>) -> Comment {
    Comment {
        comment_type: object.at("commentType").text(),
        comment: object.at("comment").text(),
        last_modified_by: object.at("lastModifiedBy").text(),
        last_modified_at: object.at("lastModifiedDateTime").time(),
    }
}

fn affirmation(object: &mut Object<'_, '_>) -> Affirmation {
    Affirmation {
        is_affirmed: object.at("isAffirmed").flag(),
        modified_by: object.at("modifiedBy").text(),
        modified_at: object.at("modifiedDateTime").time(),
    }
}

/// An object as it is read.
struct Object<'d, 'v> {
    pointer: &'v str,
    members: &'d BTreeMap<String, Json>,
    /// The members that the form has here.
    known: Vec<&'static str>,
    violations: &'v mut Violations,
}

impl<'d> Object<'d, '_> {
    /// A member; one that is null is unset.
    fn at(&mut self, name: &'static str) -> Place<'d, '_> {
        self.known.push(name);
        Place {
            pointer: format!("{}/{name}", self.pointer),
            value: self.members.get(name).filter(|value| **value != Json::Null),
            violations: self.violations,
        }
    }

    fn refuse_unknown_members(self) {
        for name in self.members.keys() {
            if !self.known.contains(&name.as_str()) {
                let field = format!("{}/{}", self.pointer, escape(name));
                self.violations
                    .add(field, "is not a member of the document form");
            }
        }
    }
}

/// Where a value may be. Each method returns something in any case, so that the next place is judged too.
struct Place<'d, 'v> {
    pointer: String,
    value: Option<&'d Json>,
    violations: &'v mut Violations,
}

impl<'d> Place<'d, '_> {
    fn text(self) -> Option<String> {
        self.value("must be a text", |value| match value {
            Json::Text(text) => Some(text.clone()),
            _ => None,
        })
    }

    fn flag(self) -> Option<bool> {
        self.value("must be true or false", |value| match value {
            Json::Bool(is) => Some(*is),
            _ => None,
        })
    }

    fn integer(self) -> Option<i64> {
        self.value("must be a whole number of 64 bits", |value| {
            number(value)?.to_plain(19, 0)?.parse().ok()
        })
    }

    fn amount(self) -> Option<Amount> {
        let form = "must be a number of at most 16 digits before and 12 after the point";
        self.value(form, |value| {
            Amount::parse_decimal(&number(value)?.to_plain(16, 12)?)
        })
    }

    fn time(self) -> Option<Time> {
        let form = "must be a time such as `2020-04-09T04:36:37.423Z`, from the year 1 to 9999";
        self.value(form, |value| match value {
            Json::Text(text) => {
                let time = DateTime::parse_from_rfc3339(text).ok()?.to_utc();
                // Counted and back: a leap second becomes the second behind it, as Postgres has it.
                let time = Time::from_micros(Time::floor(time).micros())?;
                time.is_storable().then_some(time)
            }
            _ => None,
        })
    }

    fn word<W: Word>(self) -> Option<W> {
        let words: Vec<_> = W::ALL.iter().map(|word| word.as_str()).collect();
        let form = format!("must be one of {}", words.join(", "));
        self.value(&form, |value| match value {
            Json::Text(text) => W::parse(text),
            _ => None,
        })
    }

    /// An object; one that is unset holds nothing.
    fn object<T: Default>(self, read: impl FnOnce(&mut Object<'d, '_>) -> T) -> T {
        match self.value {
            None => T::default(),
            Some(Json::Object(members)) => {
                let mut object = Object {
                    pointer: &self.pointer,
                    members,
                    known: Vec::new(),
                    violations: self.violations,
                };
                let value = read(&mut object);
                object.refuse_unknown_members();
                value
            }
            Some(_) => {
                self.violations.add(self.pointer, "must be an object");
                T::default()
            }
        }
    }

    /// An array of objects; one that is unset is empty. Of one that is too long, no more is read than tells so.
    fn array<T: Default>(self, read: impl Fn(&mut Object<'d, '_>) -> T) -> Vec<T> {
        let Some(Json::Array(items)) = self.value else {
            if self.value.is_some() {
                self.violations.add(self.pointer, "must be an array");
            }
            return Vec::new();
        };
        let elements = items
            .iter()
            .enumerate()
            .take(CAS_ELEMENTS_MAX + 1)
            .map(|(index, item)| {
                let element = Place {
                    pointer: format!("{}/{index}", self.pointer),
                    value: Some(item),
                    violations: &mut *self.violations,
                };
                element.object(&read)
            });
        elements.collect()
    }

    fn value<T>(self, form: &str, read: impl FnOnce(&Json) -> Option<T>) -> Option<T> {
        let read = read(self.value?);
        if read.is_none() {
            self.violations.add(self.pointer, form);
        }
        read
    }
}

fn number(value: &Json) -> Option<&Number> {
    match value {
        Json::Number(number) => Some(number),
        _ => None,
    }
}
