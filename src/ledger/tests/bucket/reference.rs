//! What the contract says of buckets, written down a second time and as simply as possible: plain integers, one list of
//! actions a bucket, and `validate_only` as a try on a copy. It shares no code with the judgement, only its types.

use std::collections::{BTreeMap, BTreeSet};

use rust_decimal::Decimal;

use crate::ledger::account::Balance;
use crate::ledger::bucket::model::{
    ActionEffect, ActionKind, ActionStatus, BucketStatus, CostOwner,
};
use crate::ledger::bucket::request::{
    ActionRequest, BucketOperation, BucketReply, CreateBucket, PerformAction, Quantity,
    ReserveDraw, TransferRequest, UpdateBucket,
};
use crate::ledger::kind::Origin;
use crate::ledger::tests::bucket::shown_id;
use crate::ledger::tests::command::{Action, Command};
use crate::types::amount::Amount;
use crate::types::content::ContentHash;
use crate::types::ids::{ActionId, OwnerId, ordered_id};
use crate::types::time::Time;
use crate::types::unit::Unit;

/// One whole, counted in the last of twelve places.
pub(super) const ONE: i128 = 1_000_000_000_000;
/// A bucket holds less than 10^16.
pub(super) const ROOM: i128 = 10_i128.pow(16) * ONE;
const YEAR_AND_A_DAY_MICROS: i64 = 366 * 24 * 60 * 60 * 1_000_000;

pub(super) fn amount(value: i128) -> Amount {
    Amount::from_decimal(Decimal::from_i128_with_scale(value, 12)).expect("at most 28 digits")
}

pub(super) fn number(amount: Amount) -> i128 {
    let text = amount.to_string();
    let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
    format!("{whole}{fraction:0<12}").parse().expect("digits")
}

/// Whether a number has at most 28 digits, not counting zeros at the end behind the point.
fn fits(value: i128) -> bool {
    let (mut value, mut places) = (value.abs(), 12);
    while places > 0 && value % 10 == 0 {
        (value, places) = (value / 10, places - 1);
    }
    value < 10_i128.pow(28)
}

/// What should become of a command.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Answer {
    Later,
    Expired,
    Refused(Refusal),
    Shown(Box<Shown>),
}

#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Refusal {
    pub(super) name: String,
    pub(super) numbers: Vec<String>,
}

/// A bucket and an action, as far as they can differ.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Shown {
    pub(super) origin: Origin,
    balance: Balance,
    version: i64,
    status: BucketStatus,
    pub(super) action: Option<ShownAction>,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct ShownAction {
    id: ActionId,
    pub(super) kind: ActionKind,
    pub(super) status: ActionStatus,
    amount: Amount,
    remaining: Option<Amount>,
}

impl Answer {
    pub(super) fn of(reply: &BucketReply) -> Self {
        let action = reply.action.as_ref().map(|action| ShownAction {
            id: action.id,
            kind: action.kind(),
            status: action.status,
            amount: action.amount,
            remaining: match &action.effect {
                ActionEffect::Reserve(reserve) => Some(reserve.remaining),
                _ => None,
            },
        });
        Self::Shown(Box::new(Shown {
            origin: reply.origin,
            balance: reply.balance,
            version: reply.bucket.version,
            status: reply.bucket.status,
            action,
        }))
    }
}

#[derive(Debug, Default)]
pub(super) struct Reference {
    buckets: BTreeMap<OwnerId, Bucket>,
}

#[derive(Clone, Debug)]
struct Bucket {
    id: String,
    unit: Unit,
    status: BucketStatus,
    from: Option<i64>,
    to: Option<i64>,
    /// The caller's content, and what the opening left.
    created: (ContentHash, Line),
    version: i64,
    /// Key, content, and what was there.
    updates: Vec<(String, ContentHash, Line)>,
    /// The same of what closed it.
    closed: Option<(String, ContentHash)>,
    line: Line,
    world: i128,
    transit: i128,
    actions: Vec<Record>,
    last_micros: i64,
    /// More was due than this batch released.
    crowded: bool,
}

/// The bucket's own account.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Line {
    free: i128,
    held: i128,
    changes: i64,
    /// How many reserves are open.
    open: i64,
}

#[derive(Clone, Debug)]
struct Record {
    id: ActionId,
    kind: ActionKind,
    key: String,
    content: ContentHash,
    amount: i128,
    /// What a reserve still holds.
    remaining: i128,
    status: ActionStatus,
    expires: Option<i64>,
    left: Line,
}

