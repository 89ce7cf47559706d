//! One round: new owners, concurrent clients, and then the check of all that was recorded.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use earmark::proto::network::v1::ConnectionMode;
use futures_util::future::join_all;
use tokio::task::JoinHandle;
use uuid::Uuid;

use super::call::{
    Account, Answer, Balance, By, Call, Close, Command, Connection, Create, Item, Kind, Micros,
    Moment, Movement, Owner, Record, Unit, Verdict,
};
use super::check::{Findings, Past, check};
use super::plan::{
    CONNECTIONS, Ending, Expiry, Intent, NewRecord, OWN_CONNECTIONS, PARTNERS, PartnerKey, Pick,
    Plan, Shape, Slot, Step, Wrong, first_deposits, is_lapsed,
};
use super::report::{self, Counts, Progress};
use super::servers::{Disturbance, Servers};
use super::wire::ModelClient;
use crate::support::earmark as server;

/// Longer than any call may take.
const HANGS_AFTER: Duration = Duration::from_secs(45);
/// How long the clients may be at work: of a server that turns everybody away for minutes this is all that is seen.
fn works_at_most(shape: Shape) -> Duration {
    Duration::from_secs(60)
        + Duration::from_millis(10) * u32::try_from(shape.commands).unwrap_or(u32::MAX)
}

/// How long the ledger may take to release what is due when all have left.
const QUIET_AFTER: Duration = Duration::from_secs(20);

/// The owners and partners of a round.
pub(super) struct Parties {
    pub(super) owners: Vec<Owner>,
    /// The enterprises of the partners.
    pub(super) partners: Vec<String>,
}

impl Parties {
    /// Makes them all anew.
    async fn make(server: &server::Earmark, owners: usize) -> Self {
        let partners = join_all((0..PARTNERS).map(async |number| {
            let enterprise = server.enterprise(&format!("Partner side {number}")).await;
            let partner = server.partner(&enterprise.id, "Partner").await;
            if is_lapsed(number) {
                server.license(&enterprise.id, false).await;
            }
            (enterprise.id, partner)
        }));
        let partners = partners.await;
        let owners = (0..owners).map(async |_| {
            let enterprise = server.enterprise("Client side").await;
            let client = server.client(&enterprise.id).await;
            let own = CONNECTIONS[..OWN_CONNECTIONS].iter();
            let connections = own.map(async |(kind, partner)| {
                let (_, partner_id) = &partners[*partner];
                Connection {
                    id: connect(server, &enterprise.id, &client, partner_id, *kind).await,
                    kind: *kind,
                    partner: *partner,
                    partner_id: partner_id.clone(),
                }
            });
            Owner {
                connections: join_all(connections).await,
                enterprise: enterprise.id,
                client,
            }
        });
        let mut owners = join_all(owners).await;
        let foreign: Vec<Connection> = owners
            .iter()
            .map(|owner| {
                let (kind, partner) = CONNECTIONS[OWN_CONNECTIONS];
                let lent = owner.connections.iter();
                let mut lent = lent.filter(|connection| connection.partner == partner);
                let lent = lent.next().expect("a connection with that partner").clone();
                Connection { kind, ..lent }
            })
            .collect();
        let next = foreign.into_iter().cycle().skip(1);
        for (owner, foreign) in owners.iter_mut().zip(next) {
            owner.connections.push(foreign);
        }
        Self {
            owners,
            partners: partners.into_iter().map(|(id, _)| id).collect(),
        }
    }

    fn enterprises(&self) -> Vec<&str> {
        let owners = self.owners.iter().map(|owner| &*owner.enterprise);
        owners.chain(self.partners.iter().map(|id| &**id)).collect()
    }
}

async fn connect(
    server: &server::Earmark,
    enterprise: &str,
    client: &str,
    partner: &str,
    kind: Kind,
) -> String {
    let parties = server::Parties {
        enterprise: enterprise.into(),
        client: client.into(),
        partner: partner.into(),
        partner_enterprise: String::new(),
        connection: String::new(),
    };
    let mode = match kind {
        Kind::Instant => ConnectionMode::Instant,
        Kind::Confirmed | Kind::Disabled | Kind::Lapsed | Kind::Foreign => {
            ConnectionMode::Confirmed
        }
    };
    let id = server.connection(&parties, mode).await;
    if kind == Kind::Disabled {
        server.enable_allocations(&id, false).await;
    }
    id
}

