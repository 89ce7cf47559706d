//! Callers that go on whatever happens to servers and database, and who hold them to what they were told.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use earmark::proto::allocation::v1::allocation_service_client::AllocationServiceClient;
use earmark::proto::allocation::v1::{
    Allocation, CancelAllocationRequest, CreateAllocationRequest,
};
use earmark::proto::common::v1::Balance;
use earmark::proto::network::v1::ConnectionMode;
use futures_util::{StreamExt, stream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tonic::Status;
use tonic_types::StatusExt;

use super::earmark::{Authorized, Earmark, Parties};
use super::ledger_dump::assert_sound;
use super::random::Random;
use super::service::is_replayed;

type Client = AllocationServiceClient<Authorized>;

/// Within this every call must come to its end, whatever happens in between.
const DECIDED_MAX: Duration = Duration::from_secs(60);
/// What each client has: enough.
const DEPOSIT: &str = "1000000";

/// Callers at work.
pub(crate) struct Load {
    shared: Arc<Shared>,
    callers: Vec<JoinHandle<Diary>>,
}

struct Shared {
    parties: Vec<Parties>,
    /// One client for each server; replaced when the server is.
    doors: Mutex<Vec<Client>>,
    ends: watch::Sender<bool>,
    acknowledged: watch::Sender<usize>,
}

/// What is asked for.
#[derive(Clone, Debug)]
enum Ask {
    Create(CreateAllocationRequest),
    Cancel(CancelAllocationRequest),
}

/// What the server says was done.
#[derive(Clone, Debug, PartialEq)]
struct Answer {
    allocation: Allocation,
    custody: Option<Balance>,
    connection: Option<Balance>,
}

/// What one caller was told.
#[derive(Default)]
struct Diary {
    /// In this order.
    done: Vec<(Ask, Answer)>,
    /// Those of which the caller knows that they were not applied, and which it gave up.
    given_up: Vec<Ask>,
    counts: Counts,
}

/// How often callers were told what.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    /// Writes that were acknowledged in the end.
    pub(crate) acknowledged: usize,
    /// Errors that said that nothing was applied.
    pub(crate) not_applied: usize,
    /// Errors that said that nobody knows, lost connections included.
    pub(crate) unknown: usize,
    /// Calls that repeated an earlier one.
    pub(crate) retried: usize,
    /// Of these, those that found it done.
    pub(crate) replayed: usize,
    /// The longest that one call took.
    pub(crate) slowest: Duration,
}

impl Counts {
    fn add(&mut self, other: &Self) {
        self.acknowledged += other.acknowledged;
        self.not_applied += other.not_applied;
        self.unknown += other.unknown;
        self.retried += other.retried;
        self.replayed += other.replayed;
        self.slowest = self.slowest.max(other.slowest);
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} acknowledged, {} unknown, {} not applied, {} retried, {} replayed, the slowest call {:?}",
            self.acknowledged,
            self.unknown,
            self.not_applied,
            self.retried,
            self.replayed,
            self.slowest
        )
    }
}

impl Load {
    /// Makes so many clients on the first server, and lets so many callers call all of the servers by chance.
    pub(crate) async fn start(
        servers: &[&Earmark],
        clients: usize,
        callers: usize,
        seed: u64,
    ) -> Self {
        let mut parties = Vec::new();
        for _ in 0..clients {
            let of_one = servers[0].parties(ConnectionMode::Confirmed).await;
            servers[0].deposit(&of_one.enterprise, "BTC", DEPOSIT).await;
            parties.push(of_one);
        }
        let doors = servers.iter().map(|server| door(server, &parties));
        let shared = Arc::new(Shared {
            doors: Mutex::new(doors.collect()),
            parties,
            ends: watch::Sender::default(),
            acknowledged: watch::Sender::default(),
        });
        let callers = (0..callers).map(|caller| {
            let random = Random::new(seed.wrapping_add(caller as u64));
            tokio::spawn(call_on(Arc::clone(&shared), caller, random))
        });
        Self {
            callers: callers.collect(),
            shared,
        }
    }