impl Line {
    fn shown(self) -> Balance {
        Balance {
            available: amount(self.free),
            held: amount(self.held),
            version: self.changes,
            reservation_count: self.open,
        }
    }
}

type Verdict<T> = Result<T, Refusal>;

fn refuse<T>(name: &str) -> Verdict<T> {
    Err(Refusal {
        name: name.into(),
        numbers: Vec::new(),
    })
}

fn refuse_of<T>(name: &str, numbers: &[String]) -> Verdict<T> {
    Err(Refusal {
        name: name.into(),
        numbers: numbers.to_vec(),
    })
}

impl Bucket {
    fn reads(&self, now: i64) -> BucketStatus {
        if self.status == BucketStatus::Active && self.to.is_some_and(|to| to < now) {
            BucketStatus::Expired
        } else {
            self.status
        }
    }

    fn usable(&self, now: i64) -> Verdict<()> {
        let status = self.reads(now);
        let early = self.from.is_some_and(|from| now < from);
        if status == BucketStatus::Active && !early {
            return Ok(());
        }
        self.unusable(now)
    }

    fn unusable<T>(&self, now: i64) -> Verdict<T> {
        let name = format!("BucketNotUsable {}", self.reads(now).as_str());
        refuse_of(&name, std::slice::from_ref(&self.id))
    }

    fn insufficient<T>(&self, available: i128, requested: i128) -> Verdict<T> {
        let text = |value: i128| amount(value).to_string();
        let numbers = [text(available), text(requested), self.id.clone()];
        refuse_of("InsufficientBalance", &numbers)
    }

    fn full<T>(&self) -> Verdict<T> {
        refuse_of("BalanceLimit", std::slice::from_ref(&self.id))
    }

    /// A key or an id of the bucket that is used a second time.
    fn taken<T>(&self, name: &str) -> Verdict<T> {
        let version = Some(self.version + self.line.changes);
        refuse_of(name, &[self.id.clone(), format!("{version:?}")])
    }

    fn unit_fits(&self, quantity: &Quantity, field: &str) -> Verdict<()> {
        if quantity.unit == self.unit {
            return Ok(());
        }
        refuse(&format!("InvalidRequest {field}"))
    }

    fn next(&self, now: i64) -> i64 {
        now.max(self.last_micros + 1)
    }

    fn room(&self, value: i128) -> Verdict<()> {
        if self.line.free + self.line.held + value < ROOM {
            return Ok(());
        }
        self.full()
    }

    fn moves(&mut self, free: i128, held: i128, time: i64) {
        self.line = Line {
            free: self.line.free + free,
            held: self.line.held + held,
            changes: self.line.changes + 1,
            open: self.line.open,
        };
        self.last_micros = time;
    }

    /// From or to the world: its account may have to count more than it can.
    fn world_moves(&mut self, value: i128) -> Verdict<()> {
        self.world += value;
        if fits(self.world) {
            Ok(())
        } else {
            self.full()
        }
    }

    fn transit_moves(&mut self, value: i128) -> Verdict<()> {
        self.transit += value;
        if fits(self.transit) {
            Ok(())
        } else {
            self.full()
        }
    }

    fn reserve(&mut self, id: ActionId) -> Verdict<usize> {
        let is_it = |record: &Record| record.id == id && record.kind == ActionKind::Reserve;
        match self.actions.iter().position(is_it) {
            Some(place) => Ok(place),
            None => refuse("ActionNotFound"),
        }
    }

    fn open(&self, place: usize) -> Verdict<i128> {
        let record = &self.actions[place];
        match record.status {
            ActionStatus::Created => Ok(record.remaining),
            other => refuse(&format!("AlreadyTerminal {}", other.as_str())),
        }
    }

    /// A reserve holds less; what it holds no more was used, or else given back.
    fn keeps(&mut self, place: usize, kept: i128, was_used: bool) {
        let record = &mut self.actions[place];
        let was_used = was_used || record.remaining < record.amount;
        record.remaining = kept;
        if kept == 0 {
            self.line.open -= 1;
            record.status = match was_used {
                true => ActionStatus::Completed,
                false => ActionStatus::Cancelled,
            };
        }
    }

