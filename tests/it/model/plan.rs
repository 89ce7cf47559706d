//! The calls of a round, which follow from the seed alone, but for what is known only at run time: the ids that
//! the server assigns, and times.

use std::collections::VecDeque;
use std::time::Duration;

use crate::support::random::Random;

use super::call::{Account, Adjust, By, Direction, Kind, Unit};

/// Currencies, and what one of the small numbers of the plan is in each. Of the last one, a hundred pass 28 digits.
const UNITS: [(Unit, i128); 3] = [
    ("BTC", 1),
    ("USDC", 1_000_000),
    ("WEI", 100_000_000_000_000_000_000_000_000),
];
/// What connects every owner, in this order, with which of the partners.
pub(super) const CONNECTIONS: [(Kind, usize); 6] = [
    (Kind::Confirmed, 0),
    (Kind::Confirmed, 1),
    (Kind::Instant, 0),
    (Kind::Disabled, 1),
    (Kind::Lapsed, 2),
    (Kind::Foreign, 1),
];
/// Connections that are the owner's own.
pub(super) const OWN_CONNECTIONS: usize = 5;
pub(super) const PARTNERS: usize = 3;
/// Whether the enterprise of the partner with this number has no licence.
pub(super) fn is_lapsed(partner: usize) -> bool {
    CONNECTIONS.contains(&(Kind::Lapsed, partner))
}

/// Keys that are in use at the same time.
const WINDOW: usize = 24;
/// How many new keys a command brings, in thousandths: less than there are uses of keys, so that keys are used again.
const KEYS_PER_THOUSAND: usize = 350;

/// How large a round is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    pub(super) owners: usize,
    /// Clients that are at work at the same time.
    pub(super) workers: usize,
    /// Commands of all of them together, each item of a submission being one.
    pub(super) commands: usize,
}

/// The currency that is called so.
pub(super) fn unit(name: &str) -> Option<Unit> {
    let units = UNITS.iter().map(|(unit, _)| *unit);
    units.into_iter().find(|unit| *unit == name)
}

/// What each owner has before anything else.
pub(super) fn first_deposits() -> impl Iterator<Item = Adjust> {
    UNITS.iter().map(|(unit, one)| Adjust {
        unit,
        quantity: 80 * one,
        key: format!("first {unit}"),
        reason: "to begin with".into(),
    })
}

/// A record by what the plan knows of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Slot {
    pub(super) owner: usize,
    pub(super) direction: Direction,
    pub(super) key: usize,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Expiry {
    Never,
    /// So long after the key was first used.
    After(Duration),
    /// Before the key was first used.
    Past,
}

#[derive(Clone, Debug)]
pub(super) struct NewRecord {
    pub(super) slot: Slot,
    pub(super) connection: usize,
    pub(super) unit: Unit,
    pub(super) quantity: i128,
    pub(super) notes: Option<String>,
    pub(super) expiry: Expiry,
    /// A microsecond later than the key's own time.
    pub(super) is_later: bool,
}

/// One of the records that an owner has by then, counted from the newest.
#[derive(Clone, Copy, Debug)]
pub(super) enum Pick {
    Newest(usize),
    /// None that there is.
    Nobody,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum PartnerKey {
    None,
    /// The one that the partner has for this record.
    Own,
    Another,
}

#[derive(Clone, Debug)]
pub(super) enum Ending {
    Clear(PartnerKey),
    Release(PartnerKey, String),
    Cancel(Option<String>),
}

#[derive(Clone, Debug)]
pub(super) enum Intent {
    Create(NewRecord),
    Submit(Vec<NewRecord>),
    Close {
        pick: Pick,
        ending: Ending,
        /// Somebody else than the one who may, or on another connection.
        wrong: Option<Wrong>,
    },
    Adjust(Adjust),
    Get {
        pick: Pick,
        by: By,
    },
    GetBalance {
        account: Account,
        unit: Unit,
    },
    ListBalances,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Wrong {
    By(By),
    Connection,
}

/// One step of a worker.
#[derive(Clone, Debug)]
pub(super) struct Step {
    pub(super) owner: usize,
    pub(super) server: usize,
    pub(super) validate_only: bool,
    /// The caller does not wait for longer.
    pub(super) patience: Option<Duration>,
    pub(super) intent: Intent,
}

impl Intent {
    fn weight(&self) -> usize {
        match self {
            Self::Submit(items) => items.len(),
            _ => 1,
        }
    }
}

/// The steps of one worker.
pub(super) struct Plan {
    seed: u64,
    shape: Shape,
    random: Random,
    planned: usize,
    next: VecDeque<Step>,
}

impl Plan {
    pub(super) fn new(seed: u64, shape: Shape, worker: usize) -> Self {
        Self {
            seed,
            shape,
            random: Random::new(mix(seed, &[worker as u64])),
            planned: 0,
            next: VecDeque::new(),
        }
    }

