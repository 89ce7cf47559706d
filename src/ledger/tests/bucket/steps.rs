//! What happens to a few buckets: batches of commands, and the clock. Everything is relative (the newest reserve, all
//! that is available), so that what shrinks still means something.

use proptest::collection::vec;
use proptest::prelude::*;
use uuid::Uuid;

use crate::ledger::account::OwnerKind;
use crate::ledger::bucket::model::{BucketStatus, CostOwner, Validity};
use crate::ledger::bucket::request::{
    ActionRequest, BucketOperation, BucketRequest, CreateBucket, PerformAction, Quantity,
    ReserveDraw, TransferRequest, UpdateBucket,
};
use crate::ledger::tests::bucket::reference::{ONE, ROOM, Reference, amount};
use crate::ledger::tests::command::{Action, Command};
use crate::limits::EXPIRE_AHEAD_MAX;
use crate::types::content::Content;
use crate::types::ids::{ActionId, OwnerId, TenantId};
use crate::types::time::Time;
use crate::types::unit::Unit;

/// When it all begins.
pub(super) const BEGIN: i64 = 1_700_000_000_000_000;
const TENANT: TenantId = TenantId(Uuid::from_u128(7));
/// The last one is never made; the one before it is of another unit.
const BUCKETS: [(&str, &str); 5] = [
    ("a", "EUR"),
    ("b", "EUR"),
    ("c", "EUR"),
    ("d", "USD"),
    ("nobody", "EUR"),
];
/// Whose party account each of them belongs to.
const PARTIES: [Option<&str>; 5] = [Some("p"), Some("q"), Some("p"), Some("p"), None];
const BUSY: usize = 3;

/// One batch, and what comes before it.
#[derive(Clone, Debug)]
pub(super) struct Step {
    pub(super) clock: Clock,
    /// Due reserves that the batch releases for each bucket.
    pub(super) release_max: usize,
    pub(super) ops: Vec<Op>,
}

