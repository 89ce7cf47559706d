//! What the random batches found, or cannot make, one by one.

use std::collections::HashMap;

use uuid::Uuid;

use crate::error::Error;
use crate::ledger::command::{Action, Adjust, Command, Create, Reply};
use crate::ledger::decide::tests::reference::{GREATEST, amount};
use crate::ledger::decide::{Judgement, decide};
use crate::ledger::model::{
    AccountKey, Allocation, Balance, Connection, Direction, Mode, Status, Versions,
};
use crate::ledger::state::{Owner, Standing, State};
use crate::types::content::ContentHash;
use crate::types::ids::{
    AccountId, AllocationId, ClientId, ConnectionId, EnterpriseId, OwnerId, PartnerId,
};
use crate::types::time::Time;
use crate::types::unit::Unit;

const OWNER: OwnerId = OwnerId(Uuid::from_u128(0xe0));
const CONNECTION: ConnectionId = ConnectionId(Uuid::from_u128(0xc0));
const CLIENT: ClientId = ClientId(Uuid::from_u128(0xa0));
const PARTNER: PartnerId = PartnerId(Uuid::from_u128(0xb0));

fn now() -> Time {
    Time::from_micros(1_700_000_000_000_000).expect("in range")
}

fn unit(text: &str) -> Unit {
    Unit::parse(text).expect("a unit")
}

/// A licensed client with one connection.
fn client(mode: Mode) -> Owner {
    let mut owner = Owner::default();
    owner.enterprise = Some(Standing {
        licensed: true,
        client: Some(CLIENT),
    });
    let connection = Connection {
        client: CLIENT,
        partner: PARTNER,
        partner_enterprise: EnterpriseId(Uuid::from_u128(0xe4)),
        mode,
        allocations_disabled: None,
        deallocations_disabled: None,
    };
    owner.connections.insert(CONNECTION, connection);
    owner
}

fn with_account(owner: &mut Owner, account: AccountId, of: &str, available: i128, held: i128) {
    let key = AccountKey {
        account,
        unit: unit(of),
    };
    let balance = Balance {
        available: amount(available),
        held: amount(held),
        version: 7,
    };
    owner.load_account(key, balance);
}

fn state(owner: Owner) -> State {
    State {
        now: now(),
        owners: HashMap::from([(OWNER, owner)]),
        partners: HashMap::new(),
    }
}

fn command(action: Action) -> Command {
    Command {
        owner: OWNER,
        validate_only: false,
        entropy: [0; 8],
        action,
    }
}

fn allocate(quantity: i128, of: &str) -> Command {
    command(Action::Create(Create {
        direction: Direction::Allocation,
        connection: CONNECTION,
        unit: unit(of),
        quantity: amount(quantity),
        client_external_id: format!("{of} {quantity}"),
        notes: None,
        expire_time: None,
        initiated_by: "someone".into(),
        content: ContentHash([0; 32]),
    }))
}

fn deposit(quantity: i128, of: &str) -> Command {
    command(Action::Adjust(Adjust {
        unit: unit(of),
        quantity: amount(quantity),
        external_id: format!("{of} {quantity}"),
        reason: "it came".into(),
        initiated_by: "someone".into(),
        content: ContentHash([0; 32]),
    }))
}

fn due(number: u128, quantity: i128) -> Allocation {
    Allocation {
        id: AllocationId(Uuid::from_u128(number)),
        owner: OWNER,
        direction: Direction::Allocation,
        status: Status::Reserved,
        unit: unit("EUR"),
        quantity: amount(quantity),
        connection: CONNECTION,
        client: CLIENT,
        partner: PARTNER,
        client_external_id: format!("due {number}"),
        partner_external_id: None,
        initiated_by: "someone".into(),
        notes: None,
        reason: None,
        expire_time: Some(now()),
        created_at: now(),
        updated_at: now(),
        content: ContentHash([0; 32]),
        opened: Versions {
            custody: 7,
            connection: 0,
        },
        closed: None,
    }
}

#[test]
fn too_little_is_insufficient_also_where_held_would_pass_28_digits() {
    for (mode, held) in [(Mode::Confirmed, GREATEST), (Mode::Instant, 0)] {
        let mut owner = client(mode);
        with_account(&mut owner, AccountId::OWN, "EUR", 0, held);
        let command = allocate(1, "EUR");
        let mut judgements = decide(&mut state(owner), &[&command]).into_iter();
        let expected = Error::InsufficientBalance {
            available: amount(0),
            requested: amount(1),
            unit: unit("EUR"),
        };
        match judgements.next() {
            Some(Judgement::Final(Err(error))) => assert_eq!(error, expected),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn changes_have_an_order_that_does_not_depend_on_hashing() {
    let mut owner = client(Mode::Instant);
    for number in 0..20 {
        let mut due = due(number, 1);
        due.unit = unit(&format!("U{number:02}"));
        with_account(&mut owner, AccountId::OWN, due.unit.as_str(), 0, 1);
        owner.due.push(due.id);
        owner.load_allocation(due);
    }
    let deposits: Vec<_> = (0..20)
        .map(|number| deposit(1, &format!("V{number:02}")))
        .collect();
    let mut state = state(owner);
    decide(&mut state, &deposits.iter().collect::<Vec<_>>());
    let changes = state.changes();
    let keys = |accounts: &[crate::ledger::state::AccountChange<'_>]| -> Vec<AccountKey> {
        accounts.iter().map(|change| change.key.clone()).collect()
    };
    let (new, changed) = (keys(&changes.new_accounts), keys(&changes.changed_accounts));
    assert_eq!((new.len(), changed.len()), (40, 20));
    assert!(new.is_sorted() && changed.is_sorted());
    assert_eq!(changes.closed.len(), 20);
    assert!(changes.closed.is_sorted_by_key(|closed| closed.id));
}

#[test]
fn a_due_reservation_that_cannot_be_given_back_holds_no_command_up() {
    let mut owner = client(Mode::Confirmed);
    // Nothing is held that could be given back: L3 is broken already.
    with_account(&mut owner, AccountId::OWN, "EUR", 10, 0);
    let broken = due(1, 5);
    owner.due.push(broken.id);
    owner.more_due = true;
    owner.load_allocation(broken);
    let command = allocate(3, "EUR");
    let mut state = state(owner);
    let mut judgements = decide(&mut state, &[&command]).into_iter();
    match judgements.next() {
        Some(Judgement::Final(Ok(Reply::Allocation(reply)))) => {
            assert_eq!(reply.custody.available, amount(7));
        }
        other => panic!("put off, though no later batch can do better: {other:?}"),
    }
}
