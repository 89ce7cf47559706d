//! What a call wrote, for its line in the access log. Every write passes one of two functions, which report it here: the
//! ledger's `Writer::submit`, and `record_write::execute`. The server takes it when the handler has returned.

use std::cell::RefCell;
use std::fmt::{self, Write};
use std::future::Future;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use tokio::task_local;
use uuid::Uuid;

use crate::limits::LOGGED_RECORDS_MAX;

/// What became of a write that was not refused. The later of two that one call has is that of the whole call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum WriteEffect {
    /// It was only validated, as the caller had asked.
    Validated,
    /// An earlier call with the same key or content had applied it.
    Replayed,
    /// This call applied it.
    Applied,
}

impl WriteEffect {
    /// The effect as the log writes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Validated => "validated",
            Self::Replayed => "replayed",
            Self::Applied => "applied",
        }
    }
}

/// A record that a call wrote, by its kind and its id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditedRecord {
    /// The kind, in lower-case letters.
    pub kind: &'static str,
    /// The id within the kind.
    pub id: RecordId,
}

/// The id of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RecordId {
    /// An id that the server made.
    Uuid(Uuid),
    /// The number of a company or of an entry of its catalogue.
    Number(i64),
    /// An id that a caller chose.
    Text(String),
}

/// A record whose writes are logged.
pub trait Named {
    /// Its kind, in lower-case letters.
    const KIND: &'static str;

    /// Its id; `None` if it was only validated, so that it has none.
    fn record_id(&self) -> Option<RecordId>;
}

/// What stays as it is in an id that a caller chose: no space, which separates ids.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'.')
    .remove(b'_')
    .remove(b':')
    .remove(b'/')
    .remove(b'+')
    .remove(b'=')
    .remove(b'-');

impl fmt::Display for AuditedRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/", self.kind)?;
        match &self.id {
            RecordId::Uuid(id) => id.as_hyphenated().fmt(f),
            RecordId::Number(number) => number.fmt(f),
            RecordId::Text(text) => utf8_percent_encode(text, ESCAPED).fmt(f),
        }
    }
}

/// What a call wrote.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CallWrites {
    effect: Option<WriteEffect>,
    /// At most [`LOGGED_RECORDS_MAX`] of them.
    records: Vec<AuditedRecord>,
    count: u64,
}

impl CallWrites {
    /// Adds a write of a record. One that was only validated has written none.
    pub fn add<R: Named>(&mut self, effect: WriteEffect, record: &R) {
        self.effect = self.effect.max(Some(effect));
        if effect == WriteEffect::Validated {
            return;
        }
        self.count += 1;
        if self.records.len() < LOGGED_RECORDS_MAX
            && let Some(id) = record.record_id()
        {
            let kind = R::KIND;
            self.records.push(AuditedRecord { kind, id });
        }
    }

    /// What became of the call as a whole; `None` if it wrote nothing.
    pub fn effect(&self) -> Option<WriteEffect> {
        self.effect
    }

    /// How many records it wrote, or an earlier call that it repeats.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The first [`LOGGED_RECORDS_MAX`] of them, with spaces between; `None` if there are none.
    pub fn ids(&self) -> Option<String> {
        let (first, others) = self.records.split_first()?;
        let mut ids = first.to_string();
        for record in others {
            // Writing to a text cannot fail.
            _ = write!(ids, " {record}");
        }
        Some(ids)
    }
}

task_local! {
    static WRITES: RefCell<Option<CallWrites>>;
}

/// Runs the future of a call, whose writes are collected if anybody wants them.
pub fn within<F: Future>(is_wanted: bool, call: F) -> impl Future<Output = F::Output> {
    WRITES.scope(RefCell::new(is_wanted.then(CallWrites::default)), call)
}

/// Adds to the writes of the current call, if they are collected.
pub fn report(add: impl FnOnce(&mut CallWrites)) {
    _ = WRITES.try_with(|writes| writes.borrow_mut().as_mut().map(add));
}

/// Takes what the current call has written so far.
pub fn take() -> CallWrites {
    let taken = WRITES.try_with(|writes| writes.borrow_mut().as_mut().map(std::mem::take));
    taken.ok().flatten().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Numbered(u128);

    impl Named for Numbered {
        const KIND: &'static str = "allocation";

        fn record_id(&self) -> Option<RecordId> {
            Some(RecordId::Uuid(Uuid::from_u128(self.0)))
        }
    }

    struct Chosen(&'static str);

    impl Named for Chosen {
        const KIND: &'static str = "bucket";

        fn record_id(&self) -> Option<RecordId> {
            Some(RecordId::Text(self.0.into()))
        }
    }

    #[test]
    fn the_first_records_are_named_and_all_are_counted() {
        let mut writes = CallWrites::default();
        assert_eq!((writes.effect(), writes.ids()), (None, None));
        for number in 0..25 {
            writes.add(WriteEffect::Applied, &Numbered(number));
        }
        assert_eq!(writes.count(), 25);
        let ids = writes.ids().expect("some");
        assert_eq!(ids.split(' ').count(), LOGGED_RECORDS_MAX);
        assert!(ids.starts_with("allocation/00000000-0000-0000-0000-000000000000 "));
    }

    #[test]
    fn a_call_that_applied_anything_counts_as_applied() {
        let mut writes = CallWrites::default();
        writes.add(WriteEffect::Replayed, &Numbered(1));
        assert_eq!(writes.effect(), Some(WriteEffect::Replayed));
        writes.add(WriteEffect::Applied, &Numbered(2));
        writes.add(WriteEffect::Replayed, &Numbered(3));
        assert_eq!(writes.effect(), Some(WriteEffect::Applied));
    }

    #[test]
    fn what_was_only_validated_is_not_among_the_records() {
        let mut writes = CallWrites::default();
        writes.add(WriteEffect::Validated, &Numbered(7));
        assert_eq!(writes.effect(), Some(WriteEffect::Validated));
        assert_eq!((writes.count(), writes.ids()), (0, None));
    }

    #[test]
    fn an_id_of_a_callers_choice_holds_no_space() {
        let mut writes = CallWrites::default();
        for text in ["0.0.0.1+-balance_group+106463", "a b\u{e9}%"] {
            writes.add(WriteEffect::Applied, &Chosen(text));
        }
        let ids = "bucket/0.0.0.1+-balance_group+106463 bucket/a%20b%C3%A9%25";
        assert_eq!(writes.ids().as_deref(), Some(ids));
    }

    #[tokio::test]
    async fn writes_are_collected_for_the_call_that_makes_them() {
        let write = || report(|writes| writes.add(WriteEffect::Applied, &Numbered(1)));
        write();
        assert_eq!(take(), CallWrites::default(), "outside of a call");
        let wanted = within(true, async {
            write();
            tokio::task::yield_now().await;
            (take().count(), take().count())
        });
        assert_eq!(wanted.await, (1, 0));
        let unwanted = within(false, async {
            write();
            take()
        });
        assert_eq!(unwanted.await, CallWrites::default());
    }
}
