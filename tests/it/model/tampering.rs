//! Tests of the model itself: it must detect every change to the record of a correct round.

use std::sync::Arc;

use super::call::{Answer, Call, Cause, Command, Item, Status};
use super::check::check;
use super::plan::Shape;
use super::report::Progress;
use super::round::{Evidence, play};
use super::servers::{Disturbance, Servers};

/// Changes the evidence at the first place that fits; false if there is none.
type Tampering = fn(&mut Evidence) -> bool;

fn answer(seen: &mut Evidence, change: impl FnMut(&mut Call) -> bool) -> bool {
    seen.calls.iter_mut().rev().any(change)
}

/// The middle one of those that fit.
fn movement(seen: &Evidence, fits: impl Fn(Cause) -> bool) -> Option<usize> {
    let places: Vec<usize> = (0..seen.journal.len())
        .filter(|place| fits(seen.journal[*place].cause))
        .collect();
    places.get(places.len() / 2).copied()
}

const TAMPERINGS: &[(&str, Tampering)] = &[
    ("a balance of an answer", |seen| {
        answer(seen, |call| match &mut call.answer {
            Answer::Record { connection, .. } => {
                connection.available += 1;
                true
            }
            _ => false,
        })
    }),
    ("available and held of an answer", |seen| {
        answer(seen, |call| match &mut call.answer {
            Answer::Record {
                custody: Some(custody),
                ..
            } if custody.held != custody.available => {
                (custody.available, custody.held) = (custody.held, custody.available);
                true
            }
            _ => false,
        })
    }),
    ("a version of an adjustment's answer", |seen| {
        answer(seen, |call| match &mut call.answer {
            Answer::Adjusted { custody, .. } => {
                custody.version += 1;
                true
            }
            _ => false,
        })
    }),
    ("that it was a replay", |seen| {
        answer(seen, |call| match &mut call.answer {
            Answer::Record { replayed, .. } if *replayed && !call.validate_only => {
                *replayed = false;
                true
            }
            _ => false,
        })
    }),
    ("that it was done now", |seen| {
        answer(seen, |call| match &mut call.answer {
            Answer::Record { replayed, .. } if !*replayed => {
                *replayed = true;
                true
            }
            _ => false,
        })
    }),
    ("what a refusal says is available", |seen| {
        answer(seen, |call| match &mut call.answer {
            Answer::Refused(refusal) => {
                let available = refusal.facts.get_mut("available");
                available.map(|text| text.push('0')).is_some()
            }
            _ => false,
        })
    }),
    ("the status that a refusal names", |seen| {
        answer(seen, |call| match &mut call.answer {
            Answer::Refused(refusal) if refusal.reason == "ALREADY_TERMINAL" => {
                refusal.facts.insert("status".into(), "RESERVED".into());
                true
            }
            _ => false,
        })
    }),
    ("a refusal for something that was done", |seen| {
        let refused = seen.calls.iter().find_map(|call| match &call.answer {
            Answer::Refused(refusal) if refusal.reason == "INSUFFICIENT_BALANCE" => {
                Some(call.answer.clone())
            }
            _ => None,
        });
        let Some(refused) = refused else { return false };
        answer(seen, |call| {
            let is_done = matches!(
                &call.answer,
                Answer::Record {
                    replayed: false,
                    ..
                }
            );
            if is_done && !call.validate_only {
                call.answer = refused.clone();
            }
            is_done && !call.validate_only
        })
    }),
    ("an item's record", |seen| {
        answer(seen, |call| match &mut call.answer {
            Answer::Items(items) => match items.last_mut() {
                Some(Item::Record { record, .. }) => {
                    record.quantity += 1;
                    true
                }
                _ => false,
            },
            _ => false,
        })
    }),
    ("the status of a record that was read", |seen| {
        answer(seen, |call| match &mut call.answer {
            Answer::Shown(record) if record.status == Status::Reserved => {
                record.status = Status::Cleared;
                true
            }
            _ => false,
        })
    }),
    ("what is held in a list", |seen| {
        answer(seen, |call| match &mut call.answer {
            Answer::Accounts(accounts) => {
                let mut balances = accounts.values_mut();
                balances.next().map(|balance| balance.held += 1).is_some()
            }
            _ => false,
        })
    }),
    ("a read that is behind what was known", |seen| {
        let last = seen.calls.iter().map(|call| call.answered.order).max();
        let Some(last) = last else { return false };
        let early = seen.calls.iter_mut();
        let mut early = early.filter(|call| matches!(call.command, Command::ListBalances));
        let Some(call) = early.next() else {
            return false;
        };
        (call.asked.order, call.answered.order) = (last + 1, last + 2);
        true
    }),
    (
        "a write before all others that was asked for after them",
        |seen| {
            let last = seen.calls.iter().map(|call| call.answered.order).max();
            let Some(last) = last else { return false };
            let done = seen.calls.iter_mut().find(|call| {
                matches!(
                    &call.answer,
                    Answer::Record {
                        replayed: false,
                        ..
                    }
                ) && !call.validate_only
            });
            let Some(call) = done else { return false };
            (call.asked.order, call.answered.order) = (last + 1, last + 2);
            true
        },
    ),
    ("a movement that the journal lacks", |seen| {
        let place = movement(seen, |cause| cause == Cause::Reserve);
        place.map(|place| seen.journal.remove(place)).is_some()
    }),
    ("a movement that is there twice", |seen| {
        let Some(place) = movement(seen, |cause| cause == Cause::Adjust) else {
            return false;
        };
        let again = seen.journal[place].clone();
        seen.journal.insert(place, again);
        true
    }),
    ("a movement that nobody asked for", |seen| {
        let done = seen.calls.iter().position(|call| {
            matches!(
                &call.answer,
                Answer::Record {
                    replayed: false,
                    ..
                }
            ) && !call.validate_only
        });
        done.map(|index| seen.calls.remove(index)).is_some()
    }),
    ("two movements that have changed places", |seen| {
        let Some(place) = movement(seen, |cause| cause == Cause::Clear) else {
            return false;
        };
        seen.journal.swap(place - 1, place);
        true
    }),
    ("a version of the journal", |seen| {
        let Some(movement) = seen.journal.last_mut() else {
            return false;
        };
        movement
            .legs
            .values_mut()
            .for_each(|leg| leg.after.version += 1);
        true
    }),
    ("an expiry before its time", |seen| {
        let Some(place) = movement(seen, |cause| cause == Cause::Expire) else {
            return false;
        };
        let Some(id) = seen.journal[place].record() else {
            return false;
        };
        for call in &mut seen.calls {
            delay(call, id);
        }
        true
    }),
    ("an expiry that never came", |seen| {
        let Some(place) = movement(seen, |cause| cause == Cause::Expire) else {
            return false;
        };
        seen.journal.remove(place);
        true
    }),
    ("a record at the end", |seen| {
        let record = seen.records.last_mut();
        record.map(|record| record.updated_at += 1).is_some()
    }),
    ("a record that nobody made", |seen| {
        let Some(mut record) = seen.records.last().cloned() else {
            return false;
        };
        record.id = uuid::Uuid::from_u128(7);
        seen.records.push(record);
        true
    }),
    ("a balance at the end", |seen| {
        let balance = seen.balances.values_mut().next();
        balance.map(|balance| balance.available += 1).is_some()
    }),
];

