//! JSON Pointer (RFC 6901): locations in a JSON document.

use std::collections::BTreeMap;
use std::fmt;

use crate::cas::json::Json;
use crate::error::rule_with_value;
use crate::limits::POINTER_CHARS_MAX;
use crate::types::text;

/// The names of members and positions of elements on the path from the root to a value; empty for the whole document.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct JsonPointer(Vec<String>);

/// The part of a location that a document does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct MissingPart {
    /// How many of the location's names lead to the part. The names behind them are inside of it.
    pub(super) names: usize,
    pub(super) why: Absence,
}

/// Why a document does not have a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Absence {
    /// The object around it lacks the member, or the value is null and something inside of it is meant.
    Unset,
    /// The array around it, of this length, has no such element.
    NoElement(usize),
    /// The value around it is neither an object nor an array.
    NoContainer,
}

/// The array or object that contains a location.
enum JsonContainer<'a> {
    Members(&'a mut BTreeMap<String, Json>),
    Items(&'a mut Vec<Json>),
}

impl JsonPointer {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        if text::check(text, POINTER_CHARS_MAX).is_err() {
            return Err(format!(
                "must have at most {POINTER_CHARS_MAX} characters, none of which is NUL"
            ));
        }
        if text.is_empty() {
            return Ok(Self::default());
        }
        let names = text
            .strip_prefix('/')
            .ok_or_else(|| rule_with_value("must be empty or begin with `/`", text))?;
        let names = names.split('/').map(unescape).collect::<Option<_>>();
        names.map(Self).ok_or_else(|| {
            rule_with_value("must have `~` only as `~0` for `~` or `~1` for `/`", text)
        })
    }

    /// Whether the location is the whole document.
    pub(super) fn is_whole(&self) -> bool {
        self.0.is_empty()
    }

    /// Number of arrays and objects that the location is nested in.
    pub(super) fn depth(&self) -> usize {
        self.0.len()
    }

    /// The names of members and positions of elements, from the root on.
    pub(super) fn names(&self) -> &[String] {
        &self.0
    }

    /// The location that the first so many names lead to.
    pub(super) fn first(&self, names: usize) -> Self {
        Self(self.0.iter().take(names).cloned().collect())
    }

    /// Whether `inner` is inside this location; a location is not inside itself.
    pub(super) fn contains(&self, inner: &Self) -> bool {
        inner.0.len() > self.0.len() && inner.0.starts_with(&self.0)
    }

    /// Returns the value at the location.
    pub(super) fn get<'a>(&self, document: &'a Json) -> Result<&'a Json, MissingPart> {
        let mut value = document;
        for (index, name) in self.0.iter().enumerate() {
            let inner = match value {
                Json::Object(members) => members.get(name),
                Json::Array(items) => position(name).and_then(|at| items.get(at)),
                _ => None,
            };
            value = inner.ok_or_else(|| missing_in(value, index))?;
        }
        Ok(value)
    }

    /// Whether a location is inside an array that an unset value would contain: such a location is an element that is
    /// not there, where others read as null.
    pub(super) fn has_position_behind(&self, names: usize) -> bool {
        let is_position = |name: &String| name == "-" || position(name).is_some();
        self.0.iter().skip(names).any(is_position)
    }

    /// Returns the value at the location for changes.
    pub(super) fn get_mut<'a>(&self, document: &'a mut Json) -> Result<&'a mut Json, MissingPart> {
        walk(document, &self.0)
    }

    /// Adds a value at the location. It replaces a member of an object, and is inserted before an element of an array.
    pub(super) fn insert(&self, document: &mut Json, value: Json) -> Result<(), MissingPart> {
        let Some((last, parents)) = self.0.split_last() else {
            *document = value;
            return Ok(());
        };
        match container(document, parents)? {
            JsonContainer::Members(members) => {
                members.insert(last.clone(), value);
            }
            JsonContainer::Items(items) => {
                let end = items.len();
                let at = if last == "-" {
                    Some(end)
                } else {
                    position(last)
                };
                let at = at.filter(|at| *at <= end);
                items.insert(at.ok_or_else(|| self.no_element(end))?, value);
            }
        }
        Ok(())
    }

    /// Removes the value at the location and returns it. The whole document cannot be removed.
    pub(super) fn remove(&self, document: &mut Json) -> Result<Json, MissingPart> {
        let whole = MissingPart {
            names: 0,
            why: Absence::NoContainer,
        };
        let (last, parents) = self.0.split_last().ok_or(whole)?;
        match container(document, parents)? {
            JsonContainer::Members(members) => members.remove(last).ok_or(MissingPart {
                names: self.0.len(),
                why: Absence::Unset,
            }),
            JsonContainer::Items(items) => {
                let at = position(last).filter(|at| *at < items.len());
                let at = at.ok_or_else(|| self.no_element(items.len()))?;
                Ok(items.remove(at))
            }
        }
    }

    fn no_element(&self, length: usize) -> MissingPart {
        MissingPart {
            names: self.0.len(),
            why: Absence::NoElement(length),
        }
    }
}

impl fmt::Display for JsonPointer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0
            .iter()
            .try_for_each(|name| write!(f, "/{}", escape(name)))
    }
}

/// What is missing if a value, which the first `index` names lead to, does not have what the next name stands for.
fn missing_in(value: &Json, index: usize) -> MissingPart {
    let (names, why) = match value {
        Json::Object(_) => (index + 1, Absence::Unset),
        Json::Array(items) => (index + 1, Absence::NoElement(items.len())),
        Json::Null => (index, Absence::Unset),
        Json::Bool(_) | Json::Number(_) | Json::Text(_) => (index, Absence::NoContainer),
    };
    MissingPart { names, why }
}

fn walk<'a>(document: &'a mut Json, names: &[String]) -> Result<&'a mut Json, MissingPart> {
    let mut value = document;
    for (index, name) in names.iter().enumerate() {
        let missing = missing_in(value, index);
        let inner = match value {
            Json::Object(members) => members.get_mut(name),
            Json::Array(items) => position(name).and_then(|at| items.get_mut(at)),
            _ => None,
        };
        value = inner.ok_or(missing)?;
    }
    Ok(value)
}

fn container<'a>(
    document: &'a mut Json,
    names: &[String],
) -> Result<JsonContainer<'a>, MissingPart> {
    let value = walk(document, names)?;
    let missing = missing_in(value, names.len());
    match value {
        Json::Object(members) => Ok(JsonContainer::Members(members)),
        Json::Array(items) => Ok(JsonContainer::Items(items)),
        _ => Err(missing),
    }
}

/// Parses the position of an array's element: digits without a leading zero. `-` is not the position of an element, but
/// that behind the last one.
pub(super) fn position(name: &str) -> Option<usize> {
    let is_position = name.bytes().all(|byte| byte.is_ascii_digit())
        && (name == "0" || !name.starts_with('0'))
        && !name.is_empty();
    // A number that does not fit is past the end of every array.
    is_position.then(|| name.parse().unwrap_or(usize::MAX))
}

/// The name of a member with the escapes of a JSON pointer.
pub(crate) fn escape(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

/// Replaces `~1` by `/` and `~0` by `~`; `None` if a `~` is followed by anything else.
fn unescape(name: &str) -> Option<String> {
    let mut parts = name.split('~');
    let mut unescaped = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (escaped, rest) = match part.as_bytes().first() {
            Some(b'0') => ('~', &part[1..]),
            Some(b'1') => ('/', &part[1..]),
            _ => return None,
        };
        unescaped.push(escaped);
        unescaped.push_str(rest);
    }
    Some(unescaped)
}
