//! Random patches, sequential and concurrent, compared with a reference that shares no code with the server.
//!
//! The patches follow from a seed, which a failure prints and `EARMARK_PATCH_SEED` repeats.

mod reference;

use std::env;
use std::ops::RangeInclusive;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use tonic::{Code, Status};

use self::reference::{End, document, patched, paths};
use super::{Client, create, patch, pb};
use crate::support::earmark::Earmark;
use crate::support::random::Random;
use crate::support::service::{detail, reason};

fn seed() -> u64 {
    let asked = env::var("EARMARK_PATCH_SEED").ok();
    asked.map_or_else(
        || {
            let now = SystemTime::now().duration_since(UNIX_EPOCH);
            now.expect("after 1970").as_micros() as u64 % 1_000_000_000
        },
        |seed| seed.parse().expect("a number"),
    )
}

/// A record with something in each place that a patch may look for.
fn full() -> Value {
    json!([
        {"op": "add", "path": "/dealId", "value": "a"},
        {"op": "add", "path": "/companyId", "value": 1},
        {"op": "add", "path": "/orderStatus", "value": "pending"},
        {"op": "add", "path": "/statusMessages", "value": [{"code": "a"}, {"code": "b", "message": "c"}]},
        {"op": "add", "path": "/allocationValue", "value": {"type": "cash", "data": {"amount": 2.5}}},
        {"op": "add", "path": "/comment/comments/-", "value": {"comment": "a"}},
        {"op": "add", "path": "/detail", "value": {"order": {"affirmation": {"isAffirmed": true}}}},
    ])
}

/// Somewhere in a document, or beside it.
fn place(random: &mut Random, document: &Value) -> String {
    const NAMES: [&str; 10] = [
        "dealId",
        "trancheId",
        "orderStatus",
        "statusMessages",
        "code",
        "data",
        "amount",
        "0",
        "1",
        "-",
    ];
    let there = paths(document);
    let mut place = there[random.number(0..there.len())].clone();
    if random.one_in(3) {
        // Beside what is there, or inside of it.
        if random.one_in(2) {
            place.truncate(place.rfind('/').unwrap_or(0));
        }
        place.push('/');
        place.push_str(NAMES[random.number(0..NAMES.len())]);
    }
    place
}

/// What may stand there in a record, and now and then what may not.
fn value(random: &mut Random, path: &str) -> Value {
    let values = [
        json!(null),
        json!("a"),
        json!("cash"),
        json!(1.0),
        json!(2.5),
        json!(true),
        json!([]),
        json!({}),
        json!({"message": null, "code": "a"}),
    ];
    let any = values[random.number(0..values.len())].clone();
    let (parent, last) = path.rsplit_once('/').expect("a pointer");
    match (parent, last) {
        _ if random.one_in(4) => any,
        ("/statusMessages", _) => json!({"code": "b", "message": "c"}),
        ("/comment/comments", _) => json!({"comment": "b", "commentType": "public"}),
        (_, "statusMessages") => json!([{"code": "c"}]),
        (_, "companyId" | "amount") => json!(random.number(0..3)),
        (_, "data") => json!({"amount": 7}),
        (_, "type") => json!("quantity"),
        (_, "orderStatus") => json!("deletePending"),
        (_, "isAffirmed") => json!(false),
        (_, "dealId" | "trancheId" | "code" | "message" | "commentType") => json!("b"),
        _ => json!(null),
    }
}

fn operation(random: &mut Random, document: &Value) -> Value {
    const OPS: [&str; 8] = [
        "add", "add", "replace", "replace", "remove", "move", "copy", "test",
    ];
    let op = OPS[random.number(0..OPS.len())];
    let path = place(random, document);
    let from = place(random, document);
    // A move into itself is refused before the record is read, which has tests of its own.
    let is_inside = path.len() > from.len() && path.starts_with(&from);
    let op = if is_inside && op == "move" {
        "copy"
    } else {
        op
    };
    // Half of the `test` operations expect the present value.
    let fair = document.pointer(&path).filter(|_| op == "test");
    let value = match fair {
        Some(there) if random.one_in(2) => there.clone(),
        _ => value(random, &path),
    };
    json!({"op": op, "path": path, "from": from, "value": value})
}

fn operations(random: &mut Random, document: &Value) -> Value {
    let count = random.number(1..4);
    (0..count).map(|_| operation(random, document)).collect()
}

/// What the server answers: the record, or how the patch ended.
fn outcome(answer: Result<pb::CasAllocation, Status>) -> Result<pb::CasAllocation, End> {
    answer.map_err(|status| {
        let index = detail(&status, "index").map(|index| index.parse().expect("a number"));
        let code = status.code();
        match (code, reason::<()>(Err(status)).as_str(), index) {
            (Code::FailedPrecondition, "PATCH_TEST_FAILED", Some(index)) => End::TestFailed(index),
            (Code::FailedPrecondition, "PATCH_PATH_MISSING", Some(index)) => End::Missing(index),
            (Code::InvalidArgument, "INVALID_REQUEST", Some(index)) => End::Wrong(index),
            (Code::InvalidArgument, "INVALID_REQUEST", None) => End::NoRecord,
            other => panic!("{other:?}"),
        }
    })
}