impl Default for Step {
    fn default() -> Self {
        Self {
            clock: Clock::Still,
            release_max: 1,
            ops: Vec::new(),
        }
    }
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Clock {
    Still,
    Forward(i64),
    Back(i64),
}

#[derive(Clone, Debug)]
pub(super) struct Op {
    bucket: usize,
    validate_only: bool,
    entropy: u64,
    key: u8,
    /// Whether the unit is another than the bucket's.
    wrong_unit: bool,
    what: What,
}

#[derive(Clone, Debug)]
enum What {
    Create {
        value: i128,
        id_given: bool,
        status: BucketStatus,
    },
    Update {
        keyed: bool,
        status: Option<BucketStatus>,
        /// From when to when, counted from now.
        validity: Option<(i64, i64)>,
        /// How far the expected version is off.
        expected: Option<i64>,
    },
    Topup {
        size: Size,
        /// The end of validity that is asked for, counted from now.
        end: Option<i64>,
    },
    Adjust(Size),
    Close {
        write_off: bool,
        /// How far the expected version is off.
        expected: Option<i64>,
    },
    Transfer {
        to: usize,
        size: Size,
        cost: Option<(Size, CostOwner, bool)>,
    },
    Reserve {
        size: Size,
        expire: Option<i64>,
    },
    Unreserve(Target),
    Deduct(Size),
    DeductFrom {
        target: Target,
        part: Size,
        keep_rest: bool,
    },
    /// Asks again for what this bucket was asked before.
    Repeat(usize),
    Expire,
}

/// How much; above zero but where it is an adjust.
#[derive(Clone, Copy, Debug)]
enum Size {
    Exactly(i128),
    /// All that is there, and so much more.
    All(i128),
    /// All that still fits, and so much more.
    Room(i128),
}

/// Which reserve.
#[derive(Clone, Copy, Debug)]
enum Target {
    /// Of the bucket's open ones; 0 is the newest.
    Open(usize),
    /// Of all actions of all buckets.
    Any(usize),
    Unknown,
}

pub(super) fn steps() -> impl Strategy<Value = Vec<Step>> {
    let values = vec(
        prop_oneof![4 => (1..500_i128).prop_map(|n| n * ONE), 1 => Just(0)],
        BUSY,
    );
    (values, vec(step(), 1..=14)).prop_map(|(values, steps)| {
        let ops = values.into_iter().enumerate().map(|(bucket, value)| Op {
            bucket,
            validate_only: false,
            entropy: 0,
            key: 0,
            wrong_unit: false,
            what: What::Create {
                value,
                id_given: true,
                status: BucketStatus::Active,
            },
        });
        let first = Step {
            ops: ops.collect(),
            ..Step::default()
        };
        let mut all = vec![first];
        all.extend(steps);
        all
    })
}

fn step() -> impl Strategy<Value = Step> {
    let clock = prop_oneof![
        3 => Just(Clock::Still),
        4 => (1..20_i64).prop_map(Clock::Forward),
        1 => (1..20_i64).prop_map(Clock::Back),
    ];
    (clock, 1..4_usize, vec(op(), 0..=10)).prop_map(|(clock, release_max, ops)| Step {
        clock,
        release_max,
        ops,
    })
}

fn op() -> impl Strategy<Value = Op> {
    let bucket = prop_oneof![12 => 0..2_usize, 3 => Just(2), 1 => 3..BUCKETS.len()];
    let flags = (prop::bool::weighted(0.12), prop::bool::weighted(0.03));
    (bucket, any::<u64>(), any::<u8>(), flags, what()).prop_map(
        |(bucket, entropy, key, (validate_only, wrong_unit), what)| Op {
            bucket,
            validate_only,
            entropy,
            key,
            wrong_unit,
            what,
        },
    )
}

fn what() -> impl Strategy<Value = What> {
    let expire = prop_oneof![
        3 => Just(None),
        6 => (0..30_i64).prop_map(Some),
        1 => Just(Some(i64::try_from(EXPIRE_AHEAD_MAX.as_micros()).expect("fits") + 1)),
    ];
    let validity = prop::option::of((-20..10_i64, 0..40_i64));
    let cost = prop::option::of((small(), cost_owner(), prop::bool::weighted(0.05)));
    prop_oneof![
        2 => (prop_oneof![2 => Just(0), 3 => (1..100_i128).prop_map(|n| n * ONE)], any::<bool>(), status())
            .prop_map(|(value, id_given, status)| What::Create { value, id_given, status }),
        4 => (any::<bool>(), prop::option::of(status()), validity, prop::option::weighted(0.3, 0..2_i64))
            .prop_map(|(keyed, status, validity, expected)| What::Update { keyed, status, validity, expected }),
        4 => (size(), prop::option::weighted(0.4, -2..30_i64))
            .prop_map(|(size, end)| What::Topup { size, end }),
        3 => size().prop_map(What::Adjust),
        1 => (prop::bool::weighted(0.7), prop::option::weighted(0.3, 0..2_i64))
            .prop_map(|(write_off, expected)| What::Close { write_off, expected }),
        5 => (prop_oneof![8 => 0..BUSY, 1 => BUSY..BUCKETS.len()], size(), cost)
            .prop_map(|(to, size, cost)| What::Transfer { to, size, cost }),
        8 => (size(), expire).prop_map(|(size, expire)| What::Reserve { size, expire }),
        4 => target().prop_map(What::Unreserve),
        3 => size().prop_map(What::Deduct),
        7 => (target(), size(), any::<bool>())
            .prop_map(|(target, part, keep_rest)| What::DeductFrom { target, part, keep_rest }),
        4 => (0..12_usize).prop_map(What::Repeat),
        1 => Just(What::Expire),
    ]
}

fn status() -> impl Strategy<Value = BucketStatus> {
    prop_oneof![
        8 => Just(BucketStatus::Active),
        1 => Just(BucketStatus::Suspended),
        1 => Just(BucketStatus::Expired),
        1 => Just(BucketStatus::Closed),
    ]
}

fn cost_owner() -> impl Strategy<Value = CostOwner> {
    prop_oneof![Just(CostOwner::Originator), Just(CostOwner::Receiver)]
}

fn small() -> impl Strategy<Value = Size> {
    prop_oneof![
        4 => (1..60_i128).prop_map(|n| Size::Exactly(n * ONE)),
        2 => (1..60_i128).prop_map(Size::Exactly),
        1 => (1..60_i128).prop_map(|n| Size::Exactly(n * ONE / 8)),
    ]
}

fn size() -> impl Strategy<Value = Size> {
    prop_oneof![
        12 => small(),
        2 => (0..2_i128).prop_map(Size::All),
        1 => (0..2_i128).prop_map(Size::Room),
    ]
}

fn target() -> impl Strategy<Value = Target> {
    prop_oneof![
        10 => (0..3_usize).prop_map(Target::Open),
        3 => (0..40_usize).prop_map(Target::Any),
        1 => Just(Target::Unknown),
    ]
}

fn owner(bucket: usize) -> OwnerId {
    OwnerId::of_bucket(TENANT, BUCKETS[bucket].0)
}

impl Op {
    pub(super) fn owners(&self) -> Vec<OwnerId> {
        // A repeat may be that of a transfer to any of them.
        match self.what {
            What::Repeat(_) => (0..BUCKETS.len()).map(owner).collect(),
            What::Transfer { to, .. } => vec![owner(self.bucket), owner(to)],
            _ => vec![owner(self.bucket)],
        }
    }