    /// Puts another server in the place of one that is gone.
    pub(crate) fn replace(&self, index: usize, server: &Earmark) {
        let door = door(server, &self.shared.parties);
        self.shared.doors()[index] = door;
    }

    /// Waits until so many more writes were acknowledged.
    pub(crate) async fn goes_on(&self, more: usize) {
        let mut acknowledged = self.shared.acknowledged.subscribe();
        let enough = *acknowledged.borrow_and_update() + more;
        let enough = acknowledged.wait_for(|count| *count >= enough);
        let waited = tokio::time::timeout(DECIDED_MAX, enough).await;
        waited.expect("writes are acknowledged").expect("callers");
    }

    /// Ends the calls, each decided, and holds the servers to all that was said: every acknowledged write is there once,
    /// asked again it is answered as before, and what was not applied is not there.
    pub(crate) async fn finish(self, server: &Earmark) -> Counts {
        self.shared.ends.send_replace(true);
        let (mut done, mut given_up) = (Vec::new(), Vec::new());
        let mut counts = Counts::default();
        for caller in self.callers {
            let diary = caller.await.unwrap_or_else(|panic| {
                std::panic::resume_unwind(panic.into_panic());
            });
            done.extend(diary.done);
            given_up.extend(diary.given_up);
            counts.add(&diary.counts);
        }
        eprintln!("{counts}");
        let client = door(server, &self.shared.parties);
        let again = done.iter().map(|(ask, answer)| {
            let client = client.clone();
            async move {
                let (again, replayed) = ask.call(client).await.expect("asked again");
                assert!(replayed, "acknowledged, but not there: {ask:?}");
                assert_same(ask, answer, &again);
            }
        });
        let again = stream::iter(again).buffer_unordered(64);
        again.collect::<()>().await;
        assert_nothing_else(server, &done, &given_up).await;
        counts
    }
}

/// A repeat shows the record as it stands now, and the balances as the first answer showed them.
fn assert_same(ask: &Ask, first: &Answer, again: &Answer) {
    let (mut first, mut again) = (first.clone(), again.clone());
    if matches!(ask, Ask::Create(_)) {
        assert_eq!(first.allocation.id, again.allocation.id, "{ask:?}");
        first.allocation = Allocation::default();
        again.allocation = Allocation::default();
    }
    assert_eq!(first, again, "{ask:?}");
}

/// The database holds what was acknowledged, and nothing else.
async fn assert_nothing_else(server: &Earmark, done: &[(Ask, Answer)], given_up: &[Ask]) {
    let dump = assert_sound(server).await;
    let records = dump.allocations.iter().map(|record| {
        let id = record.id.0.to_string();
        (id, record.client_external_id.as_str(), record.closed)
    });
    let (mut stored, mut stored_keys, mut closed) = Default::default();
    for (id, key, closing) in records {
        BTreeSet::insert(&mut stored_keys, key);
        if closing.is_some() {
            BTreeSet::insert(&mut closed, id.clone());
        }
        BTreeSet::insert(&mut stored, id);
    }
    let (mut created, mut cancelled) = (BTreeSet::new(), BTreeSet::new());
    for (ask, answer) in done {
        let is_new = match ask {
            Ask::Create(_) => created.insert(answer.allocation.id.clone()),
            Ask::Cancel(_) => cancelled.insert(answer.allocation.id.clone()),
        };
        assert!(is_new, "acknowledged twice: {ask:?}");
    }
    assert_eq!(stored, created);
    assert_eq!(closed, cancelled);
    for ask in given_up {
        let was_applied = match ask {
            Ask::Create(create) => stored_keys.contains(create.client_external_id.as_str()),
            Ask::Cancel(cancel) => closed.contains(&cancel.allocation_id),
        };
        assert!(!was_applied, "not_applied was said of {ask:?}");
    }
}