    fn shown(&self, origin: Origin, line: Line, action: Option<&Record>) -> Answer {
        let action = action.map(|record| ShownAction {
            id: shown_id(origin, record.id),
            kind: record.kind,
            status: record.status,
            amount: amount(record.amount),
            remaining: (record.kind == ActionKind::Reserve).then(|| amount(record.remaining)),
        });
        Answer::Shown(Box::new(Shown {
            origin,
            balance: line.shown(),
            version: self.version,
            status: self.status,
            action,
        }))
    }
}

impl Reference {
    /// A batch begins: of each of its buckets, the oldest due reserves are released.
    pub(super) fn begin(&mut self, now: i64, owners: &BTreeSet<OwnerId>, release_max: usize) {
        for (_, bucket) in self
            .buckets
            .iter_mut()
            .filter(|(id, _)| owners.contains(id))
        {
            let mut due: Vec<(i64, ActionId, usize)> = Vec::new();
            for (place, record) in bucket.actions.iter().enumerate() {
                if let Some(expires) = record.expires
                    && expires <= now
                    && record.status == ActionStatus::Created
                {
                    due.push((expires, record.id, place));
                }
            }
            due.sort_unstable();
            bucket.crowded = due.len() > release_max;
            for (_, _, place) in due.into_iter().take(release_max) {
                let (rest, time) = (bucket.actions[place].remaining, bucket.next(now));
                bucket.moves(rest, -rest, time);
                bucket.keeps(place, 0, false);
            }
        }
    }

    /// One command, after those before it.
    pub(super) fn judge(&mut self, now: i64, command: &Command) -> Answer {
        let is_crowded = |owner| self.buckets.get(&owner).is_some_and(|found| found.crowded);
        if command.owners().any(is_crowded) {
            return Answer::Later;
        }
        let Action::Bucket(asked) = &command.action else {
            return Answer::Expired;
        };
        let before = self.buckets.clone();
        let origin = if command.validate_only {
            Origin::Validated
        } else {
            Origin::Done
        };
        let answer = match &asked.operation {
            BucketOperation::Create(create) => {
                let id = asked.bucket.clone();
                self.create(now, (command.owner, id), origin, create)
            }
            BucketOperation::Update(update) => self.update(now, command.owner, origin, update),
            BucketOperation::Act(act) => match act.action {
                ActionRequest::Close {
                    write_off,
                    expected_version,
                } => self.close(now, command, origin, (act, write_off, expected_version)),
                _ => self.act(now, command, origin, act),
            },
        };
        if command.validate_only || answer.is_err() {
            self.buckets = before;
        }
        answer.unwrap_or_else(Answer::Refused)
    }

    fn create(
        &mut self,
        now: i64,
        (owner, id): (OwnerId, String),
        origin: Origin,
        create: &CreateBucket,
    ) -> Verdict<Answer> {
        if let Some(bucket) = self.buckets.get(&owner) {
            let (content, line) = bucket.created;
            return match (content == create.content, create.id_given) {
                (true, _) => Ok(bucket.shown(Origin::Replayed, line, None)),
                (false, true) => bucket.taken("BucketExists"),
                (false, false) => bucket.taken("IdempotencyKeyReused"),
            };
        }
        let value = number(create.value.amount);
        let line = Line {
            free: value,
            held: 0,
            changes: i64::from(value > 0),
            open: 0,
        };
        let bucket = Bucket {
            id,
            unit: create.value.unit.clone(),
            status: create.status,
            from: None,
            to: None,
            created: (create.content, line),
            version: 1,
            updates: Vec::new(),
            closed: None,
            line,
            world: -value,
            transit: 0,
            actions: Vec::new(),
            last_micros: now,
            crowded: false,
        };
        let answer = bucket.shown(origin, line, None);
        self.buckets.insert(owner, bucket);
        Ok(answer)
    }

