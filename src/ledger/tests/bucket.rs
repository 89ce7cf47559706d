//! The same for prepaid buckets: the judgement against a reference of its own, on random batches.

mod reference;
mod steps;
mod store;

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use crate::error::Error;
use crate::ledger::invariant;
use crate::ledger::kind::Origin;
use crate::ledger::tests::Verified;
use crate::ledger::tests::bucket::reference::{Answer, Reference, Refusal};
use crate::ledger::tests::bucket::steps::{Clock, Step, steps};
use crate::ledger::tests::bucket::store::Store;
use crate::ledger::tests::command::{Command, Outcome, Reply, decide};
use crate::types::ids::ActionId;
use crate::types::time::Time;

proptest! {
    #[test]
    fn verdicts_on_buckets_are_the_contracts_and_the_ledger_stays_sound(steps in steps()) {
        Bench::default().run(&steps)?;
    }
}

/// What the property above says of a verdict, it only says if that verdict ever comes.
#[test]
fn random_batches_meet_every_verdict_on_buckets() {
    let mut runner = TestRunner::deterministic();
    let mut seen = BTreeMap::new();
    for _ in 0..512 {
        let steps = steps().new_tree(&mut runner).expect("a value").current();
        let mut bench = Bench::default();
        bench.run(&steps).expect("the property above holds");
        for (name, count) in bench.seen {
            *seen.entry(name).or_insert(0) += count;
        }
    }
    let mut expected: Vec<String> = Vec::new();
    for what in [
        "bucket",
        "TOPUP COMPLETED",
        "ADJUST COMPLETED",
        "TRANSFER COMPLETED",
        "UNRESERVE COMPLETED",
        "DEDUCT COMPLETED",
        "WRITEOFF COMPLETED",
        "RESERVE CREATED",
    ] {
        for origin in ["done", "validated", "replayed"] {
            expected.push(format!("{what} {origin}"));
        }
    }
    let others = [
        "RESERVE COMPLETED replayed",
        "RESERVE CANCELLED replayed",
        "ActionNotFound",
        "AlreadyTerminal CANCELLED",
        "AlreadyTerminal CLOSED",
        "AlreadyTerminal COMPLETED",
        "BalanceLimit",
        "BucketExists",
        "BucketNotFound",
        "BucketNotUsable ACTIVE",
        "BucketNotUsable CLOSED",
        "BucketNotUsable EXPIRED",
        "BucketNotUsable SUSPENDED",
        "IdempotencyKeyReused",
        "InsufficientBalance",
        "InvalidRequest amount.units",
        "InvalidRequest expire_time",
        "InvalidRequest receiver_bucket_id",
        "InvalidRequest transfer_cost.units",
        "InvalidRequest valid_for_end",
        "VersionMismatch",
        "expired",
        "later",
    ];
    expected.extend(others.map(String::from));
    expected.sort();
    let seen: Vec<String> = seen.into_keys().collect();
    assert_eq!(seen, expected);
}

/// The store, and the reference beside it.
struct Bench {
    store: Store,
    reference: Reference,
    now_micros: i64,
    /// What the last batch put off.
    later: Vec<Command>,
    asked: Vec<Command>,
    seen: BTreeMap<String, usize>,
}

impl Default for Bench {
    fn default() -> Self {
        Self {
            store: Store::default(),
            reference: Reference::default(),
            now_micros: steps::BEGIN,
            later: Vec::new(),
            asked: Vec::new(),
            seen: BTreeMap::new(),
        }
    }
}

impl Bench {
    fn run(&mut self, steps: &[Step]) -> Verified {
        for step in steps {
            self.now_micros += match step.clock {
                Clock::Still => 0,
                Clock::Forward(micros) => micros,
                Clock::Back(micros) => -micros,
            };
            self.batch(step, step.release_max)?;
        }
        // Each batch releases something: what was put off is not put off for ever.
        for _ in 0..=self.store.actions.len() {
            if self.later.is_empty() {
                return Ok(());
            }
            self.batch(&Step::default(), 1)?;
        }
        prop_assert!(self.later.is_empty(), "put off for ever: {:?}", self.later);
        Ok(())
    }

