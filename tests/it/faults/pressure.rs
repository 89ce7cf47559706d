//! More work than capacity: refusals are immediate, and the queued commands of one owner do not delay those of
//! other owners.

use std::time::{Duration, SystemTime};

use earmark::ledger::engine::WriterSettings;
use earmark::limits::{QUEUE_OWNER_MAX, SUBMIT_ITEMS_MAX};
use earmark::proto::allocation::v1::submit_result::Outcome;
use earmark::proto::allocation::v1::{
    AllocationType, SubmitAllocationsRequest, SubmitAllocationsResponse,
};
use earmark::server::ServerSettings;
use futures_util::future::join_all;
use prost_types::Timestamp;
use tokio::task::JoinHandle;
use tonic::{Code, Response, Status};

use super::{assert_refused, clients, create, one_patient_writer, with_writers};
use crate::support::earmark::{Earmark, Parties, Setup};
use crate::support::ledger_dump::assert_sound;
use crate::support::locks::{hold_owner, somebody_waits};
use crate::support::raw::frame;
use crate::support::service::is_replayed;

const CREATE: &str = "/earmark.allocation.v1.AllocationService/CreateAllocation";

/// A single writer without a limit on waiting time; calls may take longer than those of a real server, since a slow
/// machine needs long for tens of thousands of commands.
pub(super) fn one_writer() -> Setup {
    let setup = with_writers(WriterSettings {
        writers: 1,
        patience: Duration::from_secs(60),
        ..WriterSettings::default()
    });
    Setup {
        settings: ServerSettings {
            call_max: Duration::from_secs(110),
            ..setup.settings
        },
        ..setup
    }
}

/// As many items as one call may have, each of 1 BTC.
fn full_submission(parties: &Parties, name: &str) -> SubmitAllocationsRequest {
    let items = (0..SUBMIT_ITEMS_MAX)
        .map(|index| parties.item(AllocationType::Allocation, "1", &format!("{name} {index}")));
    parties.submission(items.collect())
}

pub(super) type Submitted = Result<Response<SubmitAllocationsResponse>, Status>;

/// Calls in a task of its own.
pub(super) fn submit(earmark: &Earmark, parties: &Parties, name: &str) -> JoinHandle<Submitted> {
    let request = full_submission(parties, name);
    let mut client = earmark.member(&[&parties.enterprise]).allocation;
    tokio::spawn(async move { client.submit_allocations(request).await })
}

#[track_caller]
pub(super) fn assert_all_reserved(submitted: Submitted) {
    let results = submitted.expect("accepted").into_inner().results;
    assert_eq!(results.len(), SUBMIT_ITEMS_MAX);
    for result in results {
        assert!(!result.replayed, "{result:?}");
        assert!(
            matches!(result.outcome, Some(Outcome::Allocation(_))),
            "{result:?}"
        );
    }
}

const WARM_SUBMISSIONS: usize = 3;

