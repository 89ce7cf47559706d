//! A sound dump has no breach; each way of breaking it is reported by the invariant's name, with owner and account.

use uuid::Uuid;

use super::*;
use crate::ledger::account::{Account, AccountKey, Balance, Cause, Entry};
use crate::ledger::adjustment::model::Adjustment;
use crate::ledger::breach::Invariant;
use crate::ledger::oes::model::{
    Allocation, AllocationRecord, AllocationTerms, Closing, Direction, OesVersions, Status,
};
use crate::types::amount::Amount;
use crate::types::content::ContentHash;
use crate::types::ids::{
    AccountId, AdjustmentId, AllocationId, ClientId, ConnectionId, OwnerId, PartnerId,
};
use crate::types::time::Time;
use crate::types::unit::Unit;

const OWNER: OwnerId = OwnerId(Uuid::from_u128(0xe1));
const NET: AccountId = AccountId(Uuid::from_u128(0xc1));
const DEPOSIT: u128 = 1;
const OPEN: u128 = 2;
const CLEARED: u128 = 3;
const RELEASED: u128 = 4;
const INSTANT: u128 = 5;

fn amount(value: i64) -> Amount {
    Amount::from_decimal(value.into()).expect("in range")
}

fn time(second: i64) -> Time {
    Time::from_micros(1_700_000_000_000_000 + second * 1_000_000).expect("in range")
}

fn eur() -> Unit {
    Unit::parse("EUR").expect("a unit")
}

fn key(account: AccountId) -> AccountKey {
    AccountKey {
        account,
        unit: eur(),
    }
}

/// Adds one movement and moves its accounts on.
fn movement(
    dump: &mut LedgerDump,
    cause: Cause,
    id: u128,
    at: i64,
    legs: &[(AccountId, i64, i64)],
) {
    for (account, available, held) in legs {
        let known = dump
            .accounts
            .iter()
            .position(|found| found.key.account == *account);
        let index = known.unwrap_or_else(|| {
            dump.accounts.push(Account {
                owner: OWNER,
                key: key(*account),
                balance: Balance::default(),
            });
            dump.accounts.len() - 1
        });
        let balance = &mut dump.accounts[index].balance;
        balance.available = balance
            .available
            .checked_add(amount(*available))
            .expect("in range");
        balance.held = balance.held.checked_add(amount(*held)).expect("in range");
        balance.version += 1;
        balance.reservation_count += held.signum();
        dump.entries.push(Entry {
            owner: OWNER,
            key: key(*account),
            available_delta: amount(*available),
            held_delta: amount(*held),
            after: *balance,
            cause,
            cause_id: Uuid::from_u128(id),
            time: time(at),
        });
    }
}

fn versions(custody: i64, connection: i64) -> OesVersions {
    OesVersions {
        custody,
        connection,
    }
}

fn allocation(id: u128, quantity: i64, opened_at: i64, opened: OesVersions) -> Allocation {
    Allocation {
        owner: OWNER,
        record: AllocationRecord {
            id: AllocationId(Uuid::from_u128(id)),
            status: Status::Reserved,
            terms: AllocationTerms::minimal(
                Direction::Allocation,
                ConnectionId(NET.0),
                eur(),
                amount(quantity),
                format!("key {id}"),
            ),
            client: ClientId(Uuid::from_u128(0xa1)),
            partner: PartnerId(Uuid::from_u128(0xb1)),
            partner_external_id: None,
            reason: None,
            created_at: time(opened_at),
            updated_at: time(opened_at),
        },
        content: ContentHash([0; 32]),
        opened,
        closed: None,
    }
}

fn closed(
    allocation: Allocation,
    status: Status,
    cause: Cause,
    at: i64,
    versions: OesVersions,
) -> Allocation {
    Allocation {
        record: AllocationRecord {
            status,
            updated_at: time(at),
            ..allocation.record
        },
        closed: Some(Closing { cause, versions }),
        ..allocation
    }
}

