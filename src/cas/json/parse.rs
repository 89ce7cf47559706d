//! Parses JSON texts. The structure is parsed here, which enforces the bounds of `limits`; numbers and strings with
//! their escapes are parsed by serde_json.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use crate::cas::json::number::JsonNumber;
use crate::cas::json::value::Json;
use crate::limits::{JSON_DEPTH_MAX, JSON_VALUES_MAX};

/// Why a text is refused as JSON.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum JsonParseError {
    /// The text is no JSON from this byte on, counted from 0.
    #[error("must be JSON: expected {expected} at byte {at}")]
    Syntax { at: usize, expected: &'static str },
    /// An object has two members of this name.
    #[error("must not have two members of the same name: `{0}`")]
    Duplicate(String),
    #[error("must have at most {JSON_DEPTH_MAX} nested arrays and objects")]
    TooDeep,
    #[error("must have at most {JSON_VALUES_MAX} members and elements in total")]
    TooManyValues,
}

impl Json {
    /// Parses a JSON text.
    ///
    /// # Errors
    /// The first violation of the syntax or of a bound.
    pub(crate) fn parse(text: &str) -> Result<Self, JsonParseError> {
        let mut parser = JsonParser {
            text,
            at: 0,
            values: 0,
        };
        parser.skip_blanks();
        let value = parser.value(0)?;
        parser.skip_blanks();
        match parser.peek() {
            None => Ok(value),
            Some(_) => Err(parser.expected("the end of the text")),
        }
    }
}

struct JsonParser<'a> {
    text: &'a str,
    /// Position in bytes, always at the start of a character.
    at: usize,
    /// Number of values parsed so far.
    values: usize,
}

impl<'a> JsonParser<'a> {
    /// Parses the value at the current position, which is nested in `depth` arrays and objects.
    fn value(&mut self, depth: usize) -> Result<Json, JsonParseError> {
        self.values += 1;
        if self.values > JSON_VALUES_MAX {
            return Err(JsonParseError::TooManyValues);
        }
        match self.peek() {
            Some(b'{' | b'[') if depth == JSON_DEPTH_MAX => Err(JsonParseError::TooDeep),
            Some(b'{') => self.object(depth + 1),
            Some(b'[') => self.array(depth + 1),
            Some(b'"') => Ok(Json::Text(self.string()?)),
            Some(b'-' | b'0'..=b'9') => self.number(),
            _ => self.literal(),
        }
    }

    fn object(&mut self, depth: usize) -> Result<Json, JsonParseError> {
        let mut members = BTreeMap::new();
        self.list(b'{', b'}', "`,` or `}`", |parser| {
            if parser.peek() != Some(b'"') {
                return Err(parser.expected("the name of a member in quotes"));
            }
            let name = parser.string()?;
            parser.skip_blanks();
            if !parser.take(b':') {
                return Err(parser.expected("`:`"));
            }
            parser.skip_blanks();
            let value = parser.value(depth)?;
            match members.entry(name) {
                Entry::Vacant(free) => {
                    free.insert(value);
                    Ok(())
                }
                Entry::Occupied(taken) => Err(JsonParseError::Duplicate(taken.key().clone())),
            }
        })?;
        Ok(Json::Object(members))
    }

    fn array(&mut self, depth: usize) -> Result<Json, JsonParseError> {
        let mut items = Vec::new();
        self.list(b'[', b']', "`,` or `]`", |parser| {
            items.push(parser.value(depth)?);
            Ok(())
        })?;
        Ok(Json::Array(items))
    }

    /// Parses the items between two brackets, which commas separate.
    fn list(
        &mut self,
        open: u8,
        close: u8,
        comma_or_close: &'static str,
        mut item: impl FnMut(&mut Self) -> Result<(), JsonParseError>,
    ) -> Result<(), JsonParseError> {
        self.take(open);
        self.skip_blanks();
        if self.take(close) {
            return Ok(());
        }
        loop {
            item(self)?;
            self.skip_blanks();
            if self.take(close) {
                return Ok(());
            }
            if !self.take(b',') {
                return Err(self.expected(comma_or_close));
            }
            self.skip_blanks();
        }
    }

    fn string(&mut self) -> Result<String, JsonParseError> {
        let body = &self.text.as_bytes()[self.at + 1..];
        let mut length = 0;
        while body.get(length).is_some_and(|byte| *byte != b'"') {
            // A quote after a backslash does not end the string.
            length += if body[length] == b'\\' { 2 } else { 1 };
        }
        // `get` returns `None` if the closing quote is missing.
        self.text
            .get(self.at..self.at + length + 2)
            .and_then(|quoted| Some((quoted.len(), serde_json::from_str(quoted).ok()?)))
            .map(|(bytes, string)| {
                self.at += bytes;
                string
            })
            .ok_or_else(|| self.expected("a string of Unicode text with valid escapes"))
    }

    fn number(&mut self) -> Result<Json, JsonParseError> {
        let written =
            self.while_in(|byte| matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E'));
        let number = JsonNumber::parse(written).ok_or_else(|| {
            self.expected("a JSON number without leading zeros, whose exponent fits 64 bits")
        })?;
        self.at += written.len();
        Ok(Json::Number(number))
    }

    fn literal(&mut self) -> Result<Json, JsonParseError> {
        let literal = self.while_in(|byte| byte.is_ascii_alphanumeric());
        let value = match literal {
            "null" => Json::Null,
            "true" => Json::Bool(true),
            "false" => Json::Bool(false),
            _ => return Err(self.expected("a value")),
        };
        self.at += literal.len();
        Ok(value)
    }

    fn while_in(&self, fits: impl Fn(&u8) -> bool) -> &'a str {
        let rest = &self.text[self.at..];
        let length = rest.bytes().take_while(fits).count();
        &rest[..length]
    }

    fn skip_blanks(&mut self) {
        let blanks = self.while_in(|byte| matches!(byte, b' ' | b'\t' | b'\n' | b'\r'));
        self.at += blanks.len();
    }

    fn take(&mut self, byte: u8) -> bool {
        let is_there = self.peek() == Some(byte);
        self.at += usize::from(is_there);
        is_there
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn expected(&self, expected: &'static str) -> JsonParseError {
        JsonParseError::Syntax {
            at: self.at,
            expected,
        }
    }
}
