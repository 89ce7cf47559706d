//! Who may call what, and in which order a call is checked:
//!
//! token → scope → arguments → membership (or the claim `tenant`, `firm_id` or `companies`) → enterprise → licence → side → replay → other records → clock → version →
//! arguments judged against the record → state → balance
//!
//! The table has a row for each RPC, and the row a step for each check: a request that is right before that check and as
//! wrong as can be from there on.

mod allocation;
mod balance;
mod bucket;
mod cas;
mod catalogue;
mod network;

use std::collections::BTreeMap;

use bytes::Bytes;
use earmark::auth::scope::{RPCS, Scope};
use earmark::proto::balance::v1::AdjustBalanceRequest;
use earmark::proto::bucket::v1::GetBucketRequest;
use earmark::proto::cas::v1 as cas_pb;
use earmark::proto::catalogue::v1::ListAvailableAllocationsRequest;
use earmark::proto::network::v1 as pb;
use earmark::proto::network::v1::ConnectionMode;
use prost::Message;
use serde_json::json;
use tonic::Code;

use crate::support::earmark::{Earmark, NOBODY, Parties};
use crate::support::raw::{Raw, frame, frame_bytes};

/// A key that was used before, in each RPC that has one.
const TAKEN: &str = "taken";
const GREATEST: &str = "9999999999999999999999999999";

/// A network in which every check can fail.
struct World {
    earmark: Earmark,
    /// Joined by a connection; custody of 100 BTC. The key is taken, on a connection that is disabled since.
    parties: Parties,
    disabled: String,
    /// The record of the taken key.
    allocation: String,
    /// A reservation of 1 ETH, open, and one that the partner has cleared.
    open: String,
    cleared: String,
    /// Has no licence and no client.
    unlicensed: String,
    /// Has a licence, but no client.
    without_client: String,
    /// The same partner, whose client's enterprise has no licence any more.
    lapsed_client: Lapsed,
    /// The same client, with a partner whose enterprise has no licence any more.
    lapsed_partner: Lapsed,
    /// Has nothing to do with anything.
    stranger: String,
}

/// Two sides of a connection, of which one has no licence any more: 4 ETH on the connection, and a reservation of 1 ETH in
/// each direction.
struct Lapsed {
    parties: Parties,
    allocation: String,
    deallocation: String,
}

impl Lapsed {
    async fn make(earmark: &Earmark, mut parties: Parties, unlicensed: &str) -> Self {
        parties.connection = earmark
            .connection(&parties, ConnectionMode::Confirmed)
            .await;
        earmark.deposit(&parties.enterprise, "ETH", "10").await;
        let mut client = earmark.member(&[&parties.enterprise]).allocation;
        let mut ids = Vec::new();
        for (quantity, key) in [("5", "moved"), ("1", "out")] {
            let key = format!("lapsed {unlicensed} {key}");
            let create = parties.allocation("ETH", quantity, &key);
            let created = client.create_allocation(create).await.expect("created");
            ids.push(created.into_inner().allocation.expect("set").id);
        }
        let mut partner = earmark.member(&[&parties.partner_enterprise]).allocation;
        let clear = parties.clear(&ids[0]);
        partner.clear_allocation(clear).await.expect("cleared");
        let back = parties.deallocation("ETH", "1", &format!("lapsed {unlicensed} back"));
        let back = client.create_deallocation(back).await.expect("created");
        earmark.license(unlicensed, false).await;
        Self {
            parties,
            allocation: ids.remove(1),
            deallocation: back.into_inner().allocation.expect("set").id,
        }
    }

    /// A client's enterprise without licence, and this partner.
    async fn client(earmark: &Earmark, partner: &Parties) -> Self {
        let enterprise = earmark.enterprise("Lapsed client").await.id;
        let parties = Parties {
            client: earmark.client(&enterprise).await,
            enterprise: enterprise.clone(),
            ..partner.clone()
        };
        Self::make(earmark, parties, &enterprise).await
    }

    /// This client, and a partner's enterprise without licence.
    async fn partner(earmark: &Earmark, client: &Parties) -> Self {
        let enterprise = earmark.enterprise("Lapsed partner").await.id;
        let parties = Parties {
            partner: earmark.partner(&enterprise, "Lapsed").await,
            partner_enterprise: enterprise.clone(),
            ..client.clone()
        };
        Self::make(earmark, parties, &enterprise).await
    }
}

