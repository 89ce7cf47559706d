//! The reference implementation of the contract, in maps and integers. It shares no code with the server.
//!
//! It keeps every state of one owner, so the answer to a call can be computed at any of them. A state is the
//! number of movements before it.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;

use tonic::Code;
use uuid::Uuid;

use super::call::{
    Account, Adjust, Answer, Balance, By, Cause, Close, Create, Direction, Item, Kind, Leg, Micros,
    Movement, Owner, Record, Refusal, Reservation, Status, Subject, Unit, Verdict,
};

/// The subject of every token.
pub(super) const SUBJECT: &str = "somebody";
/// The largest number of 28 digits.
const LIMIT: i128 = 9_999_999_999_999_999_999_999_999_999;

/// The id and the time of a movement, which only the server can know. Neither is there if it is only validated.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Stamp {
    pub(super) id: Uuid,
    pub(super) time: Micros,
}

/// A record from one movement to the next, and the balances that the movement's answer shows.
#[derive(Clone, Debug)]
struct Step {
    /// The first state that has it.
    from: usize,
    record: Record,
    custody: Balance,
    connection: Balance,
}

#[derive(Clone, Debug)]
struct Kept {
    asked: Create,
    opened: Step,
    closed: Option<Step>,
}

impl Kept {
    fn at(&self, state: usize) -> &Step {
        let closed = self.closed.as_ref();
        closed
            .filter(|step| step.from <= state)
            .unwrap_or(&self.opened)
    }
}

#[derive(Debug)]
struct Adjusted {
    asked: Adjust,
    from: usize,
    custody: Balance,
}

/// What a command does, if it does anything.
#[derive(Clone, Debug)]
pub(super) struct Change {
    pub(super) movement: Movement,
    unit: Unit,
    custody: Balance,
    connection: Balance,
    what: What,
}

#[derive(Clone, Debug)]
enum What {
    Opened(Create, Record),
    Closed(Record),
    Adjusted(Adjust),
}

/// What becomes of a command.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "none is kept")]
pub(super) enum Judged {
    Done(Box<Change>),
    Replayed {
        record: Option<Record>,
        custody: Balance,
        connection: Balance,
    },
    Refused(Refusal),
}

pub(super) struct Reference<'a> {
    owner: &'a Owner,
    times: Vec<Micros>,
    balances: HashMap<(Account, Unit), Vec<(usize, Balance)>>,
    deposited: HashMap<Unit, i128>,
    records: HashMap<Uuid, Kept>,
    keys: HashMap<(Direction, String), Uuid>,
    adjusted: HashMap<String, Adjusted>,
}

/// What a validated submission has done so far: seen by its later items, and by nobody else.
#[derive(Default)]
struct Draft {
    balances: HashMap<(Account, Unit), Balance>,
    records: Vec<Kept>,
}

impl<'a> Reference<'a> {
    pub(super) fn new(owner: &'a Owner) -> Self {
        Self {
            owner,
            times: Vec::new(),
            balances: HashMap::new(),
            deposited: HashMap::new(),
            records: HashMap::new(),
            keys: HashMap::new(),
            adjusted: HashMap::new(),
        }
    }

    /// The number of the latest state.
    pub(super) fn now(&self) -> usize {
        self.times.len()
    }

    /// The time of the newest movement at a state.
    pub(super) fn time(&self, state: usize) -> Option<Micros> {
        state.checked_sub(1).map(|newest| self.times[newest])
    }

    /// The state whose newest movement has this time.
    pub(super) fn state_at(&self, time: Micros) -> Option<usize> {
        self.times.binary_search(&time).ok().map(|place| place + 1)
    }

    pub(super) fn balance(&self, state: usize, account: Account, unit: Unit) -> Balance {
        let Some(past) = self.balances.get(&(account, unit)) else {
            return Balance::default();
        };
        match past.partition_point(|(from, _)| *from <= state) {
            0 => Balance::default(),
            place => past[place - 1].1,
        }
    }

    /// All accounts that were ever used.
    pub(super) fn balances(&self, state: usize) -> BTreeMap<(Account, Unit), Balance> {
        let used = self.balances.keys();
        used.map(|key| (*key, self.balance(state, key.0, key.1)))
            .filter(|(_, balance)| balance.version > 0)
            .collect()
    }

    pub(super) fn record(&self, state: usize, id: Uuid) -> Option<&Record> {
        let kept = self.records.get(&id)?;
        (kept.opened.from <= state).then(|| &kept.at(state).record)
    }

    /// All records as they stand now.
    pub(super) fn records(&self) -> impl Iterator<Item = &Record> {
        let now = self.now();
        self.records.values().map(move |kept| &kept.at(now).record)
    }

