//! One lock per owner: changes wait for it, and lose nothing.

use std::time::Duration;

use earmark::ledger::claim::Claim;
use earmark::proto::network::v1 as pb;
use tonic::Code;

use super::{client, enterprise, network};
use crate::support::service::{Services, detail, reason};

const PATIENCE: Duration = Duration::from_secs(20);

fn licence(enterprise_id: &str, licensed: bool) -> pb::UpdateEnterpriseRequest {
    pb::UpdateEnterpriseRequest {
        enterprise_id: enterprise_id.into(),
        oes_licensed: Some(licensed),
        ..Default::default()
    }
}

/// Begins a transaction that holds the lock of an owner.
async fn hold(services: &Services, owner_id: &str) -> tokio_postgres::Client {
    let holder = services.sql().await;
    let sql = format!(
        "SET idle_in_transaction_session_timeout = 0; COMMIT;
         BEGIN; SELECT FROM owner WHERE owner_id = '{owner_id}' FOR NO KEY UPDATE"
    );
    holder.batch_execute(&sql).await.expect("locked");
    holder
}

/// Waits until a session waits for a lock.
async fn somebody_waits(services: &Services) {
    let sql = "SELECT count(*) FROM pg_stat_activity
                WHERE datname = current_database() AND wait_event_type = 'Lock'";
    while services.count(sql).await == 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn writes_wait_for_the_owners_lock_and_read_after_it() {
    let world = network().await;
    // A licence change and a connection change, each held up by a session that changes the same record first.
    let holder = hold(&world.services, &world.buyer.id).await;
    let (admin, id) = (world.services.admin(), world.buyer.id.clone());
    let change = tokio::spawn(async move { admin.update_enterprise(licence(&id, false)).await });
    let (admin, id) = (world.services.admin(), world.connection.id.clone());
    let disable = tokio::spawn(async move {
        let request = pb::UpdateConnectionRequest {
            connection_id: id,
            allocations_enabled: Some(false),
            disabled_reason: Some("why".into()),
            ..Default::default()
        };
        admin.update_connection(request).await
    });
    somebody_waits(&world.services).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(!change.is_finished() && !disable.is_finished());
    let theirs = format!(
        "UPDATE enterprise SET version = 41 WHERE id = '{}';
         UPDATE connection SET name = 'theirs', version = 51 WHERE id = '{}'; COMMIT",
        world.buyer.id, world.connection.id
    );
    holder.batch_execute(&theirs).await.expect("committed");

    let changed = tokio::time::timeout(PATIENCE, change)
        .await
        .expect("in time");
    let changed = changed.expect("no panic").expect("updated").into_inner();
    assert_eq!(changed.enterprise.expect("the record").version, 42);
    let disabled = tokio::time::timeout(PATIENCE, disable)
        .await
        .expect("in time");
    let disabled = disabled.expect("no panic").expect("updated").into_inner();
    let disabled = disabled.connection.expect("the record");
    assert_eq!((disabled.version, disabled.name.as_str()), (52, "theirs"));
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_changes_are_all_applied() {
    let services = Services::start().await;
    let one = enterprise(&services.admin(), "one").await;
    let other = enterprise(&services.admin(), "other").await;
    let calls = (0..40).map(|index: usize| {
        let id = if index.is_multiple_of(2) {
            &one.id
        } else {
            &other.id
        };
        let request = pb::UpdateEnterpriseRequest {
            // Half of them lock the issuer's row too.
            request_id: if index % 4 < 2 {
                format!("k{index}")
            } else {
                String::new()
            },
            name: Some(format!("name {index}")),
            ..licence(id, index.is_multiple_of(3))
        };
        let admin = services.admin();
        tokio::spawn(async move { admin.update_enterprise(request).await })
    });
    let mut versions = Vec::new();
    for call in calls.collect::<Vec<_>>() {
        let answer = call.await.expect("no panic").expect("updated").into_inner();
        let record = answer.enterprise.expect("the record");
        versions.push((record.id, record.version));
    }
    versions.sort();
    let expected =
        [&one.id, &other.id].map(|id| (2..=21).map(move |version| (id.clone(), version)));
    let mut expected: Vec<_> = expected.into_iter().flatten().collect();
    expected.sort();
    assert_eq!(versions, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_that_is_never_released_is_contention() {
    let world = network().await;
    let holder = hold(&world.services, &world.buyer.id).await;

    let refused = world.services.admin();
    let refused = refused
        .update_enterprise(licence(&world.buyer.id, false))
        .await;
    let refused = refused.expect_err("held up");
    assert_eq!(refused.code(), Code::Aborted);
    assert_eq!(detail(&refused, "outcome").as_deref(), Some("not_applied"));
    assert_eq!(reason::<()>(Err(refused)), "CONTENTION");
    drop(holder);
}

#[tokio::test]
async fn a_deadline_error_reports_whether_the_write_had_started() {
    let services = Services::start().await;
    let claim = Claim::new();
    claim.withdraw();
    let late = services.admin().with_claim(claim);
    let request = pb::CreateEnterpriseRequest {
        name: "e".into(),
        request_id: "k".into(),
        ..Default::default()
    };
    let refused = late.create_enterprise(request.clone()).await;
    let refused = refused.expect_err("withdrawn");
    assert_eq!(refused.code(), Code::DeadlineExceeded);
    assert_eq!(detail(&refused, "outcome").as_deref(), Some("not_applied"));
    assert_eq!(services.count("SELECT count(*) FROM owner").await, 0);

    let claim = Claim::new();
    let in_time = services.admin().with_claim(claim.clone());
    in_time.create_enterprise(request).await.expect("created");
    assert_eq!(claim.withdraw(), earmark::error::Outcome::Unknown);
}

#[tokio::test]
async fn a_write_commits_after_its_caller_disconnected() {
    let services = Services::start().await;
    let owner = enterprise(&services.admin(), "e").await;
    let holder = hold(&services, &owner.id).await;

    let admin = services.admin();
    let call = client(&admin, &owner.id);
    tokio::select! {
        _ = call => panic!("it waits for the lock"),
        () = somebody_waits(&services) => {}
    }
    holder.batch_execute("COMMIT").await.expect("committed");
    let created = async {
        while services.count("SELECT count(*) FROM client").await == 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, created)
        .await
        .expect("committed");
}

#[tokio::test]
async fn ids_sort_in_creation_order_and_times_are_whole_microseconds() {
    let services = Services::start().await;
    let mut last = (0, 0, String::new());
    for _ in 0..20 {
        let created = enterprise(&services.admin(), "e").await;
        let time = created.created_at.expect("a time");
        assert_eq!(time.nanos % 1_000, 0);
        let place = (time.seconds, time.nanos, created.id);
        assert!(place > last && place.2 > last.2);
        last = place;
    }
    let disordered = services
        .count(
            "SELECT count(*) FROM (SELECT row_number() OVER (ORDER BY id) a,
                    row_number() OVER (ORDER BY created_at, id) b FROM enterprise) t WHERE a <> b",
        )
        .await;
    assert_eq!(disordered, 0);
}
