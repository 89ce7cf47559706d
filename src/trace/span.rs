//! Spans that others can be children of.

use opentelemetry::trace::{SpanBuilder, SpanContext, Status, TraceContextExt, Tracer};
use opentelemetry::{Context, KeyValue, Value};
use opentelemetry_sdk::trace::Span;

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

/// A child of this span; `None` where traces are not exported.
pub(super) fn child(parent: &TraceSpan, builder: SpanBuilder) -> Option<Span> {
    let tracer = tracer()?;
    Some(tracer.build_with_context(builder, parent.context()))
}
