//! A record of every service, and calls that read and write each of them, for tests of what concerns all services alike.

use std::time::{Duration, Instant};

use earmark::proto::allocation::v1 as allocation;
use earmark::proto::balance::v1 as balance;
use earmark::proto::bucket::v1 as bucket;
use earmark::proto::cas::v1 as cas;
use earmark::proto::catalogue::v1 as catalogue;
use earmark::proto::network::v1 as network;
use futures_util::StreamExt;
use futures_util::future::{BoxFuture, join_all};
use tonic::transport::Channel;
use tonic::{Code, Response, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_types::StatusExt;
use uuid::Uuid;

use super::bucket_fixture::{self, BucketFixture};
use super::catalogue_fixture::{self, COMPANY};
use super::earmark::{Earmark, NOBODY, Parties};

const FIRM: &str = "every-service";
const BUCKET: &str = "every-service";

/// Records of every service in one database.
#[derive(Clone, Debug)]
pub(crate) struct EveryService {
    pub(crate) parties: Parties,
    allocation: String,
    tenant: Uuid,
    cas: String,
}

/// What became of a call.
#[derive(Clone, Debug)]
pub(crate) struct Called {
    #[expect(dead_code, reason = "for the message of a failed assertion")]
    name: &'static str,
    pub(crate) result: Result<(), Status>,
    pub(crate) took: Duration,
}

async fn called<T>(
    name: &'static str,
    call: impl Future<Output = Result<Response<T>, Status>>,
) -> Called {
    let begun = Instant::now();
    let result = call.await.map(|_| ());
    Called {
        name,
        result,
        took: begun.elapsed(),
    }
}

/// The path of a service as health names it.
pub(crate) const SERVICES: [&str; 6] = [
    "earmark.allocation.v1.AllocationService",
    "earmark.balance.v1.BalanceService",
    "earmark.bucket.v1.BucketService",
    "earmark.cas.v1.CasAllocationService",
    "earmark.catalogue.v1.CatalogueService",
    "earmark.network.v1.NetworkService",
];

impl EveryService {
    /// Writes them through a server.
    pub(crate) async fn make(earmark: &Earmark) -> Self {
        let parties = earmark.parties(network::ConnectionMode::Confirmed).await;
        earmark.deposit(&parties.enterprise, "BTC", "1000000").await;
        let mut records = Self {
            parties,
            allocation: String::new(),
            tenant: Uuid::new_v4(),
            cas: String::new(),
        };
        let request = records.parties.allocation("BTC", "1", "first");
        let member = earmark.member(&[&records.parties.enterprise]);
        let created = member.allocation.clone().create_allocation(request).await;
        let created = created.expect("reserved").into_inner();
        records.allocation = created.allocation.expect("set").id;
        let creation = bucket_fixture::creation(bucket_fixture::eur(BUCKET, "1000000"));
        let mut buckets = BucketFixture::client(earmark, records.tenant);
        buckets.create_bucket(creation).await.expect("created");
        let created = records.create_cas(earmark).await.expect("created");
        records.cas = created.into_inner().allocation.expect("set").id;
        let put = records.put_company(earmark, "Company").await;
        put.expect("created");
        let mut catalogue = catalogue_fixture::client(earmark);
        let offer = catalogue_fixture::putting("1", []);
        catalogue.put_allocation(offer).await.expect("put");
        records
    }

    /// Ids that name nothing.
    pub(crate) fn of_nothing() -> Self {
        Self {
            parties: Parties {
                enterprise: NOBODY.into(),
                client: NOBODY.into(),
                partner_enterprise: NOBODY.into(),
                partner: NOBODY.into(),
                connection: NOBODY.into(),
            },
            allocation: NOBODY.into(),
            tenant: Uuid::new_v4(),
            cas: NOBODY.into(),
        }
    }

    async fn create_cas(
        &self,
        earmark: &Earmark,
    ) -> Result<Response<cas::CreateAllocationResponse>, Status> {
        let request = cas::CreateAllocationRequest {
            allocation: Some(cas::CasAllocation {
                deal_id: Some("D-1".into()),
                ..Default::default()
            }),
            ..Default::default()
        };
        earmark.firm(FIRM).create_allocation(request).await
    }

    async fn put_company(
        &self,
        earmark: &Earmark,
        name: &str,
    ) -> Result<Response<catalogue::PutCompanyResponse>, Status> {
        let request = catalogue::PutCompanyRequest {
            company_id: COMPANY,
            name: name.into(),
            ..Default::default()
        };
        catalogue_fixture::client(earmark)
            .put_company(request)
            .await
    }

    /// Makes a read of every service, all at once: by key, lists, a search, and a verification.
    pub(crate) async fn reads(&self, earmark: &Earmark) -> Vec<Called> {
        let (mut reads, verified) =
            tokio::join!(self.reads_of_records(earmark), verify_ledger(earmark));
        reads.push(verified);
        reads
    }

    /// The same without the verification, of which there may be two at the same time.
    pub(crate) async fn reads_of_records(&self, earmark: &Earmark) -> Vec<Called> {
        let enterprise = self.parties.enterprise.clone();
        let member = earmark.member(&[&enterprise]);
        let (mut admin, mut balances) = (earmark.admin(), member.balance);
        let (mut by_id, mut lists) = (member.allocation.clone(), member.allocation);
        let mut buckets = BucketFixture::client(earmark, self.tenant);
        let (mut bucket_lists, mut firm) = (buckets.clone(), earmark.firm(FIRM));
        let (mut searches, mut catalogue) = (firm.clone(), catalogue_fixture::client(earmark));
        let get_enterprise = network::GetEnterpriseRequest {
            enterprise_id: enterprise.clone(),
        };
        let get_balance = balance::GetBalanceRequest {
            enterprise_id: enterprise.clone(),
            currency: "BTC".into(),
            ..Default::default()
        };
        let get_allocation = allocation::GetAllocationRequest {
            enterprise_id: enterprise.clone(),
            allocation_id: self.allocation.clone(),
        };
        let list = allocation::ListClientAllocationsRequest {
            enterprise_id: enterprise,
            ..Default::default()
        };
        let get_bucket = bucket::GetBucketRequest {
            id: BUCKET.into(),
            ..Default::default()
        };
        let get_cas = cas::GetAllocationRequest {
            id: self.cas.clone(),
        };
        let calls: Vec<BoxFuture<'_, Called>> = vec![
            Box::pin(called(
                "GetEnterprise",
                admin.network.get_enterprise(get_enterprise),
            )),
            Box::pin(called("GetBalance", balances.get_balance(get_balance))),
            Box::pin(called(
                "GetAllocation",
                by_id.get_allocation(get_allocation),
            )),
            Box::pin(called(
                "ListClientAllocations",
                lists.list_client_allocations(list),
            )),
            Box::pin(called("GetBucket", buckets.get_bucket(get_bucket))),
            Box::pin(called(
                "ListBuckets",
                bucket_lists.list_buckets(bucket::ListBucketsRequest::default()),
            )),
            Box::pin(called("GetAllocation (CAS)", firm.get_allocation(get_cas))),
            Box::pin(called(
                "SearchAllocations",
                searches.search_allocations(cas::SearchAllocationsRequest::default()),
            )),
            Box::pin(called(
                "ListAvailableAllocations",
                catalogue.list_available_allocations(catalogue_fixture::listing("en")),
            )),
        ];
        join_all(calls).await
    }

    /// Makes a new write of every service, all at once.
    pub(crate) async fn writes(&self, earmark: &Earmark) -> Vec<Called> {
        let enterprise = self.parties.enterprise.clone();
        let key = Uuid::new_v4().to_string();
        let mut member = earmark.member(&[&enterprise]).allocation;
        let (mut admin, mut buckets) =
            (earmark.admin(), BucketFixture::client(earmark, self.tenant));
        let create = network::CreateEnterpriseRequest {
            name: key.clone(),
            ..Default::default()
        };
        let adjust = balance::AdjustBalanceRequest {
            enterprise_id: enterprise,
            currency: "BTC".into(),
            quantity: "1".into(),
            external_id: key.clone(),
            reason: "a deposit".into(),
            ..Default::default()
        };
        let reserve = bucket_fixture::reserve(BUCKET, "1", &key);
        let allocate = self.parties.allocation("BTC", "1", &key);
        let calls: Vec<BoxFuture<'_, Called>> = vec![
            Box::pin(called(
                "CreateEnterprise",
                admin.network.create_enterprise(create),
            )),
            Box::pin(called(
                "AdjustBalance",
                admin.balance.adjust_balance(adjust),
            )),
            Box::pin(called(
                "CreateAllocation",
                member.create_allocation(allocate),
            )),
            Box::pin(called("ReserveBalance", buckets.reserve_balance(reserve))),
            Box::pin(called("CreateAllocation (CAS)", self.create_cas(earmark))),
            Box::pin(called("PutCompany", self.put_company(earmark, &key))),
        ];
        join_all(calls).await
    }

    /// Waits until every read and write succeeds again; returns how long that took.
    pub(crate) async fn healed(&self, earmark: &Earmark) -> Duration {
        let begun = Instant::now();
        loop {
            let writes = self.writes(earmark).await;
            let reads = self.reads(earmark).await;
            let failed: Vec<&Called> = writes
                .iter()
                .chain(&reads)
                .filter(|called| called.result.is_err())
                .collect();
            if failed.is_empty() {
                return begun.elapsed();
            }
            assert!(begun.elapsed() < Duration::from_secs(30), "{failed:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

async fn verify_ledger(earmark: &Earmark) -> Called {
    let mut client = earmark.admin().balance;
    let verify = async {
        let request = balance::VerifyLedgerRequest::default();
        let mut events = client.verify_ledger(request).await?.into_inner();
        while let Some(event) = events.next().await {
            event?;
        }
        Ok(Response::new(()))
    };
    called("VerifyLedger", verify).await
}

/// Asserts that each call succeeded.
#[track_caller]
pub(crate) fn assert_answered(calls: &[Called]) {
    for call in calls {
        assert!(call.result.is_ok(), "{call:?}");
    }
}

/// Asserts that each call ended with UNAVAILABLE and this reason within the limit, may be repeated, and has changed
/// nothing; returns the longest time that one took.
#[track_caller]
pub(crate) fn assert_unavailable(calls: &[Called], reason: &str, limit: Duration) -> Duration {
    for call in calls {
        let Err(status) = &call.result else {
            panic!("it must fail: {call:?}");
        };
        assert_eq!(status.code(), Code::Unavailable, "{call:?}");
        let info = status.get_details_error_info();
        let info = info.unwrap_or_else(|| panic!("no ErrorInfo: {call:?}"));
        assert_eq!(info.reason, reason, "{call:?}");
        let retry = status.get_details_retry_info();
        assert!(
            retry.is_some_and(|retry| retry.retry_delay.is_some()),
            "{call:?}"
        );
        let outcome = info.metadata.get("outcome");
        assert!(
            outcome.is_none_or(|outcome| outcome == "not_applied"),
            "{call:?}"
        );
        assert!(call.took < limit, "{call:?}");
    }
    calls.iter().map(|call| call.took).max().unwrap_or_default()
}

/// The serving status of a name.
pub(crate) async fn health(earmark: &Earmark, service: &str) -> ServingStatus {
    let uri = format!("http://{}", earmark.address);
    let endpoint = Channel::from_shared(uri).expect("a URI");
    let mut client = HealthClient::new(endpoint.connect().await.expect("connected"));
    let request = HealthCheckRequest {
        service: service.into(),
    };
    let checked = client.check(request).await.expect("a known name");
    checked.into_inner().status()
}

/// Waits until health is so for value, that is for all services, and for reads; returns how long that took.
pub(crate) async fn health_becomes(earmark: &Earmark, value: bool, reads: bool) -> Duration {
    let status = |serving| match serving {
        true => ServingStatus::Serving,
        false => ServingStatus::NotServing,
    };
    let begun = Instant::now();
    loop {
        let found = (health(earmark, "").await, health(earmark, "reads").await);
        if found == (status(value), status(reads)) {
            break;
        }
        assert!(begun.elapsed() < Duration::from_secs(20), "{found:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let took = begun.elapsed();
    for service in SERVICES {
        assert_eq!(health(earmark, service).await, status(value), "{service}");
    }
    assert_eq!(health(earmark, "liveness").await, ServingStatus::Serving);
    took
}
