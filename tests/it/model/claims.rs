//! Assigns each movement to the call that made it.

use std::collections::HashMap;

use uuid::Uuid;

use super::call::{
    Account, Answer, Call, Cause, Close, Command, Direction, Item, Movement, Record, Subject,
    Verdict,
};
use super::check::{Breach, Past, create_of};

/// A call, or one item of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Part {
    pub(super) call: usize,
    pub(super) item: usize,
}

/// The effect of a movement, which is unique.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct MovementEffect {
    is_closing: bool,
    subject: Subject,
}

impl MovementEffect {
    fn opened(id: Uuid) -> Self {
        Self {
            is_closing: false,
            subject: Subject::Record(id),
        }
    }

    fn closed(id: Uuid) -> Self {
        Self {
            is_closing: true,
            subject: Subject::Record(id),
        }
    }

    fn adjusted(key: &str) -> Self {
        Self {
            is_closing: false,
            subject: Subject::Adjustment(key.into()),
        }
    }
}

/// Acknowledged effects, and calls whose outcome is unknown.
pub(super) struct Claims<'a> {
    past: &'a Past<'a>,
    told: HashMap<MovementEffect, Part>,
    records: HashMap<Uuid, &'a Record>,
    untold_creates: HashMap<(Direction, &'a str), Vec<Part>>,
    untold_closes: HashMap<Uuid, Vec<Part>>,
    untold_adjusts: Vec<Part>,
}

impl<'a> Claims<'a> {
    pub(super) fn of(past: &'a Past<'a>) -> Result<Self, Breach> {
        let records = past.records.iter().map(|record| (record.id, record));
        let mut claims = Self {
            past,
            told: HashMap::new(),
            records: records.collect(),
            untold_creates: HashMap::new(),
            untold_closes: HashMap::new(),
            untold_adjusts: Vec::new(),
        };
        for (index, call) in past.calls.iter().enumerate() {
            if call.validate_only || !call.command.is_write() {
                continue;
            }
            match &call.answer {
                answer if answer.is_unknown() => claims.add_untold(index, call),
                Answer::Items(items) => {
                    for (item, answer) in items.iter().enumerate() {
                        claims.add_item(Part { call: index, item }, answer)?;
                    }
                }
                answer => claims.add_told(index, &call.command, answer)?,
            }
        }
        Ok(claims)
    }

    fn add_told(
        &mut self,
        index: usize,
        command: &'a Command,
        answer: &Answer,
    ) -> Result<(), Breach> {
        let part = Part {
            call: index,
            item: 0,
        };
        match (command, answer) {
            (
                Command::Adjust(adjust),
                Answer::Adjusted {
                    replayed: false, ..
                },
            ) => self.add(MovementEffect::adjusted(&adjust.key), part),
            (
                Command::Create(_),
                Answer::Record {
                    record,
                    replayed: false,
                    ..
                },
            ) => self.add(MovementEffect::opened(record.id), part),
            (
                Command::Close(_),
                Answer::Record {
                    record,
                    replayed: false,
                    ..
                },
            ) => self.add(MovementEffect::closed(record.id), part),
            _ => Ok(()),
        }
    }

    fn add_item(&mut self, part: Part, answer: &Item) -> Result<(), Breach> {
        match answer {
            Item::Record {
                record,
                replayed: false,
            } => self.add(MovementEffect::opened(record.id), part),
            _ => Ok(()),
        }
    }

    fn add(&mut self, effect: MovementEffect, part: Part) -> Result<(), Breach> {
        match self.told.insert(effect.clone(), part) {
            None => Ok(()),
            Some(other) => {
                let what = format!("L6: {other:?} and {part:?} both were told: {effect:?}");
                Err(Breach::new(what).of(part.call))
            }
        }
    }

