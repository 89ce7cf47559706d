//! The document form of an allocation: the JSON of the source's example, with `id` and `version`. JSON
//! Patches refer to it.

mod read;
mod write;

pub(crate) use read::read;
pub(crate) use write::write;

#[cfg(test)]
mod tests;
