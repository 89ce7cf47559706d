//! What one caller cannot take from the others: calls in progress, memory for requests and answers, health.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use earmark::limits::{CONNECTION_REFLECTIONS_MAX, CONNECTION_WATCHES_MAX, REQUEST_BYTES_MAX};
use earmark::proto::balance::v1::{AdjustBalanceRequest, ListClientBalancesRequest};
use earmark::server::ServerSettings;
use futures_util::future::join_all;
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use tokio_stream::StreamExt;
use tonic::{Code, Status};
use uuid::Uuid;

use crate::server::running::{ADJUST, LIST, Running, adjust, settings};
use crate::support::raw::{Raw, RequestBody, frame, frame_bytes};

const CHECK: &str = "/grpc.health.v1.Health/Check";
const WATCH: &str = "/grpc.health.v1.Health/Watch";
const REFLECTION: &str = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";

/// A body of these bytes that does not end.
fn without_end(bytes: Bytes) -> RequestBody {
    let first = tokio_stream::once(Ok::<_, Infallible>(Frame::data(bytes)));
    let never = tokio_stream::pending();
    StreamBody::new(first.chain(never)).boxed_unsync()
}

/// The beginning of a message of the largest size, of which nothing follows.
fn announced() -> Bytes {
    let length = u32::try_from(REQUEST_BYTES_MAX).expect("fits");
    let mut bytes = vec![0];
    bytes.extend(length.to_be_bytes());
    bytes.push(0x0a);
    bytes.into()
}

/// The code of a call's status if it came with the headers, as that of a refused call does.
async fn refused(raw: &Raw, path: &str, body: RequestBody) -> Option<Code> {
    let response = raw.send(path, &[], body).await.expect("a response");
    Status::from_header_map(response.headers()).map(|status| status.code())
}

#[tokio::test]
async fn a_call_whose_request_never_comes_keeps_nobody_out_and_ends() {
    let server = Running::start_with(ServerSettings {
        calls_max: 4,
        body_stall_max: Duration::from_secs(2),
        ..settings()
    })
    .await;
    let bearer = server.bearer("network-admin");
    let raw = server.raw().await;
    let metadata = [("authorization", bearer.as_str())];
    let silent = join_all((0..200).map(|_| raw.send(ADJUST, &metadata, without_end(announced()))));
    let others = async {
        // Some of the silent calls have arrived by now; none of them ends before the last of these.
        for _ in 0..20 {
            assert_eq!(server.adjust("x").await.status.code(), Code::Ok);
        }
    };
    let (ended, ()) = tokio::join!(silent, others);
    for response in ended {
        let response = response.expect("a response");
        let status = Status::from_header_map(response.headers()).expect("a status");
        assert_eq!(status.code(), Code::DeadlineExceeded, "{status:?}");
    }
}

#[tokio::test]
async fn incomplete_requests_take_their_share_of_memory_at_most() {
    let server = Running::start_with(ServerSettings {
        // A principal has 40 KiB, and an incomplete request takes 4 KiB besides what has come of it.
        request_bytes_max: 160 * 1024,
        body_stall_max: Duration::from_secs(600),
        call_max: Duration::from_secs(600),
        ..settings()
    })
    .await;
    let (first, second) = (Uuid::from_u128(1), Uuid::from_u128(2));
    let (hog, other) = (server.bearer_of(first), server.bearer_of(second));
    let raw = Arc::new(server.raw().await);
    let begin = |bearer: &str| {
        let (raw, bearer) = (Arc::clone(&raw), bearer.to_owned());
        tokio::spawn(async move {
            let metadata = [("authorization", bearer.as_str())];
            let response = raw.send(ADJUST, &metadata, without_end(announced())).await;
            Status::from_header_map(response.expect("a response").headers())
        })
    };
    let held: Vec<_> = (0..9).map(|_| begin(&hog)).collect();
    // One of these finds no room, and none that is held is ever answered.
    let refused = tokio::time::timeout(Duration::from_secs(20), begin(&hog)).await;
    let refused = refused.expect("at once").expect("no panic");
    assert_eq!(refused.expect("a status").code(), Code::ResourceExhausted);

    let body = frame(&AdjustBalanceRequest {
        enterprise_id: second.to_string(),
        external_id: "x".repeat(20 * 1024),
        ..AdjustBalanceRequest::default()
    });
    let metadata = [("authorization", other.as_str())];
    let answer = raw.call(ADJUST, &metadata, body).await;
    assert_eq!(answer.status.code(), Code::Ok, "another principal has room");
    drop(held);
}