/// The record was to expire a minute later.
fn delay(call: &mut Call, id: uuid::Uuid) {
    if let (Command::Create(create), Answer::Record { record, .. }) =
        (&mut call.command, &mut call.answer)
        && record.id == id
    {
        create.expire_time = create.expire_time.map(|time| time + 60_000_000);
        record.expire_time = create.expire_time;
    }
    if let (Command::Submit(creates), Answer::Items(items)) = (&mut call.command, &mut call.answer)
    {
        for (create, item) in creates.iter_mut().zip(items) {
            if let Item::Record { record, .. } = item
                && record.id == id
            {
                create.expire_time = create.expire_time.map(|time| time + 60_000_000);
                record.expire_time = create.expire_time;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_model_detects_every_change_to_a_recorded_history() {
    let shape = Shape {
        owners: 2,
        workers: 12,
        commands: 1_000,
    };
    let servers = Servers::start().await;
    let progress = Arc::new(Progress::quiet());
    let played = play(&servers, 1, shape, Disturbance::Nothing, &progress).await;
    played.check();
    let (owner, good) = (&played.parties.owners[0], &played.evidence[0]);
    for (name, tampering) in TAMPERINGS {
        let mut seen = good.clone();
        assert!(tampering(&mut seen), "nothing to change: {name}");
        let breach = check(&seen.past(owner)).err();
        assert!(breach.is_some(), "unnoticed: {name}");
    }
}
