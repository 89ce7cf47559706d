//! Rules of texts: UTF-8 without NUL, with a length in characters.

/// The rule that a text breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TextFault {
    /// The text is empty where one is required.
    Empty,
    /// The text has more characters than this maximum.
    TooLong(usize),
    /// The text contains NUL, which Postgres cannot store.
    Nul,
}

/// Checks a text that may have at most `chars_max` characters and may be empty.
pub(crate) fn check(text: &str, chars_max: usize) -> Result<(), TextFault> {
    // A character has at most four bytes, so a text of more bytes is too long and need not be counted.
    if text.len() > chars_max.saturating_mul(4) || text.chars().count() > chars_max {
        return Err(TextFault::TooLong(chars_max));
    }
    if text.contains('\0') {
        return Err(TextFault::Nul);
    }
    Ok(())
}

/// Checks a text that must have 1 to `chars_max` characters.
pub(crate) fn check_required(text: &str, chars_max: usize) -> Result<(), TextFault> {
    if text.is_empty() {
        return Err(TextFault::Empty);
    }
    check(text, chars_max)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_counted_in_characters() {
        assert_eq!(check(&"é".repeat(5), 5), Ok(()));
        assert_eq!(check(&"é".repeat(6), 5), Err(TextFault::TooLong(5)));
        assert_eq!(check("a\0b", 5), Err(TextFault::Nul));
        assert_eq!(check("", 5), Ok(()));
        assert_eq!(check_required("", 5), Err(TextFault::Empty));
    }
}
