//! Suggests the value that was probably meant by an invalid one.

/// The text of a violation with the value that was probably meant, if there is any.
pub(super) fn did_you_mean(rule: String, suggestion: Option<&str>) -> String {
    match suggestion {
        Some(suggestion) => format!("{rule}: did you mean `{suggestion}`?"),
        None => rule,
    }
}
