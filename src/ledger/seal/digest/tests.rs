//! Nothing can be changed without changing the period's digest, and the digests of version 1 never change.

use proptest::prelude::*;
use proptest::sample::Index;
use rust_decimal::Decimal;

use super::*;
use crate::ledger::account::Balance;
use crate::ledger::seal::walk::owner_seals;
use crate::types::ids::AccountId;
use crate::types::unit::Unit;

/// A row of the journal, in the order of its columns.
#[derive(Clone, Debug, PartialEq)]
struct JournalRow {
    owner: u128,
    account: u128,
    unit: String,
    version: i64,
    amounts: [Amount; 4],
    reservation_count: i64,
    cause: String,
    cause_id: u128,
    micros: i64,
}

impl JournalRow {
    fn key(&self) -> SealKey {
        SealKey {
            owner: OwnerId(Uuid::from_u128(self.owner)),
            account: AccountId(Uuid::from_u128(self.account)),
            unit: Unit::stored(&self.unit),
        }
    }

    fn time(&self) -> Time {
        Time::from_micros(self.micros).expect("in range")
    }

    fn line_amounts(&self) -> LineAmounts {
        let [available_delta, held_delta, available, held] = self.amounts;
        LineAmounts {
            available_delta,
            held_delta,
            available,
            held,
        }
    }

    fn line(&self) -> JournalLine<'_> {
        JournalLine {
            owner: Uuid::from_u128(self.owner),
            account: Uuid::from_u128(self.account),
            unit: &self.unit,
            version: self.version,
            amounts: Some(self.line_amounts()),
            reservation_count: self.reservation_count,
            cause: &self.cause,
            cause_id: Uuid::from_u128(self.cause_id),
            time: Some(self.time()),
        }
    }

    fn carried(&self) -> CarriedBalance {
        let [_, _, available, held] = self.amounts;
        CarriedBalance {
            balance: Balance {
                available,
                held,
                version: self.version,
                reservation_count: self.reservation_count,
            },
            time: self.time(),
        }
    }
}

fn bounds() -> PeriodBounds {
    PeriodBounds {
        start: Time::from_micros(0).expect("in range"),
        end: Time::from_micros(2_678_400_000_000).expect("in range"),
    }
}

/// The seals of accounts, of which each run of rows with the same key makes one.
fn account_seals(rows: &[JournalRow]) -> Vec<AccountSeal> {
    let runs = rows.chunk_by(|a, b| a.key() == b.key());
    runs.map(|run| {
        let key = run[0].key();
        let mut hasher = AccountHasher::new(&key, bounds());
        for row in run {
            hasher.add(&row.line(), &row.line_amounts(), row.time());
        }
        let carried = run[run.len() - 1].carried();
        hasher.finish(key, bounds().end, carried)
    })
    .collect()
}

fn period_of(previous: Option<SealDigest>, owners: &[OwnerSeal]) -> PeriodSeal {
    let mut hasher = PeriodHasher::new(previous, bounds());
    for owner in owners {
        hasher.add(owner);
    }
    hasher.finish()
}

fn digest(rows: &[JournalRow]) -> SealDigest {
    let owners = owner_seals(bounds(), &account_seals(rows));
    period_of(None, &owners).digest
}

fn amount() -> impl Strategy<Value = Amount> {
    let mantissa =
        -9_999_999_999_999_999_999_999_999_999_i128..10_000_000_000_000_000_000_000_000_000;
    let small = prop_oneof![mantissa, -20_i128..20];
    (small, 0_u32..13).prop_filter_map("too many digits", |(mantissa, scale)| {
        Amount::from_decimal(Decimal::from_i128_with_scale(mantissa, scale))
    })
}

/// Rows of few owners, accounts and units, so that many have the same; in the order of the journal's key.
fn rows() -> impl Strategy<Value = Vec<JournalRow>> {
    let key = (1_u128..4, 1_u128..4, "[A-C]{1,3}");
    let values = (
        1_i64..5,
        [amount(), amount(), amount(), amount()],
        0_i64..3,
        "[A-Z]{1,16}",
        1_u128..5,
        0_i64..2_678_400_000_000,
    );
    let row = (key, values).prop_map(|((owner, account, unit), values)| {
        let (version, amounts, reservation_count, cause, cause_id, micros) = values;
        JournalRow {
            owner,
            account,
            unit,
            version,
            amounts,
            reservation_count,
            cause,
            cause_id,
            micros,
        }
    });
    proptest::collection::vec(row, 1..12).prop_map(|mut rows| {
        rows.sort_by_key(|row| (row.key(), row.micros, row.version));
        rows
    })
}

/// Another value in one column.
fn change(row: &mut JournalRow, column: usize) {
    let one = Amount::parse_decimal("0.000000000001").expect("an amount");
    match column {
        0 => row.owner += 1,
        1 => row.account += 1,
        2 => row.unit.push('A'),
        3 => row.version += 1,
        4..8 => {
            let amount = &mut row.amounts[column - 4];
            let greater = amount
                .checked_add(one)
                .or(amount.checked_sub(Amount::parse_quantity("1").expect("one")));
            *amount = greater.expect("an amount");
        }
        8 => row.reservation_count += 1,
        9 => row.cause = format!("{}X", &row.cause[..row.cause.len() - 1]) + "Y",
        10 => row.cause_id += 1,
        _ => row.micros += 1,
    }
}

