//! Checks that the recorded calls and the journal are a history that the reference allows.
//!
//! The journal has an owner's movements in order. First the reference follows it: each movement must be the
//! effect of a call, and each acknowledged effect must be there exactly once. Then every call needs a point in
//! time: a state at which the reference gives the same answer, not before a state that was visible before the
//! call began. Together this is linearizability.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap};
use std::fmt::Debug;
use std::ops::Range;

use uuid::Uuid;

use super::call::{
    Account, Answer, By, Call, Cause, Command, Create, Item, Micros, Movement, Owner, Record, Unit,
};
use super::claims::{Claims, Part};
use super::reference::{Judged, Reference, Stamp, source};

/// Due reservations are released within two seconds. The rest is for a machine that has other things to do.
const RELEASED_WITHIN: Micros = 7_000_000;

/// All that was recorded about one owner in a round.
pub(super) struct Past<'a> {
    pub(super) owner: &'a Owner,
    /// Calls that are about it.
    pub(super) calls: &'a [Call],
    /// The owner's whole journal.
    pub(super) journal: &'a [Movement],
    /// Its records as they stand at the end.
    pub(super) records: &'a [Record],
    /// Its balances at the end.
    pub(super) balances: &'a BTreeMap<(Account, Unit), super::call::Balance>,
    /// Whether a process was killed, so that calls may be lost.
    pub(super) was_killed: bool,
}

/// What contradicts the contract, and where to look.
#[derive(Debug)]
pub(super) struct Breach {
    pub(super) what: String,
    /// The movement that is wrong.
    pub(super) place: Option<usize>,
    /// The call that is wrong.
    pub(super) call: Option<usize>,
    /// The call whose answer was known before that one was made, and shows the latest state of all such.
    pub(super) known_by: Option<usize>,
}

impl Breach {
    pub(super) fn new(what: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            place: None,
            call: None,
            known_by: None,
        }
    }

    fn at(self, place: usize) -> Self {
        Self {
            place: Some(place),
            ..self
        }
    }

    pub(super) fn of(self, call: usize) -> Self {
        Self {
            call: Some(call),
            ..self
        }
    }
}

/// What was found besides: shown, so that nobody takes an idle run for a good one.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Findings {
    pub(super) movements: usize,
    pub(super) expired: usize,
    /// The longest that a due reservation was held.
    pub(super) latest: Micros,
    /// Calls that had more than one state to be answered at.
    pub(super) concurrent: usize,
    /// Effects of calls whose callers were never told.
    pub(super) untold: usize,
}

pub(super) fn check(past: &Past<'_>) -> Result<Findings, Breach> {
    let mut walk = Walk {
        past,
        reference: Reference::new(past.owner),
        places: HashMap::new(),
        due: BTreeSet::new(),
        clock: 0,
        findings: Findings::default(),
    };
    walk.along_the_journal()?;
    walk.compare_the_end()?;
    let Walk {
        reference,
        places,
        findings,
        ..
    } = walk;
    Calls::new(past, &reference, &places).find_places(findings)
}

/// The first pass, along the journal.
struct Walk<'a> {
    past: &'a Past<'a>,
    reference: Reference<'a>,
    /// Which call made which movement.
    places: HashMap<Part, usize>,
    /// Open reservations that end some day, by that day.
    due: BTreeSet<(Micros, Uuid)>,
    /// The database's clock when the newest movement was judged, or earlier.
    clock: Micros,
    findings: Findings,
}

