//! The calls of another tenant, from another address, at a steady pace: what an attack must not disturb.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use earmark::proto::allocation::v1::allocation_service_client::AllocationServiceClient;
use earmark::proto::allocation::v1::{GetAllocationRequest, ListClientAllocationsRequest};
use earmark::proto::bucket::v1::bucket_service_client::BucketServiceClient;
use earmark::proto::bucket::v1::{ActionAmount, ReserveBalanceRequest};
use earmark::proto::cas::v1::cas_allocation_service_client::CasAllocationServiceClient;
use earmark::proto::cas::v1::{Criterion, SearchAllocationsRequest};
use tokio::task::JoinSet;
use tokio::time::{sleep_until, timeout};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use uuid::Uuid;

use crate::tenant::{BUCKET, DEAL, Tenant, UNIT, one_allocation};

/// Where its connections come from.
const SOURCE: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));
/// The time between two calls: 50 a second.
const PACE: Duration = Duration::from_millis(20);
/// How long a connection may take.
const CONNECT_MAX: Duration = Duration::from_secs(5);
/// How much later a call without an answer is given up.
const GRACE: Duration = Duration::from_secs(1);

/// A kind of call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum VictimCall {
    Get,
    List,
    Search,
    Create,
    Reserve,
    Health,
    Liveness,
    /// Liveness by a new connection, as probes ask for it.
    Connect,
}

/// What is called in turns.
const TURNS: [VictimCall; 10] = [
    VictimCall::Get,
    VictimCall::Create,
    VictimCall::List,
    VictimCall::Health,
    VictimCall::Reserve,
    VictimCall::Get,
    VictimCall::Search,
    VictimCall::Liveness,
    VictimCall::Create,
    VictimCall::Connect,
];

impl VictimCall {
    fn is_health(self) -> bool {
        matches!(self, Self::Health | Self::Liveness | Self::Connect)
    }
}

impl fmt::Display for VictimCall {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Get => "get",
            Self::List => "list",
            Self::Search => "search",
            Self::Create => "create",
            Self::Reserve => "reserve",
            Self::Health => "health",
            Self::Liveness => "liveness",
            Self::Connect => "connect",
        })
    }
}

/// What came of the calls in a time.
#[derive(Debug, Default)]
pub(crate) struct VictimFigures {
    pub(crate) calls: usize,
    /// How long each took from the time at which it was to be sent; sorted.
    latencies: Vec<Duration>,
    /// The codes of calls that failed, and how often each kind of call had it.
    pub(crate) failures: BTreeMap<String, BTreeMap<VictimCall, usize>>,
    health_failed: bool,
}

impl VictimFigures {
    pub(crate) fn failed(&self) -> usize {
        self.failures.values().flat_map(BTreeMap::values).sum()
    }

    /// The time in which 99 of 100 calls ended.
    pub(crate) fn p99(&self) -> Duration {
        let index = (self.latencies.len() * 99).div_ceil(100).saturating_sub(1);
        self.latencies.get(index).copied().unwrap_or_default()
    }

    /// Whether every health check was answered SERVING.
    pub(crate) fn was_serving(&self) -> bool {
        self.calls > 0 && !self.health_failed
    }
}

/// A tenant who calls.
#[derive(Clone)]
pub(crate) struct Victim {
    tenant: Arc<Tenant>,
    endpoint: Endpoint,
    channel: Channel,
    deadline: Duration,
}

impl Victim {
    /// Connects. `deadline` is that of each call.
    pub(crate) async fn connect(
        address: SocketAddr,
        tenant: Arc<Tenant>,
        deadline: Duration,
    ) -> Result<Self> {
        let endpoint = Endpoint::from_shared(format!("http://{address}"))?
            .local_address(Some(SOURCE))
            .connect_timeout(CONNECT_MAX);
        let channel = endpoint.connect().await?;
        Ok(Self {
            tenant,
            endpoint,
            channel,
            deadline,
        })
    }

