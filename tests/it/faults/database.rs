//! A database that is read-only, terminates sessions, or is restarted.

use std::time::{Duration, Instant};

use earmark::proto::allocation::v1::GetAllocationRequest;
use tonic::Code;

use super::{assert_refused, clients, create};
use crate::support::cluster::own_cluster;
use crate::support::earmark::{Earmark, Setup};
use crate::support::every_service::health_becomes;
use crate::support::ledger_dump::assert_sound;
use crate::support::load::Load;
use crate::support::random::Random;
use crate::support::service::is_replayed;

/// Ends every session of the server.
const END: &str = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                    WHERE datname = current_database() AND application_name = 'earmark'";

#[tokio::test(flavor = "multi_thread")]
async fn writes_are_refused_while_the_database_is_read_only() {
    let earmark = Earmark::start().await;
    let all = clients(&earmark, 4).await;
    let before = create(&earmark, &all[0], "before").await;
    let before = before.expect("reserved").into_inner();
    let sql = earmark.sql().await;
    let set = async |setting: &str| {
        let name: String = sql
            .query_one("SELECT current_database()::text", &[])
            .await
            .expect("a name")
            .get(0);
        let alter = format!("ALTER DATABASE \"{name}\" {setting}");
        sql.batch_execute(&alter).await.expect(&alter);
    };
    set("SET default_transaction_read_only = on").await;
    sql.batch_execute(END).await.expect(END);
    for round in 0..3 {
        for parties in &all {
            let refused = create(&earmark, parties, "key").await;
            assert_refused(refused, Code::Unavailable, "DATABASE_UNAVAILABLE");
        }
        let request = GetAllocationRequest {
            enterprise_id: all[0].enterprise.clone(),
            allocation_id: before.allocation.clone().expect("set").id,
        };
        let member = earmark.member(&[&all[0].enterprise]);
        let read = member.allocation.clone().get_allocation(request).await;
        let read = read.unwrap_or_else(|status| panic!("round {round}: {status:?}"));
        assert_eq!(read.into_inner().allocation, before.allocation);
    }
    set("RESET default_transaction_read_only").await;
    health_becomes(&earmark, true, true).await;
    for parties in &all {
        // Health needs one writer. Another may notice a little later.
        let begun = Instant::now();
        let answer = loop {
            match create(&earmark, parties, "key").await {
                Err(status) if status.code() == Code::Unavailable => {
                    assert!(begun.elapsed() < Duration::from_secs(20), "{status:?}");
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                answer => break answer,
            }
        };
        assert!(!is_replayed(&answer.expect("takes writes again")));
    }
    let dump = assert_sound(&earmark).await;
    assert_eq!(dump.allocations.len(), 1 + all.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn terminated_sessions_under_load_lose_no_write_and_repeat_none() {
    const SEED: u64 = 21;
    let earmark = Earmark::start().await;
    let sql = earmark.sql().await;
    let load = Load::start(&[&earmark], 6, 16, SEED).await;
    let mut random = Random::new(SEED);
    load.goes_on(20).await;
    for _ in 0..15 {
        tokio::time::sleep(Duration::from_millis(random.number(5..200) as u64)).await;
        sql.batch_execute(END).await.expect(END);
    }
    load.goes_on(20).await;
    let counts = load.finish(&earmark).await;
    assert_eq!(counts.unknown, 0, "{counts}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_restart_under_load_loses_no_write_and_repeats_none() {
    const SEED: u64 = 22;
    let own = own_cluster().await;
    let url = own.database("shelf").await;
    let earmark = Earmark::start_on(&url, Setup::default()).await;
    let load = Load::start(&[&earmark], 6, 16, SEED).await;
    for restarts in 1..=2 {
        load.goes_on(100).await;
        own.restart();
        own.restarted(restarts).await;
    }
    load.goes_on(100).await;
    let counts = load.finish(&earmark).await;
    assert_eq!(counts.unknown, 0, "{counts}");
    // Reads and the small writes have found their way back too.
    clients(&earmark, 1).await;
    own.stop().await;
}
