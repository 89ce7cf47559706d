//! RFC 6901 (JSON Pointer): where in a document something is, or is to be put.

use std::collections::BTreeMap;
use std::fmt;

use crate::cas::json::Json;
use crate::limits::POINTER_CHARS_MAX;
use crate::types::text;

/// The names and positions that lead to a value; none leads to the whole document.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Pointer(Vec<String>);

/// Why a location is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Fault {
    /// An object has no such member, an array no such position, or neither is there.
    #[error("is not there")]
    NotThere,
    /// What stands for an array's position is none.
    #[error(
        "must name an array's position in digits without leading zeros, or its end by `-` where something is added"
    )]
    NoPosition,
}

/// What holds values.
enum Holder<'a> {
    Members(&'a mut BTreeMap<String, Json>),
    Items(&'a mut Vec<Json>),
}

impl Pointer {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        if text::check(text, POINTER_CHARS_MAX).is_err() {
            return Err(format!(
                "takes at most {POINTER_CHARS_MAX} characters, and no NUL"
            ));
        }
        if text.is_empty() {
            return Ok(Self::default());
        }
        let names = text
            .strip_prefix('/')
            .ok_or("must be empty or begin with `/`")?;
        names
            .split('/')
            .map(unescape)
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// Whether it leads to the document as a whole.
    pub(super) fn is_whole(&self) -> bool {
        self.0.is_empty()
    }

    /// How many arrays and objects are around the location.
    pub(super) fn depth(&self) -> usize {
        self.0.len()
    }

    /// Whether the location is the document's member `name`, or inside of it.
    pub(super) fn begins_with(&self, name: &str) -> bool {
        self.0.first().is_some_and(|first| first == name)
    }

    /// Whether `inner` is inside of this location, and not the same.
    pub(super) fn contains(&self, inner: &Self) -> bool {
        inner.0.len() > self.0.len() && inner.0.starts_with(&self.0)
    }

    /// The value at the location.
    pub(super) fn get<'a>(&self, document: &'a Json) -> Result<&'a Json, Fault> {
        self.0.iter().try_fold(document, |value, name| match value {
            Json::Object(members) => members.get(name).ok_or(Fault::NotThere),
            Json::Array(items) => items.get(position(name)?).ok_or(Fault::NotThere),
            _ => Err(Fault::NotThere),
        })
    }

    /// The value at the location, to be changed.
    pub(super) fn get_mut<'a>(&self, document: &'a mut Json) -> Result<&'a mut Json, Fault> {
        walk(document, &self.0)
    }

    /// Puts a value at the location: as a member in place of one that is there, into an array before what is there.
    pub(super) fn insert(&self, document: &mut Json, value: Json) -> Result<(), Fault> {
        let Some((last, parents)) = self.0.split_last() else {
            *document = value;
            return Ok(());
        };
        match holder(document, parents)? {
            Holder::Members(members) => {
                members.insert(last.clone(), value);
            }
            Holder::Items(items) => {
                let at = match last.as_str() {
                    "-" => items.len(),
                    digits => position(digits)?,
                };
                if at > items.len() {
                    return Err(Fault::NotThere);
                }
                items.insert(at, value);
            }
        }
        Ok(())
    }

    /// Takes the value at the location out of what holds it; the whole document, which nothing holds, is not there.
    pub(super) fn remove(&self, document: &mut Json) -> Result<Json, Fault> {
        let (last, parents) = self.0.split_last().ok_or(Fault::NotThere)?;
        match holder(document, parents)? {
            Holder::Members(members) => members.remove(last).ok_or(Fault::NotThere),
            Holder::Items(items) => {
                let at = position(last)?;
                (at < items.len())
                    .then(|| items.remove(at))
                    .ok_or(Fault::NotThere)
            }
        }
    }
}

impl fmt::Display for Pointer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0
            .iter()
            .try_for_each(|name| write!(f, "/{}", escape(name)))
    }
}

fn walk<'a>(document: &'a mut Json, names: &[String]) -> Result<&'a mut Json, Fault> {
    names.iter().try_fold(document, |value, name| match value {
        Json::Object(members) => members.get_mut(name).ok_or(Fault::NotThere),
        Json::Array(items) => items.get_mut(position(name)?).ok_or(Fault::NotThere),
        _ => Err(Fault::NotThere),
    })
}

fn holder<'a>(document: &'a mut Json, names: &[String]) -> Result<Holder<'a>, Fault> {
    match walk(document, names)? {
        Json::Object(members) => Ok(Holder::Members(members)),
        Json::Array(items) => Ok(Holder::Items(items)),
        _ => Err(Fault::NotThere),
    }
}

/// An array's position: `0`, or digits that do not begin with one.
fn position(name: &str) -> Result<usize, Fault> {
    let is_position = name.bytes().all(|byte| byte.is_ascii_digit())
        && (name == "0" || !name.starts_with('0'))
        && !name.is_empty();
    match is_position {
        // What does not fit is past the end of every array.
        true => name.parse().map_err(|_| Fault::NotThere),
        // The element behind the last one, which is never there.
        false if name == "-" => Err(Fault::NotThere),
        false => Err(Fault::NoPosition),
    }
}

/// A name as a pointer has it.
pub(crate) fn escape(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

/// `~1` stands for `/` and `~0` for `~`; no other character follows a `~`.
fn unescape(name: &str) -> Result<String, String> {
    let mut parts = name.split('~');
    let mut unescaped = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (escaped, rest) = match part.as_bytes().first() {
            Some(b'0') => ('~', &part[1..]),
            Some(b'1') => ('/', &part[1..]),
            _ => return Err("must have `~0` for `~` and `~1` for `/`".into()),
        };
        unescaped.push(escaped);
        unescaped.push_str(rest);
    }
    Ok(unescaped)
}
