use std::iter::repeat_n;
use std::sync::Arc;

use tokio::sync::oneshot;
use uuid::Uuid;

use super::*;
use crate::ledger::bucket::request::{
    ActionRequest, BucketOperation, BucketRequest, PerformAction, Quantity, TransferRequest,
};
use crate::ledger::engine::pending::pending;
use crate::ledger::kind::{Command, ReleaseDue};
use crate::ledger::oes::model::OesRecords;
use crate::types::amount::Amount;
use crate::types::content::Content;
use crate::types::ids::TenantId;
use crate::types::unit::Unit;

const PATIENCE: Duration = Duration::from_secs(5);

/// A command about this owner, and where its answer will arrive.
fn answered_ticket(owner: u128) -> (Ticket, oneshot::Receiver<Result<()>>) {
    let owner = OwnerId(Uuid::from_u128(owner));
    let command = Command::new(owner, false, ReleaseDue::<OesRecords>::default());
    let (command, answered) = pending(command);
    (Ticket::new(command, Claim::new()), answered)
}

fn ticket(owner: u128) -> Ticket {
    answered_ticket(owner).0
}

fn queue(owners: impl IntoIterator<Item = u128>) -> Queue {
    let queue = Queue::new(usize::MAX);
    for owner in owners {
        queue.push(ticket(owner)).expect("there is room");
    }
    queue
}

/// The next batch, if it is time for one.
fn take(queue: &Queue) -> Option<Batch> {
    queue.lock().take(Instant::now())
}

/// The commands of the next batch, which is over at once.
async fn next(queue: &Queue) -> Vec<Ticket> {
    let batch = queue.next().await.expect("a batch");
    queue.end(&batch.lanes);
    batch.tickets
}

fn owners(tickets: &[Ticket]) -> Vec<u128> {
    let owners = tickets.iter().map(|ticket| ticket.command().head().owner);
    owners.map(|owner| owner.0.as_u128()).collect()
}

/// Whose commands the next batch holds, in its order; it is over at once.
fn taken(queue: &Queue) -> Vec<u128> {
    let batch = take(queue).expect("a batch");
    queue.end(&batch.lanes);
    owners(&batch.tickets)
}

#[test]
fn many_commands_of_one_owner_leave_room_for_the_first_of_every_other() {
    let queue = queue(repeat_n(1, 3 * BATCH_MAX).chain(2..=9));
    let first = taken(&queue);
    assert_eq!(first.len(), BATCH_MAX);
    assert_eq!(first[..10], [1, 2, 3, 4, 5, 6, 7, 8, 9, 1]);
    assert_eq!(taken(&queue), vec![1; BATCH_MAX]);
}

#[test]
fn one_owner_fills_half_of_the_queue_and_all_owners_the_whole() {
    let queue = queue(repeat_n(1, QUEUE_OWNER_MAX));
    assert_eq!(queue.push(ticket(1)), Err(Error::Overloaded));
    for owner in 0..QUEUE_MAX - QUEUE_OWNER_MAX {
        queue
            .push(ticket(1_000 + owner as u128))
            .expect("there is room");
    }
    assert_eq!(queue.push(ticket(2)), Err(Error::Overloaded));
    assert_eq!(taken(&queue).len(), BATCH_MAX);
    queue.push(ticket(2)).expect("there is room again");
}

#[test]
fn one_owner_has_a_limited_number_of_commands_whatever_their_weight() {
    let queue = Queue::new(2);
    for owner in [1, 1, 2] {
        queue.push(ticket(owner)).expect("there is room");
    }
    assert_eq!(queue.push(ticket(1)), Err(Error::Overloaded));
    queue.push(ticket(2)).expect("another owner has room");
    assert_eq!(taken(&queue).len(), 4);
    queue.push(ticket(1)).expect("there is room again");
}

#[test]
fn a_withdrawn_command_is_not_taken() {
    let queue = Queue::new(usize::MAX);
    let gone = ticket(1);
    assert_eq!(gone.claim.withdraw(), Outcome::NotApplied);
    queue.push(gone).expect("there is room");
    queue.push(ticket(2)).expect("there is room");
    assert_eq!(taken(&queue), [2]);
    assert!(take(&queue).is_none());
    assert!(queue.lock().lanes.is_empty());
    assert_eq!(queue.lock().weight, 0);
}

