//! Logs: where they go, and how their fields are named.
//!
//! | field | what |
//! |---|---|
//! | `method` | `/package.Service/Method` |
//! | `code` | the gRPC code that the caller sees |
//! | `reason` | the `ErrorReason` that the caller sees |
//! | `subject` | the subject of the caller's token |
//! | `duration_ms` | from the call's headers to the end of its answer |
//! | `request_id` | names the call; the caller has it as `x-request-id` |
//! | `peer` | the other end of the connection |
//! | `error` | why something failed, for us |
//!
//! One line per call has the target `earmark::access`.

use std::io::{self, IsTerminal};
use std::panic;

use tracing_subscriber::EnvFilter;

use crate::config::LogFormat;

/// Sends logs to standard error, and panics with them. `filter` is of the form `info,earmark::access=off`.
///
/// # Errors
/// What is wrong with the filter, or that logs go somewhere already.
pub fn init(filter: &str, format: LogFormat) -> Result<(), String> {
    let filter = EnvFilter::try_new(filter).map_err(|error| error.to_string())?;
    let terminal = io::stderr().is_terminal();
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(terminal);
    let text = match format {
        LogFormat::Auto => terminal,
        LogFormat::Text => true,
        LogFormat::Json => false,
    };
    let initialised = if text {
        builder.try_init()
    } else {
        builder
            .json()
            .flatten_event(true)
            .with_current_span(true)
            .with_span_list(false)
            .try_init()
    };
    initialised.map_err(|error| error.to_string())?;
    panic::set_hook(Box::new(|info| {
        let location = info.location().map(ToString::to_string);
        let text = info.payload_as_str().unwrap_or("no text");
        tracing::error!(location, error = text, "panic");
    }));
    Ok(())
}