    /// Calls for a time, and waits for all answers. A call is sent at its time, whether or not earlier ones have ended.
    pub(crate) async fn run(&self, duration: Duration) -> VictimFigures {
        let start = Instant::now();
        let mut calls = JoinSet::new();
        let turns = TURNS.into_iter().cycle();
        let times = (0_u32..).map(|number| start + PACE * number);
        for (call, time) in turns.zip(times) {
            if time >= start + duration {
                break;
            }
            sleep_until(time.into()).await;
            let victim = self.clone();
            calls.spawn(async move {
                let outcome = timeout(victim.deadline + GRACE, victim.call(call)).await;
                (
                    call,
                    time.elapsed(),
                    outcome.unwrap_or_else(|_| Err("unanswered".into())),
                )
            });
        }
        let mut figures = VictimFigures::default();
        while let Some(ended) = calls.join_next().await {
            let Ok((call, latency, outcome)) = ended else {
                continue;
            };
            figures.calls += 1;
            figures.latencies.push(latency);
            if let Err(failure) = outcome {
                figures.health_failed |= call.is_health();
                let calls = figures.failures.entry(failure).or_default();
                *calls.entry(call).or_default() += 1;
            }
        }
        figures.latencies.sort_unstable();
        figures
    }

    async fn call(&self, call: VictimCall) -> Result<(), String> {
        let Self {
            tenant, channel, ..
        } = self;
        let channel = channel.clone();
        let answered = match call {
            VictimCall::Get => {
                let request = self.request(GetAllocationRequest {
                    enterprise_id: tenant.enterprise.to_string(),
                    allocation_id: tenant.allocation.clone(),
                });
                let mut client = AllocationServiceClient::new(channel);
                client.get_allocation(request).await.map(drop)
            }
            VictimCall::List => {
                let request = self.request(ListClientAllocationsRequest {
                    enterprise_id: tenant.enterprise.to_string(),
                    page_size: 20,
                    ..Default::default()
                });
                let mut client = AllocationServiceClient::new(channel);
                client.list_client_allocations(request).await.map(drop)
            }
            VictimCall::Search => {
                let mut client = CasAllocationServiceClient::new(channel);
                client
                    .search_allocations(self.request(by_deal()))
                    .await
                    .map(drop)
            }
            VictimCall::Create => {
                let request = self.request(one_allocation(tenant));
                let mut client = AllocationServiceClient::new(channel);
                client.create_allocation(request).await.map(drop)
            }
            VictimCall::Reserve => {
                let mut client = BucketServiceClient::new(channel);
                client
                    .reserve_balance(self.request(one_reserve()))
                    .await
                    .map(drop)
            }
            VictimCall::Health => return self.check(channel, "").await,
            VictimCall::Liveness => return self.check(channel, "liveness").await,
            VictimCall::Connect => {
                let connected = self.endpoint.connect().await;
                let channel = connected.map_err(|_| "not connected".to_owned())?;
                return self.check(channel, "liveness").await;
            }
        };
        answered.map_err(|status| failure(&status))
    }

    /// A request with the tenant's token and a deadline.
    fn request<M>(&self, message: M) -> Request<M> {
        let mut request = Request::new(message);
        request.set_timeout(self.deadline);
        request
            .metadata_mut()
            .insert("authorization", self.tenant.bearer.clone());
        request
    }

    /// A health check, which has to be answered SERVING.
    async fn check(&self, channel: Channel, service: &str) -> Result<(), String> {
        let mut request = Request::new(HealthCheckRequest {
            service: service.into(),
        });
        request.set_timeout(self.deadline);
        match HealthClient::new(channel).check(request).await {
            Ok(answer) if answer.get_ref().status() == ServingStatus::Serving => Ok(()),
            Ok(answer) => Err(answer.get_ref().status().as_str_name().to_owned()),
            Err(status) => Err(failure(&status)),
        }
    }
}

fn failure(status: &Status) -> String {
    match status.code() {
        // The client's own timer, which is a moment before the server's.
        Code::Cancelled => "unanswered".into(),
        code => format!("{code:?}"),
    }
}

fn one_reserve() -> ReserveBalanceRequest {
    ReserveBalanceRequest {
        bucket_id: BUCKET.into(),
        amount: Some(ActionAmount {
            amount: "1".into(),
            units: UNIT.into(),
        }),
        request_id: Uuid::new_v4().to_string(),
        ..Default::default()
    }
}

fn by_deal() -> SearchAllocationsRequest {
    SearchAllocationsRequest {
        criteria: vec![Criterion {
            field: "dealId".into(),
            operator: "=".into(),
            value: DEAL.into(),
            any: Vec::new(),
        }],
        page_size: 20,
        ..Default::default()
    }
}
