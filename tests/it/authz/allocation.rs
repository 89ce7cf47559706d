//! AllocationService.

use earmark::proto::allocation::v1::{
    AllocationType, CancelAllocationRequest, ClearAllocationRequest, CreateAllocationRequest,
    CreateDeallocationRequest, GetAllocationRequest, ListClientAllocationsRequest,
    ListPartnerAllocationsRequest, ReleaseAllocationRequest, SubmitAllocationsRequest,
};
use prost_types::Timestamp;

use super::{
    GREATEST, REPLAYED, SERVED, Step, TAKEN, Table, World, add, of_a_verdict, of_the_client,
    of_the_client_on_its_way_out, of_the_partner, step,
};
use crate::support::earmark::NOBODY;

pub(super) fn add_to(table: &mut Table, world: &World) {
    for (method, steps) in [
        ("CreateAllocation", create_allocation(world)),
        ("CreateDeallocation", create_deallocation(world)),
        ("SubmitAllocations", submit_allocations(world)),
        ("ClearAllocation", clear_allocation(world)),
        ("ReleaseAllocation", release_allocation(world)),
        ("CancelAllocation", cancel_allocation(world)),
        ("GetAllocation", get_allocation(world)),
        ("ListClientAllocations", list_client_allocations(world)),
        ("ListPartnerAllocations", list_partner_allocations(world)),
    ] {
        add(
            table,
            &format!("/earmark.allocation.v1.AllocationService/{method}"),
            steps,
        );
    }
}

/// Only the database's clock tells that it is too late.
fn past() -> Timestamp {
    Timestamp {
        seconds: 1,
        nanos: 0,
    }
}

