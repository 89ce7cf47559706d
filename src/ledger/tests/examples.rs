//! What the random batches found, or cannot make, one by one.

use uuid::Uuid;

use crate::error::Error;
use crate::ledger::account::{AccountKey, Balance, EnterpriseFacts};
use crate::ledger::adjustment::model::Adjustments;
use crate::ledger::adjustment::request::AdjustCustody;
use crate::ledger::books::Books;
use crate::ledger::kinds::{RegisteredKind, States};
use crate::ledger::oes::model::{
    Allocation, AllocationRecord, AllocationTerms, Connection, Direction, Mode, OesRecords,
    OesVersions, Status,
};
use crate::ledger::oes::records::{AllocationRecords, PartnerFacts};
use crate::ledger::oes::request::CreateAllocation;
use crate::ledger::tests::command::{Action, BatchState, Command, Outcome, Reply, decide};
use crate::ledger::tests::reference::{GREATEST, amount};
use crate::limits::ENTERPRISE_CURRENCIES_MAX;
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

/// A licensed client with one connection to a licensed partner.
fn client(mode: Mode) -> BatchState {
    let mut books = Books::new(now(), [OWNER]);
    let owner = books.owners.get_mut(&OWNER).expect("it is locked");
    owner.enterprise = Some(EnterpriseFacts {
        is_licensed: true,
        client: Some(CLIENT),
    });
    let mut state = BatchState {
        books,
        states: States::default(),
    };
    let partner_enterprise = EnterpriseId(Uuid::from_u128(0xe4));
    let facts = PartnerFacts {
        is_licensed: true,
        has_partner: true,
    };
    let partners = &mut OesRecords::state(&mut state.states).context.0;
    partners.insert(partner_enterprise, facts);
    let connection = Connection {
        client: CLIENT,
        partner: PARTNER,
        partner_enterprise,
        mode,
        allocations_disabled: None,
        deallocations_disabled: None,
    };
    let connections = &mut records(&mut state).connections;
    connections.insert(CONNECTION, connection);
    state
}

fn records(state: &mut BatchState) -> &mut AllocationRecords {
    OesRecords::state(&mut state.states).records_mut(OWNER)
}

fn with_account(state: &mut BatchState, of: &str, available: i128, held: i128) {
    let owner = state.books.owners.get_mut(&OWNER).expect("it is locked");
    let balance = Balance {
        available: amount(available),
        held: amount(held),
        version: 7,
        reservation_count: 0,
    };
    owner.load_account(AccountKey::new(AccountId::OWN, &unit(of)), balance);
}

/// The outcomes of these commands; none of them is a replay.
fn judge(state: &mut BatchState, commands: &[&Command]) -> Vec<Outcome> {
    let judged = decide(state, commands).into_iter();
    judged
        .map(|judged| judged.outcome(&state.books, |_| None))
        .collect()
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
    command(Action::Create(CreateAllocation {
        terms: terms(of, quantity, &format!("{of} {quantity}")),
        content: ContentHash([0; 32]),
    }))
}

fn deposit(quantity: i128, of: &str) -> Command {
    command(Action::Adjust(AdjustCustody {
        unit: unit(of),
        quantity: amount(quantity),
        external_id: format!("{of} {quantity}"),
        reason: "it came".into(),
        initiated_by: "someone".into(),
        content: ContentHash([0; 32]),
    }))
}

fn terms(of: &str, quantity: i128, key: &str) -> AllocationTerms {
    AllocationTerms::minimal(
        Direction::Allocation,
        CONNECTION,
        unit(of),
        amount(quantity),
        key.into(),
    )
}

fn due(number: u128, of: &str, quantity: i128) -> Allocation {
    Allocation {
        owner: OWNER,
        record: AllocationRecord {
            id: AllocationId(Uuid::from_u128(number)),
            status: Status::Reserved,
            terms: AllocationTerms {
                expire_time: Some(now()),
                ..terms(of, quantity, &format!("due {number}"))
            },
            client: CLIENT,
            partner: PARTNER,
            partner_external_id: None,
            reason: None,
            created_at: now(),
            updated_at: now(),
        },
        content: ContentHash([0; 32]),
        opened: OesVersions {
            custody: 7,
            connection: 0,
        },
        closed: None,
    }
}

