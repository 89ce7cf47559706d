//! What happens: batches of commands, the clock, and NetworkService's changes between them. Everything here is relative
//! (the newest record, all that is available, in three microseconds), so that what shrinks still means something.

use proptest::collection::vec;
use proptest::prelude::*;

use crate::ledger::oes::model::{Direction, Mode};
use crate::ledger::tests::network::{CONNECTION_COUNT, Change, JUDGES, OWNERS};
use crate::ledger::tests::reference::GREATEST;

/// One batch, and what comes before it.
#[derive(Clone, Debug)]
pub(super) struct Step {
    pub(super) clock: Clock,
    pub(super) changes: Vec<Change>,
    /// Due reservations that the batch releases for each owner.
    pub(super) release_max: usize,
    pub(super) ops: Vec<Op>,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Clock {
    Still,
    Forward(i64),
    Back(i64),
}

#[derive(Clone, Debug)]
pub(super) struct Op {
    pub(super) owner: usize,
    pub(super) validate_only: bool,
    pub(super) entropy: u64,
    pub(super) what: What,
}

#[derive(Clone, Debug)]
pub(super) enum What {
    Create {
        direction: Direction,
        through: Through,
        unit: usize,
        quantity: Size,
        key: u16,
        notes: bool,
        expire: Option<Expire>,
    },
    /// Many creates in one call.
    Submit {
        items: Vec<What>,
    },
    Close {
        target: Target,
        verdict: Kind,
        by: By,
        through: Through,
        external_id: Option<u8>,
        reason: Option<u8>,
    },
    Adjust {
        unit: usize,
        quantity: Size,
        key: u16,
    },
    /// Asks again for what this owner asked before.
    Repeat {
        back: usize,
    },
    Expire,
}

/// Which connection.
#[derive(Clone, Copy, Debug)]
pub(super) enum Through {
    /// The right one: the record's, or one of the owner's, for a deallocation mostly one that has something.
    Own(usize),
    /// Any, and one that does not exist.
    Any(usize),
}

/// How much.
#[derive(Clone, Copy, Debug)]
pub(super) enum Size {
    Exactly(i128),
    /// All that is available, and so much more; a withdrawal of it.
    All(i128),
    /// All that can still come in, and so much more; a deposit of it.
    Room(i128),
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Expire {
    In(i64),
    /// So many microseconds after 366 days.
    Late(i64),
}

/// Which record.
#[derive(Clone, Copy, Debug)]
pub(super) enum Target {
    /// Of the owner's open ones; 0 is the newest.
    Open(usize),
    /// Of the owner's.
    Own(usize),
    /// Of all owners.
    Any(usize),
    Unknown,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    Cancel,
    Clear,
    Release,
}

/// Whose verdict.
#[derive(Clone, Copy, Debug)]
pub(super) enum By {
    Rightful,
    Any(usize),
}

/// Mostly two clients that have something to begin with.
pub(super) fn steps() -> impl Strategy<Value = Vec<Step>> {
    let funds = prop_oneof![4 => vec(50..=1_000_i128, 4), 1 => Just(Vec::new())];
    (funds, vec(step(), 1..=14)).prop_map(|(funds, steps)| {
        let mut all = beginning(&funds);
        all.extend(steps);
        all
    })
}

/// Deposits of the busy clients in each unit, parts of which go to two connections of each: one is INSTANT only now.
fn beginning(funds: &[i128]) -> Vec<Step> {
    const SOON_CONFIRMED: [usize; 2] = [0, 4];
    const INSTANT: [usize; 2] = [1, 6];
    let op = |number: usize, what| Op {
        owner: number % 2,
        validate_only: false,
        entropy: 0,
        what,
    };
    let step = |mode: Mode, ops| Step {
        clock: Clock::Still,
        changes: SOON_CONFIRMED
            .map(|number| Change::Mode(number, mode))
            .into(),
        release_max: 1,
        ops,
    };
    let funds = funds.iter().enumerate();
    let deposits = funds.clone().map(|(number, quantity)| {
        let what = What::Adjust {
            unit: number / 2,
            quantity: Size::Exactly(*quantity),
            key: u16::MAX - number as u16,
        };
        op(number, what)
    });
    let allocations = funds.flat_map(|(number, quantity)| {
        [SOON_CONFIRMED, INSTANT].map(|connections| {
            let connection = connections[number % 2];
            let what = What::Create {
                direction: Direction::Allocation,
                through: Through::Any(connection),
                unit: number / 2,
                quantity: Size::Exactly(quantity / 4),
                key: u16::MAX - (number * 8 + connection) as u16,
                notes: false,
                expire: None,
            };
            op(number, what)
        })
    });
    let instant = deposits.chain(allocations).collect();
    vec![
        step(Mode::Instant, instant),
        step(Mode::Confirmed, Vec::new()),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let release_max = prop_oneof![Just(1000_usize), 1..=2_usize];
    let changes = prop_oneof![3 => Just(Vec::new()), 1 => vec(change(), 1)];
    (clock(), changes, release_max, vec(op(), 0..=10)).prop_map(
        |(clock, changes, release_max, ops)| Step {
            clock,
            changes,
            release_max,
            ops,
        },
    )
}

fn clock() -> impl Strategy<Value = Clock> {
    prop_oneof![
        4 => Just(Clock::Still),
        6 => (1..=20_i64).prop_map(Clock::Forward),
        1 => (1_000..=100_000_000_i64).prop_map(Clock::Forward),
        2 => (1..=20_i64).prop_map(Clock::Back),
    ]
}

fn change() -> impl Strategy<Value = Change> {
    let mode = prop_oneof![3 => Just(Mode::Confirmed), 1 => Just(Mode::Instant)];
    prop_oneof![
        (0..JUDGES.len(), prop::bool::weighted(0.7)).prop_map(|(n, on)| Change::License(n, on)),
        (0..CONNECTION_COUNT, direction(), prop::bool::weighted(0.6))
            .prop_map(|(number, direction, on)| Change::Enable(number, direction, on)),
        (0..CONNECTION_COUNT, mode).prop_map(|(number, mode)| Change::Mode(number, mode)),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    let owner = prop_oneof![8 => Just(0), 4 => Just(1), 1 => 2..OWNERS.len()];
    let entropy = prop_oneof![
        4 => any::<u64>(),
        1 => Just(0),
        1 => Just(u64::MAX),
    ];
    (owner, prop::bool::weighted(0.15), entropy, what()).prop_map(
        |(owner, validate_only, entropy, what)| Op {
            owner,
            validate_only,
            entropy,
            what,
        },
    )
}

fn what() -> impl Strategy<Value = What> {
    prop_oneof![
        12 => create(),
        12 => close(),
        3 => adjust(),
        2 => (0..6_usize).prop_map(|back| What::Repeat { back }),
        1 => Just(What::Expire),
        2 => vec(create(), 1..=4).prop_map(|items| What::Submit { items }),
    ]
}

fn create() -> impl Strategy<Value = What> {
    let quantity = prop_oneof![
        3 => Just(Size::Exactly(1)),
        12 => (1..=20_i128).prop_map(Size::Exactly),
        2 => (-1..=1_i128).prop_map(Size::All),
        1 => (1..=GREATEST).prop_map(Size::Exactly),
        1 => Just(Size::Exactly(GREATEST)),
    ];
    let fields = (direction(), through(), unit(), quantity, key());
    (fields, any::<bool>(), expire()).prop_map(
        |((direction, through, unit, quantity, key), notes, expire)| What::Create {
            direction,
            through,
            unit,
            quantity,
            key,
            notes,
            expire,
        },
    )
}

fn close() -> impl Strategy<Value = What> {
    let target = prop_oneof![
        12 => (0..6_usize).prop_map(Target::Open),
        8 => (0..6_usize).prop_map(Target::Own),
        1 => (0..6_usize).prop_map(Target::Any),
        1 => Just(Target::Unknown),
    ];
    let verdict = prop_oneof![
        2 => Just(Kind::Cancel),
        4 => Just(Kind::Clear),
        3 => Just(Kind::Release),
    ];
    let by = prop_oneof![10 => Just(By::Rightful), 2 => (0..JUDGES.len()).prop_map(By::Any)];
    let external_id = proptest::option::weighted(0.6, 0..2_u8);
    let reason = proptest::option::of(0..2_u8);
    (target, verdict, by, through(), external_id, reason).prop_map(
        |(target, verdict, by, through, external_id, reason)| What::Close {
            target,
            verdict,
            by,
            through,
            external_id,
            reason,
        },
    )
}

fn adjust() -> impl Strategy<Value = What> {
    let quantity = prop_oneof![
        8 => (1..=300_i128).prop_map(Size::Exactly),
        2 => (-60..=-1_i128).prop_map(Size::Exactly),
        2 => (-1..=1_i128).prop_map(Size::All),
        2 => (-1..=1_i128).prop_map(Size::Room),
        1 => (1..=GREATEST).prop_map(Size::Exactly),
        1 => prop_oneof![Just(GREATEST), Just(-GREATEST)].prop_map(Size::Exactly),
    ];
    (unit(), quantity, key()).prop_map(|(unit, quantity, key)| What::Adjust {
        unit,
        quantity,
        key,
    })
}

fn direction() -> impl Strategy<Value = Direction> {
    prop_oneof![2 => Just(Direction::Allocation), 1 => Just(Direction::Deallocation)]
}

fn through() -> impl Strategy<Value = Through> {
    prop_oneof![
        12 => (0..CONNECTION_COUNT).prop_map(Through::Own),
        1 => (0..=CONNECTION_COUNT).prop_map(Through::Any),
    ]
}

fn unit() -> impl Strategy<Value = usize> {
    prop_oneof![4 => Just(0_usize), 1 => Just(1)]
}

/// A few keys that are used again and again, and many that are not.
fn key() -> impl Strategy<Value = u16> {
    prop_oneof![1 => 0..3_u16, 4 => 3..=u16::MAX]
}

fn expire() -> impl Strategy<Value = Option<Expire>> {
    prop_oneof![
        20 => Just(None),
        2 => (-2..=1_i64).prop_map(|micros| Some(Expire::In(micros))),
        25 => (1..=12_i64).prop_map(|micros| Some(Expire::In(micros))),
        1 => (-1..=1_i64).prop_map(|micros| Some(Expire::Late(micros))),
    ]
}
