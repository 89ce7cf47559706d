//! Expiry of reservations by commands of their owner, by reads and by the sweep, always by the database's
//! clock, never by the server's.
//!
//! The sweep runs twice a second. To show that something else released what was due, a test makes it due by SQL and acts
//! at once, several times over.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use earmark::ledger::account::Cause;
use earmark::limits::SWEEP_INTERVAL;
use earmark::proto::allocation::v1::{
    Allocation, AllocationSortField, AllocationStatus, AllocationType, CreateAllocationRequest,
    ListClientAllocationsRequest, ListPartnerAllocationsRequest,
};
use earmark::proto::balance::v1::{BalanceView, GetBalanceRequest};
use earmark::proto::common::v1::SortDirection;
use earmark::proto::network::v1::ConnectionMode;
use futures_util::future::join_all;
use prost_types::Timestamp;
use tokio_util::sync::CancellationToken;
use tonic::Code;

use crate::support::allocation_fixture::{AllocationFixture, in_micros};
use crate::support::earmark::{Earmark, Setup, balance, refusal};
use crate::support::ledger_dump::assert_sound;
use crate::support::locks;

const DIRECTIONS: [AllocationType; 2] = [AllocationType::Allocation, AllocationType::Deallocation];
/// The longest time that a reservation may stay open past its end.
const SWEPT_WITHIN: Duration = Duration::from_secs(2);
/// What an overloaded machine may add to it.
const SLACK: Duration = Duration::from_secs(4);
const DAYS_366_US: i64 = 366 * 24 * 60 * 60 * 1_000_000;

impl AllocationFixture {
    /// A reservation of 1 BTC that is due in a moment.
    async fn expiring(&self, key: &str) -> Allocation {
        // On a slow machine the time may have passed before the call arrives: repeat it, a refusal stores no key.
        for millis in [50, 200, 800, 3_200] {
            let request = CreateAllocationRequest {
                expire_time: Some(self.in_millis(millis).await),
                ..self.parties.allocation("BTC", "1", key)
            };
            match self.client.clone().create_allocation(request).await {
                Ok(answer) => return answer.into_inner().allocation.expect("set"),
                Err(status) => refusal(Err::<(), _>(status)).expect_invalid(&["expire_time"]),
            };
        }
        panic!("too late every time");
    }

    /// Waits until this record is due.
    async fn wait_for_end(&self, record: &Allocation) {
        let left = micros(record.expire_time) - micros(Some(self.in_millis(0).await));
        let left = Duration::from_micros(u64::try_from(left).unwrap_or(0));
        tokio::time::sleep(left + Duration::from_millis(1)).await;
    }

    /// Makes every reservation of the client due now, by SQL.
    async fn make_due(&self) {
        let due = format!(
            "UPDATE open_allocation SET expire_time = clock_timestamp()
              WHERE owner_id = '{}' AND status = 'RESERVED'",
            self.parties.enterprise
        );
        let sql = self.earmark.sql().await;
        sql.batch_execute(&due).await.expect("made due");
    }

    /// The record's status as it is stored, without the expiry that a read performs.
    async fn stored_status(&self, id: &str) -> String {
        let sql = format!("SELECT status FROM allocation WHERE id = '{id}'");
        let row = self.earmark.sql().await.query_one(&sql, &[]).await;
        row.expect("there").get(0)
    }
}

fn micros(time: Option<Timestamp>) -> i64 {
    let time = time.expect("set");
    time.seconds * 1_000_000 + i64::from(time.nanos) / 1_000
}

#[track_caller]
fn assert_expired(record: &Allocation) {
    assert_eq!(record.status(), AllocationStatus::Released);
    assert_eq!(record.reason.as_deref(), Some("expired"));
    assert_eq!(record.partner_external_id, None);
}

