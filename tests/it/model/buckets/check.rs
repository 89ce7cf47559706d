//! Repeats the commands in the journal's order and finds for each call a point in it.
//!
//! This point lies after everything that was visible before the call began, and before everything that was
//! asked for after the call was answered.

use std::collections::HashMap;

use earmark::types::ids::{OwnerId, TenantId};
use tokio_postgres::Client;
use uuid::Uuid;

use super::{BUCKETS, Call, Command, ONE, Outcome, Seen, number};

/// Refusals that say nothing of a bucket: a reserve asked for again once its time had passed, and what was not tried.
const PASSING: [&str; 5] = [
    "INVALID_REQUEST",
    "CONTENTION",
    "OVERLOADED",
    "DATABASE_UNAVAILABLE",
    "SHUTTING_DOWN",
];

/// A line of a bucket's own account.
struct Line {
    cause: String,
    id: Uuid,
    after: Seen,
}

/// What a reserve held, from which version of its account on.
type History = Vec<(usize, i128)>;

struct Past<'a> {
    /// By bucket; a line's place is its version less one.
    journals: Vec<Vec<Line>>,
    /// The key that made an action.
    keys: HashMap<Uuid, String>,
    /// All calls with a key; they are the same command.
    calls: HashMap<&'a str, Vec<&'a Call>>,
    reserves: HashMap<Uuid, History>,
    /// By bucket, the first version that an action made.
    made: Vec<HashMap<Uuid, usize>>,
}

pub(super) async fn check(sql: &Client, tenant: Uuid, calls: &[Call]) {
    let mut by_key: HashMap<&str, Vec<&Call>> = HashMap::new();
    for call in calls.iter().filter(|call| call.command != Command::Get) {
        by_key.entry(&call.key).or_default().push(call);
    }
    let actions = "SELECT id, request_id FROM bucket_action WHERE tenant = $1";
    let actions = sql.query(actions, &[&tenant]).await.expect(actions);
    let mut past = Past {
        journals: Vec::new(),
        keys: actions.iter().map(|row| (row.get(0), row.get(1))).collect(),
        calls: by_key,
        reserves: HashMap::new(),
        made: Vec::new(),
    };
    for bucket in 0..BUCKETS {
        let journal = journal(sql, tenant, bucket).await;
        let made = journal.iter().rev();
        let made = made.map(|line| (line.id, line.after.version));
        past.made.push(made.collect());
        past.journals.push(journal);
    }
    assert_eq!(past.keys.len(), actions.len());
    for bucket in 0..BUCKETS {
        past.do_again(bucket);
    }
    past.every_effect_was_asked_for();
    past.every_call_has_its_place(calls);
}

async fn journal(sql: &Client, tenant: Uuid, bucket: usize) -> Vec<Line> {
    let owner = OwnerId::of_bucket(TenantId(tenant), &bucket.to_string());
    let lines = "SELECT cause, cause_id, available::text, held::text, version FROM entry
        WHERE owner_id = $1 AND account_id = '00000000-0000-0000-0000-000000000001' ORDER BY version";
    let rows = sql.query(lines, &[&owner.0]).await.expect(lines);
    let line = |row: &tokio_postgres::Row| Line {
        cause: row.get(0),
        id: row.get(1),
        after: Seen {
            remaining: number(row.get(2)),
            reserved: number(row.get(3)),
            version: usize::try_from(row.get::<_, i64>(4)).expect("counts up"),
        },
    };
    rows.iter().map(line).collect()
}

