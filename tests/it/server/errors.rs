//! Errors outside of handlers: each has the documented code and details, and the server goes on.

use std::io::Write as _;
use std::time::{Duration, Instant};

use bytes::Bytes;
use earmark::server::ServerSettings;
use flate2::Compression;
use flate2::write::GzEncoder;
use http_body_util::{BodyExt, Full};
use tonic::Code;
use tonic_types::StatusExt;

use crate::server::running::{ADJUST, LIST, Running, adjust, settings};
use crate::support::raw::{Answer, frame_bytes};

async fn call_with(server: &Running, metadata: &[(&str, &str)], body: Bytes) -> Answer {
    let bearer = server.bearer("network-admin");
    let mut all = vec![("authorization", bearer.as_str())];
    all.extend(metadata);
    server.raw().await.call(ADJUST, &all, body).await
}

#[track_caller]
fn assert_internal(answer: &Answer, outcome: Option<&str>) {
    let found = answer.expect(Code::Internal, "INTERNAL");
    assert_eq!(found.as_deref(), outcome);
    assert!(!format!("{answer:?}").contains("secret"), "{answer:?}");
    let request = answer.status.get_details_request_info();
    let id = request.expect("RequestInfo").request_id;
    assert_eq!(answer.headers["x-request-id"], id.as_str());
}

#[tokio::test]
async fn an_undecodable_body_is_refused_as_malformed() {
    let server = Running::start().await;
    let whole = adjust("x");
    let table = [
        ("wire type 7", frame_bytes(0, &[0x0f])),
        ("text that is not UTF-8", frame_bytes(0, &[0x0a, 1, 0xff])),
        ("length past the end", frame_bytes(0, &[0x0a, 9, 1])),
        ("no frame", Bytes::new()),
        ("half a frame header", whole.slice(..3)),
        ("half a message", whole.slice(..whole.len() - 1)),
        ("unknown flag", frame_bytes(2, &[])),
        ("flag without encoding", frame_bytes(1, &[])),
    ];
    for (case, body) in table {
        let answer = call_with(&server, &[], body).await;
        let info = answer.error_info();
        assert_eq!(info.reason, "MALFORMED_MESSAGE", "{case}: {answer:?}");
        assert_eq!(answer.status.code(), Code::InvalidArgument, "{case}");
        assert_eq!(info.metadata["outcome"], "not_applied", "{case}");
    }
    assert_eq!(server.seen.events(), [""; 0]);
}

#[tokio::test]
async fn an_unsupported_compression_is_refused_as_grpc_specifies() {
    let server = Running::start().await;
    let answer = call_with(&server, &[("grpc-encoding", "deflate")], adjust("x")).await;
    answer.expect(Code::Unimplemented, "MALFORMED_MESSAGE");
    assert_eq!(answer.headers["grpc-accept-encoding"], "gzip,identity");
}

fn gzip(message: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(message).expect("written");
    encoder.finish().expect("compressed")
}

#[tokio::test]
async fn a_request_may_be_compressed_by_gzip_within_the_same_limit() {
    const GZIP: (&str, &str) = ("grpc-encoding", "gzip");
    let server = Running::start().await;
    // A client may send single messages as they are.
    let plain = call_with(&server, &[GZIP], adjust("x")).await;
    assert_eq!(plain.status.code(), Code::Ok, "{:?}", plain.status);
    let most = "x".repeat(4 * 1024 * 1024 - 5);
    for (text, code) in [
        ("x", Code::Ok),
        (&most, Code::Ok),
        (&format!("{most}x"), Code::ResourceExhausted),
    ] {
        let message = gzip(&adjust(text)[5..]);
        let answer = call_with(&server, &[GZIP], frame_bytes(1, &message)).await;
        assert_eq!(answer.status.code(), code, "{:?}", answer.status);
    }
    let answer = call_with(&server, &[GZIP], frame_bytes(1, b"not gzip")).await;
    answer.expect(Code::InvalidArgument, "MALFORMED_MESSAGE");
    // A hundred megabytes of zeros are about a hundred kilobytes of gzip.
    let bomb = gzip(&vec![0; 100 << 20]);
    let answer = call_with(&server, &[GZIP], frame_bytes(1, &bomb)).await;
    answer.expect(Code::ResourceExhausted, "MESSAGE_TOO_LARGE");
}

