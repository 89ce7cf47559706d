//! Page tokens: equal filters have equal ones, and forged ones are refused by every list.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use earmark::proto::balance::v1::ListPartnerBalancesRequest;
use earmark::proto::bucket::v1::ListBalanceActionsRequest;
use earmark::proto::cas::v1::{Criterion, SearchAllocationsRequest};
use earmark::proto::network::v1::ListConnectionsRequest;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tonic::Code;

use super::SEED;
use super::lists::{AskedPage, PagedList};
use super::stock::StockedServer;
use crate::support::earmark::{NOBODY, refusal};

/// Bytes before the cursor: the version and the binding, then the checksum.
const BOUND_BYTES: usize = 1 + 8;
const HEADER_BYTES: usize = BOUND_BYTES + 4;

/// The cursor of a token, as JSON.
fn cursor_of(token: &str) -> Vec<u8> {
    let bytes = URL_SAFE_NO_PAD.decode(token).expect("base64");
    bytes[HEADER_BYTES..].into()
}

/// A token that is right in everything but its cursor: the checksum is no secret.
fn forged(token: &str, cursor: &[u8]) -> String {
    let bytes = URL_SAFE_NO_PAD.decode(token).expect("base64");
    let bound = &bytes[..BOUND_BYTES];
    let checksum = Sha256::new()
        .chain_update(bound)
        .chain_update(cursor)
        .finalize();
    URL_SAFE_NO_PAD.encode([bound, &checksum[..4], cursor].concat())
}

