//! AllocationService and BalanceService.

use earmark::proto::allocation::v1::{
    CreateAllocationRequest, GetAllocationRequest, ListClientAllocationsRequest,
};
use earmark::proto::balance::v1::{AdjustBalanceRequest, ListClientBalancesRequest};

use super::{GREATEST, REPLAYED, SERVED, Step, TAKEN, Table, World, step};
use crate::support::earmark::NOBODY;

pub(super) fn add_to(table: &mut Table, world: &World) {
    let allocation = "/earmark.allocation.v1.AllocationService/";
    let balance = "/earmark.balance.v1.BalanceService/";
    for (service, method, steps) in [
        (allocation, "CreateAllocation", create_allocation(world)),
        (allocation, "GetAllocation", get_allocation(world)),
        (
            allocation,
            "ListClientAllocations",
            list_client_allocations(world),
        ),
        (balance, "AdjustBalance", adjust_balance(world)),
        (balance, "ListClientBalances", list_client_balances(world)),
    ] {
        let path = format!("{service}{method}");
        let rpc = earmark::auth::scope::rpc(&path).expect("an RPC");
        table.insert(rpc.path, steps);
    }
}

fn create_allocation(world: &World) -> Vec<Step> {
    let enterprise = world.parties.enterprise.as_str();
    // Wrong in all that the database knows.
    let of = |enterprise: &str| CreateAllocationRequest {
        enterprise_id: enterprise.into(),
        connection_id: NOBODY.into(),
        ..world.parties.allocation("BTC", GREATEST, TAKEN)
    };
    let invalid = CreateAllocationRequest {
        connection_id: "x".into(),
        ..of(NOBODY)
    };
    let unknown = CreateAllocationRequest {
        client_external_id: "new".into(),
        ..of(enterprise)
    };
    let disabled = CreateAllocationRequest {
        connection_id: world.disabled.clone(),
        ..unknown.clone()
    };
    let too_much = CreateAllocationRequest {
        connection_id: world.parties.connection.clone(),
        ..unknown.clone()
    };
    vec![
        step("INVALID_REQUEST", world.nobody(), &invalid),
        step("NOT_A_MEMBER", world.nobody(), &of(NOBODY)),
        step(
            "NOT_A_MEMBER",
            world.member(&[&world.stranger]),
            &of(NOBODY),
        ),
        step(
            "NOT_A_MEMBER",
            world.member(&[&world.stranger]),
            &of(enterprise),
        ),
        step("ENTERPRISE_NOT_FOUND", world.member(&[NOBODY]), &of(NOBODY)),
        step(
            "NO_OES_LICENSE",
            world.member(&[&world.unlicensed]),
            &of(&world.unlicensed),
        ),
        step(
            "CLIENT_NOT_FOUND",
            world.member(&[&world.without_client]),
            &of(&world.without_client),
        ),
        step(
            "IDEMPOTENCY_KEY_REUSED",
            world.member(&[enterprise]),
            &of(enterprise),
        ),
        // Its connection is disabled and its custody gone by now.
        step(REPLAYED, world.member(&[enterprise]), &world.create(TAKEN)),
        step(
            "CONNECTION_NOT_FOUND",
            world.member(&[enterprise]),
            &unknown,
        ),
        step(
            "CONNECTION_INACTIVE",
            world.member(&[enterprise]),
            &disabled,
        ),
        step(
            "INSUFFICIENT_BALANCE",
            world.member(&[enterprise]),
            &too_much,
        ),
    ]
}

fn get_allocation(world: &World) -> Vec<Step> {
    let (client, partner) = (
        world.parties.enterprise.as_str(),
        world.parties.partner_enterprise.as_str(),
    );
    let of = |enterprise: &str, id: &str| GetAllocationRequest {
        enterprise_id: enterprise.into(),
        allocation_id: id.into(),
    };
    let id = world.allocation.as_str();
    vec![
        step("INVALID_REQUEST", world.nobody(), &of(NOBODY, "x")),
        step("NOT_A_MEMBER", world.nobody(), &of(NOBODY, NOBODY)),
        step(
            "NOT_A_MEMBER",
            world.member(&[&world.stranger]),
            &of(client, id),
        ),
        step(
            "ENTERPRISE_NOT_FOUND",
            world.member(&[NOBODY]),
            &of(NOBODY, id),
        ),
        step(
            "NO_OES_LICENSE",
            world.member(&[&world.unlicensed]),
            &of(&world.unlicensed, id),
        ),
        step(
            "ALLOCATION_NOT_FOUND",
            world.member(&[&world.without_client]),
            &of(&world.without_client, id),
        ),
        // Even to a member of both, in the name of the stranger.
        step(
            "ALLOCATION_NOT_FOUND",
            world.member(&[client, &world.stranger]),
            &of(&world.stranger, id),
        ),
        step(SERVED, world.member(&[client]), &of(client, id)),
        step(SERVED, world.member(&[partner]), &of(partner, id)),
    ]
}