#[tokio::test]
async fn a_content_type_of_another_protocol_is_refused_by_http() {
    let server = Running::start().await;
    let bearer = server.bearer("network-admin");
    let raw = server.raw().await;
    for (content_type, is_served) in [
        (Some("application/grpc"), true),
        (Some("application/grpc+proto"), true),
        (Some("application/grpc; charset=utf-8"), true),
        (Some("application/grpc-web"), false),
        (Some("application/grpc+json"), false),
        (Some("application/json"), false),
        (None, false),
    ] {
        let metadata = [("authorization", bearer.as_str())];
        let body = Full::new(adjust("x")).boxed_unsync();
        let response = raw.send_as(content_type, ADJUST, &metadata, body).await;
        let response = response.expect("an answer");
        let status = response.status();
        assert_eq!(status == 200, is_served, "{content_type:?}: {status}");
        if !is_served {
            assert_eq!(status, 415, "{content_type:?}");
            assert!(response.headers().contains_key("x-request-id"));
        }
    }
}

#[tokio::test]
async fn an_error_that_may_be_retried_tells_clients_when() {
    let server = Running::start_with(ServerSettings {
        calls_max: 0,
        ..settings()
    })
    .await;
    let refused = server.adjust("x").await;
    refused.expect(Code::ResourceExhausted, "OVERLOADED");
    let pushback = refused.status.metadata().get("grpc-retry-pushback-ms");
    let delay = refused.status.get_details_retry_info().expect("set");
    let delay = delay.retry_delay.expect("set").as_millis();
    assert_eq!(pushback.expect("sent"), delay.to_string().as_str());
    let refused = call_with(&server, &[("grpc-timeout", "soon")], adjust("x")).await;
    let pushback = refused.status.metadata().get("grpc-retry-pushback-ms");
    assert!(pushback.is_none(), "{refused:?}");
}

#[tokio::test]
async fn a_request_over_the_size_limit_is_refused() {
    let server = Running::start().await;
    // The greatest that passes: tag and length take five bytes.
    let most = "x".repeat(4 * 1024 * 1024 - 5);
    let answer = call_with(&server, &[], adjust(&most)).await;
    assert_eq!(answer.status.code(), Code::Ok, "{:?}", answer.status);

    let answer = call_with(&server, &[], adjust(&format!("{most}x"))).await;
    answer.expect(Code::ResourceExhausted, "MESSAGE_TOO_LARGE");
    assert!(answer.status.get_details_retry_info().is_none());
    assert_eq!(answer.error_info().metadata["limit"], "4194304");

    let mut huge = frame_bytes(0, &[]).to_vec();
    huge[1..5].copy_from_slice(&u32::MAX.to_be_bytes());
    let answer = call_with(&server, &[], huge.into()).await;
    answer.expect(Code::ResourceExhausted, "MESSAGE_TOO_LARGE");
}

#[tokio::test]
async fn an_answer_over_the_size_limit_is_an_internal_error() {
    let server = Running::start().await;
    assert_internal(&server.list("answer too much").await, None);
}

#[tokio::test]
async fn metadata_over_the_size_limit_is_refused() {
    let server = Running::start().await;
    let raw = server.raw().await;
    let long = "x".repeat(17 * 1024);
    let refused = raw.call(ADJUST, &[("x-long", &long)], adjust("x")).await;
    // HTTP/2 itself refuses it, so it has no details.
    assert!(refused.status.message().starts_with("431"), "{refused:?}");
    let fits = "x".repeat(15 * 1024);
    let answer = call_with(&server, &[("x-long", &fits)], adjust("x")).await;
    assert_eq!(answer.status.code(), Code::Ok, "{answer:?}");
}

#[tokio::test]
async fn an_unknown_method_is_unimplemented_for_every_caller() {
    let server = Running::start().await;
    let bearer = server.bearer("network-admin");
    let raw = server.raw().await;
    for path in [
        "/",
        "/earmark.balance.v1.BalanceService/Steal",
        "/earmark.balance.v2.BalanceService/AdjustBalance",
        "/earmark.balance.v1.BalanceService/AdjustBalance/more",
        // In the scope table, but not served here.
        "/earmark.network.v1.NetworkService/GetClient",
    ] {
        let metadata = [("authorization", bearer.as_str())];
        let answer = raw.call(path, &metadata, adjust("")).await;
        answer.expect(Code::Unimplemented, "METHOD_UNKNOWN");
    }
    let answer = raw.call("/nowhere", &[], Bytes::new()).await;
    answer.expect(Code::Unimplemented, "METHOD_UNKNOWN");
}

#[tokio::test]
async fn the_clients_deadline_is_enforced() {
    let server = Running::start().await;
    let started = Instant::now();
    let answer = call_with(&server, &[("grpc-timeout", "100m")], adjust("sleep")).await;
    let outcome = answer.expect(Code::DeadlineExceeded, "DEADLINE");
    assert_eq!(outcome.as_deref(), Some("not_applied"));
    assert!(started.elapsed() < Duration::from_secs(15));

    let taken = adjust("take and sleep");
    let answer = call_with(&server, &[("grpc-timeout", "1000000u")], taken).await;
    let outcome = answer.expect(Code::DeadlineExceeded, "DEADLINE");
    assert_eq!(outcome.as_deref(), Some("unknown"), "the writer had it");
    assert!(!server.seen.events().contains(&"ended sleep".into()));
}

