//! JSON values.

use std::collections::BTreeMap;

use crate::cas::json::number::JsonNumber;
use crate::types::content::{Content, ContentHash};

/// A JSON value. Two values are equal as RFC 6902 §4.6 defines it: numbers by value, and objects without regard to the
/// order of their members.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Json {
    Null,
    Bool(bool),
    Number(JsonNumber),
    Text(String),
    Array(Vec<Json>),
    Object(BTreeMap<String, Json>),
}

/// Memory that the first member of an object takes: a `BTreeMap` allocates nodes of eleven entries.
const FIRST_MEMBER_BYTES: usize = 11 * (size_of::<String>() + size_of::<Json>());

impl Json {
    /// The member of this name, if the value is an object that has one.
    pub(crate) fn member(&self, name: &str) -> Option<&Self> {
        match self {
            Self::Object(members) => members.get(name),
            _ => None,
        }
    }

    /// The value in a few words, for messages.
    pub(crate) fn shown(&self) -> String {
        const SHOWN_CHARS_MAX: usize = 60;
        match self {
            Self::Null => "null".into(),
            Self::Bool(is) => is.to_string(),
            Self::Number(number) => number.as_str().chars().take(SHOWN_CHARS_MAX).collect(),
            Self::Text(text) => match text.char_indices().nth(SHOWN_CHARS_MAX) {
                None => format!("{text:?}"),
                Some((end, _)) => format!("{:?}…", &text[..end]),
            },
            Self::Array(items) => format!("an array of {}", items.len()),
            Self::Object(members) => format!("an object of {}", members.len()),
        }
    }

    /// Number of nested arrays and objects; 0 for any other value.
    pub(crate) fn depth(&self) -> usize {
        let deepest = match self {
            Self::Null | Self::Bool(_) | Self::Number(_) | Self::Text(_) => return 0,
            Self::Array(items) => items.iter().map(Self::depth).max(),
            Self::Object(members) => members.values().map(Self::depth).max(),
        };
        1 + deepest.unwrap_or(0)
    }

    /// A hash that is the same for equal values. Hashes are stored, so their definition never changes.
    pub(crate) fn content(&self) -> ContentHash {
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

    /// Approximate size in memory, in bytes.
    pub(crate) fn bytes(&self) -> usize {
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