    fn share(&self) -> usize {
        self.shape.commands / self.shape.workers
    }

    /// One half of all is about the first owner.
    fn owner(&mut self) -> usize {
        match self.random.number(0..12) {
            0..6 => 0,
            6..8 => 1 % self.shape.owners,
            _ => self.random.number(0..self.shape.owners),
        }
    }

    /// How many keys this owner has had by now, if all workers are as far as this one.
    fn keys_so_far(&self, owner: usize) -> usize {
        let evenly = 4 * 100 / self.shape.owners;
        let percent = match owner {
            0 => 600 + evenly,
            1 => 200 + evenly,
            _ => evenly,
        };
        let uses = self.planned * self.shape.workers * percent / 1_200;
        uses * KEYS_PER_THOUSAND / 1_000
    }

    fn slot(&mut self, owner: usize) -> Slot {
        let newest = self.keys_so_far(owner) + WINDOW;
        Slot {
            owner,
            direction: if self.random.number(0..5) < 3 {
                Direction::Allocation
            } else {
                Direction::Deallocation
            },
            key: self.random.number(newest - WINDOW..newest),
        }
    }

    fn plan_next(&mut self) {
        let owner = self.owner();
        let intent = self.intent(owner);
        let is_write = !matches!(
            intent,
            Intent::Get { .. } | Intent::GetBalance { .. } | Intent::ListBalances
        );
        let step = Step {
            owner,
            server: self.random.number(0..2),
            validate_only: is_write && self.random.one_in(9),
            patience: self
                .random
                .one_in(150)
                .then(|| Duration::from_micros(self.random.number(0..4_000) as u64)),
            intent,
        };
        // What one process has acknowledged, the other one shows.
        let look = is_write
            .then(|| self.look_at(&step))
            .filter(|_| self.random.one_in(5));
        self.next.push_back(step);
        self.next.extend(look);
    }

    fn look_at(&mut self, step: &Step) -> Step {
        let intent = match &step.intent {
            Intent::Adjust(_) => Intent::ListBalances,
            _ if self.random.one_in(3) => Intent::ListBalances,
            Intent::Close { pick, .. } => Intent::Get {
                pick: *pick,
                by: By::Client,
            },
            _ => Intent::Get {
                pick: Pick::Newest(0),
                by: By::Client,
            },
        };
        Step {
            owner: step.owner,
            server: 1 - step.server,
            validate_only: false,
            patience: None,
            intent,
        }
    }

    fn intent(&mut self, owner: usize) -> Intent {
        match self.random.number(0..100) {
            0..34 => {
                let slot = self.slot(owner);
                Intent::Create(self.new_record(slot))
            }
            34..39 => {
                let count = 1 + self.random.number(0..16);
                let items = (0..count).map(|_| {
                    let slot = self.slot(owner);
                    self.new_record(slot)
                });
                Intent::Submit(items.collect())
            }
            39..75 => self.close(),
            75..85 => Intent::Adjust(self.adjust(owner)),
            85..91 => Intent::Get {
                pick: self.pick(),
                by: self.reader(),
            },
            91..96 => Intent::GetBalance {
                account: match self.random.number(0..OWN_CONNECTIONS + 1) {
                    0 => Account::Custody,
                    number => Account::Connection(number - 1),
                },
                unit: UNITS[self.random.number(0..UNITS.len())].0,
            },
            _ => Intent::ListBalances,
        }
    }

    fn reader(&mut self) -> By {
        match self.random.number(0..10) {
            0 => By::Stranger,
            1..3 => By::Partner(0),
            3..5 => By::Partner(1),
            _ => By::Client,
        }
    }

