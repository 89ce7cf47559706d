//! Errors of OES calls: one server, one network.

use bytes::Bytes;
use earmark::limits::REQUEST_BYTES_MAX;
use earmark::proto::allocation::v1::{
    CancelAllocationRequest, ClearAllocationRequest, CreateAllocationRequest, GetAllocationRequest,
    ListClientAllocationsRequest, ListPartnerAllocationsRequest,
};
use earmark::proto::balance::v1::{AdjustBalanceRequest, ListClientBalancesRequest};
use earmark::proto::common::v1::ErrorReason as Reason;
use earmark::proto::network::v1::{
    ConnectionMode, CreateClientRequest, CreateConnectionRequest, CreatePartnerRequest,
    GetClientRequest, GetConnectionRequest, GetEnterpriseRequest, GetPartnerRequest,
    UpdateConnectionRequest, UpdateEnterpriseRequest,
};
use prost_types::Timestamp;
use serde_json::json;
use tonic::Status;

use super::{Case, case};
use crate::support::allocation_fixture::AllocationFixture;
use crate::support::archive::archive;
use crate::support::earmark::{Clients, Earmark, NOBODY, Parties};
use crate::support::raw::{frame, frame_bytes};

const CREATE: &str = "/earmark.allocation.v1.AllocationService/CreateAllocation";
const CLEAR: &str = "/earmark.allocation.v1.AllocationService/ClearAllocation";
const CANCEL: &str = "/earmark.allocation.v1.AllocationService/CancelAllocation";
const GET: &str = "/earmark.allocation.v1.AllocationService/GetAllocation";
const LIST: &str = "/earmark.allocation.v1.AllocationService/ListClientAllocations";
const LIST_AS_PARTNER: &str = "/earmark.allocation.v1.AllocationService/ListPartnerAllocations";
const ADJUST: &str = "/earmark.balance.v1.BalanceService/AdjustBalance";
const BALANCES: &str = "/earmark.balance.v1.BalanceService/ListClientBalances";
const GET_ENTERPRISE: &str = "/earmark.network.v1.NetworkService/GetEnterprise";
const UPDATE_ENTERPRISE: &str = "/earmark.network.v1.NetworkService/UpdateEnterprise";
const CREATE_CLIENT: &str = "/earmark.network.v1.NetworkService/CreateClient";
const CREATE_PARTNER: &str = "/earmark.network.v1.NetworkService/CreatePartner";
const GET_CLIENT: &str = "/earmark.network.v1.NetworkService/GetClient";
const GET_PARTNER: &str = "/earmark.network.v1.NetworkService/GetPartner";
const CREATE_CONNECTION: &str = "/earmark.network.v1.NetworkService/CreateConnection";
const GET_CONNECTION: &str = "/earmark.network.v1.NetworkService/GetConnection";
const UPDATE_CONNECTION: &str = "/earmark.network.v1.NetworkService/UpdateConnection";

/// A client with 100 BTC.
struct World {
    earmark: Earmark,
    parties: Parties,
}

impl World {
    fn client(&self) -> Clients {
        self.earmark.member(&[&self.parties.enterprise])
    }

    async fn create(&self, request: CreateAllocationRequest) -> Status {
        let created = self.client().allocation.create_allocation(request).await;
        created.expect_err("refused")
    }

    async fn list(&self, request: ListClientAllocationsRequest) -> Status {
        let mut client = self.client().allocation;
        let listed = client.list_client_allocations(request).await;
        listed.expect_err("refused")
    }

    async fn get(&self, enterprise: &str, id: &str) -> Status {
        let request = GetAllocationRequest {
            enterprise_id: enterprise.into(),
            allocation_id: id.into(),
        };
        let got = self.client().allocation.get_allocation(request).await;
        got.expect_err("refused")
    }

    async fn adjust(&self, enterprise: &str, quantity: &str, external_id: &str) -> Status {
        let request = AdjustBalanceRequest {
            enterprise_id: enterprise.into(),
            currency: "BTC".into(),
            quantity: quantity.into(),
            external_id: external_id.into(),
            reason: "a test".into(),
            validate_only: false,
        };
        let adjusted = self.earmark.admin().balance.adjust_balance(request).await;
        adjusted.expect_err("refused")
    }
}

