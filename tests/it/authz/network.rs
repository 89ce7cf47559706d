//! NetworkService: its writes are the administrator's, its reads also those of members, and a licence is nowhere needed.

use earmark::proto::network::v1 as pb;
use prost::Message;

use super::{REPLAYED, SERVED, Step, TAKEN, Table, World, add, step};
use crate::support::earmark::NOBODY;

pub(super) fn add_to(table: &mut Table, world: &World) {
    for (method, steps) in [
        ("CreateEnterprise", create_enterprise(world)),
        ("GetEnterprise", get_enterprise(world)),
        ("UpdateEnterprise", update_enterprise(world)),
        ("ListEnterprises", list_enterprises(world)),
        ("CreateClient", create_client(world)),
        ("UpdateClient", update_client(world)),
        ("GetClient", get_client(world)),
        ("CreatePartner", create_partner(world)),
        ("UpdatePartner", update_partner(world)),
        ("GetPartner", get_partner(world)),
        ("ListPartners", list_partners(world)),
        ("CreateConnection", create_connection(world)),
        ("GetConnection", get_connection(world)),
        ("UpdateConnection", update_connection(world)),
        ("ListConnections", list_connections(world)),
    ] {
        add(
            table,
            &format!("/earmark.network.v1.NetworkService/{method}"),
            steps,
        );
    }
}

fn create_enterprise(world: &World) -> Vec<Step> {
    let taken = pb::CreateEnterpriseRequest {
        name: "New".into(),
        request_id: TAKEN.into(),
        ..Default::default()
    };
    let invalid = pb::CreateEnterpriseRequest {
        name: String::new(),
        ..taken.clone()
    };
    let other = pb::CreateEnterpriseRequest {
        name: "Other".into(),
        ..taken.clone()
    };
    vec![
        step(SERVED, world.admin(), &taken),
        step("INVALID_REQUEST", world.admin(), &invalid),
        step("IDEMPOTENCY_KEY_REUSED", world.admin(), &other),
        step(REPLAYED, world.admin(), &taken),
    ]
}

fn update_enterprise(world: &World) -> Vec<Step> {
    let taken = pb::UpdateEnterpriseRequest {
        enterprise_id: world.stranger.clone(),
        name: Some("Renamed".into()),
        request_id: TAKEN.into(),
        ..Default::default()
    };
    let late = pb::UpdateEnterpriseRequest {
        expected_version: Some(99),
        ..taken.clone()
    };
    let other = pb::UpdateEnterpriseRequest {
        name: Some("Other".into()),
        ..late.clone()
    };
    let unknown = pb::UpdateEnterpriseRequest {
        enterprise_id: NOBODY.into(),
        ..other.clone()
    };
    let invalid = pb::UpdateEnterpriseRequest {
        name: Some(String::new()),
        ..unknown.clone()
    };
    let new = pb::UpdateEnterpriseRequest {
        request_id: "new".into(),
        ..late.clone()
    };
    vec![
        step(SERVED, world.admin(), &taken),
        step("INVALID_REQUEST", world.admin(), &invalid),
        step("ENTERPRISE_NOT_FOUND", world.admin(), &unknown),
        step("IDEMPOTENCY_KEY_REUSED", world.admin(), &other),
        step(REPLAYED, world.admin(), &late),
        step("VERSION_MISMATCH", world.admin(), &new),
    ]
}

fn create_client(world: &World) -> Vec<Step> {
    let taken = pb::CreateClientRequest {
        enterprise_id: world.stranger.clone(),
        name: "Client".into(),
        request_id: TAKEN.into(),
        ..Default::default()
    };
    let second = pb::CreateClientRequest {
        enterprise_id: world.parties.enterprise.clone(),
        ..taken.clone()
    };
    let unknown = pb::CreateClientRequest {
        enterprise_id: NOBODY.into(),
        ..taken.clone()
    };
    let invalid = pb::CreateClientRequest {
        name: String::new(),
        ..unknown.clone()
    };
    let new = pb::CreateClientRequest {
        request_id: "new".into(),
        ..second.clone()
    };
    vec![
        step(SERVED, world.admin(), &taken),
        step("INVALID_REQUEST", world.admin(), &invalid),
        step("ENTERPRISE_NOT_FOUND", world.admin(), &unknown),
        step("IDEMPOTENCY_KEY_REUSED", world.admin(), &second),
        step(REPLAYED, world.admin(), &taken),
        step("CLIENT_EXISTS", world.admin(), &new),
    ]
}