fn create_allocation(world: &World) -> Vec<Step> {
    let enterprise = world.parties.enterprise.as_str();
    // Wrong in all that the database knows.
    let of = |enterprise: &str| CreateAllocationRequest {
        enterprise_id: enterprise.into(),
        connection_id: NOBODY.into(),
        expire_time: Some(past()),
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
    let too_late = CreateAllocationRequest {
        connection_id: world.disabled.clone(),
        ..unknown.clone()
    };
    let disabled = CreateAllocationRequest {
        expire_time: None,
        ..too_late.clone()
    };
    let unlicensed = CreateAllocationRequest {
        connection_id: world.lapsed_partner.parties.connection.clone(),
        ..disabled.clone()
    };
    let lapsed = world.lapsed_client.parties.enterprise.as_str();
    let too_much = CreateAllocationRequest {
        connection_id: world.parties.connection.clone(),
        ..disabled.clone()
    };
    let stranger = || world.member(&[&world.stranger]);
    let member = || world.member(&[enterprise]);
    vec![
        step("INVALID_REQUEST", world.nobody(), &invalid),
        step("NOT_A_MEMBER", world.nobody(), &of(NOBODY)),
        step("NOT_A_MEMBER", stranger(), &of(NOBODY)),
        step("NOT_A_MEMBER", stranger(), &of(enterprise)),
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
        step("NO_OES_LICENSE", world.member(&[lapsed]), &of(lapsed)),
        step("IDEMPOTENCY_KEY_REUSED", member(), &of(enterprise)),
        // Its connection is disabled and its custody gone by now.
        step(REPLAYED, member(), &world.create(TAKEN)),
        step("CONNECTION_NOT_FOUND", member(), &unknown),
        step("INVALID_REQUEST", member(), &too_late),
        step("PARTNER_NOT_LICENSED", member(), &unlicensed),
        step("CONNECTION_INACTIVE", member(), &disabled),
        step("INSUFFICIENT_BALANCE", member(), &too_much),
    ]
}

fn create_deallocation(world: &World) -> Vec<Step> {
    let enterprise = world.parties.enterprise.as_str();
    let of = |enterprise: &str, key: &str| CreateDeallocationRequest {
        enterprise_id: enterprise.into(),
        connection_id: NOBODY.into(),
        expire_time: Some(past()),
        ..world.parties.deallocation("ETH", GREATEST, key)
    };
    let invalid = CreateDeallocationRequest {
        connection_id: "x".into(),
        ..of(NOBODY, "new")
    };
    let too_much = world.parties.deallocation("ETH", GREATEST, "new");
    let too_late = CreateDeallocationRequest {
        expire_time: Some(past()),
        ..too_much.clone()
    };
    let taken = world.parties.deallocation("ETH", "1", TAKEN);
    let mut steps = vec![step("INVALID_REQUEST", world.nobody(), &invalid)];
    steps.extend(of_the_client_on_its_way_out(world, |enterprise| {
        of(enterprise, "new")
    }));
    for lapsed in [&world.lapsed_client, &world.lapsed_partner] {
        let back = lapsed.parties.deallocation("ETH", "1", "the way out");
        let member = world.member(&[&lapsed.parties.enterprise]);
        steps.push(step(SERVED, member, &back));
    }
    for (expected, request) in [
        ("CONNECTION_NOT_FOUND", &of(enterprise, "new")),
        ("INVALID_REQUEST", &too_late),
        ("INSUFFICIENT_BALANCE", &too_much),
        // Keys of allocations are none of deallocations.
        (SERVED, &taken),
        ("IDEMPOTENCY_KEY_REUSED", &of(enterprise, TAKEN)),
        (REPLAYED, &taken),
    ] {
        steps.push(step(expected, world.member(&[enterprise]), request));
    }
    steps
}

fn submit_allocations(world: &World) -> Vec<Step> {
    let enterprise = world.parties.enterprise.as_str();
    let item = world.parties.item(AllocationType::Allocation, "x", "new");
    let of = |enterprise: &str| SubmitAllocationsRequest {
        enterprise_id: enterprise.into(),
        items: vec![item.clone()],
        validate_only: false,
    };
    let none = SubmitAllocationsRequest {
        items: Vec::new(),
        ..of(NOBODY)
    };
    let mut steps = vec![step("INVALID_REQUEST", world.nobody(), &none)];
    steps.extend(of_the_client_on_its_way_out(world, of));
    // Whatever is wrong with an item is that item's own, a missing licence too.
    for enterprise in [enterprise, &world.lapsed_client.parties.enterprise] {
        steps.push(step(SERVED, world.member(&[enterprise]), &of(enterprise)));
    }
    steps
}

fn clear_allocation(world: &World) -> Vec<Step> {
    let enterprise = world.parties.partner_enterprise.as_str();
    let of = |enterprise: &str, connection: &str, id: &str| ClearAllocationRequest {
        enterprise_id: enterprise.into(),
        connection_id: connection.into(),
        allocation_id: id.into(),
        ..world.parties.clear(id)
    };
    let connection = world.parties.connection.as_str();
    let another_id = ClearAllocationRequest {
        partner_external_id: Some("another".into()),
        ..world.parties.clear(&world.cleared)
    };
    let mut steps = vec![step(
        "INVALID_REQUEST",
        world.nobody(),
        &of(NOBODY, NOBODY, "x"),
    )];
    steps.extend(of_a_verdict(world, |enterprise| {
        of(enterprise, NOBODY, NOBODY)
    }));
    for (expected, lapsed, id) in [
        ("ALLOCATION_NOT_FOUND", &world.lapsed_partner, NOBODY),
        (
            "NO_OES_LICENSE",
            &world.lapsed_partner,
            &*world.lapsed_partner.allocation,
        ),
        (
            "PARTNER_NOT_LICENSED",
            &world.lapsed_client,
            &world.lapsed_client.allocation,
        ),
        (
            SERVED,
            &world.lapsed_partner,
            &world.lapsed_partner.deallocation,
        ),
        (
            SERVED,
            &world.lapsed_client,
            &world.lapsed_client.deallocation,
        ),
    ] {
        let member = world.member(&[&lapsed.parties.partner_enterprise]);
        steps.push(step(expected, member, &lapsed.parties.clear(id)));
    }
    for (expected, request) in [
        ("CONNECTION_NOT_FOUND", of(enterprise, NOBODY, NOBODY)),
        ("ALLOCATION_NOT_FOUND", of(enterprise, connection, NOBODY)),
        // A record of another connection.
        (
            "ALLOCATION_NOT_FOUND",
            of(enterprise, connection, &world.allocation),
        ),
        ("IDEMPOTENCY_KEY_REUSED", another_id),
        (REPLAYED, world.parties.clear(&world.cleared)),
    ] {
        steps.push(step(expected, world.member(&[enterprise]), &request));
    }
    steps
}

fn release_allocation(world: &World) -> Vec<Step> {
    let enterprise = world.parties.partner_enterprise.as_str();
    let of = |enterprise: &str, connection: &str, id: &str| ReleaseAllocationRequest {
        enterprise_id: enterprise.into(),
        connection_id: connection.into(),
        allocation_id: id.into(),
        ..world.parties.release(id)
    };
    let connection = world.parties.connection.as_str();
    let without_reason = ReleaseAllocationRequest {
        reason: String::new(),
        ..of(NOBODY, NOBODY, NOBODY)
    };
    let mut steps = vec![step("INVALID_REQUEST", world.nobody(), &without_reason)];
    steps.extend(of_a_verdict(world, |enterprise| {
        of(enterprise, NOBODY, NOBODY)
    }));
    let lapsed = &world.lapsed_partner;
    let member = world.member(&[&lapsed.parties.partner_enterprise]);
    let release = lapsed.parties.release(&lapsed.allocation);
    steps.push(step(SERVED, member, &release));
    for (expected, request) in [
        ("CONNECTION_NOT_FOUND", of(enterprise, NOBODY, NOBODY)),
        ("ALLOCATION_NOT_FOUND", of(enterprise, connection, NOBODY)),
        ("ALREADY_TERMINAL", world.parties.release(&world.cleared)),
    ] {
        steps.push(step(expected, world.member(&[enterprise]), &request));
    }
    steps
}

fn cancel_allocation(world: &World) -> Vec<Step> {
    let enterprise = world.parties.enterprise.as_str();
    let of = |enterprise: &str, id: &str| CancelAllocationRequest {
        enterprise_id: enterprise.into(),
        ..world.parties.cancel(id)
    };
    let mut steps = vec![step("INVALID_REQUEST", world.nobody(), &of(NOBODY, "x"))];
    steps.extend(of_the_client_on_its_way_out(world, |enterprise| {
        of(enterprise, NOBODY)
    }));
    let lapsed = &world.lapsed_client;
    let member = world.member(&[&lapsed.parties.enterprise]);
    let cancel = lapsed.parties.cancel(&lapsed.allocation);
    steps.push(step(SERVED, member, &cancel));
    for (expected, id) in [
        ("ALLOCATION_NOT_FOUND", NOBODY),
        ("ALREADY_TERMINAL", &world.cleared),
        (SERVED, &world.open),
        (REPLAYED, &world.open),
    ] {
        steps.push(step(
            expected,
            world.member(&[enterprise]),
            &of(enterprise, id),
        ));
    }
    steps
}

fn list_partner_allocations(world: &World) -> Vec<Step> {
    let enterprise = world.parties.partner_enterprise.as_str();
    let of = |enterprise: &str| ListPartnerAllocationsRequest {
        enterprise_id: enterprise.into(),
        ..Default::default()
    };
    let foreign_token = ListPartnerAllocationsRequest {
        page_token: "x".into(),
        ..of(NOBODY)
    };
    let invalid = ListPartnerAllocationsRequest {
        page_size: -1,
        ..foreign_token.clone()
    };
    let mut steps = vec![
        step("INVALID_REQUEST", world.nobody(), &invalid),
        step("PAGE_TOKEN_INVALID", world.nobody(), &foreign_token),
    ];
    steps.extend(of_the_partner(world, of));
    steps.push(step(SERVED, world.member(&[enterprise]), &of(enterprise)));
    steps
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
