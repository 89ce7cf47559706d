//! The demo data: a small network with value in it, a tenant with prepaid buckets, a firm with allocations of book
//! building, and a company with a catalogue, made through the same RPCs as real data.
//!
//! Every call has a key, so that loading it again finds what is there.

mod book_building;
mod catalogue;

use std::sync::Arc;

use prost_types::Timestamp;
use tonic::codegen::InterceptedService;
use tonic::service::{Interceptor, Routes};
use tonic::{Request, Status};
use uuid::Uuid;

use crate::auth::caller::Caller;
use crate::auth::dev_key::ISSUER;
use crate::auth::scope::{self, Scope};
use crate::ledger::claim::Claim;
use crate::proto::allocation::v1::allocation_service_client::AllocationServiceClient;
use crate::proto::allocation::v1::{
    ClearAllocationRequest, CreateAllocationRequest, CreateDeallocationRequest,
    ReleaseAllocationRequest,
};
use crate::proto::balance::v1::AdjustBalanceRequest;
use crate::proto::balance::v1::balance_service_client::BalanceServiceClient;
use crate::proto::bucket::v1::bucket_service_client::BucketServiceClient;
use crate::proto::bucket::v1::{
    ActionAmount, Bucket, CreateBucketRequest, DeductBalanceRequest, PartyAccountRef, ProductRef,
    Quantity, ReserveBalanceRequest, TimePeriod, TopupBalanceRequest, UsageType,
};
use crate::proto::common::v1::Amount;
use crate::proto::network::v1::network_service_client::NetworkServiceClient;
use crate::proto::network::v1::{
    ConnectionMode, CreateClientRequest, CreateConnectionRequest, CreateEnterpriseRequest,
    CreatePartnerRequest,
};
use crate::rpc::call::Call;
use crate::types::ids::{CompanyId, EnterpriseId, FirmId, TenantId};

/// What a newcomer needs to know of the demo data; all by id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Demo {
    /// The client's enterprise.
    pub enterprise: String,
    /// The partner's enterprise.
    pub partner_enterprise: String,
    /// A connection whose partner confirms.
    pub confirmed_connection: String,
    /// A connection that moves value at once.
    pub instant_connection: String,
    /// A tenant with buckets.
    pub tenant: TenantId,
    /// A product of theirs.
    pub product: &'static str,
    /// A firm with CAS allocations.
    pub firm: &'static str,
    /// A deal of theirs.
    pub deal: &'static str,
    /// A company with a catalogue.
    pub company: CompanyId,
}

/// The tenant; the same everywhere, so that its calls can be copied.
const TENANT: TenantId = TenantId(Uuid::from_u128(0x0198_a7b2_6a44_7c11_8d4e_7e4a_47de_0001));
const PARTY_ACCOUNT: &str = "0.0.0.1+-account+102879";
const PRODUCT: &str = "0.0.0.1+-service-telco-gsm-sms+102975";

/// Loads the demo data, or finds it.
///
/// # Errors
/// What an RPC answered.
pub async fn load(routes: Routes) -> Result<Demo, Status> {
    let demo = network(routes.clone()).await?;
    balances(routes.clone(), &demo).await?;
    buckets(routes.clone()).await?;
    book_building::load(routes.clone()).await?;
    catalogue::load(routes).await?;
    Ok(demo)
}

async fn network(routes: Routes) -> Result<Demo, Status> {
    let mut rpc = NetworkServiceClient::new(InterceptedService::new(routes, AsDemo::of(&[])));
    let mut enterprise = async |name: &str| {
        let request = CreateEnterpriseRequest {
            name: name.into(),
            oes_licensed: true,
            request_id: format!("demo enterprise {name}"),
            validate_only: false,
        };
        let answer = rpc.create_enterprise(request).await?.into_inner();
        Ok::<_, Status>(answer.enterprise.unwrap_or_default().id)
    };
    let client_side = enterprise("Acme Capital").await?;
    let partner_side = enterprise("Northwind Exchange").await?;
    let client = CreateClientRequest {
        enterprise_id: client_side.clone(),
        name: "Acme Capital Trading".into(),
        request_id: "demo client".into(),
        validate_only: false,
    };
    let client = rpc
        .create_client(client)
        .await?
        .into_inner()
        .client
        .unwrap_or_default();
    let partner = CreatePartnerRequest {
        enterprise_id: partner_side.clone(),
        name: "Northwind Spot".into(),
        institution_identifier: "NORTHWIND".into(),
        request_id: "demo partner".into(),
        validate_only: false,
    };
    let partner = rpc
        .create_partner(partner)
        .await?
        .into_inner()
        .partner
        .unwrap_or_default();
    let mut connection = async |name: &str, mode: ConnectionMode| {
        let request = CreateConnectionRequest {
            client_id: client.id.clone(),
            partner_id: partner.id.clone(),
            name: name.into(),
            partners_connection_id: format!(
                "acme-{}",
                mode.as_str_name().rsplit('_').next().unwrap_or_default()
            ),
            mode: mode.into(),
            request_id: format!("demo connection {name}"),
            validate_only: false,
        };
        let answer = rpc.create_connection(request).await?.into_inner();
        Ok::<_, Status>(answer.connection.unwrap_or_default().id)
    };
    Ok(Demo {
        confirmed_connection: connection("Acme at Northwind, confirmed", ConnectionMode::Confirmed)
            .await?,
        instant_connection: connection("Acme at Northwind, instant", ConnectionMode::Instant)
            .await?,
        enterprise: client_side,
        partner_enterprise: partner_side,
        tenant: TENANT,
        product: PRODUCT,
        firm: book_building::FIRM,
        deal: book_building::DEAL,
        company: catalogue::COMPANY,
    })
}

