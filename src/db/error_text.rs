//! The texts of errors, for logs and for the messages of commands.

use std::fmt::Write;

use tokio_postgres::error::Error as PgError;

/// The texts of an error and its causes. The text of tokio-postgres alone is just «error connecting to server».
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        _ = write!(text, ": {cause}");
        source = cause.source();
    }
    text
}

/// The text of an error of tokio-postgres, whose own is just «db error»: the server's severity, message and SQLSTATE, or
/// the texts of all causes.
pub(crate) fn text_of(error: &PgError) -> String {
    match error.as_db_error() {
        Some(server) => format!(
            "{}: {} ({})",
            server.severity(),
            server.message(),
            server.code().code()
        ),
        None => chain(error),
    }
}
