//! `grpc.health.v1.Health`.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use http::uri::PathAndQuery;
use tonic::{Code, Streaming};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

use crate::server::running::Running;

const BALANCE: &str = "earmark.balance.v1.BalanceService";

fn of(service: &str) -> HealthCheckRequest {
    HealthCheckRequest {
        service: service.into(),
    }
}

async fn check(server: &Running, service: &str) -> Result<ServingStatus, Code> {
    HealthClient::new(server.channel().await)
        .check(of(service))
        .await
        .map(|response| response.into_inner().status())
        .map_err(|status| status.code())
}

async fn wait_for(server: &Running, service: &str, expected: ServingStatus) -> Duration {
    let started = Instant::now();
    while check(server, service).await != Ok(expected) {
        assert!(started.elapsed() < Duration::from_secs(10), "{service}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    started.elapsed()
}

async fn watch(server: &Running, service: &str) -> Streaming<HealthCheckResponse> {
    HealthClient::new(server.channel().await)
        .watch(of(service))
        .await
        .expect("a stream")
        .into_inner()
}

async fn next(watched: &mut Streaming<HealthCheckResponse>) -> Option<ServingStatus> {
    tokio::time::timeout(Duration::from_secs(20), watched.message())
        .await
        .expect("in time")
        .expect("no error")
        .map(|response| response.status())
}

#[tokio::test]
async fn services_are_serving_while_the_probe_passes() {
    let server = Running::start().await;
    for service in [
        "",
        BALANCE,
        "earmark.allocation.v1.AllocationService",
        "earmark.network.v1.NetworkService",
    ] {
        wait_for(&server, service, ServingStatus::Serving).await;
    }
    server.ready.store(false, Ordering::SeqCst);
    let took = wait_for(&server, BALANCE, ServingStatus::NotServing).await;
    assert!(took < Duration::from_secs(5), "{took:?}");
    assert_eq!(check(&server, "liveness").await, Ok(ServingStatus::Serving));
    assert_eq!(check(&server, "earmark.none").await, Err(Code::NotFound));

    server.ready.store(true, Ordering::SeqCst);
    let took = wait_for(&server, "", ServingStatus::Serving).await;
    assert!(took < Duration::from_secs(5), "{took:?}");
}

#[tokio::test]
async fn watch_reports_every_change_until_the_drain() {
    let server = Running::start().await;
    wait_for(&server, "", ServingStatus::Serving).await;
    let mut all = watch(&server, "").await;
    let mut balance = watch(&server, BALANCE).await;
    let mut unknown = watch(&server, "earmark.none").await;
    let mut alive = watch(&server, "liveness").await;
    assert_eq!(
        next(&mut unknown).await,
        Some(ServingStatus::ServiceUnknown)
    );
    assert_eq!(next(&mut alive).await, Some(ServingStatus::Serving));
    for watched in [&mut all, &mut balance] {
        assert_eq!(next(watched).await, Some(ServingStatus::Serving));
    }
    server.ready.store(false, Ordering::SeqCst);
    for watched in [&mut all, &mut balance] {
        assert_eq!(next(watched).await, Some(ServingStatus::NotServing));
    }
    server.ready.store(true, Ordering::SeqCst);
    for watched in [&mut all, &mut balance] {
        assert_eq!(next(watched).await, Some(ServingStatus::Serving));
    }
    let stays_open = tokio::time::timeout(Duration::from_millis(200), unknown.message()).await;
    assert!(stays_open.is_err());

    server.shutdown.ask();
    for watched in [&mut all, &mut balance] {
        assert_eq!(next(watched).await, Some(ServingStatus::NotServing));
        assert_eq!(next(watched).await, None, "ends on drain");
    }
    assert_eq!(next(&mut unknown).await, None);
    assert_eq!(next(&mut alive).await, None);
    let ended = tokio::time::timeout(Duration::from_secs(20), server.served).await;
    ended.expect("in time").expect("no panic").expect("served");
}

#[derive(Clone, PartialEq, prost::Message)]
struct ListRequest {}

#[derive(Clone, PartialEq, prost::Message)]
struct ListResponse {
    #[prost(btree_map = "string, message", tag = "1")]
    statuses: BTreeMap<String, HealthCheckResponse>,
}

#[tokio::test]
async fn all_names_are_listed_with_their_statuses() {
    let server = Running::start().await;
    wait_for(&server, "", ServingStatus::Serving).await;
    let list = async || {
        let mut grpc = tonic::client::Grpc::new(server.channel().await);
        grpc.ready().await.expect("connected");
        let path = PathAndQuery::from_static("/grpc.health.v1.Health/List");
        let codec = tonic_prost::ProstCodec::<ListRequest, ListResponse>::default();
        let request = tonic::Request::new(ListRequest {});
        let listed = grpc.unary(request, path, codec).await.expect("listed");
        listed.into_inner().statuses
    };
    let listed = list().await;
    for name in ["", BALANCE, "reads", "liveness"] {
        let status = listed.get(name).map(HealthCheckResponse::status);
        assert_eq!(status, Some(ServingStatus::Serving), "{name:?}");
    }
    assert_eq!(listed.len(), 9, "{:?}", listed.keys());
}