pub(super) async fn all() -> Vec<Case> {
    let earmark = Earmark::start().await;
    let parties = earmark.parties(ConnectionMode::Confirmed).await;
    earmark.deposit(&parties.enterprise, "BTC", "100").await;
    let world = World { earmark, parties };
    let mut cases = Vec::new();
    cases.extend(tokens(&world).await);
    cases.extend(bodies(&world).await);
    cases.extend(arguments(&world).await);
    cases.extend(access(&world).await);
    cases.extend(existence(&world).await);
    cases.extend(conflicts(&world).await);
    cases.extend(conflicts_of_partners(&world).await);
    cases.extend(verdicts(&world).await);
    cases.extend(state(&world).await);
    cases.extend(archived().await);
    cases
}

/// An allocation that is archived, and the history before that.
async fn archived() -> Vec<Case> {
    let fixture = AllocationFixture::open(ConnectionMode::Instant).await;
    let done = fixture.allocate("1", "archived").await;
    let since = archive(&fixture.earmark).await;
    let parties = &fixture.parties;
    let mut client = fixture.client.clone();
    let created = client.create_allocation(parties.allocation("BTC", "1", "archived"));
    let created = created.await.expect_err("archived");
    let cancelled = client.cancel_allocation(parties.cancel(&done.id)).await;
    let request = GetAllocationRequest {
        enterprise_id: parties.enterprise.clone(),
        allocation_id: done.id,
    };
    let got = client.get_allocation(request).await.expect_err("archived");
    let request = ListClientAllocationsRequest {
        enterprise_id: parties.enterprise.clone(),
        created_on_or_after: Some(Timestamp {
            seconds: since.micros() / 1_000_000 - 1,
            nanos: 0,
        }),
        ..Default::default()
    };
    let listed = client.list_client_allocations(request).await;
    vec![
        case(Reason::Archived, CREATE, created),
        case(Reason::Archived, CANCEL, cancelled.expect_err("archived")),
        case(Reason::HistoryArchived, GET, got),
        case(Reason::HistoryArchived, LIST, listed.expect_err("archived")),
    ]
}

async fn tokens(world: &World) -> Vec<Case> {
    let raw = world.earmark.raw().await;
    let mut claims = world.earmark.claims("somebody", &[]);
    claims["exp"] = json!(1_700_000_000);
    let expired = format!("Bearer {}", world.earmark.token_of(&claims));
    let other = format!("Bearer {}", world.earmark.token("catalogue-read", &[]));
    let mut cases = Vec::new();
    for path in [CREATE, GET] {
        for (reason, authorization) in [
            (Reason::TokenMissing, None),
            (Reason::TokenInvalid, Some("Bearer a.b.c")),
            (Reason::TokenExpired, Some(expired.as_str())),
            (Reason::ScopeMissing, Some(other.as_str())),
        ] {
            let metadata: Vec<_> = authorization
                .map(|value| ("authorization", value))
                .into_iter()
                .collect();
            let answer = raw.call(path, &metadata, frame_bytes(0, &[])).await;
            cases.push(case(reason, path, answer.status));
        }
    }
    cases
}

async fn bodies(world: &World) -> Vec<Case> {
    let raw = world.earmark.raw().await;
    let token = world
        .earmark
        .token("settlement_network_read settlement_network_write", &[]);
    let bearer = format!("Bearer {token}");
    let metadata = [("authorization", bearer.as_str())];
    let mut cases = Vec::new();
    for path in [CREATE, LIST] {
        let answer = raw.call(path, &metadata, frame_bytes(0, &[0xff])).await;
        cases.push(case(Reason::MalformedMessage, path, answer.status));
        let large = frame_bytes(0, &vec![0; REQUEST_BYTES_MAX + 1]);
        let answer = raw.call(path, &metadata, large).await;
        cases.push(case(Reason::MessageTooLarge, path, answer.status));
    }
    let nowhere = "/earmark.allocation.v1.AllocationService/Steal";
    let answer = raw.call(nowhere, &metadata, Bytes::new()).await;
    cases.push(case(Reason::MethodUnknown, nowhere, answer.status));
    // The deadline of a read that waits for a table.
    let holder = world.earmark.sql().await;
    let lock = "BEGIN; LOCK TABLE allocation IN ACCESS EXCLUSIVE MODE";
    holder.batch_execute(lock).await.expect("locked");
    let enterprise = world.parties.enterprise.as_str();
    let token = world
        .earmark
        .token("settlement_network_read", &[enterprise]);
    let bearer = format!("Bearer {token}");
    let metadata = [("authorization", bearer.as_str()), ("grpc-timeout", "100m")];
    let request = ListClientAllocationsRequest {
        enterprise_id: enterprise.into(),
        ..Default::default()
    };
    let answer = raw.call(LIST, &metadata, frame(&request)).await;
    cases.push(case(Reason::Deadline, LIST, answer.status));
    holder.batch_execute("ROLLBACK").await.expect("released");
    cases
}

