//! BalanceService.

use earmark::proto::balance::v1::get_balance_request::Moment;
use earmark::proto::balance::v1::{
    AdjustBalanceRequest, GetBalanceRequest, ListClientBalancesRequest, ListEntriesRequest,
    ListPartnerBalancesRequest, VerifyLedgerRequest,
};

use super::{
    GREATEST, REPLAYED, SERVED, Step, TAKEN, Table, World, add, of_a_side, of_the_client,
    of_the_partner, step,
};
use crate::support::earmark::NOBODY;

pub(super) fn add_to(table: &mut Table, world: &World) {
    for (method, steps) in [
        ("AdjustBalance", adjust_balance(world)),
        ("ListClientBalances", list_client_balances(world)),
        ("ListPartnerBalances", list_partner_balances(world)),
        ("GetBalance", get_balance(world)),
        ("ListEntries", list_entries(world)),
        // Its scope serves it whole: no arguments, no membership.
        (
            "VerifyLedger",
            vec![step(SERVED, world.admin(), &VerifyLedgerRequest::default())],
        ),
    ] {
        add(
            table,
            &format!("/earmark.balance.v1.BalanceService/{method}"),
            steps,
        );
    }
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
    let custodian = |enterprise: &str| world.earmark.token("custody-write", &[enterprise]);
    let own = world.parties.enterprise.as_str();
    vec![
        step("INVALID_REQUEST", custodian(own), &invalid),
        step("NOT_A_MEMBER", custodian(own), &of(NOBODY)),
        step("NOT_A_MEMBER", custodian(&world.stranger), &of(own)),
        step("ENTERPRISE_NOT_FOUND", custodian(NOBODY), &of(NOBODY)),
        step(
            "CLIENT_NOT_FOUND",
            custodian(&world.unlicensed),
            &of(&world.unlicensed),
        ),
        step("IDEMPOTENCY_KEY_REUSED", custodian(own), &of(own)),
        step(REPLAYED, custodian(own), &world.adjustment(TAKEN)),
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

fn list_partner_balances(world: &World) -> Vec<Step> {
    let enterprise = world.parties.partner_enterprise.as_str();
    let of = |enterprise: &str| ListPartnerBalancesRequest {
        enterprise_id: enterprise.into(),
        ..Default::default()
    };
    let foreign_token = ListPartnerBalancesRequest {
        page_token: "x".into(),
        ..of(NOBODY)
    };
    let invalid = ListPartnerBalancesRequest {
        client_ids: vec!["x".into()],
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
        ..Default::default()
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
    steps.extend(of_a_side(world, of));
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
    steps.extend(of_a_side(world, of));
    // Custody, of which a partner has none.
    steps.push(step(
        "CLIENT_NOT_FOUND",
        world.member(&[partner]),
        &of(partner),
    ));
    steps.push(step(SERVED, world.member(&[client]), &of(client)));
    // A filter of what is not theirs matches nothing.
    let foreign = ListEntriesRequest {
        connection_id: Some(NOBODY.into()),
        ..of(partner)
    };
    steps.push(step(SERVED, world.member(&[partner]), &foreign));
    steps
}
