//! SubmitAllocations.

use std::collections::BTreeMap;

use earmark::limits::REQUEST_BYTES_MAX;
use earmark::proto::allocation::v1::submit_result::Outcome;
use earmark::proto::allocation::v1::{
    Allocation, AllocationStatus, AllocationType, SubmitAllocationsRequest, SubmitItem,
    SubmitResult,
};
use earmark::proto::common::v1::{Amount, ErrorReason, ItemError};
use earmark::proto::network::v1::ConnectionMode;
use prost::Message;
use prost_types::Timestamp;
use tonic::Code;
use tonic_types::StatusExt;

use crate::support::allocation_fixture::{AllocationFixture, as_deallocation, create_request};
use crate::support::earmark::{NOBODY, balance, refusal};
use crate::support::ledger_dump::assert_sound;

const OUT: AllocationType = AllocationType::Allocation;
const BACK: AllocationType = AllocationType::Deallocation;

impl AllocationFixture {
    async fn submit(&self, items: Vec<SubmitItem>) -> Vec<SubmitResult> {
        self.send(self.parties.submission(items)).await
    }

    async fn validate(&self, items: Vec<SubmitItem>) -> Vec<SubmitResult> {
        let request = SubmitAllocationsRequest {
            validate_only: true,
            ..self.parties.submission(items)
        };
        self.send(request).await
    }

    async fn send(&self, request: SubmitAllocationsRequest) -> Vec<SubmitResult> {
        let count = request.items.len();
        let answer = self.client.clone().submit_allocations(request).await;
        let answer = answer.expect("submitted");
        let header = answer.metadata().get("earmark-replayed");
        assert!(header.is_none(), "each result says so for itself");
        let results = answer.into_inner().results;
        assert_eq!(results.len(), count);
        results
    }

    /// What the call of its own answers for an item: a record, or an error in an item's form.
    async fn alone(&self, item: SubmitItem, validate_only: bool) -> Outcome {
        let kind = item.r#type();
        let request = create_request(self.parties.enterprise.clone(), item, validate_only);
        let mut client = self.client.clone();
        let answer = if kind == OUT {
            let answer = client.create_allocation(request).await;
            answer.map(|answer| answer.into_inner().allocation)
        } else {
            let answer = client.create_deallocation(as_deallocation(request)).await;
            answer.map(|answer| answer.into_inner().allocation)
        };
        match answer {
            Ok(record) => Outcome::Allocation(record.expect("set")),
            Err(status) => {
                // An item has no `BadRequest` beside its text, which says all of it instead.
                let message = match status.get_details_bad_request() {
                    None => status.message().to_owned(),
                    Some(request) => {
                        let each = request.field_violations.iter();
                        let each = each.map(|one| format!("`{}`: {}", one.field, one.description));
                        each.collect::<Vec<String>>().join("; ")
                    }
                };
                let mut refused = refusal(Err::<(), _>(status));
                // The item's is in the call's own: an item that was refused changed nothing.
                let outcome = refused.metadata.remove("outcome");
                assert_eq!(outcome.as_deref(), Some("not_applied"));
                let name = format!("ERROR_REASON_{}", refused.reason);
                Outcome::Error(ItemError {
                    code: refused.code as i32,
                    reason: ErrorReason::from_str_name(&name).expect("known").into(),
                    message,
                    metadata: refused.metadata,
                })
            }
        }
    }
}

fn record(result: &SubmitResult) -> &Allocation {
    match result.outcome.as_ref().expect("set") {
        Outcome::Allocation(record) => record,
        Outcome::Error(error) => panic!("{error:?}"),
    }
}

fn reason(result: &SubmitResult) -> &str {
    match result.outcome.as_ref().expect("set") {
        Outcome::Allocation(record) => panic!("{record:?}"),
        Outcome::Error(error) => {
            let name = error.reason().as_str_name();
            name.strip_prefix("ERROR_REASON_").expect("prefixed")
        }
    }
}