    /// From what is meant to what is asked.
    pub(super) fn command(&self, reference: &Reference, now: i64, asked: &[Command]) -> Command {
        let owner = owner(self.bucket);
        let request = match &self.what {
            What::Expire => None,
            What::Repeat(back) => {
                let mut before = asked.iter().rev().filter(|command| command.owner == owner);
                let action = before.nth(*back).map(|command| command.action.clone());
                let action = action.unwrap_or(Action::Expire(OwnerKind::Bucket));
                return self.with(owner, self.validate_only, action);
            }
            What::Create {
                value,
                id_given,
                status,
            } => Some(BucketOperation::Create(CreateBucket {
                id_given: *id_given,
                name: None,
                description: None,
                status: if *value > 0 {
                    BucketStatus::Active
                } else {
                    *status
                },
                usage_type: None,
                party_account: PARTIES[self.bucket].map(Into::into),
                value: self.quantity(*value),
                validity: Validity::default(),
                products: Vec::new(),
                details: "{}".into(),
                initiated_by: "somebody".into(),
                content: Content::new().field(1, value.to_string()).hash(),
            })),
            What::Update {
                keyed,
                status,
                validity,
                expected,
            } => {
                let at = |offset: i64| Time::from_micros(now + offset);
                let validity = validity.map(|(from, length)| Validity {
                    from: at(from),
                    to: at(from + length),
                });
                let content = Content::new().field(1, format!("{status:?} {}", self.key % 2));
                Some(BucketOperation::Update(UpdateBucket {
                    request_id: keyed.then(|| format!("u{}", self.key % 8)),
                    name: None,
                    description: None,
                    status: *status,
                    validity,
                    expected_version: expected.map(|off| reference.version(owner) + off),
                    initiated_by: "somebody".into(),
                    content: content.hash(),
                }))
            }
            action => Some(BucketOperation::Act(self.act(reference, now, action))),
        };
        match request {
            Some(operation) => {
                let request = BucketRequest {
                    tenant: TENANT,
                    bucket: BUCKETS[self.bucket].0.into(),
                    operation,
                };
                let action = Action::Bucket(Box::new(request));
                self.with(owner, self.validate_only, action)
            }
            None => self.with(owner, false, Action::Expire(OwnerKind::Bucket)),
        }
    }

    fn with(&self, owner: OwnerId, validate_only: bool, action: Action) -> Command {
        Command {
            owner,
            validate_only,
            entropy: self.entropy.to_be_bytes(),
            action,
        }
    }

