//! The judgement of commands against a reference that shares no code with it, on random batches, through a store in memory
//! that reads only what the real one would.
//!
//! A failure prints its smallest input, and its seed goes to `proptest-regressions/`. `PROPTEST_CASES` sets how many
//! sequences are tried.

mod bucket;
mod command;
mod commands;
mod examples;
mod network;
mod reference;
mod steps;
mod store;

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{TestCaseError, TestRunner};
use uuid::Uuid;

use crate::error::Error;
use crate::ledger::account::{Balance, Cause};
use crate::ledger::invariant;
use crate::ledger::kind::Origin;
use crate::ledger::tests::command::{Action, Command, Outcome, Reply, decide};
use crate::ledger::tests::network::{Network, owner_id};
use crate::ledger::tests::reference::Reference;
use crate::ledger::tests::steps::{Clock, Op, Step, steps};
use crate::ledger::tests::store::Store;
use crate::types::ids::{AllocationId, OwnerId};
use crate::types::time::Time;

proptest! {
    #[test]
    fn verdicts_are_the_contracts_and_the_ledger_stays_sound(steps in steps()) {
        Bench::new().run(&steps)?;
    }
}

/// What the property above says of a verdict, it only says if that verdict ever comes.
#[test]
fn random_batches_meet_every_verdict() {
    let mut runner = TestRunner::deterministic();
    let mut seen = BTreeMap::new();
    for _ in 0..256 {
        let steps = steps().new_tree(&mut runner).expect("a value").current();
        let mut bench = Bench::new();
        bench.run(&steps).expect("the property above holds");
        for (name, count) in bench.seen {
            *seen.entry(name).or_insert(0) += count;
        }
    }
    let mut expected = Vec::new();
    for direction in ["ALLOCATION", "DEALLOCATION"] {
        for cause in ["RESERVE", "INSTANT", "CLEAR", "RELEASE", "CANCEL"] {
            for origin in ["done", "validated", "replayed"] {
                expected.push(format!("{direction} {cause} {origin}"));
            }
        }
        expected.push(format!("{direction} EXPIRE replayed"));
    }
    let others = [
        "ADJUST done",
        "ADJUST validated",
        "ADJUST replayed",
        "expired",
        "submitted, made true, refused true",
        "submitted, made true, refused false",
        "submitted, made false, refused true",
        "later",
        "AdjustmentKeyReused",
        "AllocationFinal CLEARED",
        "AllocationFinal RELEASED",
        "AllocationNotFound",
        "BalanceLimit",
        "ClientNotFound",
        "ConnectionInactive",
        "ConnectionNotFound",
        "EnterpriseNotFound",
        "IdempotencyKeyReused client_external_id",
        "IdempotencyKeyReused partner_external_id",
        "InsufficientBalance",
        "InvalidRequest 366 days",
        "InvalidRequest INSTANT",
        "NoOesLicense",
        "PartnerAccessDenied",
        "PartnerNotLicensed client",
        "PartnerNotLicensed partner",
    ];
    expected.extend(others.map(String::from));
    let missing: Vec<_> = expected
        .iter()
        .filter(|name| !seen.contains_key(*name))
        .collect();
    assert!(missing.is_empty(), "never met: {missing:?} of {seen:#?}");
    let unknown: Vec<_> = seen
        .keys()
        .filter(|name| !expected.contains(name))
        .collect();
    assert!(unknown.is_empty(), "met, but not in the list: {unknown:?}");
}

/// What does not hold is an error rather than a panic: thousands are met while an input shrinks.
pub(super) type Verified = Result<(), TestCaseError>;

/// The store, and the reference beside it.
struct Bench {
    network: Network,
    store: Store,
    reference: Reference,
    now_micros: i64,
    /// What the last batch put off.
    later: Vec<Command>,
    asked: Vec<Command>,
    seen: BTreeMap<String, usize>,
}

impl Bench {
    fn new() -> Self {
        Self {
            network: Network::new(),
            store: Store::default(),
            reference: Reference::default(),
            now_micros: 1_700_000_000_000_000,
            later: Vec::new(),
            asked: Vec::new(),
            seen: BTreeMap::new(),
        }
    }

