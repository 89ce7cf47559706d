//! Connections lost around COMMIT: the answer agrees with what is on disk.

use std::time::Duration;

use earmark::db::connect::Session;
use futures_util::future::join_all;

use super::{World, clients, create, in_one_batch, one_patient_writer};
use crate::support::cluster::own_cluster_with;
use crate::support::earmark::{Earmark, Setup, balance};
use crate::support::ledger_dump::assert_sound;
use crate::support::locks::session;
use crate::support::proxy::{CommitFault, Proxy};
use crate::support::service::is_replayed;

pub(super) const LOST: [CommitFault; 3] = [
    CommitFault::CutBefore,
    CommitFault::CutAfter,
    CommitFault::HalfOpen,
];

/// How soon the database gives up a session that is half open.
pub(super) fn with_short_sessions(setup: Setup) -> Setup {
    Setup {
        session: Session {
            idle_in_transaction_timeout: Duration::from_millis(500),
            ..Session::default()
        },
        ..setup
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_lost_around_commit_loses_no_write_and_repeats_none() {
    join_all(LOST.map(async |fault| {
        let world = World::make(with_short_sessions(Setup::default())).await;
        let parties = &clients(&world.earmark, 1).await[0];
        world.proxy.arm(fault);
        let answer = create(&world.earmark, parties, "key").await;
        world.proxy.struck().await;
        let answer = answer.unwrap_or_else(|status| panic!("{fault:?}: {status:?}"));
        assert!(!is_replayed(&answer), "{fault:?}: it was this call's doing");
        let answer = answer.into_inner();
        assert_eq!(answer.custody_balance, balance("999", "1", 2), "{fault:?}");

        let again = create(&world.earmark, parties, "key").await;
        let again = again.expect("replayed");
        assert!(is_replayed(&again), "{fault:?}");
        assert_eq!(again.into_inner(), answer, "{fault:?}");
        let dump = assert_sound(&world.earmark).await;
        assert_eq!(dump.allocations.len(), 1, "{fault:?}");
    }))
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_call_of_a_batch_is_answered_correctly_when_its_commit_is_lost() {
    join_all(LOST.map(async |fault| {
        let world = World::make(with_short_sessions(one_patient_writer())).await;
        let earmark = &world.earmark;
        let all = clients(earmark, 2).await;
        let parties = &all[0];
        let known = create(earmark, parties, "known").await.expect("reserved");
        // The COMMIT of the one in front passes.
        world.proxy.arm_after(1, fault);
        // Every fourth is a repeat, and every tenth asks for too much.
        let calls = (0..40).map(async |index| {
            let key = match index % 4 {
                0 => "known".to_owned(),
                _ => format!("key {index}"),
            };
            let is_too_much = index % 4 != 0 && index % 10 == 9;
            let quantity = if is_too_much { "1001" } else { "1" };
            let request = parties.allocation("BTC", quantity, &key);
            let mut client = earmark.member(&[&parties.enterprise]).allocation;
            (is_too_much, client.create_allocation(request).await)
        });
        let answers = in_one_batch(earmark, &world.db.url, &all[1], join_all(calls)).await;
        world.proxy.struck().await;
        let mut done = 0;
        for (index, (is_too_much, answer)) in answers.into_iter().enumerate() {
            if is_too_much {
                answer.expect_err("too much");
                continue;
            }
            let answer = answer.unwrap_or_else(|status| panic!("{fault:?}: {status:?}"));
            assert_eq!(is_replayed(&answer), index % 4 == 0, "{fault:?}");
            if is_replayed(&answer) {
                assert_eq!(answer.into_inner(), *known.get_ref());
            } else {
                done += 1;
            }
        }
        let dump = assert_sound(earmark).await;
        assert_eq!(dump.allocations.len(), 2 + done, "{fault:?}");
    }))
    .await;
}

/// A transaction's number that never reached the disk is given to another one after a crash, so it proves nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_reused_transaction_id_is_not_mistaken_for_the_lost_commit() {
    // Nobody but a COMMIT may bring the journal to the disk.
    let own = own_cluster_with(&[("wal_writer_delay", "10s")]).await;
    let url = own.database("shelf").await;
    let proxy = Proxy::before(&url).await;
    let earmark = Earmark::start_on(&proxy.url, Setup::default()).await;
    let parties = &clients(&earmark, 1).await[0];
    // Somebody has its number, or nobody has it yet.
    for (round, others) in [(1, 500), (2, 0)] {
        proxy.arm(CommitFault::Held);
        let key = format!("key {round}");
        let crash = async {
            proxy.struck().await;
            own.kill();
            proxy.refuse(true);
            own.restarted(round).await;
            let burn = format!(
                "DO $$ BEGIN FOR i IN 1..{others} LOOP PERFORM pg_current_xact_id(); COMMIT; END LOOP; END $$"
            );
            let sql = session(&url).await;
            sql.batch_execute(&burn).await.expect(&burn);
            proxy.refuse(false);
        };
        let (answer, ()) = tokio::join!(create(&earmark, parties, &key), crash);
        assert!(!is_replayed(&answer.expect("reserved")));
        let again = create(&earmark, parties, &key).await;
        assert!(is_replayed(&again.expect("there")), "acknowledged and lost");
        let dump = assert_sound(&earmark).await;
        assert_eq!(dump.allocations.len(), round as usize);
    }
    own.stop().await;
}
