//! Standard output, which only a command's result is written to. Everything else goes to standard error.

use std::io::{self, Write};

/// Prints to standard output. Errors are ignored: `earmark … | head` must not fail when `head` has ended.
pub(super) fn print(text: &str) {
    _ = io::stdout().write_all(text.as_bytes());
    _ = io::stdout().flush();
}
