//! The document form of a record: the JSON that the source shows, with `id` and `version`. Patches address it.

mod read;
mod write;

pub use read::read;
pub use write::write;

/// The members that are the server's: no patch changes them.
pub const READ_ONLY: [&str; 6] = [
    "id",
    "version",
    "createdBy",
    "createdDateTime",
    "lastModifiedBy",
    "lastModifiedDateTime",
];

#[cfg(test)]
mod tests;