#[tokio::test]
async fn results_are_in_the_order_of_the_items() {
    let fixture = AllocationFixture::open(ConnectionMode::Confirmed).await;
    let before = fixture.allocate("30", "before").await;
    let item = |quantity, key| fixture.parties.item(OUT, quantity, key);
    let unknown = SubmitItem {
        connection_id: NOBODY.into(),
        ..item("1", "unknown")
    };
    let results = fixture
        .submit(vec![
            item("50", "a"),
            item("0", "b"),
            item("21", "c"),
            item("30", "before"),
            item("20", "d"),
            item("31", "before"),
            unknown,
            item("50", "a"),
            item("51", "a"),
            fixture.parties.item(BACK, "1", "a"),
            item("1", "b"),
            SubmitItem::default(),
        ])
        .await;
    for (index, expected) in [(0, "50"), (4, "20")] {
        let record = record(&results[index]);
        assert_eq!(record.status(), AllocationStatus::Reserved);
        let amount = record.amount.as_ref().expect("set");
        assert_eq!(amount.quantity, expected);
        assert_eq!(fixture.get(&record.id).await, *record);
        assert!(!results[index].replayed);
    }
    assert_eq!(record(&results[3]), &before);
    assert_eq!(record(&results[7]), record(&results[0]));
    assert!(results[3].replayed && results[7].replayed);
    for (index, expected) in [
        (1, "INVALID_REQUEST"),
        (2, "INSUFFICIENT_BALANCE"),
        (5, "IDEMPOTENCY_KEY_REUSED"),
        (6, "CONNECTION_NOT_FOUND"),
        (8, "IDEMPOTENCY_KEY_REUSED"),
        (9, "INSUFFICIENT_BALANCE"),
        (10, "INSUFFICIENT_BALANCE"),
        (11, "INVALID_REQUEST"),
    ] {
        assert_eq!(reason(&results[index]), expected, "item {index}");
        assert!(!results[index].replayed);
    }
    let created: Vec<_> = [0, 4].map(|index| record(&results[index])).into();
    assert!(created[0].id < created[1].id);
    assert_eq!(fixture.balances().await.0, balance("0", "100", 4));
    let dump = assert_sound(&fixture.earmark).await;
    assert_eq!(dump.allocations.len(), 3);

    // The same call again: nothing new, and what was refused is judged anew.
    fixture
        .earmark
        .deposit(&fixture.parties.enterprise, "BTC", "1")
        .await;
    let again = fixture
        .submit(vec![item("50", "a"), item("1", "b"), item("20", "d")])
        .await;
    assert_eq!(record(&again[0]), created[0]);
    assert_eq!(record(&again[2]), created[1]);
    assert!(again[0].replayed && !again[1].replayed && again[2].replayed);
    assert_eq!(record(&again[1]).status(), AllocationStatus::Reserved);
}

#[tokio::test]
async fn later_items_see_the_balances_that_earlier_items_left() {
    let fixture = AllocationFixture::open(ConnectionMode::Instant).await;
    let item = |kind, quantity, key| fixture.parties.item(kind, quantity, key);
    let items = vec![
        item(BACK, "1", "too early"),
        item(OUT, "100", "all"),
        item(OUT, "1", "too much"),
        item(BACK, "60", "some back"),
        item(OUT, "60", "and out again"),
        item(BACK, "101", "more than all"),
        item(BACK, "100", "all back"),
    ];
    // Validated together they see each other too, and leave nothing.
    for validate_only in [true, true, false] {
        let results = match validate_only {
            true => fixture.validate(items.clone()).await,
            false => fixture.submit(items.clone()).await,
        };
        let refused: Vec<_> = [0, 2, 5].map(|index| reason(&results[index])).into();
        assert_eq!(refused, ["INSUFFICIENT_BALANCE"; 3]);
        for index in [1, 3, 4, 6] {
            let record = record(&results[index]);
            assert_eq!(record.status(), AllocationStatus::Cleared);
            assert_eq!(record.id.is_empty(), validate_only);
            assert_eq!(record.created_at.is_none(), validate_only);
            assert_eq!(record.updated_at.is_none(), validate_only);
        }
        let available: Vec<_> = [0, 2, 5]
            .map(|index| match &results[index].outcome {
                Some(Outcome::Error(error)) => error.metadata["available"].clone(),
                _ => String::new(),
            })
            .into();
        assert_eq!(available, ["0", "0", "100"]);
        let dump = assert_sound(&fixture.earmark).await;
        let made = if validate_only { 0 } else { 4 };
        assert_eq!(dump.allocations.len(), made);
    }
    let (custody, connection) = fixture.balances().await;
    assert_eq!(custody, balance("100", "0", 5));
    assert_eq!(connection, balance("0", "0", 4));
}