    fn update(
        &mut self,
        now: i64,
        owner: OwnerId,
        origin: Origin,
        update: &UpdateBucket,
    ) -> Verdict<Answer> {
        let Some(bucket) = self.buckets.get_mut(&owner) else {
            return refuse("BucketNotFound");
        };
        if let Some(key) = &update.request_id
            && let Some((_, content, line)) = bucket.updates.iter().find(|made| made.0 == *key)
        {
            return match *content == update.content {
                true => Ok(bucket.shown(Origin::Replayed, *line, None)),
                false => bucket.taken("IdempotencyKeyReused"),
            };
        }
        let actual = bucket.version + bucket.line.changes;
        if let Some(expected) = update.expected_version
            && expected != actual
        {
            return Err(Refusal {
                name: "VersionMismatch".into(),
                numbers: vec![expected.to_string(), actual.to_string()],
            });
        }
        if bucket.status == BucketStatus::Closed {
            return refuse("AlreadyTerminal CLOSED");
        }
        let Line { free, held, .. } = bucket.line;
        if update.status == Some(BucketStatus::Closed) && (free, held) != (0, 0) {
            return bucket.unusable(now);
        }
        let before = (bucket.status, bucket.from, bucket.to);
        bucket.status = update.status.unwrap_or(bucket.status);
        if let Some(validity) = update.validity {
            bucket.from = validity.from.map(Time::micros);
            bucket.to = validity.to.map(Time::micros);
        }
        if before != (bucket.status, bucket.from, bucket.to) {
            bucket.version += 1;
            bucket.last_micros = bucket.next(now);
        }
        if let Some(key) = &update.request_id {
            let made = (key.clone(), update.content, bucket.line);
            bucket.updates.push(made);
        }
        Ok(bucket.shown(origin, bucket.line, None))
    }

    /// What is left is written off, if it may be; then it is closed for ever.
    fn close(
        &mut self,
        now: i64,
        command: &Command,
        origin: Origin,
        (act, write_off, expected): (&PerformAction, bool, Option<i64>),
    ) -> Verdict<Answer> {
        let Some(bucket) = self.buckets.get_mut(&command.owner) else {
            return refuse("BucketNotFound");
        };
        let done = |record: &&Record| record.kind == ActionKind::WriteOff;
        if let Some((key, content)) = &bucket.closed
            && *key == act.request_id
        {
            let record = bucket.actions.iter().find(done);
            return match *content == act.content {
                true => Ok(bucket.shown(Origin::Replayed, bucket.line, record)),
                false => bucket.taken("IdempotencyKeyReused"),
            };
        }
        let actual = bucket.version + bucket.line.changes;
        if let Some(expected) = expected
            && expected != actual
        {
            return refuse_of(
                "VersionMismatch",
                &[expected.to_string(), actual.to_string()],
            );
        }
        if bucket.status == BucketStatus::Closed {
            return refuse("AlreadyTerminal CLOSED");
        }
        let Line { free, held, .. } = bucket.line;
        if held > 0 || free > 0 && !write_off {
            return bucket.unusable(now);
        }
        let time = bucket.next(now);
        bucket.last_micros = time;
        if free > 0 {
            bucket.world_moves(free)?;
            bucket.moves(-free, 0, time);
            let moment = Time::from_micros(time).expect("in range");
            bucket.actions.push(Record {
                id: ActionId(ordered_id(moment, command.entropy)),
                kind: ActionKind::WriteOff,
                key: act.request_id.clone(),
                content: act.content,
                amount: -free,
                remaining: 0,
                status: ActionStatus::Completed,
                expires: None,
                left: bucket.line,
            });
        }
        bucket.status = BucketStatus::Closed;
        bucket.version += 1;
        bucket.closed = Some((act.request_id.clone(), act.content));
        let record = bucket.actions.iter().find(done);
        Ok(bucket.shown(origin, bucket.line, record))
    }

