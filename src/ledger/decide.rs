//! Judges commands: state + commands → verdicts + effects. Pure: no clock but the state's, no database, no chance.

mod bucket;
mod oes;
mod past;
#[cfg(test)]
mod tests;

use crate::error::{Error, Result};
use crate::ledger::command::{Action, AllocationReply, Command, Origin, Reply};
use crate::ledger::model::Versions;
use crate::ledger::state::{Owner, Refusal, State};
use crate::types::amount::Amount;
use crate::types::ids::{ActionId, AllocationId, OwnerId};
use crate::types::unit::Unit;

pub use past::{fill_past, past_balances};

/// What became of a command.
#[derive(Debug)]
pub enum Judgement {
    /// It was carried out, or refused.
    Final(Result<Reply>),
    /// It was carried out before: the answer shows the balances at these versions, which the journal has.
    Replay(Reply, Versions),
    /// More of the owner's reservations are due than one batch releases: judge it in the next one.
    Later,
}

impl From<Result<Reply>> for Judgement {
    fn from(result: Result<Reply>) -> Self {
        Self::Final(result)
    }
}

/// Judges commands in order, each seeing what those before it did. Due reservations of their owners are released first.
/// A refused command, and one that is only validated, leaves no trace.
pub fn decide(state: &mut State, commands: &[&Command]) -> Vec<Judgement> {
    let now = state.now;
    for (id, owner) in &mut state.owners {
        oes::close::expire_due(now, *id, owner);
        bucket::reserve::expire_due(now, *id, owner);
    }
    commands
        .iter()
        .map(|command| judge(state, command))
        .collect()
}

fn judge(state: &mut State, command: &Command) -> Judgement {
    let State {
        now,
        owners,
        partners,
    } = state;
    let is_later = |id| owners.get(&id).is_some_and(|owner| owner.more_due);
    if command.owners().any(is_later) {
        return Judgement::Later;
    }
    let before: Vec<(OwnerId, Owner)> = if command.validate_only {
        let found = |id| owners.get(&id).map(|owner| (id, owner.clone()));
        command.owners().filter_map(found).collect()
    } else {
        Vec::new()
    };
    let owner = owners.get_mut(&command.owner);
    let judgement = match &command.action {
        Action::Create(create) => oes::create::judge(*now, owner, command, create),
        Action::Submit(creates) => oes::create::judge_all(*now, owner, command, creates),
        Action::Close(close) => oes::close::judge(*now, owner, partners, command, close),
        Action::Adjust(adjust) => oes::adjust(*now, owner, command, adjust),
        Action::Bucket(asked) => bucket::judge(*now, owners, command, asked),
        Action::Expire(_) => Judgement::Final(Ok(Reply::Expired)),
    };
    if command.validate_only {
        owners.extend(before);
        validated(judgement, owners.get(&command.owner))
    } else {
        judgement
    }
}

/// Turns what was done and undone again into what would be done. Records that are only made by it have no id.
fn validated(judgement: Judgement, before: Option<&Owner>) -> Judgement {
    let would_be = |reply: &mut AllocationReply| {
        if reply.origin == Origin::Done {
            reply.origin = Origin::Validated;
        }
        if before.is_none_or(|before| before.allocation(reply.allocation.id).is_none()) {
            reply.allocation.id = AllocationId::NIL;
        }
    };
    let Judgement::Final(Ok(mut reply)) = judgement else {
        return judgement;
    };
    match &mut reply {
        Reply::Allocation(reply) => would_be(reply),
        Reply::Submitted(replies) => replies.iter_mut().flatten().for_each(would_be),
        Reply::Adjustment(reply) => reply.origin = Origin::Validated,
        Reply::Bucket(reply) => {
            reply.origin = Origin::Validated;
            if let Some(action) = &mut reply.action {
                action.id = ActionId::NIL;
            }
        }
        Reply::Expired => {}
    }
    Judgement::Final(Ok(reply))
}

/// What a refusal is to the caller who asked for `requested`.
fn refused(refusal: Refusal, unit: &Unit, requested: Amount) -> Error {
    match refusal {
        Refusal::Insufficient { available } => Error::InsufficientBalance {
            available,
            requested,
            unit: unit.clone(),
        },
        Refusal::Limit => Error::BalanceLimit { unit: unit.clone() },
        Refusal::Broken => Error::internal("L3: less is held than a record explains"),
    }
}
