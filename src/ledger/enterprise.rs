//! What every kind whose owners are enterprises checks first.

use crate::error::{Error, Result};
use crate::ledger::account::EnterpriseFacts;
use crate::ledger::books::{Books, Owner};
use crate::types::ids::{EnterpriseId, OwnerId};

/// The enterprise and what was read of it.
///
/// # Errors
/// [`Error::EnterpriseNotFound`] if there is none.
pub(in crate::ledger) fn find(
    books: &mut Books,
    id: OwnerId,
) -> Result<(&mut Owner, EnterpriseFacts)> {
    let not_found = Error::EnterpriseNotFound(EnterpriseId(id.0));
    match books.owners.get_mut(&id) {
        Some(owner) => match owner.enterprise {
            Some(facts) => Ok((owner, facts)),
            None => Err(not_found),
        },
        None => Err(not_found),
    }
}

/// The enterprise, which must have a client.
///
/// # Errors
/// [`Error::EnterpriseNotFound`], or [`Error::ClientNotFound`] without a client.
pub(in crate::ledger) fn find_client(books: &mut Books, id: OwnerId) -> Result<&mut Owner> {
    let (owner, facts) = find(books, id)?;
    match facts.client {
        Some(_) => Ok(owner),
        None => Err(Error::ClientNotFound(None)),
    }
}