/// A deposit of 100, then one allocation of each fate: 30 stay held, 20 were cleared, 10 released, 5 moved at once.
fn sound() -> LedgerDump {
    let mut dump = LedgerDump::default();
    let custody = AccountId::OWN;
    let made = &mut dump;
    movement(
        made,
        Cause::ADJUST,
        DEPOSIT,
        1,
        &[(AccountId::WORLD, -100, 0), (custody, 100, 0)],
    );
    movement(made, Cause::RESERVE, OPEN, 2, &[(custody, -30, 30)]);
    movement(made, Cause::RESERVE, CLEARED, 3, &[(custody, -20, 20)]);
    movement(
        made,
        Cause::CLEAR,
        CLEARED,
        4,
        &[(custody, 0, -20), (NET, 20, 0)],
    );
    movement(made, Cause::RESERVE, RELEASED, 5, &[(custody, -10, 10)]);
    movement(made, Cause::RELEASE, RELEASED, 6, &[(custody, 10, -10)]);
    movement(
        made,
        Cause::INSTANT,
        INSTANT,
        7,
        &[(custody, -5, 0), (NET, 5, 0)],
    );
    dump.adjustments.push(Adjustment {
        id: AdjustmentId(Uuid::from_u128(DEPOSIT)),
        owner: OWNER,
        external_id: "deposit".into(),
        unit: eur(),
        quantity: amount(100),
        reason: "it came".into(),
        initiated_by: "someone".into(),
        content: ContentHash([0; 32]),
        custody_version: 1,
        created_at: time(1),
    });
    dump.allocations = vec![
        allocation(OPEN, 30, 2, versions(2, 0)),
        closed(
            allocation(CLEARED, 20, 3, versions(3, 0)),
            Status::Cleared,
            Cause::CLEAR,
            4,
            versions(4, 1),
        ),
        closed(
            allocation(RELEASED, 10, 5, versions(5, 1)),
            Status::Released,
            Cause::RELEASE,
            6,
            versions(6, 1),
        ),
        closed(
            allocation(INSTANT, 5, 7, versions(7, 2)),
            Status::Cleared,
            Cause::INSTANT,
            7,
            versions(7, 2),
        ),
    ];
    dump
}

fn account(dump: &mut LedgerDump, account: AccountId) -> &mut Balance {
    let found = dump
        .accounts
        .iter_mut()
        .find(|found| found.key.account == account);
    &mut found.expect("an account of the sound dump").balance
}

fn record(dump: &mut LedgerDump, id: u128) -> &mut Allocation {
    let found = dump
        .allocations
        .iter_mut()
        .find(|found| found.record.id.0.as_u128() == id);
    found.expect("a record of the sound dump")
}

fn entry(dump: &mut LedgerDump, cause: Cause, id: u128, account: AccountId) -> &mut Entry {
    let found = dump.entries.iter_mut().find(|entry| {
        (entry.cause, entry.cause_id.as_u128(), entry.key.account) == (cause, id, account)
    });
    found.expect("an entry of the sound dump")
}

/// Breaks a sound dump, and asks for a breach of this invariant at this account.
#[track_caller]
fn breaks(invariant: Invariant, account: Option<AccountId>, harm: impl FnOnce(&mut LedgerDump)) {
    let mut dump = sound();
    harm(&mut dump);
    let breaches = check(&dump);
    let found = breaches.iter().any(|breach| {
        (breach.invariant, breach.owner, breach.account) == (invariant, Some(OWNER), account)
            && breach.unit == eur()
            && breach.expected != breach.actual
    });
    assert!(
        found,
        "{invariant:?} at {account:?} is not among {breaches:#?}"
    );
}

#[test]
fn l3_and_l4_a_count_that_is_not_that_of_the_open_reservations() {
    let mut dump = sound();
    account(&mut dump, AccountId::OWN).reservation_count += 1;
    let found: Vec<Invariant> = check(&dump).iter().map(|breach| breach.invariant).collect();
    assert_eq!(found, [Invariant::L3, Invariant::L4]);
}

#[test]
fn a_sound_dump_has_no_breach() {
    assert_eq!(check(&LedgerDump::default()), []);
    assert_eq!(check(&sound()), []);
}