/// The cursor with each of its values in turn replaced by what no record has, or by what makes statements fail.
fn hostile(cursor: &Value) -> Vec<Value> {
    let bad = [
        json!("-262143-01-01T00:00:00Z"),
        json!("+262142-12-31T23:59:59.999999999Z"),
        json!("0000-12-31T23:59:59Z"),
        json!("10000-01-01T00:00:00Z"),
        json!("2016-12-31T23:59:60Z"),
        json!("a\u{0}b"),
        json!(""),
        json!("x".repeat(60_000)),
        json!("99999999999999999999999999999999999999"),
        json!("-0.00000000000000000000000000000000001"),
        json!("NaN"),
        json!(i64::MIN),
        json!(i64::MAX),
        json!(1e300),
        json!(NOBODY),
        json!("ffffffff-ffff-ffff-ffff-ffffffffffff"),
        json!(null),
        json!(true),
        json!([[]]),
        json!({"Quantity": "NaN"}),
    ];
    match cursor {
        Value::Object(members) => {
            let replaced = members.iter().flat_map(|(name, value)| {
                hostile(value).into_iter().map(|value| {
                    let mut cursor = members.clone();
                    cursor.insert(name.clone(), value);
                    Value::Object(cursor)
                })
            });
            replaced.chain(bad.clone()).collect()
        }
        _ => bad.into(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forged_cursor_is_refused_or_is_a_position_but_never_fails() {
    let server = StockedServer::make(SEED).await;
    for list in PagedList::ALL {
        // The values of a search's cursor have tests of their own, with its sort fields.
        if *list == PagedList::Searches {
            continue;
        }
        let page = server
            .page(*list, 1, &AskedPage::First)
            .await
            .expect("a page");
        let good = cursor_of(&page.token);
        assert_eq!(forged(&page.token, &good), page.token, "{list:?}");
        let members: Value = serde_json::from_slice(&good).expect("JSON");
        let mut cursors: Vec<Vec<u8>> = hostile(&members)
            .iter()
            .map(|cursor| cursor.to_string().into_bytes())
            .collect();
        cursors.extend([
            b"".to_vec(),
            b"{".to_vec(),
            b"\xff".to_vec(),
            good[1..].to_vec(),
        ]);
        let mut refused = 0;
        for cursor in cursors {
            let asked = AskedPage::After(forged(&page.token, &cursor));
            if let Err(status) = server.page(*list, 1, &asked).await {
                let cursor = String::from_utf8_lossy(&cursor);
                let cursor: String = cursor.chars().take(100).collect();
                assert_eq!(
                    status.code(),
                    Code::InvalidArgument,
                    "{list:?} {cursor}: {status:?}"
                );
                refusal(Err::<(), _>(status)).expect(Code::InvalidArgument, "PAGE_TOKEN_INVALID");
                refused += 1;
            }
        }
        assert!(refused >= 10, "{list:?}: {refused}");
    }
}

fn texts(values: &[&str]) -> Vec<String> {
    values.iter().map(|value| (*value).into()).collect()
}

/// The tokens of first pages of one record, by their filters.
impl StockedServer {
    async fn token_of_balances(&self, connections: &[&str], currencies: &[&str]) -> String {
        let request = ListPartnerBalancesRequest {
            enterprise_id: self.parties.partner_enterprise.clone(),
            partner_ids: texts(&[&self.parties.partner]),
            connection_ids: texts(connections),
            currencies: texts(currencies),
            page_size: 1,
            ..Default::default()
        };
        let mut client = self.member.balance.clone();
        let listed = client.list_partner_balances(request).await;
        listed.expect("listed").into_inner().next_page_token
    }

    async fn token_of_connections(&self, connections: &[&str], clients: &[&str]) -> String {
        let request = ListConnectionsRequest {
            enterprise_id: self.parties.enterprise.clone(),
            connection_ids: texts(connections),
            client_ids: texts(clients),
            page_size: 1,
            ..Default::default()
        };
        let listed = self.admin.network.clone().list_connections(request).await;
        listed.expect("listed").into_inner().next_page_token
    }

    async fn token_of_actions(&self, types: &[i32], buckets: &[&str]) -> String {
        let request = ListBalanceActionsRequest {
            types: types.into(),
            bucket_ids: texts(buckets),
            page_size: 1,
            ..Default::default()
        };
        let listed = self.bucket.clone().list_balance_actions(request).await;
        listed.expect("listed").into_inner().next_page_token
    }

    async fn token_of_searches(&self, criteria: &[(&str, &str, &str)]) -> String {
        let criterion = |(field, operator, value): &(&str, &str, &str)| Criterion {
            field: (*field).into(),
            operator: (*operator).into(),
            value: (*value).into(),
            ..Default::default()
        };
        let request = SearchAllocationsRequest {
            criteria: criteria.iter().map(criterion).collect(),
            page_size: 1,
            ..Default::default()
        };
        let listed = self.cas.clone().search_allocations(request).await;
        listed.expect("found").into_inner().next_page_token
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_of_equal_filters_are_equal() {
    let server = StockedServer::make(SEED).await;
    let first = server.parties.connection.as_str();
    let all = server.expected(PagedList::Connections).await;
    let other = all.iter().find(|id| *id != first).expect("several");

    let one = server
        .token_of_balances(&[first, NOBODY, other], &["BTC", "ETH"])
        .await;
    assert_ne!(one, "");
    let same = server
        .token_of_balances(&[other, NOBODY, first, first], &["ETH", "BTC", "ETH"])
        .await;
    assert_eq!(same, one);
    let same = server
        .token_of_balances(&[&first.to_uppercase(), other, NOBODY], &["ETH", "BTC"])
        .await;
    assert_eq!(same, one);
    assert_ne!(
        server
            .token_of_balances(&[first, other], &["BTC", "ETH"])
            .await,
        one
    );

    let client = server.parties.client.as_str();
    let one = server
        .token_of_connections(&[first, other], &[client, NOBODY])
        .await;
    assert_ne!(one, "");
    let same = server
        .token_of_connections(&[other, first, other], &[NOBODY, client, client])
        .await;
    assert_eq!(same, one);

    let one = server.token_of_actions(&[1, 2], &["a", "b"]).await;
    assert_ne!(one, "");
    assert_eq!(
        server.token_of_actions(&[2, 1, 2], &["b", "a", "a"]).await,
        one
    );

    let (deal, company) = (("dealId", "!=", "D"), ("companyId", "!=", "1"));
    let one = server.token_of_searches(&[deal, company]).await;
    assert_ne!(one, "");
    assert_eq!(
        server.token_of_searches(&[company, deal, company]).await,
        one
    );
    let among = |values| ("version", "in", values);
    let one = server.token_of_searches(&[among("1,2,3")]).await;
    assert_ne!(one, "");
    assert_eq!(server.token_of_searches(&[among("3,1,2,3")]).await, one);
    assert_ne!(server.token_of_searches(&[among("1,2")]).await, one);
}