#[tokio::test]
async fn validate_only_answers_like_the_real_submit_without_ids_and_times() {
    let fixture = AllocationFixture::open(ConnectionMode::Confirmed).await;
    fixture.allocate("10", "before").await;
    let item = |quantity, key| fixture.parties.item(OUT, quantity, key);
    let items = vec![
        item("10", "before"),
        item("40", "a"),
        item("40", "a"),
        item("41", "a"),
        item("51", "too much"),
        item("x", "invalid"),
        item("50", "b"),
    ];
    let validated = fixture.validate(items.clone()).await;
    assert_eq!(assert_sound(&fixture.earmark).await.allocations.len(), 1);
    let mut real = fixture.submit(items).await;
    for result in real.iter_mut().skip(1) {
        match &mut result.outcome {
            Some(Outcome::Allocation(record)) => {
                record.id.clear();
                (record.created_at, record.updated_at) = (None, None);
            }
            // The record that has the key is not there either.
            Some(Outcome::Error(error)) if error.metadata.contains_key("id") => {
                error.metadata.remove("id");
                error.message = validated_message(&validated[3]);
            }
            _ => {}
        }
    }
    assert_eq!(validated, real);
}

/// The text of the error of a key that another item of the same submission has.
fn validated_message(result: &SubmitResult) -> String {
    let Some(Outcome::Error(error)) = &result.outcome else {
        panic!("{result:?}");
    };
    assert!(error.message.contains("was used before with other content"));
    error.message.clone()
}

/// A single call has its type by its name, so only an item can have a wrong one.
async fn refuses_unknown_types(fixture: &AllocationFixture) {
    for kind in [0, 3, -1] {
        let typeless = SubmitItem {
            r#type: kind,
            ..fixture.parties.item(OUT, "1", "key")
        };
        let results = fixture.submit(vec![typeless]).await;
        let Some(Outcome::Error(error)) = &results[0].outcome else {
            panic!("{results:?}");
        };
        let expected = [("field", "type"), ("violations_total", "1")]
            .map(|(key, value)| (key.to_owned(), value.to_owned()));
        assert_eq!(error.code, Code::InvalidArgument as i32);
        assert_eq!(error.metadata, BTreeMap::from(expected));
    }
}

/// The outcome without the time of the database's clock that an error shows.
fn without_clock(mut outcome: Outcome) -> Outcome {
    if let Outcome::Error(error) = &mut outcome
        && let Some((head, tail)) = error.message.split_once("after now, ")
        && let Some((_, tail)) = tail.split_once(',')
    {
        error.message = format!("{head}after now,{tail}");
    }
    outcome
}