#[test]
fn owners_are_judged_apart() {
    let mut dump = sound();
    let other = OwnerId(Uuid::from_u128(0xe2));
    for mut account in sound().accounts {
        account.owner = other;
        dump.accounts.push(account);
    }
    for mut entry in sound().entries {
        entry.owner = other;
        dump.entries.push(entry);
    }
    for mut allocation in sound().allocations {
        allocation.owner = other;
        dump.allocations.push(allocation);
    }
    for mut adjustment in sound().adjustments {
        adjustment.owner = other;
        dump.adjustments.push(adjustment);
    }
    assert_eq!(check(&dump), []);
    dump.accounts
        .retain(|account| account.owner == OWNER || account.key.account != AccountId::WORLD);
    let breaches = check(&dump);
    assert!(!breaches.is_empty());
    assert!(breaches.iter().all(|breach| breach.owner == Some(other)));
}

#[test]
fn l1_value_from_nowhere() {
    breaks(Invariant::L1, None, |dump| {
        account(dump, NET).available = amount(26);
    });
    let mut dump = sound();
    account(&mut dump, NET).available = amount(26);
    let breaches = check(&dump);
    assert_eq!((&*breaches[0].expected, &*breaches[0].actual), ("0", "1"));
}

#[test]
fn l1_value_past_28_digits_is_reported_rather_than_rounded() {
    breaks(Invariant::L1, None, |dump| {
        let greatest = Amount::parse_quantity("9999999999999999999999999999");
        account(dump, AccountId::OWN).available = greatest.expect("28 digits");
        account(dump, NET).available = greatest.expect("28 digits");
    });
}

#[test]
fn l2_an_overdraft_but_not_of_the_world() {
    breaks(Invariant::L2, Some(NET), |dump| {
        account(dump, NET).available = amount(-1);
    });
    breaks(Invariant::L2, Some(AccountId::OWN), |dump| {
        account(dump, AccountId::OWN).held = amount(-1);
    });
}

#[test]
fn l3_held_without_a_reservation_and_a_reservation_without_held() {
    breaks(Invariant::L3, Some(NET), |dump| {
        account(dump, NET).held = amount(1);
    });
    breaks(Invariant::L3, Some(AccountId::OWN), |dump| {
        account(dump, AccountId::OWN).held = amount(29);
    });
    breaks(Invariant::L3, Some(NET), |dump| {
        record(dump, OPEN).record.terms.direction = Direction::Deallocation;
    });
    breaks(Invariant::L3, Some(AccountId::OWN), |dump| {
        dump.allocations
            .retain(|found| found.record.id.0.as_u128() != OPEN);
    });
}

#[test]
fn l4_accounts_that_do_not_follow_from_their_entries() {
    breaks(Invariant::L4, Some(AccountId::OWN), |dump| {
        account(dump, AccountId::OWN).available = amount(46);
    });
    breaks(Invariant::L4, Some(NET), |dump| {
        account(dump, NET).version = 3;
    });
    breaks(Invariant::L4, Some(NET), |dump| {
        dump.accounts.retain(|found| found.key.account != NET);
    });
    breaks(Invariant::L4, Some(NET), |dump| {
        dump.entries.retain(|found| found.key.account != NET);
    });
}

#[test]
fn l4_a_version_left_out_or_used_twice() {
    breaks(Invariant::L4, Some(AccountId::OWN), |dump| {
        let lost = (Cause::RESERVE, Uuid::from_u128(CLEARED));
        dump.entries
            .retain(|found| (found.cause, found.cause_id) != lost);
    });
    breaks(Invariant::L4, Some(NET), |dump| {
        entry(dump, Cause::INSTANT, INSTANT, NET).after.version = 3;
    });
    breaks(Invariant::L4, Some(NET), |dump| {
        entry(dump, Cause::INSTANT, INSTANT, NET).after.version = 1;
    });
}