/// The first batches of a new connection also make its plans, which are worth little while the tables are empty.
async fn warm_up(earmark: &Earmark, parties: &Parties) {
    for index in 0..WARM_SUBMISSIONS {
        let warm = submit(earmark, parties, &format!("warm-{index}"));
        assert_all_reserved(warm.await.expect("no panic"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_lane_is_refused_at_once_and_other_lanes_are_not() {
    /// Those that fit into the lane, and the one that may be in progress at that moment.
    const FIT: usize = QUEUE_OWNER_MAX / SUBMIT_ITEMS_MAX;
    let earmark = Earmark::start_with(one_writer()).await;
    let all = clients(&earmark, 2).await;
    let (held, free) = (&all[0], &all[1]);
    earmark.deposit(&held.enterprise, "BTC", "1000000").await;
    warm_up(&earmark, held).await;
    let holder = hold_owner(&earmark.url, &held.enterprise).await;
    let mut accepted = Vec::new();
    for index in 0..FIT {
        accepted.push(submit(&earmark, held, &format!("{index}")));
    }
    somebody_waits(&earmark.url).await;
    // Fills what room there is; whoever is not refused soon has a place, or a slow machine.
    let mut refused = 0;
    for index in FIT..FIT + 20 {
        let mut next = submit(&earmark, held, &format!("{index}"));
        match tokio::time::timeout(Duration::from_secs(3), &mut next).await {
            Ok(answer) => {
                let answer = answer.expect("no panic");
                assert_refused(answer, Code::ResourceExhausted, "OVERLOADED");
                refused += 1;
            }
            Err(_) => accepted.push(next),
        }
        if refused == 5 {
            break;
        }
    }
    // Nothing in the line moves while the owner is held: whoever was answered had not waited for it.
    assert_eq!(refused, 5, "the line is full");
    let (late, accepted): (Vec<_>, Vec<_>) =
        accepted.into_iter().partition(|call| call.is_finished());
    for refused in late {
        let refused = refused.await.expect("no panic");
        assert_refused(refused, Code::ResourceExhausted, "OVERLOADED");
    }
    let count = accepted.len();
    assert!((FIT..=FIT + 1).contains(&count), "{count}");

    let other = create(&earmark, free, "free").await;
    other.expect("has a line of its own");
    holder.batch_execute("COMMIT").await.expect("let go");
    for call in accepted {
        assert_all_reserved(call.await.expect("no panic"));
    }
    let dump = assert_sound(&earmark).await;
    let submitted = (WARM_SUBMISSIONS + count) * SUBMIT_ITEMS_MAX;
    assert_eq!(dump.allocations.len(), submitted + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_whose_deadline_passes_in_the_queue_is_never_applied() {
    let earmark = Earmark::start_with(one_patient_writer()).await;
    let all = clients(&earmark, 2).await;
    let (held, other) = (&all[0], &all[1]);
    let ids = [held.enterprise.as_str(), other.enterprise.as_str()];
    let bearer = format!("Bearer {}", earmark.token("settlement_network_write", &ids));
    let metadata = [("authorization", bearer.as_str()), ("grpc-timeout", "1S")];
    let raw = earmark.raw().await;
    let holder = hold_owner(&earmark.url, &held.enterprise).await;
    let queued = async {
        // The writer waits for the owner with the first one.
        somebody_waits(&earmark.url).await;
        let calls = (0..40).map(|index| {
            let parties = [held, other][index % 2];
            raw.call(
                CREATE,
                &metadata,
                frame(&parties.allocation("BTC", "1", &format!("{index}"))),
            )
        });
        let answers = join_all(calls).await;
        holder.batch_execute("COMMIT").await.expect("let go");
        answers
    };
    let (first, queued) = tokio::join!(create(&earmark, held, "first"), queued);
    first.expect("reserved");
    for answer in queued {
        let outcome = answer.expect(Code::DeadlineExceeded, "DEADLINE");
        assert_eq!(outcome.as_deref(), Some("not_applied"));
    }
    // Behind all of them in their lanes.
    for parties in [held, other] {
        create(&earmark, parties, "last").await.expect("reserved");
    }
    assert_eq!(earmark.count("SELECT count(*) FROM allocation").await, 3);
    for index in 0..40 {
        let again = create(&earmark, [held, other][index % 2], &format!("{index}")).await;
        assert!(!is_replayed(&again.expect("reserved")), "it left no key");
    }
    assert_sound(&earmark).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn deadlines_during_retries_report_correctly_what_was_applied() {
    let earmark = Earmark::start_with(one_writer()).await;
    let held = &clients(&earmark, 1).await[0];
    let token = earmark.token("settlement_network_write", &[&held.enterprise]);
    let bearer = format!("Bearer {token}");
    let raw = earmark.raw().await;
    let holder = hold_owner(&earmark.url, &held.enterprise).await;
    // Some end while the writer has them, most while it pauses.
    let calls = (0..60).map(async |index| {
        let timeout = format!("{}m", 100 + 20 * index);
        let metadata = [
            ("authorization", bearer.as_str()),
            ("grpc-timeout", timeout.as_str()),
        ];
        let request = frame(&held.allocation("BTC", "1", &format!("{index}")));
        let answer = raw.call(CREATE, &metadata, request).await;
        answer.expect(Code::DeadlineExceeded, "DEADLINE")
    });
    let outcomes = join_all(calls).await;
    holder.batch_execute("COMMIT").await.expect("let go");
    create(&earmark, held, "last").await.expect("reserved");
    let mut withdrawn = 0;
    for (index, outcome) in outcomes.iter().enumerate() {
        let again = create(&earmark, held, &format!("{index}")).await;
        let was_applied = is_replayed(&again.expect("reserved"));
        if outcome.as_deref() == Some("not_applied") {
            assert!(!was_applied, "{index}");
            withdrawn += 1;
        }
    }
    assert!(withdrawn > 0, "{outcomes:?}");
    assert_sound(&earmark).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn thousands_of_commands_of_one_owner_delay_others_by_a_few_batches_only() {
    const SUBMISSIONS: usize = 14;
    let earmark = Earmark::start_with(one_writer()).await;
    let all = clients(&earmark, 5).await;
    let (hot, others) = (&all[0], &all[1..4]);
    earmark.deposit(&hot.enterprise, "BTC", "1000000").await;
    warm_up(&earmark, hot).await;
    // The crowd is in the queue before the others come: reading its requests keeps a slow machine busy for seconds.
    let holder = hold_owner(&earmark.url, &hot.enterprise).await;
    let crowd: Vec<_> = (0..SUBMISSIONS)
        .map(|index| submit(&earmark, hot, &format!("{index}")))
        .collect();
    for index in 0..10 {
        let settled = create(&earmark, &all[4], &format!("{index}")).await;
        settled.expect("reserved");
    }
    let of_hot = format!(
        "SELECT count(*) FROM allocation WHERE owner_id = '{}'",
        hot.enterprise
    );
    let before = earmark.count(&of_hot).await;
    holder.batch_execute("COMMIT").await.expect("let go");
    let moves = async {
        while earmark.count(&of_hot).await == before {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let moves = tokio::time::timeout(Duration::from_secs(20), moves).await;
    moves.expect("the crowd goes on");
    let crowd = async {
        for call in crowd {
            assert_all_reserved(call.await.expect("no panic"));
        }
    };
    // When each was asked for, and when it was written.
    let lone = join_all(others.iter().map(async |parties| {
        let mut times = Vec::new();
        for index in 0..4 {
            let asked = Timestamp::from(SystemTime::now());
            let answer = create(&earmark, parties, &format!("{index}")).await;
            let written = answer.expect("reserved").into_inner().allocation;
            times.push((asked, written.expect("set").created_at.expect("set")));
        }
        times
    }));
    let ((), times) = tokio::join!(crowd, lone);
    let mut overtaken_by = Vec::new();
    for (asked, written) in times.concat() {
        let [asked, written] = [asked, written]
            .map(|time| format!("to_timestamp({}.{:09})", time.seconds, time.nanos));
        let between = format!("{of_hot} AND created_at > {asked} AND created_at < {written}");
        overtaken_by.push(earmark.count(&between).await as usize);
    }
    overtaken_by.sort_unstable();
    // The batch that is under way, another whose turn has come, and the one that it is in itself, of fourteen. Counted in
    // what was written rather than in seconds, of which a busy machine adds some anywhere.
    let (median, worst) = (overtaken_by[overtaken_by.len() / 2], overtaken_by.last());
    let whole = SUBMISSIONS * SUBMIT_ITEMS_MAX;
    assert!(median < whole / 4, "{overtaken_by:?} of {whole}");
    assert!(
        *worst.expect("twelve") < whole / 2,
        "{overtaken_by:?} of {whole}"
    );
    assert_sound(&earmark).await;
}