    #[expect(
        clippy::too_many_lines,
        reason = "the rules of an action in their order, to be compared with the documentation"
    )]
    fn act(
        &mut self,
        now: i64,
        command: &Command,
        origin: Origin,
        act: &PerformAction,
    ) -> Verdict<Answer> {
        let Some(bucket) = self.buckets.get_mut(&command.owner) else {
            return refuse("BucketNotFound");
        };
        let kind = act.action.kind();
        let known = |record: &&Record| (record.kind, &record.key) == (kind, &act.request_id);
        if let Some(record) = bucket.actions.iter().find(known) {
            return match record.content == act.content {
                true => Ok(bucket.shown(Origin::Replayed, record.left, Some(record))),
                false => refuse_of(
                    "IdempotencyKeyReused",
                    &[record.id.to_string(), "None".into()],
                ),
            };
        }
        let mut time = bucket.next(now);
        let mut expires = None;
        let mut used = None;
        let value = match &act.action {
            ActionRequest::Topup {
                quantity,
                valid_for_end,
            } => {
                let end = valid_for_end.map(Time::micros);
                let is_extended = bucket.extend(now, quantity, end)?;
                let value = bucket.add(now, time, quantity)?;
                bucket.version += i64::from(is_extended);
                value
            }
            ActionRequest::Adjust(quantity) if number(quantity.amount) > 0 => {
                bucket.add(now, time, quantity)?
            }
            ActionRequest::Adjust(quantity) => {
                bucket.unit_fits(quantity, "amount.units")?;
                if bucket.status == BucketStatus::Closed {
                    bucket.usable(now)?;
                }
                bucket.take(time, -number(quantity.amount))?
            }
            ActionRequest::Deduct {
                quantity,
                from: None,
            } => {
                bucket.unit_fits(quantity, "amount.units")?;
                bucket.usable(now)?;
                bucket.take(time, number(quantity.amount))?
            }
            ActionRequest::Close { .. } => return refuse("no action"),
            ActionRequest::Deduct {
                quantity,
                from: Some(from),
            } => {
                let (place, kept) = bucket.draw(now, time, quantity, *from)?;
                used = Some((place, kept, true));
                number(quantity.amount)
            }
            ActionRequest::Unreserve { reserve } => {
                let place = bucket.reserve(*reserve)?;
                let rest = bucket.open(place)?;
                bucket.moves(rest, -rest, time);
                used = Some((place, 0, false));
                rest
            }
            ActionRequest::Reserve {
                quantity,
                expire_time,
            } => {
                expires = expire_time.map(Time::micros);
                let late = now + YEAR_AND_A_DAY_MICROS;
                if expires.is_some_and(|expires| expires <= now || expires > late) {
                    return refuse("InvalidRequest expire_time");
                }
                bucket.hold(now, time, quantity)?
            }
            ActionRequest::Transfer(gift) => {
                time = self.transfer(now, command.owner, gift)?;
                number(gift.quantity.amount)
            }
        };
        let Some(bucket) = self.buckets.get_mut(&command.owner) else {
            return refuse("BucketNotFound");
        };
        if let Some((place, kept, was_used)) = used {
            bucket.keeps(place, kept, was_used);
        }
        let moment = Time::from_micros(time).expect("in range");
        let is_reserve = kind == ActionKind::Reserve;
        let record = Record {
            id: ActionId(ordered_id(moment, command.entropy)),
            kind,
            key: act.request_id.clone(),
            content: act.content,
            amount: match &act.action {
                ActionRequest::Adjust(quantity) => number(quantity.amount),
                _ => value,
            },
            remaining: if is_reserve { value } else { 0 },
            status: match is_reserve {
                true => ActionStatus::Created,
                false => ActionStatus::Completed,
            },
            expires,
            left: bucket.line,
        };
        let answer = bucket.shown(origin, bucket.line, Some(&record));
        bucket.actions.push(record);
        Ok(answer)
    }

    /// Both sides, and the price; when it was.
    fn transfer(&mut self, now: i64, owner: OwnerId, gift: &TransferRequest) -> Verdict<i64> {
        if gift.receiver == owner {
            return refuse("InvalidRequest receiver_bucket_id");
        }
        let Some(mut taker) = self.buckets.get(&gift.receiver).cloned() else {
            return refuse("BucketNotFound");
        };
        let Some(giver) = self.buckets.get_mut(&owner) else {
            return refuse("BucketNotFound");
        };
        giver.unit_fits(&gift.quantity, "amount.units")?;
        if taker.unit != giver.unit {
            return refuse("InvalidRequest receiver_bucket_id");
        }
        if let Some((cost, _)) = &gift.cost {
            giver.unit_fits(cost, "transfer_cost.units")?;
        }
        giver.usable(now)?;
        taker.usable(now)?;
        let value = number(gift.quantity.amount);
        let cost = gift
            .cost
            .as_ref()
            .map(|(cost, payer)| (number(cost.amount), *payer));
        let of_giver = match cost {
            Some((cost, CostOwner::Originator)) if fits(value + cost) => value + cost,
            Some((_, CostOwner::Originator)) => ROOM,
            _ => value,
        };
        let free = giver.line.free;
        if free < value {
            return giver.insufficient(free, of_giver);
        }
        let time = giver.next(now).max(taker.next(now));
        giver.transit_moves(value)?;
        taker.room(value)?;
        taker.transit_moves(-value)?;
        giver.moves(-value, 0, time);
        taker.moves(value, 0, time);
        if let Some((cost, payer)) = cost {
            let (payer, available, requested) = match payer {
                CostOwner::Originator => (&mut *giver, free, of_giver),
                CostOwner::Receiver => {
                    let free = taker.line.free;
                    (&mut taker, free, cost)
                }
            };
            if payer.line.free < cost {
                return payer.insufficient(available, requested);
            }
            payer.world_moves(cost)?;
            payer.moves(-cost, 0, time + 1);
        }
        self.buckets.insert(gift.receiver, taker);
        Ok(time)
    }

    pub(super) fn balances(&self) -> BTreeMap<OwnerId, Balance> {
        let lines = self.buckets.iter();
        lines
            .map(|(id, bucket)| (*id, bucket.line.shown()))
            .collect()
    }

    pub(super) fn free(&self, owner: OwnerId) -> i128 {
        self.buckets.get(&owner).map_or(0, |found| found.line.free)
    }

    pub(super) fn total(&self, owner: OwnerId) -> i128 {
        let line = self.buckets.get(&owner).map(|found| found.line);
        line.map_or(0, |line| line.free + line.held)
    }

    pub(super) fn version(&self, owner: OwnerId) -> i64 {
        let found = self.buckets.get(&owner);
        found.map_or(0, |found| found.version + found.line.changes)
    }

    pub(super) fn held_by(&self, owner: OwnerId, id: ActionId) -> i128 {
        let bucket = self.buckets.get(&owner);
        let mut records = bucket.into_iter().flat_map(|bucket| &bucket.actions);
        records
            .find(|record| record.id == id)
            .map_or(0, |record| record.remaining)
    }

    /// The open reserves of a bucket, oldest first.
    pub(super) fn open(&self, owner: OwnerId) -> Vec<ActionId> {
        let bucket = self.buckets.get(&owner);
        let records = bucket.into_iter().flat_map(|bucket| &bucket.actions);
        let open = records.filter(|record| record.status == ActionStatus::Created);
        open.map(|record| record.id).collect()
    }

    /// All actions of all buckets.
    pub(super) fn all(&self) -> Vec<ActionId> {
        let records = self.buckets.values().flat_map(|bucket| &bucket.actions);
        records.map(|record| record.id).collect()
    }
}

