//! Walks through sound journals, and through those that are not.

use proptest::prelude::*;

use super::*;

fn at(micros: i64) -> Time {
    Time::from_micros(micros).expect("in range")
}

fn whole(number: i64) -> Amount {
    Amount::from_decimal(number.into()).expect("an amount")
}

/// A period from 100 microseconds to 200.
fn bounds() -> PeriodBounds {
    PeriodBounds {
        start: at(100),
        end: at(200),
    }
}

/// An entry of an account of the first owner: account, version, deltas and balances, time.
fn line(account: u128, version: i64, amounts: [i64; 4], micros: i64) -> JournalLine<'static> {
    let [available_delta, held_delta, available, held] = amounts.map(whole);
    JournalLine {
        owner: Uuid::from_u128(1),
        account: Uuid::from_u128(account),
        unit: "BTC",
        version,
        amounts: Some(LineAmounts {
            available_delta,
            held_delta,
            available,
            held,
        }),
        reservation_count: i64::from(amounts[3] != 0),
        cause: "ADJUST",
        cause_id: Uuid::from_u128(7),
        time: Some(at(micros)),
    }
}

fn walk(lines: &[JournalLine<'_>], mut walk: Walk) -> Result<Walked, WalkOrderError> {
    for line in lines {
        walk.step(line)?;
    }
    Ok(walk.finish())
}

fn from_nothing() -> Walk {
    Walk::new(bounds(), Openings::new())
}

fn sound() -> Vec<JournalLine<'static>> {
    vec![
        line(1, 1, [9, 0, 9, 0], 100),
        line(2, 1, [-9, 0, -9, 0], 100),
        line(1, 2, [-4, 4, 5, 4], 150),
        line(1, 3, [4, -4, 9, 0], 199),
    ]
}

/// What is sealed: account, entries, version, available, time.
fn seals(walked: &Walked) -> Vec<(u128, i64, i64, Amount, i64)> {
    let shown = walked.seals.iter().map(|seal| {
        let CarriedBalance { balance, time } = seal.carried;
        let account = seal.key.account.0.as_u128();
        (
            account,
            seal.entries,
            balance.version,
            balance.available,
            time.micros(),
        )
    });
    shown.collect()
}

#[test]
fn an_account_has_a_seal_with_its_last_balance() {
    let walked = walk(&sound(), from_nothing()).expect("in order");
    assert_eq!(walked.faults, []);
    assert_eq!(
        seals(&walked),
        [(1, 3, 3, whole(9), 199), (2, 1, 1, whole(-9), 100)]
    );
}

#[test]
fn an_entry_that_cannot_be_read_changes_the_seal() {
    let mut lines = sound();
    let before = walk(&lines, from_nothing()).expect("in order");
    let mut infinite = line(2, 2, [0, 0, -9, 0], 100);
    infinite.time = None;
    lines.insert(0, infinite);
    let mut no_number = line(3, 1, [0, 0, 0, 0], 199);
    no_number.amounts = None;
    lines.push(no_number);
    let after = walk(&lines, from_nothing()).expect("in order");
    assert_eq!(after.seals[0], before.seals[0]);
    assert_ne!(after.seals[1], before.seals[1]);
    assert_eq!(after.seals[2].key.account.0.as_u128(), 3);
}

#[test]
fn the_first_entry_follows_from_the_balance_that_was_carried_forward() {
    let later = [line(1, 4, [1, 0, 10, 0], 150)];
    let key = SealKey {
        owner: OwnerId(Uuid::from_u128(1)),
        account: AccountId(Uuid::from_u128(1)),
        unit: Unit::stored("BTC"),
    };
    let carried = |available, version, time| {
        let balance = Balance {
            available: whole(available),
            version,
            ..Balance::default()
        };
        let time = at(time);
        Openings::from([(key.clone(), CarriedBalance { balance, time })])
    };
    let faults = |openings| {
        let walked = walk(&later, Walk::new(bounds(), openings)).expect("in order");
        assert_eq!(seals(&walked), [(1, 1, 4, whole(10), 150)]);
        walked.faults.len()
    };
    assert_eq!(faults(carried(9, 3, 99)), 0);
    assert_eq!(faults(carried(8, 3, 99)), 1, "another balance");
    assert_eq!(faults(carried(9, 2, 99)), 1, "another version");
    assert_eq!(faults(carried(9, 3, 150)), 1, "not later");
    assert_eq!(faults(Openings::new()), 1, "none");
    let taken = walk(&later, Walk::without_openings(bounds())).expect("in order");
    assert_eq!(taken.faults, []);
}

