//! The model test for prepaid buckets: many clients charge a few buckets through both processes.
//!
//! Each key is used for one command only, so the journal says of each movement whose it is. The commands are then done
//! again in the journal's order by [`check`]: each must lead to what is stored there, and to what its caller was told.

mod check;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use earmark::proto::bucket::v1::bucket_service_client::BucketServiceClient;
use earmark::proto::bucket::v1::{
    BalanceAction, Bucket, CostOwner, DeductBalanceRequest, GetBucketRequest,
    ListBalanceActionsRequest, ReserveBalanceRequest, TimePeriod, TopupBalanceRequest,
    TransferBalanceRequest,
};
use futures_util::future::join_all;
use prost_types::Timestamp;
use tonic::Status;
use tonic_types::StatusExt as _;
use uuid::Uuid;

use super::seed;
use super::servers::{Disturbance, Servers};
use crate::support::bucket_fixture::{
    adjust, amount, close, creation, deduct, of_party, reserve, topup, transfer, unreserve, values,
};
use crate::support::earmark::Authorized;
use crate::support::random::Random;

const BUCKETS: usize = 4;
/// The bucket whose validity ends again and again, and that is closed at last.
const MORTAL: usize = 1;
/// How long it is valid from a top-up on.
const VALIDITY: Duration = Duration::from_millis(400);
const WORKERS: usize = 48;
const STEPS: usize = 40;
/// One EUR, counted in the last of twelve places.
const ONE: i128 = 1_000_000_000_000;

/// What is asked; amounts are counted in the last of twelve places.
#[derive(Clone, Debug, PartialEq)]
enum Command {
    Topup(i128),
    /// Valid until then at least.
    TopupUntil {
        value: i128,
        end: SystemTime,
    },
    Adjust(i128),
    /// Writes off what remains.
    Close,
    Deduct(i128),
    Reserve {
        value: i128,
        expires: Option<SystemTime>,
    },
    Unreserve(Uuid),
    Draw {
        reserve: Uuid,
        value: i128,
        keep_rest: bool,
    },
    Transfer {
        to: usize,
        value: i128,
        cost: Option<(i128, bool)>,
    },
    Get,
}

impl Command {
    /// The end of validity that a top-up asks for.
    fn end(&self) -> Option<SystemTime> {
        match self {
            Self::TopupUntil { end, .. } => Some(*end),
            _ => None,
        }
    }
}

/// A bucket's values as an answer shows them.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Seen {
    remaining: i128,
    reserved: i128,
    /// Of the bucket, as answers have it; [`check`] makes that of its account of it, which does not count updates.
    version: usize,
}

#[derive(Clone, Debug)]
enum Outcome {
    Done {
        id: Uuid,
        seen: Seen,
    },
    Read(Seen),
    /// Closed with nothing to write off.
    Closed(Seen),
    /// Too little: what there was.
    Short(i128),
    Refused(String),
    /// It may have happened.
    Lost,
}

#[derive(Clone, Debug)]
struct Call {
    bucket: usize,
    key: String,
    command: Command,
    told: Outcome,
    asked: u64,
    answered: u64,
}

/// The clients and the state that they share.
struct Play {
    clients: Vec<BucketServiceClient<Authorized>>,
    seed: u64,
    order: AtomicU64,
    done: AtomicUsize,
    /// Reserves that somebody was told of, by bucket.
    reserves: Mutex<Vec<(usize, Uuid)>>,
}

fn text(value: i128) -> String {
    let sign = if value < 0 { "-" } else { "" };
    let (whole, fraction) = (value.abs() / ONE, value.abs() % ONE);
    format!("{sign}{whole}.{fraction:012}")
}

fn number(text: &str) -> i128 {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    format!("{whole}{fraction:0<12}").parse().expect("a number")
}

fn seen(bucket: Option<Bucket>) -> Seen {
    let bucket = bucket.expect("a bucket");
    let (remaining, reserved) = values(&bucket);
    Seen {
        remaining: number(&remaining),
        reserved: number(&reserved),
        version: usize::try_from(bucket.version).expect("counts up"),
    }
}

fn done(action: Option<BalanceAction>, bucket: Option<Bucket>) -> Outcome {
    Outcome::Done {
        id: action.expect("an action").id.parse().expect("a UUID"),
        seen: seen(bucket),
    }
}

fn closed(written_off: Option<BalanceAction>, bucket: Option<Bucket>) -> Outcome {
    match written_off {
        None => Outcome::Closed(seen(bucket)),
        written_off => done(written_off, bucket),
    }
}

