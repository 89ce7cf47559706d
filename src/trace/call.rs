//! The trace of a call, from its request's headers on.

use std::net::SocketAddr;

use http::HeaderMap;
use opentelemetry::trace::{Span as _, SpanBuilder, SpanKind, TraceContextExt, TraceId, Tracer};
use opentelemetry::{Context, KeyValue};
use uuid::Uuid;
use uuid::fmt::Simple;

use crate::trace::context::remote_parent;
use crate::trace::span::TraceSpan;
use crate::trace::tracer::tracer;

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

    /// Identifies the trace in log lines.
    pub fn id(&self) -> TraceIdText {
        let mut text = [0; Simple::LENGTH];
        let id = Uuid::from_bytes(self.id.to_bytes());
        id.as_simple().encode_lower(&mut text);
        TraceIdText(text)
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

/// The id of a trace: 32 lower-case hexadecimal digits. Log lines take a text at less cost than what has to be formatted.
#[derive(Clone, Copy, Debug)]
pub struct TraceIdText([u8; Simple::LENGTH]);

impl TraceIdText {
    /// The digits as a text.
    pub fn as_str(&self) -> &str {
        str::from_utf8(&self.0).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use http::HeaderValue;

    use super::*;

    fn id_of(parent: Option<&'static str>) -> String {
        let mut headers = HeaderMap::new();
        if let Some(parent) = parent {
            headers.insert("traceparent", HeaderValue::from_static(parent));
        }
        let peer = SocketAddr::from(([127, 0, 0, 1], 1));
        let trace = CallTrace::begin(&headers, Some("a.B/C"), peer);
        assert!(trace.span().is_none(), "nothing is exported");
        trace.id().as_str().to_owned()
    }

    #[test]
    fn a_call_has_the_trace_of_its_caller_or_a_new_one() {
        let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        assert_eq!(id_of(Some(parent)), "0af7651916cd43dd8448eb211c80319c");
        let new: BTreeSet<String> = (0..100).map(|_| id_of(None)).collect();
        assert_eq!(new.len(), 100);
        let is_hex =
            |id: &String| id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
        assert!(new.iter().all(is_hex), "{new:?}");
    }
}
