//! Expiry: by the command that touches the owner, by the read that meets it, and by the sweep; always by the database's
//! clock.
//!
//! The sweep runs twice a second. To show that something else released what was due, a test makes it due by SQL and acts
//! at once, several times over.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use earmark::ledger::model::Cause;
use earmark::limits::SWEEP_INTERVAL;
use earmark::proto::allocation::v1::{
    Allocation, AllocationSortField, AllocationStatus, AllocationType, CreateAllocationRequest,
    ListClientAllocationsRequest, ListPartnerAllocationsRequest,
};
use earmark::proto::balance::v1::GetBalanceRequest;
use earmark::proto::common::v1::SortDirection;
use earmark::proto::network::v1::ConnectionMode;
use futures_util::future::join_all;
use prost_types::Timestamp;
use tokio_util::sync::CancellationToken;
use tonic::Code;

use crate::support::desk::{Desk, in_micros};
use crate::support::earmark::{Earmark, Setup, balance, refusal};
use crate::support::locks;
use crate::support::picture::assert_sound;

const DIRECTIONS: [AllocationType; 2] = [AllocationType::Allocation, AllocationType::Deallocation];
/// The longest time that a reservation may stay open past its end.
const SWEPT_WITHIN: Duration = Duration::from_secs(2);
/// What a machine that has too much to do may add to it.
const SLACK: Duration = Duration::from_secs(4);
const DAYS_366_US: i64 = 366 * 24 * 60 * 60 * 1_000_000;