async fn arguments(world: &World) -> Vec<Case> {
    let empty = world.create(CreateAllocationRequest::default()).await;
    // As much as can be wrong at once, in texts that take three bytes each on the wire.
    let many = ListClientAllocationsRequest {
        allocation_ids: vec!["€".repeat(300); 500],
        client_external_ids: vec!["€".repeat(300); 500],
        currencies: vec!["€".repeat(300); 500],
        ..Default::default()
    };
    let many = world.list(many).await;
    let token = ListClientAllocationsRequest {
        enterprise_id: world.parties.enterprise.clone(),
        page_token: "€".repeat(10_000),
        ..Default::default()
    };
    let token = world.list(token).await;
    // Judged against records.
    let own = &world.parties.enterprise;
    let request = CreateConnectionRequest {
        client_id: world.parties.client.clone(),
        partner_id: world.earmark.partner(own, "of our own").await,
        name: "with itself".into(),
        mode: ConnectionMode::Instant.into(),
        ..Default::default()
    };
    let mut admin = world.earmark.admin().network;
    let itself = admin.create_connection(request).await.expect_err("refused");
    vec![
        case(Reason::InvalidRequest, CREATE, empty),
        case(Reason::InvalidRequest, LIST, many),
        case(Reason::PageTokenInvalid, LIST, token),
        case(Reason::InvalidRequest, CREATE_CONNECTION, itself),
    ]
}

async fn access(world: &World) -> Vec<Case> {
    let parties = &world.parties;
    let foreign = CreateAllocationRequest {
        enterprise_id: NOBODY.into(),
        ..parties.allocation("BTC", "1", "x")
    };
    let foreign = world.create(foreign).await;
    let text = format!(
        "Caller is not a member of the enterprise. The token's claim `enterprises` does not list {NOBODY}."
    );
    assert_eq!(foreign.message(), text);
    let not_a_member = world.get(NOBODY, NOBODY).await;

    world.earmark.license(&parties.enterprise, false).await;
    let create = world.create(parties.allocation("BTC", "1", "x")).await;
    assert_eq!(create.message(), "Enterprise does not have OES license.");
    let get = world.get(&parties.enterprise, NOBODY).await;
    world.earmark.license(&parties.enterprise, true).await;
    world
        .earmark
        .license(&parties.partner_enterprise, false)
        .await;
    let partner = world.create(parties.allocation("BTC", "1", "x")).await;
    world
        .earmark
        .license(&parties.partner_enterprise, true)
        .await;
    vec![
        case(Reason::PartnerNotLicensed, CREATE, partner),
        case(Reason::NotAMember, CREATE, foreign),
        case(Reason::NotAMember, GET, not_a_member),
        case(Reason::NoOesLicense, CREATE, create),
        case(Reason::NoOesLicense, GET, get),
    ]
}