fn door(server: &Earmark, parties: &[Parties]) -> Client {
    let enterprises = parties.iter().map(|parties| parties.enterprise.as_str());
    let enterprises: Vec<_> = enterprises.collect();
    server.member(&enterprises).allocation
}

impl Shared {
    fn doors(&self) -> std::sync::MutexGuard<'_, Vec<Client>> {
        self.doors.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn any_door(&self, random: &mut Random) -> Client {
        let doors = self.doors();
        doors[random.number(0..doors.len())].clone()
    }
}

/// One caller: makes reservations and gives some of them up.
async fn call_on(shared: Arc<Shared>, caller: usize, mut random: Random) -> Diary {
    let mut diary = Diary::default();
    for index in 0.. {
        if *shared.ends.borrow() {
            break;
        }
        let parties = &shared.parties[random.number(0..shared.parties.len())];
        let create = parties.allocation("BTC", "1", &format!("{caller}-{index}"));
        let reserved = diary.ask(&shared, &mut random, Ask::Create(create)).await;
        if let Some(reserved) = reserved
            && random.one_in(3)
        {
            let cancel = Ask::Cancel(parties.cancel(&reserved.allocation.id));
            diary.ask(&shared, &mut random, cancel).await;
        }
        tokio::time::sleep(Duration::from_millis(random.number(0..8) as u64)).await;
    }
    diary
}

impl Diary {
    /// Asks until there is an answer, or until it is certain that nothing was applied.
    async fn ask(&mut self, shared: &Shared, random: &mut Random, ask: Ask) -> Option<Answer> {
        let begun = Instant::now();
        let mut may_be_applied = false;
        loop {
            let asked = Instant::now();
            let told = ask.call(shared.any_door(random)).await;
            self.counts.slowest = self.counts.slowest.max(asked.elapsed());
            match told {
                Ok((answer, replayed)) => {
                    assert!(
                        may_be_applied || !replayed,
                        "not_applied was said of {ask:?}"
                    );
                    self.counts.replayed += usize::from(replayed);
                    self.counts.acknowledged += 1;
                    shared.acknowledged.send_modify(|count| *count += 1);
                    self.done.push((ask, answer.clone()));
                    return Some(answer);
                }
                Err(status) if was_not_applied(&status) => {
                    self.counts.not_applied += 1;
                    let details = status.get_error_details();
                    assert!(details.retry_info().is_some(), "{status:?}");
                    if !may_be_applied && random.one_in(2) {
                        self.given_up.push(ask);
                        return None;
                    }
                }
                Err(_) => {
                    self.counts.unknown += 1;
                    may_be_applied = true;
                }
            }
            assert!(begun.elapsed() < DECIDED_MAX, "never decided: {ask:?}");
            self.counts.retried += 1;
            tokio::time::sleep(Duration::from_millis(random.number(10..60) as u64)).await;
        }
    }
}

/// An error that the transport made says nothing.
fn was_not_applied(status: &Status) -> bool {
    let info = status.get_details_error_info();
    info.is_some_and(|info| info.metadata.get("outcome").map(String::as_str) == Some("not_applied"))
}

impl Ask {
    /// The answer, and whether it repeats an earlier one.
    async fn call(&self, mut client: Client) -> Result<(Answer, bool), Status> {
        let (replayed, allocation, custody, connection) = match self {
            Self::Create(request) => {
                let answer = client.create_allocation(request.clone()).await?;
                let replayed = is_replayed(&answer);
                let answer = answer.into_inner();
                (
                    replayed,
                    answer.allocation,
                    answer.custody_balance,
                    answer.connection_balance,
                )
            }
            Self::Cancel(request) => {
                let answer = client.cancel_allocation(request.clone()).await?;
                let replayed = is_replayed(&answer);
                let answer = answer.into_inner();
                (
                    replayed,
                    answer.allocation,
                    answer.custody_balance,
                    answer.connection_balance,
                )
            }
        };
        let answer = Answer {
            allocation: allocation.expect("set"),
            custody,
            connection,
        };
        Ok((answer, replayed))
    }
}