#[tokio::test]
async fn a_malformed_deadline_is_refused_before_the_token_is_looked_at() {
    let server = Running::start().await;
    for malformed in ["x", "10", "1s", "123456789n"] {
        let metadata = [("grpc-timeout", malformed)];
        let answer = server
            .raw()
            .await
            .call(ADJUST, &metadata, adjust("x"))
            .await;
        answer.expect(Code::InvalidArgument, "INVALID_REQUEST");
        let info = answer.error_info();
        assert_eq!(info.metadata["field"], "grpc-timeout", "{answer:?}");
        assert!(answer.status.message().contains(malformed), "{answer:?}");
    }
    assert_eq!(server.seen.events(), [""; 0]);
}

#[tokio::test]
async fn the_servers_deadline_is_enforced_whatever_the_clients_is() {
    let server = Running::start_with(ServerSettings {
        call_max: Duration::from_millis(100),
        ..settings()
    })
    .await;
    for metadata in [&[][..], &[("grpc-timeout", "1H")]] {
        let answer = call_with(&server, metadata, adjust("sleep")).await;
        answer.expect(Code::DeadlineExceeded, "DEADLINE");
    }
    let answer = server.list("sleep").await;
    let outcome = answer.expect(Code::DeadlineExceeded, "DEADLINE");
    assert_eq!(outcome, None, "a read");
}

#[tokio::test]
async fn a_panic_fails_its_own_call_only() {
    let server = Running::start().await;
    let bearer = server.bearer("network-admin settlement_network_read");
    let metadata = [("authorization", bearer.as_str())];
    let raw = server.raw().await;
    let (neighbour, panicked) = tokio::join!(
        raw.call(ADJUST, &metadata, adjust("sleep a little")),
        raw.call(ADJUST, &metadata, adjust("panic")),
    );
    assert_internal(&panicked, Some("not_applied"));
    assert_eq!(neighbour.status.code(), Code::Ok, "on the same connection");
    let taken = raw.call(ADJUST, &metadata, adjust("take and panic")).await;
    assert_internal(&taken, Some("unknown"));
    assert_eq!(server.adjust("").await.status.code(), Code::Ok);
}

#[tokio::test]
async fn every_status_leaves_the_server_with_details() {
    let server = Running::start().await;
    for what in ["bare status", "bare internal"] {
        assert_internal(&server.adjust(what).await, Some("not_applied"));
        assert_internal(&server.list(what).await, None);
    }
    let ours = server.adjust("refuse").await;
    ours.expect(Code::AlreadyExists, "CLIENT_EXISTS");
}

#[tokio::test]
async fn calls_above_the_concurrency_limit_are_refused_at_once() {
    // Of four, one caller has two.
    let server = Running::start_with(ServerSettings {
        calls_max: 4,
        ..settings()
    })
    .await;
    let calls = async {
        let busy = async |name: &str| server.adjust(&format!("hold {name}")).await;
        let extra = async {
            for name in ["one", "two"] {
                server.seen.wait_for(&format!("began hold {name}")).await;
            }
            // Both stay until it has been refused.
            let refused = server.adjust("x").await;
            refused.expect(Code::ResourceExhausted, "OVERLOADED");
            assert!(refused.status.get_details_retry_info().is_some());
            let health = server.raw().await;
            let path = "/grpc.health.v1.Health/Check";
            let health = health.call(path, &[], frame_bytes(0, &[])).await;
            assert_eq!(health.status.code(), Code::Ok, "health is still answered");
            server.seen.add("let go");
        };
        tokio::join!(busy("one"), busy("two"), extra)
    };
    let (first, second, ()) = calls.await;
    assert_eq!(first.status.code(), Code::Ok);
    assert_eq!(second.status.code(), Code::Ok);
    assert_eq!(
        server.adjust("x").await.status.code(),
        Code::Ok,
        "free again"
    );
}

#[tokio::test]
async fn a_cancelled_call_frees_its_slot() {
    let server = Running::start_with(ServerSettings {
        calls_max: 1,
        ..settings()
    })
    .await;
    tokio::select! {
        answer = server.adjust("sleep") => panic!("{answer:?}"),
        () = server.seen.wait_for("began sleep") => {}
    }
    let freed = async {
        while server.adjust("x").await.status.code() != Code::Ok {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    // The call would have held it for twice as long.
    tokio::time::timeout(Duration::from_secs(10), freed)
        .await
        .expect("the place is free");
    let answer = server.list("").await;
    assert_eq!((answer.status.code(), LIST), (Code::Ok, LIST));
}