async fn existence(world: &World) -> Vec<Case> {
    let mut admin = world.earmark.admin().network;
    let enterprise_id = String::from(NOBODY);
    let enterprise = GetEnterpriseRequest { enterprise_id };
    let enterprise = admin.get_enterprise(enterprise).await;
    let client_id = String::from(NOBODY);
    let client = admin.get_client(GetClientRequest { client_id }).await;
    let partner_id = String::from(NOBODY);
    let partner = admin.get_partner(GetPartnerRequest { partner_id }).await;
    // An enterprise without a client.
    let without = &world.parties.partner_enterprise;
    let balances = ListClientBalancesRequest {
        enterprise_id: without.clone(),
        ..Default::default()
    };
    let mut member = world.earmark.member(&[without]).balance;
    let balances = member.list_client_balances(balances).await;
    let unknown = CreateAllocationRequest {
        connection_id: NOBODY.into(),
        ..world.parties.allocation("BTC", "1", "x")
    };
    let error = "refused";
    let mut cases = vec![
        case(
            Reason::EnterpriseNotFound,
            GET_ENTERPRISE,
            enterprise.expect_err(error),
        ),
        case(
            Reason::EnterpriseNotFound,
            ADJUST,
            world.adjust(NOBODY, "1", "x").await,
        ),
        case(Reason::ClientNotFound, GET_CLIENT, client.expect_err(error)),
        case(Reason::ClientNotFound, BALANCES, balances.expect_err(error)),
        case(
            Reason::ClientNotFound,
            ADJUST,
            world.adjust(without, "1", "x").await,
        ),
        case(
            Reason::PartnerNotFound,
            GET_PARTNER,
            partner.expect_err(error),
        ),
        case(
            Reason::ConnectionNotFound,
            CREATE,
            world.create(unknown).await,
        ),
        case(
            Reason::AllocationNotFound,
            GET,
            world.get(&world.parties.enterprise, NOBODY).await,
        ),
    ];
    cases.extend(existence_for_connections(world).await);
    cases
}

/// Connections that are unknown, or whose client or partner is.
async fn existence_for_connections(world: &World) -> Vec<Case> {
    let mut admin = world.earmark.admin().network;
    let connection_id = String::from(NOBODY);
    let connection = GetConnectionRequest { connection_id };
    let connection = admin.get_connection(connection).await;
    let update = UpdateConnectionRequest {
        connection_id: NOBODY.into(),
        ..Default::default()
    };
    let update = admin.update_connection(update).await;
    let of = |connection: (&str, &str)| CreateConnectionRequest {
        client_id: connection.0.into(),
        partner_id: connection.1.into(),
        name: "x".into(),
        mode: ConnectionMode::Instant.into(),
        ..Default::default()
    };
    let (client_id, partner_id) = (&*world.parties.client, &*world.parties.partner);
    let without_client = admin.create_connection(of((NOBODY, partner_id))).await;
    let without_partner = admin.create_connection(of((client_id, NOBODY))).await;
    let error = "refused";
    vec![
        case(
            Reason::ConnectionNotFound,
            GET_CONNECTION,
            connection.expect_err(error),
        ),
        case(
            Reason::ConnectionNotFound,
            UPDATE_CONNECTION,
            update.expect_err(error),
        ),
        case(
            Reason::ClientNotFound,
            CREATE_CONNECTION,
            without_client.expect_err(error),
        ),
        case(
            Reason::PartnerNotFound,
            CREATE_CONNECTION,
            without_partner.expect_err(error),
        ),
    ]
}

async fn conflicts(world: &World) -> Vec<Case> {
    let parties = &world.parties;
    let mut client = world.client().allocation;
    client
        .create_allocation(parties.allocation("BTC", "1", "taken"))
        .await
        .expect("created");
    let reused = world.create(parties.allocation("BTC", "2", "taken")).await;
    let mut admin = world.earmark.admin().network;
    let second = CreateClientRequest {
        enterprise_id: parties.enterprise.clone(),
        name: "Second".into(),
        ..Default::default()
    };
    let second = admin.create_client(second).await.expect_err("refused");
    let connection = CreateConnectionRequest {
        client_id: parties.client.clone(),
        partner_id: parties.partner.clone(),
        name: "x".into(),
        partners_connection_id: "𝄞".repeat(128),
        mode: ConnectionMode::Instant.into(),
        ..Default::default()
    };
    let first = admin.create_connection(connection.clone()).await;
    first.expect("created");
    let connection = admin.create_connection(connection).await;
    let update = UpdateEnterpriseRequest {
        enterprise_id: parties.enterprise.clone(),
        expected_version: Some(i64::MAX),
        ..Default::default()
    };
    let update = admin.update_enterprise(update).await.expect_err("refused");
    vec![
        case(Reason::IdempotencyKeyReused, CREATE, reused),
        case(Reason::ClientExists, CREATE_CLIENT, second),
        case(
            Reason::ConnectionExists,
            CREATE_CONNECTION,
            connection.expect_err("refused"),
        ),
        case(Reason::VersionMismatch, UPDATE_ENTERPRISE, update),
    ]
}

