//! Connections: how they begin, how many there may be, and how they end.

use std::time::Duration;

use bytes::Bytes;
use earmark::server::ServerSettings;
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tonic::{Code, Status};

use crate::server::access_log::Log;
use crate::server::running::{ADJUST, Running, adjust, settings};
use crate::support::frames::{Frames, GOAWAY, PREFACE, SETTINGS};

/// Longer than any test lasts.
const NEVER: Duration = Duration::from_secs(3_600);

#[tokio::test]
async fn a_connection_that_does_not_send_its_preface_is_closed() {
    let server = Running::start_with(ServerSettings {
        preface_max: Duration::from_millis(200),
        ..settings()
    })
    .await;
    for sent in [&PREFACE[..0], &PREFACE[..1], &PREFACE[..23]] {
        let mut connection = Frames::silent(server.address).await;
        connection.send(sent).await;
        assert_eq!(connection.next().await, None, "{sent:?}");
    }
}

#[tokio::test]
async fn another_protocol_is_closed_at_once() {
    let server = Running::start_with(ServerSettings {
        preface_max: NEVER,
        ..settings()
    })
    .await;
    for sent in ["G", "PRI * HTTP/1.1\r\n\r\n"] {
        let mut connection = Frames::silent(server.address).await;
        connection.send(sent.as_bytes()).await;
        assert_eq!(connection.next().await, None, "{sent:?}");
    }
}

#[tokio::test]
async fn a_preface_may_arrive_byte_by_byte() {
    let server = Running::start_with(ServerSettings {
        preface_max: NEVER,
        ..settings()
    })
    .await;
    let mut connection = Frames::silent(server.address).await;
    for byte in [PREFACE, SETTINGS].concat() {
        connection.send(&[byte]).await;
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert!(connection.is_served().await);
}

/// Linux has all addresses of 127.0.0.0/8; other systems have the first one only.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn one_peer_does_not_get_the_connections_of_others() {
    let log = Log::capture();
    let server = Running::start_with(ServerSettings {
        connections_max: 8,
        connections_per_peer_max: 2,
        preface_max: NEVER,
        ..settings()
    })
    .await;
    let mut first = Frames::begin(server.address).await;
    assert!(first.is_served().await);
    // One that sends nothing counts as well.
    let silent = Frames::silent(server.address).await;
    for _ in 0..10 {
        let mut surplus = Frames::begin(server.address).await;
        assert!(!surplus.is_served().await, "the third of this peer");
    }
    let mut other = Frames::begin_from([127, 0, 0, 2].into(), server.address).await;
    assert!(other.is_served().await, "another peer");
    log.wait_for_text("its peer has its share of the connections")
        .await;

    drop(silent);
    // The server learns a little later that the connection was closed.
    let again = async { while !Frames::begin(server.address).await.is_served().await {} };
    let in_time = tokio::time::timeout(Duration::from_secs(20), again).await;
    in_time.expect("a connection that has ended makes room");
}

#[tokio::test]
async fn a_connection_above_the_total_waits_until_another_one_ends() {
    let log = Log::capture();
    let server = Running::start_with(ServerSettings {
        connections_max: 1,
        ..settings()
    })
    .await;
    let mut first = Frames::begin(server.address).await;
    assert!(first.is_served().await);
    let mut second = Frames::begin(server.address).await;
    tokio::select! {
        biased;
        served = second.is_served() => panic!("{served}, though the first one is open"),
        () = log.wait_for_text("has as many as --connections-max allows") => {}
    }
    drop(first);
    assert!(second.is_served().await);
}

#[tokio::test]
async fn an_idle_connection_gets_goaway_and_is_closed() {
    let server = Running::start_with(ServerSettings {
        connection_idle_max: Duration::from_millis(100),
        goaway_grace: Duration::from_millis(100),
        ..settings()
    })
    .await;
    let mut connection = Frames::begin(server.address).await;
    assert!(connection.rest().await.contains(&GOAWAY));
}