fn create_partner(world: &World) -> Vec<Step> {
    let taken = pb::CreatePartnerRequest {
        enterprise_id: world.stranger.clone(),
        name: "Partner".into(),
        institution_identifier: "institution".into(),
        request_id: TAKEN.into(),
        ..Default::default()
    };
    let other = pb::CreatePartnerRequest {
        name: "Other".into(),
        ..taken.clone()
    };
    let unknown = pb::CreatePartnerRequest {
        enterprise_id: NOBODY.into(),
        ..other.clone()
    };
    let invalid = pb::CreatePartnerRequest {
        institution_identifier: String::new(),
        ..unknown.clone()
    };
    let same_identifier = pb::CreatePartnerRequest {
        request_id: "new".into(),
        ..other.clone()
    };
    vec![
        step(SERVED, world.admin(), &taken),
        step("INVALID_REQUEST", world.admin(), &invalid),
        step("ENTERPRISE_NOT_FOUND", world.admin(), &unknown),
        step("IDEMPOTENCY_KEY_REUSED", world.admin(), &other),
        step(REPLAYED, world.admin(), &taken),
        step("PARTNER_EXISTS", world.admin(), &same_identifier),
    ]
}

fn update_client(world: &World) -> Vec<Step> {
    let taken = pb::UpdateClientRequest {
        client_id: world.parties.client.clone(),
        name: Some("Renamed".into()),
        request_id: TAKEN.into(),
        ..Default::default()
    };
    let late = pb::UpdateClientRequest {
        expected_version: Some(99),
        ..taken.clone()
    };
    let reused = pb::UpdateClientRequest {
        client_id: NOBODY.into(),
        ..late.clone()
    };
    let invalid = pb::UpdateClientRequest {
        name: Some(String::new()),
        ..reused.clone()
    };
    let new = |request: &pb::UpdateClientRequest| pb::UpdateClientRequest {
        request_id: "new".into(),
        ..request.clone()
    };
    vec![
        step(SERVED, world.admin(), &taken),
        step("INVALID_REQUEST", world.admin(), &invalid),
        step("IDEMPOTENCY_KEY_REUSED", world.admin(), &reused),
        step(REPLAYED, world.admin(), &late),
        step("CLIENT_NOT_FOUND", world.admin(), &new(&reused)),
        step("VERSION_MISMATCH", world.admin(), &new(&late)),
    ]
}

fn update_partner(world: &World) -> Vec<Step> {
    let taken = pb::UpdatePartnerRequest {
        partner_id: world.parties.partner.clone(),
        name: Some("Renamed".into()),
        request_id: TAKEN.into(),
        ..Default::default()
    };
    let late = pb::UpdatePartnerRequest {
        expected_version: Some(99),
        ..taken.clone()
    };
    let reused = pb::UpdatePartnerRequest {
        partner_id: NOBODY.into(),
        ..late.clone()
    };
    let invalid = pb::UpdatePartnerRequest {
        institution_identifier: Some(String::new()),
        ..reused.clone()
    };
    let new = |request: &pb::UpdatePartnerRequest| pb::UpdatePartnerRequest {
        request_id: "new".into(),
        ..request.clone()
    };
    let exists = pb::UpdatePartnerRequest {
        institution_identifier: Some("institution of Second".into()),
        ..new(&late)
    };
    vec![
        step(SERVED, world.admin(), &taken),
        step("INVALID_REQUEST", world.admin(), &invalid),
        step("IDEMPOTENCY_KEY_REUSED", world.admin(), &reused),
        step(REPLAYED, world.admin(), &late),
        step("PARTNER_NOT_FOUND", world.admin(), &new(&reused)),
        step("PARTNER_EXISTS", world.admin(), &exists),
        step("VERSION_MISMATCH", world.admin(), &new(&late)),
    ]
}

