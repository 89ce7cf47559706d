//! Traces: spans of calls, of batches and of statements as a collector receives them, and collectors that do not answer.

use std::process::Command;
use std::time::Duration;

use earmark::limits::TRACE_FLUSH_MAX;
use earmark::proto::allocation::v1::{GetAllocationRequest, ListClientAllocationsRequest};
use earmark::proto::network::v1::{ConnectionMode, CreateEnterpriseRequest};
use serde_json::Value;
use tokio::net::TcpListener;
use tonic::{Code, Request};

use crate::support::cluster::{TestDatabase, database};
use crate::support::collector::{Collector, ReceivedSpan};
use crate::support::earmark::{Earmark, Parties};
use crate::support::key_server::KeyServer;
use crate::support::log_file::LogFile;

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const CALLER: &str = "b7ad6b7169203331";
const CREATE: &str = "earmark.allocation.v1.AllocationService/CreateAllocation";

/// OTLP's numbers of the kinds of spans.
const SERVER: i32 = 2;
const CLIENT: i32 = 3;

/// A server in a process of its own, which exports to a collector what callers ask for.
struct Traced {
    earmark: Earmark,
    log: LogFile,
    _db: TestDatabase,
}

impl Traced {
    async fn start(endpoint: &str, set: impl FnOnce(&mut Command)) -> Self {
        let db = database().await;
        let log = LogFile::new();
        let earmark = Earmark::start_process_by(&db.url, "info", log.writer(), |command| {
            command
                .env("EARMARK_OTLP_ENDPOINT", endpoint)
                .env("EARMARK_TRACE_SAMPLE_RATIO", "0")
                .env("OTEL_BSP_SCHEDULE_DELAY", "50");
            set(command);
        });
        Self {
            earmark: earmark.await,
            log,
            _db: db,
        }
    }

    async fn parties(&self) -> Parties {
        let parties = self.earmark.parties(ConnectionMode::Confirmed).await;
        let enterprise = &parties.enterprise;
        self.earmark.deposit(enterprise, "BTC", "1000").await;
        parties
    }
}

/// A request of a caller that traces its call, or only says of which trace it is.
fn called_by<T>(message: T, is_sampled: bool) -> Request<T> {
    let mut request = Request::new(message);
    let flags = if is_sampled { "01" } else { "00" };
    let parent = format!("00-{TRACE}-{CALLER}-{flags}");
    let metadata = request.metadata_mut();
    metadata.insert("traceparent", parent.parse().expect("ASCII"));
    metadata.insert("tracestate", "vendor=1".parse().expect("ASCII"));
    request
}