    /// Mostly one of the newest, which may be open; so that several ask for the same one.
    fn pick(&mut self) -> Pick {
        match self.random.number(0..40) {
            0 => Pick::Nobody,
            1..24 => Pick::Newest(self.random.number(0..6)),
            _ => Pick::Newest(self.random.number(0..60)),
        }
    }

    /// The content of a key is always the same, but for now and then.
    fn new_record(&mut self, slot: Slot) -> NewRecord {
        let mut new = self.content(slot);
        if self.random.one_in(10) {
            match self.random.number(0..4) {
                0 => new.quantity += UNITS[0].1,
                1 => new.notes = Some("another".into()),
                2 => new.connection = (new.connection + 1) % OWN_CONNECTIONS,
                _ => new.is_later = true,
            }
        }
        new
    }

    fn content(&self, slot: Slot) -> NewRecord {
        let direction = u64::from(slot.direction == Direction::Allocation);
        let tag = [1 << 32, slot.owner as u64, direction, slot.key as u64];
        let mut random = Random::new(mix(self.seed, &tag));
        let connection = match random.number(0..41) {
            0..15 => 0,
            15..28 => 1,
            28..38 => 2,
            number => number - 35,
        };
        let (unit, one) = UNITS[random.number(0..UNITS.len())];
        let number = match random.number(0..10) {
            0..7 => random.number(1..10),
            7..9 => random.number(5..30),
            _ => random.number(30..90),
        };
        let is_instant = CONNECTIONS[connection].0 == Kind::Instant;
        let expiry = match random.number(0..if is_instant { 400 } else { 40 }) {
            0..7 => Expiry::After(Duration::from_millis(random.number(20..900) as u64)),
            7..9 => Expiry::After(Duration::from_secs(3_600)),
            9 => Expiry::Past,
            _ => Expiry::Never,
        };
        NewRecord {
            slot,
            connection,
            unit,
            quantity: number as i128 * one,
            notes: random.one_in(3).then(|| format!("notes of {}", slot.key)),
            expiry,
            is_later: false,
        }
    }

    fn close(&mut self) -> Intent {
        let partner_key = match self.random.number(0..12) {
            0 => PartnerKey::None,
            1 => PartnerKey::Another,
            _ => PartnerKey::Own,
        };
        let ending = match self.random.number(0..10) {
            0..5 => Ending::Clear(partner_key),
            5..7 => Ending::Release(partner_key, format!("reason {}", self.random.number(0..3))),
            _ => Ending::Cancel(self.random.one_in(2).then(|| "given up".into())),
        };
        let wrong = self
            .random
            .one_in(16)
            .then(|| match self.random.number(0..5) {
                0 => Wrong::By(By::Client),
                1 => Wrong::By(By::Partner(0)),
                2 => Wrong::By(By::Partner(1)),
                3 => Wrong::By(By::Stranger),
                _ => Wrong::Connection,
            });
        Intent::Close {
            pick: self.pick(),
            ending,
            wrong,
        }
    }

    fn adjust(&mut self, owner: usize) -> Adjust {
        // Rarer than records, and their keys last as long.
        let key = self.slot(owner).key / 3;
        let mut random = Random::new(mix(self.seed, &[2 << 32, owner as u64, key as u64]));
        let (unit, one) = UNITS[random.number(0..UNITS.len())];
        let number = if random.number(0..5) < 3 {
            random.number(1..60) as i128
        } else {
            -(random.number(1..50) as i128)
        };
        let mut quantity = number * one;
        if self.random.one_in(10) {
            quantity += one;
            quantity += if quantity == 0 { one } else { 0 };
        }
        Adjust {
            unit,
            quantity,
            key: format!("adjustment {key}"),
            reason: "a test".into(),
        }
    }
}

impl Iterator for Plan {
    type Item = Step;

    fn next(&mut self) -> Option<Step> {
        if self.next.is_empty() && self.planned < self.share() {
            self.plan_next();
        }
        let step = self.next.pop_front()?;
        self.planned += step.intent.weight();
        Some(step)
    }
}

/// A seed of many numbers.
fn mix(seed: u64, parts: &[u64]) -> u64 {
    parts.iter().fold(seed, |mixed, part| {
        let mixed = (mixed ^ part).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        mixed ^ (mixed >> 29)
    })
}
