//! Patterns of `like`.

use std::fmt;

/// A pattern of SQL's LIKE, with `\` as escape character. Wildcards side by side are reduced to the fewest that match the
/// same texts: any number of `_`, and one `%` behind them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LikePattern {
    tokens: Vec<LikeToken>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LikeToken {
    /// `%`, which stands for any characters, or none.
    Any,
    /// `_`, which stands for any one character.
    One,
    /// A character that stands for itself.
    Literal(char),
}

impl LikePattern {
    /// `None` if the text ends with a backslash that escapes nothing, which Postgres would refuse.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut tokens = Vec::with_capacity(text.len());
        // A `%` that was read and may still be followed by wildcards.
        let mut any = false;
        let mut letters = text.chars();
        while let Some(letter) = letters.next() {
            let token = match letter {
                '%' => {
                    any = true;
                    continue;
                }
                '_' => {
                    tokens.push(LikeToken::One);
                    continue;
                }
                '\\' => LikeToken::Literal(letters.next()?),
                letter => LikeToken::Literal(letter),
            };
            if std::mem::take(&mut any) {
                tokens.push(LikeToken::Any);
            }
            tokens.push(token);
        }
        if any {
            tokens.push(LikeToken::Any);
        }
        Some(Self { tokens })
    }

    /// The text that the pattern looks for, if it matches exactly the texts that contain it: `%text%`.
    pub(crate) fn contained_text(&self) -> Option<String> {
        let [LikeToken::Any, part @ .., LikeToken::Any] = self.tokens.as_slice() else {
            return None;
        };
        part.iter()
            .map(|token| match token {
                LikeToken::Literal(letter) => Some(*letter),
                LikeToken::Any | LikeToken::One => None,
            })
            .collect()
    }

    /// Bytes of the longest part that may stand anywhere, which is one behind a `%`. Postgres compares such a part at each
    /// position of a text until it differs: in the worst case that takes as much time as the part has bytes.
    pub(crate) fn longest_part_anywhere(&self) -> usize {
        let parts = self.tokens.split(|token| *token == LikeToken::Any);
        let bytes = |part: &[LikeToken]| part.iter().map(|token| token.bytes()).sum();
        parts.skip(1).map(bytes).max().unwrap_or_default()
    }
}

impl LikeToken {
    fn bytes(self) -> usize {
        match self {
            Self::Any | Self::One => 1,
            Self::Literal(letter) => letter.len_utf8(),
        }
    }
}

impl fmt::Display for LikePattern {
    /// Writes the pattern as Postgres reads it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for token in &self.tokens {
            match token {
                LikeToken::Any => f.write_str("%")?,
                LikeToken::One => f.write_str("_")?,
                LikeToken::Literal(letter) => {
                    if ['%', '_', '\\'].contains(letter) {
                        f.write_str("\\")?;
                    }
                    write!(f, "{letter}")?;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_side_by_side_are_reduced() {
        for (text, reduced, longest) in [
            ("", "", 0),
            ("abc", "abc", 0),
            ("abc%", "abc%", 0),
            ("%abc", "%abc", 3),
            ("%%%", "%", 0),
            ("%_%", "_%", 0),
            ("%__%_a%%b", "___%a%b", 1),
            ("a%_%b_c%d", "a_%b_c%d", 3),
            ("%a_b", "%a_b", 3),
            (r"\%\%%\\\_", r"\%\%%\\\_", 2),
            (r"\a%ä_", "a%ä_", 3),
        ] {
            let pattern = LikePattern::parse(text).expect(text);
            assert_eq!(pattern.to_string(), reduced, "{text}");
            assert_eq!(pattern.longest_part_anywhere(), longest, "{text}");
            let again = LikePattern::parse(reduced);
            assert_eq!(again, Some(pattern), "{text}");
        }
        for text in [r"\", r"a\", r"\\\"] {
            assert_eq!(LikePattern::parse(text), None, "{text}");
        }
    }

    #[test]
    fn only_a_text_between_two_percent_signs_is_contained() {
        for (text, contained) in [
            ("%abc%", Some("abc")),
            (r"%%\%\\%%", Some(r"%\")),
            ("%", None),
            ("abc%", None),
            ("%abc", None),
            ("%a_c%", None),
            ("%a%c%", None),
            ("_%a%", None),
        ] {
            let pattern = LikePattern::parse(text).expect(text);
            assert_eq!(pattern.contained_text().as_deref(), contained, "{text}");
        }
    }
}
