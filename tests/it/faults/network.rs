//! A network between server and database that is cut, stalls, or is down for a while.

use std::time::{Duration, Instant};

use earmark::limits::{LEDGER_ROUND_TRIP_MAX, OUTAGE_PATIENCE};
use futures_util::future::join_all;
use tonic::Code;

use super::{SLACK, World, assert_refused, clients, create, with_writers};
use crate::support::earmark::Setup;
use crate::support::ledger_dump::assert_sound;
use crate::support::load::Load;
use crate::support::random::Random;
use crate::support::service::is_replayed;
use earmark::ledger::engine::WriterSettings;

#[tokio::test(flavor = "multi_thread")]
async fn cut_connections_under_load_lose_no_write_and_repeat_none() {
    const SEED: u64 = 11;
    let world = World::make(Setup::default()).await;
    let load = Load::start(&[&world.earmark], 6, 16, SEED).await;
    let mut random = Random::new(SEED);
    load.goes_on(20).await;
    for _ in 0..15 {
        tokio::time::sleep(Duration::from_millis(random.number(5..200) as u64)).await;
        world.proxy.cut();
    }
    load.goes_on(20).await;
    let counts = load.finish(&world.earmark).await;
    // What became of each COMMIT was learnt.
    assert_eq!(counts.unknown, 0, "{counts}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stalled_network_is_answered_correctly_and_in_time() {
    // Shorter than a round trip may take, and longer.
    let stalls = [OUTAGE_PATIENCE * 2, LEDGER_ROUND_TRIP_MAX * 2];
    join_all(stalls.map(async |stall| {
        const SEED: u64 = 12;
        let world = World::make(Setup::default()).await;
        let load = Load::start(&[&world.earmark], 4, 12, SEED).await;
        load.goes_on(20).await;
        world.proxy.stall(true);
        tokio::time::sleep(stall).await;
        world.proxy.stall(false);
        load.goes_on(50).await;
        let counts = load.finish(&world.earmark).await;
        let limit = LEDGER_ROUND_TRIP_MAX + OUTAGE_PATIENCE + SLACK;
        assert!(counts.slowest < limit, "{stall:?}: {counts}");
        assert!(counts.not_applied > 0, "{stall:?}: {counts}");
    }))
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn during_an_outage_commands_are_refused_after_two_seconds() {
    let one = WriterSettings {
        writers: 1,
        ..WriterSettings::default()
    };
    let world = World::make(with_writers(one)).await;
    let (earmark, proxy) = (&world.earmark, &world.proxy);
    let all = &clients(earmark, 3).await;
    create(earmark, &all[0], "before").await.expect("reserved");
    proxy.refuse(true);
    // One after the other: each comes while others wait already.
    let calls = (0..15).map(async |index| {
        tokio::time::sleep(Duration::from_millis(200) * index).await;
        let asked = Instant::now();
        let answer = create(earmark, &all[index as usize % 3], &format!("{index}")).await;
        (answer, asked.elapsed())
    });
    for (answer, waited) in join_all(calls).await {
        assert_refused(answer, Code::Unavailable, "DATABASE_UNAVAILABLE");
        let patience = OUTAGE_PATIENCE.mul_f64(0.9)..OUTAGE_PATIENCE.mul_f64(3.0);
        assert!(patience.contains(&waited), "{waited:?}");
    }
    proxy.refuse(false);
    let answer = create(earmark, &all[0], "0").await;
    let answer = answer.expect("the first one after the outage");
    assert!(!is_replayed(&answer));
    let dump = assert_sound(earmark).await;
    assert_eq!(dump.allocations.len(), 2);
}
