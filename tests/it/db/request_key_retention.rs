//! Request ids that are older than they are kept: which of them `earmark maintain` deletes, and what a repetition does then.

use std::time::Duration;

use earmark::db::request_key_retention::{RequestKeyAction, expire};
use earmark::limits::REQUEST_KEYS_BATCH;
use earmark::proto::network::v1 as pb;
use tokio::task::block_in_place;
use tokio_postgres::Client;

use crate::support::cluster::database;
use crate::support::earmark::Earmark;
use crate::support::locks::session;
use crate::support::process::{earmark, run, text};
use crate::support::service::is_replayed;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

async fn keys(sql: &Client) -> Vec<String> {
    let keys = "SELECT request_id FROM request_key ORDER BY request_id";
    let rows = sql.query(keys, &[]).await.expect(keys);
    rows.iter().map(|row| row.get(0)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_created_a_record_is_never_done_twice_and_an_old_change_is_new_again() {
    let server = Earmark::start().await;
    let mut network = server.admin().network;
    let create = pb::CreateEnterpriseRequest {
        name: "first".into(),
        request_id: "create".into(),
        ..Default::default()
    };
    let created = network.create_enterprise(create.clone()).await;
    let created = created
        .expect("created")
        .into_inner()
        .enterprise
        .expect("set");
    let rename = |name: &str, key: &str| pb::UpdateEnterpriseRequest {
        enterprise_id: created.id.clone(),
        name: Some(name.into()),
        request_id: key.into(),
        ..Default::default()
    };
    for (name, key) in [("second", "old"), ("third", "young")] {
        let renamed = network.update_enterprise(rename(name, key)).await;
        renamed.expect("renamed");
    }
    let sql = server.sql().await;
    let age = "UPDATE enterprise SET created_at = created_at - interval '401 days';
        UPDATE request_key SET created_at = created_at - interval '401 days' WHERE request_id <> 'young'";
    sql.batch_execute(age).await.expect(age);

    let command = |arguments: &[&str]| {
        let maintain = [&["maintain"], arguments].concat();
        let output = block_in_place(|| run(earmark(&maintain).env("DATABASE_URL", &server.url)));
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        let lines: Vec<String> = text(&output.stdout).lines().map(str::to_owned).collect();
        lines.last().expect("a line").clone()
    };
    let planned = command(&["--dry-run"]);
    assert!(
        planned.starts_with("Would delete 1 request ids of before "),
        "{planned}"
    );
    assert_eq!(keys(&sql).await, ["create", "old", "young"]);
    let longer = command(&["--request-keys-kept", "402d"]);
    assert_eq!(longer, "No partition is missing.");
    let deleted = command(&[]);
    assert!(
        deleted.starts_with("Deleted 1 request ids of before "),
        "{deleted}"
    );
    assert_eq!(keys(&sql).await, ["create", "young"]);
    let short = ["maintain", "--request-keys-kept", "6d"];
    let short = block_in_place(|| run(earmark(&short).env("DATABASE_URL", &server.url)));
    assert_eq!(short.status.code(), Some(2), "{short:?}");
    assert!(
        text(&short.stderr).contains("must be at least 7d"),
        "{short:?}"
    );

    let again = network.create_enterprise(create).await.expect("replayed");
    assert!(is_replayed(&again));
    let again = again.into_inner().enterprise.expect("set");
    assert_eq!((again.id, again.name), (created.id.clone(), "third".into()));
    let young = network.update_enterprise(rename("third", "young")).await;
    assert!(is_replayed(&young.expect("replayed")));
    let old = network
        .update_enterprise(rename("second", "old"))
        .await
        .expect("renamed");
    assert!(!is_replayed(&old));
    assert_eq!(old.into_inner().enterprise.expect("set").name, "second");
    assert_eq!(keys(&sql).await, ["create", "old", "young"]);
}

#[tokio::test]
async fn the_key_of_a_record_that_was_deleted_is_kept_as_long_as_others() {
    let db = database().await;
    let sql = session(&db.url).await;
    // Of a record that is there, of one that was deleted, and of a change of the first.
    let fill = "
        INSERT INTO owner VALUES ('00000000-0000-0000-0000-0000000000aa');
        INSERT INTO enterprise (id, name, oes_licensed, version, created_at, updated_at)
        VALUES ('00000000-0000-0000-0000-0000000000aa', 'there', true, 2, '2020-01-01Z', '2020-01-02Z');
        INSERT INTO request_key
        SELECT '00000000-0000-0000-0000-0000000000aa', '/Create', name, sha256('x'), record::uuid, created_at::timestamptz
        FROM (VALUES
            ('there', '00000000-0000-0000-0000-0000000000aa', '2020-01-01Z'),
            ('changed', '00000000-0000-0000-0000-0000000000aa', '2020-01-02Z'),
            ('deleted', '00000000-0000-0000-0000-0000000000bb', '2020-01-01Z')
        ) k(name, record, created_at)";
    sql.batch_execute(fill).await.expect(fill);
    let expired = expire(&db.url, 400 * DAY, RequestKeyAction::Delete).await;
    assert_eq!(expired.expect("deleted").count, 2);
    assert_eq!(keys(&sql).await, ["there"]);
}

#[tokio::test]
async fn all_batches_are_gone_through_and_nothing_young_is_deleted() {
    let db = database().await;
    let sql = session(&db.url).await;
    let count = i64::from(REQUEST_KEYS_BATCH) * 2 + 500;
    let fill = format!(
        "INSERT INTO owner SELECT ('00000000-0000-0000-0000-0000000000a' || n)::uuid FROM generate_series(0, 4) n;
         INSERT INTO request_key
         SELECT ('00000000-0000-0000-0000-0000000000a' || n % 5)::uuid, '/call-' || n % 3, 'key-' || n, sha256('x'),
             gen_random_uuid(), now() - CASE n % 5 WHEN 0 THEN interval '399 days' ELSE interval '401 days' END
         FROM generate_series(1, {count}) n"
    );
    sql.batch_execute(&fill).await.expect(&fill);
    let old = u64::try_from(count).expect("positive") / 5 * 4;
    for (action, found) in [
        (RequestKeyAction::Count, old),
        (RequestKeyAction::Delete, old),
        (RequestKeyAction::Delete, 0),
    ] {
        let expired = expire(&db.url, 400 * DAY, action)
            .await
            .expect("gone through");
        assert_eq!(expired.count, found, "{action:?}");
    }
    let young = "SELECT count(*), min(created_at) > now() - interval '400 days' FROM request_key";
    let row = sql.query_one(young, &[]).await.expect(young);
    assert_eq!((row.get(0), row.get(1)), (count / 5, true));
}