/// What the plan cannot know.
#[derive(Default)]
struct Seen {
    /// When a key was first used.
    first_used: HashMap<Slot, Micros>,
    known: HashSet<Uuid>,
    /// The records of each owner with their connections, in the order in which they were heard of.
    records: HashMap<usize, Vec<(Uuid, usize)>>,
}

/// A round, as its workers share it.
struct Round {
    seed: u64,
    shape: Shape,
    disturbance: Disturbance,
    parties: Parties,
    model_clients: Vec<ModelClient>,
    seen: Mutex<Seen>,
    order: AtomicU64,
    done: AtomicUsize,
    progress: Arc<Progress>,
}

/// All that is known after a round.
pub(super) struct RoundResult {
    pub(super) counts: Counts,
    /// How long the clients were at work.
    pub(super) worked: Duration,
    seed: u64,
    shape: Shape,
    disturbance: Disturbance,
    pub(super) parties: Parties,
    /// What was recorded about each owner.
    pub(super) evidence: Vec<Evidence>,
}

/// What was seen of one owner.
#[derive(Clone)]
pub(super) struct Evidence {
    pub(super) calls: Vec<Call>,
    pub(super) journal: Vec<Movement>,
    pub(super) records: Vec<Record>,
    pub(super) balances: BTreeMap<(Account, Unit), Balance>,
    pub(super) was_killed: bool,
}

/// Runs one round and returns what was recorded.
pub(super) async fn play(
    servers: &Servers,
    seed: u64,
    shape: Shape,
    disturbance: Disturbance,
    progress: &Arc<Progress>,
) -> RoundResult {
    let _recipe = Recipe(report::recipe(seed, shape, disturbance));
    let parties = Parties::make(servers.one(), shape.owners).await;
    let round = Arc::new(Round {
        seed,
        shape,
        disturbance,
        model_clients: servers.model_clients(&parties.enterprises()).await,
        parties,
        seen: Mutex::default(),
        order: AtomicU64::new(1),
        done: AtomicUsize::new(0),
        progress: Arc::clone(progress),
    });
    let mut calls = round.deposit().await;
    let started = Instant::now();
    if disturbance == Disturbance::SlowCommits {
        servers.slow_commits_down().await;
    }
    let workers: Vec<_> = (0..shape.workers)
        .map(|worker| tokio::spawn(Arc::clone(&round).work(worker)))
        .collect();
    let work = async { tokio::join!(finished(workers), round.make_trouble(servers)).0 };
    let worked = tokio::time::timeout(works_at_most(shape), work).await;
    calls.extend(worked.expect("the clients are done in time"));
    let worked = started.elapsed();
    if disturbance == Disturbance::SlowCommits {
        servers.hurry_commits().await;
    }
    let again = round.ask_again(&calls).await;
    calls.extend(again);
    servers.nothing_is_due_within(QUIET_AFTER).await;
    let counts = Counts::of(&calls);
    let evidence = round.gather(calls).await;
    let round = Arc::into_inner(round).expect("the workers are done");
    RoundResult {
        counts,
        worked,
        seed,
        shape,
        disturbance,
        parties: round.parties,
        evidence,
    }
}

/// Says how a round is played again if it panics, wherever that may be.
struct Recipe(String);

impl Drop for Recipe {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("again: {}", self.0);
        }
    }
}

impl Evidence {
    pub(super) fn past<'a>(&'a self, owner: &'a Owner) -> Past<'a> {
        Past {
            owner,
            calls: &self.calls,
            journal: &self.journal,
            records: &self.records,
            balances: &self.balances,
            was_killed: self.was_killed,
        }
    }
}

impl RoundResult {
    /// Holds it against the reference.
    pub(super) fn check(&self) -> Findings {
        let mut all = Findings::default();
        for (number, (owner, evidence)) in
            self.parties.owners.iter().zip(&self.evidence).enumerate()
        {
            let past = evidence.past(owner);
            match check(&past) {
                Ok(findings) => all.add(findings),
                Err(breach) => panic!(
                    "{}",
                    report::failure(
                        self.seed,
                        self.shape,
                        self.disturbance,
                        number,
                        &past,
                        &breach
                    )
                ),
            }
        }
        all
    }
}