impl World {
    async fn make() -> Self {
        let earmark = Earmark::start().await;
        let parties = earmark.parties(ConnectionMode::Confirmed).await;
        let disabled = earmark
            .connection(&parties, ConnectionMode::Confirmed)
            .await;
        let mut world = Self {
            unlicensed: earmark.new_enterprise("Unlicensed", false).await.id,
            without_client: earmark.enterprise("Without client").await.id,
            stranger: earmark.enterprise("Stranger").await.id,
            lapsed_client: Lapsed::client(&earmark, &parties).await,
            lapsed_partner: Lapsed::partner(&earmark, &parties).await,
            earmark,
            parties,
            disabled,
            allocation: String::new(),
            open: String::new(),
            cleared: String::new(),
        };
        let venue = world.parties.partner_enterprise.as_str();
        world.earmark.partner(venue, "Second").await;
        let mut admin = world.earmark.admin();
        let deposit = admin.balance.adjust_balance(world.adjustment(TAKEN));
        deposit.await.expect("deposited");
        let mut client = world.earmark.member(&[&world.parties.enterprise]);
        let create = client.allocation.create_allocation(world.create(TAKEN));
        let created = create.await.expect("created").into_inner();
        world.allocation = created.allocation.expect("set").id;
        let enterprise = world.parties.enterprise.as_str();
        world.earmark.deposit(enterprise, "ETH", "10").await;
        let mut ids = Vec::new();
        for key in ["open", "cleared"] {
            let create = world.parties.allocation("ETH", "1", key);
            let created = client.allocation.create_allocation(create).await;
            let created = created.expect("created").into_inner();
            ids.push(created.allocation.expect("set").id);
        }
        [world.open, world.cleared] = ids.try_into().expect("two");
        let enterprise = world.parties.partner_enterprise.as_str();
        let mut partner = world.earmark.member(&[enterprise]).allocation;
        let clear = world.parties.clear(&world.cleared);
        partner.clear_allocation(clear).await.expect("cleared");
        let disabled = &world.disabled;
        world.earmark.enable_allocations(disabled, false).await;
        world
    }

    /// What has used the key.
    fn adjustment(&self, external_id: &str) -> AdjustBalanceRequest {
        AdjustBalanceRequest {
            enterprise_id: self.parties.enterprise.clone(),
            currency: "BTC".into(),
            quantity: "100".into(),
            external_id: external_id.into(),
            reason: "a test".into(),
            validate_only: false,
        }
    }

    /// What has used the key.
    fn create(&self, external_id: &str) -> earmark::proto::allocation::v1::CreateAllocationRequest {
        earmark::proto::allocation::v1::CreateAllocationRequest {
            connection_id: self.disabled.clone(),
            ..self.parties.allocation("BTC", "100", external_id)
        }
    }

    /// May read and write for these enterprises.
    fn member(&self, enterprises: &[&str]) -> String {
        let scopes = "settlement_network_read settlement_network_write";
        self.earmark.token(scopes, enterprises)
    }

    /// May read and write, and the token says nothing of enterprises.
    fn nobody(&self) -> String {
        self.member(&[])
    }

    fn admin(&self) -> String {
        self.earmark.token("network-admin", &[])
    }
}

/// A request, and what it must be answered.
struct Step {
    token: String,
    body: Bytes,
    /// A reason, or one of those below.
    expected: &'static str,
}

const SERVED: &str = "served";
const REPLAYED: &str = "replayed";

fn step(expected: &'static str, token: String, message: &impl Message) -> Step {
    Step {
        token,
        body: frame(message),
        expected,
    }
}

/// The steps of each RPC, by its path.
type Table = BTreeMap<&'static str, Vec<Step>>;

fn add(table: &mut Table, path: &str, steps: Vec<Step>) {
    let rpc = earmark::auth::scope::rpc(path).expect("an RPC");
    assert!(table.insert(rpc.path, steps).is_none(), "two rows: {path}");
}

/// What stands between good arguments and the client's own calls, which take a licence.
fn of_the_client<M: Message>(world: &World, of: impl Fn(&str) -> M) -> Vec<Step> {
    of_any_client(world, of, "NO_OES_LICENSE")
}

/// What stands between good arguments and the client's own calls that lead value back, which take no licence.
fn of_the_client_on_its_way_out<M: Message>(world: &World, of: impl Fn(&str) -> M) -> Vec<Step> {
    of_any_client(world, of, "CLIENT_NOT_FOUND")
}

