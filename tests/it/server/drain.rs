//! Shutdown: lame duck, drain, hooks.

use std::time::{Duration, Instant};

use earmark::server::ServerSettings;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tonic::Code;
use tonic_types::StatusExt;

use crate::server::running::{ADJUST, Running, adjust, settings};
use crate::support::raw::frame_bytes;

async fn ended(server: Running) -> Vec<String> {
    let served = tokio::time::timeout(Duration::from_secs(10), server.served).await;
    served.expect("in time").expect("no panic").expect("served");
    server.seen.events()
}

#[tokio::test]
async fn calls_finish_before_the_shutdown_hooks_run() {
    let server = Running::start().await;
    let bearer = server.bearer("network-admin");
    let metadata = [("authorization", bearer.as_str())];
    let raw = server.raw().await;
    let drain = async {
        server.seen.wait_for("began sleep a little").await;
        server.shutdown.ask();
    };
    let (answer, ()) = tokio::join!(raw.call(ADJUST, &metadata, adjust("sleep a little")), drain);
    assert_eq!(answer.status.code(), Code::Ok);
    assert_eq!(
        ended(server).await,
        [
            "began sleep a little",
            "ended sleep a little",
            "closed the writer",
            "closed the pools",
        ]
    );
}

#[tokio::test]
async fn a_draining_server_serves_calls_and_reports_not_serving() {
    let server = Running::start_with(ServerSettings {
        lame_duck: Duration::from_secs(60),
        ..settings()
    })
    .await;
    let raw = server.raw().await;
    server.shutdown.ask();
    let check = "/grpc.health.v1.Health/Check";
    let not_serving = async {
        while raw.call(check, &[], frame_bytes(0, &[])).await.body[5..] != [8, 2] {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let in_time = tokio::time::timeout(Duration::from_secs(10), not_serving);
    in_time.await.expect("status: NOT_SERVING");
    let answer = server.adjust("x").await;
    assert_eq!(answer.status.code(), Code::Ok, "even on a new connection");

    let address = server.address;
    server.shutdown.ask();
    ended(server).await;
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn new_calls_on_open_connections_are_refused_while_draining() {
    let server = Running::start().await;
    let bearer = server.bearer("network-admin");
    let metadata = [("authorization", bearer.as_str())];
    let raw = server.raw().await;
    // HTTP/2 lets a client finish requests that it began before GOAWAY.
    let late = async {
        server.seen.wait_for("began sleep a little").await;
        server.shutdown.ask();
        while !server.shutdown.has_begun() {
            tokio::task::yield_now().await;
        }
        loop {
            match raw.try_call(ADJUST, &metadata, adjust("late")).await {
                Ok(answer) if answer.status.code() == Code::Ok => {}
                Ok(answer) => {
                    answer.expect(Code::Unavailable, "SHUTTING_DOWN");
                    assert!(answer.status.get_details_retry_info().is_some());
                    return;
                }
                // The connection closed first, so the client knows that the call was not started.
                Err(_) => return,
            }
        }
    };
    let (answer, ()) = tokio::join!(raw.call(ADJUST, &metadata, adjust("sleep a little")), late);
    assert_eq!(answer.status.code(), Code::Ok);
    ended(server).await;
}

#[tokio::test]
async fn connections_that_do_not_close_are_cut() {
    let server = Running::start_with(ServerSettings {
        drain_max: Duration::from_millis(200),
        ..settings()
    })
    .await;
    let bearer = server.bearer("network-admin");
    let metadata = [("authorization", bearer.as_str())];
    let raw = server.raw().await;
    let drain = async {
        server.seen.wait_for("began sleep").await;
        server.shutdown.ask();
    };
    let (cut, ()) = tokio::join!(raw.try_call(ADJUST, &metadata, adjust("sleep")), drain);
    assert!(cut.is_err(), "{cut:?}");
    // The call itself would take twice as long as `ended` waits.
    let events = ended(server).await;
    assert_eq!(
        events,
        ["began sleep", "closed the writer", "closed the pools"]
    );
}

#[tokio::test]
async fn a_second_signal_skips_the_drain_but_not_the_hooks() {
    let server = Running::start_with(ServerSettings {
        lame_duck: Duration::from_secs(60),
        drain_max: Duration::from_secs(60),
        ..settings()
    })
    .await;
    server.shutdown.ask();
    server.shutdown.ask();
    assert_eq!(
        ended(server).await,
        ["closed the writer", "closed the pools"]
    );
}

#[tokio::test]
async fn idle_connections_do_not_delay_the_drain() {
    let server = Running::start().await;
    let _silent = TcpStream::connect(server.address).await.expect("connected");
    let _idle = server.raw().await;
    let _channel = server.channel().await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    server.shutdown.ask();
    ended(server).await;
}

#[tokio::test]
async fn no_connection_without_a_call_delays_the_way_down() {
    let server = Running::start_with(ServerSettings {
        drain_max: Duration::from_secs(60),
        ..settings()
    })
    .await;
    let connected = async || TcpStream::connect(server.address).await.expect("connected");
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    let mut silent = vec![connected().await];
    // One byte, a part of the preface, all of it without an acknowledgement, and another protocol.
    for bytes in [
        &preface[..1],
        &preface[..20],
        &preface[..],
        &b"GET / HTTP/1.1\r\n"[..],
    ] {
        let mut stream = connected().await;
        stream.write_all(bytes).await.expect("written");
        silent.push(stream);
    }
    let raw = server.raw().await;
    let bearer = server.bearer("network-admin");
    let called = raw
        .call(ADJUST, &[("authorization", bearer.as_str())], adjust("x"))
        .await;
    assert_eq!(
        called.status.code(),
        Code::Ok,
        "a connection that had a call"
    );
    let asked = Instant::now();
    server.shutdown.ask();
    ended(server).await;
    let took = asked.elapsed();
    assert!(took < Duration::from_secs(3), "{took:?}");
    drop(silent);
}