fn refused(status: &Status) -> Outcome {
    let details = status.get_error_details();
    let Some(info) = details.error_info() else {
        return Outcome::Lost;
    };
    if info
        .metadata
        .get("outcome")
        .is_some_and(|told| told == "unknown")
    {
        return Outcome::Lost;
    }
    match &*info.reason {
        "INSUFFICIENT_BALANCE" => Outcome::Short(number(&info.metadata["available"])),
        reason => Outcome::Refused(reason.into()),
    }
}

impl Play {
    fn now(&self) -> u64 {
        self.order.fetch_add(1, Ordering::SeqCst)
    }

    async fn work(self: Arc<Self>, worker: usize) -> Vec<Call> {
        let mut random = Random::new(self.seed ^ (worker as u64) << 32);
        let mut calls: Vec<Call> = Vec::new();
        for step in 0..STEPS {
            let again = random.one_in(12).then(|| calls.last().cloned()).flatten();
            // Whoever was told nothing asks again, and is told.
            let lost = calls
                .last()
                .filter(|call| matches!(call.told, Outcome::Lost))
                .cloned();
            let (bucket, key, command) = match lost.or(again) {
                Some(call) => (call.bucket, call.key, call.command),
                None => {
                    let bucket = random.number(0..BUCKETS).min(random.number(0..BUCKETS));
                    let is_late = step > STEPS * 3 / 4;
                    let command = match bucket {
                        MORTAL if is_late && random.one_in(3) => Command::Close,
                        MORTAL if random.one_in(3) => Command::TopupUntil {
                            value: ONE,
                            end: SystemTime::now() + VALIDITY,
                        },
                        _ => self.command(&mut random, bucket),
                    };
                    (bucket, format!("{worker}-{step}"), command)
                }
            };
            let server = random.number(0..self.clients.len());
            let call = self.call(server, bucket, key, command).await;
            if let (Command::Reserve { .. }, Outcome::Done { id, .. }) = (&call.command, &call.told)
            {
                self.reserves.lock().expect("whole").push((bucket, *id));
            }
            if matches!(call.told, Outcome::Lost) {
                // The server comes back soon.
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            self.done.fetch_add(1, Ordering::Relaxed);
            calls.push(call);
        }
        while let Some(call) = calls
            .last()
            .filter(|call| matches!(call.told, Outcome::Lost))
        {
            let Call {
                bucket,
                key,
                command,
                ..
            } = call.clone();
            calls.push(self.call(0, bucket, key, command).await);
        }
        calls
    }

    fn command(&self, random: &mut Random, bucket: usize) -> Command {
        let value = |random: &mut Random| match random.number(0..3) {
            0 => random.number(1..999) as i128,
            1 => random.number(1..40) as i128 * ONE / 8,
            _ => random.number(1..12) as i128 * ONE,
        };
        let reserve = |random: &mut Random| {
            let reserves = self.reserves.lock().expect("whole");
            let newest = reserves.len().saturating_sub(40);
            let of_bucket = reserves[newest..].iter().filter(|(of, _)| *of == bucket);
            let of_bucket: Vec<Uuid> = of_bucket.map(|(_, id)| *id).collect();
            match of_bucket.len() {
                0 => None,
                many => Some(of_bucket[random.number(0..many)]),
            }
        };
        match random.number(0..20) {
            0 => Command::Topup(value(random)),
            // No end is never shortened: this changes nothing but the value.
            1 => Command::TopupUntil {
                value: value(random),
                end: SystemTime::now() + VALIDITY,
            },
            2 => Command::Adjust(value(random)),
            3 => Command::Adjust(-value(random)),
            4..=6 => Command::Deduct(value(random)),
            7..=10 => Command::Reserve {
                value: value(random),
                // Open reserves would keep the mortal bucket open.
                expires: (random.one_in(3) || bucket == MORTAL)
                    .then(|| SystemTime::now() + Duration::from_millis(300)),
            },
            11 | 12 => match reserve(random) {
                Some(id) => Command::Unreserve(id),
                None => Command::Get,
            },
            13..=15 => match reserve(random) {
                Some(reserve) => Command::Draw {
                    reserve,
                    value: value(random),
                    keep_rest: random.one_in(2),
                },
                None => Command::Get,
            },
            16 | 17 => Command::Transfer {
                to: (bucket + random.number(1..BUCKETS)) % BUCKETS,
                value: value(random),
                cost: random.one_in(2).then(|| (value(random), random.one_in(2))),
            },
            _ => Command::Get,
        }
    }

    /// Closes the mortal bucket through both processes at the same time, unless somebody has closed it; then repeats that.
    async fn close(&self) -> Vec<Call> {
        let mut calls = Vec::new();
        for _ in 0..2 {
            let closings = (0..self.clients.len()).map(|server| {
                let key = format!("close {server}");
                self.call(server, MORTAL, key, Command::Close)
            });
            calls.extend(join_all(closings).await);
        }
        calls
    }

    async fn call(&self, server: usize, bucket: usize, key: String, command: Command) -> Call {
        let asked = self.now();
        let told = self.send(server, bucket, &key, &command).await;
        Call {
            bucket,
            key,
            command,
            told: told.unwrap_or_else(|status| refused(&status)),
            asked,
            answered: self.now(),
        }
    }

    async fn send(
        &self,
        server: usize,
        bucket: usize,
        key: &str,
        command: &Command,
    ) -> Result<Outcome, Status> {
        let mut client = self.clients[server].clone();
        let bucket = bucket.to_string();
        Ok(match command {
            Command::Get => {
                let request = GetBucketRequest {
                    id: bucket,
                    ..Default::default()
                };
                let answer = client.get_bucket(request).await?.into_inner();
                Outcome::Read(seen(answer.bucket))
            }
            Command::Topup(value) | Command::TopupUntil { value, .. } => {
                let request = TopupBalanceRequest {
                    valid_for_end: command.end().map(Timestamp::from),
                    ..topup(&bucket, &text(*value), key)
                };
                let answer = client.topup_balance(request).await?.into_inner();
                done(answer.balance_action, answer.bucket)
            }
            Command::Close => {
                let request = close(&bucket, true, key);
                let answer = client.close_bucket(request).await?.into_inner();
                closed(answer.balance_action, answer.bucket)
            }
            Command::Adjust(value) => {
                let request = adjust(&bucket, &text(*value), key);
                let answer = client.adjust_balance(request).await?.into_inner();
                done(answer.balance_action, answer.bucket)
            }
            Command::Deduct(value) => {
                let request = deduct(&bucket, &text(*value), key);
                let answer = client.deduct_balance(request).await?.into_inner();
                done(answer.balance_action, answer.bucket)
            }
            Command::Draw {
                reserve,
                value,
                keep_rest,
            } => {
                let request = DeductBalanceRequest {
                    reserve_id: Some(reserve.to_string()),
                    keep_rest: *keep_rest,
                    ..deduct(&bucket, &text(*value), key)
                };
                let answer = client.deduct_balance(request).await?.into_inner();
                done(answer.balance_action, answer.bucket)
            }
            Command::Reserve { value, expires } => {
                let request = ReserveBalanceRequest {
                    expire_time: expires.map(Timestamp::from),
                    ..reserve(&bucket, &text(*value), key)
                };
                let answer = client.reserve_balance(request).await?.into_inner();
                done(answer.balance_action, answer.bucket)
            }
            Command::Unreserve(id) => {
                let request = unreserve(&bucket, &id.to_string(), key);
                let answer = client.unreserve_balance(request).await?.into_inner();
                done(answer.balance_action, answer.bucket)
            }
            Command::Transfer { to, value, cost } => {
                let request = transfer_request(&bucket, *to, *value, *cost, key);
                let answer = client.transfer_balance(request).await?.into_inner();
                done(answer.balance_action, answer.bucket)
            }
        })
    }
}

fn transfer_request(
    from: &str,
    to: usize,
    value: i128,
    cost: Option<(i128, bool)>,
    key: &str,
) -> TransferBalanceRequest {
    let request = transfer(from, &to.to_string(), &text(value), key);
    let Some((cost, by_receiver)) = cost else {
        return request;
    };
    let payer = match by_receiver {
        true => CostOwner::Receiver,
        false => CostOwner::Originator,
    };
    TransferBalanceRequest {
        transfer_cost: amount(&text(cost), "EUR"),
        cost_owner: payer.into(),
        ..request
    }
}

/// The party accounts of even and odd buckets.
const PARTIES: [&str; 2] = ["even", "odd"];

async fn create(mut client: BucketServiceClient<Authorized>, end: SystemTime) {
    for number in 0..BUCKETS {
        let request = creation(Bucket {
            valid_for: (number == MORTAL).then(|| TimePeriod {
                start_date_time: None,
                end_date_time: Some(end.into()),
            }),
            ..of_party(PARTIES[number % 2], &number.to_string(), "60", "EUR")
        });
        client.create_bucket(request).await.expect("created");
    }
}

/// Plays a round on new buckets, and holds it against the reference.
async fn one_round(disturbance: Disturbance) {
    let seed = seed();
    eprintln!("EARMARK_MODEL_SEED={seed}");
    let servers = Servers::start().await;
    let tenant = Uuid::new_v4();
    let clients = servers.bucket_clients(tenant).await;
    let end = SystemTime::now() + VALIDITY;
    create(clients[0].clone(), end).await;
    let reader = clients[0].clone();
    let play = Arc::new(Play {
        clients,
        seed,
        order: AtomicU64::new(1),
        done: AtomicUsize::new(0),
        reserves: Mutex::default(),
    });
    let workers = (0..WORKERS).map(|worker| tokio::spawn(Arc::clone(&play).work(worker)));
    let work = join_all(workers);
    let make_trouble = async {
        if disturbance != Disturbance::Killing {
            return;
        }
        for part in [1, 2] {
            while play.done.load(Ordering::Relaxed) < WORKERS * STEPS * part / 3 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            servers.kill_and_restart().await;
        }
    };
    let (calls, ()) = tokio::join!(work, make_trouble);
    let mut calls: Vec<Call> = calls
        .into_iter()
        .flat_map(|calls| calls.expect("no panic"))
        .collect();
    let sql = servers.one().sql().await;
    // What is due is released without any call.
    let due =
        "SELECT count(*) FROM bucket_action WHERE status = 'CREATED' AND expire_time IS NOT NULL";
    while servers.one().count(due).await > 0 {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    calls.extend(play.close().await);
    let entries = servers.verify().await;
    assert_varied(&calls, entries);
    check::check(&sql, tenant, &mut calls, end).await;
    // A server that was killed may still be on its way up.
    let mut reader = match disturbance {
        Disturbance::Killing => servers.bucket_clients(tenant).await[0].clone(),
        _ => reader,
    };
    histories_add_up(&mut reader).await;
}

/// Every outcome that the check is about has come often enough.
fn assert_varied(calls: &[Call], entries: impl std::fmt::Display) {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for call in calls {
        let name = match &call.told {
            Outcome::Done { .. } => "done",
            Outcome::Read(_) => "read",
            Outcome::Closed(_) => "closed",
            Outcome::Short(_) => "INSUFFICIENT_BALANCE",
            Outcome::Refused(reason) => reason,
            Outcome::Lost => "lost",
        };
        *counts.entry(name.into()).or_default() += 1;
    }
    eprintln!("{} calls, {entries} entries: {counts:?}", calls.len());
    for (needed, least) in [
        ("done", 20),
        ("read", 20),
        ("INSUFFICIENT_BALANCE", 20),
        ("ALREADY_TERMINAL", 20),
        // How often it is met depends on how fast the machine is.
        ("BUCKET_NOT_USABLE", 5),
    ] {
        assert!(
            counts.get(needed).is_some_and(|count| *count > least),
            "{counts:?}"
        );
    }
    let is_closing =
        |call: &&Call| call.command == Command::Close && !matches!(call.told, Outcome::Refused(_));
    assert!(calls.iter().any(|call| is_closing(&call)), "never closed");
}

/// The changes of all listed actions are what each bucket and each party account has.
async fn histories_add_up(client: &mut BucketServiceClient<Authorized>) {
    let mut by_party: BTreeMap<&str, (i128, i128)> = BTreeMap::new();
    for place in 0..BUCKETS {
        let request = GetBucketRequest {
            id: place.to_string(),
            ..Default::default()
        };
        let bucket = client.get_bucket(request).await.expect("there");
        let (remaining, reserved) = values(&bucket.into_inner().bucket.expect("set"));
        let has = (number(&remaining), number(&reserved));
        let of_bucket = ListBalanceActionsRequest {
            bucket_ids: vec![place.to_string()],
            ..Default::default()
        };
        assert_eq!(sum_of_history(client, of_bucket).await, has, "{place}");
        let party = by_party.entry(PARTIES[place % 2]).or_default();
        *party = (party.0 + has.0, party.1 + has.1);
    }
    for (party, has) in by_party {
        let of_party = ListBalanceActionsRequest {
            party_account_ids: vec![party.into()],
            ..Default::default()
        };
        assert_eq!(sum_of_history(client, of_party).await, has, "{party}");
    }
}

async fn sum_of_history(
    client: &mut BucketServiceClient<Authorized>,
    mut page: ListBalanceActionsRequest,
) -> (i128, i128) {
    let mut sum = (0, 0);
    loop {
        let answer = client.list_balance_actions(page.clone()).await;
        let answer = answer.expect("listed").into_inner();
        let actions = answer.balance_actions.iter();
        for delta in actions.flat_map(|action| &action.bucket_deltas) {
            sum.0 += number(&delta.remaining_delta);
            sum.1 += number(&delta.reserved_delta);
        }
        if answer.next_page_token.is_empty() {
            return sum;
        }
        page.page_token = answer.next_page_token;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_histories_of_buckets_are_linearizable() {
    one_round(Disturbance::Nothing).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn histories_of_buckets_are_linearizable_across_process_kills() {
    one_round(Disturbance::Killing).await;
}
