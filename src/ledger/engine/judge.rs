//! Judges commands: state and commands in, replies and changes out. Nothing here reads a clock or a database.

use crate::ledger::books::{Books, Owner};
use crate::ledger::kind::{Command, Judgement, Kind, KindState, Request};
use crate::ledger::kinds::States;
use crate::types::ids::OwnerId;

/// Releases what was loaded as due, before any command is judged.
pub(in crate::ledger) fn release_due(books: &mut Books, states: &mut States) {
    states.release_due(books);
    for owner in books.owners.values_mut() {
        // Nothing could be released, so the next batch would find the same: its commands would wait for ever.
        if owner.has_more_due && !owner.has_moved() {
            owner.has_more_due = false;
        }
    }
}

/// Judges a command after those before it. A command that is refused or only validated changes nothing.
pub(in crate::ledger) fn judge<R: Request>(
    command: &Command<R>,
    books: &mut Books,
    state: &mut KindState<R::Kind>,
) -> Judgement<R::Reply> {
    let has_more_due = |owner| {
        let owner: Option<&Owner> = books.owners.get(&owner);
        owner.is_some_and(|owner| owner.has_more_due)
    };
    if command.owners().any(has_more_due) {
        return Judgement::Later;
    }
    let head = &command.head;
    if !head.validate_only {
        return command.request.judge(head, books, state);
    }
    let saved: Vec<Saved<R::Kind>> = command
        .owners()
        .map(|owner| Saved::of(owner, books, state))
        .collect();
    let judgement = command.request.judge(head, books, state);
    for saved in saved {
        saved.restore(books, state);
    }
    match judgement {
        Judgement::Final(Ok(mut reply)) => {
            R::mark_validated(&mut reply, head.owner, state);
            Judgement::Final(Ok(reply))
        }
        judgement => judgement,
    }
}

/// What is known of an owner before a command that is only validated.
struct Saved<K: Kind> {
    id: OwnerId,
    owner: Option<Owner>,
    records: Option<K::Records>,
}

impl<K: Kind> Saved<K> {
    fn of(id: OwnerId, books: &Books, state: &KindState<K>) -> Self {
        Self {
            id,
            owner: books.owners.get(&id).cloned(),
            records: state.records.get(&id).cloned(),
        }
    }

    fn restore(self, books: &mut Books, state: &mut KindState<K>) {
        let Self { id, owner, records } = self;
        match owner {
            Some(owner) => _ = books.owners.insert(id, owner),
            None => _ = books.owners.remove(&id),
        }
        match records {
            Some(records) => _ = state.records.insert(id, records),
            None => _ = state.records.remove(&id),
        }
    }
}