#[tokio::test]
async fn an_item_is_refused_like_a_single_create() {
    let fixture = AllocationFixture::open(ConnectionMode::Confirmed).await;
    let instant = fixture
        .earmark
        .connection(&fixture.parties, ConnectionMode::Instant)
        .await;
    let disabled = fixture
        .earmark
        .connection(&fixture.parties, ConnectionMode::Confirmed)
        .await;
    fixture.earmark.enable_allocations(&disabled, false).await;
    fixture.allocate("10", "before").await;
    let item = || fixture.parties.item(OUT, "1", "key");
    let on = |connection: &str| SubmitItem {
        connection_id: connection.into(),
        ..item()
    };
    let expiring = |seconds| SubmitItem {
        expire_time: Some(Timestamp { seconds, nanos: 0 }),
        ..item()
    };
    let later = fixture.in_millis(60_000).await;
    let refused = [
        on(""),
        on("no id"),
        on(NOBODY),
        on(&disabled),
        SubmitItem {
            expire_time: Some(later),
            ..on(&instant)
        },
        expiring(1),
        expiring(400_000_000_000),
        SubmitItem {
            amount: None,
            ..item()
        },
        SubmitItem {
            amount: Some(Amount::default()),
            client_external_id: String::new(),
            notes: Some("x".repeat(1_001)),
            ..item()
        },
        SubmitItem {
            notes: Some("𝄞".repeat(1_001)),
            ..item()
        },
        fixture.parties.item(OUT, "91", "too much"),
        fixture.parties.item(BACK, "1", "nothing there"),
        fixture.parties.item(OUT, "11", "before"),
        fixture.parties.item(BACK, "1.5", "no whole number"),
    ];
    for validate_only in [false, true] {
        let results = match validate_only {
            true => fixture.validate(refused.to_vec()).await,
            false => fixture.submit(refused.to_vec()).await,
        };
        for (item, result) in refused.iter().zip(results) {
            let alone = fixture.alone(item.clone(), validate_only).await;
            assert!(matches!(alone, Outcome::Error(_)), "{item:?}: {alone:?}");
            let result = result.outcome.map(without_clock);
            assert_eq!(result, Some(without_clock(alone)), "{item:?}");
        }
    }
    refuses_unknown_types(&fixture).await;
}

#[tokio::test]
async fn submit_and_single_creates_share_their_keys() {
    let fixture = AllocationFixture::open(ConnectionMode::Instant).await;
    let out = fixture.allocate("10", "key").await;
    let back = fixture.deallocate("5", "key").await;
    let items = [(OUT, "10"), (BACK, "5")].map(|(kind, quantity)| {
        let item = fixture.parties.item(kind, quantity, "key");
        SubmitItem {
            notes: None,
            ..item
        }
    });
    let results = fixture.submit(items.into()).await;
    assert!(results.iter().all(|result| result.replayed));
    assert_eq!([record(&results[0]), record(&results[1])], [&out, &back]);
    let submitted = fixture.submit(vec![fixture.parties.item(OUT, "1", "other")]);
    let submitted = submitted.await;
    let alone = fixture.parties.item(OUT, "1", "other");
    let Outcome::Allocation(alone) = fixture.alone(alone, false).await else {
        panic!("a replay");
    };
    assert_eq!(record(&submitted[0]), &alone);
}

#[tokio::test]
async fn submit_takes_1_to_1000_items() {
    let fixture = AllocationFixture::open(ConnectionMode::Instant).await;
    let items: Vec<_> = (0..1_001)
        .map(|index: usize| {
            // As much back as out: 100 is enough for all of them.
            let kind = if index.is_multiple_of(2) { OUT } else { BACK };
            fixture.parties.item(kind, "100", &format!("item {index}"))
        })
        .collect();
    for refused in [items.clone(), Vec::new()] {
        for validate_only in [true, false] {
            let request = SubmitAllocationsRequest {
                validate_only,
                ..fixture.parties.submission(refused.clone())
            };
            let answer = fixture.client.clone().submit_allocations(request).await;
            let refused = refusal(answer).expect_invalid(&["items"]);
            assert_eq!(refused.metadata["outcome"], "not_applied");
        }
    }
    let items = items[..1_000].to_vec();
    let validated = fixture.validate(items.clone()).await;
    assert!(validated.iter().all(|result| record(result).id.is_empty()));
    let results = fixture.submit(items.clone()).await;
    let ids: Vec<_> = results.iter().map(|result| &record(result).id).collect();
    assert!(ids.is_sorted_by(|a, b| a < b), "in the order of the items");
    let again = fixture.submit(items).await;
    for (first, again) in results.iter().zip(&again) {
        assert!(again.replayed && !first.replayed);
        assert_eq!(again.outcome, first.outcome);
    }
    let (custody, connection) = fixture.balances().await;
    assert_eq!(custody, balance("100", "0", 1_001));
    assert_eq!(connection, balance("0", "0", 1_000));
    assert_sound(&fixture.earmark).await;
}

