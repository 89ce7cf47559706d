//! An owner whose row another session holds, and those who have nothing to do with it.

use std::time::{Duration, Instant};

use earmark::app::AppSettings;
use earmark::ledger::writer::WriterSettings;
use earmark::proto::network::v1::ConnectionMode;
use futures_util::future::join_all;
use tonic::Code;

use crate::support::earmark::{Earmark, Setup, impatient, refusal};
use crate::support::locks::{hold_owner, somebody_waits};
use crate::support::picture::assert_sound;

const LOCK_WAIT: Duration = Duration::from_millis(100);

#[tokio::test(flavor = "multi_thread")]
async fn many_calls_on_a_held_owner_delay_the_others_no_more_than_one() {
    let setup = Setup {
        app: AppSettings {
            writer: WriterSettings {
                writers: 1,
                ..impatient(LOCK_WAIT)
            },
            ..AppSettings::default()
        },
        ..Setup::default()
    };
    let earmark = Earmark::start_with(setup).await;
    let held = earmark.parties(ConnectionMode::Confirmed).await;
    let free = earmark.parties(ConnectionMode::Confirmed).await;
    for parties in [&held, &free] {
        earmark.deposit(&parties.enterprise, "BTC", "100").await;
    }
    let holder = hold_owner(&earmark.url, &held.enterprise).await;
    let client = earmark
        .member(&[&held.enterprise, &free.enterprise])
        .allocation;
    let call = async |request| client.clone().create_allocation(request).await;
    let stuck =
        join_all((0..40).map(|index| call(held.allocation("BTC", "1", &format!("{index}")))));
    let others = async {
        somebody_waits(&earmark.url).await;
        let started = Instant::now();
        let answer = call(free.allocation("BTC", "1", "a-1")).await;
        answer.expect("has nothing to do with the lock");
        started.elapsed()
    };
    let (stuck, waited) = tokio::join!(stuck, others);
    for answer in stuck {
        let refused = refusal(answer).expect(Code::Aborted, "CONTENTION");
        assert_eq!(refused.metadata["outcome"], "not_applied");
    }
    // The wait of the batch that is under way, and that of a batch that both are in.
    assert!(waited < 4 * LOCK_WAIT, "{waited:?}");
    holder.batch_execute("ROLLBACK").await.expect("released");
    let answer = call(held.allocation("BTC", "1", "0")).await;
    answer.expect("the refusals left no key");
    assert_sound(&earmark).await;
}