async fn finished(workers: Vec<JoinHandle<Vec<Call>>>) -> Vec<Call> {
    let mut calls = Vec::new();
    for worker in workers {
        match worker.await {
            Ok(of_worker) => calls.extend(of_worker),
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    }
    calls
}

impl Round {
    fn now(&self) -> Moment {
        let clock = SystemTime::now().duration_since(UNIX_EPOCH);
        let clock = clock.expect("after 1970").as_micros();
        Moment {
            order: self.order.fetch_add(1, Ordering::SeqCst),
            clock: Micros::try_from(clock).expect("some time yet"),
        }
    }

    async fn deposit(&self) -> Vec<Call> {
        let mut calls = Vec::new();
        for adjust in first_deposits() {
            let deposits = (0..self.shape.owners).map(|owner| {
                let command = Command::Adjust(adjust.clone());
                self.call(owner, 0, false, None, command)
            });
            calls.extend(join_all(deposits).await);
        }
        calls
    }

    async fn work(self: Arc<Self>, worker: usize) -> Vec<Call> {
        let mut calls = Vec::new();
        for step in Plan::new(self.seed, self.shape, worker) {
            let command = self.resolve(&step);
            let call = self.call(
                step.owner,
                step.server,
                step.validate_only,
                step.patience,
                command,
            );
            let call = call.await;
            self.learn(&call);
            let weight = call.command.weight();
            self.done.fetch_add(weight, Ordering::Relaxed);
            self.progress.add(weight);
            if matches!(call.answer, Answer::Lost(_)) {
                // The server comes back soon.
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            calls.push(call);
        }
        calls
    }

    async fn call(
        &self,
        owner: usize,
        server: usize,
        validate_only: bool,
        patience: Option<Duration>,
        command: Command,
    ) -> Call {
        let asked = self.now();
        let client = &self.model_clients[server];
        let sent = client.send(&self.parties, owner, &command, validate_only);
        let answer = match tokio::time::timeout(patience.unwrap_or(HANGS_AFTER), sent).await {
            Ok(answer) => answer,
            Err(_) if patience.is_some() => Answer::Left,
            Err(_) => Answer::Lost(format!("no answer within {HANGS_AFTER:?}")),
        };
        Call {
            owner,
            server,
            validate_only,
            command,
            answer,
            asked,
            answered: self.now(),
        }
    }

    /// Kills a process now and then, while the workers are at work.
    async fn make_trouble(&self, servers: &Servers) {
        if self.disturbance != Disturbance::Killing {
            return;
        }
        for part in [1, 2, 3] {
            let goal = self.shape.commands * part / 4;
            while self.done.load(Ordering::Relaxed) < goal {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            servers.kill_and_restart().await;
        }
    }

    /// Repeats the calls whose outcome is unknown, until each is decided.
    async fn ask_again(&self, calls: &[Call]) -> Vec<Call> {
        let untold = calls
            .iter()
            .filter(|call| call.answer.is_unknown() && call.command.is_write());
        let mut again = Vec::new();
        for call in untold {
            let command = call.command.clone();
            let server = 1 - call.server;
            let call = self.call(call.owner, server, call.validate_only, None, command);
            again.push(call.await);
        }
        again
    }

    fn resolve(&self, step: &Step) -> Command {
        match &step.intent {
            Intent::Create(new) => Command::Create(self.create(new)),
            Intent::Submit(items) => {
                Command::Submit(items.iter().map(|new| self.create(new)).collect())
            }
            Intent::Close {
                pick,
                ending,
                wrong,
            } => {
                let (id, connection) = self.pick(step.owner, *pick);
                Command::Close(close(id, connection, ending, *wrong))
            }
            Intent::Adjust(adjust) => Command::Adjust(adjust.clone()),
            Intent::Get { pick, by } => Command::Get {
                id: self.pick(step.owner, *pick).0,
                by: *by,
            },
            Intent::GetBalance { account, unit } => Command::GetBalance {
                account: *account,
                unit,
            },
            Intent::ListBalances => Command::ListBalances,
        }
    }

    fn create(&self, new: &NewRecord) -> Create {
        let now = self.now().clock;
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let first_used = *seen.first_used.entry(new.slot).or_insert(now);
        let expire_time = match new.expiry {
            Expiry::Never => None,
            Expiry::After(time) => {
                let time = Micros::try_from(time.as_micros()).expect("an hour at most");
                Some(first_used + time + Micros::from(new.is_later))
            }
            Expiry::Past => Some(first_used - 1_000_000),
        };
        Create {
            direction: new.slot.direction,
            connection: new.connection,
            unit: new.unit,
            quantity: new.quantity,
            key: new.slot.key.to_string(),
            notes: new.notes.clone(),
            expire_time,
        }
    }

    /// A record and its connection, or nobody's id.
    fn pick(&self, owner: usize, pick: Pick) -> (Uuid, usize) {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let records = seen.records.get(&owner).map_or(&[][..], Vec::as_slice);
        let found = match pick {
            Pick::Newest(back) => {
                let back = back.min(records.len().saturating_sub(1));
                records.iter().rev().nth(back).copied()
            }
            Pick::Nobody => None,
        };
        found.unwrap_or_else(|| (server::NOBODY.parse().expect("a UUID"), 0))
    }

    /// Remembers the records that the server has shown.
    fn learn(&self, call: &Call) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let mut know = |record: &Record| {
            if !record.id.is_nil() && seen.known.insert(record.id) {
                let records = seen.records.entry(call.owner).or_default();
                records.push((record.id, record.connection));
            }
        };
        match &call.answer {
            Answer::Record { record, .. } => know(record),
            Answer::Items(items) => {
                for item in items {
                    if let Item::Record { record, .. } = item {
                        know(record);
                    }
                }
            }
            _ => {}
        }
    }

    /// Reads what there is.
    async fn gather(&self, calls: Vec<Call>) -> Vec<Evidence> {
        let by_owner = of_each(calls, self.shape.owners);
        let mut all = Vec::new();
        for (number, (owner, calls)) in self.parties.owners.iter().zip(by_owner).enumerate() {
            let client = &self.model_clients[number % self.model_clients.len()];
            let balances = client.balances(owner).await;
            let mut theirs = balances.clone();
            theirs.retain(|(account, _), _| *account != Account::Custody);
            let seen = client.partners_balances(&self.parties, owner).await;
            assert_eq!(seen, theirs, "what the partners see of owner {number}");
            all.push(Evidence {
                calls,
                journal: client.journal(owner).await,
                records: client.records(&self.parties, number).await,
                balances,
                was_killed: self.disturbance == Disturbance::Killing,
            });
        }
        all
    }
}

fn close(id: Uuid, connection: usize, ending: &Ending, wrong: Option<Wrong>) -> Close {
    let partner_key = |key: PartnerKey| match key {
        PartnerKey::None => None,
        PartnerKey::Own => Some(format!("partner's {id}")),
        PartnerKey::Another => Some("another".into()),
    };
    let verdict = match ending {
        Ending::Clear(key) => Verdict::Clear {
            partner_key: partner_key(*key),
        },
        Ending::Release(key, reason) => Verdict::Release {
            partner_key: partner_key(*key),
            reason: reason.clone(),
        },
        Ending::Cancel(reason) => Verdict::Cancel {
            reason: reason.clone(),
        },
    };
    let by = match (wrong, ending) {
        (Some(Wrong::By(by)), _) => by,
        (_, Ending::Cancel(_)) => By::Client,
        _ => By::Partner(CONNECTIONS[connection].1),
    };
    let named = match wrong {
        Some(Wrong::Connection) => (connection + 1) % CONNECTIONS.len(),
        _ => connection,
    };
    Close {
        id,
        by,
        connection: named,
        verdict,
    }
}

fn of_each(calls: Vec<Call>, owners: usize) -> Vec<Vec<Call>> {
    let mut by_owner: Vec<Vec<Call>> = (0..owners).map(|_| Vec::new()).collect();
    for call in calls {
        by_owner[call.owner].push(call);
    }
    for calls in &mut by_owner {
        calls.sort_by_key(|call| call.asked.order);
    }
    by_owner
}
