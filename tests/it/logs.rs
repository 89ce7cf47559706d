//! Log lines: each is as its schema says, and the line of each write says who wrote what.

mod writes;

use std::collections::BTreeSet;

use earmark::proto::network::v1::ConnectionMode;
use jsonschema::Validator;
use serde_json::{Value, json};

use crate::support::cluster::database;
use crate::support::earmark::Earmark;
use crate::support::every_service::EveryService;
use crate::support::locks::{hold_owner, somebody_waits};
use crate::support::log_file::LogFile;
use crate::support::raw::{frame, frame_bytes};

const SCHEMA: &str = include_str!("../../docs/log-lines.schema.json");
const OPERATIONS: &str = include_str!("../../docs/operations.md");
const CREATE: &str = "/earmark.allocation.v1.AllocationService/CreateAllocation";

fn schema() -> (Value, Validator) {
    let schema: Value = serde_json::from_str(SCHEMA).expect("JSON");
    let options = jsonschema::options().should_validate_formats(true);
    let validator = options.build(&schema).expect("a schema");
    (schema, validator)
}

#[track_caller]
fn assert_valid(schema: &Validator, line: &Value) {
    let errors: Vec<String> = schema
        .iter_errors(line)
        .map(|error| format!("{} at {}", error, error.instance_path()))
        .collect();
    assert!(errors.is_empty(), "{errors:#?}: {line:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_line_is_as_its_schema_says() {
    let db = database().await;
    let log = LogFile::new();
    let filter = "info,earmark=debug";
    let mut earmark = Earmark::start_process_with_log(&db.url, filter, log.writer()).await;
    let records = EveryService::make(&earmark).await;
    records.reads(&earmark).await;
    records.writes(&earmark).await;
    // Refused for every reason that comes before the handler, and by it.
    let nothing = EveryService::of_nothing();
    nothing.reads(&earmark).await;
    nothing.writes(&earmark).await;
    let raw = earmark.raw().await;
    let none = || frame_bytes(0, &[]);
    let bearer = format!("Bearer {}", earmark.token("network-admin", &[]));
    let authorized = [("authorization", bearer.as_str())];
    raw.call(CREATE, &[], none()).await;
    raw.call(CREATE, &authorized, none()).await;
    raw.call("/nowhere", &authorized, none()).await;
    raw.call(CREATE, &[("grpc-timeout", "soon")], none()).await;
    raw.call("/grpc.health.v1.Health/Check", &[], none()).await;
    raw.call(
        "/grpc.health.v1.Health/Check",
        &[("x-request-id", "probe")],
        none(),
    )
    .await;
    log.call("probe").await;
    earmark.end();

    let (_, validator) = schema();
    let lines = log.lines();
    for line in &lines {
        assert_valid(&validator, line);
    }
    let values = |member: &str| -> BTreeSet<String> {
        let values = lines.iter().filter_map(|line| line[member].as_str());
        values.map(str::to_owned).collect()
    };
    for (member, expected) in [
        (
            "code",
            vec!["Ok", "Unauthenticated", "PermissionDenied", "Unimplemented"],
        ),
        ("outcome", vec!["applied", "not_applied"]),
        (
            "principal_kind",
            vec!["enterprise", "firm", "company", "tenant", "admin"],
        ),
        ("level", vec!["INFO", "DEBUG"]),
    ] {
        let found = values(member);
        for value in expected {
            assert!(found.contains(value), "{member} {value}: {found:?}");
        }
    }
    let of_calls = lines.iter().filter(|line| line.get("span").is_some());
    assert!(of_calls.count() > 0, "a line of a call besides its own");
}

#[test]
fn the_schema_refuses_what_no_line_is() {
    let (_, validator) = schema();
    let line = json!({
        "timestamp": "2026-11-30T10:26:50.123456Z", "level": "INFO", "target": "earmark::access", "message": "call",
        "method": CREATE, "code": "Ok", "duration_ms": 1.5, "request_id": "a-1",
        "trace_id": "0af7651916cd43dd8448eb211c80319c", "peer": "127.0.0.1:1"
    });
    assert_valid(&validator, &line);
    for (member, value) in [
        ("code", json!("OK")),
        ("trace_id", json!("0AF7651916CD43DD8448EB211C80319C")),
        ("timestamp", json!("yesterday")),
        ("outcome", json!("done")),
        ("records", json!("allocation/1")),
        ("something_else", json!("new")),
        ("peer", Value::Null),
    ] {
        let mut changed = line.clone();
        changed[member] = value;
        assert!(!validator.is_valid(&changed), "{changed}");
    }
}

#[test]
fn operations_explains_every_member_of_an_access_line() {
    let (schema, _) = schema();
    let members = schema["$defs"]["access"]["properties"].as_object();
    let (_, logs) = OPERATIONS.split_once("## Logs").expect("a section");
    for member in members.expect("members").keys() {
        let row = format!("| `{member}` |");
        assert!(logs.contains(&row), "{member}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_has_the_trace_of_its_caller_or_a_new_one() {
    let db = database().await;
    let log = LogFile::new();
    let earmark = Earmark::start_process_with_log(&db.url, "info", log.writer()).await;
    let raw = earmark.raw().await;
    let trace = "0af7651916cd43dd8448eb211c80319c";
    let parent = format!("00-{trace}-b7ad6b7169203331-01");
    let health = "/grpc.health.v1.Health/Check";
    let bearer = format!("Bearer {}", earmark.token("network-admin", &[]));
    for (path, id) in [(CREATE, "traced"), (health, "probe")] {
        let metadata = [
            ("authorization", bearer.as_str()),
            ("x-request-id", id),
            ("traceparent", &parent),
        ];
        raw.call(path, &metadata, frame_bytes(0, &[])).await;
    }
    assert_eq!(log.call("traced").await["trace_id"], trace);
    let mut ids = BTreeSet::new();
    for (id, parent) in [
        ("new", None),
        ("other", None),
        ("malformed", Some("00-0-0-00")),
    ] {
        let mut metadata = vec![("authorization", bearer.as_str()), ("x-request-id", id)];
        metadata.extend(parent.map(|parent| ("traceparent", parent)));
        raw.call(CREATE, &metadata, frame_bytes(0, &[])).await;
        ids.insert(log.call(id).await["trace_id"].to_string());
    }
    assert_eq!(ids.len(), 3, "{ids:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_whose_client_has_gone_has_an_unknown_outcome() {
    let db = database().await;
    let log = LogFile::new();
    let earmark = Earmark::start_process_with_log(&db.url, "info", log.writer()).await;
    let parties = earmark.parties(ConnectionMode::Confirmed).await;
    earmark.deposit(&parties.enterprise, "BTC", "1000").await;
    let scope = "settlement_network_write";
    let token = earmark.token(scope, &[&parties.enterprise]);
    let bearer = format!("Bearer {token}");
    let raw = earmark.raw().await;
    let call = async |id: &str, extra: &[(&str, &str)]| {
        let mut metadata = vec![("authorization", bearer.as_str()), ("x-request-id", id)];
        metadata.extend(extra);
        let request = parties.allocation("BTC", "1", id);
        raw.call(CREATE, &metadata, frame(&request)).await
    };

    let _held = hold_owner(&earmark.url, &parties.enterprise).await;
    tokio::select! {
        answer = call("left", &[]) => panic!("{answer:?}"),
        () = somebody_waits(&earmark.url) => {}
    }
    let line = log.call("left").await;
    assert_eq!(line["code"], "Cancelled");
    assert_eq!(line["outcome"], "unknown");
    assert_eq!(line["principal"], parties.enterprise.as_str());
    assert!(line.get("records").is_none(), "{line}");

    let late = call("late", &[("grpc-timeout", "200m")]).await;
    let told = late.error_info().metadata["outcome"].clone();
    let line = log.call("late").await;
    assert_eq!(line["reason"], "DEADLINE");
    assert_eq!(line["outcome"], told, "what the caller was told");
}