async fn conflicts_of_partners(world: &World) -> Vec<Case> {
    let parties = &world.parties;
    let mut admin = world.earmark.admin().network;
    let partner = CreatePartnerRequest {
        enterprise_id: parties.partner_enterprise.clone(),
        name: "x".into(),
        institution_identifier: "𝄞".repeat(128),
        request_id: "partner".into(),
        ..Default::default()
    };
    let first = admin.create_partner(partner.clone()).await;
    first.expect("created");
    let other_content = CreatePartnerRequest {
        name: "y".into(),
        ..partner.clone()
    };
    let other_content = admin.create_partner(other_content).await;
    let partner = CreatePartnerRequest {
        request_id: String::new(),
        ..partner
    };
    let partner = admin.create_partner(partner).await;
    vec![
        case(
            Reason::IdempotencyKeyReused,
            CREATE_PARTNER,
            other_content.expect_err("refused"),
        ),
        case(
            Reason::PartnerExists,
            CREATE_PARTNER,
            partner.expect_err("refused"),
        ),
    ]
}

/// What the partner's RPCs answer, and those that make a record final.
async fn verdicts(world: &World) -> Vec<Case> {
    let parties = &world.parties;
    let created = parties.allocation("BTC", "1", "verdict");
    let mut client = world.client().allocation;
    let created = client.create_allocation(created).await.expect("created");
    let id = created.into_inner().allocation.expect("set").id;
    let clear = ClearAllocationRequest {
        enterprise_id: parties.partner_enterprise.clone(),
        connection_id: parties.connection.clone(),
        allocation_id: id.clone(),
        ..Default::default()
    };
    // The client's side gives no verdict, and who holds no partner lists nothing as one.
    let own = ClearAllocationRequest {
        enterprise_id: parties.enterprise.clone(),
        ..clear.clone()
    };
    let own = client.clear_allocation(own).await.expect_err("refused");
    let neither = world.earmark.enterprise("Neither").await.id;
    let list = ListPartnerAllocationsRequest {
        enterprise_id: neither.clone(),
        ..Default::default()
    };
    let mut member = world.earmark.member(&[&neither]).allocation;
    let list = member.list_partner_allocations(list).await;
    let mut partner = world.earmark.member(&[&parties.partner_enterprise]);
    let cleared = partner.allocation.clear_allocation(clear).await;
    cleared.expect("cleared");
    let cancel = CancelAllocationRequest {
        enterprise_id: parties.enterprise.clone(),
        allocation_id: id,
        ..Default::default()
    };
    let cancel = client.cancel_allocation(cancel).await.expect_err("final");
    vec![
        case(Reason::PartnerAccessDenied, CLEAR, own),
        case(
            Reason::PartnerAccessDenied,
            LIST_AS_PARTNER,
            list.expect_err("refused"),
        ),
        case(Reason::AlreadyTerminal, CANCEL, cancel),
    ]
}

async fn state(world: &World) -> Vec<Case> {
    let parties = &world.parties;
    let currency = "x".repeat(32);
    let greatest = "9".repeat(28);
    let too_little = parties.allocation(&currency, &greatest, "x");
    let too_little = world.create(too_little).await;
    let withdrawal = world
        .adjust(&parties.enterprise, &format!("-{greatest}"), "x")
        .await;
    let deposit = world.adjust(&parties.enterprise, &greatest, "x").await;
    // The longest reason that a disabled direction can have.
    let disable = UpdateConnectionRequest {
        connection_id: parties.connection.clone(),
        allocations_enabled: Some(false),
        disabled_reason: Some("𝄞".repeat(1_000)),
        ..Default::default()
    };
    let mut admin = world.earmark.admin().network;
    admin.update_connection(disable).await.expect("disabled");
    let inactive = world.create(parties.allocation("BTC", "1", "x")).await;
    vec![
        case(Reason::InsufficientBalance, CREATE, too_little),
        case(Reason::InsufficientBalance, ADJUST, withdrawal),
        case(Reason::BalanceLimit, ADJUST, deposit),
        case(Reason::ConnectionInactive, CREATE, inactive),
    ]
}