    fn add_untold(&mut self, index: usize, call: &'a Call) {
        for item in 0..call.command.weight() {
            let part = Part { call: index, item };
            match (&call.command, create_of(call, part)) {
                (_, Some(create)) => {
                    let key = (create.direction, &*create.key);
                    self.untold_creates.entry(key).or_default().push(part);
                }
                (Command::Close(close), _) => {
                    self.untold_closes.entry(close.id).or_default().push(part);
                }
                _ => self.untold_adjusts.push(part),
            }
        }
    }

    /// The call that made a movement; among calls without an answer the earliest, which is the only one possible.
    pub(super) fn take(&mut self, movement: &Movement) -> Option<Part> {
        let id = match &movement.subject {
            Subject::Record(id) => *id,
            Subject::Adjustment(key) => return self.adjust(key, movement),
        };
        match movement.cause {
            Cause::Reserve | Cause::Instant => {
                let told = self.told.remove(&MovementEffect::opened(id));
                told.or_else(|| self.untold_create(id))
            }
            Cause::Clear | Cause::Release | Cause::Cancel => {
                let told = self.told.remove(&MovementEffect::closed(id));
                told.or_else(|| self.untold_close(id, movement.cause))
            }
            Cause::Adjust | Cause::Expire => None,
        }
    }

    fn earliest(&self, parts: impl Iterator<Item = Part>) -> Option<Part> {
        parts.min_by_key(|part| self.past.calls[part.call].asked.order)
    }

    fn untold_create(&self, id: Uuid) -> Option<Part> {
        let record = *self.records.get(&id)?;
        let candidates = self
            .untold_creates
            .get(&(record.direction, &*record.key))?
            .iter()
            .copied();
        let same = candidates.filter(|part| {
            create_of(&self.past.calls[part.call], *part).is_some_and(|create| {
                create.connection == record.connection
                    && create.unit == record.unit
                    && create.quantity == record.quantity
                    && create.notes == record.notes
                    && create.expire_time == record.expire_time
            })
        });
        self.earliest(same)
    }

    fn untold_close(&self, id: Uuid, cause: Cause) -> Option<Part> {
        let record = *self.records.get(&id)?;
        let candidates = self.untold_closes.get(&id)?.iter().copied();
        let same = candidates.filter(|part| match &self.past.calls[part.call].command {
            Command::Close(close) => led_to(close, cause, record),
            _ => false,
        });
        self.earliest(same)
    }

    fn adjust(&mut self, key: &str, movement: &Movement) -> Option<Part> {
        let told = self.told.remove(&MovementEffect::adjusted(key));
        told.or_else(|| {
            let candidates = self.untold_adjusts.iter().copied();
            let same = candidates.filter(|part| {
                let Command::Adjust(adjust) = &self.past.calls[part.call].command else {
                    return false;
                };
                let leg = movement.legs.get(&(Account::Custody, adjust.unit));
                adjust.key == key && leg.is_some_and(|leg| leg.available_delta == adjust.quantity)
            });
            self.earliest(same)
        })
    }

    /// What was acknowledged is there.
    pub(super) fn none_is_left(&self) -> Result<(), Breach> {
        match self.told.iter().min_by_key(|(_, part)| part.call) {
            None => Ok(()),
            Some((effect, part)) => {
                let what = format!("it was acknowledged, and the journal lacks it: {effect:?}");
                Err(Breach::new(what).of(part.call))
            }
        }
    }
}

/// Whether a verdict can have closed the record as it stands.
fn led_to(close: &Close, cause: Cause, record: &Record) -> bool {
    let (by, partner_key, reason) = match &close.verdict {
        Verdict::Clear { partner_key } => (Cause::Clear, partner_key.clone(), None),
        Verdict::Release {
            partner_key,
            reason,
        } => (Cause::Release, partner_key.clone(), Some(reason.clone())),
        Verdict::Cancel { reason } => (Cause::Cancel, None, reason.clone()),
    };
    by == cause && partner_key == record.partner_key && reason == record.reason
}