#[test]
fn what_does_not_follow_is_a_fault_of_its_account() {
    let faults_of = |change: &dyn Fn(&mut Vec<JournalLine<'static>>)| {
        let mut lines = sound();
        change(&mut lines);
        let walked = walk(&lines, from_nothing()).expect("in order");
        let accounts = walked
            .faults
            .iter()
            .map(|fault| fault.key.account.0.as_u128());
        accounts.collect::<Vec<_>>()
    };
    assert_eq!(faults_of(&|_| {}), []);
    // A gap, a doubled version, a wrong sum, a wrong delta, a time that stands still.
    assert_eq!(
        faults_of(&|lines| lines.retain(|line| line.version != 2)),
        [1]
    );
    assert_eq!(faults_of(&|lines| lines.insert(3, lines[2].clone())), [1]);
    assert_eq!(
        faults_of(&|lines| lines[0] = line(1, 1, [9, 0, 10, 0], 100)),
        [1]
    );
    assert_eq!(
        faults_of(&|lines| lines[1] = line(2, 1, [-9, 1, -9, 0], 100)),
        [2]
    );
    assert_eq!(faults_of(&|lines| lines[2].time = Some(at(100))), [1]);
    // An entry before the period, and one that cannot be read.
    assert_eq!(faults_of(&|lines| lines[0].time = Some(at(99))), [1]);
    assert_eq!(faults_of(&|lines| lines[1].amounts = None), [2]);
    // Both accounts.
    assert_eq!(
        faults_of(&|lines| lines.retain(|line| line.version > 1)),
        [1]
    );
    assert_eq!(
        faults_of(&|lines| {
            lines[1].version = 2;
            lines[0].version = 2;
        }),
        [1, 2]
    );
}

#[test]
fn entries_that_are_not_in_order_are_refused() {
    for (a, b) in [(0, 2), (1, 2), (2, 3)] {
        let mut lines = sound();
        lines.swap(a, b);
        assert_eq!(walk(&lines, from_nothing()), Err(WalkOrderError), "{a} {b}");
    }
    let mut late = sound();
    late[3].time = Some(at(200));
    assert_eq!(walk(&late, from_nothing()), Err(WalkOrderError));
}

/// The steps of two accounts: which account, how much later, what it adds.
fn steps() -> impl Strategy<Value = Vec<(u128, i64, i64, i64)>> {
    proptest::collection::vec((1_u128..3, 1_i64..9, -20_i64..20, -20_i64..20), 0..20)
}

/// A journal in which each entry follows from the one before it.
fn journal(steps: &[(u128, i64, i64, i64)]) -> Vec<JournalLine<'static>> {
    let mut balances: HashMap<u128, (i64, i64, i64)> = HashMap::new();
    let mut time = 99;
    let mut lines = Vec::new();
    for (account, passed, to_available, to_held) in steps {
        let (version, available, held) = balances.entry(*account).or_default();
        time += passed;
        *version += 1;
        *available += to_available;
        *held += to_held;
        let amounts = [*to_available, *to_held, *available, *held];
        lines.push(line(*account, *version, amounts, time));
    }
    lines
}

proptest! {
    #[test]
    fn a_sound_journal_has_no_fault_in_any_period(steps in steps(), cut in 100_i64..290) {
        let lines = journal(&steps);
        let mut openings = Openings::new();
        let mut entries = 0;
        for bounds in [(100, cut), (cut, 300)].map(|(start, end)| PeriodBounds { start: at(start), end: at(end) }) {
            let of_period = lines.iter().filter(|line| line.time >= Some(bounds.start) && line.time < Some(bounds.end));
            let of_period: Vec<_> = of_period.cloned().collect();
            let walked = walk(&of_period, Walk::new(bounds, openings.clone())).expect("in order");
            prop_assert_eq!(&walked.faults, &[]);
            for seal in walked.seals {
                entries += seal.entries;
                openings.insert(seal.key, seal.carried);
            }
        }
        prop_assert_eq!(usize::try_from(entries).expect("few"), lines.len());
    }
}
