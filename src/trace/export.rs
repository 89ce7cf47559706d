//! The way of ended spans to the collector: a bounded queue, and a thread that sends what is in it. A collector that is
//! slow or away costs spans, which are counted, and nothing else.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use opentelemetry::trace::{Link, SpanKind, TraceContextExt, TraceId};
use opentelemetry::{Context, KeyValue};
use opentelemetry_otlp::{SpanExporter as OtlpExporter, WithExportConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{
    BatchConfigBuilder, BatchSpanProcessor, ParentBasedSampler, Sampler, SamplingDecision,
    SamplingResult, SdkTracerProvider, ShouldSample, Span, SpanData, SpanExporter, SpanProcessor,
};

use crate::limits::{SPANS_WAITING_MAX, TRACE_FLUSH_MAX};
use crate::metrics::export::Signal;
use crate::metrics::{self, resource};
use crate::trace::tracer;

/// The time between two log lines about spans that were not exported.
const WARNING_INTERVAL: Duration = Duration::from_secs(60);

/// Where traces go, and which calls are sampled.
#[derive(Clone, Debug)]
pub struct TraceSettings {
    /// The collector, by OTLP over gRPC: `http://host:4317`, or `https://…` with a certificate that leads to one of the
    /// roots of the operating system.
    pub endpoint: String,
    /// The part of the calls without a caller's decision that is sampled, from 0 to 1.
    pub sample_ratio: f64,
    /// Whether a caller's decision counts, where its `traceparent` has one. Otherwise the ratio decides alone.
    pub follow_callers: bool,
}

static DROPPED: AtomicU64 = AtomicU64::new(0);

/// How many spans of this process were not exported although their calls were sampled: the collector was away, did not
/// answer in time, refused them, or took them more slowly than they came.
pub fn dropped_spans() -> u64 {
    DROPPED.load(Ordering::Relaxed)
}

fn count_dropped(spans: usize) {
    let spans = spans as u64;
    DROPPED.fetch_add(spans, Ordering::Relaxed);
    metrics::export::dropped(Signal::Traces, spans);
}

/// Starts to export traces. The collector need not answer yet. Must be called within a tokio runtime, once in a process.
///
/// # Errors
/// The endpoint is no URL, or one of OpenTelemetry's environment variables cannot be used; the text says which.
pub fn start(settings: &TraceSettings) -> Result<(), String> {
    let exporter = OtlpExporter::builder()
        .with_tonic()
        .with_endpoint(&settings.endpoint)
        .build()
        .map_err(|error| error.to_string())?;
    let queue = Arc::new(SpanQueue::default());
    let exporter = CountingExporter {
        inner: exporter,
        queue: Arc::clone(&queue),
        endpoint: settings.endpoint.clone(),
        warned: Mutex::default(),
    };
    let config = BatchConfigBuilder::default().with_max_queue_size(SPANS_WAITING_MAX);
    let inner = BatchSpanProcessor::builder(exporter)
        .with_batch_config(config.build())
        .build();
    let provider = SdkTracerProvider::builder()
        .with_sampler(CallSampler::new(settings))
        .with_resource(resource::of_process())
        .with_span_processor(BoundedProcessor { inner, queue })
        .build();
    if tracer::install(provider) {
        Ok(())
    } else {
        Err("traces are exported already".into())
    }
}

/// Exports what waits, for at most [`TRACE_FLUSH_MAX`]. Spans that end later are dropped.
pub async fn shut_down() {
    let Some(provider) = tracer::provider() else {
        return;
    };
    // It blocks its thread.
    let flushing =
        tokio::task::spawn_blocking(move || provider.shutdown_with_timeout(TRACE_FLUSH_MAX));
    if let Ok(Err(error)) = flushing.await {
        let dropped = dropped_spans();
        tracing::warn!(%error, dropped_spans = dropped, "the last spans may not have been exported");
    }
}

/// Samples calls by their caller's decision or the ratio, their descendants like them, and work that is done for sampled
/// calls, which has links to them.
#[derive(Clone, Debug)]
struct CallSampler {
    by_parent: ParentBasedSampler,
    ratio: Sampler,
    follow_callers: bool,
}

impl CallSampler {
    fn new(settings: &TraceSettings) -> Self {
        let ratio = Sampler::TraceIdRatioBased(settings.sample_ratio);
        Self {
            by_parent: Sampler::parent_based(ratio.clone()),
            ratio,
            follow_callers: settings.follow_callers,
        }
    }
}

impl ShouldSample for CallSampler {
    fn should_sample(
        &self,
        parent: Option<&Context>,
        trace_id: TraceId,
        name: &str,
        kind: &SpanKind,
        attributes: &[KeyValue],
        links: &[Link],
    ) -> SamplingResult {
        let is_of_caller = parent.is_some_and(|parent| parent.span().span_context().is_remote());
        let mut result = if is_of_caller && !self.follow_callers {
            // Not by the trace's id, which the caller has chosen.
            let random = TraceId::from(fastrand::u128(1..));
            self.ratio
                .should_sample(parent, random, name, kind, attributes, links)
        } else {
            self.by_parent
                .should_sample(parent, trace_id, name, kind, attributes, links)
        };
        if !links.is_empty() {
            result.decision = SamplingDecision::RecordAndSample;
        }
        result
    }
}

/// Counts the spans that have ended and are not exported yet. The library's own queue does not say what it drops, so this
/// one in front of it is as large, and refuses before.
#[derive(Debug, Default)]
struct SpanQueue {
    waiting: AtomicUsize,
    is_closed: AtomicBool,
}

impl SpanQueue {
    /// Whether there is room for one more; if not, it is counted as dropped.
    fn enter(&self) -> bool {
        let room = |waiting| (waiting < SPANS_WAITING_MAX).then_some(waiting + 1);
        let is_open = !self.is_closed.load(Ordering::Relaxed);
        let entered = is_open
            && self
                .waiting
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, room)
                .is_ok();
        if !entered {
            count_dropped(1);
        }
        entered
    }

    fn leave(&self, spans: usize, is_exported: bool) {
        // Less than that wait only if they were counted as dropped when it was closed.
        let rest = |waiting: usize| waiting.checked_sub(spans);
        let left = self
            .waiting
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, rest);
        if left.is_ok() && !is_exported {
            count_dropped(spans);
        }
    }

    /// Takes no more, and counts those that wait as dropped.
    fn close(&self) {
        self.is_closed.store(true, Ordering::Relaxed);
        let waiting = self.waiting.swap(0, Ordering::Relaxed);
        count_dropped(waiting);
    }
}

