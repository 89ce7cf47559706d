//! The port that serves health alone, without TLS.

use std::net::SocketAddr;
use std::time::Duration;

use earmark::limits::HEALTH_CONNECTIONS_PER_PEER_MAX;
use earmark::server::{Listeners, ServerSettings};
use tokio::net::TcpListener;
use tonic::Code;
use tonic::transport::Channel;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use crate::server::running::{ADJUST, Running, adjust, settings};
use crate::support::frames::Frames;
use crate::support::raw::{Raw, frame_bytes};

/// A server with a port for health, and that port's address.
async fn start(settings: ServerSettings) -> (Running, SocketAddr) {
    let health = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = health.local_addr().expect("bound");
    let listeners = |calls| Listeners {
        health: Some(health),
        ..Listeners::from(calls)
    };
    (Running::start_listening(settings, listeners).await, address)
}

async fn client(address: SocketAddr) -> HealthClient<Channel> {
    let channel = Channel::from_shared(format!("http://{address}")).expect("a URI");
    HealthClient::new(channel.connect().await.expect("connected"))
}

async fn status(client: &mut HealthClient<Channel>) -> ServingStatus {
    let request = HealthCheckRequest::default();
    let answer = client.check(request).await.expect("an answer");
    answer.into_inner().status()
}

#[tokio::test]
async fn it_answers_health_and_nothing_else() {
    let (server, address) = start(settings()).await;
    let mut health = client(address).await;
    while status(&mut health).await != ServingStatus::Serving {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let request = HealthCheckRequest::default();
    let mut watch = health.watch(request).await.expect("a stream").into_inner();
    let first = watch.message().await.expect("a status").expect("one");
    assert_eq!(first.status(), ServingStatus::Serving);

    let raw = Raw::connect(address).await;
    let list = raw
        .call("/grpc.health.v1.Health/List", &[], frame_bytes(0, &[]))
        .await;
    assert_eq!(list.status.code(), Code::Ok);
    // Not even with a good token.
    let bearer = server.bearer("network-admin");
    let metadata = [("authorization", bearer.as_str())];
    for path in [
        ADJUST,
        "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
        "/nowhere",
    ] {
        let refused = raw.call(path, &metadata, adjust("x")).await;
        refused.expect(Code::Unimplemented, "METHOD_UNKNOWN");
    }
    assert_eq!(server.seen.events(), Vec::<String>::new());
}

#[tokio::test]
async fn it_answers_while_the_server_drains_and_ends_with_it() {
    let (server, address) = start(ServerSettings {
        drain_max: Duration::from_secs(3_600),
        ..settings()
    })
    .await;
    let mut health = client(address).await;
    while status(&mut health).await != ServingStatus::Serving {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let held = async {
        let answer = server.adjust("hold").await;
        assert_eq!(answer.status.code(), Code::Ok);
    };
    let draining = async {
        server.seen.wait_for("began hold").await;
        server.shutdown.ask();
        // A new connection, as a probe makes one each time.
        while status(&mut client(address).await).await == ServingStatus::Serving {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        server.seen.add("let go");
    };
    tokio::join!(held, draining);
    // An open Watch does not hold the drain.
    let request = HealthCheckRequest::default();
    let watching = health.watch(request).await;
    let served = tokio::time::timeout(Duration::from_secs(20), server.served).await;
    served.expect("in time").expect("no panic").expect("served");
    drop(watching);
}

/// Linux has all addresses of 127.0.0.0/8; other systems have the first one only.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn one_peer_takes_neither_its_connections_nor_those_for_calls() {
    let (server, address) = start(settings()).await;
    let mut open = Vec::new();
    for _ in 0..HEALTH_CONNECTIONS_PER_PEER_MAX {
        let mut connection = Frames::begin_from([127, 0, 0, 2].into(), address).await;
        assert!(connection.is_served().await);
        open.push(connection);
    }
    let mut surplus = Frames::begin_from([127, 0, 0, 2].into(), address).await;
    assert!(!surplus.is_served().await);
    status(&mut client(address).await).await;
    assert_eq!(server.adjust("x").await.status.code(), Code::Ok);
}
