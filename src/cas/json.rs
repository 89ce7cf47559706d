//! JSON that loses nothing: a number is every digit that was written, and a member named twice is an error.
//!
//! serde_json alone passes numbers through `f64`. Its feature `arbitrary_precision` keeps their digits, but for every other
//! use of serde_json in the program too, and then holds `1.0` and `1` for different.

mod number;
mod parse;

use std::collections::BTreeMap;

pub use number::Number;
pub use parse::Fault;

use crate::types::content::{Content, ContentHash};

/// A JSON value. Two are equal as RFC 6902 §4.6 has it: numbers by value, objects whatever their members' order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Json {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number, exactly.
    Number(Number),
    /// A string.
    Text(String),
    /// An array.
    Array(Vec<Json>),
    /// An object.
    Object(BTreeMap<String, Json>),
}

/// What the first member of an object takes in memory: a `BTreeMap` makes room for eleven at once.
const FIRST_MEMBER_BYTES: usize = 11 * (size_of::<String>() + size_of::<Json>());

impl Json {
    /// Parses a JSON text within the bounds of `limits`.
    pub fn parse(text: &str) -> Result<Self, Fault> {
        parse::parse(text)
    }

    /// An object's member.
    pub fn member(&self, name: &str) -> Option<&Self> {
        match self {
            Self::Object(members) => members.get(name),
            _ => None,
        }
    }

    /// How many arrays and objects are inside each other.
    pub fn depth(&self) -> usize {
        let deepest = match self {
            Self::Null | Self::Bool(_) | Self::Number(_) | Self::Text(_) => return 0,
            Self::Array(items) => items.iter().map(Self::depth).max(),
            Self::Object(members) => members.values().map(Self::depth).max(),
        };
        1 + deepest.unwrap_or(0)
    }

    /// What it is compared by: equal values have equal content. For ever, see [`Content`].
    pub fn content(&self) -> ContentHash {
        let content = Content::new();
        let content = match self {
            Self::Null => content.field(1, "null"),
            Self::Bool(true) => content.field(1, "true"),
            Self::Bool(false) => content.field(1, "false"),
            Self::Number(number) => content.field(1, "number").field(2, number.canonical()),
            Self::Text(text) => content.field(1, "text").field(2, text),
            Self::Array(items) => items
                .iter()
                .fold(content.field(1, "array"), |content, item| {
                    content.field(2, item.content().0)
                }),
            Self::Object(members) => members
                .iter()
                .fold(content.field(1, "object"), |content, (name, value)| {
                    content.field(2, name).field(3, value.content().0)
                }),
        };
        content.hash()
    }

    /// About how many bytes of memory it takes.
    pub fn bytes(&self) -> usize {
        let held = match self {
            Self::Null | Self::Bool(_) => 0,
            Self::Number(number) => number.as_str().len(),
            Self::Text(text) => text.len(),
            Self::Array(items) => items.iter().map(Self::bytes).sum(),
            Self::Object(members) if members.is_empty() => 0,
            Self::Object(members) => {
                let each = members
                    .iter()
                    .map(|(name, value)| name.len() + value.bytes());
                FIRST_MEMBER_BYTES + each.sum::<usize>()
            }
        };
        size_of::<Self>() + held
    }
}

#[cfg(test)]
mod tests;