/// `unlicensed` is the answer to an enterprise that has neither a licence nor a client.
fn of_any_client<M: Message>(
    world: &World,
    of: impl Fn(&str) -> M,
    unlicensed: &'static str,
) -> Vec<Step> {
    let enterprise = world.parties.enterprise.as_str();
    let mut steps = vec![
        step("NOT_A_MEMBER", world.nobody(), &of(NOBODY)),
        step(
            "NOT_A_MEMBER",
            world.member(&[&world.stranger]),
            &of(enterprise),
        ),
        step("ENTERPRISE_NOT_FOUND", world.member(&[NOBODY]), &of(NOBODY)),
    ];
    for (reason, enterprise) in [
        (unlicensed, &world.unlicensed),
        ("CLIENT_NOT_FOUND", &world.without_client),
        ("CLIENT_NOT_FOUND", &world.parties.partner_enterprise),
    ] {
        steps.push(step(reason, world.member(&[enterprise]), &of(enterprise)));
    }
    steps
}

/// What stands between good arguments and the partner's own calls, which take a licence.
fn of_the_partner<M: Message>(world: &World, of: impl Fn(&str) -> M) -> Vec<Step> {
    of_any_partner(world, of, "NO_OES_LICENSE")
}

/// What stands between good arguments and a verdict, whose licence is judged by the record.
fn of_a_verdict<M: Message>(world: &World, of: impl Fn(&str) -> M) -> Vec<Step> {
    of_any_partner(world, of, "PARTNER_ACCESS_DENIED")
}

/// `unlicensed` is the answer to an enterprise that has neither a licence nor a partner.
fn of_any_partner<M: Message>(
    world: &World,
    of: impl Fn(&str) -> M,
    unlicensed: &'static str,
) -> Vec<Step> {
    let enterprise = world.parties.partner_enterprise.as_str();
    let mut steps = vec![
        step("NOT_A_MEMBER", world.nobody(), &of(NOBODY)),
        step(
            "NOT_A_MEMBER",
            world.member(&[&world.stranger]),
            &of(enterprise),
        ),
        step("ENTERPRISE_NOT_FOUND", world.member(&[NOBODY]), &of(NOBODY)),
    ];
    for (reason, enterprise) in [
        (unlicensed, &world.unlicensed),
        ("PARTNER_ACCESS_DENIED", &world.without_client),
        ("PARTNER_ACCESS_DENIED", &world.parties.enterprise),
    ] {
        steps.push(step(reason, world.member(&[enterprise]), &of(enterprise)));
    }
    steps
}

/// What stands between good arguments and the calls that serve either side.
fn of_a_side<M: Message>(world: &World, of: impl Fn(&str) -> M) -> Vec<Step> {
    let enterprise = world.parties.enterprise.as_str();
    let mut steps = vec![
        step("NOT_A_MEMBER", world.nobody(), &of(NOBODY)),
        step(
            "NOT_A_MEMBER",
            world.member(&[&world.stranger]),
            &of(enterprise),
        ),
        step("ENTERPRISE_NOT_FOUND", world.member(&[NOBODY]), &of(NOBODY)),
    ];
    for (reason, enterprise) in [
        ("NO_OES_LICENSE", &world.unlicensed),
        ("CLIENT_NOT_FOUND", &world.without_client),
    ] {
        steps.push(step(reason, world.member(&[enterprise]), &of(enterprise)));
    }
    steps
}

async fn answer_of(raw: &Raw, path: &str, token: &str, body: Bytes) -> String {
    let bearer = format!("Bearer {token}");
    let answer = raw.call(path, &[("authorization", &bearer)], body).await;
    if answer.status.code() == Code::Ok {
        let replayed = answer.headers.contains_key("earmark-replayed");
        return if replayed { REPLAYED } else { SERVED }.into();
    }
    answer.error_info().reason
}

#[tokio::test]
async fn checks_of_every_rpc_run_in_the_documented_order() {
    let world = World::make().await;
    let mut table = Table::new();
    allocation::add_to(&mut table, &world);
    balance::add_to(&mut table, &world);
    bucket::add_to(&mut table, &world.earmark).await;
    cas::add_to(&mut table, &world.earmark).await;
    catalogue::add_to(&mut table, &world.earmark).await;
    network::add_to(&mut table, &world);
    let raw = world.earmark.raw().await;
    for rpc in RPCS {
        let path = rpc.path;
        let Some(steps) = table.remove(path) else {
            panic!("{path} has no row: add its checks to the table");
        };
        for (number, step) in steps.into_iter().enumerate() {
            let answer = answer_of(&raw, path, &step.token, step.body).await;
            assert_eq!(answer, step.expected, "step {number} of {path}");
        }
    }
    assert!(table.is_empty(), "no such RPC: {:?}", table.keys());
}