async fn balances(routes: Routes, demo: &Demo) -> Result<(), Status> {
    let enterprises: Vec<EnterpriseId> = [&demo.enterprise, &demo.partner_enterprise]
        .into_iter()
        .filter_map(|id| Uuid::parse_str(id).ok().map(EnterpriseId))
        .collect();
    let channel = InterceptedService::new(routes, AsDemo::of(&enterprises));
    let mut rpc = BalanceServiceClient::new(channel.clone());
    // In base units: 5 BTC and 250,000 USDC.
    for (currency, quantity) in [("BTC", "500000000"), ("USDC", "250000000000")] {
        let request = AdjustBalanceRequest {
            enterprise_id: demo.enterprise.clone(),
            currency: currency.into(),
            quantity: quantity.into(),
            external_id: format!("demo deposit {currency}"),
            reason: "Opening deposit".into(),
            validate_only: false,
        };
        rpc.adjust_balance(request).await?;
    }
    allocations(AllocationServiceClient::new(channel), demo).await
}

/// One of each kind: open, cleared, released, on its way back, and moved at once.
async fn allocations(
    mut rpc: AllocationServiceClient<InterceptedService<Routes, AsDemo>>,
    demo: &Demo,
) -> Result<(), Status> {
    let amount = |currency: &str, quantity: &str| {
        Some(Amount {
            currency: currency.into(),
            quantity: quantity.into(),
        })
    };
    let mut create = async |connection: &str, amount: Option<Amount>, external_id: &str| {
        let request = CreateAllocationRequest {
            enterprise_id: demo.enterprise.clone(),
            connection_id: connection.into(),
            amount,
            client_external_id: external_id.into(),
            notes: Some("Demo data".into()),
            expire_time: None,
            validate_only: false,
        };
        let answer = rpc.create_allocation(request).await?.into_inner();
        Ok::<_, Status>(answer.allocation.unwrap_or_default().id)
    };
    let (confirmed, instant) = (&demo.confirmed_connection, &demo.instant_connection);
    create(confirmed, amount("BTC", "120000000"), "demo-1").await?;
    create(instant, amount("USDC", "50000000000"), "demo-2").await?;
    let cleared = create(confirmed, amount("BTC", "80000000"), "demo-3").await?;
    let released = create(confirmed, amount("BTC", "30000000"), "demo-4").await?;

    let clear = ClearAllocationRequest {
        enterprise_id: demo.partner_enterprise.clone(),
        connection_id: confirmed.clone(),
        allocation_id: cleared,
        partner_external_id: Some("nw-3".into()),
        validate_only: false,
    };
    rpc.clear_allocation(clear).await?;
    let release = ReleaseAllocationRequest {
        enterprise_id: demo.partner_enterprise.clone(),
        connection_id: confirmed.clone(),
        allocation_id: released,
        partner_external_id: Some("nw-4".into()),
        reason: "Not needed any more".into(),
        validate_only: false,
    };
    rpc.release_allocation(release).await?;
    let back = CreateDeallocationRequest {
        enterprise_id: demo.enterprise.clone(),
        connection_id: confirmed.clone(),
        amount: amount("BTC", "20000000"),
        client_external_id: "demo-5".into(),
        notes: Some("Demo data".into()),
        expire_time: None,
        validate_only: false,
    };
    rpc.create_deallocation(back).await.map(|_| ())
}

