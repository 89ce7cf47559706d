//! No combination of criteria stays prepared.

use std::sync::Arc;

use diesel::QueryDsl;
use diesel_async::RunQueryDsl;
use earmark::auth::caller::Caller;
use earmark::auth::scope::{self, Scope};
use earmark::cas::CasAllocationService;
use earmark::cas::field::Field;
use earmark::db::connect::Connector;
use earmark::db::pool::{self, PoolSettings};
use earmark::proto::cas::v1::cas_allocation_service_server::CasAllocationService as _;
use earmark::rpc::call::Call;
use earmark::types::ids::FirmId;
use tonic::Request;

use super::{criterion, pb};
use crate::support::chance::Chance;
use crate::support::cluster::database;

diesel::table! {
    #[sql_name = "pg_prepared_statements"]
    prepared_statements (name) {
        name -> Text,
    }
}

#[tokio::test]
async fn searches_of_every_kind_leave_no_statement_prepared() {
    let db = database().await;
    let one = PoolSettings {
        max_size: 1,
        ..PoolSettings::default()
    };
    let pool = pool::open(Connector::new(&db.url).expect("a URL"), &one);
    let service = CasAllocationService::new(pool.clone());
    let call = Call {
        rpc: scope::rpc("/earmark.cas.v1.CasAllocationService/SearchAllocations").expect("a row"),
        caller: Arc::new(Caller {
            issuer: "https://issuer.example".into(),
            subject: "somebody".into(),
            scopes: vec![Scope::AllocationsRead],
            enterprises: None,
            firm: Some(FirmId("1".into())),
            tenant: None,
        }),
        request_id: "test".into(),
        claim: Default::default(),
    };
    let mut chance = Chance::new(7);
    let names: Vec<_> = Field::ALL.iter().map(|field| field.name()).collect();
    let mut prepared = Vec::new();
    for round in 0..300 {
        let mut criteria = Vec::new();
        for name in chance.some_of(&names) {
            // Every kind has values of this form or is left out.
            if !name.contains("Time") && !name.contains("ype") && !name.contains("Affirmed") {
                let operator = ["=", "!=", ">", "<="][chance.number(0..4)];
                let value = if name == "id" { super::NOBODY } else { "1" };
                if name != "orderStatus" {
                    criteria.push(criterion(name, operator, value));
                }
            }
        }
        let mut request = Request::new(pb::SearchAllocationsRequest {
            criteria,
            ..Default::default()
        });
        request.extensions_mut().insert(call.clone());
        service.search_allocations(request).await.expect("found");
        if round % 100 == 99 {
            let mut connection = pool.get().await.expect("the connection");
            let count: i64 = prepared_statements::table
                .count()
                .get_result(&mut *connection)
                .await
                .expect("counted");
            prepared.push(count);
        }
    }
    // The question itself is prepared once.
    assert_eq!(prepared, [1, 1, 1]);
}