#[tokio::test]
async fn the_sweep_expires_due_reservations_within_two_seconds() {
    let fixture = AllocationFixture::open(ConnectionMode::Confirmed).await;
    let moved = fixture.allocate("50", "moved").await;
    fixture.clear(&moved.id).await;
    let mut request = fixture.parties.deallocation("BTC", "20", "back");
    request.expire_time = Some(fixture.in_millis(3_000).await);
    let back = fixture.client.clone().create_deallocation(request).await;
    let back = back.expect("reserved").into_inner().allocation;
    let (out, back) = (fixture.expiring("out").await, back.expect("set"));
    for record in [&out, &back] {
        fixture.wait_for_end(record).await;
        let due = Instant::now();
        while fixture.stored_status(&record.id).await == "RESERVED" {
            assert!(due.elapsed() < SWEPT_WITHIN + SLACK, "never swept");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let record = fixture.get(&record.id).await;
        assert_expired(&record);
        let late = micros(record.updated_at) - micros(record.expire_time);
        let late = Duration::from_micros(u64::try_from(late).expect("not early"));
        assert!(late < SWEPT_WITHIN + SLACK, "late by {late:?}");
    }
    let (custody, connection) = fixture.balances().await;
    assert_eq!(custody, balance("50", "0", 5));
    assert_eq!(connection, balance("50", "0", 3));
    let dump = assert_sound(&fixture.earmark).await;
    let entries = dump.entries.iter();
    let expired = entries.filter(|entry| entry.cause == Cause::EXPIRE);
    assert_eq!(expired.count(), 2);
}

/// A reservation that was due before a read began and whose create commits during the read.
#[tokio::test]
async fn a_balance_never_shows_a_due_reservation_that_committed_after_the_clock_was_read() {
    let fixture = AllocationFixture::open(ConnectionMode::Confirmed).await;
    let held = fixture.allocate("5", "held").await;
    let url = &fixture.earmark.url;
    let late = locks::session(url).await;
    let hold = "BEGIN; LOCK TABLE account IN ACCESS EXCLUSIVE MODE";
    late.batch_execute(hold).await.expect("locked");
    let request = GetBalanceRequest {
        enterprise_id: fixture.parties.enterprise.clone(),
        currency: "BTC".into(),
        view: BalanceView::WithReservations.into(),
        ..Default::default()
    };
    let mut member = fixture
        .earmark
        .member(&[&fixture.parties.enterprise])
        .balance;
    let read = tokio::spawn(async move { member.get_balance(request).await });
    locks::somebody_waits(url).await;
    let commit = format!(
        "UPDATE open_allocation SET expire_time = created_at WHERE id = '{}'; COMMIT",
        held.id
    );
    late.batch_execute(&commit).await.expect("committed");
    let answer = read.await.expect("no panic").expect("read").into_inner();
    assert_eq!(answer.balance, balance("100", "0", 3));
    assert_eq!(answer.reservations, []);
    assert_expired(&fixture.get(&held.id).await);
}

#[tokio::test]
async fn a_reservation_stays_open_until_its_expire_time() {
    let fixture = AllocationFixture::open(ConnectionMode::Confirmed).await;
    let request = CreateAllocationRequest {
        expire_time: Some(fixture.in_millis(60_000).await),
        ..fixture.parties.allocation("BTC", "1", "later")
    };
    let later = fixture.client.clone().create_allocation(request).await;
    let later = later.expect("reserved").into_inner().allocation;
    let later = later.expect("set");
    let never = fixture.allocate("1", "never").await;
    let soon = fixture.expiring("soon").await;
    fixture.wait_for_end(&soon).await;
    assert_expired(&fixture.get(&soon.id).await);
    assert_eq!(fixture.get(&later.id).await, later);
    assert_eq!(fixture.get(&never.id).await, never);
    assert_eq!(never.expire_time, None);
}

#[tokio::test]
async fn a_command_expires_the_owners_due_reservations_first() {
    let fixture = AllocationFixture::open(ConnectionMode::Confirmed).await;
    let first = fixture.allocate("60", "first").await;
    let second = fixture.allocate("40", "second").await;
    fixture.make_due().await;
    // All 100 are needed by the next call, which expires the due ones first.
    let request = fixture.parties.allocation("BTC", "100", "all of it");
    let answer = fixture.client.clone().create_allocation(request).await;
    let answer = answer.expect("reserved").into_inner();
    assert_eq!(answer.custody_balance, balance("0", "100", 6));
    for record in [first, second] {
        assert_eq!(fixture.stored_status(&record.id).await, "RELEASED");
        assert_expired(&fixture.get(&record.id).await);
    }
    assert_sound(&fixture.earmark).await;
}

#[tokio::test]
async fn a_refused_or_validated_command_expires_due_reservations_too() {
    for validate_only in [false, true] {
        let fixture = AllocationFixture::open(ConnectionMode::Confirmed).await;
        let held = fixture.allocate("100", "held").await;
        fixture.make_due().await;
        let request = CreateAllocationRequest {
            validate_only,
            ..fixture.parties.allocation("BTC", "101", "too much")
        };
        let answer = fixture.client.clone().create_allocation(request).await;
        let refused = refusal(answer).expect(Code::FailedPrecondition, "INSUFFICIENT_BALANCE");
        assert_eq!(refused.metadata["available"], "100");
        assert_eq!(fixture.stored_status(&held.id).await, "RELEASED");
        assert_sound(&fixture.earmark).await;
    }
}

#[tokio::test]
async fn get_never_shows_a_due_reservation_as_open() {
    let fixture = AllocationFixture::open(ConnectionMode::Confirmed).await;
    for round in 0..10 {
        let held = fixture.allocate("1", &format!("{round}")).await;
        fixture.make_due().await;
        assert_expired(&fixture.get(&held.id).await);
        assert_eq!(fixture.stored_status(&held.id).await, "RELEASED", "written");
    }
    assert_eq!(fixture.balances().await.0, balance("100", "0", 21));
}

#[tokio::test]
async fn no_list_shows_a_due_reservation_as_open_under_any_filter() {
    let fixture = AllocationFixture::open(ConnectionMode::Confirmed).await;
    for round in 0..5 {
        let held = fixture.allocate("1", &format!("client {round}")).await;
        fixture.make_due().await;
        let request = ListClientAllocationsRequest {
            enterprise_id: fixture.parties.enterprise.clone(),
            statuses: vec![AllocationStatus::Reserved.into()],
            ..Default::default()
        };
        let listed = fixture
            .client
            .clone()
            .list_client_allocations(request)
            .await;
        assert_eq!(listed.expect("listed").into_inner().allocations, []);
        assert_eq!(fixture.stored_status(&held.id).await, "RELEASED");

        let held = fixture.allocate("1", &format!("partner {round}")).await;
        fixture.make_due().await;
        let request = ListPartnerAllocationsRequest {
            enterprise_id: fixture.parties.partner_enterprise.clone(),
            statuses: vec![AllocationStatus::Released.into()],
            allocation_ids: vec![held.id.clone()],
            ..Default::default()
        };
        let listed = fixture
            .partner
            .clone()
            .list_partner_allocations(request)
            .await;
        let listed = listed.expect("listed").into_inner().allocations;
        assert_eq!(listed.len(), 1);
        assert_expired(&listed[0]);
    }
    assert_sound(&fixture.earmark).await;
}

#[tokio::test]
async fn a_list_shows_expired_reservations_that_its_page_did_not_select_before() {
    let fixture = AllocationFixture::open(ConnectionMode::Confirmed).await;
    for round in 0..5 {
        let held = fixture.allocate("1", &format!("held {round}")).await;
        let changed = fixture.allocate("1", &format!("cancelled {round}")).await;
        fixture.cancel(&changed.id).await;
        let list = async |request: ListClientAllocationsRequest| {
            fixture.make_due().await;
            let request = ListClientAllocationsRequest {
                enterprise_id: fixture.parties.enterprise.clone(),
                page_size: 1,
                ..request
            };
            let listed = fixture
                .client
                .clone()
                .list_client_allocations(request)
                .await;
            listed.expect("listed").into_inner().allocations
        };
        // Stored as open it was changed before the other one.
        let last_changed = ListClientAllocationsRequest {
            sort_field: AllocationSortField::UpdatedAt.into(),
            sort_direction: SortDirection::Desc.into(),
            ..Default::default()
        };
        let first = list(last_changed).await;
        assert_eq!(first[0].id, held.id);
        assert_expired(&first[0]);

        let held = fixture.allocate("1", &format!("released {round}")).await;
        let released = ListClientAllocationsRequest {
            statuses: vec![AllocationStatus::Released.into()],
            sort_field: AllocationSortField::Id.into(),
            sort_direction: SortDirection::Desc.into(),
            ..Default::default()
        };
        let first = list(released).await;
        assert_eq!(first[0].id, held.id);
        assert_expired(&first[0]);

        let held = fixture.allocate("1", &format!("plain {round}")).await;
        let all = ListClientAllocationsRequest {
            created_on_or_after: held.created_at,
            ..Default::default()
        };
        let first = list(all).await;
        assert_eq!(first[0].id, held.id);
        assert_expired(&first[0]);
    }
    assert_sound(&fixture.earmark).await;
}

#[tokio::test]
async fn after_expiry_clear_is_refused_and_release_is_a_replay() {
    let fixture = AllocationFixture::open(ConnectionMode::Confirmed).await;
    let held = fixture.expiring("a").await;
    fixture.wait_for_end(&held).await;
    let clear = fixture.parties.clear(&held.id);
    let answer = fixture.partner.clone().clear_allocation(clear).await;
    let refused = refusal(answer).expect(Code::FailedPrecondition, "ALREADY_TERMINAL");
    assert_eq!(refused.metadata["status"], "RELEASED");
    assert_expired(&fixture.get(&held.id).await);
    let released = fixture.release(&held.id).await.into_inner().allocation;
    assert_expired(&released.expect("set"));
    assert_eq!(fixture.balances().await.0, balance("100", "0", 3));
}

#[tokio::test]
async fn the_expire_time_of_a_final_record_has_no_effect() {
    let fixture = AllocationFixture::open(ConnectionMode::Confirmed).await;
    let ends = fixture.allocate("1", "cleared").await;
    let cleared = fixture.clear(&ends.id).await.into_inner().allocation;
    let ends = fixture.allocate("1", "cancelled").await;
    fixture.cancel(&ends.id).await;
    let past = "UPDATE open_allocation SET expire_time = clock_timestamp()";
    let sql = fixture.earmark.sql().await;
    sql.batch_execute(past).await.expect(past);
    // Neither a command nor the sweep changes it.
    fixture.allocate("1", "touches the owner").await;
    tokio::time::sleep(SWEEP_INTERVAL + Duration::from_millis(100)).await;
    let seen = fixture.get(&cleared.as_ref().expect("set").id).await;
    let expected = Allocation {
        expire_time: seen.expire_time,
        ..cleared.expect("set")
    };
    assert_eq!(seen, expected);
    let dump = assert_sound(&fixture.earmark).await;
    let entries = dump.entries.iter();
    assert_eq!(
        entries.filter(|entry| entry.cause == Cause::EXPIRE).count(),
        0
    );
}

#[tokio::test]
async fn expire_time_must_be_in_the_future_and_within_366_days() {
    let fixture = AllocationFixture::open(ConnectionMode::Confirmed).await;
    let create = async |expire_time, validate_only| {
        let request = CreateAllocationRequest {
            expire_time: Some(expire_time),
            validate_only,
            ..fixture.parties.allocation("BTC", "1", "same key")
        };
        fixture.client.clone().create_allocation(request).await
    };
    for micros in [-1_000_000, 0, DAYS_366_US + 60_000_000] {
        for validate_only in [true, false] {
            let time = in_micros(&fixture.earmark, micros).await;
            let refused = refusal(create(time, validate_only).await);
            refused.expect_invalid(&["expire_time"]);
        }
    }
    for time in [
        (i64::MAX, 0),
        (i64::MIN, 0),
        (253_402_300_800, 0),
        (4_000_000_000, -1),
        (4_000_000_000, 1_000_000_000),
    ] {
        let (seconds, nanos) = time;
        let refused = refusal(create(Timestamp { seconds, nanos }, false).await);
        refused.expect_invalid(&["expire_time"]);
    }
    assert_eq!(fixture.balances().await.0, balance("100", "0", 1));
    // What was refused has left no key.
    let limit = in_micros(&fixture.earmark, DAYS_366_US).await;
    let record = create(limit, false).await.expect("reserved").into_inner();
    assert_eq!(record.allocation.expect("set").expire_time, Some(limit));
}

/// The database's time of a call is not visible, but lies between two readings of the clock. The unit tests of
/// `decide` set it and check the limits to the microsecond.
#[tokio::test]
async fn expire_time_limits_use_the_databases_clock() {
    let fixture = AllocationFixture::open(ConnectionMode::Confirmed).await;
    let now = async || micros(Some(fixture.in_millis(0).await));
    for (index, ahead) in [200, 1_000, 5_000, 25_000].into_iter().enumerate() {
        for limit in [0, DAYS_366_US] {
            let end = in_micros(&fixture.earmark, limit + ahead).await;
            let request = CreateAllocationRequest {
                expire_time: Some(end),
                ..fixture
                    .parties
                    .allocation("BTC", "1", &format!("{index} {limit}"))
            };
            let before = now().await;
            let answer = fixture.client.clone().create_allocation(request).await;
            let after = now().await;
            let end = micros(Some(end));
            let taken = answer.is_ok();
            if let Err(status) = answer {
                refusal(Err::<(), _>(status)).expect_invalid(&["expire_time"]);
            }
            // Bounds for acceptance and for refusal; between them both are correct.
            let (must_take, may_take) = match limit {
                0 => (end > after, end > before),
                _ => (end <= before + limit, end <= after + limit),
            };
            assert!(taken || !must_take, "{ahead} {limit}");
            assert!(!taken || may_take, "{ahead} {limit}");
        }
    }
}

#[tokio::test]
async fn expire_time_is_rounded_down_to_microseconds_and_is_part_of_the_keys_content() {
    let fixture = AllocationFixture::open(ConnectionMode::Confirmed).await;
    let whole = fixture.in_millis(60_000).await;
    let finer = Timestamp {
        nanos: whole.nanos + 999,
        ..whole
    };
    let create = async |expire_time| {
        let request = CreateAllocationRequest {
            expire_time,
            ..fixture.parties.allocation("BTC", "1", "key")
        };
        fixture.client.clone().create_allocation(request).await
    };
    let record = create(Some(finer)).await.expect("reserved").into_inner();
    assert_eq!(record.allocation.expect("set").expire_time, Some(whole));
    let again = create(Some(whole)).await.expect("the same content");
    assert!(again.metadata().contains_key("earmark-replayed"));
    let other = Timestamp {
        seconds: whole.seconds + 1,
        ..whole
    };
    for other in [Some(other), None] {
        let refused = refusal(create(other).await);
        refused.expect(Code::AlreadyExists, "IDEMPOTENCY_KEY_REUSED");
    }
}

#[tokio::test]
async fn a_replay_after_expiry_is_still_a_replay() {
    let fixture = AllocationFixture::open(ConnectionMode::Confirmed).await;
    let held = fixture.expiring("key").await;
    let request = CreateAllocationRequest {
        expire_time: held.expire_time,
        ..fixture.parties.allocation("BTC", "1", "key")
    };
    fixture.wait_for_end(&held).await;
    // Its `expire_time` is past by now, which a new one's must not be: a replay comes before the clock.
    let again = fixture.client.clone().create_allocation(request).await;
    let again = again.expect("replayed").into_inner();
    assert_expired(again.allocation.as_ref().expect("set"));
    assert_eq!(again.custody_balance, balance("99", "1", 2));
}

#[tokio::test]
async fn an_instant_allocation_takes_no_expire_time() {
    let fixture = AllocationFixture::open(ConnectionMode::Instant).await;
    fixture.allocate("50", "moved").await;
    let ahead = Some(fixture.in_millis(60_000).await);
    let mut out = fixture.parties.allocation("BTC", "1", "a");
    out.expire_time = ahead;
    let answer = fixture.client.clone().create_allocation(out).await;
    refusal(answer).expect_invalid(&["expire_time"]);
    let mut back = fixture.parties.deallocation("BTC", "1", "a");
    back.expire_time = ahead;
    let answer = fixture.client.clone().create_deallocation(back).await;
    refusal(answer).expect_invalid(&["expire_time"]);
    // Arguments are compared with the record before its status is checked.
    fixture.disable_connection().await;
    let mut out = fixture.parties.allocation("BTC", "1", "a");
    out.expire_time = ahead;
    let answer = fixture.client.clone().create_allocation(out).await;
    refusal(answer).expect_invalid(&["expire_time"]);
}

#[tokio::test]
async fn expiry_ignores_disabled_directions_and_withdrawn_licences() {
    for direction in DIRECTIONS {
        let (fixture, held) = AllocationFixture::with_hold(direction).await;
        fixture.disable_connection().await;
        let parties = &fixture.parties;
        fixture.earmark.license(&parties.enterprise, false).await;
        fixture
            .earmark
            .license(&parties.partner_enterprise, false)
            .await;
        fixture.make_due().await;
        let due = Instant::now();
        while fixture.stored_status(&held.id).await == "RESERVED" {
            assert!(due.elapsed() < SWEPT_WITHIN + SLACK);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert_sound(&fixture.earmark).await;
    }
}

/// One more than one transaction expires.
const MANY: usize = 1_001;

/// A client with this many due reservations.
async fn many_due() -> AllocationFixture {
    let fixture = many_open(Earmark::start().await).await;
    fixture.make_due().await;
    fixture
}

/// The same with reservations that are not due yet.
async fn many_open(earmark: Earmark) -> AllocationFixture {
    let fixture = AllocationFixture::on(earmark, ConnectionMode::Confirmed).await;
    let deposit = fixture
        .earmark
        .deposit(&fixture.parties.enterprise, "BTC", "2000");
    deposit.await;
    for range in [0..1_000, 1_000..MANY] {
        let items = range.map(|index| {
            let key = format!("{index}");
            fixture.parties.item(AllocationType::Allocation, "1", &key)
        });
        let request = fixture.parties.submission(items.collect());
        let answer = fixture.client.clone().submit_allocations(request).await;
        answer.expect("submitted");
    }
    fixture
}

#[tokio::test]
async fn commands_wait_while_more_reservations_are_due_than_one_transaction_expires() {
    let fixture = many_due().await;
    let open = "SELECT count(*) FROM allocation WHERE status = 'RESERVED'";
    let calls = (0..50).map(|index| {
        let request = fixture
            .parties
            .allocation("BTC", "42", &format!("call {index}"));
        let mut client = fixture.client.clone();
        async move { client.create_allocation(request).await }
    });
    let answers = join_all(calls).await;
    // 2,100 in all: the first 50 of 42 each need everything that was due.
    for answer in answers {
        answer.expect("reserved");
    }
    assert_eq!(fixture.earmark.count(open).await, 50);
    let versions = i64::try_from(2 + 2 * MANY + 50).expect("small");
    assert_eq!(fixture.balances().await.0, balance("0", "2100", versions));
    assert_sound(&fixture.earmark).await;
}

#[tokio::test]
async fn validations_and_reads_wait_until_all_due_reservations_are_expired() {
    let fixture = many_due().await;
    let request = CreateAllocationRequest {
        validate_only: true,
        ..fixture.parties.allocation("BTC", "2100", "all of it")
    };
    let answer = fixture.client.clone().create_allocation(request).await;
    let answer = answer.expect("validated").into_inner();
    let version = i64::try_from(3 + 2 * MANY).expect("small");
    assert_eq!(answer.custody_balance, balance("0", "2100", version));

    let fixture = many_due().await;
    let request = ListPartnerAllocationsRequest {
        enterprise_id: fixture.parties.partner_enterprise.clone(),
        statuses: vec![AllocationStatus::Reserved.into()],
        ..Default::default()
    };
    let listed = fixture
        .partner
        .clone()
        .list_partner_allocations(request)
        .await;
    assert_eq!(listed.expect("listed").into_inner().allocations, []);
    assert_sound(&fixture.earmark).await;
}

#[tokio::test]
async fn due_reservations_of_one_owner_do_not_delay_other_owners() {
    let busy = many_open(one_writer().await).await;
    let parties = busy.earmark.parties(ConnectionMode::Confirmed).await;
    busy.earmark
        .deposit(&parties.enterprise, "BTC", "100")
        .await;
    let mut other = busy.earmark.member(&[&parties.enterprise]).allocation;
    busy.make_due().await;
    let calls = (0..600).map(|index| {
        let request = busy
            .parties
            .allocation("BTC", "1", &format!("call {index}"));
        let mut client = busy.client.clone();
        async move { client.create_allocation(request).await }
    });
    let calls = async { (join_all(calls).await, Instant::now()) };
    let request = parties.allocation("BTC", "1", "other");
    let call = async { (other.create_allocation(request).await, Instant::now()) };
    let ((answers, all_answered), (answer, answered)) = tokio::join!(calls, call);
    answer.expect("reserved");
    assert!(answers.iter().all(Result::is_ok));
    assert!(answered < all_answered);
    assert_sound(&busy.earmark).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_due_reservations_of_one_owner_expire_while_other_owners_are_busy() {
    let fixture = many_open(one_writer().await).await;
    let stop = CancellationToken::new();
    let carried_out = Arc::new(AtomicUsize::new(0));
    let mut others = Vec::new();
    for _ in 0..30 {
        let parties = fixture.earmark.parties(ConnectionMode::Confirmed).await;
        let enterprise = parties.enterprise.clone();
        fixture.earmark.deposit(&enterprise, "BTC", "1000000").await;
        let mut client = fixture.earmark.member(&[&enterprise]).allocation;
        let (stop, carried_out) = (stop.clone(), Arc::clone(&carried_out));
        others.push(tokio::spawn(async move {
            for index in 0.. {
                if stop.is_cancelled() {
                    return;
                }
                let request = parties.allocation("BTC", "1", &format!("{index}"));
                client.create_allocation(request).await.expect("reserved");
                carried_out.fetch_add(1, Ordering::Relaxed);
            }
        }));
    }
    fixture.make_due().await;
    let before = carried_out.load(Ordering::Relaxed);
    fixture.allocate("1", "after all that").await;
    let meanwhile = carried_out.load(Ordering::Relaxed) - before;
    stop.cancel();
    for other in others {
        other.await.expect("no panic");
    }
    // Each batch may hold one command of each of the 30, and releases up to 1,000; shared out evenly, it would be 33.
    assert!(meanwhile < 300, "{meanwhile} of others came first");
    assert_sound(&fixture.earmark).await;
}

async fn one_writer() -> Earmark {
    let mut setup = Setup::default();
    setup.app.writer.writers = 1;
    Earmark::start_with(setup).await
}