fn list_client_allocations(world: &World) -> Vec<Step> {
    let enterprise = world.parties.enterprise.as_str();
    let of = |enterprise: &str| ListClientAllocationsRequest {
        enterprise_id: enterprise.into(),
        ..Default::default()
    };
    let invalid = ListClientAllocationsRequest {
        page_size: -1,
        page_token: "x".into(),
        ..of(NOBODY)
    };
    let foreign_token = ListClientAllocationsRequest {
        page_token: "x".into(),
        ..of(NOBODY)
    };
    let mut steps = vec![
        step("INVALID_REQUEST", world.nobody(), &invalid),
        step("PAGE_TOKEN_INVALID", world.nobody(), &foreign_token),
    ];
    steps.extend(of_the_client(world, |enterprise| of(enterprise)));
    steps.push(step(SERVED, world.member(&[enterprise]), &of(enterprise)));
    steps
}

fn list_client_balances(world: &World) -> Vec<Step> {
    let enterprise = world.parties.enterprise.as_str();
    let of = |enterprise: &str| ListClientBalancesRequest {
        enterprise_id: enterprise.into(),
        ..Default::default()
    };
    let invalid = ListClientBalancesRequest {
        currencies: vec!["B C".into()],
        page_token: "x".into(),
        ..of(NOBODY)
    };
    let foreign_token = ListClientBalancesRequest {
        page_token: "x".into(),
        ..of(NOBODY)
    };
    let mut steps = vec![
        step("INVALID_REQUEST", world.nobody(), &invalid),
        step("PAGE_TOKEN_INVALID", world.nobody(), &foreign_token),
    ];
    steps.extend(of_the_client(world, |enterprise| of(enterprise)));
    steps.push(step(SERVED, world.member(&[enterprise]), &of(enterprise)));
    steps
}

/// What stands between good arguments and the client's own lists.
fn of_the_client<M: prost::Message>(world: &World, of: impl Fn(&str) -> M) -> Vec<Step> {
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
        ("CLIENT_NOT_FOUND", &world.parties.partner_enterprise),
    ] {
        steps.push(step(reason, world.member(&[enterprise]), &of(enterprise)));
    }
    steps
}

fn adjust_balance(world: &World) -> Vec<Step> {
    let of = |enterprise: &str| AdjustBalanceRequest {
        enterprise_id: enterprise.into(),
        quantity: format!("-{GREATEST}"),
        ..world.adjustment(TAKEN)
    };
    let invalid = AdjustBalanceRequest {
        reason: String::new(),
        ..of(NOBODY)
    };
    let too_much = AdjustBalanceRequest {
        external_id: "new".into(),
        ..of(&world.parties.enterprise)
    };
    let beyond = AdjustBalanceRequest {
        quantity: GREATEST.into(),
        ..too_much.clone()
    };
    vec![
        step("INVALID_REQUEST", world.admin(), &invalid),
        step("ENTERPRISE_NOT_FOUND", world.admin(), &of(NOBODY)),
        // Without licence too, which nobody asks for.
        step("CLIENT_NOT_FOUND", world.admin(), &of(&world.unlicensed)),
        step(
            "IDEMPOTENCY_KEY_REUSED",
            world.admin(),
            &of(&world.parties.enterprise),
        ),
        step(REPLAYED, world.admin(), &world.adjustment(TAKEN)),
        step("INSUFFICIENT_BALANCE", world.admin(), &too_much),
        step("BALANCE_LIMIT", world.admin(), &beyond),
        step(SERVED, world.admin(), &world.adjustment("new")),
    ]
}
