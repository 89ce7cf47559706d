//! No combination of criteria stays prepared.

use diesel::QueryDsl;
use diesel_async::RunQueryDsl;
use earmark::cas::field::Field;

use super::asking::Asking;
use super::{criterion, pb};
use crate::support::chance::Chance;

diesel::table! {
    #[sql_name = "pg_prepared_statements"]
    prepared_statements (name) {
        name -> Text,
    }
}

#[tokio::test]
async fn searches_of_every_kind_leave_no_statement_prepared() {
    let asking = Asking::start().await;
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
        let request = pb::SearchAllocationsRequest {
            criteria,
            ..Default::default()
        };
        asking.search(request).await;
        if round % 100 == 99 {
            let mut connection = asking.pool.get().await.expect("the connection");
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