#[tokio::test]
async fn submit_fails_as_a_whole_only_for_its_caller_or_its_size() {
    let fixture = AllocationFixture::open(ConnectionMode::Confirmed).await;
    let earmark = &fixture.earmark;
    let bare = earmark.enterprise("Without anything").await.id;
    let unlicensed = earmark.new_enterprise("Without licence", false).await.id;
    let everyone = [NOBODY, &bare, &unlicensed, &fixture.parties.enterprise];
    let reader = earmark.with_token(earmark.token("settlement_network_read", &everyone));
    let (member, stranger) = (earmark.member(&everyone), earmark.member(&[]));
    // Items that are all invalid, and none: they change nothing about who may ask.
    let invalid = vec![SubmitItem::default(); 3];
    let steps = [
        (&reader, "x", Code::PermissionDenied, "SCOPE_MISSING"),
        (&stranger, "x", Code::InvalidArgument, "INVALID_REQUEST"),
        (&stranger, NOBODY, Code::Unauthenticated, "NOT_A_MEMBER"),
        (&member, NOBODY, Code::NotFound, "ENTERPRISE_NOT_FOUND"),
        (&member, &unlicensed, Code::NotFound, "CLIENT_NOT_FOUND"),
        (&member, &bare, Code::NotFound, "CLIENT_NOT_FOUND"),
    ];
    for (clients, enterprise, code, reason) in steps {
        let request = SubmitAllocationsRequest {
            enterprise_id: enterprise.into(),
            ..fixture.parties.submission(invalid.clone())
        };
        let answer = clients.allocation.clone().submit_allocations(request).await;
        let refused = refusal(answer).expect(code, reason);
        assert_eq!(refused.metadata["outcome"], "not_applied");
    }
    let results = fixture.submit(invalid).await;
    assert!(
        results
            .iter()
            .all(|result| reason(result) == "INVALID_REQUEST")
    );
}

#[tokio::test]
async fn a_submit_answer_near_4_mib_omits_the_texts_of_its_last_records() {
    let fixture = AllocationFixture::open(ConnectionMode::Confirmed).await;
    let deposit = fixture
        .earmark
        .deposit(&fixture.parties.enterprise, "BTC", "900");
    deposit.await;
    let notes = Some("𝄞".repeat(1_000));
    let items: Vec<_> = (0..1_000)
        .map(|index| SubmitItem {
            notes: notes.clone(),
            ..fixture.parties.item(OUT, "1", &format!("{index}"))
        })
        .collect();
    let size = fixture.parties.submission(items.clone()).encoded_len();
    assert!(size < REQUEST_BYTES_MAX, "a request that may be made");
    for replayed in [false, true] {
        let results = fixture.submit(items.clone()).await;
        assert!(results.iter().all(|result| result.replayed == replayed));
        let records: Vec<_> = results.iter().map(record).collect();
        let whole = records.iter().filter(|record| record.notes == notes);
        assert!((900..1_000).contains(&whole.count()));
        assert_eq!(records[0].notes, notes);
        let last = records[999];
        assert_eq!(last.notes, None);
        assert_eq!(fixture.get(&last.id).await.notes, notes);
    }
}
