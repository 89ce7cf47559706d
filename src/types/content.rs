//! The hash by which a repeated idempotency key is compared with its first use.

use sha2::{Digest, Sha256};

/// A SHA-256 hash over the tagged fields of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ContentHash(pub [u8; 32]);

/// Collects the fields of a command. Unset fields are not added, so a field that a later version adds changes no stored
/// hash. Hashes are stored, so a field must keep its tag, and the tag of a removed field must not be used again.
#[derive(Default)]
pub struct Content(Sha256);

impl Content {
    /// Starts a hash without any field.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a field under its tag.
    pub fn field(mut self, tag: u16, value: impl AsRef<[u8]>) -> Self {
        let value = value.as_ref();
        self.0.update(tag.to_be_bytes());
        self.0.update((value.len() as u64).to_be_bytes());
        self.0.update(value);
        self
    }

    /// Adds a field if it is set.
    pub fn optional(self, tag: u16, value: Option<impl AsRef<[u8]>>) -> Self {
        match value {
            Some(value) => self.field(tag, value),
            None => self,
        }
    }

    /// The hash of all fields that were added, in the order in which they were.
    pub fn hash(self) -> ContentHash {
        ContentHash(self.0.finalize().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_for_ever() {
        let hash = Content::new()
            .field(1, "a")
            .optional(2, None::<&str>)
            .field(3, "bc")
            .hash();
        let hex: String = hash.0.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, GOLDEN);
    }

    const GOLDEN: &str = "8ea696121927be426e3e76a52c2c855e379d2c09ffb945cbf4212a67557f4847";

    #[test]
    fn neighbouring_fields_do_not_run_into_each_other() {
        let one = Content::new().field(1, "ab").field(2, "c").hash();
        let other = Content::new().field(1, "a").field(2, "bc").hash();
        assert_ne!(one, other);
    }
}