    /// Those that are to expire: when, and the states in which they are open.
    pub(super) fn expiring(&self) -> impl Iterator<Item = (Micros, &Record, Range<usize>)> {
        self.records.values().filter_map(|kept| {
            let closed = kept.closed.as_ref().map_or(usize::MAX, |step| step.from);
            let time = kept.asked.expire_time?;
            Some((time, &kept.opened.record, kept.opened.from..closed))
        })
    }

    /// The reservations that hold value of an account, oldest first.
    pub(super) fn open(&self, state: usize, account: Account, unit: Unit) -> Vec<Reservation> {
        let open = self.records.values().filter(|kept| {
            kept.opened.from <= state
                && kept.at(state).record.status == Status::Reserved
                && kept.asked.unit == unit
                && source(&kept.opened.record) == account
        });
        let mut open: Vec<_> = open
            .map(|kept| Reservation {
                id: kept.opened.record.id,
                quantity: kept.asked.quantity,
                created_at: kept.opened.record.created_at,
                expire_time: kept.asked.expire_time,
            })
            .collect();
        open.sort_by_key(|reservation| (reservation.created_at, reservation.id));
        open
    }

    pub(super) fn create(
        &self,
        state: usize,
        create: &Create,
        clock: Micros,
        stamp: Stamp,
    ) -> Judged {
        self.create_beside(&Draft::default(), state, create, clock, stamp)
    }

    /// What each item of a validated submission is answered.
    pub(super) fn validate_all(&self, state: usize, items: &[Create], clock: Micros) -> Vec<Item> {
        let mut draft = Draft::default();
        let items = items.iter().map(|create| {
            let judged = self.create_beside(&draft, state, create, clock, Stamp::default());
            if let Judged::Done(change) = &judged {
                draft.add(state, change);
            }
            judged.into_item()
        });
        items.collect()
    }

    fn create_beside(
        &self,
        draft: &Draft,
        state: usize,
        create: &Create,
        clock: Micros,
        stamp: Stamp,
    ) -> Judged {
        if let Some(kept) = self.by_key(draft, state, create) {
            if kept.asked != *create {
                return reused("client_external_id", Some(kept.opened.record.id));
            }
            return Judged::Replayed {
                record: Some(kept.at(state).record.clone()),
                custody: kept.opened.custody,
                connection: kept.opened.connection,
            };
        }
        let connection = &self.owner.connections[create.connection];
        let is_instant = connection.kind == Kind::Instant;
        if connection.kind == Kind::Foreign {
            return refused(Code::NotFound, "CONNECTION_NOT_FOUND", []);
        }
        if let Some(time) = create.expire_time
            && (time <= clock || is_instant)
        {
            let facts = [
                ("violations_total", "1".into()),
                ("field", "expire_time".into()),
            ];
            return refused(Code::InvalidArgument, "INVALID_REQUEST", facts);
        }
        if connection.kind == Kind::Lapsed && create.direction == Direction::Allocation {
            let (code, reason) = (Code::FailedPrecondition, "PARTNER_NOT_LICENSED");
            return refused(code, reason, [("id", connection.id.clone())]);
        }
        if connection.kind == Kind::Disabled && create.direction == Direction::Allocation {
            let facts = [
                ("direction", "allocation".into()),
                ("id", connection.id.clone()),
            ];
            return refused(Code::FailedPrecondition, "CONNECTION_INACTIVE", facts);
        }
        let record = new_record(self.owner, create, stamp);
        let (from, to) = (source(&record), target(&record));
        let available = self
            .balance_beside(draft, state, from, create.unit)
            .available;
        if available < create.quantity {
            let account = match from {
                Account::Custody => "custody",
                Account::Connection(_) => &connection.id,
            };
            return insufficient(available, create.quantity, create.unit, account);
        }
        let (cause, legs) = if is_instant {
            let legs = vec![(from, -create.quantity, 0), (to, create.quantity, 0)];
            (Cause::Instant, legs)
        } else {
            let legs = vec![(from, -create.quantity, create.quantity)];
            (Cause::Reserve, legs)
        };
        let what = What::Opened(create.clone(), record);
        self.change(draft, state, cause, stamp, what, &legs)
    }

