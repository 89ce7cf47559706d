//! Repeats the commands in the journal's order and finds for each call a point in it.
//!
//! This point lies after everything that was visible before the call began, and before everything that was
//! asked for after the call was answered.

use std::collections::HashMap;
use std::time::SystemTime;

use earmark::types::ids::{OwnerId, TenantId};
use tokio_postgres::Client;
use uuid::Uuid;

use super::{BUCKETS, Call, Command, MORTAL, ONE, Outcome, Seen, number};

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
    /// By bucket, the version that answers had after each line of its journal; it counts updates too.
    shown: Vec<Vec<usize>>,
    /// When the mortal bucket's validity ended at first.
    end: SystemTime,
}

pub(super) async fn check(sql: &Client, tenant: Uuid, calls: &mut [Call], end: SystemTime) {
    let versions = {
        let mut past = Past::read(sql, tenant, calls, end).await;
        for bucket in 0..BUCKETS {
            past.do_again(bucket);
        }
        past.account_versions(calls)
    };
    for (call, version) in calls.iter_mut().zip(versions) {
        if let Outcome::Done { seen, .. } | Outcome::Read(seen) | Outcome::Closed(seen) =
            &mut call.told
        {
            seen.version = version;
        }
    }
    let mut past = Past::read(sql, tenant, calls, end).await;
    for bucket in 0..BUCKETS {
        past.do_again(bucket);
    }
    past.every_effect_was_asked_for();
    past.every_call_has_its_place(calls);
}

impl<'a> Past<'a> {
    async fn read(sql: &Client, tenant: Uuid, calls: &'a [Call], end: SystemTime) -> Self {
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
            shown: vec![Vec::new(); BUCKETS],
            end,
        };
        for bucket in 0..BUCKETS {
            let journal = journal(sql, tenant, bucket).await;
            let made = journal.iter().rev();
            let made = made.map(|line| (line.id, line.after.version));
            past.made.push(made.collect());
            past.journals.push(journal);
        }
        assert_eq!(past.keys.len(), actions.len());
        past
    }
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
    /// For each call, the version of the bucket's account that its answer shows; 0 where it shows none.
    fn account_versions(&self, calls: &[Call]) -> Vec<usize> {
        let version = |call: &Call| {
            let shown = &self.shown[call.bucket];
            match &call.told {
                Outcome::Done { id, seen } => {
                    let line = self.line_of(call, *id);
                    // A replay shows the updates since then too.
                    let may_be_replay = self.calls[call.key.as_str()]
                        .iter()
                        .any(|twin| twin.asked < call.asked);
                    assert!(
                        shown[line] == seen.version || may_be_replay && shown[line] < seen.version,
                        "{} is shown: {call:?}",
                        shown[line]
                    );
                    line + 1
                }
                // A closing that wrote nothing off is an update behind the last line.
                Outcome::Read(seen) | Outcome::Closed(seen) => {
                    shown.partition_point(|shown| *shown <= seen.version)
                }
                _ => 0,
            }
        };
        calls.iter().map(version).collect()
    }

    /// The place in the journal of the last movement of the call's action; a reserve's own expiry comes later.
    fn line_of(&self, call: &Call, id: Uuid) -> usize {
        let journal = &self.journals[call.bucket];
        let place = match call.command {
            Command::Reserve { .. } => journal.iter().position(|line| line.id == id),
            _ => journal.iter().rposition(|line| line.id == id),
        };
        place.expect("a line")
    }

    /// Each line follows from the one before and the command that it names; nothing is ever below zero.
    fn do_again(&mut self, bucket: usize) {
        let (mut free, mut held) = (0, 0);
        let mut end = (bucket == MORTAL).then_some(self.end);
        let (mut record, mut is_closed) = (1, false);
        for (place, line) in self.journals[bucket].iter().enumerate() {
            let version = place + 1;
            assert!(!is_closed, "{} {} after the closing", line.cause, line.id);
            let (to_free, to_held) = match &*line.cause {
                "OPENING" => (60 * ONE, 0),
                "EXPIRE" => {
                    let rest = left(&mut self.reserves, line.id, version, |_| 0);
                    (rest, -rest)
                }
                cause => {
                    let key = &self.keys[&line.id];
                    let call = self.calls[key.as_str()][0];
                    if let Command::TopupUntil { end: asked, .. } = call.command
                        && end.is_some_and(|end| end < asked)
                    {
                        (end, record) = (Some(asked), record + 1);
                    }
                    if call.command == Command::Close {
                        assert_eq!((cause, held), ("ADJUST", 0), "{call:?}");
                        (is_closed, record) = (true, record + 1);
                        (-free, 0)
                    } else {
                        effect(&mut self.reserves, bucket, version, cause, line.id, call)
                    }
                }
            };
            (free, held) = (free + to_free, held + to_held);
            let expected = Seen {
                remaining: free,
                reserved: held,
                version,
            };
            assert_eq!(line.after, expected, "{} {}", line.cause, line.id);
            self.shown[bucket].push(version + record);
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
                Outcome::Closed(seen) => {
                    assert_eq!((seen.remaining, seen.reserved), (0, 0), "{call:?}");
                    assert_eq!(journal[seen.version - 1].after, *seen, "{call:?}");
                    assert!((floor..=ceiling).contains(&seen.version), "{call:?}");
                }
                Outcome::Done { id, seen } => {
                    // Of a replay too, whose first answer may be older than all that is known.
                    let line = &journal[self.line_of(call, *id)];
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
                Outcome::Refused(reason) => {
                    let fits = self.may_be_refused(calls, call, reason, (floor, ceiling));
                    assert!(fits, "{call:?}");
                }
                Outcome::Lost => {}
            }
        }
    }

    /// Whether the bucket gave this reason to refuse at some time between two versions.
    fn may_be_refused(
        &self,
        calls: &[Call],
        call: &Call,
        reason: &str,
        (floor, ceiling): (usize, usize),
    ) -> bool {
        let is_closing = |other: &Call| {
            let is_done = matches!(other.told, Outcome::Done { .. } | Outcome::Closed(_));
            other.command == Command::Close && is_done
        };
        match (reason, &call.command) {
            ("BUCKET_NOT_USABLE", Command::Transfer { to: MORTAL, .. }) => true,
            ("BUCKET_NOT_USABLE", _) => call.bucket == MORTAL,
            ("ALREADY_TERMINAL", Command::Close) => calls.iter().any(is_closing),
            ("ALREADY_TERMINAL", Command::Draw { reserve, .. } | Command::Unreserve(reserve)) => {
                self.held(*reserve, floor, ceiling).contains(&0)
            }
            _ => PASSING.contains(&reason),
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
        Outcome::Read(seen) | Outcome::Done { seen, .. } | Outcome::Closed(seen) => {
            Some(seen.version)
        }
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
        (Command::Topup(value) | Command::TopupUntil { value, .. }, "TOPUP")
        | (Command::Adjust(value), "ADJUST") => (*value, 0),
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