    fn run(&mut self, steps: &[Step]) -> Verified {
        for step in steps {
            for change in &step.changes {
                self.network.change(change);
            }
            self.now_micros += match step.clock {
                Clock::Still => 0,
                Clock::Forward(micros) => micros,
                Clock::Back(micros) => -micros,
            };
            self.batch(&step.ops, step.release_max)?;
        }
        // Each batch releases something: what was put off is not put off for ever.
        for _ in 0..=self.store.allocations.len() {
            if self.later.is_empty() {
                return Ok(());
            }
            self.batch(&[], 1)?;
        }
        prop_assert!(self.later.is_empty(), "put off for ever: {:?}", self.later);
        Ok(())
    }

    /// What waited, then what is new: judged by both, and stored.
    fn batch(&mut self, ops: &[Op], release_max: usize) -> Verified {
        let mut commands = std::mem::take(&mut self.later);
        let waiting = commands.iter().map(|command| command.owner);
        let owners: BTreeSet<OwnerId> = waiting
            .chain(ops.iter().map(|op| owner_id(op.owner)))
            .collect();
        self.reference.begin(self.now_micros, &owners, release_max);
        let mut expected: Vec<Outcome> = Vec::new();
        for command in &commands {
            expected.push(self.expect(command));
        }
        for op in ops {
            let command = self.command(op);
            expected.push(self.expect(&command));
            self.asked.push(command.clone());
            commands.push(command);
        }

        let named: Vec<&Command> = commands.iter().collect();
        let now = self.now();
        let mut state = self.store.load(&self.network, now, release_max, &named);
        let judgements = decide(&mut state, &named);
        self.store.apply(&state);
        prop_assert_eq!(judgements.len(), commands.len());
        for ((judged, expected), command) in judgements.into_iter().zip(expected).zip(&commands) {
            let actual = judged.outcome(&state.books, |at| self.store.balance_at(at));
            prop_same(actual, expected.clone(), command)?;
            if expected == Outcome::Later {
                self.later.push(command.clone());
            }
            *self.seen.entry(name(&expected)).or_insert(0) += 1;
        }
        self.store_is_the_reference()?;
        prop_assert_eq!(invariant::check(&self.store.dump()), []);
        Ok(())
    }

    fn now(&self) -> Time {
        Time::from_micros(self.now_micros).expect("in range")
    }

    fn expect(&mut self, command: &Command) -> Outcome {
        self.reference
            .judge(&self.network, self.now_micros, command)
    }

    /// Everything stored is what the reference has: so refusals and validations left no trace.
    fn store_is_the_reference(&self) -> Verified {
        let mut accounts = BTreeMap::new();
        let (mut allocations, mut adjustments) = (BTreeMap::new(), BTreeMap::new());
        let mut changes = 0;
        for (owner, ledger) in &self.reference.ledgers {
            for ((account, unit), line) in &ledger.lines {
                accounts.insert((*owner, *account, unit.clone()), line.shown());
                changes += usize::try_from(line.changes).expect("counts up");
            }
            for record in &ledger.records {
                allocations.insert((*owner, record.shown.record.id), record.shown.clone());
            }
            for deposit in &ledger.deposits {
                let key = deposit.shown.external_id.clone();
                adjustments.insert((*owner, key), deposit.shown.clone());
            }
            self.ids_sort_by_creation(*owner)?;
        }
        let stored: BTreeMap<_, Balance> = self
            .store
            .accounts
            .iter()
            .map(|((owner, key), balance)| ((*owner, key.account, key.unit.clone()), *balance))
            .collect();
        prop_assert_eq!(stored, accounts);
        prop_assert_eq!(&self.store.allocations, &allocations);
        prop_assert_eq!(&self.store.adjustments, &adjustments);
        prop_assert_eq!(self.store.entries.len(), changes);
        Ok(())
    }