impl Walk<'_> {
    fn along_the_journal(&mut self) -> Result<(), Breach> {
        let mut claims = Claims::of(self.past)?;
        for (place, movement) in self.past.journal.iter().enumerate() {
            let change = self
                .read_clock(movement)
                .and_then(|()| self.explain(&mut claims, place, movement))
                .map_err(|breach| breach.at(place))?;
            let Judged::Done(change) = change else {
                let what = format!("a movement where the reference has none: {change:?}");
                return Err(Breach::new(what).at(place));
            };
            if change.movement != *movement {
                let what = differs("movement", &change.movement, movement);
                return Err(Breach::new(what).at(place));
            }
            self.reference.make(&change);
            self.note_due(movement);
        }
        self.findings.movements = self.past.journal.len();
        claims.none_is_left()
    }

    /// A movement bears the database's clock, unless it follows the last one at once: then it bears a microsecond more
    /// than that.
    fn read_clock(&mut self, movement: &Movement) -> Result<(), Breach> {
        let last = self.reference.time(self.reference.now()).unwrap_or(0);
        if movement.time <= last {
            return Err(Breach::new("L4: time does not go on"));
        }
        if movement.time > last + 1 {
            self.clock = movement.time;
        }
        if movement.cause == Cause::Expire {
            return Ok(());
        }
        match self.due.first() {
            Some((time, id)) if *time <= self.clock => Err(Breach::new(format!(
                "{id} was due at {time}, and is still open at {}",
                self.clock
            ))),
            _ => Ok(()),
        }
    }

    fn note_due(&mut self, movement: &Movement) {
        let now = self.reference.now();
        let record = movement.record();
        let Some(record) = record.and_then(|id| self.reference.record(now, id)) else {
            return;
        };
        let Some(time) = record.expire_time else {
            return;
        };
        if movement.cause == Cause::Reserve {
            self.due.insert((time, record.id));
        } else {
            self.due.remove(&(time, record.id));
        }
    }

    /// What the reference makes of that which the movement is the effect of.
    fn explain(
        &mut self,
        claims: &mut Claims<'_>,
        place: usize,
        movement: &Movement,
    ) -> Result<Judged, Breach> {
        let stamp = Stamp {
            id: movement.record().unwrap_or_default(),
            time: movement.time,
        };
        if movement.cause == Cause::Expire {
            return self.expire(stamp);
        }
        let part = claims
            .take(movement)
            .ok_or_else(|| Breach::new("L6: nobody asked for it, or its caller was told no"))?;
        self.places.insert(part, place);
        let call = &self.past.calls[part.call];
        self.findings.untold += usize::from(call.answer.is_unknown());
        let now = self.reference.now();
        let clock = self.clock.max(call.asked.clock);
        let judged = match (&call.command, create_of(call, part)) {
            (_, Some(create)) => self.reference.create(now, create, clock, stamp),
            (Command::Close(close), _) => self.reference.close(now, close, stamp),
            (Command::Adjust(adjust), _) => self.reference.adjust(now, adjust, stamp),
            _ => return Err(Breach::new("a read moves nothing")),
        };
        let told = told(call, part);
        if let (Some(told), Judged::Done(change)) = (told, &judged) {
            let expected = answer(call, Judged::Done(change.clone()));
            if expected != told {
                return Err(Breach::new(differs("answer", &expected, &told)).of(part.call));
            }
        }
        Ok(judged)
    }

    fn expire(&mut self, stamp: Stamp) -> Result<Judged, Breach> {
        let now = self.reference.now();
        let record = self.reference.record(now, stamp.id);
        let time = record.and_then(|record| record.expire_time);
        let time = time.ok_or_else(|| Breach::new("it was never to expire"))?;
        let late = stamp.time - time;
        if !(0..=RELEASED_WITHIN).contains(&late) {
            return Err(Breach::new(format!("it expired {late} µs after its time")));
        }
        self.findings.expired += 1;
        self.findings.latest = self.findings.latest.max(late);
        let judged = self.reference.expire(stamp);
        judged.ok_or_else(|| Breach::new("L5: it expired though it was final"))
    }

    /// What the server shows at the end is what the reference has.
    fn compare_the_end(&self) -> Result<(), Breach> {
        let now = self.reference.now();
        let shown: HashMap<Uuid, &Record> = self
            .past
            .records
            .iter()
            .map(|record| (record.id, record))
            .collect();
        for record in self.reference.records() {
            match shown.get(&record.id) {
                Some(shown) if *shown == record => {}
                shown => return Err(Breach::new(differs("record at the end", record, &shown))),
            }
        }
        let count = self.reference.records().count();
        if self.past.records.len() != count {
            return Err(Breach::new("records without a movement"));
        }
        let balances = self.reference.balances(now);
        if balances != *self.past.balances {
            let what = differs("balances at the end", &balances, self.past.balances);
            return Err(Breach::new(what));
        }
        if !self.reference.is_conserved() {
            return Err(Breach::new("L1: value was made or lost"));
        }
        let unexplained = balances.iter().find(|((account, unit), balance)| {
            let open = self.reference.open(now, *account, unit);
            open.iter().map(|open| open.quantity).sum::<i128>() != balance.held
        });
        match unexplained {
            Some(account) => Err(Breach::new(format!("L3: {account:?}"))),
            None => Ok(()),
        }
    }
}

