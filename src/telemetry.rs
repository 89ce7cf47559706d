//! The process's logs. `docs/log-lines.schema.json` describes every line, and `docs/operations.md` the line that each call
//! has, with the target `earmark::access`.

pub(crate) mod metrics_endpoint;
pub(crate) mod metrics_export;

use std::io::{self, IsTerminal};
use std::panic;

use tracing_subscriber::{EnvFilter, reload};

use crate::config::LogFormat;

/// What stands before each filter, which can replace it: the HTTP/2 library warns about frames of clients that are wrong
/// but harmless, one line for each, and so would let anybody who can connect fill the log.
const WITHOUT_NOISE: &str = "h2=error";

fn filter_of(text: &str) -> Result<EnvFilter, String> {
    EnvFilter::try_new(format!("{WITHOUT_NOISE},{text}")).map_err(|error| error.to_string())
}

/// The filter of the process's logs, which can be replaced while it runs.
pub(crate) struct LogFilter {
    replace: Box<dyn Fn(EnvFilter) -> Result<(), reload::Error> + Send + Sync>,
}

impl LogFilter {
    fn of<S: 'static>(handle: reload::Handle<EnvFilter, S>) -> Self {
        Self {
            replace: Box::new(move |filter| handle.reload(filter)),
        }
    }

    /// Replaces the filter, for all that is logged from now on.
    ///
    /// # Errors
    /// The text is no filter, or the process has another logger by now.
    pub(crate) fn set(&self, text: &str) -> Result<(), String> {
        (self.replace)(filter_of(text)?).map_err(|error| error.to_string())
    }
}

/// Writes logs, panics included, to standard error. `filter` is of the form `info,earmark::access=off`.
///
/// # Errors
/// The filter is malformed, or the process has a logger already.
pub(crate) fn init(filter: &str, format: LogFormat) -> Result<LogFilter, String> {
    let filter = filter_of(filter)?;
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
    // Last of all, since its handle depends on the format.
    let (initialised, filter) = if text {
        let builder = builder.with_filter_reloading();
        let filter = LogFilter::of(builder.reload_handle());
        (builder.try_init(), filter)
    } else {
        let builder = builder
            .json()
            .flatten_event(true)
            .with_current_span(true)
            .with_span_list(false)
            .with_filter_reloading();
        let filter = LogFilter::of(builder.reload_handle());
        (builder.try_init(), filter)
    };
    initialised.map_err(|error| error.to_string())?;
    panic::set_hook(Box::new(|info| {
        let location = info.location().map(ToString::to_string);
        let text = info.payload_as_str().unwrap_or("no text");
        tracing::error!(location, error = text, "panic");
    }));
    Ok(filter)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_librarys_warnings_about_clients_are_left_out_unless_asked_for() {
        let directives = |text: &str| filter_of(text).expect("a filter").to_string();
        assert_eq!(directives("info"), "h2=error,info");
        assert_eq!(directives("info,h2=debug"), "h2=debug,info");
        assert!(filter_of("a=b=c").is_err());
    }
}