    /// What waited, then what is new: judged by both, and stored.
    fn batch(&mut self, step: &Step, release_max: usize) -> Verified {
        let mut commands = std::mem::take(&mut self.later);
        let waiting = commands.iter().flat_map(Command::owners);
        let owners: BTreeSet<_> = waiting
            .chain(step.ops.iter().flat_map(steps::Op::owners))
            .collect();
        self.reference.begin(self.now_micros, &owners, release_max);
        let mut expected = Vec::new();
        for command in &commands {
            expected.push(self.reference.judge(self.now_micros, command));
        }
        for op in &step.ops {
            let command = op.command(&self.reference, self.now_micros, &self.asked);
            expected.push(self.reference.judge(self.now_micros, &command));
            self.asked.push(command.clone());
            commands.push(command);
        }

        let named: Vec<&Command> = commands.iter().collect();
        let now = Time::from_micros(self.now_micros).expect("in range");
        let mut state = self.store.load(now, release_max, &named, &owners);
        let judgements = decide(&mut state, &named);
        self.store.apply(&state);
        prop_assert_eq!(judgements.len(), commands.len());
        for ((judged, expected), command) in judgements.into_iter().zip(expected).zip(&commands) {
            let outcome = judged.outcome(&state.books, |at| self.store.balance_at(at));
            let actual = answer(outcome);
            prop_assert_eq!(&actual, &expected, "{:?}", command);
            if expected == Answer::Later {
                self.later.push(command.clone());
            }
            *self.seen.entry(name(&expected)).or_insert(0) += 1;
        }
        prop_assert_eq!(self.store.balances(), self.reference.balances());
        prop_assert_eq!(invariant::check(&self.store.dump()), []);
        prop_assert_eq!(self.store.histories(), self.store.holdings());
        Ok(())
    }
}

fn answer(outcome: Outcome) -> Answer {
    match outcome {
        Outcome::Later => Answer::Later,
        Outcome::Final(Ok(Reply::Bucket(reply))) => Answer::of(&reply),
        Outcome::Final(Ok(Reply::Expired)) => Answer::Expired,
        Outcome::Final(Ok(other)) => panic!("no answer of a bucket: {other:?}"),
        Outcome::Final(Err(error)) => Answer::Refused(refusal(&error)),
    }
}

/// An error without its text.
fn refusal(error: &Error) -> Refusal {
    let none = Refusal::default();
    match error {
        Error::VersionMismatch {
            expected, actual, ..
        } => Refusal {
            name: "VersionMismatch".into(),
            numbers: vec![expected.to_string(), actual.to_string()],
        },
        Error::BucketShort(shortage) => Refusal {
            name: "InsufficientBalance".into(),
            numbers: vec![
                shortage.available.to_string(),
                shortage.requested.to_string(),
                shortage.bucket.clone(),
            ],
        },
        Error::BucketFull(overflow) => Refusal {
            name: "BalanceLimit".into(),
            numbers: vec![overflow.bucket.clone()],
        },
        Error::BucketNotUsable(unusable) => Refusal {
            name: format!("BucketNotUsable {}", unusable.status),
            numbers: vec![unusable.bucket.clone()],
        },
        Error::ReserveClosed(reserve) => Refusal {
            name: format!("AlreadyTerminal {}", reserve.status),
            ..none
        },
        Error::BucketClosed { .. } => Refusal {
            name: "AlreadyTerminal CLOSED".into(),
            ..none
        },
        Error::IdempotencyKeyReused {
            holder: Some(holder),
            ..
        } => Refusal {
            name: "IdempotencyKeyReused".into(),
            numbers: vec![holder.id.clone(), format!("{:?}", holder.version)],
        },
        Error::BucketExists(holder) => Refusal {
            name: "BucketExists".into(),
            numbers: vec![holder.id.clone(), format!("{:?}", holder.version)],
        },
        Error::InvalidRequest(violations) => Refusal {
            name: format!("InvalidRequest {}", violations.all()[0].field),
            ..none
        },
        Error::ReserveNotFound { .. } => Refusal {
            name: "ActionNotFound".into(),
            ..none
        },
        other => {
            let debug = format!("{other:?}");
            let end = debug.find(|letter: char| !letter.is_alphanumeric());
            Refusal {
                name: debug[..end.unwrap_or(debug.len())].into(),
                ..none
            }
        }
    }
}

/// A verdict's name, for counting.
fn name(answer: &Answer) -> String {
    match answer {
        Answer::Later => "later".into(),
        Answer::Expired => "expired".into(),
        Answer::Refused(refusal) => refusal.name.clone(),
        Answer::Shown(shown) => {
            let origin = match shown.origin {
                Origin::Done => "done",
                Origin::Replayed => "replayed",
                Origin::Validated => "validated",
            };
            match &shown.action {
                None => format!("bucket {origin}"),
                Some(action) => {
                    let (kind, status) = (action.kind.as_str(), action.status.as_str());
                    format!("{kind} {status} {origin}")
                }
            }
        }
    }
}

/// What a new action would be called is nobody's business as long as it is not made.
fn shown_id(origin: Origin, id: ActionId) -> ActionId {
    match origin {
        Origin::Validated => ActionId::NIL,
        Origin::Done | Origin::Replayed => id,
    }
}