impl Bucket {
    fn add(&mut self, now: i64, time: i64, quantity: &Quantity) -> Verdict<i128> {
        self.unit_fits(quantity, "amount.units")?;
        self.usable(now)?;
        let value = number(quantity.amount);
        self.room(value)?;
        self.world_moves(-value)?;
        self.moves(value, 0, time);
        Ok(value)
    }

    /// A later end, and no longer EXPIRED: whether anything is new.
    fn extend(&mut self, now: i64, quantity: &Quantity, end: Option<i64>) -> Verdict<bool> {
        if end.is_some_and(|end| end <= now) {
            return refuse("InvalidRequest valid_for_end");
        }
        self.unit_fits(quantity, "amount.units")?;
        let Some(end) = end else {
            return Ok(false);
        };
        if self.from.is_some_and(|from| end <= from) {
            return refuse("InvalidRequest valid_for_end");
        }
        let before = (self.to, self.status);
        if self.to.is_some_and(|to| to < end) {
            self.to = Some(end);
        }
        if self.status == BucketStatus::Expired {
            self.status = BucketStatus::Active;
        }
        Ok(before != (self.to, self.status))
    }

    fn take(&mut self, time: i64, value: i128) -> Verdict<i128> {
        if self.line.free < value {
            return self.insufficient(self.line.free, value);
        }
        self.world_moves(value)?;
        self.moves(-value, 0, time);
        Ok(value)
    }

    fn hold(&mut self, now: i64, time: i64, quantity: &Quantity) -> Verdict<i128> {
        self.unit_fits(quantity, "amount.units")?;
        self.usable(now)?;
        let value = number(quantity.amount);
        if self.line.free < value {
            return self.insufficient(self.line.free, value);
        }
        self.moves(-value, value, time);
        self.line.open += 1;
        Ok(value)
    }

    /// Which reserve, and what is left of it.
    fn draw(
        &mut self,
        now: i64,
        time: i64,
        quantity: &Quantity,
        from: ReserveDraw,
    ) -> Verdict<(usize, i128)> {
        let place = self.reserve(from.reserve)?;
        self.unit_fits(quantity, "amount.units")?;
        if self.status == BucketStatus::Closed {
            self.usable(now)?;
        }
        let held = self.open(place)?;
        let value = number(quantity.amount);
        if held < value {
            return self.insufficient(held, value);
        }
        let rest = held - value;
        self.world_moves(value)?;
        if from.keep_rest {
            self.moves(0, -value, time);
            Ok((place, rest))
        } else {
            self.moves(rest, -held, time);
            Ok((place, 0))
        }
    }
}