/// The second pass, over the calls in the order in which they began.
struct Calls<'a> {
    past: &'a Past<'a>,
    reference: &'a Reference<'a>,
    places: &'a HashMap<Part, usize>,
    /// In the order in which their calls were made: the least place of a movement from there on.
    least_place: Vec<(u64, usize)>,
    /// Records that are to expire, by their time.
    ends: Vec<End<'a>>,
}

struct End<'a> {
    time: Micros,
    record: &'a Record,
    /// The states in which it is open.
    open: Range<usize>,
    /// The first state that has it and all that end before it closed.
    all_closed: usize,
}

impl<'a> Calls<'a> {
    fn new(
        past: &'a Past<'a>,
        reference: &'a Reference<'a>,
        places: &'a HashMap<Part, usize>,
    ) -> Self {
        let asked = |part: &Part| past.calls[part.call].asked.order;
        let mut least_place: Vec<(u64, usize)> = places
            .iter()
            .map(|(part, place)| (asked(part), *place))
            .collect();
        least_place.sort_unstable();
        let mut least = usize::MAX;
        for (_, place) in least_place.iter_mut().rev() {
            least = least.min(*place);
            *place = least;
        }
        let ends = ends_of(reference);
        Self {
            past,
            reference,
            places,
            least_place,
            ends,
        }
    }

    fn find_places(&self, mut findings: Findings) -> Result<Findings, Breach> {
        let calls = self.past.calls;
        let mut order: Vec<usize> = (0..calls.len()).collect();
        order.sort_unstable_by_key(|index| calls[*index].asked.order);
        let mut known = BinaryHeap::new();
        let (mut floor, mut known_by) = (0, None);
        for index in order {
            let call = &calls[index];
            while let Some(Reverse((answered, state, knower))) = known.peek() {
                if *answered > call.asked.order {
                    break;
                }
                if *state > floor {
                    (floor, known_by) = (*state, Some(*knower));
                }
                known.pop();
            }
            let ceiling = self.ceiling(call);
            let found = self.place(index, floor, ceiling);
            let state = found.map_err(|breach| Breach {
                known_by,
                ..breach.of(index)
            })?;
            findings.concurrent += usize::from(floor < ceiling);
            if call.known_at() < u64::MAX {
                known.push(Reverse((call.known_at(), state, index)));
            }
        }
        Ok(findings)
    }

    /// The last state that it may have seen: what was asked only after its answer comes behind.
    fn ceiling(&self, call: &Call) -> usize {
        let answered = call.known_at();
        let later = self
            .least_place
            .partition_point(|(asked, _)| *asked <= answered);
        let place = self.least_place.get(later).map(|(_, place)| *place);
        place.unwrap_or_else(|| self.reference.now())
    }

    /// The least state that a call shows to have been there, at or after `floor`.
    fn place(&self, index: usize, floor: usize, ceiling: usize) -> Result<usize, Breach> {
        let call = &self.past.calls[index];
        let floor = floor.max(self.due_before(call));
        match &call.answer {
            Answer::Busy(_) => Ok(0),
            Answer::Lost(why) if !self.past.was_killed => Err(Breach::new(format!(
                "nobody knows what became of it: {why}"
            ))),
            Answer::Items(items) if !call.validate_only => {
                let mut state = floor;
                for (at, item) in items.iter().enumerate() {
                    let part = Part {
                        call: index,
                        item: at,
                    };
                    state = match self.moved(part, state)? {
                        Some(state) => state,
                        None => self.item_answered(call, at, item, state, ceiling)?,
                    };
                }
                Ok(state)
            }
            answer if answer.is_unknown() => {
                let mut state = floor;
                for item in 0..call.command.weight() {
                    let part = Part { call: index, item };
                    state = self.moved(part, state)?.unwrap_or(state);
                }
                Ok(state)
            }
            _ => {
                let part = Part {
                    call: index,
                    item: 0,
                };
                match self.moved(part, floor)? {
                    Some(state) => Ok(state),
                    None => self.answered(call, floor, ceiling),
                }
            }
        }
    }

    /// The state after the movement that it made, if it made one.
    fn moved(&self, part: Part, floor: usize) -> Result<Option<usize>, Breach> {
        match self.places.get(&part) {
            Some(place) if *place < floor => Err(Breach::new(format!(
                "it is movement {place}, but movement {} was known of before",
                floor - 1
            ))
            .at(*place)),
            Some(place) => Ok(Some(place + 1)),
            None => Ok(None),
        }
    }