#[tokio::test]
async fn a_principal_has_as_many_calls_as_it_leaves_to_others() {
    let server = Running::start_with(ServerSettings {
        calls_max: 8,
        ..settings()
    })
    .await;
    let raw = server.raw().await;
    let call = async |enterprise: Uuid, what: String| {
        let body = frame(&AdjustBalanceRequest {
            enterprise_id: enterprise.to_string(),
            external_id: what,
            ..AdjustBalanceRequest::default()
        });
        let bearer = server.bearer_of(enterprise);
        let metadata = [("authorization", bearer.as_str())];
        raw.call(ADJUST, &metadata, body).await
    };
    let (hog, second, third) = (Uuid::from_u128(1), Uuid::from_u128(2), Uuid::from_u128(3));
    let held = join_all((0..4).map(|index| call(hog, format!("hold {index}"))));
    let others = async {
        for index in 0..4 {
            server.seen.wait_for(&format!("began hold {index}")).await;
        }
        let refused = call(hog, "x".into()).await;
        refused.expect(Code::ResourceExhausted, "OVERLOADED");
        for enterprise in [second, third] {
            assert_eq!(call(enterprise, "x".into()).await.status.code(), Code::Ok);
        }
        let seen = server.seen.calls();
        let principal = |index: usize| seen.get(index).map(|(call, _)| call.principal);
        assert_ne!(principal(4), principal(5));
        server.seen.add("let go");
    };
    let (held, ()) = tokio::join!(held, others);
    assert!(held.iter().all(|answer| answer.status.code() == Code::Ok));
}

#[tokio::test]
async fn an_answer_that_nobody_reads_takes_its_share_of_memory_and_ends() {
    let server = Running::start_with(ServerSettings {
        // A principal has room for one of these answers.
        answer_bytes_max: 16 * 1024 * 1024,
        call_max: Duration::from_secs(3),
        ..settings()
    })
    .await;
    let raw = Raw::connect_with_window(server.address, 1_024).await;
    let list = frame(&ListClientBalancesRequest {
        enterprise_id: "answer much".into(),
        ..ListClientBalancesRequest::default()
    });
    let (hog, other) = (
        server.bearer_of(Uuid::from_u128(1)),
        server.bearer_of(Uuid::from_u128(2)),
    );
    let metadata = [("authorization", hog.as_str())];
    let unread = raw
        .send(
            LIST,
            &metadata,
            http_body_util::Full::new(list.clone()).boxed_unsync(),
        )
        .await
        .expect("headers");
    // The rest of the first is being held back once its headers are there and a second is refused.
    let reader = server.raw().await;
    let refused = async {
        while reader
            .call(LIST, &metadata, list.clone())
            .await
            .status
            .code()
            == Code::Ok
        {}
    };
    tokio::time::timeout(Duration::from_secs(20), refused)
        .await
        .expect("refused while the first is held");
    let others = [("authorization", other.as_str())];
    let answer = reader.call(LIST, &others, list.clone()).await;
    assert_eq!(answer.status.code(), Code::Ok, "another principal has room");

    // Its stream is reset after the deadline and the grace, although nothing of it is read until then.
    tokio::time::sleep(Duration::from_secs(9)).await;
    assert!(unread.into_body().collect().await.is_err(), "cut short");
    let answer = reader.call(LIST, &metadata, list).await;
    assert_eq!(answer.status.code(), Code::Ok, "its room is free again");
}

#[tokio::test]
async fn a_list_beyond_every_limit_is_refused_before_it_is_decoded() {
    let server = Running::start().await;
    let bearer = server.bearer("settlement_network_read");
    // The field `currencies` or the like: each empty value takes two bytes.
    let message = [0x22, 0].repeat(REQUEST_BYTES_MAX / 2);
    let metadata = [("authorization", bearer.as_str())];
    let raw = server.raw().await;
    let answer = raw.call(LIST, &metadata, frame_bytes(0, &message)).await;
    answer.expect(Code::InvalidArgument, "INVALID_REQUEST");
    assert!(
        answer.status.message().contains("has too many values"),
        "{answer:?}"
    );
    assert_eq!(server.seen.events(), [""; 0]);
}

