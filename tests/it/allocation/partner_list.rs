//! ListPartnerAllocations.

use std::cmp::Ordering;
use std::collections::HashSet;

use earmark::proto::allocation::v1::allocation_service_client::AllocationServiceClient;
use earmark::proto::allocation::v1::submit_result::Outcome;
use earmark::proto::allocation::v1::{
    Allocation, AllocationSortField, AllocationStatus, AllocationType, ClearAllocationRequest,
    ListClientAllocationsRequest, ListPartnerAllocationsRequest, ListPartnerAllocationsResponse,
    ReleaseAllocationRequest, SubmitAllocationsRequest, SubmitItem,
};
use earmark::proto::common::v1::SortDirection;
use earmark::proto::network::v1::ConnectionMode;
use futures_util::future::join_all;
use prost_types::Timestamp;
use tonic::Code;

use crate::support::earmark::{Authorized, Earmark, NOBODY, Parties, refusal};
use crate::support::ledger_dump::assert_sound;
use crate::support::random::Random;

const CURRENCIES: [&str; 4] = ["BTC", "ETH", "a.b", "btc"];
const QUANTITIES: [&str; 5] = ["9", "10", "100", "99", "1"];
/// Records of each client.
const EACH: usize = 40;

/// An enterprise with two partners, three clients connected to both, and another enterprise's partner beside them.
struct PartnerFixture {
    earmark: Earmark,
    enterprise: String,
    /// The partners of this enterprise.
    partners: [String; 2],
    /// Each with the first partner's connection.
    clients: Vec<Parties>,
    stranger: Parties,
    partner: AllocationServiceClient<Authorized>,
    /// All that the enterprise may see, by creation.
    all: Vec<Allocation>,
}

impl PartnerFixture {
    async fn make() -> Self {
        let earmark = Earmark::start().await;
        let first = earmark.parties(ConnectionMode::Confirmed).await;
        let enterprise = first.partner_enterprise.clone();
        let second_partner = earmark.partner(&enterprise, "Second").await;
        let strangers = earmark.enterprise("Another venue").await.id;
        let stranger = Parties {
            partner: earmark.partner(&strangers, "Another").await,
            partner_enterprise: strangers,
            ..first.clone()
        };
        let mut clients = vec![first.clone()];
        for name in ["Second client", "Third client"] {
            let side = earmark.enterprise(name).await.id;
            let mut parties = Parties {
                client: earmark.client(&side).await,
                enterprise: side,
                ..first.clone()
            };
            parties.connection = earmark
                .connection(&parties, ConnectionMode::Confirmed)
                .await;
            clients.push(parties);
        }
        let mut random = Random::new(11);
        for parties in &clients {
            let at = |partner: &str| Parties {
                partner: partner.into(),
                ..parties.clone()
            };
            let connections = [
                parties.connection.clone(),
                earmark
                    .connection(&at(&second_partner), ConnectionMode::Instant)
                    .await,
                earmark
                    .connection(&at(&stranger.partner), ConnectionMode::Confirmed)
                    .await,
            ];
            fill(&earmark, parties, &connections, &mut random).await;
        }
        let mut fixture = Self {
            partner: earmark.member(&[&enterprise]).allocation,
            partners: [first.partner, second_partner],
            earmark,
            enterprise,
            clients,
            stranger,
            all: Vec::new(),
        };
        fixture.give_verdicts(&mut random).await;
        fixture.all = fixture.records_of_clients().await;
        fixture
    }

