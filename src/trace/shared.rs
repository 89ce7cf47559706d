//! Work that is done for many calls at once, such as a batch of the ledger. It belongs to none of their traces, so it is a
//! trace of its own, with links to the calls; and each of them has a span of its wait, with a link to the work.

use opentelemetry::trace::{Link, Span as _, SpanBuilder, SpanContext, Tracer};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::trace::Span;

use crate::trace::current::current;
use crate::trace::span::{TraceSpan, child};
use crate::trace::tracer::tracer;

/// The wait of a sampled call for work that is done for many. It ends when it is dropped.
#[derive(Debug)]
pub struct WaitSpan {
    call: SpanContext,
    span: Span,
}

/// Begins the wait of the current call; `None` if it is not sampled.
pub fn wait_span(name: &'static str) -> Option<Box<WaitSpan>> {
    let call = current()?;
    let span = child(&call, SpanBuilder::from_name(name))?;
    let call = call.span_context();
    Some(Box::new(WaitSpan { call, span }))
}

/// Begins the span of work for the calls with these waits; `None` if there are none.
pub fn shared_span<'a>(
    name: &'static str,
    waits: impl Iterator<Item = &'a mut WaitSpan>,
) -> Option<TraceSpan> {
    let tracer = tracer()?;
    let mut waits: Vec<&mut WaitSpan> = waits.collect();
    if waits.is_empty() {
        return None;
    }
    let links = waits
        .iter()
        .map(|wait| Link::with_context(wait.call.clone()));
    let builder = SpanBuilder::from_name(name)
        .with_links(links.collect())
        .with_attributes([KeyValue::new("earmark.calls_sampled", count(waits.len()))]);
    let span = tracer.build_with_context(builder, &Context::new());
    let context = span.span_context().clone();
    for wait in &mut waits {
        wait.span.add_link(context.clone(), Vec::new());
    }
    Some(TraceSpan::new(span))
}

fn count(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