    pub(super) fn close(&self, state: usize, close: &Close, stamp: Stamp) -> Judged {
        let is_cancel = matches!(close.verdict, Verdict::Cancel { .. });
        match close.by {
            By::Partner(_) if is_cancel => return refused(Code::NotFound, "CLIENT_NOT_FOUND", []),
            By::Stranger if is_cancel => return not_found(),
            By::Client | By::Stranger if !is_cancel => {
                return refused(Code::PermissionDenied, "PARTNER_ACCESS_DENIED", []);
            }
            By::Partner(partner) => {
                let connection = &self.owner.connections[close.connection];
                if connection.partner != partner {
                    return refused(Code::NotFound, "CONNECTION_NOT_FOUND", []);
                }
            }
            By::Client | By::Stranger => {}
        }
        let kept = self.records.get(&close.id);
        let Some(kept) = kept.filter(|kept| kept.opened.from <= state) else {
            return not_found();
        };
        let elsewhere = kept.asked.connection != close.connection;
        if elsewhere && !is_cancel {
            return not_found();
        }
        let step = kept.at(state);
        if step.record.status == Status::Reserved {
            self.close_open(state, &step.record, &close.verdict, stamp)
        } else {
            close_again(step, &close.verdict)
        }
    }

    /// The reservation has come to its end.
    pub(super) fn expire(&self, stamp: Stamp) -> Option<Judged> {
        let record = self.record(self.now(), stamp.id)?;
        if record.status != Status::Reserved {
            return None;
        }
        let ending = Ending {
            cause: Cause::Expire,
            status: Status::Released,
            partner_key: None,
            reason: Some("expired".into()),
        };
        Some(self.end(self.now(), record, ending, stamp))
    }

    fn close_open(&self, state: usize, record: &Record, verdict: &Verdict, stamp: Stamp) -> Judged {
        let ending = match verdict.clone() {
            Verdict::Clear { partner_key } => Ending {
                cause: Cause::Clear,
                status: Status::Cleared,
                partner_key,
                reason: None,
            },
            Verdict::Release {
                partner_key,
                reason,
            } => Ending {
                cause: Cause::Release,
                status: Status::Released,
                partner_key,
                reason: Some(reason),
            },
            Verdict::Cancel { reason } => Ending {
                cause: Cause::Cancel,
                status: Status::Released,
                partner_key: None,
                reason,
            },
        };
        self.end(state, record, ending, stamp)
    }

    fn end(&self, state: usize, record: &Record, ending: Ending, stamp: Stamp) -> Judged {
        let (from, to, quantity) = (source(record), target(record), record.quantity);
        let legs = if ending.status == Status::Cleared {
            vec![(from, 0, -quantity), (to, quantity, 0)]
        } else {
            vec![(from, quantity, -quantity)]
        };
        let closed = Record {
            status: ending.status,
            partner_key: ending.partner_key,
            reason: ending.reason,
            updated_at: stamp.time,
            ..record.clone()
        };
        let what = What::Closed(closed);
        self.change(&Draft::default(), state, ending.cause, stamp, what, &legs)
    }

    pub(super) fn adjust(&self, state: usize, adjust: &Adjust, stamp: Stamp) -> Judged {
        let known = self.adjusted.get(&adjust.key);
        if let Some(known) = known.filter(|known| known.from <= state) {
            if known.asked != *adjust {
                return reused("external_id", None);
            }
            return Judged::Replayed {
                record: None,
                custody: known.custody,
                connection: Balance::default(),
            };
        }
        let custody = self.balance(state, Account::Custody, adjust.unit);
        if custody.available + adjust.quantity < 0 {
            let (available, requested) = (custody.available, -adjust.quantity);
            return insufficient(available, requested, adjust.unit, "custody");
        }
        if self.everything(state, adjust.unit) + adjust.quantity > LIMIT {
            let facts = [
                ("limit", LIMIT.to_string()),
                ("currency", adjust.unit.into()),
                ("account", "custody".into()),
            ];
            return refused(Code::FailedPrecondition, "BALANCE_LIMIT", facts);
        }
        let legs = [(Account::Custody, adjust.quantity, 0)];
        let what = What::Adjusted(adjust.clone());
        self.change(&Draft::default(), state, Cause::Adjust, stamp, what, &legs)
    }

    /// What was deposited and not withdrawn.
    fn everything(&self, state: usize, unit: Unit) -> i128 {
        let accounts = self.balances.keys().filter(|(_, other)| *other == unit);
        let balances = accounts.map(|(account, _)| self.balance(state, *account, unit));
        balances
            .map(|balance| balance.available + balance.held)
            .sum()
    }

    fn by_key<'s>(&'s self, draft: &'s Draft, state: usize, create: &Create) -> Option<&'s Kept> {
        let same =
            |kept: &&Kept| kept.asked.direction == create.direction && kept.asked.key == create.key;
        let stored = || {
            let id = self.keys.get(&(create.direction, create.key.clone()))?;
            let kept = self.records.get(id)?;
            (kept.opened.from <= state).then_some(kept)
        };
        draft.records.iter().find(same).or_else(stored)
    }