    /// Clears some, releases some, with ids of its own or without.
    async fn give_verdicts(&self, random: &mut Random) {
        let open = self.records_of_clients().await;
        let open = open
            .iter()
            .filter(|record| record.status() == AllocationStatus::Reserved);
        for (index, record) in open.enumerate() {
            let clear = ClearAllocationRequest {
                enterprise_id: self.enterprise.clone(),
                connection_id: record.connection_id.clone(),
                allocation_id: record.id.clone(),
                partner_external_id: (!random.one_in(4)).then(|| format!("p-{}", index % 9)),
                validate_only: false,
            };
            match random.number(0..3) {
                0 => {
                    let cleared = self.partner.clone().clear_allocation(clear).await;
                    cleared.expect("cleared");
                }
                1 => {
                    let release = ReleaseAllocationRequest {
                        enterprise_id: clear.enterprise_id,
                        connection_id: clear.connection_id,
                        allocation_id: clear.allocation_id,
                        partner_external_id: clear.partner_external_id,
                        reason: "why".into(),
                        validate_only: false,
                    };
                    let released = self.partner.clone().release_allocation(release).await;
                    released.expect("released");
                }
                _ => {}
            }
        }
    }

    /// What the clients themselves see of this enterprise's partners, by creation.
    async fn records_of_clients(&self) -> Vec<Allocation> {
        let lists = self.clients.iter().map(async |parties| {
            let request = ListClientAllocationsRequest {
                enterprise_id: parties.enterprise.clone(),
                partner_ids: self.partners.to_vec(),
                page_size: 500,
                ..Default::default()
            };
            let client = self.earmark.member(&[&parties.enterprise]).allocation;
            let listed = client.clone().list_client_allocations(request).await;
            listed.expect("listed").into_inner().allocations
        });
        let mut all: Vec<_> = join_all(lists).await.into_iter().flatten().collect();
        all.sort_by(|a, b| {
            time(a.created_at)
                .cmp(&time(b.created_at))
                .then(a.id.cmp(&b.id))
        });
        all
    }

    /// The list with all its pages.
    fn request(&self) -> ListPartnerAllocationsRequest {
        ListPartnerAllocationsRequest {
            enterprise_id: self.enterprise.clone(),
            page_size: 500,
            ..Default::default()
        }
    }

    async fn list(&self, request: ListPartnerAllocationsRequest) -> ListPartnerAllocationsResponse {
        let listed = self
            .partner
            .clone()
            .list_partner_allocations(request.clone())
            .await;
        listed
            .unwrap_or_else(|status| panic!("{status:?}: {request:?}"))
            .into_inner()
    }

    /// What the whole list must be: the filter and the order again, in memory.
    fn expected(&self, request: &ListPartnerAllocationsRequest) -> Vec<Allocation> {
        let fits = |record: &&Allocation| fits(request, record);
        let mut expected: Vec<_> = self.all.iter().filter(fits).cloned().collect();
        expected.sort_by(|a, b| compare(request, a, b));
        expected
    }

    /// The filter lets through what it should, which is neither nothing nor all.
    async fn assert_filters(&self, request: ListPartnerAllocationsRequest) {
        let expected = self.expected(&request);
        assert!(
            !expected.is_empty() && expected.len() < self.all.len(),
            "{request:?}"
        );
        let listed = self.list(request.clone()).await;
        assert_eq!(ids(&listed.allocations), ids(&expected), "{request:?}");
        assert_eq!(listed.allocations, expected);
    }
}

/// Reserves and moves on a client's connections, in both directions.
async fn fill(earmark: &Earmark, parties: &Parties, connections: &[String], random: &mut Random) {
    for currency in CURRENCIES {
        earmark
            .deposit(&parties.enterprise, currency, "1000000")
            .await;
    }
    let items = (0..EACH).map(|index| {
        let currency = CURRENCIES[random.number(0..CURRENCIES.len())];
        let quantity = QUANTITIES[random.number(0..QUANTITIES.len())];
        let request = parties.allocation(currency, quantity, &format!("a-{index}"));
        SubmitItem {
            r#type: AllocationType::Allocation.into(),
            connection_id: connections[random.number(0..connections.len())].clone(),
            amount: request.amount,
            client_external_id: request.client_external_id,
            ..Default::default()
        }
    });
    let mut items: Vec<_> = items.collect();
    // Back from the connections that have something at once.
    let back = items
        .iter()
        .filter(|item| item.connection_id == connections[1])
        .map(|item| SubmitItem {
            r#type: AllocationType::Deallocation.into(),
            ..item.clone()
        });
    items.extend(back.collect::<Vec<_>>());
    let request = SubmitAllocationsRequest {
        enterprise_id: parties.enterprise.clone(),
        items,
        validate_only: false,
    };
    let client = earmark.member(&[&parties.enterprise]).allocation;
    let answer = client.clone().submit_allocations(request).await;
    let results = answer.expect("submitted").into_inner().results;
    let made = |outcome: &Option<_>| matches!(outcome, Some(Outcome::Allocation(_)));
    assert!(results.iter().all(|result| made(&result.outcome)));
}