impl Desk {
    /// A reservation of 1 BTC that is due in a moment.
    async fn expiring(&self, key: &str) -> Allocation {
        // Where the machine is busy a moment may be over before the call is there: what was refused left no key.
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

    /// Waits until this record's time has come.
    async fn wait_for_end(&self, record: &Allocation) {
        let left = micros(record.expire_time) - micros(Some(self.in_millis(0).await));
        let left = Duration::from_micros(u64::try_from(left).unwrap_or(0));
        tokio::time::sleep(left + Duration::from_millis(1)).await;
    }

    /// Makes every reservation of the desk's client due now, behind the server's back.
    async fn make_due(&self) {
        let due = format!(
            "UPDATE allocation SET expire_time = clock_timestamp()
              WHERE owner_id = '{}' AND status = 'RESERVED'",
            self.parties.enterprise
        );
        let sql = self.earmark.sql().await;
        sql.batch_execute(&due).await.expect("made due");
    }

    /// How the record is stored, whatever a read would do about it.
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
async fn the_sweep_releases_what_nobody_touches_within_two_seconds() {
    let desk = Desk::open(ConnectionMode::Confirmed).await;
    let moved = desk.allocate("50", "moved").await;
    desk.clear(&moved.id).await;
    let mut request = desk.parties.deallocation("BTC", "20", "back");
    request.expire_time = Some(desk.in_millis(3_000).await);
    let back = desk.client.clone().create_deallocation(request).await;
    let back = back.expect("reserved").into_inner().allocation;
    let (out, back) = (desk.expiring("out").await, back.expect("set"));
    for record in [&out, &back] {
        desk.wait_for_end(record).await;
        let due = Instant::now();
        while desk.stored_status(&record.id).await == "RESERVED" {
            assert!(due.elapsed() < SWEPT_WITHIN + SLACK, "never swept");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let record = desk.get(&record.id).await;
        assert_expired(&record);
        let late = micros(record.updated_at) - micros(record.expire_time);
        let late = Duration::from_micros(u64::try_from(late).expect("not early"));
        assert!(late < SWEPT_WITHIN + SLACK, "late by {late:?}");
    }
    let (custody, connection) = desk.balances().await;
    assert_eq!(custody, balance("50", "0", 5));
    assert_eq!(connection, balance("50", "0", 3));
    let picture = assert_sound(&desk.earmark).await;
    let entries = picture.entries.iter();
    let expired = entries.filter(|entry| entry.cause == Cause::Expire);
    assert_eq!(expired.count(), 2);
}

/// A reservation whose create is committed while the read is under way, and was due before it.
#[tokio::test]
async fn a_balance_never_shows_what_was_due_though_it_was_committed_behind_the_look_at_the_clock() {
    let desk = Desk::open(ConnectionMode::Confirmed).await;
    let held = desk.allocate("5", "held").await;
    let url = &desk.earmark.url;
    let late = locks::session(url).await;
    let hold = "BEGIN; LOCK TABLE account IN ACCESS EXCLUSIVE MODE";
    late.batch_execute(hold).await.expect("locked");
    let request = GetBalanceRequest {
        enterprise_id: desk.parties.enterprise.clone(),
        currency: "BTC".into(),
        ..Default::default()
    };
    let mut member = desk.earmark.member(&[&desk.parties.enterprise]).balance;
    let read = tokio::spawn(async move { member.get_balance(request).await });
    locks::somebody_waits(url).await;
    let commit = format!(
        "UPDATE allocation SET expire_time = created_at WHERE id = '{}'; COMMIT",
        held.id
    );
    late.batch_execute(&commit).await.expect("committed");
    let answer = read.await.expect("no panic").expect("read").into_inner();
    assert_eq!(answer.balance, balance("100", "0", 3));
    assert_eq!(answer.reservations, []);
    assert_expired(&desk.get(&held.id).await);
}

#[tokio::test]
async fn what_is_due_later_stays() {
    let desk = Desk::open(ConnectionMode::Confirmed).await;
    let request = CreateAllocationRequest {
        expire_time: Some(desk.in_millis(60_000).await),
        ..desk.parties.allocation("BTC", "1", "later")
    };
    let later = desk.client.clone().create_allocation(request).await;
    let later = later.expect("reserved").into_inner().allocation;
    let later = later.expect("set");
    let never = desk.allocate("1", "never").await;
    let soon = desk.expiring("soon").await;
    desk.wait_for_end(&soon).await;
    assert_expired(&desk.get(&soon.id).await);
    assert_eq!(desk.get(&later.id).await, later);
    assert_eq!(desk.get(&never.id).await, never);
    assert_eq!(never.expire_time, None);
}

#[tokio::test]
async fn a_command_of_the_owner_releases_what_is_due_first() {
    let desk = Desk::open(ConnectionMode::Confirmed).await;
    let first = desk.allocate("60", "first").await;
    let second = desk.allocate("40", "second").await;
    desk.make_due().await;
    // All 100 again, in the very call that needs them.
    let request = desk.parties.allocation("BTC", "100", "all of it");
    let answer = desk.client.clone().create_allocation(request).await;
    let answer = answer.expect("reserved").into_inner();
    assert_eq!(answer.custody_balance, balance("0", "100", 6));
    for record in [first, second] {
        assert_eq!(desk.stored_status(&record.id).await, "RELEASED");
        assert_expired(&desk.get(&record.id).await);
    }
    assert_sound(&desk.earmark).await;
}

#[tokio::test]
async fn a_command_that_is_refused_or_only_validated_releases_what_is_due_too() {
    for validate_only in [false, true] {
        let desk = Desk::open(ConnectionMode::Confirmed).await;
        let held = desk.allocate("100", "held").await;
        desk.make_due().await;
        let request = CreateAllocationRequest {
            validate_only,
            ..desk.parties.allocation("BTC", "101", "too much")
        };
        let answer = desk.client.clone().create_allocation(request).await;
        let refused = refusal(answer).expect(Code::FailedPrecondition, "INSUFFICIENT_BALANCE");
        assert_eq!(refused.metadata["available"], "100");
        assert_eq!(desk.stored_status(&held.id).await, "RELEASED");
        assert_sound(&desk.earmark).await;
    }
}

#[tokio::test]
async fn get_never_shows_a_due_one_as_open() {
    let desk = Desk::open(ConnectionMode::Confirmed).await;
    for round in 0..10 {
        let held = desk.allocate("1", &format!("{round}")).await;
        desk.make_due().await;
        assert_expired(&desk.get(&held.id).await);
        assert_eq!(desk.stored_status(&held.id).await, "RELEASED", "written");
    }
    assert_eq!(desk.balances().await.0, balance("100", "0", 21));
}

#[tokio::test]
async fn neither_list_shows_a_due_one_as_open_whatever_it_asks_for() {
    let desk = Desk::open(ConnectionMode::Confirmed).await;
    for round in 0..5 {
        let held = desk.allocate("1", &format!("client {round}")).await;
        desk.make_due().await;
        let request = ListClientAllocationsRequest {
            enterprise_id: desk.parties.enterprise.clone(),
            statuses: vec![AllocationStatus::Reserved.into()],
            ..Default::default()
        };
        let listed = desk.client.clone().list_client_allocations(request).await;
        assert_eq!(listed.expect("listed").into_inner().allocations, []);
        assert_eq!(desk.stored_status(&held.id).await, "RELEASED");

        let held = desk.allocate("1", &format!("partner {round}")).await;
        desk.make_due().await;
        let request = ListPartnerAllocationsRequest {
            enterprise_id: desk.parties.partner_enterprise.clone(),
            statuses: vec![AllocationStatus::Released.into()],
            allocation_ids: vec![held.id.clone()],
            ..Default::default()
        };
        let listed = desk.partner.clone().list_partner_allocations(request).await;
        let listed = listed.expect("listed").into_inner().allocations;
        assert_eq!(listed.len(), 1);
        assert_expired(&listed[0]);
    }
    assert_sound(&desk.earmark).await;
}

#[tokio::test]
async fn a_list_sees_that_a_due_one_was_changed_even_where_its_page_would_not_have_held_it() {
    let desk = Desk::open(ConnectionMode::Confirmed).await;
    for round in 0..5 {
        let held = desk.allocate("1", &format!("held {round}")).await;
        let changed = desk.allocate("1", &format!("cancelled {round}")).await;
        desk.cancel(&changed.id).await;
        let list = async |request: ListClientAllocationsRequest| {
            desk.make_due().await;
            let request = ListClientAllocationsRequest {
                enterprise_id: desk.parties.enterprise.clone(),
                page_size: 1,
                ..request
            };
            let listed = desk.client.clone().list_client_allocations(request).await;
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

        let held = desk.allocate("1", &format!("released {round}")).await;
        let released = ListClientAllocationsRequest {
            statuses: vec![AllocationStatus::Released.into()],
            sort_field: AllocationSortField::Id.into(),
            sort_direction: SortDirection::Desc.into(),
            ..Default::default()
        };
        let first = list(released).await;
        assert_eq!(first[0].id, held.id);
        assert_expired(&first[0]);

        let held = desk.allocate("1", &format!("plain {round}")).await;
        let all = ListClientAllocationsRequest {
            created_on_or_after: held.created_at,
            ..Default::default()
        };
        let first = list(all).await;
        assert_eq!(first[0].id, held.id);
        assert_expired(&first[0]);
    }
    assert_sound(&desk.earmark).await;
}

#[tokio::test]
async fn a_clear_past_the_end_is_refused_and_a_release_is_a_repeat() {
    let desk = Desk::open(ConnectionMode::Confirmed).await;
    let held = desk.expiring("a").await;
    desk.wait_for_end(&held).await;
    let clear = desk.parties.clear(&held.id);
    let answer = desk.partner.clone().clear_allocation(clear).await;
    let refused = refusal(answer).expect(Code::FailedPrecondition, "ALREADY_TERMINAL");
    assert_eq!(refused.metadata["status"], "RELEASED");
    assert_expired(&desk.get(&held.id).await);
    let released = desk.release(&held.id).await.into_inner().allocation;
    assert_expired(&released.expect("set"));
    assert_eq!(desk.balances().await.0, balance("100", "0", 3));
}

#[tokio::test]
async fn the_end_of_a_final_record_means_nothing() {
    let desk = Desk::open(ConnectionMode::Confirmed).await;
    let ends = desk.allocate("1", "cleared").await;
    let cleared = desk.clear(&ends.id).await.into_inner().allocation;
    let ends = desk.allocate("1", "cancelled").await;
    desk.cancel(&ends.id).await;
    let past = "UPDATE allocation SET expire_time = clock_timestamp()";
    let sql = desk.earmark.sql().await;
    sql.batch_execute(past).await.expect(past);
    // Neither a command nor a sweep makes anything of it.
    desk.allocate("1", "touches the owner").await;
    tokio::time::sleep(SWEEP_INTERVAL + Duration::from_millis(100)).await;
    let seen = desk.get(&cleared.as_ref().expect("set").id).await;
    let expected = Allocation {
        expire_time: seen.expire_time,
        ..cleared.expect("set")
    };
    assert_eq!(seen, expected);
    let picture = assert_sound(&desk.earmark).await;
    let entries = picture.entries.iter();
    assert_eq!(
        entries.filter(|entry| entry.cause == Cause::Expire).count(),
        0
    );
}

#[tokio::test]
async fn an_end_must_lie_ahead_and_at_most_366_days() {
    let desk = Desk::open(ConnectionMode::Confirmed).await;
    let create = async |expire_time, validate_only| {
        let request = CreateAllocationRequest {
            expire_time: Some(expire_time),
            validate_only,
            ..desk.parties.allocation("BTC", "1", "same key")
        };
        desk.client.clone().create_allocation(request).await
    };
    for micros in [-1_000_000, 0, DAYS_366_US + 60_000_000] {
        for validate_only in [true, false] {
            let time = in_micros(&desk.earmark, micros).await;
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
    assert_eq!(desk.balances().await.0, balance("100", "0", 1));
    // What was refused has left no key.
    let limit = in_micros(&desk.earmark, DAYS_366_US).await;
    let record = create(limit, false).await.expect("reserved").into_inner();
    assert_eq!(record.allocation.expect("set").expire_time, Some(limit));
}

/// Nobody outside knows the time at which a call is judged, but it lies between two looks at the clock. `decide`'s own
/// tests know it, and meet the limits to the microsecond.
#[tokio::test]
async fn the_limits_of_an_end_are_those_of_the_databases_clock() {
    let desk = Desk::open(ConnectionMode::Confirmed).await;
    let now = async || micros(Some(desk.in_millis(0).await));
    for (index, ahead) in [200, 1_000, 5_000, 25_000].into_iter().enumerate() {
        for limit in [0, DAYS_366_US] {
            let end = in_micros(&desk.earmark, limit + ahead).await;
            let request = CreateAllocationRequest {
                expire_time: Some(end),
                ..desk
                    .parties
                    .allocation("BTC", "1", &format!("{index} {limit}"))
            };
            let before = now().await;
            let answer = desk.client.clone().create_allocation(request).await;
            let after = now().await;
            let end = micros(Some(end));
            let taken = answer.is_ok();
            if let Err(status) = answer {
                refusal(Err::<(), _>(status)).expect_invalid(&["expire_time"]);
            }
            // Where it must be taken, where it must be refused; in between it may be either.
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
async fn an_end_finer_than_a_microsecond_is_rounded_down_and_is_content() {
    let desk = Desk::open(ConnectionMode::Confirmed).await;
    let whole = desk.in_millis(60_000).await;
    let finer = Timestamp {
        nanos: whole.nanos + 999,
        ..whole
    };
    let create = async |expire_time| {
        let request = CreateAllocationRequest {
            expire_time,
            ..desk.parties.allocation("BTC", "1", "key")
        };
        desk.client.clone().create_allocation(request).await
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
async fn a_repeat_after_the_end_is_still_a_repeat() {
    let desk = Desk::open(ConnectionMode::Confirmed).await;
    let held = desk.expiring("key").await;
    let request = CreateAllocationRequest {
        expire_time: held.expire_time,
        ..desk.parties.allocation("BTC", "1", "key")
    };
    desk.wait_for_end(&held).await;
    // Its `expire_time` is past by now, which a new one's must not be: a replay comes before the clock.
    let again = desk.client.clone().create_allocation(request).await;
    let again = again.expect("replayed").into_inner();
    assert_expired(again.allocation.as_ref().expect("set"));
    assert_eq!(again.custody_balance, balance("99", "1", 2));
}

#[tokio::test]
async fn what_moves_at_once_has_no_end() {
    let desk = Desk::open(ConnectionMode::Instant).await;
    desk.allocate("50", "moved").await;
    let ahead = Some(desk.in_millis(60_000).await);
    let mut out = desk.parties.allocation("BTC", "1", "a");
    out.expire_time = ahead;
    let answer = desk.client.clone().create_allocation(out).await;
    refusal(answer).expect_invalid(&["expire_time"]);
    let mut back = desk.parties.deallocation("BTC", "1", "a");
    back.expire_time = ahead;
    let answer = desk.client.clone().create_deallocation(back).await;
    refusal(answer).expect_invalid(&["expire_time"]);
    // Arguments judged against the record come before its state.
    desk.disable_connection().await;
    let mut out = desk.parties.allocation("BTC", "1", "a");
    out.expire_time = ahead;
    let answer = desk.client.clone().create_allocation(out).await;
    refusal(answer).expect_invalid(&["expire_time"]);
}

#[tokio::test]
async fn expiry_works_whatever_flags_and_licences_say() {
    for direction in DIRECTIONS {
        let (desk, held) = Desk::with_hold(direction).await;
        desk.disable_connection().await;
        let parties = &desk.parties;
        desk.earmark.license(&parties.enterprise, false).await;
        desk.earmark
            .license(&parties.partner_enterprise, false)
            .await;
        desk.make_due().await;
        let due = Instant::now();
        while desk.stored_status(&held.id).await == "RESERVED" {
            assert!(due.elapsed() < SWEPT_WITHIN + SLACK);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert_sound(&desk.earmark).await;
    }
}

/// One more than a transaction releases.
const MANY: usize = 1_001;

/// A client with so many reservations, all due.
async fn many_due() -> Desk {
    let desk = many_open(Earmark::start().await).await;
    desk.make_due().await;
    desk
}

/// The same before they are due.
async fn many_open(earmark: Earmark) -> Desk {
    let desk = Desk::on(earmark, ConnectionMode::Confirmed).await;
    let deposit = desk
        .earmark
        .deposit(&desk.parties.enterprise, "BTC", "2000");
    deposit.await;
    for range in [0..1_000, 1_000..MANY] {
        let items = range.map(|index| {
            let key = format!("{index}");
            desk.parties.item(AllocationType::Allocation, "1", &key)
        });
        let request = desk.parties.submission(items.collect());
        let answer = desk.client.clone().submit_allocations(request).await;
        answer.expect("submitted");
    }
    desk
}

#[tokio::test]
async fn commands_of_an_owner_with_more_due_than_a_transaction_releases_wait_and_are_right() {
    let desk = many_due().await;
    let open = "SELECT count(*) FROM allocation WHERE status = 'RESERVED'";
    let calls = (0..50).map(|index| {
        let request = desk
            .parties
            .allocation("BTC", "42", &format!("call {index}"));
        let mut client = desk.client.clone();
        async move { client.create_allocation(request).await }
    });
    let answers = join_all(calls).await;
    // 2,100 in all: the first 50 of 42 each need everything that was due.
    for answer in answers {
        answer.expect("reserved");
    }
    assert_eq!(desk.earmark.count(open).await, 50);
    let versions = i64::try_from(2 + 2 * MANY + 50).expect("small");
    assert_eq!(desk.balances().await.0, balance("0", "2100", versions));
    assert_sound(&desk.earmark).await;
}

#[tokio::test]
async fn a_validation_and_a_read_wait_until_all_that_was_due_is_released() {
    let desk = many_due().await;
    let request = CreateAllocationRequest {
        validate_only: true,
        ..desk.parties.allocation("BTC", "2100", "all of it")
    };
    let answer = desk.client.clone().create_allocation(request).await;
    let answer = answer.expect("validated").into_inner();
    let version = i64::try_from(3 + 2 * MANY).expect("small");
    assert_eq!(answer.custody_balance, balance("0", "2100", version));

    let desk = many_due().await;
    let request = ListPartnerAllocationsRequest {
        enterprise_id: desk.parties.partner_enterprise.clone(),
        statuses: vec![AllocationStatus::Reserved.into()],
        ..Default::default()
    };
    let listed = desk.partner.clone().list_partner_allocations(request).await;
    assert_eq!(listed.expect("listed").into_inner().allocations, []);
    assert_sound(&desk.earmark).await;
}

#[tokio::test]
async fn what_is_due_of_one_owner_holds_no_other_up() {
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
async fn much_that_is_due_of_one_owner_is_released_though_many_others_are_busy() {
    let desk = many_open(one_writer().await).await;
    let stop = CancellationToken::new();
    let carried_out = Arc::new(AtomicUsize::new(0));
    let mut others = Vec::new();
    for _ in 0..30 {
        let parties = desk.earmark.parties(ConnectionMode::Confirmed).await;
        let enterprise = parties.enterprise.clone();
        desk.earmark.deposit(&enterprise, "BTC", "1000000").await;
        let mut client = desk.earmark.member(&[&enterprise]).allocation;
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
    desk.make_due().await;
    let before = carried_out.load(Ordering::Relaxed);
    desk.allocate("1", "after all that").await;
    let meanwhile = carried_out.load(Ordering::Relaxed) - before;
    stop.cancel();
    for other in others {
        other.await.expect("no panic");
    }
    // Each batch may hold one command of each of the 30, and releases up to 1,000; shared out evenly, it would be 33.
    assert!(meanwhile < 300, "{meanwhile} of others came first");
    assert_sound(&desk.earmark).await;
}

async fn one_writer() -> Earmark {
    let mut setup = Setup::default();
    setup.app.writer.writers = 1;
    Earmark::start_with(setup).await
}