#[tokio::test]
async fn a_shutdown_does_not_wait_for_connections_without_calls() {
    let server = Running::start_with(ServerSettings {
        preface_max: NEVER,
        drain_max: NEVER,
        ..settings()
    })
    .await;
    let mut never_acknowledges = Frames::begin(server.address).await;
    assert!(never_acknowledges.is_served().await);
    let mut one_byte = Frames::silent(server.address).await;
    one_byte.send(&PREFACE[..1]).await;
    // Accepted after the two before: so they are as well.
    let mut last = Frames::begin(server.address).await;
    assert!(last.is_served().await);

    server.shutdown.ask();
    let served = tokio::time::timeout(Duration::from_secs(20), server.served).await;
    served.expect("in time").expect("no panic").expect("served");
    assert!(never_acknowledges.rest().await.contains(&GOAWAY));
}

/// A client that does as gRPC's do: it calls on one connection, and connects again when that one takes no more calls. A
/// call that was not sent is repeated on the next connection.
struct Reconnecting<'a> {
    server: &'a Running,
    connection: Option<SendRequest<Full<Bytes>>>,
    connected: usize,
}

impl<'a> Reconnecting<'a> {
    fn new(server: &'a Running) -> Self {
        Self {
            server,
            connection: None,
            connected: 0,
        }
    }

    async fn connection(&mut self) -> SendRequest<Full<Bytes>> {
        if let Some(connection) = &self.connection {
            return connection.clone();
        }
        let stream = TcpStream::connect(self.server.address).await;
        let io = TokioIo::new(stream.expect("connected"));
        let handshake = http2::handshake(TokioExecutor::new(), io).await;
        let (connection, driver) = handshake.expect("HTTP/2");
        tokio::spawn(driver);
        self.connected += 1;
        self.connection.insert(connection).clone()
    }

    /// Calls the fake write. Panics unless the call succeeds.
    async fn adjust(&mut self, what: &str) {
        loop {
            let mut connection = self.connection().await;
            let request = adjust_request(self.server, what);
            match connection.try_send_request(request).await {
                Ok(response) => {
                    assert_eq!(status_of(response).await.code(), Code::Ok);
                    return;
                }
                Err(mut error) => {
                    assert!(error.take_message().is_some(), "a call was lost: {error:?}");
                    self.connection = None;
                }
            }
        }
    }
}

fn adjust_request(server: &Running, what: &str) -> Request<Full<Bytes>> {
    Request::post(format!("http://{}{ADJUST}", server.address))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("authorization", server.bearer("network-admin"))
        .body(Full::new(adjust(what)))
        .expect("a request")
}

async fn status_of(response: http::Response<hyper::body::Incoming>) -> Status {
    let headers = response.headers().clone();
    let collected = response.into_body().collect().await.expect("an answer");
    let trailers = collected.trailers().cloned().unwrap_or_default();
    let status = Status::from_header_map(&headers).or_else(|| Status::from_header_map(&trailers));
    status.expect("a status")
}

#[tokio::test]
async fn a_client_of_old_connections_connects_again_and_loses_no_call() {
    let server = Running::start_with(ServerSettings {
        connection_age_max: Duration::from_millis(100),
        goaway_grace: NEVER,
        ..settings()
    })
    .await;
    let mut client = Reconnecting::new(&server);
    let calling = async {
        while client.connected < 4 {
            client.adjust("x").await;
        }
    };
    let in_time = tokio::time::timeout(Duration::from_secs(20), calling).await;
    in_time.expect("GOAWAY at the connections' age");
}

#[tokio::test]
async fn a_call_in_progress_outlasts_the_goaway() {
    let server = Running::start_with(ServerSettings {
        connection_age_max: Duration::from_millis(100),
        goaway_grace: Duration::from_millis(1),
        ..settings()
    })
    .await;
    let mut client = Reconnecting::new(&server);
    let mut connection = client.connection().await;
    let held = connection.try_send_request(adjust_request(&server, "hold"));
    let meanwhile = async {
        server.seen.wait_for("began hold").await;
        let mut connection = client.connection().await;
        // Until the client has read the GOAWAY, it takes further calls; then it hands them back.
        while let Ok(answer) = connection
            .try_send_request(adjust_request(&server, "x"))
            .await
        {
            assert_eq!(status_of(answer).await.code(), Code::Ok);
        }
        server.seen.add("let go");
    };
    let (answer, ()) = tokio::join!(held, meanwhile);
    assert_eq!(status_of(answer.expect("an answer")).await.code(), Code::Ok);
}
