use super::*;
use crate::ledger::table::description::columns;
use crate::ledger::table::values::JsonText;
use crate::types::ids::OwnerId;

struct Terms {
    text: Option<String>,
    details: JsonText,
}

columns!(Terms {
    text: ["text"];
    details: ["details"];
});

struct Sample {
    owner: OwnerId,
    terms: Terms,
    version: i64,
}

columns!(Sample {
    owner: ["owner_id"];
    terms: { nested };
    version: ["version"];
});

#[test]
fn an_insert_names_each_column_once() {
    let columns = columns_of::<Sample>();
    assert_eq!(
        insert_text("sample", &columns),
        "INSERT INTO sample (owner_id, text, details, version) \
         SELECT n.owner_id, n.text, n.details::jsonb, n.version \
         FROM unnest($1::uuid[], $2::text[], $3::text[], $4::bigint[]) n(owner_id, text, details, version)"
    );
}

#[test]
fn an_update_takes_the_columns_that_it_uses_and_no_other() {
    let shape = UpdateShape {
        table: "sample",
        keys: &["owner_id"],
        set: &["text"],
        compared: &["version"],
        condition: "t.version = n.version",
        has_other_indexes: false,
    };
    let columns: Vec<Column> = columns_of::<Sample>()
        .into_iter()
        .filter(|column| column.name != "details")
        .collect();
    assert_eq!(
        update_text(shape, &columns),
        "UPDATE sample t SET text = n.text \
         FROM unnest($1::uuid[], $2::text[], $3::bigint[]) n(owner_id, text, version) \
         WHERE t.owner_id = n.owner_id AND t.version = n.version"
    );
}

#[test]
fn a_record_is_found_in_the_order_of_its_keys_last_column() {
    let shape = UpdateShape {
        table: "sample",
        keys: &["owner_id", "version"],
        set: &["text"],
        compared: &[],
        condition: "t.text IS NULL",
        has_other_indexes: true,
    };
    let columns: Vec<Column> = columns_of::<Sample>()
        .into_iter()
        .filter(|column| column.name != "details")
        .collect();
    assert_eq!(
        update_text(shape, &columns),
        "UPDATE sample t SET text = n.text \
         FROM unnest($1::uuid[], $2::text[], $3::bigint[]) n(owner_id, text, version) \
         CROSS JOIN LATERAL (SELECT t.ctid FROM sample t \
         WHERE t.owner_id = n.owner_id AND t.version >= n.version AND t.version <= n.version \
         ORDER BY t.version LIMIT 1) stored WHERE t.ctid = stored.ctid AND t.text IS NULL"
    );
}

#[test]
fn a_move_takes_what_it_sets_and_keeps_the_rest() {
    let shape = MoveShape {
        from: "open",
        to: "closed",
        keys: &["owner_id", "version"],
        set: &["text"],
    };
    let columns: Vec<Column> = columns_of::<Sample>()
        .into_iter()
        .filter(|column| column.name != "details")
        .collect();
    assert_eq!(
        move_text(shape, &columns),
        "WITH moved AS (DELETE FROM open t \
         USING unnest($1::uuid[], $2::text[], $3::bigint[]) n(owner_id, text, version) \
         CROSS JOIN LATERAL (SELECT t.ctid FROM open t \
         WHERE t.owner_id = n.owner_id AND t.version >= n.version AND t.version <= n.version \
         ORDER BY t.version LIMIT 1) stored \
         WHERE t.ctid = stored.ctid RETURNING t.owner_id, n.text, t.version) \
         INSERT INTO closed (owner_id, text, version) SELECT owner_id, text, version FROM moved"
    );
}

#[test]
fn a_select_reads_the_columns_in_the_order_of_the_description() {
    assert_eq!(
        select_list::<Sample>("a"),
        "a.owner_id, a.text, a.details::text, a.version"
    );
}

#[test]
fn a_column_that_a_statement_does_not_take_has_no_array() {
    let sample = Sample {
        owner: OwnerId(uuid::Uuid::nil()),
        terms: Terms {
            text: None,
            details: JsonText("{}".into()),
        },
        version: 7,
    };
    let columns = columns_of::<Sample>();
    let taken = [true, false, false, true].into_iter();
    assert_eq!(
        Arrays::of(&columns, taken, &[&sample]).parameters().len(),
        2
    );
    let all = [true; 4].into_iter();
    assert_eq!(Arrays::of(&columns, all, &[&sample]).parameters().len(), 4);
}
