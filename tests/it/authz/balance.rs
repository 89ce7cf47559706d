//! The reads of BalanceService that serve both sides, or the partner's.

use earmark::proto::balance::v1::get_balance_request::Moment;
use earmark::proto::balance::v1::{
    GetBalanceRequest, ListEntriesRequest, ListPartnerBalancesRequest,
};

use super::{SERVED, Step, Table, World, step};
use crate::support::earmark::NOBODY;

pub(super) fn add_to(table: &mut Table, world: &World) {
    for (method, steps) in [
        ("ListPartnerBalances", list_partner_balances(world)),
        ("GetBalance", get_balance(world)),
        ("ListEntries", list_entries(world)),
    ] {
        let path = format!("/earmark.balance.v1.BalanceService/{method}");
        let rpc = earmark::auth::scope::rpc(&path).expect("an RPC");
        table.insert(rpc.path, steps);
    }
}

/// What stands between good arguments and a side.
fn of_any_side<M: prost::Message>(world: &World, of: impl Fn(&str) -> M) -> Vec<Step> {
    let enterprise = world.parties.enterprise.as_str();
    vec![
        step("NOT_A_MEMBER", world.nobody(), &of(NOBODY)),
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
    ]
}

fn list_partner_balances(world: &World) -> Vec<Step> {
    let partner = world.parties.partner_enterprise.as_str();
    let of = |enterprise: &str| ListPartnerBalancesRequest {
        enterprise_id: enterprise.into(),
        ..Default::default()
    };
    let foreign_token = ListPartnerBalancesRequest {
        page_token: "x".into(),
        ..of(NOBODY)
    };
    let invalid = ListPartnerBalancesRequest {
        currencies: vec!["B C".into()],
        ..foreign_token.clone()
    };
    let mut steps = vec![
        step("INVALID_REQUEST", world.nobody(), &invalid),
        step("PAGE_TOKEN_INVALID", world.nobody(), &foreign_token),
    ];
    steps.extend(of_any_side(world, of));
    for enterprise in [&world.without_client, &world.parties.enterprise] {
        let token = world.member(&[enterprise]);
        steps.push(step("PARTNER_ACCESS_DENIED", token, &of(enterprise)));
    }
    steps.push(step(SERVED, world.member(&[partner]), &of(partner)));
    steps
}

fn get_balance(world: &World) -> Vec<Step> {
    let (client, partner) = (
        world.parties.enterprise.as_str(),
        world.parties.partner_enterprise.as_str(),
    );
    // Wrong in all that the database knows.
    let of = |enterprise: &str| GetBalanceRequest {
        enterprise_id: enterprise.into(),
        connection_id: Some(NOBODY.into()),
        currency: "BTC".into(),
        moment: Some(Moment::AsOfVersion(1_000)),
    };
    let invalid = GetBalanceRequest {
        currency: String::new(),
        ..of(NOBODY)
    };
    let custody = |enterprise: &str| GetBalanceRequest {
        connection_id: None,
        ..of(enterprise)
    };
    let connection = |enterprise: &str| GetBalanceRequest {
        connection_id: Some(world.parties.connection.clone()),
        ..of(enterprise)
    };
    let mut steps = vec![step("INVALID_REQUEST", world.nobody(), &invalid)];
    steps.extend(of_any_side(world, of));
    let neither = &world.without_client;
    steps.push(step(
        "CLIENT_NOT_FOUND",
        world.member(&[neither]),
        &of(neither),
    ));
    steps.push(step(
        "INVALID_REQUEST",
        world.member(&[partner]),
        &custody(partner),
    ));
    for enterprise in [client, partner] {
        let member = || world.member(&[enterprise]);
        let now = GetBalanceRequest {
            moment: None,
            ..connection(enterprise)
        };
        steps.extend([
            step("CONNECTION_NOT_FOUND", member(), &of(enterprise)),
            step("INVALID_REQUEST", member(), &connection(enterprise)),
            step(SERVED, member(), &now),
        ]);
    }
    steps
}

fn list_entries(world: &World) -> Vec<Step> {
    let (client, partner) = (
        world.parties.enterprise.as_str(),
        world.parties.partner_enterprise.as_str(),
    );
    let of = |enterprise: &str| ListEntriesRequest {
        enterprise_id: enterprise.into(),
        connection_id: Some(String::new()),
        ..Default::default()
    };
    let foreign_token = ListEntriesRequest {
        page_token: "x".into(),
        ..of(NOBODY)
    };
    let invalid = ListEntriesRequest {
        currency: "B C".into(),
        ..foreign_token.clone()
    };
    let mut steps = vec![
        step("INVALID_REQUEST", world.nobody(), &invalid),
        step("PAGE_TOKEN_INVALID", world.nobody(), &foreign_token),
    ];
    steps.extend(of_any_side(world, of));
    for enterprise in [&world.without_client, partner] {
        let token = world.member(&[enterprise]);
        steps.push(step("CLIENT_NOT_FOUND", token, &of(enterprise)));
    }
    steps.push(step(SERVED, world.member(&[client]), &of(client)));
    // A filter of what is not theirs matches nothing.
    let foreign = ListEntriesRequest {
        connection_id: Some(NOBODY.into()),
        ..of(partner)
    };
    steps.push(step(SERVED, world.member(&[partner]), &foreign));
    steps
}
