//! How a command reports that it failed.

use std::fmt::Display;

/// Why a command failed, with the process's exit code. The text is printed after `earmark: `, and says what the
/// operator can do about it.
pub(super) struct CliFailure {
    pub(super) text: String,
    pub(super) exit_code: u8,
}

impl CliFailure {
    /// A failure with exit code 1: the command has started, and could not complete.
    pub(super) fn new(text: impl Display) -> Self {
        Self {
            text: text.to_string(),
            exit_code: 1,
        }
    }

    /// A failure with exit code 2, which clap uses too: a setting is missing or cannot be used, and nothing was done.
    pub(super) fn setting(text: impl Display) -> Self {
        Self {
            exit_code: 2,
            ..Self::new(text)
        }
    }
}
