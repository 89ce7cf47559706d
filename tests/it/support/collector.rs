//! A collector of traces: receives what a server exports by OTLP over gRPC.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::Server;
use tonic::{Request, Response, Status};

/// How long a span may be on its way before it counts as lost.
const SPAN_MAX: Duration = Duration::from_secs(20);

/// A collector that runs as long as the test.
#[derive(Clone, Default)]
pub(crate) struct Collector {
    pub(crate) endpoint: String,
    received: Arc<Mutex<Vec<ReceivedSpan>>>,
}

/// A span with what it is a span of.
#[derive(Clone, Debug)]
pub(crate) struct ReceivedSpan {
    pub(crate) resource: BTreeMap<String, String>,
    pub(crate) attributes: BTreeMap<String, String>,
    pub(crate) span: Span,
}

impl ReceivedSpan {
    pub(crate) fn trace_id(&self) -> String {
        hex(&self.span.trace_id)
    }

    pub(crate) fn id(&self) -> String {
        hex(&self.span.span_id)
    }

    pub(crate) fn parent(&self) -> String {
        hex(&self.span.parent_span_id)
    }

    /// The spans that it has links to.
    pub(crate) fn links(&self) -> Vec<String> {
        let links = self.span.links.iter();
        links.map(|link| hex(&link.span_id)).collect()
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The values of attributes as texts.
fn texts(attributes: &[KeyValue]) -> BTreeMap<String, String> {
    let text = |attribute: &KeyValue| {
        let value = attribute.value.clone().and_then(|value| value.value);
        match value {
            Some(Value::StringValue(text)) => text,
            Some(Value::IntValue(number)) => number.to_string(),
            other => format!("{other:?}"),
        }
    };
    attributes
        .iter()
        .map(|attribute| (attribute.key.clone(), text(attribute)))
        .collect()
}

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let mut received = self.received.lock().expect("no panic");
        for resource_spans in request.into_inner().resource_spans {
            let resource = resource_spans.resource.unwrap_or_default();
            let resource = texts(&resource.attributes);
            let spans = resource_spans
                .scope_spans
                .into_iter()
                .flat_map(|scope| scope.spans);
            received.extend(spans.map(|span| ReceivedSpan {
                resource: resource.clone(),
                attributes: texts(&span.attributes),
                span,
            }));
        }
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

impl Collector {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let collector = Self {
            endpoint: format!("http://{}", listener.local_addr().expect("bound")),
            ..Self::default()
        };
        let service = TraceServiceServer::new(collector.clone());
        let serving = Server::builder().add_service(service);
        tokio::spawn(serving.serve_with_incoming(TcpListenerStream::new(listener)));
        collector
    }

    /// All spans that have arrived.
    pub(crate) fn spans(&self) -> Vec<ReceivedSpan> {
        self.received.lock().expect("no panic").clone()
    }

    /// Waits for the first span that is asked for.
    pub(crate) async fn span(
        &self,
        what: &str,
        is_meant: impl Fn(&ReceivedSpan) -> bool,
    ) -> ReceivedSpan {
        let begun = Instant::now();
        loop {
            let spans = self.spans();
            if let Some(span) = spans.iter().find(|span| is_meant(span)) {
                return span.clone();
            }
            let names: Vec<&String> = spans.iter().map(|span| &span.span.name).collect();
            assert!(begun.elapsed() < SPAN_MAX, "no {what} among {names:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits for a span of this name whose parent is the given one.
    pub(crate) async fn child(&self, parent: &ReceivedSpan, name: &str) -> ReceivedSpan {
        let is_meant = |span: &ReceivedSpan| span.span.name == name && span.parent() == parent.id();
        let found = self.span(name, is_meant).await;
        assert_eq!(found.trace_id(), parent.trace_id(), "of one trace");
        found
    }
}
