//! Free text: UTF-8 without NUL, its length counted in characters.

/// What is wrong with a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TextFault {
    /// Nothing in it where something is required.
    Empty,
    /// More characters than this.
    TooLong(usize),
    /// Postgres cannot store NUL.
    Nul,
}

/// Judges a text of at most `chars_max` characters.
pub fn check(text: &str, chars_max: usize) -> Result<(), TextFault> {
    // A character has at most four bytes: a text this long need not be counted.
    if text.len() > chars_max.saturating_mul(4) || text.chars().count() > chars_max {
        return Err(TextFault::TooLong(chars_max));
    }
    if text.contains('\0') {
        return Err(TextFault::Nul);
    }
    Ok(())
}

/// Judges a text of 1 to `chars_max` characters.
pub fn check_required(text: &str, chars_max: usize) -> Result<(), TextFault> {
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