    fn act(&self, reference: &Reference, now: i64, what: &What) -> PerformAction {
        let action = self.action(reference, now, what);
        let key = format!("k{}", self.key);
        let content = match &action {
            // The expected version is no content.
            ActionRequest::Close { write_off, .. } => format!("close {write_off}"),
            other => format!("{other:?}"),
        };
        let content = Content::new().field(1, content).hash();
        PerformAction {
            request_id: key,
            action,
            details: "{}".into(),
            initiated_by: "somebody".into(),
            content,
        }
    }

    fn action(&self, reference: &Reference, now: i64, what: &What) -> ActionRequest {
        let owner_id = owner(self.bucket);
        let free = reference.free(owner_id);
        let total = reference.total(owner_id);
        let of_value = |size: &Size| match size {
            Size::Exactly(value) => *value,
            Size::All(more) => (free + more).max(1),
            Size::Room(more) => (ROOM - 1 - total + more).max(1),
        };
        let quantity = |size: &Size| self.quantity(of_value(size));
        match what {
            What::Topup { size, end } => ActionRequest::Topup {
                quantity: quantity(size),
                valid_for_end: end.and_then(|after| Time::from_micros(now + after)),
            },
            What::Close {
                write_off,
                expected,
            } => ActionRequest::Close {
                write_off: *write_off,
                expected_version: expected.map(|off| reference.version(owner_id) + off),
            },
            What::Adjust(size) => {
                // Up or down, as the key has it.
                let sign = if self.key.is_multiple_of(2) { 1 } else { -1 };
                ActionRequest::Adjust(self.quantity(of_value(size) * sign))
            }
            What::Transfer { to, size, cost } => ActionRequest::Transfer(TransferRequest {
                quantity: quantity(size),
                receiver: owner(*to),
                receiver_bucket: BUCKETS[*to].0.into(),
                cost: cost.map(|(size, payer, wrong_unit)| {
                    let mut cost = quantity(&size);
                    if wrong_unit {
                        cost.unit = Unit::stored("XXX");
                    }
                    (cost, payer)
                }),
            }),
            What::Reserve { size, expire } => ActionRequest::Reserve {
                quantity: quantity(size),
                expire_time: expire.and_then(|after| Time::from_micros(now + after)),
            },
            What::Unreserve(target) => ActionRequest::Unreserve {
                reserve: self.target(reference, *target),
            },
            What::DeductFrom {
                target,
                part,
                keep_rest,
            } => self.draw(reference, *target, *part, *keep_rest),
            What::Deduct(size) => ActionRequest::Deduct {
                quantity: quantity(size),
                from: None,
            },
            What::Create { .. } | What::Update { .. } | What::Repeat(_) | What::Expire => {
                unreachable!("no action")
            }
        }
    }

    fn draw(
        &self,
        reference: &Reference,
        target: Target,
        part: Size,
        keep_rest: bool,
    ) -> ActionRequest {
        let reserve = self.target(reference, target);
        let held = reference.held_by(owner(self.bucket), reserve);
        let value = match part {
            Size::Exactly(value) => value,
            Size::All(more) | Size::Room(more) => (held + more).max(1),
        };
        ActionRequest::Deduct {
            quantity: self.quantity(value),
            from: Some(ReserveDraw { reserve, keep_rest }),
        }
    }

    fn quantity(&self, value: i128) -> Quantity {
        let unit = if self.wrong_unit {
            "XXX"
        } else {
            BUCKETS[self.bucket].1
        };
        Quantity {
            amount: amount(value),
            unit: Unit::stored(unit),
        }
    }

    fn target(&self, reference: &Reference, target: Target) -> ActionId {
        let found = match target {
            Target::Open(back) => reference
                .open(owner(self.bucket))
                .into_iter()
                .rev()
                .nth(back),
            Target::Any(number) => {
                let all = reference.all();
                all.get(number % all.len().max(1)).copied()
            }
            Target::Unknown => None,
        };
        found.unwrap_or(ActionId(Uuid::from_u128(9)))
    }
}