    fn balance_beside(&self, draft: &Draft, state: usize, account: Account, unit: Unit) -> Balance {
        let drafted = draft.balances.get(&(account, unit));
        drafted
            .copied()
            .unwrap_or_else(|| self.balance(state, account, unit))
    }

    fn change(
        &self,
        draft: &Draft,
        state: usize,
        cause: Cause,
        stamp: Stamp,
        what: What,
        legs: &[(Account, i128, i128)],
    ) -> Judged {
        let (subject, unit, connection) = match &what {
            What::Opened(_, record) | What::Closed(record) => {
                let connection = Account::Connection(record.connection);
                (Subject::Record(record.id), record.unit, connection)
            }
            What::Adjusted(adjust) => {
                let subject = Subject::Adjustment(adjust.key.clone());
                (subject, adjust.unit, Account::Custody)
            }
        };
        let legs: BTreeMap<_, _> = legs
            .iter()
            .map(|(account, available_delta, held_delta)| {
                let before = self.balance_beside(draft, state, *account, unit);
                let after = Balance {
                    available: before.available + available_delta,
                    held: before.held + held_delta,
                    version: before.version + 1,
                };
                let leg = Leg {
                    available_delta: *available_delta,
                    held_delta: *held_delta,
                    after,
                };
                ((*account, unit), leg)
            })
            .collect();
        let after = |account| {
            let leg = legs.get(&(account, unit)).map(|leg: &Leg| leg.after);
            leg.unwrap_or_else(|| self.balance_beside(draft, state, account, unit))
        };
        Judged::Done(Box::new(Change {
            custody: after(Account::Custody),
            connection: after(connection),
            movement: Movement {
                time: stamp.time,
                cause,
                subject,
                legs,
            },
            unit,
            what,
        }))
    }

    /// Makes a change that was judged at the newest state.
    pub(super) fn make(&mut self, change: &Change) {
        let from = self.now() + 1;
        self.times.push(change.movement.time);
        for (key, leg) in &change.movement.legs {
            self.balances
                .entry(*key)
                .or_default()
                .push((from, leg.after));
        }
        match &change.what {
            What::Opened(create, record) => {
                let key = (create.direction, create.key.clone());
                self.keys.insert(key, record.id);
                self.records
                    .insert(record.id, change.kept(from, create, record));
            }
            What::Closed(record) => {
                let step = change.step(from, record);
                if let Some(kept) = self.records.get_mut(&record.id) {
                    kept.closed = Some(step);
                }
            }
            What::Adjusted(asked) => {
                let adjusted = Adjusted {
                    asked: asked.clone(),
                    from,
                    custody: change.custody,
                };
                self.adjusted.insert(asked.key.clone(), adjusted);
                *self.deposited.entry(change.unit).or_default() += asked.quantity;
            }
        }
    }

    /// What was ever deposited less what was withdrawn is what is there.
    pub(super) fn is_conserved(&self) -> bool {
        let mut deposits = self.deposited.iter();
        deposits.all(|(unit, deposited)| self.everything(self.now(), unit) == *deposited)
    }
}

impl Draft {
    fn add(&mut self, state: usize, change: &Change) {
        let legs = change.movement.legs.iter();
        self.balances
            .extend(legs.map(|(key, leg)| (*key, leg.after)));
        if let What::Opened(create, record) = &change.what {
            self.records.push(change.kept(state, create, record));
        }
    }
}

impl Change {
    fn step(&self, from: usize, record: &Record) -> Step {
        Step {
            from,
            record: record.clone(),
            custody: self.custody,
            connection: self.connection,
        }
    }

    fn kept(&self, from: usize, asked: &Create, record: &Record) -> Kept {
        Kept {
            asked: asked.clone(),
            opened: self.step(from, record),
            closed: (self.movement.cause == Cause::Instant).then(|| self.step(from, record)),
        }
    }
}

impl Judged {
    /// What the caller of a single command is answered; a partner is told nothing of custody.
    pub(super) fn into_answer(self, is_partner: bool) -> Answer {
        let (record, custody, connection, replayed) = match self {
            Self::Done(change) => {
                let record = match change.what {
                    What::Opened(_, record) | What::Closed(record) => Some(record),
                    What::Adjusted(_) => None,
                };
                (record, change.custody, change.connection, false)
            }
            Self::Replayed {
                record,
                custody,
                connection,
            } => (record, custody, connection, true),
            Self::Refused(mut refusal) => {
                let outcome = ("outcome".to_owned(), "not_applied".to_owned());
                refusal.facts.extend([outcome]);
                return Answer::Refused(refusal);
            }
        };
        match record {
            Some(record) => Answer::Record {
                record,
                custody: (!is_partner).then_some(custody),
                connection,
                replayed,
            },
            None => Answer::Adjusted { custody, replayed },
        }
    }

