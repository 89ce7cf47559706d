//! Spans of what a sampled call asks of others: statements, and reads by HTTP.

use std::borrow::Cow;

use opentelemetry::trace::{Span as _, SpanBuilder, SpanKind, Status};
use opentelemetry::{KeyValue, Value};
use opentelemetry_sdk::trace::Span;
use url::Url;

use crate::limits::TRACED_STATEMENT_CHARS_MAX;
use crate::trace::current::current;
use crate::trace::span::{TraceSpan, child};

/// A statement that is under way, if what it is sent for is traced. Dropped before its end, it was cancelled.
#[derive(Debug)]
pub struct StatementSpan(Option<Span>);

/// Sends a statement, with a span if it is for a sampled call. `operation` and `table` are its summary, such as `SELECT` and
/// `account`; a statement without a table has the empty text.
pub async fn statement<T, E>(
    operation: &'static str,
    table: &'static str,
    sent: impl Future<Output = Result<T, E>>,
) -> Result<T, E> {
    let span = current().map_or(StatementSpan(None), |parent| {
        let summary: Cow<'static, str> = if table.is_empty() {
            operation.into()
        } else {
            format!("{operation} {table}").into()
        };
        StatementSpan::begin(&parent, summary, None)
    });
    let result = sent.await;
    span.end(result.is_err());
    result
}

impl StatementSpan {
    /// Begins the span of a statement with this summary and text, which must have placeholders for all values.
    pub fn begin(parent: &TraceSpan, summary: Cow<'static, str>, text: Option<&str>) -> Self {
        let mut attributes = vec![
            KeyValue::new("db.system.name", "postgresql"),
            KeyValue::new("db.query.summary", Value::from(summary.clone())),
        ];
        if let Some(text) = text {
            let text: String = text.chars().take(TRACED_STATEMENT_CHARS_MAX).collect();
            attributes.push(KeyValue::new("db.query.text", text));
        }
        let builder = SpanBuilder::from_name(summary).with_kind(SpanKind::Client);
        Self(child(parent, builder.with_attributes(attributes)))
    }

    /// Ends it with the outcome of its statement.
    pub fn end(self, is_failed: bool) {
        let Some(mut span) = self.0 else {
            return;
        };
        if is_failed {
            // The text of the error could name values of a row.
            span.set_status(Status::error(""));
        }
        span.end();
    }
}

/// Begins the span of a GET that another server answers, as a child of the given one. Password and query of the URL are
/// left out of it.
pub fn http_span(parent: &TraceSpan, url: &str) -> Option<TraceSpan> {
    let mut url = Url::parse(url).ok()?;
    _ = url.set_username("");
    _ = url.set_password(None);
    url.set_query(None);
    let attributes = [
        KeyValue::new("http.request.method", "GET"),
        KeyValue::new(
            "server.address",
            url.host_str().unwrap_or_default().to_owned(),
        ),
        KeyValue::new("url.full", url.to_string()),
    ];
    let builder = SpanBuilder::from_name("GET").with_kind(SpanKind::Client);
    child(parent, builder.with_attributes(attributes)).map(TraceSpan::new)
}