#[test]
fn l4_sums_that_are_none() {
    breaks(Invariant::L4, Some(AccountId::OWN), |dump| {
        entry(dump, Cause::RESERVE, OPEN, AccountId::OWN).available_delta = amount(-31);
    });
    breaks(Invariant::L4, Some(AccountId::OWN), |dump| {
        entry(dump, Cause::RESERVE, OPEN, AccountId::OWN).after.held = amount(31);
    });
}

#[test]
fn l4_times_that_go_back_or_stand_still() {
    for at in [1, 2] {
        breaks(Invariant::L4, Some(AccountId::OWN), |dump| {
            entry(dump, Cause::RESERVE, CLEARED, AccountId::OWN).time = time(at);
        });
    }
}

#[test]
fn l4_a_movement_with_two_times() {
    breaks(Invariant::L4, Some(NET), |dump| {
        entry(dump, Cause::INSTANT, INSTANT, NET).time = time(8);
    });
}

#[test]
fn l4_two_movements_with_one_time() {
    // Of two accounts, so that no account's own times tell.
    breaks(Invariant::L4, Some(NET), |dump| {
        movement(dump, Cause::RESERVE, 97, 8, &[(AccountId::OWN, -1, 1)]);
        movement(dump, Cause::RESERVE, 98, 8, &[(NET, -1, 1)]);
    });
}

#[test]
fn l5_a_final_record_without_its_movement_or_with_two() {
    breaks(Invariant::L5, Some(AccountId::OWN), |dump| {
        let lost = (Cause::RELEASE, Uuid::from_u128(RELEASED));
        dump.entries
            .retain(|found| (found.cause, found.cause_id) != lost);
    });
    breaks(Invariant::L5, Some(AccountId::OWN), |dump| {
        movement(
            dump,
            Cause::RELEASE,
            RELEASED,
            8,
            &[(AccountId::OWN, 10, -10)],
        );
    });
    breaks(Invariant::L5, Some(AccountId::OWN), |dump| {
        movement(
            dump,
            Cause::CANCEL,
            CLEARED,
            8,
            &[(AccountId::OWN, 20, -20)],
        );
    });
}

#[test]
fn l5_an_open_record_with_a_closing_movement() {
    breaks(Invariant::L5, Some(AccountId::OWN), |dump| {
        movement(dump, Cause::EXPIRE, OPEN, 8, &[(AccountId::OWN, 30, -30)]);
    });
}

#[test]
fn l5_a_status_that_is_not_the_movements() {
    breaks(Invariant::L5, Some(AccountId::OWN), |dump| {
        record(dump, CLEARED).record.status = Status::Released;
    });
    breaks(Invariant::L5, Some(AccountId::OWN), |dump| {
        record(dump, RELEASED).record.status = Status::Reserved;
    });
    breaks(Invariant::L5, Some(AccountId::OWN), |dump| {
        record(dump, RELEASED).closed = None;
    });
    breaks(Invariant::L5, Some(AccountId::OWN), |dump| {
        let closed = record(dump, RELEASED).closed.as_mut();
        closed.expect("it is final").cause = Cause::EXPIRE;
    });
}

#[test]
fn l5_a_record_that_changed_since() {
    for id in [OPEN, CLEARED, RELEASED, INSTANT] {
        breaks(Invariant::L5, Some(AccountId::OWN), |dump| {
            record(dump, id).record.updated_at = time(9);
        });
    }
    breaks(Invariant::L5, Some(AccountId::OWN), |dump| {
        let closed = record(dump, CLEARED).closed.as_mut();
        closed.expect("it is final").versions.connection = 2;
    });
}

#[test]
fn l6_a_record_without_its_opening_or_with_two() {
    breaks(Invariant::L6, Some(AccountId::OWN), |dump| {
        let lost = (Cause::RESERVE, Uuid::from_u128(OPEN));
        dump.entries
            .retain(|found| (found.cause, found.cause_id) != lost);
    });
    breaks(Invariant::L6, Some(AccountId::OWN), |dump| {
        movement(dump, Cause::RESERVE, OPEN, 8, &[(AccountId::OWN, -30, 30)]);
    });
    breaks(Invariant::L6, Some(AccountId::OWN), |dump| {
        let legs = [(AccountId::WORLD, -100, 0), (AccountId::OWN, 100, 0)];
        movement(dump, Cause::ADJUST, DEPOSIT, 8, &legs);
    });
    breaks(Invariant::L6, Some(AccountId::OWN), |dump| {
        entry(dump, Cause::RESERVE, OPEN, AccountId::OWN).cause = Cause::INSTANT;
    });
}

