//! Prepared statements stay on their connection, so their number must be bounded.

use std::sync::Arc;

use diesel::QueryDsl;
use diesel_async::RunQueryDsl;
use earmark::auth::scope;
use earmark::balance::BalanceService;
use earmark::db::pool::{self, Pool};
use earmark::db::pools::Pools;
use earmark::ledger::claim::Claim;
use earmark::proto::balance::v1::balance_service_server::BalanceService as _;
use earmark::proto::balance::v1::get_balance_request::Moment;
use earmark::proto::balance::v1::{
    GetBalanceRequest, ListEntriesRequest, ListPartnerBalancesRequest,
};
use earmark::proto::common::v1::SortDirection;
use earmark::rpc::call::Call;
use earmark::types::principal::Principal;
use prost_types::Timestamp;
use tonic::Request;

use super::world::{CURRENCIES, World, get, journal};
use crate::support::random::Random;
use crate::support::service::{member, on_one_connection};

diesel::table! {
    #[sql_name = "pg_prepared_statements"]
    prepared_statements (name) {
        name -> Text,
    }
}

/// How many statements the pool's connection has prepared.
async fn count_of_prepared(pool: &Pool) -> i64 {
    let mut connection = pool::checkout(pool).await.expect("free");
    let count = prepared_statements::table.count();
    let count = count.get_result::<i64>(&mut connection).await;
    count.expect("counted")
}

fn random_moment(random: &mut Random) -> Option<Moment> {
    match random.number(0..3) {
        0 => None,
        1 => Some(Moment::AsOf(Timestamp {
            seconds: i64::try_from(random.number(0..2_000_000_000)).expect("small"),
            nanos: 0,
        })),
        _ => Some(Moment::AsOfVersion(0)),
    }
}

#[tokio::test]
async fn the_number_of_prepared_statements_is_bounded() {
    let mut world = World::make().await;
    for client in [world.buyer.clone(), world.rival.clone()] {
        world.adjust(&client, "BTC", "300").await;
    }
    let (connector, pool, writer) = on_one_connection(&world.earmark.url);
    let service = BalanceService::new(Pools::sharing(&pool), writer, connector);
    let caller = Arc::new(member(&[&world.buyer, &world.rival, &world.venue]));
    let mut random = Random::new(6);
    let mut prepared = Vec::new();
    for round in 0..600 {
        let (views, connections) = (world.views(), &world.connections);
        let (enterprise, connection) = &views[random.number(0..views.len())];
        let currency = CURRENCIES[random.number(0..CURRENCIES.len())];
        let ids = |random: &mut Random| -> Vec<String> {
            let many = random.number(0..connections.len() + 1);
            connections[..many].iter().map(|c| c.id.clone()).collect()
        };
        let ask = Asking {
            service: &service,
            caller: Arc::clone(&caller),
        };
        match random.number(0..3) {
            0 => {
                let request = GetBalanceRequest {
                    moment: random_moment(&mut random),
                    ..get(enterprise, connection.as_deref(), currency)
                };
                // A time in the future is refused after the statement was prepared.
                ask.get(request).await;
            }
            1 => {
                ask.partners(ListPartnerBalancesRequest {
                    enterprise_id: world.venue.clone(),
                    connection_ids: ids(&mut random),
                    partner_ids: ids(&mut random),
                    client_ids: ids(&mut random),
                    partners_connection_ids: ids(&mut random),
                    currencies: CURRENCIES[..random.number(0..3)]
                        .iter()
                        .map(|&currency| currency.into())
                        .collect(),
                    page_size: i32::try_from(random.number(0..600)).expect("small"),
                    ..Default::default()
                })
                .await;
            }
            _ => {
                ask.entries(ListEntriesRequest {
                    connection_id: connection.clone().filter(|_| random.one_in(2)),
                    currency: [currency, ""][random.number(0..2)].into(),
                    time_on_or_after: random.one_in(2).then(Timestamp::default),
                    causes: (1..=i32::try_from(random.number(1..8)).expect("small")).collect(),
                    cause_ids: ids(&mut random),
                    sort_direction: [SortDirection::Asc, SortDirection::Desc][random.number(0..2)]
                        .into(),
                    page_size: i32::try_from(random.number(0..600)).expect("small"),
                    ..journal(enterprise)
                })
                .await;
            }
        }
        if round % 200 == 199 {
            prepared.push(count_of_prepared(&pool).await);
        }
    }
    let [.., before, after] = prepared.as_slice() else {
        panic!("counted thrice, not {prepared:?}");
    };
    assert_eq!(before, after, "it comes to an end: {prepared:?}");
    assert!(*after < 50, "{prepared:?}");
}

/// Calls the service itself, whose pool has one connection.
struct Asking<'a> {
    service: &'a BalanceService,
    caller: Arc<earmark::auth::caller::Caller>,
}

impl Asking<'_> {
    fn request<M>(&self, method: &str, message: M) -> Request<M> {
        let path = format!("/earmark.balance.v1.BalanceService/{method}");
        let mut request = Request::new(message);
        request.extensions_mut().insert(Call {
            rpc: scope::rpc(&path).expect("an RPC"),
            caller: Arc::clone(&self.caller),
            principal: Principal::Server,
            request_id: "test".into(),
            claim: Claim::new(),
        });
        request
    }

    async fn get(&self, message: GetBalanceRequest) {
        let request = self.request("GetBalance", message);
        _ = self.service.get_balance(request).await;
    }

    async fn partners(&self, message: ListPartnerBalancesRequest) {
        let request = self.request("ListPartnerBalances", message);
        let listed = self.service.list_partner_balances(request).await;
        listed.expect("listed");
    }

    async fn entries(&self, message: ListEntriesRequest) {
        let request = self.request("ListEntries", message);
        let listed = self.service.list_entries(request).await;
        listed.expect("listed");
    }
}
