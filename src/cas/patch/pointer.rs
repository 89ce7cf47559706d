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

/// Why a document does not have a location.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum JsonPointerError {
    /// An object on the path lacks the member, an array the position, or a value on the path is neither.
    #[error("must be a location that the document has")]
    NotThere,
    /// The path goes through an array, and its name there is not a position.
    #[error(
        "must have an array's position as digits without leading zeros, or `-` for its end where a value is added"
    )]
    NotAPosition,
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

    /// Whether the location is the member `name` of the document, or inside it.
    pub(super) fn begins_with(&self, name: &str) -> bool {
        self.0.first().is_some_and(|first| first == name)
    }

    /// Whether `inner` is inside this location; a location is not inside itself.
    pub(super) fn contains(&self, inner: &Self) -> bool {
        inner.0.len() > self.0.len() && inner.0.starts_with(&self.0)
    }

    /// Returns the value at the location.
    pub(super) fn get<'a>(&self, document: &'a Json) -> Result<&'a Json, JsonPointerError> {
        self.0.iter().try_fold(document, |value, name| match value {
            Json::Object(members) => members.get(name).ok_or(JsonPointerError::NotThere),
            Json::Array(items) => items.get(position(name)?).ok_or(JsonPointerError::NotThere),
            _ => Err(JsonPointerError::NotThere),
        })
    }

    /// Returns the value at the location for changes.
    pub(super) fn get_mut<'a>(
        &self,
        document: &'a mut Json,
    ) -> Result<&'a mut Json, JsonPointerError> {
        walk(document, &self.0)
    }

    /// Adds a value at the location. It replaces a member of an object, and is inserted before an element of an array.
    pub(super) fn insert(&self, document: &mut Json, value: Json) -> Result<(), JsonPointerError> {
        let Some((last, parents)) = self.0.split_last() else {
            *document = value;
            return Ok(());
        };
        match container(document, parents)? {
            JsonContainer::Members(members) => {
                members.insert(last.clone(), value);
            }
            JsonContainer::Items(items) => {
                let index = match last.as_str() {
                    "-" => items.len(),
                    digits => position(digits)?,
                };
                if index > items.len() {
                    return Err(JsonPointerError::NotThere);
                }
                items.insert(index, value);
            }
        }
        Ok(())
    }

    /// Removes the value at the location and returns it. The whole document cannot be removed.
    pub(super) fn remove(&self, document: &mut Json) -> Result<Json, JsonPointerError> {
        let (last, parents) = self.0.split_last().ok_or(JsonPointerError::NotThere)?;
        match container(document, parents)? {
            JsonContainer::Members(members) => {
                members.remove(last).ok_or(JsonPointerError::NotThere)
            }
            JsonContainer::Items(items) => {
                let index = position(last)?;
                (index < items.len())
                    .then(|| items.remove(index))
                    .ok_or(JsonPointerError::NotThere)
            }
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

fn walk<'a>(document: &'a mut Json, names: &[String]) -> Result<&'a mut Json, JsonPointerError> {
    names.iter().try_fold(document, |value, name| match value {
        Json::Object(members) => members.get_mut(name).ok_or(JsonPointerError::NotThere),
        Json::Array(items) => items
            .get_mut(position(name)?)
            .ok_or(JsonPointerError::NotThere),
        _ => Err(JsonPointerError::NotThere),
    })
}

fn container<'a>(
    document: &'a mut Json,
    names: &[String],
) -> Result<JsonContainer<'a>, JsonPointerError> {
    match walk(document, names)? {
        Json::Object(members) => Ok(JsonContainer::Members(members)),
        Json::Array(items) => Ok(JsonContainer::Items(items)),
        _ => Err(JsonPointerError::NotThere),
    }
}

/// Parses the position of an array's element: digits without a leading zero.
fn position(name: &str) -> Result<usize, JsonPointerError> {
    let is_position = name.bytes().all(|byte| byte.is_ascii_digit())
        && (name == "0" || !name.starts_with('0'))
        && !name.is_empty();
    match is_position {
        // A number that does not fit `usize` is past the end of every array.
        true => name.parse().map_err(|_| JsonPointerError::NotThere),
        // `-` is the position after the last element, which never exists.
        false if name == "-" => Err(JsonPointerError::NotThere),
        false => Err(JsonPointerError::NotAPosition),
    }
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
