//! The context of a trace as W3C's Trace Context puts it into headers: `traceparent` and `tracestate`.

use http::{HeaderMap, HeaderName};
use opentelemetry::Context;
use opentelemetry::propagation::{Extractor, Injector, TextMapPropagator};
use opentelemetry::trace::{SpanContext, TraceContextExt};
use opentelemetry_sdk::propagation::TraceContextPropagator;

use crate::trace::span::TraceSpan;

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// The headers of a request.
struct TraceHeaders<'a> {
    headers: &'a HeaderMap,
    /// The lists of all `tracestate` headers as one, which the propagator would not make of them.
    state: String,
}

impl<'a> TraceHeaders<'a> {
    fn of(headers: &'a HeaderMap) -> Self {
        let states = headers.get_all(TRACESTATE).iter();
        let states: Vec<&str> = states.filter_map(|value| value.to_str().ok()).collect();
        let state = states.join(",");
        Self { headers, state }
    }
}

impl Extractor for TraceHeaders<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        if key == TRACESTATE.as_str() {
            return Some(&self.state);
        }
        self.headers.get(key)?.to_str().ok()
    }

    fn keys(&self) -> Vec<&str> {
        self.headers.keys().map(HeaderName::as_str).collect()
    }
}

/// The span of the caller; `None` if there is no `traceparent`, or one that is malformed. A malformed `tracestate` is
/// left out, and the rest counts.
pub(super) fn remote_parent(headers: &HeaderMap) -> Option<SpanContext> {
    let mut parents = headers.get_all(TRACEPARENT).iter();
    // The common case, without an allocation. Of several, nobody can say which one is meant.
    if parents.next().is_none() || parents.next().is_some() {
        return None;
    }
    let carrier = TraceHeaders::of(headers);
    let found = TraceContextPropagator::new().extract_with_context(&Context::new(), &carrier);
    let parent = found.span().span_context().clone();
    parent.is_valid().then_some(parent)
}

/// The headers by which a server that is called takes part in the trace.
#[derive(Default)]
struct NewHeaders(Vec<(String, String)>);

impl Injector for NewHeaders {
    fn set(&mut self, key: &str, value: String) {
        self.0.push((key.into(), value));
    }
}

/// Names and values of the headers that pass a span on to a server that is called.
pub fn inject(span: &TraceSpan) -> Vec<(String, String)> {
    let mut headers = NewHeaders::default();
    TraceContextPropagator::new().inject_context(span.context(), &mut headers);
    headers.0.retain(|(_, value)| !value.is_empty());
    headers.0
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    fn parent_of(headers: &[(&'static str, &str)]) -> Option<SpanContext> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, HeaderValue::from_str(value).expect("a value"));
        }
        remote_parent(&map)
    }

    #[test]
    fn a_well_formed_traceparent_is_the_parent() {
        let parent = parent_of(&[("traceparent", PARENT)]).expect("a parent");
        let id = "0af7651916cd43dd8448eb211c80319c";
        assert_eq!(parent.trace_id().to_string(), id);
        assert_eq!(parent.span_id().to_string(), "b7ad6b7169203331");
        assert!(parent.is_sampled() && parent.is_remote());
        let unsampled = PARENT.replace("-01", "-00");
        let parent = parent_of(&[("traceparent", &unsampled)]).expect("a parent");
        assert!(!parent.is_sampled());
    }

    #[test]
    fn the_states_of_several_headers_are_one_list() {
        let states = [
            ("traceparent", PARENT),
            ("tracestate", "a=1"),
            ("tracestate", "b=2,c=3"),
        ];
        let parent = parent_of(&states).expect("a parent");
        assert_eq!(parent.trace_state().header(), "a=1,b=2,c=3");
        let malformed = [("traceparent", PARENT), ("tracestate", "no list")];
        assert!(parent_of(&malformed).is_some());
    }

    #[test]
    fn a_malformed_traceparent_is_none() {
        for malformed in [
            "",
            "00",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more",
        ] {
            let parent = parent_of(&[("traceparent", malformed)]);
            assert!(parent.is_none(), "{malformed}: {parent:?}");
        }
        assert!(parent_of(&[]).is_none());
        assert!(parent_of(&[("traceparent", PARENT), ("traceparent", PARENT)]).is_none());
    }
}