    /// The reference keeps records in the order in which they were made.
    fn ids_sort_by_creation(&self, owner: OwnerId) -> Verified {
        let ledger = &self.reference.ledgers[&owner];
        let allocations = ledger.records.iter();
        let allocations: Vec<_> = allocations.map(|found| found.shown.record.id).collect();
        prop_assert!(allocations.is_sorted_by(|a, b| a < b), "{:?}", allocations);
        let adjustments = ledger.deposits.iter();
        let adjustments: Vec<_> = adjustments.map(|found| found.shown.id).collect();
        prop_assert!(adjustments.is_sorted_by(|a, b| a < b), "{:?}", adjustments);
        Ok(())
    }
}

/// What a new record would be called is nobody's business as long as it is not made.
fn prop_same(mut actual: Outcome, mut expected: Outcome, command: &Command) -> Verified {
    for answer in [&mut actual, &mut expected] {
        match answer {
            Outcome::Final(Ok(Reply::Allocation(reply)))
                if reply.origin == Origin::Validated
                    && matches!(command.action, Action::Create(_)) =>
            {
                reply.allocation.record.id = AllocationId(Uuid::nil());
                reply.allocation.record.created_at = Time::from_micros(0).expect("in range");
                reply.allocation.record.updated_at = Time::from_micros(0).expect("in range");
            }
            Outcome::Final(Ok(Reply::Adjustment(reply))) if reply.origin == Origin::Validated => {
                reply.adjustment.id = Uuid::nil().into();
                reply.adjustment.created_at = Time::from_micros(0).expect("in range");
            }
            Outcome::Final(Ok(Reply::Submitted(replies))) => {
                for reply in replies.iter_mut().flatten() {
                    // Many are answered without balances.
                    (reply.custody, reply.connection) = Default::default();
                    if command.validate_only {
                        reply.allocation.record.id = AllocationId::NIL;
                        reply.allocation.record.created_at =
                            Time::from_micros(0).expect("in range");
                        reply.allocation.record.updated_at =
                            Time::from_micros(0).expect("in range");
                    }
                }
            }
            _ => {}
        }
    }
    prop_assert_eq!(actual, expected, "{:?}", command);
    Ok(())
}

/// A verdict's name, for counting.
fn name(verdict: &Outcome) -> String {
    let (what, origin) = match verdict {
        Outcome::Later => return "later".into(),
        Outcome::Final(Err(error)) => return error_name(error),
        Outcome::Final(Ok(Reply::Expired)) => return "expired".into(),
        Outcome::Final(Ok(Reply::Bucket(_))) => return "bucket".into(),
        Outcome::Final(Ok(Reply::Submitted(replies))) => {
            let refused = replies.iter().any(Result::is_err);
            let made = replies.iter().any(Result::is_ok);
            return format!("submitted, made {made}, refused {refused}");
        }
        Outcome::Final(Ok(Reply::Adjustment(reply))) => ("ADJUST".into(), reply.origin),
        Outcome::Final(Ok(Reply::Allocation(reply))) => {
            let closed = reply.allocation.closed.map(|closed| closed.cause);
            let direction = reply.allocation.record.terms.direction.as_str();
            let cause = closed.unwrap_or(Cause::RESERVE);
            (format!("{direction} {cause:?}"), reply.origin)
        }
    };
    let origin = match origin {
        Origin::Done => "done",
        Origin::Replayed => "replayed",
        Origin::Validated => "validated",
    };
    format!("{what} {origin}")
}

fn error_name(error: &Error) -> String {
    let debug = format!("{error:?}");
    let end = debug.find(|letter: char| !letter.is_alphanumeric());
    let kind = &debug[..end.unwrap_or(debug.len())];
    match error {
        Error::AllocationNotOnConnection { .. } => "AllocationNotFound".into(),
        Error::AllocationFinal(of) => format!("{kind} {}", of.status),
        Error::PartnerNotLicensed { side, .. } => format!("{kind} {side}"),
        Error::IdempotencyKeyReused { field, .. } => format!("{kind} {field}"),
        Error::InvalidRequest(_) if debug.contains("INSTANT") => format!("{kind} INSTANT"),
        Error::InvalidRequest(_) => format!("{kind} 366 days"),
        _ => kind.into(),
    }
}