/// Two buckets of one party: money, as the source's example has it, and data that is being used.
async fn buckets(routes: Routes) -> Result<(), Status> {
    let mut rpc = BucketServiceClient::new(InterceptedService::new(routes, AsDemo::of(&[])));
    let party = || PartyAccountRef {
        id: PARTY_ACCOUNT.into(),
        name: Some("James Kurup".into()),
        status: Some("active".into()),
        r#type: Some("PartyAccountRef".into()),
        ..Default::default()
    };
    let product = |id: &str, name: &str| ProductRef {
        id: id.into(),
        name: Some(name.into()),
        r#type: Some("ProductRef".into()),
        ..Default::default()
    };
    let quantity = |amount: &str, units: &str| Quantity {
        amount: amount.into(),
        units: units.into(),
        r#type: Some("Quantity".into()),
        ..Default::default()
    };
    let bucket = |id: &str, name: &str| Bucket {
        id: id.into(),
        name: Some(name.into()),
        party_account: Some(party()),
        r#type: Some("Bucket".into()),
        base_type: Some("Bucket".into()),
        ..Default::default()
    };
    let money = Bucket {
        product: vec![
            product(PRODUCT, "ServiceTelcoGsmSms"),
            product(
                "0.0.0.1+-service-telco-gsm-telephony+104255",
                "ServiceTelcoGsmTelephony",
            ),
        ],
        remaining_value: Some(quantity("45", "EUR")),
        valid_for: Some(TimePeriod {
            // 2020-05-02T00:00:00-07:00
            start_date_time: Some(Timestamp {
                seconds: 1_588_402_800,
                nanos: 0,
            }),
            end_date_time: None,
        }),
        ..bucket("0.0.0.1+-balance_group+106463", "Account Balance Group")
    };
    let data = Bucket {
        product: vec![product(
            "0.0.0.1+-service-telco-gprs+103002",
            "ServiceTelcoGprs",
        )],
        remaining_value: Some(quantity("10000", "MB")),
        usage_type: UsageType::Data.into(),
        ..bucket("0.0.0.1+-balance_group+106464", "Data")
    };
    let data_id = data.id.clone();
    for bucket in [money, data] {
        let request = CreateBucketRequest {
            bucket: Some(bucket),
            ..Default::default()
        };
        rpc.create_bucket(request).await?;
    }

    let amount = |amount: &str| {
        Some(ActionAmount {
            amount: amount.into(),
            units: "MB".into(),
        })
    };
    let topup = TopupBalanceRequest {
        bucket_id: data_id.clone(),
        amount: amount("2500"),
        request_id: "demo top-up".into(),
        channel: Some("web".into()),
        ..Default::default()
    };
    rpc.topup_balance(topup).await?;
    let session = ReserveBalanceRequest {
        bucket_id: data_id.clone(),
        amount: amount("500"),
        request_id: "demo session".into(),
        ..Default::default()
    };
    let answer = rpc.reserve_balance(session).await?.into_inner();
    let used = DeductBalanceRequest {
        bucket_id: data_id,
        amount: amount("120.5"),
        request_id: "demo usage".into(),
        reserve_id: answer.balance_action.map(|reserve| reserve.id),
        keep_rest: true,
        ..Default::default()
    };
    rpc.deduct_balance(used).await.map(|_| ())
}

/// Stands in for the layers of a server: the calls come from this process, with no token to check.
#[derive(Clone)]
struct AsDemo(Arc<Caller>);

impl AsDemo {
    fn of(enterprises: &[EnterpriseId]) -> Self {
        Self(Arc::new(Caller {
            issuer: ISSUER.into(),
            subject: "demo".into(),
            scopes: vec![
                Scope::NetworkAdmin,
                Scope::NetworkRead,
                Scope::NetworkWrite,
                Scope::BucketsRead,
                Scope::BucketsWrite,
                Scope::AllocationsWrite,
                Scope::CatalogueWrite,
            ],
            enterprises: Some(enterprises.to_vec()),
            firm: Some(FirmId(book_building::FIRM.into())),
            tenant: Some(TENANT),
            companies: Some(vec![catalogue::COMPANY]),
        }))
    }
}

impl Interceptor for AsDemo {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        // The generated client names the method it calls.
        let method = request.extensions().get::<tonic::GrpcMethod<'_>>();
        let path = method.map(|method| format!("/{}/{}", method.service(), method.method()));
        let rpc = path.and_then(|path| scope::rpc(&path)).ok_or_else(|| {
            Status::internal("the demo calls a method without a row in the scope table")
        })?;
        request.extensions_mut().insert(Call {
            rpc,
            caller: Arc::clone(&self.0),
            request_id: "demo".into(),
            claim: Claim::new(),
        });
        Ok(request)
    }
}