#[test]
fn l6_a_record_that_names_other_versions_or_times_than_its_opening() {
    breaks(Invariant::L6, Some(AccountId::OWN), |dump| {
        record(dump, OPEN).opened.custody = 1;
    });
    breaks(Invariant::L6, Some(AccountId::OWN), |dump| {
        record(dump, CLEARED).record.created_at = time(2);
    });
    breaks(Invariant::L6, Some(AccountId::OWN), |dump| {
        dump.adjustments[0].custody_version = 2;
    });
    breaks(Invariant::L6, Some(AccountId::OWN), |dump| {
        dump.adjustments[0].created_at = time(0);
    });
}

#[test]
fn l6_an_entry_that_no_record_explains() {
    breaks(Invariant::L6, Some(AccountId::WORLD), |dump| {
        dump.adjustments.clear();
    });
    breaks(Invariant::L6, Some(NET), |dump| {
        dump.allocations
            .retain(|found| found.record.id.0.as_u128() != INSTANT);
    });
    breaks(Invariant::L6, Some(AccountId::WORLD), |dump| {
        entry(dump, Cause::INSTANT, INSTANT, NET).key.account = AccountId::WORLD;
    });
    breaks(Invariant::L6, Some(NET), |dump| {
        record(dump, INSTANT).record.terms.unit = Unit::parse("USD").expect("a unit");
    });
}

#[test]
fn l6_an_entry_of_another_quantity_than_its_record() {
    breaks(Invariant::L6, Some(AccountId::WORLD), |dump| {
        dump.adjustments[0].quantity = amount(101);
    });
    breaks(Invariant::L6, Some(NET), |dump| {
        record(dump, INSTANT).record.terms.quantity = amount(6);
    });
    breaks(Invariant::L6, Some(AccountId::OWN), |dump| {
        record(dump, RELEASED).record.terms.quantity = amount(11);
    });
}

#[test]
fn l6_two_records_with_one_key() {
    breaks(Invariant::L6, Some(AccountId::OWN), |dump| {
        record(dump, OPEN).record.terms.client_external_id = format!("key {CLEARED}");
    });
    breaks(Invariant::L6, Some(AccountId::OWN), |dump| {
        let mut second = dump.adjustments[0].clone();
        second.id = AdjustmentId(Uuid::from_u128(99));
        dump.adjustments.push(second);
    });
    let mut dump = sound();
    dump.adjustments[0].external_id = format!("key {OPEN}");
    assert_eq!(check(&dump), [], "keys of different kinds are different");
}

#[test]
fn l7_a_movement_that_does_not_sum_to_zero() {
    breaks(Invariant::L7, Some(NET), |dump| {
        entry(dump, Cause::INSTANT, INSTANT, AccountId::OWN).cause_id = Uuid::from_u128(98);
    });
    breaks(Invariant::L7, Some(AccountId::OWN), |dump| {
        entry(dump, Cause::RESERVE, OPEN, AccountId::OWN).held_delta = amount(31);
    });
}

#[test]
fn l7_value_that_stays_between_owners() {
    let mut dump = sound();
    let legs = [(AccountId::OWN, -4, 0), (AccountId::TRANSIT, 4, 0)];
    movement(&mut dump, Cause::INSTANT, INSTANT, 8, &legs);
    let breaches = check(&dump);
    let found = breaches.iter().any(|breach| {
        (breach.invariant, breach.owner) == (Invariant::L7, None)
            && breach.account == Some(AccountId::TRANSIT)
            && breach.actual == "4"
    });
    assert!(found, "{breaches:#?}");
}