/// The library's processor behind a queue that counts.
#[derive(Debug)]
struct BoundedProcessor {
    inner: BatchSpanProcessor,
    queue: Arc<SpanQueue>,
}

impl SpanProcessor for BoundedProcessor {
    fn on_start(&self, span: &mut Span, context: &Context) {
        self.inner.on_start(span, context);
    }

    fn on_end(&self, span: SpanData) {
        if self.queue.enter() {
            self.inner.on_end(span);
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.inner.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        let result = self.inner.shutdown_with_timeout(timeout);
        self.queue.close();
        result
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}

/// The library's exporter, which counts what it could not export, and warns of it now and then.
#[derive(Debug)]
struct CountingExporter {
    inner: OtlpExporter,
    queue: Arc<SpanQueue>,
    endpoint: String,
    warned: Mutex<Option<Instant>>,
}

impl CountingExporter {
    fn warn(&self, error: &dyn std::error::Error) {
        let mut warned = self.warned.lock().unwrap_or_else(PoisonError::into_inner);
        if warned.is_none_or(|last| last.elapsed() >= WARNING_INTERVAL) {
            *warned = Some(Instant::now());
            tracing::warn!(
                endpoint = self.endpoint,
                %error,
                dropped_spans = dropped_spans(),
                "spans cannot be exported: look whether the collector of --otlp-endpoint takes OTLP over gRPC"
            );
        }
    }
}

impl SpanExporter for CountingExporter {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let spans = batch.len();
        let result = self.inner.export(batch).await;
        self.queue.leave(spans, result.is_ok());
        if let Err(error) = &result {
            self.warn(error);
        }
        result
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.inner.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry::trace::{SpanContext, SpanId, TraceFlags, TraceState};

    use super::*;

    fn settings(sample_ratio: f64, follow_callers: bool) -> TraceSettings {
        TraceSettings {
            endpoint: "http://localhost:4317".into(),
            sample_ratio,
            follow_callers,
        }
    }

    fn caller(trace: u128, is_sampled: bool) -> Context {
        let flags = TraceFlags::default().with_sampled(is_sampled);
        let (trace, span) = (TraceId::from(trace), SpanId::from(7));
        let remote = SpanContext::new(trace, span, flags, true, TraceState::default());
        Context::new().with_remote_span_context(remote)
    }

    fn is_sampled(settings: &TraceSettings, parent: &Context, trace: u128, links: &[Link]) -> bool {
        let sampler = CallSampler::new(settings);
        let (trace, kind) = (TraceId::from(trace), SpanKind::Server);
        let result = sampler.should_sample(Some(parent), trace, "a call", &kind, &[], links);
        result.decision == SamplingDecision::RecordAndSample
    }

    #[test]
    fn a_callers_decision_counts_unless_it_is_not_to_be_followed() {
        for decided in [true, false] {
            let (parent, trace) = (caller(1, decided), 1);
            assert_eq!(
                is_sampled(&settings(0.0, true), &parent, trace, &[]),
                decided
            );
            assert_eq!(
                is_sampled(&settings(1.0, true), &parent, trace, &[]),
                decided
            );
            assert!(!is_sampled(&settings(0.0, false), &parent, trace, &[]));
            assert!(is_sampled(&settings(1.0, false), &parent, trace, &[]));
        }
    }

    #[test]
    fn without_a_caller_the_ratio_decides() {
        let sampled = |ratio: f64| {
            let calls = (0..10_000).map(|_| fastrand::u128(1..));
            let settings = settings(ratio, true);
            calls
                .filter(|trace| is_sampled(&settings, &Context::new(), *trace, &[]))
                .count()
        };
        assert_eq!((sampled(0.0), sampled(1.0)), (0, 10_000));
        let tenth = sampled(0.1);
        assert!((800..1_200).contains(&tenth), "{tenth} of 10000");
    }

    #[test]
    fn work_for_sampled_calls_is_sampled() {
        let call = caller(1, true).span().span_context().clone();
        let links = [Link::with_context(call)];
        assert!(is_sampled(&settings(0.0, true), &Context::new(), 2, &links));
    }

    #[test]
    fn a_full_or_closed_queue_counts_what_it_refuses() {
        let queue = SpanQueue::default();
        let before = dropped_spans();
        let entered = (0..SPANS_WAITING_MAX + 3).filter(|_| queue.enter()).count();
        assert_eq!((entered, dropped_spans() - before), (SPANS_WAITING_MAX, 3));
        queue.leave(100, true);
        queue.leave(10, false);
        assert_eq!(dropped_spans() - before, 13);
        assert!(queue.enter());
        queue.close();
        let waited = (SPANS_WAITING_MAX - 109) as u64;
        assert_eq!(dropped_spans() - before, 13 + waited);
        assert!(!queue.enter());
        queue.leave(5, false);
        assert_eq!(
            dropped_spans() - before,
            14 + waited,
            "none is counted twice"
        );
    }
}