    /// All that was due before a write was asked for is closed before it is judged: its clock is behind that of whoever
    /// opened these.
    fn due_before(&self, call: &Call) -> usize {
        let is_judged = match &call.answer {
            // Who asks is looked at first, and for that no record is read.
            Answer::Refused(refusal) => [
                "ALREADY_TERMINAL",
                "IDEMPOTENCY_KEY_REUSED",
                "INSUFFICIENT_BALANCE",
            ]
            .contains(&&*refusal.reason),
            Answer::Busy(_) | Answer::Left | Answer::Lost(_) => false,
            _ => call.command.is_write(),
        };
        if !is_judged {
            return 0;
        }
        let due = self.due_at(call.asked.clock);
        due.last().map_or(0, |end| end.all_closed)
    }

    fn due_at(&self, clock: Micros) -> &[End<'a>] {
        let due = self.ends.partition_point(|end| end.time <= clock);
        &self.ends[..due]
    }

    /// Whether a state shows a read something open that was due before it was asked for.
    fn shows_due(&self, call: &Call, state: usize) -> bool {
        if matches!(call.answer, Answer::Refused(_)) {
            return false;
        }
        let is_shown = |record: &Record| match &call.command {
            Command::Get { id, .. } => *id == record.id,
            Command::GetBalance { account, unit } => {
                record.unit == *unit && source(record) == *account
            }
            Command::ListBalances => true,
            _ => false,
        };
        let due = self.due_at(call.asked.clock);
        let mut open = due.iter().filter(|end| end.open.contains(&state));
        open.any(|end| is_shown(end.record))
    }

    fn item_answered(
        &self,
        call: &Call,
        at: usize,
        item: &Item,
        floor: usize,
        ceiling: usize,
    ) -> Result<usize, Breach> {
        let Command::Submit(creates) = &call.command else {
            return Err(Breach::new("items without a submission"));
        };
        let answer_at = |state, clock| {
            let judged = self
                .reference
                .create(state, &creates[at], clock, Stamp::default());
            judged.into_item()
        };
        search(call, item, floor, ceiling, answer_at)
            .map_err(|breach| Breach::new(format!("item {at}: {}", breach.what)))
    }

    /// The first state at which it is answered so.
    fn answered(&self, call: &Call, floor: usize, ceiling: usize) -> Result<usize, Breach> {
        match (&call.command, &call.answer) {
            (Command::GetBalance { account, unit }, Answer::Account { as_of, .. }) => {
                let seen = self.reference.state_at(*as_of);
                let seen = seen.ok_or_else(|| Breach::new("no entry has the time of `as_of`"))?;
                if !(floor..=ceiling).contains(&seen) {
                    let what = format!("it saw state {seen}, not one of {floor} to {ceiling}");
                    return Err(Breach::new(what));
                }
                if self.shows_due(call, seen) {
                    return Err(Breach::new("it shows as open what was due before"));
                }
                let expected = self.account(seen, *account, unit);
                if expected == call.answer {
                    Ok(seen)
                } else {
                    Err(Breach::new(differs("answer", &expected, &call.answer)))
                }
            }
            _ => {
                let got = without_times(call, call.answer.clone());
                let answer_at = |state, clock| {
                    if self.shows_due(call, state) {
                        return Answer::Lost("it would show as open what was due before".into());
                    }
                    self.answer_at(call, state, clock)
                };
                search(call, &got, floor, ceiling, answer_at)
            }
        }
    }

    fn account(&self, state: usize, account: Account, unit: Unit) -> Answer {
        let reservations = self.reference.open(state, account, unit);
        Answer::Account {
            balance: self.reference.balance(state, account, unit),
            count: i64::try_from(reservations.len()).unwrap_or(i64::MAX),
            total: reservations.iter().map(|open| open.quantity).sum(),
            reservations,
            as_of: self.reference.time(state).unwrap_or_default(),
        }
    }

    /// What the reference answers at a state; as if it were only validated, since all that moves has its place.
    fn answer_at(&self, call: &Call, state: usize, clock: Micros) -> Answer {
        let reference = self.reference;
        let stamp = Stamp::default();
        let judged = match &call.command {
            Command::Create(create) => reference.create(state, create, clock, stamp),
            Command::Close(close) => reference.close(state, close, stamp),
            Command::Adjust(adjust) => reference.adjust(state, adjust, stamp),
            Command::Submit(items) => {
                return Answer::Items(reference.validate_all(state, items, clock));
            }
            Command::ListBalances => return Answer::Accounts(reference.balances(state)),
            Command::GetBalance { account, unit } => return self.account(state, *account, unit),
            Command::Get { id, by } => return self.shown(state, *id, *by),
        };
        // What would be done and was not only validated has a movement, so that this state is none of its own.
        if matches!(judged, Judged::Done(_)) && !call.validate_only {
            return Answer::Lost("it would be done".into());
        }
        without_times(call, answer(call, judged))
    }