#[test]
fn too_little_is_insufficient_also_where_held_would_pass_28_digits() {
    for (mode, held) in [(Mode::Confirmed, GREATEST), (Mode::Instant, 0)] {
        let mut state = client(mode);
        with_account(&mut state, "EUR", 0, held);
        let outcomes = judge(&mut state, &[&allocate(1, "EUR")]);
        let expected = Error::InsufficientBalance {
            available: amount(0),
            requested: amount(1),
            unit: unit("EUR"),
            account: Some("custody".into()),
            is_unused: false,
        };
        assert_eq!(outcomes, [Outcome::Final(Err(expected))]);
    }
}

#[test]
fn a_deposit_in_one_currency_too_many_is_refused_in_a_batch_too() {
    let mut state = client(Mode::Instant);
    let adjustments = Adjustments::state(&mut state.states).records_mut(OWNER);
    adjustments.load_currencies(ENTERPRISE_CURRENCIES_MAX - 1);
    let checked = Command {
        validate_only: true,
        ..deposit(1, "checked")
    };
    let outcomes = judge(
        &mut state,
        &[
            &checked,
            &deposit(1, "last"),
            &deposit(1, "more"),
            &deposit(2, "last"),
            &deposit(-1, "more"),
        ],
    );
    let [checked, last, more, again, withdrawn] = outcomes.as_slice() else {
        panic!("five outcomes, not {outcomes:?}");
    };
    // One that is only validated takes no place.
    for done in [checked, last, again] {
        assert!(matches!(done, Outcome::Final(Ok(_))), "{done:?}");
    }
    let refused = Error::CurrenciesLimit {
        enterprise: EnterpriseId(OWNER.0),
        unit: unit("more"),
    };
    assert_eq!(*more, Outcome::Final(Err(refused)));
    assert!(
        matches!(
            withdrawn,
            Outcome::Final(Err(Error::InsufficientBalance { .. }))
        ),
        "{withdrawn:?}"
    );
}

#[test]
fn changes_have_an_order_that_does_not_depend_on_hashing() {
    let mut state = client(Mode::Instant);
    for number in 0..20 {
        let unit = format!("U{number:02}");
        let due = due(number, &unit, 1);
        with_account(&mut state, &unit, 0, 1);
        let records = records(&mut state);
        records.due.push(due.record.id);
        records.load(due);
    }
    let deposits: Vec<_> = (0..20)
        .map(|number| deposit(1, &format!("V{number:02}")))
        .collect();
    decide(&mut state, &deposits.iter().collect::<Vec<_>>());
    let (books, kinds) = (state.books.changes(), state.states.changes());
    let new: Vec<_> = books.new_accounts.iter().map(|new| &new.key).collect();
    let changed = books.changed_accounts.iter();
    let changed: Vec<_> = changed.map(|change| &change.account.key).collect();
    assert_eq!((new.len(), changed.len()), (40, 20));
    assert!(new.is_sorted() && changed.is_sorted());
    let closed = &kinds.oes.closed;
    assert_eq!(closed.len(), 20);
    assert!(closed.is_sorted_by_key(|closed| closed.record.id));
}

#[test]
fn a_due_reservation_that_cannot_be_given_back_delays_no_command() {
    let mut state = client(Mode::Confirmed);
    // Nothing is held that could be given back: L3 is broken already.
    with_account(&mut state, "EUR", 10, 0);
    let broken = due(1, "EUR", 5);
    let records = records(&mut state);
    records.due.push(broken.record.id);
    records.load(broken);
    let owner = state.books.owners.get_mut(&OWNER).expect("it is locked");
    owner.has_more_due = true;
    let outcomes = judge(&mut state, &[&allocate(3, "EUR")]);
    match &outcomes[..] {
        [Outcome::Final(Ok(Reply::Allocation(reply)))] => {
            assert_eq!(reply.custody.available, amount(7));
        }
        other => panic!("it waits, though no later batch can do better: {other:?}"),
    }
}
