//! Rules of texts: UTF-8 without NUL, with a length in characters.

use icu_properties::CodePointSetData;
use icu_properties::props::{DefaultIgnorableCodePoint, WhiteSpace};

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

/// The rule that an id or key breaks which a caller chose, with the value: all of its characters must show something, apart
/// from spaces in between. Else nobody who reads it could tell it from others. Its length is judged by [`check_required`].
pub(crate) fn broken_id_rule(id: &str) -> Option<String> {
    let invisible = id.chars().find(|char| *char != ' ' && !shows(*char));
    if let Some(char) = invisible {
        return Some(format!(
            "must not have the invisible character {char:?}, got {id:?}"
        ));
    }
    let has_edge = id.starts_with(' ') || id.ends_with(' ');
    has_edge.then(|| format!("must not begin or end with a space, got {id:?}"))
}

/// Whether a text shows nothing: it is empty, or has only blanks, control characters, and characters that Unicode says to
/// draw nothing for, such as a zero-width space, a mark of direction or a Hangul filler.
pub(crate) fn is_blank(text: &str) -> bool {
    !text.chars().any(shows)
}

fn shows(char: char) -> bool {
    const BRAILLE_BLANK: char = '\u{2800}';
    let blanks = CodePointSetData::new::<WhiteSpace>();
    let ignorable = CodePointSetData::new::<DefaultIgnorableCodePoint>();
    !(blanks.contains(char)
        || ignorable.contains(char)
        || char.is_control()
        || char == BRAILLE_BLANK)
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

    #[test]
    fn an_id_has_visible_characters_with_spaces_in_between() {
        for id in ["a", "HARBOUR 1", "é/ü_1:2@x", "取引", "\u{301}"] {
            assert_eq!(broken_id_rule(id), None, "{id:?}");
        }
        for (id, part) in [
            (" ", "begin or end with a space"),
            (" a", "begin or end with a space"),
            ("HARBOUR-1 ", "begin or end with a space"),
            ("\u{200b}", "'\\u{200b}'"),
            ("a\nb", "'\\n'"),
            ("a\u{a0}b", "'\\u{a0}'"),
            ("a\u{202e}b", "'\\u{202e}'"),
            (" \u{feff}", "'\\u{feff}'"),
        ] {
            let rule = broken_id_rule(id).expect(id);
            assert!(rule.contains(part) && rule.contains("got \""), "{rule}");
        }
    }

    #[test]
    fn a_text_that_shows_nothing_is_blank() {
        for blank in [
            "",
            " \t\r\n",
            "\u{a0}\u{2003}\u{3000}",
            "\u{200b}\u{200c}\u{200d}\u{feff}\u{2060}",
            "\u{200e}\u{202e}\u{2066}\u{61c}",
            "\u{ad}\u{34f}\u{115f}\u{3164}\u{ffa0}\u{17b4}",
            "\u{fe0f}\u{e0041}\u{180b}",
            "\u{2800}\u{7f}\u{85}",
        ] {
            assert!(is_blank(blank), "{blank:?}");
        }
        for shown in [
            ".",
            " a ",
            "\u{200b}b",
            "\u{301}",
            "👩\u{200d}👧",
            "_",
            "\u{fffd}",
        ] {
            assert!(!is_blank(shown), "{shown:?}");
        }
    }
}
