//! The spans of the statements that diesel sends on a pooled connection, while a sampled call uses it.

use std::borrow::Cow;

use diesel::connection::{DebugQuery, Instrumentation, InstrumentationEvent};
use diesel_async::{AsyncConnection, AsyncPgConnection};

use crate::trace::{StatementSpan, TraceSpan};

/// What stands between a statement and its values where diesel shows a query.
const BINDS: &str = " -- binds: ";

/// Makes spans of statements. Those that are sent at the same time are told apart by their texts.
struct StatementSpans {
    parent: TraceSpan,
    under_way: Vec<(String, StatementSpan)>,
}

/// Has the statements of this connection traced as children of a span, until [`stop`].
pub(super) fn start(connection: &mut AsyncPgConnection, parent: TraceSpan) {
    let under_way = Vec::new();
    connection.set_instrumentation(StatementSpans { parent, under_way });
}

/// Has no statement traced any more.
pub(super) fn stop(connection: &mut AsyncPgConnection) {
    connection.set_instrumentation(|_: InstrumentationEvent<'_>| {});
}

impl Instrumentation for StatementSpans {
    fn on_connection_event(&mut self, event: InstrumentationEvent<'_>) {
        match event {
            InstrumentationEvent::StartQuery { query, .. } => {
                let text = text_of(query);
                let summary = Cow::Owned(summary(&text));
                let span = StatementSpan::begin(&self.parent, summary, Some(&text));
                self.under_way.push((text, span));
            }
            InstrumentationEvent::FinishQuery { query, error, .. } => {
                let text = text_of(query);
                let position = self.under_way.iter().position(|(of, _)| *of == text);
                if let Some(position) = position {
                    let (_, span) = self.under_way.remove(position);
                    span.end(error.is_some());
                }
            }
            _ => {}
        }
    }
}

/// The statement with placeholders, without the values that diesel shows behind it.
fn text_of(query: &dyn DebugQuery) -> String {
    let mut text = query.to_string();
    if let Some(end) = text.find(BINDS) {
        text.truncate(end);
    }
    text
}

/// The operation and the first table of a statement: `SELECT allocation`.
fn summary(text: &str) -> String {
    let mut words = text
        .split(|c: char| c.is_whitespace() || c == '(')
        .filter(|word| !word.is_empty());
    let operation = words.next().map(str::to_ascii_uppercase);
    let operation = operation.unwrap_or_else(|| "statement".into());
    let mut before = operation.clone();
    for word in words {
        let is_table = matches!(before.as_str(), "FROM" | "INTO" | "UPDATE");
        let name = word.trim_matches(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        before = word.to_ascii_uppercase();
        if is_table
            && !name.is_empty()
            && !matches!(before.as_str(), "SELECT" | "UNNEST" | "LATERAL")
        {
            return format!("{operation} {}", name.replace('"', ""));
        }
    }
    operation
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_is_the_operation_and_its_first_table() {
        for (text, expected) in [
            ("BEGIN ISOLATION LEVEL READ COMMITTED", "BEGIN"),
            (
                r#"SELECT "client"."id" FROM "client" WHERE "client"."id" = $1"#,
                "SELECT client",
            ),
            (
                "INSERT INTO \"owner\" (\"owner_id\") VALUES ($1)",
                "INSERT owner",
            ),
            (
                "UPDATE \"enterprise\" SET \"name\" = $1",
                "UPDATE enterprise",
            ),
            (
                "DELETE  FROM \"cas_allocation\" WHERE true",
                "DELETE cas_allocation",
            ),
            ("SELECT a FROM (SELECT b FROM entry) t", "SELECT entry"),
            ("WITH a AS (SELECT 1 FROM bucket b) SELECT", "WITH bucket"),
            ("SELECT public.f($1)", "SELECT"),
            ("", "statement"),
        ] {
            let text = text.to_owned();
            assert_eq!(summary(&text), expected, "{text}");
        }
    }
}