fn create_connection(world: &World) -> Vec<Step> {
    let taken = pb::CreateConnectionRequest {
        client_id: world.parties.client.clone(),
        partner_id: world.parties.partner.clone(),
        name: "Connection".into(),
        partners_connection_id: "theirs".into(),
        mode: pb::ConnectionMode::Instant.into(),
        request_id: TAKEN.into(),
        ..Default::default()
    };
    let reused = pb::CreateConnectionRequest {
        client_id: NOBODY.into(),
        partner_id: NOBODY.into(),
        ..taken.clone()
    };
    let invalid = pb::CreateConnectionRequest {
        mode: 0,
        ..reused.clone()
    };
    let new = |request: &pb::CreateConnectionRequest| pb::CreateConnectionRequest {
        request_id: "new".into(),
        ..request.clone()
    };
    let without_partner = pb::CreateConnectionRequest {
        client_id: world.parties.client.clone(),
        ..new(&reused)
    };
    vec![
        step(SERVED, world.admin(), &taken),
        step("INVALID_REQUEST", world.admin(), &invalid),
        step("IDEMPOTENCY_KEY_REUSED", world.admin(), &reused),
        step(REPLAYED, world.admin(), &taken),
        step("CLIENT_NOT_FOUND", world.admin(), &new(&reused)),
        step("PARTNER_NOT_FOUND", world.admin(), &without_partner),
        step("CONNECTION_EXISTS", world.admin(), &new(&taken)),
    ]
}

fn update_connection(world: &World) -> Vec<Step> {
    let taken = pb::UpdateConnectionRequest {
        connection_id: world.parties.connection.clone(),
        name: Some("Renamed".into()),
        request_id: TAKEN.into(),
        ..Default::default()
    };
    let late = pb::UpdateConnectionRequest {
        expected_version: Some(99),
        ..taken.clone()
    };
    let reused = pb::UpdateConnectionRequest {
        connection_id: NOBODY.into(),
        ..late.clone()
    };
    let invalid = pb::UpdateConnectionRequest {
        allocations_enabled: Some(false),
        ..reused.clone()
    };
    let unknown = pb::UpdateConnectionRequest {
        request_id: "new".into(),
        ..reused.clone()
    };
    let new = pb::UpdateConnectionRequest {
        request_id: "new".into(),
        ..late.clone()
    };
    // Taken by the row of `CreateConnection`, which comes first.
    let exists = pb::UpdateConnectionRequest {
        partners_connection_id: Some("theirs".into()),
        ..new.clone()
    };
    vec![
        step(SERVED, world.admin(), &taken),
        step("INVALID_REQUEST", world.admin(), &invalid),
        step("IDEMPOTENCY_KEY_REUSED", world.admin(), &reused),
        step(REPLAYED, world.admin(), &late),
        step("CONNECTION_NOT_FOUND", world.admin(), &unknown),
        step("CONNECTION_EXISTS", world.admin(), &exists),
        step("VERSION_MISMATCH", world.admin(), &new),
    ]
}

fn get_enterprise(world: &World) -> Vec<Step> {
    let of = |id: &str| pb::GetEnterpriseRequest {
        enterprise_id: id.into(),
    };
    let mut steps = vec![step("INVALID_REQUEST", world.nobody(), &of("x"))];
    steps.extend(of_an_enterprise(world, of));
    steps
}

/// What stands between good arguments and what an enterprise's members and the administrator may read.
fn of_an_enterprise<M: Message>(world: &World, of: impl Fn(&str) -> M) -> Vec<Step> {
    let unlicensed = world.unlicensed.as_str();
    vec![
        step("NOT_A_MEMBER", world.nobody(), &of(NOBODY)),
        step(
            "NOT_A_MEMBER",
            world.member(&[&world.stranger]),
            &of(NOBODY),
        ),
        step(
            "NOT_A_MEMBER",
            world.member(&[&world.stranger]),
            &of(unlicensed),
        ),
        step("ENTERPRISE_NOT_FOUND", world.member(&[NOBODY]), &of(NOBODY)),
        step("ENTERPRISE_NOT_FOUND", world.admin(), &of(NOBODY)),
        step(SERVED, world.member(&[unlicensed]), &of(unlicensed)),
        step(SERVED, world.admin(), &of(unlicensed)),
    ]
}