proptest! {
    #[test]
    fn a_changed_row_changes_the_digest(rows in rows(), row: Index, column in 0_usize..12) {
        let before = digest(&rows);
        let mut changed = rows.clone();
        change(row.get_mut(&mut changed), column);
        prop_assert_ne!(digest(&changed), before);
    }

    #[test]
    fn a_missing_or_doubled_row_changes_the_digest(rows in rows(), row: Index) {
        let before = digest(&rows);
        let at = row.index(rows.len());
        let mut doubled = rows.clone();
        doubled.insert(at, rows[at].clone());
        prop_assert_ne!(digest(&doubled), before);
        let mut missing = rows.clone();
        missing.remove(at);
        prop_assert_ne!(digest(&missing), before);
    }

    #[test]
    fn reordered_rows_change_the_digest(rows in rows(), a: Index, b: Index) {
        let (a, b) = (a.index(rows.len()), b.index(rows.len()));
        let mut reordered = rows.clone();
        reordered.swap(a, b);
        // The order of owners is made when they are hashed: nothing can come in another one.
        prop_assume!(reordered != rows && rows[a].owner == rows[b].owner);
        prop_assert_ne!(digest(&reordered), digest(&rows));
    }

    #[test]
    fn a_changed_carry_forward_changes_the_digest(rows in rows(), seal: Index, field in 0_usize..7) {
        let mut seals = account_seals(&rows);
        let before = owner_seals(bounds(), &seals);
        let seal = seal.get_mut(&mut seals);
        let one = Amount::parse_quantity("1").expect("one");
        let other = |amount: Amount| amount.checked_add(one).or(amount.checked_sub(one)).expect("an amount");
        let balance = &mut seal.carried.balance;
        match field {
            0 => balance.available = other(balance.available),
            1 => balance.held = other(balance.held),
            2 => balance.version += 1,
            3 => balance.reservation_count += 1,
            4 => seal.carried.time = seal.carried.time.next(),
            5 => seal.entries += 1,
            _ => seal.digest.0[31] ^= 1,
        }
        prop_assert_ne!(owner_seals(bounds(), &seals), before);
    }

    #[test]
    fn changed_owners_bounds_and_predecessors_change_the_digest(rows in rows(), owner: Index, field in 0_usize..6) {
        let mut owners = owner_seals(bounds(), &account_seals(&rows));
        let before = period_of(None, &owners).digest;
        let at = owner.index(owners.len());
        let changed = match field {
            0 => { owners[at].entries += 1; period_of(None, &owners).digest }
            1 => { owners[at].digest.0[0] ^= 1; period_of(None, &owners).digest }
            2 => { owners[at].owner.0 = Uuid::max(); period_of(None, &owners).digest }
            3 => { owners.remove(at); period_of(None, &owners).digest }
            4 => period_of(Some(before), &owners).digest,
            _ => {
                let later = PeriodBounds { end: bounds().end.next(), ..bounds() };
                PeriodHasher::new(None, later).finish().digest
            }
        };
        prop_assert_ne!(changed, before);
    }

    #[test]
    fn an_amount_is_hashed_as_its_text(amount in amount()) {
        let mut parts = Parts::default();
        parts.amount(amount);
        let text = amount.to_string();
        prop_assert_eq!(usize::from(parts.0[0]), text.len());
        prop_assert_eq!(std::str::from_utf8(&parts.0[1..]), Ok(&*text));
    }
}

/// A journal of two owners.
fn golden_rows() -> [JournalRow; 3] {
    let amounts = |texts: [&str; 4]| texts.map(|text| Amount::parse_decimal(text).expect(text));
    let first = JournalRow {
        owner: 0x0198_a7b2_6a44_7c11_8d4e_0000_0000_0001,
        account: 1,
        unit: "BTC".into(),
        version: 1,
        amounts: amounts(["500000000", "0", "500000000", "0"]),
        reservation_count: 0,
        cause: "ADJUST".into(),
        cause_id: 0x0198_a7b2_6a44_7c11_8d4e_0000_0000_0009,
        micros: 1_000_000,
    };
    let second = JournalRow {
        version: 2,
        amounts: amounts(["-120000000", "120000000", "380000000", "120000000"]),
        reservation_count: 1,
        cause: "RESERVE".into(),
        micros: 2_000_001,
        ..first.clone()
    };
    let third = JournalRow {
        owner: 0x3131_98c5_6d30_5f62_864f_bc0d_b1c1_c379,
        unit: "EUR".into(),
        amounts: amounts(["-0.05", "12.5", "0.95", "12.5"]),
        cause: "OPENING".into(),
        ..first.clone()
    };
    [first, second, third]
}

/// Computed by another program too, from the description of the module.
#[test]
fn digests_of_version_1_are_for_ever() {
    let rows = golden_rows();
    let accounts = account_seals(&rows);
    let owners = owner_seals(bounds(), &accounts);
    let first = period_of(None, &owners);
    let second = period_of(Some(first.digest), &[]);
    let digests = [
        accounts[0].digest,
        accounts[1].digest,
        owners[0].digest,
        owners[1].digest,
        first.digest,
        second.digest,
    ];
    assert_eq!(digests.map(|digest| digest.to_string()), GOLDEN);
    assert_eq!((first.owners, first.entries), (2, 3));
}

const GOLDEN: [&str; 6] = [
    "a2a66a0b0f79783a2adde6fd76c0503c99c84631582fd7e7c65371e02636085a",
    "4d1119873f75e3cbc6e9d838dc178884e9d3294dcc47a1c7918602d8a591b4b3",
    "2763a5574b77bc4406aee4ad38e706e55ee1e72523b0160e80bb6adbdc9b6ff0",
    "892c730ba740ef2482c57169fcb9b4e323dc4f1ab4e5ca20f71bec92f02926b7",
    "92331e7a38f38da14256614d0f93f20fbee2594d79f583f7abd37f0a6f98ab6c",
    "a35ded9ef8c97eb9f59bc7c2097d96adb65880a98338e0d7d8950ad59bdbc038",
];