/// The span of a call of the caller above.
async fn call(collector: &Collector, method: &str) -> ReceivedSpan {
    let is_meant = |span: &ReceivedSpan| span.span.name == method && span.parent() == CALLER;
    let span = collector.span(method, is_meant).await;
    assert_eq!((span.trace_id().as_str(), span.span.kind), (TRACE, SERVER));
    span
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_sees_a_call_its_batch_and_their_statements() {
    let collector = Collector::start().await;
    let server = Traced::start(&collector.endpoint, |_| {}).await;
    let parties = server.parties().await;
    let member = server.earmark.member(&[&parties.enterprise]);
    let request = called_by(parties.allocation("BTC", "7", "traced"), true);
    let created = member.allocation.clone().create_allocation(request).await;
    created.expect("reserved");

    let span = call(&collector, CREATE).await;
    assert_eq!(span.span.trace_state, "vendor=1");
    for (name, value) in [
        ("rpc.system.name", "grpc"),
        ("rpc.method", CREATE),
        ("rpc.response.status_code", "OK"),
        ("network.peer.address", "127.0.0.1"),
        ("earmark.outcome", "applied"),
    ] {
        assert_eq!(span.attributes.get(name).map(String::as_str), Some(value));
    }
    let resource = |name: &str| span.resource.get(name).map(String::as_str);
    assert_eq!(resource("service.name"), Some("earmark"));
    assert_eq!(resource("service.version"), Some(env!("CARGO_PKG_VERSION")));
    let instance = resource("service.instance.id").expect("set");
    assert!(uuid::Uuid::parse_str(instance).is_ok(), "{instance}");

    let wait = collector.child(&span, "wait for a ledger batch").await;
    let batch = collector.span("batch", |span| span.span.name == "ledger batch");
    let batch = batch.await;
    assert_ne!(batch.trace_id(), TRACE, "of a trace of its own");
    assert_eq!(batch.parent(), "");
    assert_eq!(batch.links(), [span.id()]);
    assert_eq!(wait.links(), [batch.id()]);
    assert_eq!(batch.attributes["earmark.batch.commands"], "1");
    for statement in [
        "BEGIN",
        "SELECT owner",
        "SELECT account",
        "SELECT clock",
        "INSERT open_allocation",
        "UPDATE account",
        "INSERT entry",
        "COMMIT",
    ] {
        let found = collector.child(&batch, statement).await;
        assert_eq!(found.span.kind, CLIENT, "{statement}");
        assert_eq!(found.attributes["db.system.name"], "postgresql");
    }

    // Of all other calls, whose callers did not trace them, there is nothing.
    let spans = collector.spans();
    let calls = spans.iter().filter(|span| span.span.kind == SERVER);
    assert_eq!(calls.count(), 1, "{spans:?}");
    let access = server.log.line("line of the call", |line| {
        line["target"] == "earmark::access" && line["trace_id"] == TRACE
    });
    assert_eq!(
        access.await["request_id"].as_str(),
        Some(span.attributes["earmark.request_id"].as_str())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn statements_of_reads_and_of_small_writes_are_below_their_calls() {
    let collector = Collector::start().await;
    let server = Traced::start(&collector.endpoint, |_| {}).await;
    let parties = server.parties().await;
    let enterprise = parties.enterprise.clone();
    let mut member = server.earmark.member(&[&enterprise]).allocation;
    let request = parties.allocation("BTC", "7", "read");
    let created = member.create_allocation(request).await.expect("reserved");
    let id = created.into_inner().allocation.expect("set").id;

    let list = ListClientAllocationsRequest {
        enterprise_id: enterprise.clone(),
        ..Default::default()
    };
    let listed = member.list_client_allocations(called_by(list, true)).await;
    listed.expect("listed");
    let method = "earmark.allocation.v1.AllocationService/ListClientAllocations";
    let span = call(&collector, method).await;
    let statement = collector.child(&span, "SELECT allocation").await;
    let text = &statement.attributes["db.query.text"];
    assert!(text.contains("$1"), "{text}");
    assert!(
        !text.contains("binds") && !text.contains(&enterprise),
        "{text}"
    );

    let get = GetAllocationRequest {
        enterprise_id: enterprise,
        allocation_id: id,
    };
    let got = member.get_allocation(called_by(get, true)).await;
    got.expect("found");
    let method = "earmark.allocation.v1.AllocationService/GetAllocation";
    let span = call(&collector, method).await;
    let wait = collector.child(&span, "wait for a read by id").await;
    let read = collector.span("read", |span| span.span.name == "read by id");
    let read = read.await;
    assert_eq!(read.links(), [span.id()]);
    assert_eq!(wait.links(), [read.id()]);
    let statement = collector.span("statement", |span| span.parent() == read.id());
    assert!(statement.await.span.name.starts_with("SELECT "));

    let create = CreateEnterpriseRequest {
        name: "Traced".into(),
        ..Default::default()
    };
    let mut admin = server.earmark.admin().network;
    let created = admin.create_enterprise(called_by(create, true)).await;
    created.expect("created");
    let method = "earmark.network.v1.NetworkService/CreateEnterprise";
    let span = call(&collector, method).await;
    for statement in ["BEGIN", "INSERT enterprise", "COMMIT"] {
        collector.child(&span, statement).await;
    }

    // The connections go on without spans.
    let before = collector.spans().len();
    server.earmark.new_enterprise("Untraced", false).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(collector.spans().len(), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_ratio_decides_where_callers_do_not_or_must_not() {
    let collector = Collector::start().await;
    let all = |command: &mut Command| {
        command.env("EARMARK_TRACE_SAMPLE_RATIO", "1");
    };
    let server = Traced::start(&collector.endpoint, all).await;
    let mut admin = server.earmark.admin().network;
    let create = |name: &str| CreateEnterpriseRequest {
        name: name.into(),
        ..Default::default()
    };
    let unsampled = admin.create_enterprise(called_by(create("One"), false));
    unsampled.await.expect("created");
    admin
        .create_enterprise(create("Two"))
        .await
        .expect("created");
    let refused = admin.create_enterprise(create("")).await;
    assert_eq!(refused.expect_err("no name").code(), Code::InvalidArgument);
    let refused = collector.span("the refused call", |span| {
        let code = span.attributes.get("rpc.response.status_code");
        code.is_some_and(|code| code == "INVALID_ARGUMENT")
    });
    let refused = refused.await;
    assert_eq!(refused.attributes["earmark.reason"], "INVALID_REQUEST");
    assert_eq!(
        refused.span.status.unwrap_or_default().code,
        0,
        "its own fault"
    );
    let calls = |trace: &str| {
        let spans = collector.spans().into_iter();
        spans
            .filter(|span| span.span.kind == SERVER && (span.trace_id() == trace))
            .count()
    };
    assert_eq!(calls(TRACE), 0, "its caller has decided");

    let follow = |command: &mut Command| {
        command
            .env("EARMARK_TRACE_SAMPLE_RATIO", "1")
            .env("EARMARK_TRACE_FOLLOW_CLIENTS", "false");
    };
    let server = Traced::start(&collector.endpoint, follow).await;
    let mut admin = server.earmark.admin().network;
    let unsampled = admin.create_enterprise(called_by(create("One"), false));
    unsampled.await.expect("created");
    call(
        &collector,
        "earmark.network.v1.NetworkService/CreateEnterprise",
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_of_the_issuers_keys_takes_part_in_the_trace() {
    let collector = Collector::start().await;
    let keys = KeyServer::start();
    keys.publish(&serde_json::json!({"keys": []}));
    let url = keys.url();
    let with_url = |command: &mut Command| {
        command
            .env("EARMARK_JWKS", &url)
            .env("EARMARK_JWKS_MAX_AGE", "1s");
    };
    let server = Traced::start(&collector.endpoint, with_url).await;
    let mut admin = server.earmark.admin().network;
    // Its keys are never read, so that the call waits for a read, which is its own.
    let span = loop {
        let create = called_by(CreateEnterpriseRequest::default(), true);
        let refused = admin.create_enterprise(create).await;
        assert_eq!(refused.expect_err("no keys").code(), Code::Unavailable);
        tokio::time::sleep(Duration::from_millis(100)).await;
        let spans = collector.spans();
        if let Some(span) = spans.iter().find(|span| span.span.name == "GET") {
            break span.clone();
        }
    };
    assert_eq!(span.trace_id(), TRACE);
    assert_eq!(span.attributes["url.full"], url);
    assert_eq!(span.attributes["http.response.status_code"], "200");
    let sent = format!("traceparent: 00-{TRACE}-{}-01", span.id());
    assert!(
        keys.requests()
            .iter()
            .any(|request| request.contains(&sent))
    );
    let unsent = |request: &String| !request.contains("traceparent");
    assert!(
        keys.requests().iter().any(unsent),
        "the first one was nobody's"
    );
}

/// Makes calls that are all traced, while nobody takes their spans; returns the log's line about that.
async fn unexported(server: &Traced) -> Value {
    let mut admin = server.earmark.admin().network;
    for number in 0..50 {
        let create = CreateEnterpriseRequest {
            name: format!("Number {number}"),
            ..Default::default()
        };
        admin.create_enterprise(create).await.expect("created");
    }
    let warning = server.log.line("warning", |line| {
        line["message"]
            .as_str()
            .is_some_and(|text| text.starts_with("spans cannot be exported"))
    });
    let warning = warning.await;
    assert_eq!(warning["level"], "WARN");
    assert!(
        warning["dropped_spans"]
            .as_u64()
            .is_some_and(|spans| spans > 0)
    );
    warning
}

fn all_traced(command: &mut Command) {
    command.env("EARMARK_TRACE_SAMPLE_RATIO", "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_is_away_costs_nothing_but_spans() {
    // Bound and not listened on: connections are refused.
    let socket = tokio::net::TcpSocket::new_v4().expect("a socket");
    socket.bind(([127, 0, 0, 1], 0).into()).expect("a port");
    let address = socket.local_addr().expect("bound");
    let mut server = Traced::start(&format!("http://{address}"), all_traced).await;
    let warning = unexported(&server).await;
    assert_eq!(warning["endpoint"], format!("http://{address}"));
    let took = server.earmark.end();
    assert!(took < TRACE_FLUSH_MAX + Duration::from_secs(5), "{took:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_hangs_costs_nothing_but_spans() {
    // It accepts connections, and never reads from them.
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound");
    let accepting = tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok(accepted) = listener.accept().await {
            held.push(accepted);
        }
    });
    let impatient = |command: &mut Command| {
        all_traced(command);
        command.env("OTEL_EXPORTER_OTLP_TIMEOUT", "500");
    };
    let server = Traced::start(&format!("http://{address}"), impatient).await;
    unexported(&server).await;
    drop(server);

    // With the default timeout of ten seconds a shutdown does not wait for it.
    let mut server = Traced::start(&format!("http://{address}"), all_traced).await;
    server.parties().await;
    let took = server.earmark.end();
    assert!(took < TRACE_FLUSH_MAX + Duration::from_secs(5), "{took:?}");
    let last = server.log.line("warning of the end", |line| {
        line["message"] == "the last spans may not have been exported"
    });
    assert!(
        last.await["dropped_spans"]
            .as_u64()
            .is_some_and(|spans| spans > 0)
    );
    accepting.abort();
}