async fn full_record(client: &Client) -> pb::CasAllocation {
    let id = create(client, pb::CasAllocation::default()).await.id;
    patch(client, &id, full()).await.expect("patched")
}

#[tokio::test]
async fn random_patches_match_the_reference() {
    let earmark = Earmark::start().await;
    let client = earmark.firm("1");
    let seed = seed();
    let mut random = Random::new(seed);
    let mut accepted = 0;
    for _ in 0..10 {
        let record = full_record(&client).await;
        let mut version = record.version;
        let mut stands = document(&record);
        for _ in 0..40 {
            let operations = operations(&mut random, &stands);
            let answer = outcome(patch(&client, &record.id, operations.clone()).await);
            let expected = patched(&stands, &operations);
            let told = format!("seed {seed}: {operations} on {stands}");
            let answered = answer.as_ref().map(document).map_err(Clone::clone);
            assert_eq!(answered, expected, "{told}");
            if let Ok(record) = answer {
                // A patch whose result is equal changes nothing.
                let is_changed = document(&record) != stands;
                assert_eq!(record.version, version + i64::from(is_changed), "{told}");
                version = record.version;
                stands = document(&record);
                accepted += 1;
            }
        }
    }
    // About one in six is; a test of none would test nothing.
    assert!(
        accepted > 10,
        "seed {seed}: only {accepted} of 400 were accepted"
    );
}

/// A patch that was sent while others were on their way.
struct Sent {
    operations: Value,
    answer: Result<pb::CasAllocation, End>,
    /// The newest version that its sender knew.
    known: i64,
}

/// Sends patches one after the other, each about the record as it was last seen.
async fn send(client: Client, first: pb::CasAllocation, seed: u64) -> Vec<Sent> {
    let mut random = Random::new(seed);
    let mut seen = first;
    let mut sent = Vec::new();
    for _ in 0..25 {
        let operations = operations(&mut random, &document(&seen));
        let answer = outcome(patch(&client, &seen.id, operations.clone()).await);
        let known = seen.version;
        if let Ok(record) = &answer {
            seen = record.clone();
        }
        sent.push(Sent {
            operations,
            answer,
            known,
        });
    }
    sent
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_patches_are_applied_one_after_the_other() {
    let earmark = Earmark::start().await;
    let client = earmark.firm("1");
    let seed = seed();
    let first = full_record(&client).await;
    let senders =
        (0..8).map(|sender| tokio::spawn(send(client.clone(), first.clone(), seed + sender)));
    let senders: Vec<_> = senders.collect();
    let mut sent = Vec::new();
    for sender in senders {
        sent.extend(sender.await.expect("sent"));
    }

    // Every version is one patch's, and holds what that patch makes of the version before. Others that answer it have
    // changed nothing.
    let mut stood = vec![document(&first)];
    let mut written: Vec<_> = sent
        .iter()
        .filter_map(|sent| Some((sent.answer.as_ref().ok()?, &sent.operations)))
        .collect();
    written.sort_by_key(|(record, _)| record.version);
    for of_one in written.chunk_by(|(one, _), (other, _)| one.version == other.version) {
        let (record, _) = of_one[0];
        let before = stood.last().expect("the first").clone();
        let is_first = record.version == first.version;
        if !is_first {
            assert_eq!(record.version, first.version + stood.len() as i64);
            stood.push(document(record));
        }
        let now = stood.last().expect("the first");
        assert!(
            is_first || *now != before,
            "seed {seed}: {now} was written twice"
        );
        let makes_it =
            |before: &Value, operations: &Value| patched(before, operations) == Ok(now.clone());
        for (record, operations) in of_one {
            let told = format!("seed {seed}: {operations} on {before}");
            assert_eq!(document(record), *now, "{told}");
            let is_explained = makes_it(now, operations) || makes_it(&before, operations);
            assert!(is_explained, "{told}");
        }
        let is_made = of_one
            .iter()
            .any(|(_, operations)| makes_it(&before, operations));
        assert!(is_made, "seed {seed}: nothing makes {now} of {before}");
    }
    // About one in six is; a test of none would test nothing.
    assert!(
        written.len() > 5,
        "seed {seed}: only {} were accepted",
        written.len()
    );

    // A refused patch must fail at one of the versions that it may have been applied to.
    for refused in &sent {
        let Err(end) = &refused.answer else { continue };
        let met: RangeInclusive<usize> =
            usize::try_from(refused.known - first.version).expect("not before")..=stood.len() - 1;
        let is_explained = stood[met]
            .iter()
            .any(|version| patched(version, &refused.operations).as_ref() == Err(end));
        assert!(
            is_explained,
            "seed {seed}: {} was {end:?}",
            refused.operations
        );
    }
}
