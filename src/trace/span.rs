//! Spans: of calls, and of what is done for those that are sampled.

use std::borrow::Cow;
use std::net::SocketAddr;

use http::HeaderMap;
use opentelemetry::trace::{
    Span as _, SpanBuilder, SpanContext, SpanKind, Status, TraceContextExt, TraceId, Tracer,
};
use opentelemetry::{Context, KeyValue, Value};
use opentelemetry_sdk::trace::Span;
use url::Url;

use crate::limits::TRACED_STATEMENT_CHARS_MAX;
use crate::trace::context::remote_parent;
use crate::trace::current::current;
use crate::trace::tracer::tracer;

/// A span that is exported, and that others can be children of. Clones are the same span, which ends with the last of them
/// unless [`TraceSpan::end`] ends it before.
#[derive(Clone, Debug)]
pub struct TraceSpan(Context);

impl TraceSpan {
    pub(super) fn new(span: Span) -> Self {
        Self(Context::new().with_span(span))
    }

    pub(super) fn context(&self) -> &Context {
        &self.0
    }

    pub(super) fn span_context(&self) -> SpanContext {
        self.0.span().span_context().clone()
    }

    /// Adds an attribute; a later one of the same name is added beside it.
    pub fn set(&self, name: &'static str, value: impl Into<Value>) {
        self.0.span().set_attribute(KeyValue::new(name, value));
    }

    /// Marks it as failed. The text must not have values of requests or rows.
    pub fn fail(&self, error_type: &'static str) {
        self.set("error.type", error_type);
        self.0.span().set_status(Status::error(""));
    }

    /// Ends it now, whoever else has a clone.
    pub fn end(&self) {
        self.0.span().end();
    }
}

/// The trace that a call belongs to, and its span if the call is sampled.
#[derive(Debug)]
pub struct CallTrace {
    id: TraceId,
    span: Option<TraceSpan>,
}

impl CallTrace {
    /// The trace of the caller's `traceparent`, or a new one. `method` is the full name of the method without the slash
    /// before it; without one, the call has no span.
    pub fn begin(headers: &HeaderMap, method: Option<&'static str>, peer: SocketAddr) -> Self {
        let parent = remote_parent(headers);
        let Some((tracer, method)) = tracer().zip(method) else {
            let id = parent.map_or_else(new_trace_id, |parent| parent.trace_id());
            return Self { id, span: None };
        };
        let parent = parent.map_or_else(Context::new, |parent| {
            Context::new().with_remote_span_context(parent)
        });
        let builder = SpanBuilder::from_name(method).with_kind(SpanKind::Server);
        let mut span = tracer.build_with_context(builder, &parent);
        let id = span.span_context().trace_id();
        if !span.is_recording() {
            return Self { id, span: None };
        }
        span.set_attributes([
            KeyValue::new("rpc.system.name", "grpc"),
            KeyValue::new("rpc.method", method),
            KeyValue::new("network.peer.address", peer.ip().to_string()),
            KeyValue::new("network.peer.port", i64::from(peer.port())),
        ]);
        let span = Some(TraceSpan::new(span));
        Self { id, span }
    }

    /// Identifies the trace: 32 lower-case hexadecimal digits.
    pub fn id(&self) -> TraceId {
        self.id
    }

    /// The call's span, if it is sampled.
    pub fn span(&self) -> Option<&TraceSpan> {
        self.span.as_ref()
    }
}

/// A random id that is not zero.
fn new_trace_id() -> TraceId {
    TraceId::from(fastrand::u128(1..))
}

/// A child of this span; `None` where traces are not exported.
pub(super) fn child(parent: &TraceSpan, builder: SpanBuilder) -> Option<Span> {
    let tracer = tracer()?;
    Some(tracer.build_with_context(builder, parent.context()))
}

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
