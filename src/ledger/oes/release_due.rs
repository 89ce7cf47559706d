//! Releases reservations whose `expire_time` has passed.

use crate::ledger::account::Cause;
use crate::ledger::books::Books;
use crate::ledger::kind::KindState;
use crate::ledger::oes::close::{Ending, finish, plan};
use crate::ledger::oes::model::OesRecords;

/// Releases what is due of every owner, the oldest first.
pub(super) fn release_due(books: &mut Books, state: &mut KindState<OesRecords>) {
    let now = books.now;
    for (id, records) in &mut state.records {
        let Some(owner) = books.owners.get_mut(id) else {
            continue;
        };
        for allocation in std::mem::take(&mut records.due) {
            let due = records
                .get(allocation)
                .filter(|found| found.is_due(now))
                .cloned();
            let Some(allocation) = due else { continue };
            let ending = Ending {
                cause: Cause::EXPIRE,
                partner_external_id: None,
                reason: Some("expired".into()),
            };
            match plan(owner, &allocation, ending.cause) {
                Ok(movement) => {
                    finish(now, *id, owner, records, allocation, movement, ending);
                }
                // It contradicts L3. It stays as it is for verification to report, and no other is affected.
                Err(error) => {
                    let allocation = allocation.record.id;
                    tracing::error!(%allocation, ?error, "a due reservation cannot be released");
                }
            }
        }
    }
}
