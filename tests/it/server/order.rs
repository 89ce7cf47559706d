//! The order of the checks (token, scope, body), and what a handler receives.

use std::time::Duration;

use bytes::Bytes;
use tonic::Code;
use uuid::Uuid;

use crate::server::running::{ADJUST, Running, adjust};
use crate::support::raw::frame_bytes;

#[tokio::test]
async fn token_scope_and_body_are_checked_in_this_order() {
    let server = Running::start().await;
    let raw = server.raw().await;
    let malformed = || frame_bytes(0, &[0xff; 8]);
    let (reader, admin) = (
        server.bearer("settlement_network_read"),
        server.bearer("network-admin"),
    );

    let missing = raw.call(ADJUST, &[], malformed()).await;
    let outcome = missing.expect(Code::Unauthenticated, "TOKEN_MISSING");
    assert_eq!(outcome.as_deref(), Some("not_applied"), "it is a write");

    let bad = [("authorization", "Bearer a.b.c")];
    let bad = raw.call(ADJUST, &bad, malformed()).await;
    bad.expect(Code::Unauthenticated, "TOKEN_INVALID");

    let expired = server.bearer_for("network-admin", Duration::ZERO);
    tokio::time::sleep(Duration::from_millis(10)).await;
    let within_leeway = [("authorization", expired.as_str())];
    let within_leeway = raw.call(ADJUST, &within_leeway, adjust("")).await;
    assert_eq!(within_leeway.status.code(), Code::Ok, "five seconds");

    let no_scope = [("authorization", reader.as_str())];
    let no_scope = raw.call(ADJUST, &no_scope, malformed()).await;
    no_scope.expect(Code::PermissionDenied, "SCOPE_MISSING");
    let required = no_scope.error_info().metadata["required_scope"].clone();
    assert_eq!(required, "custody-write");

    let body = [("authorization", admin.as_str())];
    let body = raw.call(ADJUST, &body, malformed()).await;
    body.expect(Code::InvalidArgument, "MALFORMED_MESSAGE");
    let begun: Vec<String> = server.seen.events();
    assert_eq!(
        begun,
        ["began ", "ended "],
        "only the good call got through"
    );
}

#[tokio::test]
async fn a_handler_receives_the_caller_but_not_the_token() {
    let server = Running::start().await;
    let bearer = server.bearer("network-admin other");
    let metadata = [
        ("authorization", bearer.as_str()),
        ("x-request-id", "order-7"),
        ("x-other", "kept"),
    ];
    let answer = server.raw().await.call(ADJUST, &metadata, adjust("")).await;
    assert_eq!(answer.status.code(), Code::Ok);
    assert_eq!(answer.headers["x-request-id"], "order-7");

    let calls = server.seen.calls();
    let [(call, metadata)] = calls.as_slice() else {
        panic!("one call, not {calls:?}");
    };
    assert_eq!(call.rpc.path, ADJUST);
    assert_eq!(call.caller.subject, "somebody");
    assert_eq!(&*call.request_id, "order-7");
    assert!(metadata.get("authorization").is_none());
    assert!(metadata.get("x-other").is_some());
}

#[tokio::test]
async fn every_answer_has_a_request_id() {
    let server = Running::start().await;
    let raw = server.raw().await;
    for (path, metadata) in [
        (ADJUST, vec![]),
        (ADJUST, vec![("x-request-id", "not sane!")]),
        ("/nowhere", vec![]),
        ("/grpc.health.v1.Health/Check", vec![]),
    ] {
        let answer = raw
            .call(path, &metadata, frame_bytes(0, &Bytes::new()))
            .await;
        let id = answer.headers["x-request-id"].to_str().expect("ASCII");
        assert!(Uuid::try_parse(id).is_ok(), "{path}: {id}");
    }
}