/// An error's reason, and the `authorization` that provokes it.
type TokenFault = (&'static str, Option<String>);

/// Tokens whose scopes do serve, each with a fault; the second list is long, so not every RPC is called with it.
fn token_faults(earmark: &Earmark) -> (Vec<TokenFault>, Vec<TokenFault>) {
    let mut claims = earmark.claims("somebody", &[]);
    claims["scope"] = json!(Scope::ALL.map(Scope::name).join(" "));
    let altered = |claim: &str, value: serde_json::Value| {
        let mut claims = claims.clone();
        claims[claim] = value;
        format!("Bearer {}", earmark.token_of(&claims))
    };
    let good = earmark.token_of(&claims);
    let (head, signature) = good.rsplit_once('.').expect("three parts");
    let unsigned = format!(
        "Bearer eyJhbGciOiJub25lIn0.{}.",
        &head[head.find('.').expect("two") + 1..]
    );
    let faults = vec![
        ("TOKEN_MISSING", None),
        ("TOKEN_INVALID", Some("Bearer a.b.c".into())),
        ("TOKEN_EXPIRED", Some(altered("exp", json!(1_700_000_000)))),
    ];
    let forged = signature.replace(|c: char| c.is_ascii_digit(), "x");
    let more_faults = vec![
        ("TOKEN_MISSING", Some(String::new())),
        ("TOKEN_MISSING", Some("Basic YTpi".into())),
        ("TOKEN_MISSING", Some(good.clone())),
        ("TOKEN_INVALID", Some(unsigned)),
        ("TOKEN_INVALID", Some(format!("Bearer {head}."))),
        ("TOKEN_INVALID", Some(format!("Bearer {head}.{forged}"))),
        (
            "TOKEN_INVALID",
            Some(altered("iss", json!("somebody else"))),
        ),
        ("TOKEN_INVALID", Some(altered("aud", json!("others")))),
        (
            "TOKEN_INVALID",
            Some(altered("exp", json!(9_999_999_999_u64))),
        ),
        ("TOKEN_INVALID", Some(altered("scope", json!(7)))),
    ];
    (faults, more_faults)
}

/// Each scope with a token that has no other.
fn tokens_by_scope(earmark: &Earmark) -> Vec<(Scope, String)> {
    let with_token = |scope: Scope| (scope, earmark.token(scope.name(), &[]));
    Scope::ALL.into_iter().map(with_token).collect()
}

#[tokio::test]
async fn every_rpc_requires_a_valid_token_with_a_sufficient_scope() {
    let earmark = Earmark::start().await;
    let raw = earmark.raw().await;
    let (faults, more_faults) = token_faults(&earmark);
    let scopes = tokens_by_scope(&earmark);
    let unknown = ["", "network", "network-admin2", "SETTLEMENT_NETWORK_READ"];
    let unknown = unknown.map(|scope| format!("Bearer {}", earmark.token(scope, &[])));
    // A body that is no message: nobody looks at it yet.
    let garbage = || frame_bytes(0, &[0xff]);
    let (mut write_seen, mut read_seen) = (false, false);
    for rpc in RPCS {
        // The same code judges tokens everywhere: every fault is tried on a write and on a read, some on each RPC.
        let seen = if rpc.write {
            &mut write_seen
        } else {
            &mut read_seen
        };
        let more = if std::mem::replace(seen, true) {
            &[][..]
        } else {
            &more_faults
        };
        for (reason, authorization) in faults.iter().chain(more) {
            let metadata: Vec<_> = authorization
                .as_deref()
                .map(|value| ("authorization", value))
                .into_iter()
                .collect();
            let answer = raw.call(rpc.path, &metadata, garbage()).await;
            let outcome = answer.expect(Code::Unauthenticated, reason);
            assert_eq!(outcome.is_some(), rpc.write, "{}", rpc.path);
        }
        for (scope, token) in &scopes {
            let answer = answer_of(&raw, rpc.path, token, garbage()).await;
            let serves = rpc.scopes.contains(scope);
            let expected = if serves {
                "MALFORMED_MESSAGE"
            } else {
                "SCOPE_MISSING"
            };
            assert_eq!(answer, expected, "{} with {scope:?}", rpc.path);
        }
        for bearer in &unknown {
            let metadata = [("authorization", bearer.as_str())];
            let answer = raw.call(rpc.path, &metadata, garbage()).await;
            answer.expect(Code::PermissionDenied, "SCOPE_MISSING");
            let required = &answer.error_info().metadata["required_scope"];
            assert_eq!(required, rpc.scopes[0].name(), "{}", rpc.path);
        }
    }
}

/// A call that needs a claim: the claim, the path, a request, and one with invalid arguments.
fn calls_by_claim() -> [(&'static str, &'static str, Bytes, Bytes); 4] {
    let network = |id: &str| pb::GetEnterpriseRequest {
        enterprise_id: id.into(),
    };
    let bucket = |id: &str| GetBucketRequest {
        id: id.into(),
        ..Default::default()
    };
    let cas = |id: &str| cas_pb::GetAllocationRequest { id: id.into() };
    let catalogue = |company_id| ListAvailableAllocationsRequest {
        company_id,
        ..Default::default()
    };
    [
        (
            "enterprises",
            "/earmark.network.v1.NetworkService/GetEnterprise",
            frame(&network(NOBODY)),
            frame(&network("x")),
        ),
        (
            "tenant",
            "/earmark.bucket.v1.BucketService/GetBucket",
            frame(&bucket("b")),
            frame(&bucket("")),
        ),
        (
            "firm_id",
            "/earmark.cas.v1.CasAllocationService/GetAllocation",
            frame(&cas(NOBODY)),
            frame(&cas("x")),
        ),
        (
            "companies",
            "/earmark.catalogue.v1.CatalogueService/ListAvailableAllocations",
            frame(&catalogue(1)),
            frame(&catalogue(-1)),
        ),
    ]
}

#[tokio::test]
async fn a_malformed_claim_is_judged_only_by_calls_that_need_it_and_after_their_arguments() {
    let earmark = Earmark::start().await;
    let raw = earmark.raw().await;
    let scopes = Scope::ALL.map(Scope::name);
    let without_admin = scopes.iter().filter(|scope| **scope != "network-admin");
    let mut good = earmark.claims("somebody", &[NOBODY]);
    good["scope"] = json!(without_admin.collect::<Vec<_>>());
    good["tenant"] = json!(NOBODY);
    good["firm_id"] = json!("1");
    good["companies"] = json!([1]);
    for (malformed, value) in [
        ("enterprises", json!(["x"])),
        ("tenant", json!("x")),
        ("firm_id", json!(1.5)),
        ("companies", json!(["1"])),
    ] {
        let mut claims = good.clone();
        claims[malformed] = value;
        let bearer = format!("Bearer {}", earmark.token_of(&claims));
        let metadata = [("authorization", bearer.as_str())];
        for (needed, path, request, invalid) in calls_by_claim() {
            let invalid = raw.call(path, &metadata, invalid).await;
            assert_eq!(invalid.status.code(), Code::InvalidArgument, "{invalid:?}");
            let answer = raw.call(path, &metadata, request).await;
            if needed == malformed {
                answer.expect(Code::Unauthenticated, "TOKEN_INVALID");
                let info = answer.error_info();
                assert_eq!(info.metadata["claim"], needed);
                assert!(answer.status.message().contains(needed), "{answer:?}");
            } else {
                let code = answer.status.code();
                assert_eq!(code, Code::NotFound, "{malformed}: {answer:?}");
            }
        }
    }
}

#[tokio::test]
async fn scopes_and_audiences_may_be_lists() {
    let earmark = Earmark::start().await;
    let enterprise = earmark.enterprise("Ours").await.id;
    let mut claims = earmark.claims("somebody", &[&enterprise]);
    claims["scope"] = json!(["openid", "settlement_network_read"]);
    claims["aud"] = json!(["others", claims["aud"]]);
    let request = pb::GetEnterpriseRequest {
        enterprise_id: enterprise,
    };
    let token = earmark.token_of(&claims);
    let mut network = earmark.with_token(token).network;
    network.get_enterprise(request).await.expect("served");
}

#[tokio::test]
async fn enterprise_ids_are_case_insensitive() {
    let earmark = Earmark::start().await;
    let enterprise = earmark.enterprise("Ours").await.id;
    let claims = earmark.claims("somebody", &[&enterprise.to_uppercase()]);
    let mut network = earmark.with_token(earmark.token_of(&claims)).network;
    for enterprise_id in [enterprise.clone(), enterprise.to_uppercase()] {
        let request = pb::GetEnterpriseRequest { enterprise_id };
        network.get_enterprise(request).await.expect("a member");
    }
    let request = pb::GetEnterpriseRequest {
        enterprise_id: NOBODY.into(),
    };
    let status = network.get_enterprise(request).await.expect_err("another");
    assert_eq!(status.code(), Code::Unauthenticated);
}