/// What stands between a good id and a record that these enterprises have a side in.
fn of_a_record<M: Message>(
    world: &World,
    not_found: &'static str,
    seen_by: &[&str],
    id: &str,
    of: impl Fn(&str) -> M,
) -> Vec<Step> {
    let mut steps = vec![
        step("INVALID_REQUEST", world.nobody(), &of("x")),
        step("NOT_A_MEMBER", world.nobody(), &of(NOBODY)),
        step("NOT_A_MEMBER", world.nobody(), &of(id)),
        step(not_found, world.member(&[&world.stranger]), &of(NOBODY)),
        step(not_found, world.member(&[&world.stranger]), &of(id)),
        step(not_found, world.admin(), &of(NOBODY)),
        step(SERVED, world.admin(), &of(id)),
    ];
    for enterprise in seen_by {
        steps.push(step(SERVED, world.member(&[enterprise]), &of(id)));
    }
    steps
}

fn get_client(world: &World) -> Vec<Step> {
    let parties = &world.parties;
    let of = |id: &str| pb::GetClientRequest {
        client_id: id.into(),
    };
    let seen_by = [parties.enterprise.as_str()];
    of_a_record(world, "CLIENT_NOT_FOUND", &seen_by, &parties.client, of)
}

fn get_partner(world: &World) -> Vec<Step> {
    let parties = &world.parties;
    let of = |id: &str| pb::GetPartnerRequest {
        partner_id: id.into(),
    };
    let seen_by = [&*parties.enterprise, &*parties.partner_enterprise];
    of_a_record(world, "PARTNER_NOT_FOUND", &seen_by, &parties.partner, of)
}

fn get_connection(world: &World) -> Vec<Step> {
    let parties = &world.parties;
    let of = |id: &str| pb::GetConnectionRequest {
        connection_id: id.into(),
    };
    let seen_by = [&*parties.enterprise, &*parties.partner_enterprise];
    let id = &parties.connection;
    of_a_record(world, "CONNECTION_NOT_FOUND", &seen_by, id, of)
}

fn list_enterprises(world: &World) -> Vec<Step> {
    let invalid = pb::ListEnterprisesRequest {
        page_size: -1,
        page_token: "x".into(),
    };
    let foreign_token = pb::ListEnterprisesRequest {
        page_token: "x".into(),
        ..Default::default()
    };
    let all = pb::ListEnterprisesRequest::default();
    vec![
        step("INVALID_REQUEST", world.nobody(), &invalid),
        step("PAGE_TOKEN_INVALID", world.nobody(), &foreign_token),
        step("NOT_A_MEMBER", world.nobody(), &all),
        step(SERVED, world.member(&[NOBODY]), &all),
        step(SERVED, world.admin(), &all),
    ]
}

fn list_partners(world: &World) -> Vec<Step> {
    let of = |id: &str| pb::ListPartnersRequest {
        enterprise_id: id.into(),
        ..Default::default()
    };
    let foreign_token = pb::ListPartnersRequest {
        page_token: "x".into(),
        ..of(NOBODY)
    };
    let invalid = pb::ListPartnersRequest {
        page_size: -1,
        ..foreign_token.clone()
    };
    let mut steps = vec![
        step("INVALID_REQUEST", world.nobody(), &invalid),
        step("PAGE_TOKEN_INVALID", world.nobody(), &foreign_token),
    ];
    steps.extend(of_an_enterprise(world, of));
    steps
}

fn list_connections(world: &World) -> Vec<Step> {
    let of = |id: &str| pb::ListConnectionsRequest {
        enterprise_id: id.into(),
        ..Default::default()
    };
    let foreign_token = pb::ListConnectionsRequest {
        page_token: "x".into(),
        ..of(NOBODY)
    };
    let invalid = pb::ListConnectionsRequest {
        client_ids: vec!["x".into()],
        ..foreign_token.clone()
    };
    let mut steps = vec![
        step("INVALID_REQUEST", world.nobody(), &invalid),
        step("PAGE_TOKEN_INVALID", world.nobody(), &foreign_token),
    ];
    steps.extend(of_an_enterprise(world, of));
    steps
}
