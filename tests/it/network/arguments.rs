//! Invalid arguments: every field is reported, before anything is looked up.

use earmark::proto::network::v1 as pb;

use super::NOBODY;
use crate::support::earmark::{Earmark, refusal};
use crate::support::service::{Services, detail, fields, member};

#[tokio::test]
async fn every_write_reports_every_invalid_field() {
    let services = Services::start().await;
    let network = services.admin();
    let long = "é".repeat(201);

    let request = pb::CreateEnterpriseRequest {
        request_id: "x".repeat(129),
        ..Default::default()
    };
    let refused = network.create_enterprise(request).await;
    assert_eq!(fields(refused), ["name", "request_id"]);

    let request = pb::UpdateEnterpriseRequest {
        enterprise_id: "no uuid".into(),
        name: Some(String::new()),
        request_id: "a\0b".into(),
        ..Default::default()
    };
    let refused = network.update_enterprise(request).await;
    assert_eq!(fields(refused), ["enterprise_id", "name", "request_id"]);

    let request = pb::CreateClientRequest {
        name: long.clone(),
        ..Default::default()
    };
    let refused = network.create_client(request).await;
    assert_eq!(fields(refused), ["enterprise_id", "name"]);

    let request = pb::CreatePartnerRequest {
        enterprise_id: format!("{{{NOBODY}}}"),
        institution_identifier: "x".repeat(129),
        ..Default::default()
    };
    let refused = network.create_partner(request).await;
    assert_eq!(
        fields(refused),
        ["enterprise_id", "name", "institution_identifier"]
    );

    let request = pb::CreateConnectionRequest {
        client_id: NOBODY.replace('-', ""),
        partners_connection_id: "x".repeat(129),
        mode: 3,
        ..Default::default()
    };
    let refused = network.create_connection(request).await;
    assert_eq!(
        fields(refused),
        [
            "client_id",
            "partner_id",
            "name",
            "partners_connection_id",
            "mode"
        ]
    );

    let request = pb::UpdateConnectionRequest {
        name: Some("a\0".into()),
        deallocations_enabled: Some(false),
        ..Default::default()
    };
    let refused = network.update_connection(request).await;
    assert_eq!(
        fields(refused),
        ["connection_id", "name", "disabled_reason"]
    );
    assert_eq!(services.count("SELECT count(*) FROM owner").await, 0);
}

#[tokio::test]
async fn every_read_reports_every_invalid_field() {
    let services = Services::start().await;
    let network = services.network(member(&[]));
    let refused = network.get_enterprise(Default::default()).await;
    assert_eq!(fields(refused), ["enterprise_id"]);
    let refused = network.get_client(Default::default()).await;
    assert_eq!(fields(refused), ["client_id"]);
    let refused = network.get_partner(Default::default()).await;
    assert_eq!(fields(refused), ["partner_id"]);
    let refused = network.get_connection(Default::default()).await;
    assert_eq!(fields(refused), ["connection_id"]);

    let request = pb::ListEnterprisesRequest {
        page_size: -1,
        page_token: "?".into(),
    };
    let refused = network.list_enterprises(request).await;
    assert_eq!(fields(refused), ["page_size"]);
    let request = pb::ListEnterprisesRequest {
        page_token: "?".into(),
        ..Default::default()
    };
    let refused = network.list_enterprises(request).await;
    assert_eq!(fields(refused), ["page_token"]);

    let bad = ["x".to_owned()];
    let request = pb::ListConnectionsRequest {
        enterprise_id: String::new(),
        connection_ids: bad.to_vec(),
        client_ids: bad.to_vec(),
        partner_ids: vec![NOBODY.into(), String::new()],
        partners_connection_ids: vec!["x".repeat(129)],
        names: vec![String::new()],
        active: None,
        page_size: i32::MIN,
        page_token: String::new(),
    };
    let expected = [
        "enterprise_id",
        "connection_ids[0]",
        "client_ids[0]",
        "partner_ids[1]",
        "partners_connection_ids[0]",
        "names[0]",
        "page_size",
    ];
    let refused = network.list_connections(request.clone()).await;
    assert_eq!(fields(refused), expected);
    let request = pb::ListPartnersRequest {
        enterprise_id: request.enterprise_id,
        connection_ids: request.connection_ids,
        client_ids: request.client_ids,
        partner_ids: request.partner_ids,
        partners_connection_ids: request.partners_connection_ids,
        names: request.names,
        active: request.active,
        page_size: request.page_size,
        page_token: request.page_token,
    };
    let refused = network.list_partners(request).await;
    assert_eq!(fields(refused), expected);
}

#[tokio::test]
async fn a_filter_takes_at_most_500_values() {
    let services = Services::start().await;
    let network = services.admin();
    let request = pb::ListConnectionsRequest {
        enterprise_id: NOBODY.into(),
        connection_ids: vec![NOBODY.into(); 10_000],
        names: vec!["n".into(); 500],
        ..Default::default()
    };
    let refused = network.list_connections(request).await;
    assert_eq!(fields(refused), ["connection_ids"]);
}

#[tokio::test]
async fn errors_of_writes_have_an_outcome_and_errors_of_reads_do_not() {
    let services = Services::start().await;
    let network = services.admin();
    let write = network.create_enterprise(Default::default()).await;
    let write = write.expect_err("no name");
    assert_eq!(detail(&write, "outcome").as_deref(), Some("not_applied"));
    let read = network.get_enterprise(Default::default()).await;
    assert_eq!(detail(&read.expect_err("no id"), "outcome"), None);
}

#[tokio::test]
async fn arguments_are_checked_before_membership() {
    let services = Services::start().await;
    let network = services.network(member(&[]));
    let request = pb::ListPartnersRequest {
        enterprise_id: NOBODY.into(),
        page_size: -1,
        ..Default::default()
    };
    let refused = network.list_partners(request).await;
    assert_eq!(fields(refused), ["page_size"]);
}

#[tokio::test]
async fn an_identifier_that_does_not_show_is_refused() {
    let earmark = Earmark::start().await;
    for (identifier, part) in [
        (" ", "begin or end"),
        ("HARBOUR-1 ", "begin or end"),
        ("HARBOUR\n1", "invisible"),
        ("\u{200b}", "invisible"),
    ] {
        let request = pb::CreatePartnerRequest {
            enterprise_id: NOBODY.into(),
            name: "Harbour".into(),
            institution_identifier: identifier.into(),
            ..Default::default()
        };
        let refused = earmark.admin().network.create_partner(request).await;
        let refused = refusal(refused).expect_invalid(&["institution_identifier"]);
        assert!(refused.message.contains(part), "{refused:?}");
    }
}
