//! The pages of the two lists with filters.

use earmark::db::pool::{self, PoolSettings};
use earmark::proto::network::v1 as pb;

use super::{NOBODY, client, connection, enterprise, joining, network, partner};
use crate::support::service::{Services, member, reason};

diesel::table! {
    #[sql_name = "pg_prepared_statements"]
    prepared_statements (name) {
        name -> Text,
    }
}

#[tokio::test]
async fn pages_contain_each_connection_once_while_others_are_created() {
    let world = network().await;
    let admin = world.services.admin();
    // The buyer is a venue too: its connections come from both sides in turn.
    let desk = partner(&admin, &world.buyer.id, "desk").await;
    let rival = enterprise(&admin, "rival").await;
    let rival = client(&admin, &rival.id).await;
    let mut created = vec![world.connection.id.clone()];
    for index in 0..8 {
        let request = match index % 3 {
            0 => joining(&rival.id, &desk.id),
            _ => joining(&world.client.id, &world.partner.id),
        };
        created.push(connection(&admin, request).await.id);
    }
    let (mut listed, mut token) = (Vec::new(), String::new());
    loop {
        let request = pb::ListConnectionsRequest {
            enterprise_id: world.buyer.id.clone(),
            names: vec!["connection".into()],
            page_size: 2,
            page_token: token.clone(),
            ..Default::default()
        };
        let page = admin.list_connections(request).await;
        let page = page.expect("listed").into_inner();
        listed.extend(page.connections.into_iter().map(|c| c.id));
        if token.is_empty() {
            let late = joining(&world.client.id, &world.partner.id);
            created.push(connection(&admin, late).await.id);
        }
        token = page.next_page_token;
        if token.is_empty() {
            break;
        }
    }
    assert_eq!(listed, created);

    let (mut listed, mut token) = (Vec::new(), String::new());
    loop {
        let request = pb::ListPartnersRequest {
            enterprise_id: world.buyer.id.clone(),
            page_size: 1,
            page_token: token,
            ..Default::default()
        };
        let page = admin.list_partners(request).await;
        let page = page.expect("listed").into_inner();
        listed.extend(page.partners.into_iter().map(|p| p.id));
        token = page.next_page_token;
        if token.is_empty() {
            break;
        }
    }
    assert_eq!(listed, [world.partner.id, desk.id]);
}

#[tokio::test]
async fn a_page_token_is_refused_with_another_filter_or_list() {
    let world = network().await;
    let admin = world.services.admin();
    connection(&admin, joining(&world.client.id, &world.partner.id)).await;
    let request = |page_token: &str| pb::ListConnectionsRequest {
        enterprise_id: world.buyer.id.clone(),
        page_size: 1,
        page_token: page_token.into(),
        ..Default::default()
    };
    let first = admin.list_connections(request("")).await;
    let token = first.expect("listed").into_inner().next_page_token;

    // Another page size, and another subject, are no other list.
    let other_size = pb::ListConnectionsRequest {
        page_size: 7,
        ..request(&token)
    };
    let colleague = world.services.network(member(&[&world.buyer.id]));
    let second = colleague.list_connections(other_size).await;
    assert_eq!(second.expect("listed").into_inner().connections.len(), 1);

    let other_enterprise = pb::ListConnectionsRequest {
        enterprise_id: world.venue.id.clone(),
        ..request(&token)
    };
    let other_filter = pb::ListConnectionsRequest {
        active: Some(true),
        ..request(&token)
    };
    for request in [
        other_enterprise,
        other_filter,
        request(&format!("{token}A")),
        request(&token[1..]),
    ] {
        let refused = admin.list_connections(request).await;
        assert_eq!(reason(refused), "PAGE_TOKEN_INVALID");
    }
    let other_rpc = pb::ListPartnersRequest {
        enterprise_id: world.buyer.id.clone(),
        page_token: token,
        ..Default::default()
    };
    let refused = admin.list_partners(other_rpc).await;
    assert_eq!(reason(refused), "PAGE_TOKEN_INVALID");
}

#[tokio::test]
async fn a_page_ends_before_4_mib_and_page_sizes_are_reduced_to_500() {
    let world = network().await;
    let sql = "UPDATE connection SET allocations_enabled = false, deallocations_enabled = false,
                 allocations_disabled_reason = repeat('🦀', 1000), deallocations_disabled_reason = repeat('🦀', 1000);
               INSERT INTO connection
               SELECT gen_random_uuid(), client_id, partner_id, client_enterprise_id, partner_enterprise_id,
                      repeat('🦀', 200), n || repeat('🦀', 120), mode, false, false,
                      allocations_disabled_reason, deallocations_disabled_reason, 1, created_at, updated_at
                 FROM connection, generate_series(1, 599) n";
    world
        .services
        .sql()
        .await
        .batch_execute(sql)
        .await
        .expect(sql);
    let admin = world.services.admin();
    let (mut seen, mut token, mut largest) = (0, String::new(), 0);
    loop {
        let request = pb::ListConnectionsRequest {
            enterprise_id: world.buyer.id.clone(),
            page_size: 10_000,
            page_token: token,
            ..Default::default()
        };
        let page = admin.list_connections(request).await;
        let page = page.expect("listed").into_inner();
        assert!(page.connections.len() <= 500);
        largest = largest.max(prost::Message::encoded_len(&page));
        seen += page.connections.len();
        token = page.next_page_token;
        if token.is_empty() {
            break;
        }
    }
    assert_eq!(seen, 600);
    let limit = 4 * 1024 * 1024;
    assert!((limit - 64 * 1024..=limit).contains(&largest), "{largest}");
}

#[tokio::test]
async fn filter_lengths_and_positions_prepare_no_further_statements() {
    use diesel::QueryDsl;
    use diesel_async::RunQueryDsl;

    let settings = PoolSettings {
        max_size: 1,
        ..PoolSettings::default()
    };
    let services = Services::with_pool(&settings).await;
    let admin = services.admin();
    let owner = enterprise(&admin, "e").await;
    let list = async |values: usize, page_size: i32| {
        let request = pb::ListConnectionsRequest {
            enterprise_id: owner.id.clone(),
            connection_ids: vec![NOBODY.into(); values],
            names: vec!["n".into(); values],
            page_size,
            ..Default::default()
        };
        admin.list_connections(request).await.expect("listed");
        let request = pb::ListPartnersRequest {
            enterprise_id: owner.id.clone(),
            client_ids: vec![NOBODY.into(); values],
            page_size,
            ..Default::default()
        };
        admin.list_partners(request).await.expect("listed");
    };
    let prepared = async || {
        let mut connection = pool::checkout(&services.pool).await.expect("free");
        let count = prepared_statements::table.count();
        count
            .get_result::<i64>(&mut connection)
            .await
            .expect("counted")
    };
    list(1, 1).await;
    let before = prepared().await;
    for values in 1..30 {
        list(values, i32::try_from(values).expect("small")).await;
    }
    assert_eq!(prepared().await, before);
}