    fn shown(&self, state: usize, id: Uuid, by: By) -> Answer {
        let record = self.reference.record(state, id);
        let visible = record.filter(|record| match by {
            By::Client => true,
            By::Stranger => false,
            By::Partner(number) => self.past.owner.connections[record.connection].partner == number,
        });
        match visible {
            Some(record) => Answer::Shown(record.clone()),
            None => Answer::Refused(super::call::Refusal {
                code: tonic::Code::NotFound,
                reason: "ALLOCATION_NOT_FOUND".into(),
                facts: BTreeMap::new(),
            }),
        }
    }
}

fn ends_of<'a>(reference: &'a Reference<'_>) -> Vec<End<'a>> {
    let ends = reference.expiring().map(|(time, record, open)| End {
        time,
        record,
        open,
        all_closed: 0,
    });
    let mut ends: Vec<_> = ends.collect();
    ends.sort_unstable_by_key(|end| (end.time, end.record.id));
    let mut all_closed = 0;
    for end in &mut ends {
        all_closed = all_closed.max(end.open.end);
        end.all_closed = all_closed;
    }
    ends
}

/// The first state at which the reference says what was answered. The clock was read between question and answer.
fn search<T: PartialEq + Debug>(
    call: &Call,
    got: &T,
    floor: usize,
    ceiling: usize,
    answer_at: impl Fn(usize, Micros) -> T,
) -> Result<usize, Breach> {
    let clocks = clocks(call);
    let fits = |state: &usize| clocks.iter().any(|clock| answer_at(*state, *clock) == *got);
    if let Some(state) = (floor..=ceiling).find(fits) {
        return Ok(state);
    }
    if floor > ceiling {
        let what = format!("it knows of state {floor}, and was answered before {ceiling}");
        return Err(Breach::new(what));
    }
    let expected = answer_at(floor, clocks[0]);
    let last = answer_at(ceiling, clocks[clocks.len() - 1]);
    Err(Breach::new(format!(
        "no state from {floor} to {ceiling} answers so:\n  got      {got:?}\n  at first {expected:?}\n  at last  {last:?}"
    )))
}

/// The times between question and answer that make a difference, in their order: a command has one clock for all of its
/// items.
fn clocks(call: &Call) -> Vec<Micros> {
    let creates = match &call.command {
        Command::Create(create) => std::slice::from_ref(create),
        Command::Submit(creates) => creates,
        _ => &[],
    };
    let (asked, answered) = (call.asked.clock, call.answered.clock);
    let ends = creates.iter().filter_map(|create| create.expire_time);
    let ends = ends.filter(|time| (asked..=answered).contains(time));
    let mut clocks: Vec<_> = ends.chain([asked, answered]).collect();
    clocks.sort_unstable();
    clocks.dedup();
    clocks
}

/// What the caller of a command, or of an item, is told.
fn answer(call: &Call, judged: Judged) -> Answer {
    let is_partner =
        matches!(&call.command, Command::Close(close) if matches!(close.by, By::Partner(_)));
    match &call.command {
        Command::Submit(_) => Answer::Items(vec![judged.into_item()]),
        _ => judged.into_answer(is_partner),
    }
}

/// What the caller was told of this part, if he was.
fn told(call: &Call, part: Part) -> Option<Answer> {
    match &call.answer {
        Answer::Left | Answer::Lost(_) => None,
        Answer::Items(items) => Some(Answer::Items(vec![items.get(part.item)?.clone()])),
        answer => Some(answer.clone()),
    }
}

/// The create that a call, or one of its items, is.
pub(super) fn create_of(call: &Call, part: Part) -> Option<&Create> {
    match &call.command {
        Command::Create(create) => Some(create),
        Command::Submit(items) => items.get(part.item),
        _ => None,
    }
}

/// What was only validated has no time yet.
fn without_times(call: &Call, mut answer: Answer) -> Answer {
    if !call.validate_only {
        return answer;
    }
    if let Answer::Record {
        record,
        replayed: false,
        ..
    } = &mut answer
    {
        record.updated_at = 0;
    }
    answer
}

fn differs(what: &str, expected: &impl Debug, got: &impl Debug) -> String {
    format!("another {what}:\n  expected {expected:?}\n  got      {got:?}")
}
