//! Only the statements of common searches stay prepared.

use diesel::QueryDsl;
use diesel_async::RunQueryDsl;
use earmark::cas::field::CasField;
use earmark::db::pool;

use super::asking::Asking;
use super::{criterion, pb};
use crate::support::random::Random;

diesel::table! {
    #[sql_name = "pg_prepared_statements"]
    prepared_statements (name) {
        name -> Text,
    }
}

async fn count_prepared(asking: &Asking) -> i64 {
    let mut connection = pool::checkout(&asking.pool).await.expect("the connection");
    prepared_statements::table
        .count()
        .get_result(&mut *connection)
        .await
        .expect("counted")
}

#[tokio::test]
async fn uncommon_searches_leave_no_statement_prepared() {
    let asking = Asking::start().await;
    let mut random = Random::new(7);
    let names: Vec<_> = CasField::ALL.iter().map(|field| field.name()).collect();
    let mut prepared = Vec::new();
    for round in 0..300 {
        // A second one keeps a lone criterion from being one that is asked for all the time.
        let mut criteria = vec![criterion("version", ">=", "1")];
        for name in random.some_of(&names) {
            // Every kind has values of this form or is left out.
            if !name.contains("Time") && !name.contains("ype") && !name.contains("Affirmed") {
                let operator = ["=", "!=", ">", "<="][random.number(0..4)];
                let value = if name == "id" { super::NOBODY } else { "1" };
                if name != "orderStatus" {
                    criteria.push(criterion(name, operator, value));
                }
            }
        }
        let request = pb::SearchAllocationsRequest {
            criteria,
            ..Default::default()
        };
        asking.search(request).await;
        if round % 100 == 99 {
            prepared.push(count_prepared(&asking).await);
        }
    }
    // The question itself is prepared once.
    assert_eq!(prepared, [1, 1, 1]);
}

#[tokio::test]
async fn common_searches_stay_prepared() {
    let asking = Asking::start().await;
    for value in 0..20 {
        for name in ["dealId", "trancheId", "investorAccountId"] {
            let request = pb::SearchAllocationsRequest {
                criteria: vec![criterion(name, "=", &value.to_string())],
                ..Default::default()
            };
            asking.search(request).await;
        }
    }
    // And the question itself.
    assert_eq!(count_prepared(&asking).await, 4);
}