impl Past<'_> {
    /// Each line follows from the one before and the command that it names; nothing is ever below zero.
    fn do_again(&mut self, bucket: usize) {
        let (mut free, mut held) = (0, 0);
        for (place, line) in self.journals[bucket].iter().enumerate() {
            let version = place + 1;
            let (to_free, to_held) = match &*line.cause {
                "OPENING" => (60 * ONE, 0),
                "EXPIRE" => {
                    let rest = left(&mut self.reserves, line.id, version, |_| 0);
                    (rest, -rest)
                }
                cause => {
                    let key = &self.keys[&line.id];
                    let call = self.calls[key.as_str()][0];
                    effect(&mut self.reserves, bucket, version, cause, line.id, call)
                }
            };
            (free, held) = (free + to_free, held + to_held);
            let expected = Seen {
                remaining: free,
                reserved: held,
                version,
            };
            assert_eq!(line.after, expected, "{} {}", line.cause, line.id);
            assert!(free >= 0 && held >= 0, "{expected:?}");
        }
    }

    /// What was stored was asked for, by a call that was told so or told nothing; and what was told was stored.
    fn every_effect_was_asked_for(&self) {
        let mut made: HashMap<&str, Uuid> = HashMap::new();
        for (id, key) in &self.keys {
            let calls = &self.calls[key.as_str()];
            let may_have = |call: &&Call| matches!(call.told, Outcome::Done { .. } | Outcome::Lost);
            assert!(calls.iter().any(may_have), "{calls:?}");
            assert_eq!(made.insert(key, *id), None, "a key has one effect");
        }
        for call in self.calls.values().flatten() {
            if let Outcome::Done { id, .. } = call.told {
                assert_eq!(made.get(call.key.as_str()), Some(&id), "{call:?}");
            }
        }
    }

    fn every_call_has_its_place(&self, calls: &[Call]) {
        for call in calls {
            let floor = known_before(calls, call);
            let ceiling = self.asked_after(calls, call);
            let journal = &self.journals[call.bucket];
            let at = |version: usize| match version {
                0 => 0,
                version => journal[version - 1].after.remaining,
            };
            match &call.told {
                Outcome::Read(seen) => {
                    assert_eq!(journal[seen.version - 1].after, *seen, "{call:?}");
                    assert!((floor..=ceiling).contains(&seen.version), "{call:?}");
                }
                Outcome::Done { id, seen } => {
                    // The last of its movements; of a replay too, whose first answer may be older than all that is known.
                    let last = journal.iter().rposition(|line| line.id == *id);
                    // A reserve's own expiry comes later.
                    let last = match call.command {
                        Command::Reserve { .. } => journal.iter().position(|line| line.id == *id),
                        _ => last,
                    };
                    let line = &journal[last.expect("a line")];
                    assert_eq!(line.after, *seen, "{call:?}");
                    assert!(seen.version <= ceiling, "{call:?}");
                    let first = self.calls[call.key.as_str()]
                        .iter()
                        .all(|other| call.asked <= other.asked);
                    assert!(
                        !first || seen.version > floor,
                        "{call:?}: {floor} was known"
                    );
                }
                Outcome::Short(available) => {
                    let fits = match &call.command {
                        Command::Draw { reserve, value, .. } => {
                            assert!(available < value, "{call:?}");
                            self.held(*reserve, floor, ceiling).contains(available)
                        }
                        // It is the receiver who had too little; then it is said of him.
                        Command::Transfer {
                            cost: Some((_, true)),
                            ..
                        } => true,
                        _ => (floor..=ceiling).any(|version| at(version) == *available),
                    };
                    assert!(fits, "{call:?}: never between {floor} and {ceiling}");
                }
                Outcome::Refused(reason) if reason == "ALREADY_TERMINAL" => {
                    let (Command::Draw { reserve, .. } | Command::Unreserve(reserve)) =
                        &call.command
                    else {
                        panic!("no reserve: {call:?}");
                    };
                    assert!(self.held(*reserve, floor, ceiling).contains(&0), "{call:?}");
                }
                Outcome::Refused(reason) => assert!(PASSING.contains(&&**reason), "{call:?}"),
                Outcome::Lost => {}
            }
        }
    }

    /// What a reserve held at some time between two versions.
    fn held(&self, reserve: Uuid, floor: usize, ceiling: usize) -> Vec<i128> {
        let history = &self.reserves[&reserve];
        let began = history.iter().rposition(|(version, _)| *version <= floor);
        let later = history[began.unwrap_or(0)..].iter();
        let until = later.take_while(|(version, _)| *version <= ceiling);
        until.map(|(_, held)| *held).collect()
    }

    /// The last version that what was asked only after a call's answer cannot have made.
    fn asked_after(&self, calls: &[Call], call: &Call) -> usize {
        let later = calls.iter().filter(|other| other.asked > call.answered);
        let of_bucket = later.filter(|other| other.bucket == call.bucket);
        let first = |other: &&Call| {
            let same = &self.calls[other.key.as_str()];
            same.iter().all(|twin| other.asked <= twin.asked)
        };
        let made = of_bucket.filter_map(|other| match &other.told {
            Outcome::Done { id, .. } if first(&other) => self.made[call.bucket].get(id).copied(),
            _ => None,
        });
        made.min()
            .map_or(self.journals[call.bucket].len(), |version| version - 1)
    }
}

/// The newest version of a call's bucket that anybody was told of before it was asked.
fn known_before(calls: &[Call], call: &Call) -> usize {
    let earlier = calls.iter().filter(|other| other.answered < call.asked);
    let told = earlier.filter(|other| other.bucket == call.bucket);
    let versions = told.filter_map(|other| match other.told {
        Outcome::Read(seen) | Outcome::Done { seen, .. } => Some(seen.version),
        _ => None,
    });
    versions.max().unwrap_or(0)
}

/// What a command does to a bucket's account.
fn effect(
    reserves: &mut HashMap<Uuid, History>,
    bucket: usize,
    version: usize,
    cause: &str,
    id: Uuid,
    call: &Call,
) -> (i128, i128) {
    let is_mine = call.bucket == bucket;
    match (&call.command, cause) {
        (Command::Topup(value), "TOPUP") | (Command::Adjust(value), "ADJUST") => (*value, 0),
        (Command::Deduct(value), "DEDUCT") => (-value, 0),
        (Command::Reserve { value, .. }, "RESERVE") => {
            reserves.insert(id, vec![(version, *value)]);
            (-value, *value)
        }
        (Command::Unreserve(reserve), "UNRESERVE") => {
            let rest = left(reserves, *reserve, version, |_| 0);
            (rest, -rest)
        }
        (
            Command::Draw {
                reserve,
                value,
                keep_rest,
            },
            "DEDUCT",
        ) => {
            let kept = |held| if *keep_rest { held - value } else { 0 };
            let held = left(reserves, *reserve, version, kept);
            assert!(held >= *value, "{call:?}");
            let rest = held - value - kept(held);
            (rest, -value - rest)
        }
        (Command::Transfer { value, .. }, "TRANSFER") if is_mine => (-value, 0),
        (Command::Transfer { value, to, .. }, "TRANSFER") if *to == bucket => (*value, 0),
        (
            Command::Transfer {
                cost: Some((cost, by_receiver)),
                to,
                ..
            },
            "COST",
        ) if (*by_receiver && *to == bucket) || (!*by_receiver && is_mine) => (-cost, 0),
        _ => panic!("{cause} is nothing that {call:?} does to {bucket}"),
    }
}

/// What a reserve held; from this version on it keeps something else.
fn left(
    reserves: &mut HashMap<Uuid, History>,
    id: Uuid,
    version: usize,
    keeps: impl Fn(i128) -> i128,
) -> i128 {
    let history = reserves.get_mut(&id).expect("a reserve");
    let (_, held) = *history.last().expect("what it began with");
    assert!(held > 0, "{id} is closed");
    history.push((version, keeps(held)));
    held
}