#[tokio::test]
async fn a_second_message_is_refused_and_nothing_is_carried_out() {
    let server = Running::start().await;
    let bearer = server.bearer("network-admin");
    let metadata = [("authorization", bearer.as_str())];
    let two = [adjust("x"), adjust("y")].concat();
    let answer = server.raw().await.call(ADJUST, &metadata, two.into()).await;
    answer.expect(Code::Unimplemented, "MALFORMED_MESSAGE");
    assert_eq!(server.seen.events(), [""; 0]);
}

#[tokio::test]
async fn health_checks_are_answered_however_many_watches_a_peer_has() {
    let server = Running::start_with(ServerSettings {
        calls_max: 1,
        ..settings()
    })
    .await;
    let watch = || http_body_util::Full::new(frame_bytes(0, &[])).boxed_unsync();
    let raw = server.raw().await;
    let mut open = Vec::new();
    for _ in 0..CONNECTION_WATCHES_MAX {
        let response = raw.send(WATCH, &[], watch()).await.expect("a response");
        assert!(Status::from_header_map(response.headers()).is_none());
        open.push(response);
    }
    for _ in 0..10 {
        let code = refused(&raw, WATCH, watch()).await;
        assert_eq!(code, Some(Code::ResourceExhausted));
    }
    let elsewhere = server.raw().await;
    let response = elsewhere.send(WATCH, &[], watch()).await;
    assert!(Status::from_header_map(response.expect("a response").headers()).is_none());
    for connection in [&raw, &elsewhere] {
        let check = connection.call(CHECK, &[], frame_bytes(0, &[])).await;
        assert_eq!(check.status.code(), Code::Ok);
    }
    drop(open);
    while refused(&raw, WATCH, watch()).await.is_some() {}
}

#[tokio::test]
async fn a_connection_has_few_reflection_calls() {
    let server = Running::start().await;
    let raw = server.raw().await;
    let mut open = Vec::new();
    for _ in 0..CONNECTION_REFLECTIONS_MAX {
        let response = raw.send(REFLECTION, &[], without_end(Bytes::new())).await;
        open.push(response.expect("a response"));
    }
    let code = refused(&raw, REFLECTION, without_end(Bytes::new())).await;
    assert_eq!(code, Some(Code::ResourceExhausted));
}

#[tokio::test]
async fn a_health_check_that_never_comes_is_ended_too() {
    let server = Running::start_with(ServerSettings {
        body_stall_max: Duration::from_millis(100),
        ..settings()
    })
    .await;
    let raw = server.raw().await;
    let code = refused(&raw, CHECK, without_end(announced().slice(..3))).await;
    assert_eq!(code, Some(Code::DeadlineExceeded));
}

#[tokio::test]
async fn small_answers_that_nobody_reads_end_too() {
    let server = Running::start_with(ServerSettings {
        calls_max: 2,
        call_max: Duration::from_secs(1),
        ..settings()
    })
    .await;
    let bearer = server.bearer_of(Uuid::from_u128(1));
    let metadata = [("authorization", bearer.as_str())];
    // The client takes no byte of any answer.
    let raw = Raw::connect_with_window(server.address, 0).await;
    let body = http_body_util::Full::new(frame(&AdjustBalanceRequest::default())).boxed_unsync();
    let unread = raw.send(ADJUST, &metadata, body).await.expect("headers");
    let reader = server.raw().await;
    let refused = reader.call(ADJUST, &metadata, adjust("x")).await;
    refused.expect(Code::ResourceExhausted, "OVERLOADED");
    let freed = async {
        while reader
            .call(ADJUST, &metadata, adjust("x"))
            .await
            .status
            .code()
            != Code::Ok
        {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), freed)
        .await
        .expect("its place is free after the deadline");
    assert!(unread.into_body().collect().await.is_err(), "cut short");
}
