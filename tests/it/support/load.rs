//! Background load that survives faults, and checks that what the servers answered is what they stored.

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

/// Every call must be decided within this time, retries included.
const DECIDED_MAX: Duration = Duration::from_secs(60);
/// Each client's deposit: more than all calls reserve.
const DEPOSIT: &str = "1000000";

/// A set of concurrent callers on one or more servers.
pub(crate) struct Load {
    shared: Arc<Shared>,
    callers: Vec<JoinHandle<CallerLog>>,
}

struct Shared {
    parties: Vec<Parties>,
    /// One client for each server; replaced when the server is.
    server_clients: Mutex<Vec<Client>>,
    ends: watch::Sender<bool>,
    acknowledged: watch::Sender<usize>,
}

/// A call that the load makes.
#[derive(Clone, Debug)]
enum Request {
    Create(CreateAllocationRequest),
    Cancel(CancelAllocationRequest),
}

/// What the server answered to a call.
#[derive(Clone, Debug, PartialEq)]
struct Answer {
    allocation: Allocation,
    custody: Option<Balance>,
    connection: Option<Balance>,
}

/// The answers that one caller got.
#[derive(Default)]
struct CallerLog {
    /// Acknowledged calls, in the order of their answers.
    done: Vec<(Request, Answer)>,
    /// Calls that were not applied, by the server's own statement, and not repeated.
    given_up: Vec<Request>,
    counts: Counts,
}

/// How many answers of each kind the callers got.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    /// Writes that were acknowledged in the end.
    pub(crate) acknowledged: usize,
    /// Errors with the outcome `not_applied`.
    pub(crate) not_applied: usize,
    /// Errors with the outcome `unknown`, and lost connections.
    pub(crate) unknown: usize,
    /// Calls that repeated an earlier one.
    pub(crate) retried: usize,
    /// Repeated calls that were answered as replays.
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
    /// Creates clients on the first server and starts callers that pick a random server for each call.
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
        let server_clients = servers.iter().map(|server| door(server, &parties));
        let shared = Arc::new(Shared {
            server_clients: Mutex::new(server_clients.collect()),
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

    /// Replaces a server that was stopped.
    pub(crate) fn replace(&self, index: usize, server: &Earmark) {
        let door = door(server, &self.shared.parties);
        self.shared.server_clients()[index] = door;
    }

    /// Waits for this many more acknowledged writes.
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
            let log = caller.await.unwrap_or_else(|panic| {
                std::panic::resume_unwind(panic.into_panic());
            });
            done.extend(log.done);
            given_up.extend(log.given_up);
            counts.add(&log.counts);
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
fn assert_same(ask: &Request, first: &Answer, again: &Answer) {
    let (mut first, mut again) = (first.clone(), again.clone());
    if matches!(ask, Request::Create(_)) {
        assert_eq!(first.allocation.id, again.allocation.id, "{ask:?}");
        first.allocation = Allocation::default();
        again.allocation = Allocation::default();
    }
    assert_eq!(first, again, "{ask:?}");
}

/// The database holds what was acknowledged, and nothing else.
async fn assert_nothing_else(server: &Earmark, done: &[(Request, Answer)], given_up: &[Request]) {
    let dump = assert_sound(server).await;
    let records = dump.allocations.iter().map(|record| {
        let id = record.record.id.0.to_string();
        (
            id,
            record.record.terms.client_external_id.as_str(),
            record.closed,
        )
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
            Request::Create(_) => created.insert(answer.allocation.id.clone()),
            Request::Cancel(_) => cancelled.insert(answer.allocation.id.clone()),
        };
        assert!(is_new, "acknowledged twice: {ask:?}");
    }
    assert_eq!(stored, created);
    assert_eq!(closed, cancelled);
    for ask in given_up {
        let was_applied = match ask {
            Request::Create(create) => stored_keys.contains(create.client_external_id.as_str()),
            Request::Cancel(cancel) => closed.contains(&cancel.allocation_id),
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
    fn server_clients(&self) -> std::sync::MutexGuard<'_, Vec<Client>> {
        self.server_clients
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn any_door(&self, random: &mut Random) -> Client {
        let server_clients = self.server_clients();
        server_clients[random.number(0..server_clients.len())].clone()
    }
}

/// One caller: makes reservations and gives some of them up.
async fn call_on(shared: Arc<Shared>, caller: usize, mut random: Random) -> CallerLog {
    let mut log = CallerLog::default();
    for index in 0.. {
        if *shared.ends.borrow() {
            break;
        }
        let parties = &shared.parties[random.number(0..shared.parties.len())];
        let create = parties.allocation("BTC", "1", &format!("{caller}-{index}"));
        let reserved = log.ask(&shared, &mut random, Request::Create(create)).await;
        if let Some(reserved) = reserved
            && random.one_in(3)
        {
            let cancel = Request::Cancel(parties.cancel(&reserved.allocation.id));
            log.ask(&shared, &mut random, cancel).await;
        }
        tokio::time::sleep(Duration::from_millis(random.number(0..8) as u64)).await;
    }
    log
}

impl CallerLog {
    /// Repeats a call until it is answered or was certainly not applied.
    async fn ask(&mut self, shared: &Shared, random: &mut Random, ask: Request) -> Option<Answer> {
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

/// An error of the transport says nothing about the outcome.
fn was_not_applied(status: &Status) -> bool {
    let info = status.get_details_error_info();
    info.is_some_and(|info| info.metadata.get("outcome").map(String::as_str) == Some("not_applied"))
}

impl Request {
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
