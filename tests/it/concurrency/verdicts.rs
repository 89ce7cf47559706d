//! Verdicts that race for one reservation: one is applied, and all others are refused or replayed.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::time::Duration;

use earmark::ledger::account::Cause;
use earmark::ledger::invariant::dump::LedgerDump;
use earmark::proto::allocation::v1::allocation_service_client::AllocationServiceClient;
use earmark::proto::allocation::v1::submit_result::Outcome;
use earmark::proto::allocation::v1::{Allocation, AllocationStatus, AllocationType, SubmitItem};
use earmark::proto::network::v1::ConnectionMode;
use futures_util::future::join_all;
use prost_types::Timestamp;
use tokio::time::{Instant, sleep_until};
use tonic::{Code, Response, Status};
use uuid::Uuid;

use super::Pair;
use crate::support::allocation_fixture::{AllocationFixture, in_micros};
use crate::support::earmark::{Authorized, Parties, balance, refusal};
use crate::support::ledger_dump::assert_sound;
use crate::support::random::Random;
use crate::support::service::is_replayed;

/// Asserts that one call was carried out and that all others repeat it, equal to the letter.
fn assert_one_effect<T: PartialEq + Debug>(answers: Vec<Result<Response<T>, Status>>) -> T {
    let answers = answers.into_iter().map(|answer| answer.expect("answered"));
    let (repeats, done): (Vec<_>, Vec<_>) = answers.partition(is_replayed);
    let done: Vec<T> = done.into_iter().map(Response::into_inner).collect();
    let [done] = <[T; 1]>::try_from(done).expect("one effect");
    for repeat in repeats {
        assert_eq!(repeat.into_inner(), done);
    }
    done
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_clears_of_one_reservation_have_one_effect() {
    for direction in [AllocationType::Allocation, AllocationType::Deallocation] {
        let (fixture, hold) = AllocationFixture::with_hold(direction).await;
        let calls = (0..100).map(|_| {
            let mut partner = fixture.partner.clone();
            let request = fixture.parties.clear(&hold.id);
            tokio::spawn(async move { partner.clear_allocation(request).await })
        });
        let answers = join_all(calls.collect::<Vec<_>>()).await;
        let answers = answers.into_iter().map(|call| call.expect("no panic"));
        let cleared = assert_one_effect(answers.collect());
        let record = cleared.allocation.expect("set");
        assert_eq!(record.status(), AllocationStatus::Cleared);
        assert_eq!(fixture.get(&hold.id).await, record);
        let dump = assert_sound(&fixture.earmark).await;
        let id = Uuid::parse_str(&hold.id).expect("a UUID");
        let entries = dump.entries.iter();
        let of_hold = entries.filter(|entry| entry.cause_id == id && entry.cause == Cause::CLEAR);
        assert_eq!(of_hold.count(), 2, "out of one account, into the other");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_releases_and_cancels_through_two_servers_have_one_effect() {
    let pair = Pair::open(ConnectionMode::Confirmed).await;
    let (fixture, members) = (&pair.fixture, pair.members());
    let hold = fixture.allocate("10", "hold").await;
    let calls = (0..100).map(|index: usize| {
        let mut client = members[index % 2].allocation.clone();
        let mut release = fixture.parties.release(&hold.id);
        release.reason = format!("release {index}");
        let mut cancel = fixture.parties.cancel(&hold.id);
        cancel.reason = Some(format!("cancel {index}"));
        tokio::spawn(async move {
            if index % 4 < 2 {
                let answer = client.release_allocation(release).await;
                answer.map(|answer| {
                    let replayed = is_replayed(&answer);
                    let answer = answer.into_inner();
                    (replayed, answer.allocation, answer.connection_balance)
                })
            } else {
                let answer = client.cancel_allocation(cancel).await;
                answer.map(|answer| {
                    let replayed = is_replayed(&answer);
                    let answer = answer.into_inner();
                    assert_eq!(answer.custody_balance, balance("100", "0", 3));
                    (replayed, answer.allocation, answer.connection_balance)
                })
            }
        })
    });
    let answers = join_all(calls.collect::<Vec<_>>()).await;
    let answers: Vec<_> = answers
        .into_iter()
        .map(|call| call.expect("no panic").expect("answered"))
        .collect();
    let done: Vec<_> = answers.iter().filter(|(replayed, ..)| !replayed).collect();
    assert_eq!(done.len(), 1);
    for (_, record, connection) in &answers {
        assert_eq!((record, connection), (&done[0].1, &done[0].2));
    }
    assert_eq!(fixture.balances().await.0, balance("100", "0", 3));
    assert_sound(&fixture.earmark).await;
}

/// How a race for one reservation may end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Winner {
    Clear,
    Release,
    Cancel,
    Expiry,
}

/// The result of a verdict: applied by this call, replayed, or refused because of another verdict.
#[derive(Debug, PartialEq)]
enum Verdict {
    Done(Option<Allocation>),
    Repeated(Option<Allocation>),
    Refused,
}

/// Gives a verdict at its time, and repeats it while the server is too busy for it.
async fn verdict<T>(
    time: Instant,
    call: impl AsyncFn() -> Result<Response<T>, Status>,
    record: impl Fn(T) -> Option<Allocation>,
) -> Verdict {
    sleep_until(time).await;
    loop {
        let refused = match call().await {
            Ok(answer) if is_replayed(&answer) => {
                return Verdict::Repeated(record(answer.into_inner()));
            }
            Ok(answer) => return Verdict::Done(record(answer.into_inner())),
            Err(status) => refusal(Err::<(), _>(status)),
        };
        if !["OVERLOADED", "DATABASE_UNAVAILABLE"].contains(&&*refused.reason) {
            refused.expect(Code::FailedPrecondition, "ALREADY_TERMINAL");
            return Verdict::Refused;
        }
        assert_eq!(refused.metadata["outcome"], "not_applied");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Over how long ends and verdicts are spread.
const SPREAD_US: usize = 800_000;
/// Until the first of them.
const LEAD_US: u32 = 3_000_000;

#[tokio::test(flavor = "multi_thread")]
async fn exactly_one_of_clear_release_cancel_and_expiry_closes_a_reservation() {
    let mut random = Random::new(3);
    let pair = Pair::open(ConnectionMode::Confirmed).await;
    let (fixture, members) = (&pair.fixture, pair.members());
    let begun = Instant::now() + Duration::from_micros(LEAD_US.into());
    let first_end = in_micros(&fixture.earmark, LEAD_US.into()).await;
    let items = (0..80).map(|index| SubmitItem {
        // Every other one ends while the verdicts come; of the rest, none wins by its end, however busy the machine is.
        expire_time: (index % 2 == 0).then(|| later(first_end, random.number(0..SPREAD_US))),
        ..fixture
            .parties
            .item(AllocationType::Allocation, "1", &format!("{index}"))
    });
    let request = fixture.parties.submission(items.collect());
    let answer = fixture.client.clone().submit_allocations(request).await;
    let results = answer.expect("submitted").into_inner().results;
    let holds = results
        .into_iter()
        .filter_map(|result| match result.outcome {
            Some(Outcome::Allocation(record)) => Some(record.id),
            // Its end had passed before it was there.
            _ => None,
        });
    let holds: Vec<String> = holds.collect();

    let races = holds.iter().map(|id| {
        let mut at = || begun + Duration::from_micros(random.number(0..SPREAD_US) as u64);
        let (to_clear, to_release, to_cancel) = (at(), at(), at());
        let [one, other] = members.each_ref().map(|member| &member.allocation);
        async move {
            tokio::join!(
                verdict(
                    to_clear,
                    async || one
                        .clone()
                        .clear_allocation(fixture.parties.clear(id))
                        .await,
                    |answer| answer.allocation,
                ),
                verdict(
                    to_release,
                    async || {
                        let request = fixture.parties.release(id);
                        other.clone().release_allocation(request).await
                    },
                    |answer| answer.allocation,
                ),
                verdict(
                    to_cancel,
                    async || one
                        .clone()
                        .cancel_allocation(fixture.parties.cancel(id))
                        .await,
                    |answer| answer.allocation,
                ),
            )
        }
    });
    let races = join_all(races).await;
    let dump = assert_sound(&fixture.earmark).await;
    let mut won: BTreeMap<Winner, u32> = BTreeMap::new();
    for (id, verdicts) in holds.iter().zip(races) {
        let record = fixture.get(id).await;
        let winner = assert_one_winner(&dump, &record, verdicts);
        *won.entry(winner).or_default() += 1;
    }
    // How often each call wins depends on the machine; the test only needs more than one kind of winner.
    assert!(won.len() >= 2, "one alone wins all: {won:?}");
    let cleared = won.get(&Winner::Clear).copied().unwrap_or_default();
    let (custody, connection) = pair.fixture.balances().await;
    let (custody, connection) = (custody.expect("set"), connection.expect("set"));
    assert_eq!(custody.available, (100 - cleared).to_string());
    assert_eq!(connection.available, cleared.to_string());
}

fn later(time: Timestamp, micros: usize) -> Timestamp {
    let nanos = time.nanos + i32::try_from(micros * 1_000).expect("below a second");
    Timestamp {
        seconds: time.seconds + i64::from(nanos / 1_000_000_000),
        nanos: nanos % 1_000_000_000,
    }
}

/// One call has won, or expiry has. All answers and the journal must agree on it.
fn assert_one_winner(
    dump: &LedgerDump,
    record: &Allocation,
    (clear, release, cancel): (Verdict, Verdict, Verdict),
) -> Winner {
    let verdicts = [
        (&clear, Winner::Clear),
        (&release, Winner::Release),
        (&cancel, Winner::Cancel),
    ];
    let done = verdicts
        .iter()
        .filter(|(verdict, _)| matches!(verdict, Verdict::Done(_)))
        .map(|(_, winner)| *winner);
    let winner = match done.collect::<Vec<_>>()[..] {
        [] => Winner::Expiry,
        [winner] => winner,
        ref several => panic!("several won: {several:?}"),
    };
    for (verdict, _) in verdicts {
        match verdict {
            Verdict::Done(shown) | Verdict::Repeated(shown) => {
                assert_eq!(shown.as_ref(), Some(record));
            }
            Verdict::Refused => {}
        }
    }
    let cleared = winner == Winner::Clear;
    assert_eq!(clear == Verdict::Refused, !cleared);
    assert_eq!(release == Verdict::Refused, cleared);
    assert_eq!(cancel == Verdict::Refused, cleared);

    let (status, reason, cause) = match winner {
        Winner::Clear => (AllocationStatus::Cleared, None, Cause::CLEAR),
        Winner::Release => (
            AllocationStatus::Released,
            Some("not wanted"),
            Cause::RELEASE,
        ),
        Winner::Cancel => (
            AllocationStatus::Released,
            Some("changed our mind"),
            Cause::CANCEL,
        ),
        Winner::Expiry => (AllocationStatus::Released, Some("expired"), Cause::EXPIRE),
    };
    assert_eq!(
        (record.status(), record.reason.as_deref()),
        (status, reason)
    );
    let cause_id = Uuid::parse_str(&record.id).expect("a UUID");
    let entries = dump.entries.iter();
    let closing =
        entries.filter(|entry| entry.cause_id == cause_id && entry.cause != Cause::RESERVE);
    let causes: Vec<Cause> = closing.map(|entry| entry.cause).collect();
    assert_eq!(causes, vec![cause; if cleared { 2 } else { 1 }]);
    winner
}

/// 3 and 4 clear, 5 releases, any other number cancels.
async fn random_verdict(
    client: &AllocationServiceClient<Authorized>,
    parties: &Parties,
    id: &str,
    verdict: usize,
) -> Result<(), Status> {
    let mut client = client.clone();
    match verdict {
        3 | 4 => client.clear_allocation(parties.clear(id)).await.map(|_| ()),
        5 => client
            .release_allocation(parties.release(id))
            .await
            .map(|_| ()),
        _ => client
            .cancel_allocation(parties.cancel(id))
            .await
            .map(|_| ()),
    }
}

/// Random concurrent calls of clients, partners and an administrator on several owners, through two
/// servers of one database.
#[tokio::test(flavor = "multi_thread")]
async fn random_concurrent_calls_keep_every_invariant() {
    const SEED: u64 = 17;
    let pair = Pair::open(ConnectionMode::Confirmed).await;
    let earmark = &pair.fixture.earmark;
    let mut all = vec![pair.fixture.parties.clone()];
    for mode in [ConnectionMode::Instant, ConnectionMode::Confirmed] {
        let parties = earmark.parties(mode).await;
        earmark.deposit(&parties.enterprise, "BTC", "100").await;
        all.push(parties);
    }
    let everyone: Vec<&str> = all
        .iter()
        .flat_map(|parties| [&*parties.enterprise, &*parties.partner_enterprise])
        .collect();
    let members = [earmark.member(&everyone), pair.other.member(&everyone)];
    let end = in_micros(earmark, 1_000_000).await;
    let workers = (0..12).map(|worker: usize| {
        let mut random = Random::new(SEED + worker as u64);
        let client = members[worker % 2].allocation.clone();
        let all = all.clone();
        async move {
            let mut known: Vec<(usize, String)> = Vec::new();
            for round in 0..40 {
                let at = random.number(0..all.len());
                let parties = &all[at];
                let quantity = random.number(1..40).to_string();
                let key = format!("{worker} {}", round / 2);
                let mut client = client.clone();
                let made = match random.number(0..7) {
                    0 | 1 => {
                        let mut request = parties.allocation("BTC", &quantity, &key);
                        request.expire_time = (at != 1 && random.one_in(3)).then_some(end);
                        let answer = client.create_allocation(request).await;
                        answer.map(|answer| answer.into_inner().allocation)
                    }
                    2 => {
                        let request = parties.deallocation("BTC", &quantity, &key);
                        let answer = client.create_deallocation(request).await;
                        answer.map(|answer| answer.into_inner().allocation)
                    }
                    verdict => {
                        let Some((at, id)) = known.pop() else {
                            continue;
                        };
                        let answer = random_verdict(&client, &all[at], &id, verdict).await;
                        answer.map(|()| None)
                    }
                };
                match made {
                    Ok(record) => known.extend(record.map(|record| (at, record.id))),
                    Err(status) => {
                        let code = status.code();
                        let expected = [
                            Code::FailedPrecondition,
                            Code::AlreadyExists,
                            Code::InvalidArgument,
                        ];
                        assert!(expected.contains(&code), "{status:?}");
                    }
                }
            }
        }
    });
    let workers: Vec<_> = workers.map(tokio::spawn).collect();
    for worker in join_all(workers).await {
        worker.expect("no panic");
    }
    let dump = assert_sound(earmark).await;
    assert!(dump.allocations.len() > 60, "{}", dump.allocations.len());
}