    /// What an item of many is answered.
    pub(super) fn into_item(self) -> Item {
        match self.into_answer(false) {
            Answer::Record {
                record, replayed, ..
            } => Item::Record { record, replayed },
            Answer::Refused(mut refusal) => {
                refusal.facts.remove("outcome");
                Item::Refused(refusal)
            }
            other => unreachable!("no item is answered so: {other:?}"),
        }
    }
}

struct Ending {
    cause: Cause,
    status: Status,
    partner_key: Option<String>,
    reason: Option<String>,
}

/// A verdict on what is final: the same one is a replay, however it came about; the opposite is refused.
fn close_again(step: &Step, verdict: &Verdict) -> Judged {
    let record = &step.record;
    let (wanted, partner_key) = match verdict {
        Verdict::Clear { partner_key } => (Status::Cleared, partner_key.as_ref()),
        Verdict::Release { partner_key, .. } => (Status::Released, partner_key.as_ref()),
        Verdict::Cancel { .. } => (Status::Released, None),
    };
    if record.status != wanted {
        let status = match record.status {
            Status::Cleared => "CLEARED",
            Status::Released | Status::Reserved => "RELEASED",
        };
        let facts = [
            ("status", status.into()),
            ("id", record.id.to_string()),
            ("since", record.updated_at.to_string()),
        ];
        return refused(Code::FailedPrecondition, "ALREADY_TERMINAL", facts);
    }
    // One of them may be missing, but two different ones contradict each other.
    let stored = record.partner_key.as_ref();
    if let (Some(stored), Some(given)) = (stored, partner_key)
        && stored != given
    {
        return reused("partner_external_id", Some(record.id));
    }
    Judged::Replayed {
        record: Some(record.clone()),
        custody: step.custody,
        connection: step.connection,
    }
}

fn new_record(owner: &Owner, create: &Create, stamp: Stamp) -> Record {
    let connection = &owner.connections[create.connection];
    Record {
        id: stamp.id,
        direction: create.direction,
        status: match connection.kind {
            Kind::Instant => Status::Cleared,
            Kind::Confirmed | Kind::Disabled | Kind::Lapsed | Kind::Foreign => Status::Reserved,
        },
        unit: create.unit,
        quantity: create.quantity,
        connection: create.connection,
        client: owner.client.clone(),
        partner: connection.partner_id.clone(),
        key: create.key.clone(),
        partner_key: None,
        initiated_by: SUBJECT.into(),
        notes: create.notes.clone(),
        reason: None,
        expire_time: create.expire_time,
        created_at: stamp.time,
        updated_at: stamp.time,
    }
}

/// The account whose value a record holds.
pub(super) fn source(record: &Record) -> Account {
    match record.direction {
        Direction::Allocation => Account::Custody,
        Direction::Deallocation => Account::Connection(record.connection),
    }
}

/// The account that gets the value of a cleared record.
fn target(record: &Record) -> Account {
    match record.direction {
        Direction::Allocation => Account::Connection(record.connection),
        Direction::Deallocation => Account::Custody,
    }
}

fn refused<const N: usize>(code: Code, reason: &str, facts: [(&str, String); N]) -> Judged {
    let facts = facts.map(|(name, value)| (name.to_owned(), value));
    Judged::Refused(Refusal {
        code,
        reason: reason.into(),
        facts: facts.into(),
    })
}

fn not_found() -> Judged {
    refused(Code::NotFound, "ALLOCATION_NOT_FOUND", [])
}

/// `holder`: the record that has the key; one that was only validated has no id.
fn reused(field: &str, holder: Option<Uuid>) -> Judged {
    let (code, reason) = (Code::AlreadyExists, "IDEMPOTENCY_KEY_REUSED");
    let field = ("field", field.into());
    match holder.filter(|id| !id.is_nil()) {
        None => refused(code, reason, [field]),
        Some(id) => refused(code, reason, [field, ("id", id.to_string())]),
    }
}

fn insufficient(available: i128, requested: i128, unit: Unit, account: &str) -> Judged {
    let facts = [
        ("account", account.to_owned()),
        ("available", available.to_string()),
        ("requested", requested.to_string()),
        ("currency", unit.into()),
    ];
    refused(Code::FailedPrecondition, "INSUFFICIENT_BALANCE", facts)
}
