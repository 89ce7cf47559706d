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
    ReserveBalanceRequest, TransferBalanceRequest,
};
use futures_util::future::join_all;
use prost_types::Timestamp;
use tonic::Status;
use tonic_types::StatusExt as _;
use uuid::Uuid;

use super::seed;
use super::servers::{Disturbance, Servers};
use crate::support::bucket_fixture::{
    adjust, amount, creation, deduct, eur, reserve, topup, transfer, unreserve, values,
};
use crate::support::earmark::Authorized;
use crate::support::random::Random;

const BUCKETS: usize = 4;
const WORKERS: usize = 48;
const STEPS: usize = 40;
/// One EUR, counted in the last of twelve places.
const ONE: i128 = 1_000_000_000_000;

/// What is asked; amounts are counted in the last of twelve places.
#[derive(Clone, Debug, PartialEq)]
enum Command {
    Topup(i128),
    Adjust(i128),
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

/// A bucket's values as an answer shows them.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Seen {
    remaining: i128,
    reserved: i128,
    /// Of its account: no bucket is updated here, so its record stays at version 1.
    version: usize,
}

#[derive(Clone, Debug)]
enum Outcome {
    Done {
        id: Uuid,
        seen: Seen,
    },
    Read(Seen),
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
        version: usize::try_from(bucket.version - 1).expect("counts up"),
    }
}

fn done(action: Option<BalanceAction>, bucket: Option<Bucket>) -> Outcome {
    Outcome::Done {
        id: action.expect("an action").id.parse().expect("a UUID"),
        seen: seen(bucket),
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
                    let command = self.command(&mut random, bucket);
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
            0 | 1 => Command::Topup(value(random)),
            2 => Command::Adjust(value(random)),
            3 => Command::Adjust(-value(random)),
            4..=6 => Command::Deduct(value(random)),
            7..=10 => Command::Reserve {
                value: value(random),
                expires: random
                    .one_in(3)
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
            Command::Topup(value) => {
                let request = topup(&bucket, &text(*value), key);
                let answer = client.topup_balance(request).await?.into_inner();
                done(answer.balance_action, answer.bucket)
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

/// Plays a round on new buckets, and holds it against the reference.
async fn one_round(disturbance: Disturbance) {
    let seed = seed();
    eprintln!("EARMARK_MODEL_SEED={seed}");
    let servers = Servers::start().await;
    let tenant = Uuid::new_v4();
    let clients = servers.bucket_clients(tenant).await;
    for number in 0..BUCKETS {
        let request = creation(eur(&number.to_string(), "60"));
        clients[0]
            .clone()
            .create_bucket(request)
            .await
            .expect("created");
    }
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
    let calls: Vec<Call> = calls
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
    let entries = servers.verify().await;
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for call in &calls {
        let name = match &call.told {
            Outcome::Done { .. } => "done",
            Outcome::Read(_) => "read",
            Outcome::Short(_) => "INSUFFICIENT_BALANCE",
            Outcome::Refused(reason) => reason,
            Outcome::Lost => "lost",
        };
        *counts.entry(name.into()).or_default() += 1;
    }
    eprintln!("{} calls, {entries} entries: {counts:?}", calls.len());
    for needed in ["done", "read", "INSUFFICIENT_BALANCE", "ALREADY_TERMINAL"] {
        assert!(
            counts.get(needed).is_some_and(|count| *count > 20),
            "{counts:?}"
        );
    }
    check::check(&sql, tenant, &calls).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_histories_of_buckets_are_linearizable() {
    one_round(Disturbance::Nothing).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn histories_of_buckets_are_linearizable_across_process_kills() {
    one_round(Disturbance::Killing).await;
}