fn fits(request: &ListPartnerAllocationsRequest, record: &Allocation) -> bool {
    fn lets_pass<T: PartialEq>(filter: &[T], value: &T) -> bool {
        filter.is_empty() || filter.contains(value)
    }
    let currency = record.amount.clone().expect("set").currency;
    let own_id = record.partner_external_id.as_ref();
    let own_ids = &request.partner_external_ids;
    let created_at = time(record.created_at);
    lets_pass(&request.allocation_ids, &record.id)
        && lets_pass(&request.types, &record.r#type)
        && lets_pass(&request.statuses, &record.status)
        && lets_pass(&request.currencies, &currency)
        && lets_pass(&request.connection_ids, &record.connection_id)
        && lets_pass(&request.client_ids, &record.client_id)
        && lets_pass(&request.partner_ids, &record.partner_id)
        && (own_ids.is_empty() || own_id.is_some_and(|id| own_ids.contains(id)))
        && request
            .created_on_or_after
            .is_none_or(|from| created_at >= time(Some(from)))
        && request
            .created_before
            .is_none_or(|to| created_at <= time(Some(to)))
}

fn compare(request: &ListPartnerAllocationsRequest, a: &Allocation, b: &Allocation) -> Ordering {
    let amount = |record: &Allocation| record.amount.clone().expect("set");
    let quantity = |record| -> i128 { amount(record).quantity.parse().expect("digits") };
    let by_field = match request.sort_field() {
        AllocationSortField::Unspecified => Ordering::Equal,
        AllocationSortField::Id => a.id.cmp(&b.id),
        AllocationSortField::UpdatedAt => time(a.updated_at).cmp(&time(b.updated_at)),
        AllocationSortField::Quantity => quantity(a).cmp(&quantity(b)),
        AllocationSortField::Currency => amount(a).currency.cmp(&amount(b).currency),
    };
    let by_field = match request.sort_direction() {
        SortDirection::Desc => by_field.reverse(),
        SortDirection::Asc | SortDirection::Unspecified => by_field,
    };
    by_field
        .then(time(a.created_at).cmp(&time(b.created_at)))
        .then(a.id.cmp(&b.id))
}

fn time(time: Option<Timestamp>) -> (i64, i32) {
    let time = time.expect("set");
    (time.seconds, time.nanos)
}

fn ids(records: &[Allocation]) -> Vec<&str> {
    records.iter().map(|record| record.id.as_str()).collect()
}

/// The filters that a list can have, each by itself.
fn filters(fixture: &PartnerFixture) -> Vec<ListPartnerAllocationsRequest> {
    let all = &fixture.all;
    let whole = || fixture.request();
    let some = |pick: fn(&Allocation) -> &String| [pick(&all[3]).clone(), pick(&all[17]).clone()];
    vec![
        ListPartnerAllocationsRequest {
            allocation_ids: some(|record| &record.id).into(),
            ..whole()
        },
        ListPartnerAllocationsRequest {
            types: vec![AllocationType::Deallocation.into()],
            ..whole()
        },
        ListPartnerAllocationsRequest {
            statuses: vec![
                AllocationStatus::Reserved.into(),
                AllocationStatus::Released.into(),
            ],
            ..whole()
        },
        ListPartnerAllocationsRequest {
            currencies: vec!["btc".into(), "a.b".into()],
            ..whole()
        },
        ListPartnerAllocationsRequest {
            connection_ids: some(|record| &record.connection_id).into(),
            ..whole()
        },
        ListPartnerAllocationsRequest {
            client_ids: vec![
                fixture.clients[0].client.clone(),
                fixture.clients[2].client.clone(),
            ],
            ..whole()
        },
        ListPartnerAllocationsRequest {
            partner_ids: vec![fixture.partners[1].clone()],
            ..whole()
        },
        ListPartnerAllocationsRequest {
            partner_external_ids: vec!["p-1".into(), "p-4".into(), "nobody's".into()],
            ..whole()
        },
        ListPartnerAllocationsRequest {
            created_on_or_after: all[9].created_at,
            ..whole()
        },
        ListPartnerAllocationsRequest {
            created_before: all[9].created_at,
            ..whole()
        },
    ]
}

#[tokio::test]
async fn a_partner_lists_all_records_on_its_connections_and_no_others() {
    let fixture = PartnerFixture::make().await;
    let listed = fixture.list(fixture.request()).await;
    assert_eq!(listed.allocations, fixture.all);
    assert_eq!(listed.next_page_token, "");
    let distinct = |field: fn(&Allocation) -> String| -> usize {
        fixture.all.iter().map(field).collect::<HashSet<_>>().len()
    };
    assert_eq!(distinct(|record| record.client_id.clone()), 3);
    assert_eq!(distinct(|record| record.partner_id.clone()), 2);
    assert_eq!(distinct(|record| record.status.to_string()), 3);
    assert!(distinct(|record| format!("{:?}", record.partner_external_id)) > 5);

    let strangers = ListPartnerAllocationsRequest {
        enterprise_id: fixture.stranger.partner_enterprise.clone(),
        ..fixture.request()
    };
    let stranger = fixture
        .earmark
        .member(&[&fixture.stranger.partner_enterprise]);
    let theirs = stranger.allocation.clone();
    let theirs = theirs
        .clone()
        .list_partner_allocations(strangers.clone())
        .await;
    let theirs = theirs.expect("listed").into_inner().allocations;
    assert!(theirs.len() > EACH / 2);
    assert!(
        theirs
            .iter()
            .all(|record| record.partner_id == fixture.stranger.partner)
    );
    // Nor by the ids of what is not theirs.
    for request in [
        ListPartnerAllocationsRequest {
            allocation_ids: vec![fixture.all[0].id.clone()],
            ..strangers.clone()
        },
        ListPartnerAllocationsRequest {
            connection_ids: vec![fixture.all[0].connection_id.clone()],
            ..strangers.clone()
        },
        ListPartnerAllocationsRequest {
            partner_ids: fixture.partners.to_vec(),
            ..strangers.clone()
        },
    ] {
        let listed = stranger
            .allocation
            .clone()
            .list_partner_allocations(request)
            .await;
        assert_eq!(listed.expect("listed").into_inner().allocations, []);
    }
    assert_sound(&fixture.earmark).await;
}

#[tokio::test]
async fn filters_select_matching_records_and_combine_with_and() {
    let fixture = PartnerFixture::make().await;
    let all = &fixture.all;
    let whole = || fixture.request();
    for request in filters(&fixture) {
        fixture.assert_filters(request).await;
    }
    let together = ListPartnerAllocationsRequest {
        types: vec![AllocationType::Allocation.into()],
        statuses: vec![1, 2],
        currencies: CURRENCIES[..3].iter().map(ToString::to_string).collect(),
        client_ids: vec![
            fixture.clients[0].client.clone(),
            fixture.clients[1].client.clone(),
        ],
        partner_ids: fixture.partners.to_vec(),
        created_on_or_after: all[2].created_at,
        created_before: all[all.len() - 3].created_at,
        ..whole()
    };
    fixture.assert_filters(together).await;
    // Times are inclusive on both sides.
    let exact = ListPartnerAllocationsRequest {
        created_on_or_after: all[9].created_at,
        created_before: all[9].created_at,
        ..whole()
    };
    fixture.assert_filters(exact).await;
    for nothing in [
        ListPartnerAllocationsRequest {
            allocation_ids: vec![NOBODY.into()],
            ..whole()
        },
        ListPartnerAllocationsRequest {
            client_ids: vec![NOBODY.into()],
            ..whole()
        },
        ListPartnerAllocationsRequest {
            partner_ids: vec![fixture.stranger.partner.clone()],
            ..whole()
        },
        ListPartnerAllocationsRequest {
            partner_external_ids: vec!["nobody's".into()],
            ..whole()
        },
    ] {
        let listed = fixture.list(nothing).await;
        assert_eq!(listed, ListPartnerAllocationsResponse::default());
    }
}

#[tokio::test]
async fn every_sort_order_pages_over_all_clients_by_token_and_by_number() {
    let fixture = PartnerFixture::make().await;
    let whole = fixture.request();
    for field in [
        AllocationSortField::Unspecified,
        AllocationSortField::Id,
        AllocationSortField::UpdatedAt,
        AllocationSortField::Quantity,
        AllocationSortField::Currency,
    ] {
        for direction in [SortDirection::Unspecified, SortDirection::Desc] {
            if field == AllocationSortField::Unspecified && direction == SortDirection::Desc {
                continue;
            }
            for filter in [whole.clone(), filters(&fixture)[2].clone()] {
                let request = ListPartnerAllocationsRequest {
                    sort_field: field.into(),
                    sort_direction: direction.into(),
                    page_size: 7,
                    ..filter
                };
                let expected = fixture.expected(&request);
                assert!(expected.len() > 21, "several pages");
                walk(&fixture, request, &expected).await;
            }
        }
    }
}

async fn walk(
    fixture: &PartnerFixture,
    request: ListPartnerAllocationsRequest,
    expected: &[Allocation],
) {
    let (mut by_token, mut next) = (Vec::new(), request.clone());
    loop {
        let page = fixture.list(next.clone()).await;
        by_token.extend(page.allocations);
        if page.next_page_token.is_empty() {
            break;
        }
        next.page_token = page.next_page_token;
    }
    assert_eq!(ids(&by_token), ids(expected), "by token: {request:?}");
    let (mut by_number, mut next) = (Vec::new(), request.clone());
    while by_number.len() < expected.len() {
        let page = fixture.list(next.clone()).await;
        assert!(!page.allocations.is_empty(), "by number: {next:?}");
        by_number.extend(page.allocations);
        next.page_number = Some(next.page_number.map_or(1, |number| number + 1));
    }
    assert_eq!(ids(&by_number), ids(expected), "by number: {request:?}");
}

#[tokio::test]
async fn a_page_token_is_refused_by_any_other_list() {
    let fixture = PartnerFixture::make().await;
    let request = ListPartnerAllocationsRequest {
        page_size: 5,
        ..fixture.request()
    };
    let page = fixture.list(request.clone()).await;
    let request = ListPartnerAllocationsRequest {
        page_token: page.next_page_token.clone(),
        ..request
    };
    let next = fixture.list(request.clone()).await;
    assert_eq!(next.allocations, fixture.all[5..10]);
    let foreign = [
        ListPartnerAllocationsRequest {
            client_ids: vec![fixture.clients[0].client.clone()],
            ..request.clone()
        },
        ListPartnerAllocationsRequest {
            sort_field: AllocationSortField::Id.into(),
            ..request.clone()
        },
        ListPartnerAllocationsRequest {
            enterprise_id: fixture.stranger.partner_enterprise.clone(),
            ..request.clone()
        },
    ];
    let member = fixture
        .earmark
        .member(&[&fixture.enterprise, &fixture.stranger.partner_enterprise]);
    for request in foreign {
        let answer = member
            .allocation
            .clone()
            .list_partner_allocations(request)
            .await;
        refusal(answer).expect(Code::InvalidArgument, "PAGE_TOKEN_INVALID");
    }
    let clients_list = ListClientAllocationsRequest {
        enterprise_id: fixture.clients[0].enterprise.clone(),
        page_size: 5,
        page_token: page.next_page_token,
        ..Default::default()
    };
    let client = fixture.earmark.member(&[&fixture.clients[0].enterprise]);
    let answer = client
        .allocation
        .clone()
        .list_client_allocations(clients_list)
        .await;
    refusal(answer).expect(Code::InvalidArgument, "PAGE_TOKEN_INVALID");
}

#[tokio::test]
async fn only_an_enterprise_with_a_partner_may_list_as_a_partner() {
    let earmark = Earmark::start().await;
    let parties = earmark.parties(ConnectionMode::Confirmed).await;
    let unlicensed = earmark.new_enterprise("Without licence", false).await.id;
    let everyone = [
        NOBODY,
        &parties.enterprise,
        &unlicensed,
        &parties.partner_enterprise,
    ];
    let member = earmark.member(&everyone).allocation;
    let list = async |enterprise: &str, wrong: bool| {
        let request = ListPartnerAllocationsRequest {
            enterprise_id: enterprise.into(),
            page_size: if wrong { -1 } else { 0 },
            ..Default::default()
        };
        member.clone().list_partner_allocations(request).await
    };
    let stranger = earmark.parties(ConnectionMode::Confirmed).await;
    refusal(list(&stranger.enterprise, true).await).expect_invalid(&["page_size"]);
    for (enterprise, code, reason) in [
        (&*stranger.enterprise, Code::Unauthenticated, "NOT_A_MEMBER"),
        (NOBODY, Code::NotFound, "ENTERPRISE_NOT_FOUND"),
        (&unlicensed, Code::PermissionDenied, "NO_OES_LICENSE"),
        (
            &parties.enterprise,
            Code::PermissionDenied,
            "PARTNER_ACCESS_DENIED",
        ),
    ] {
        let refused = refusal(list(enterprise, false).await).expect(code, reason);
        assert!(!refused.metadata.contains_key("outcome"), "it is a read");
    }
    let empty = list(&parties.partner_enterprise, false).await;
    assert_eq!(
        empty.expect("listed").into_inner(),
        ListPartnerAllocationsResponse::default()
    );
}

#[tokio::test]
async fn a_partners_list_reports_every_invalid_field() {
    let earmark = Earmark::start().await;
    let request = ListPartnerAllocationsRequest {
        enterprise_id: "x".into(),
        allocation_ids: vec![NOBODY.into(), "x".into()],
        types: vec![0],
        statuses: vec![9],
        currencies: vec!["%".into()],
        connection_ids: vec!["x".into()],
        partner_ids: vec!["x".into()],
        client_ids: vec![NOBODY.into(); 501],
        partner_external_ids: vec![String::new()],
        sort_direction: SortDirection::Desc.into(),
        page_number: Some(-1),
        ..Default::default()
    };
    let answer = earmark
        .member(&[])
        .allocation
        .list_partner_allocations(request)
        .await;
    let refused = refusal(answer).expect(Code::InvalidArgument, "INVALID_REQUEST");
    let mut fields = refused.fields();
    fields.sort_unstable();
    assert_eq!(
        fields,
        [
            "allocation_ids[1]",
            "client_ids",
            "connection_ids[0]",
            "currencies[0]",
            "enterprise_id",
            "page_number",
            "partner_external_ids[0]",
            "partner_ids[0]",
            "sort_direction",
            "statuses[0]",
            "types[0]",
        ]
    );
}