#[test]
fn commands_put_back_precede_later_ones_and_may_be_withdrawn_again() {
    let queue = queue([1, 1]);
    let batch = take(&queue).expect("a batch");
    let (mut first, claims): (Vec<_>, Vec<_>) = batch
        .tickets
        .into_iter()
        .map(|ticket| (ticket.since, ticket.claim.clone()))
        .unzip();
    let late = ticket(1);
    first.push(late.since);
    queue.push(late).expect("there is room");
    let again: Vec<_> = first[..2]
        .iter()
        .zip(&claims)
        .map(|(since, claim)| Ticket {
            since: *since,
            claim: claim.clone(),
            ..ticket(1)
        })
        .collect();
    queue.give_back(again);
    queue.end(&batch.lanes);
    assert_eq!(claims[1].withdraw(), Outcome::NotApplied);
    let batch = take(&queue).expect("another");
    let order: Vec<_> = batch.tickets.iter().map(|ticket| ticket.since).collect();
    assert_eq!(order, [first[0], first[2]]);
}

#[tokio::test(start_paused = true)]
async fn a_parked_owner_waits_longer_each_time_while_others_go_on() {
    let queue = queue([1, 2]);
    let mut tickets = next(&queue).await;
    let mut pauses = Vec::new();
    tickets.retain(|ticket| ticket.command().head().owner.0.as_u128() == 1);
    for _ in 0..5 {
        queue.park(tickets, PATIENCE);
        queue.push(ticket(1)).expect("waits behind the parked one");
        queue.push(ticket(3)).expect("there is room");
        assert_eq!(taken(&queue), [3]);
        let parked = Instant::now();
        tickets = next(&queue).await;
        pauses.push(parked.elapsed().as_millis());
    }
    assert_eq!(tickets.len(), 6);
    // Times are looked at in whole milliseconds.
    for (pause, expected) in pauses.iter().zip([100, 200, 400, 800, 1_000]) {
        assert!((expected..expected + 3).contains(pause), "{pauses:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_command_that_was_kept_waiting_too_long_is_refused_alone() {
    let queue = Queue::new(usize::MAX);
    let (old, answered) = answered_ticket(1);
    queue.push(old).expect("there is room");
    let tickets = next(&queue).await;
    queue.park(tickets, PATIENCE);
    tokio::time::sleep(PATIENCE).await;
    queue.push(ticket(1)).expect("there is room");
    let tickets = next(&queue).await;
    assert_eq!(tickets.len(), 2);
    queue.park(tickets, PATIENCE);
    assert_eq!(answered.await.expect("an answer"), Err(Error::Contention));
    assert_eq!(next(&queue).await.len(), 1);
}

#[tokio::test]
async fn commands_that_waited_through_an_outage_are_refused_and_later_ones_are_not() {
    let queue = Queue::new(usize::MAX);
    let (old, answered) = answered_ticket(1);
    let since = old.since;
    queue.push(old).expect("there is room");
    tokio::time::sleep(Duration::from_millis(2)).await;
    queue.push(ticket(1)).expect("there is room");
    queue.push(ticket(2)).expect("there is room");
    queue.refuse_since(since);
    let refused = Err(Error::DatabaseUnavailable(Outcome::NotApplied));
    assert_eq!(answered.await.expect("an answer"), refused);
    assert_eq!(taken(&queue), [1, 2]);
}

/// A transfer from one bucket to another.
fn transfer(from: OwnerId, to: OwnerId) -> Ticket {
    let quantity = Quantity {
        amount: Amount::parse_quantity("1").expect("a quantity"),
        unit: Unit::stored("EUR"),
    };
    let act = PerformAction {
        request_id: "key".into(),
        action: ActionRequest::Transfer(TransferRequest {
            quantity,
            receiver: to,
            receiver_bucket: "to".into(),
            cost: None,
        }),
        details: "{}".into(),
        initiated_by: "somebody".into(),
        content: Content::new().hash(),
    };
    let request = BucketRequest {
        tenant: TenantId(Uuid::nil()),
        bucket: "from".into(),
        operation: BucketOperation::Act(act),
    };
    let (command, _) = pending(Command::new(from, false, request));
    Ticket::new(command, Claim::new())
}

#[tokio::test(start_paused = true)]
async fn a_command_on_two_owners_waits_in_the_lane_of_the_locked_one_and_delays_no_other() {
    let (one, two) = (Uuid::from_u128(1), Uuid::from_u128(2));
    let (one, two) = (OwnerId(one), OwnerId(two));
    for (from, to) in [(one, two), (two, one)] {
        let queue = queue([1, 2]);
        queue.push(transfer(from, to)).expect("there is room");
        let mut tickets = next(&queue).await;
        let lanes: Vec<_> = tickets.iter().map(|ticket| ticket.lane).collect();
        assert_eq!(lanes, [one, two, one], "that of the smaller one");
        // Another session has locked the second owner.
        let transfer = tickets.pop().expect("three").in_lane_of(two);
        queue.park(vec![transfer], PATIENCE);
        for owner in [1, 2] {
            queue.push(ticket(owner)).expect("there is room");
        }
        let free = next(&queue).await;
        assert_eq!(free.len(), 1);
        assert_eq!(free[0].lane, one);
        let later = next(&queue).await;
        let lanes: Vec<_> = later.iter().map(|ticket| ticket.lane).collect();
        assert_eq!(lanes, [two, two]);
        assert_eq!(
            later[0].command().head().owner,
            from,
            "the transfer arrived first"
        );
    }
}

#[tokio::test]
async fn a_closed_queue_ends_when_it_is_empty() {
    let queue = queue([1]);
    queue.close();
    assert_eq!(queue.push(ticket(2)), Err(Error::ShuttingDown));
    assert_eq!(queue.next().await.expect("what was there").tickets.len(), 1);
    assert!(queue.next().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_lane_in_a_batch_waits_for_that_batch_and_delays_no_other() {
    let queue = queue([1, 2]);
    let first = queue.next().await.expect("both");
    for owner in [1, 3, 2, 1] {
        queue.push(ticket(owner)).expect("there is room");
    }
    let begun = Instant::now();
    let second = queue.next().await.expect("the third");
    assert_eq!(owners(&second.tickets), [3]);
    let waited = begun.elapsed();
    assert!(
        waited >= JOIN_WAIT_MAX && waited < 2 * JOIN_WAIT_MAX,
        "{waited:?}"
    );
    tokio::time::sleep(JOIN_WAIT_MAX).await;
    assert!(take(&queue).is_none(), "nobody else waits");
    queue.end(&first.lanes);
    let mut third = taken(&queue);
    third.sort_unstable();
    assert_eq!(third, [1, 1, 2]);
}

#[tokio::test(start_paused = true)]
async fn a_writer_joins_as_soon_as_many_owners_wait() {
    let queue = Arc::new(queue([1]));
    let first = queue.next().await.expect("one");
    let idle = tokio::spawn({
        let queue = Arc::clone(&queue);
        async move { queue.next().await.expect("many").tickets.len() }
    });
    let begun = Instant::now();
    for owner in 2.. {
        tokio::task::yield_now().await;
        if idle.is_finished() {
            break;
        }
        queue.push(ticket(owner)).expect("there is room");
    }
    assert_eq!(idle.await.expect("no panic"), JOIN_OWNERS_MIN);
    assert_eq!(begun.elapsed(), Duration::ZERO);
    queue.end(&first.lanes);
}

#[tokio::test(start_paused = true)]
async fn a_closed_queue_ends_for_all_writers_when_the_last_batch_has() {
    let queue = Arc::new(queue([1]));
    let batch = queue.next().await.expect("one");
    queue.push(ticket(1)).expect("waits behind it");
    queue.close();
    let idle: Vec<_> = (0..3)
        .map(|_| {
            let queue = Arc::clone(&queue);
            tokio::spawn(async move { queue.next().await.is_none() })
        })
        .collect();
    tokio::time::sleep(10 * JOIN_WAIT_MAX).await;
    assert!(idle.iter().all(|idle| !idle.is_finished()));
    queue.end(&batch.lanes);
    let last = queue.next().await.expect("what waited");
    queue.end(&last.lanes);
    assert!(queue.next().await.is_none());
    for idle in idle {
        assert!(idle.await.expect("no panic"));
    }
}
