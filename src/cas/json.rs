//! JSON without loss: a number keeps every digit that was written, and an object with two members of one
//! name is an error.
//!
//! serde_json alone converts numbers to `f64`. Its feature `arbitrary_precision` keeps their digits, but changes every
//! other use of serde_json in the program too, and then `1.0` and `1` are not equal.

mod number;
mod parse;
mod value;

pub(crate) use number::JsonNumber;
pub(crate) use parse::JsonParseError;
pub(crate) use value::Json;

#[cfg(test)]
mod tests;
