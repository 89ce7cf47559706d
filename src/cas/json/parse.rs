//! From text to value. The structure is read here, where its bounds are kept; what a number or a string is, with all its
//! escapes, is left to serde_json.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use crate::cas::json::{Json, Number};
use crate::limits::{JSON_DEPTH_MAX, JSON_VALUES_MAX};

/// Why a text is not a JSON value that is taken. Places are bytes from 0.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// Something else stands where this was expected.
    #[error("must be JSON: at byte {at}, {expected} was expected")]
    Syntax {
        /// Where.
        at: usize,
        /// What would be right.
        expected: &'static str,
    },
    /// An object has two members of one name.
    #[error("must not have two members of one name: `{0}`")]
    Duplicate(String),
    /// Too many arrays and objects inside each other.
    #[error("may have at most {JSON_DEPTH_MAX} arrays and objects inside each other")]
    TooDeep,
    /// Too many members and elements.
    #[error("may have at most {JSON_VALUES_MAX} members and elements altogether")]
    TooManyValues,
}

pub(super) fn parse(text: &str) -> Result<Json, Fault> {
    let mut parser = Parser {
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

struct Parser<'a> {
    text: &'a str,
    /// Always at a character's first byte.
    at: usize,
    values: usize,
}

impl<'a> Parser<'a> {
    /// Reads the value that begins here, inside of `depth` arrays and objects.
    fn value(&mut self, depth: usize) -> Result<Json, Fault> {
        self.values += 1;
        if self.values > JSON_VALUES_MAX {
            return Err(Fault::TooManyValues);
        }
        match self.peek() {
            Some(b'{' | b'[') if depth == JSON_DEPTH_MAX => Err(Fault::TooDeep),
            Some(b'{') => self.object(depth + 1),
            Some(b'[') => self.array(depth + 1),
            Some(b'"') => Ok(Json::Text(self.string()?)),
            Some(b'-' | b'0'..=b'9') => self.number(),
            _ => self.word(),
        }
    }

    fn object(&mut self, depth: usize) -> Result<Json, Fault> {
        let mut members = BTreeMap::new();
        self.list(b'{', b'}', "`,` or `}`", |parser| {
            if parser.peek() != Some(b'"') {
                return Err(parser.expected("a member's name in quotes"));
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
                Entry::Occupied(taken) => Err(Fault::Duplicate(taken.key().clone())),
            }
        })?;
        Ok(Json::Object(members))
    }

    fn array(&mut self, depth: usize) -> Result<Json, Fault> {
        let mut items = Vec::new();
        self.list(b'[', b']', "`,` or `]`", |parser| {
            items.push(parser.value(depth)?);
            Ok(())
        })?;
        Ok(Json::Array(items))
    }

    /// Reads what stands between two brackets, comma by comma.
    fn list(
        &mut self,
        open: u8,
        close: u8,
        comma_or_close: &'static str,
        mut item: impl FnMut(&mut Self) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
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

    fn string(&mut self) -> Result<String, Fault> {
        let body = &self.text.as_bytes()[self.at + 1..];
        let mut length = 0;
        while body.get(length).is_some_and(|byte| *byte != b'"') {
            // The character behind a backslash ends nothing.
            length += if body[length] == b'\\' { 2 } else { 1 };
        }
        // `get` is `None` where the closing quote is missing.
        self.text
            .get(self.at..self.at + length + 2)
            .and_then(|quoted| Some((quoted.len(), serde_json::from_str(quoted).ok()?)))
            .map(|(bytes, string)| {
                self.at += bytes;
                string
            })
            .ok_or_else(|| self.expected("a string of Unicode text with valid escapes"))
    }

    fn number(&mut self) -> Result<Json, Fault> {
        let written =
            self.while_in(|byte| matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E'));
        let number = Number::parse(written)
            .ok_or_else(|| self.expected("a number whose exponent is of at most 64 bits"))?;
        self.at += written.len();
        Ok(Json::Number(number))
    }

    fn word(&mut self) -> Result<Json, Fault> {
        let word = self.while_in(|byte| byte.is_ascii_alphanumeric());
        let value = match word {
            "null" => Json::Null,
            "true" => Json::Bool(true),
            "false" => Json::Bool(false),
            _ => return Err(self.expected("a value")),
        };
        self.at += word.len();
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

    fn expected(&self, expected: &'static str) -> Fault {
        Fault::Syntax {
            at: self.at,
            expected,
        }
    }
}
