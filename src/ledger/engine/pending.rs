//! A command on its way through the engine, whatever kind of record it is about. It keeps its own judgement and its own
//! way to answer, so that a caller gets a reply of the type that belongs to its request.

use std::collections::HashMap;
use std::fmt::Debug;

use tokio::sync::oneshot;

use crate::error::{Error, Result};
use crate::ledger::account::{Balance, OwnerKind};
use crate::ledger::books::Books;
use crate::ledger::engine::judge::judge;
use crate::ledger::kind::{
    AccountReads, BalanceAt, Command, CommandHead, Judgement, Kind, ReplayedBalance, Request,
};
use crate::ledger::kinds::{ReadSets, RegisteredKind, States};
use crate::types::ids::OwnerId;

/// A command of any type.
pub(super) trait Pending: Debug + Send + Sync {
    /// What every command says.
    fn head(&self) -> &CommandHead;

    /// The kind of its owners.
    fn owner_kind(&self) -> OwnerKind;

    /// The same as [`Request::further_owner`].
    fn further_owner(&self) -> Option<OwnerId>;

    /// The same as [`Request::creates_owner`].
    fn creates_owner(&self) -> bool;

    /// The same as [`Request::weight`].
    fn weight(&self) -> usize;

    /// Adds what has to be read before it can be judged.
    fn add_reads(&self, read_sets: &mut ReadSets, accounts: &mut AccountReads);

    /// Judges it and keeps the judgement, in place of one that an earlier try has left.
    fn judge(&mut self, books: &mut Books, states: &mut States);

    /// Whether it was judged to wait for the next batch.
    fn is_later(&self) -> bool;

    /// The balances that its reply lacks.
    fn missing_balances(&self) -> &[BalanceAt];

    /// Completes its reply with these balances.
    fn fill_balances(&mut self, balances: &HashMap<BalanceAt, ReplayedBalance>);

    /// Whether its caller still waits for the answer.
    fn is_awaited(&self) -> bool;

    /// Answers the caller with the judgement that was kept.
    fn answer(self: Box<Self>);

    /// Answers the caller with an error.
    fn refuse(self: Box<Self>, error: Error);
}

impl dyn Pending + '_ {
    /// All owners whose value it may move.
    pub(super) fn owners(&self) -> impl Iterator<Item = OwnerId> + use<> {
        std::iter::once(self.head().owner).chain(self.further_owner())
    }

    /// The owner whose lane it waits in: the smallest of its owners, so that two commands on the same two owners
    /// wait in one lane.
    pub(super) fn routing_owner(&self) -> OwnerId {
        self.owners().min().unwrap_or(self.head().owner)
    }
}

#[derive(Debug)]
struct PendingCommand<R: Request> {
    command: Command<R>,
    judgement: Option<Judgement<R::Reply>>,
    answer: oneshot::Sender<Result<R::Reply>>,
}

/// The command as one of any type, and where its answer will arrive.
pub(super) fn pending<R>(
    command: Command<R>,
) -> (Box<dyn Pending>, oneshot::Receiver<Result<R::Reply>>)
where
    R: Request<Kind: RegisteredKind>,
{
    let (answer, answered) = oneshot::channel();
    let pending = PendingCommand {
        command,
        judgement: None,
        answer,
    };
    (Box::new(pending), answered)
}

impl<R> Pending for PendingCommand<R>
where
    R: Request<Kind: RegisteredKind>,
{
    fn head(&self) -> &CommandHead {
        &self.command.head
    }

    fn owner_kind(&self) -> OwnerKind {
        <R::Kind as Kind>::OWNER
    }

    fn further_owner(&self) -> Option<OwnerId> {
        self.command.request.further_owner()
    }

    fn creates_owner(&self) -> bool {
        self.command.request.creates_owner()
    }

    fn weight(&self) -> usize {
        self.command.request.weight()
    }

    fn add_reads(&self, read_sets: &mut ReadSets, accounts: &mut AccountReads) {
        let Command { head, request } = &self.command;
        request.add_reads(head.owner, R::Kind::read_set(read_sets), accounts);
    }

    fn judge(&mut self, books: &mut Books, states: &mut States) {
        let state = R::Kind::state(states);
        self.judgement = Some(judge(&self.command, books, state));
    }

    fn is_later(&self) -> bool {
        matches!(self.judgement, Some(Judgement::Later))
    }

    fn missing_balances(&self) -> &[BalanceAt] {
        match &self.judgement {
            Some(Judgement::Replay(_, balances)) => balances,
            _ => &[],
        }
    }

    fn fill_balances(&mut self, balances: &HashMap<BalanceAt, ReplayedBalance>) {
        // A reply is large: it is moved only if something is missing.
        if !matches!(self.judgement, Some(Judgement::Replay(..))) {
            return;
        }
        if let Some(Judgement::Replay(reply, missing)) = self.judgement.take() {
            self.judgement = Some(filled::<R>(reply, &missing, balances).into());
        }
    }

    fn is_awaited(&self) -> bool {
        !self.answer.is_closed()
    }

    fn answer(self: Box<Self>) {
        let result = match self.judgement {
            Some(Judgement::Final(result)) => result,
            _ => Err(Error::internal(
                "a command was answered without a judgement",
            )),
        };
        // A caller that has left is not there to be answered; its command stands.
        _ = self.answer.send(result);
    }

    fn refuse(self: Box<Self>, error: Error) {
        _ = self.answer.send(Err(error));
    }
}

/// The reply to a repetition with the balances of its first reply.
pub(in crate::ledger) fn filled<R: Request>(
    mut reply: R::Reply,
    missing: &[BalanceAt],
    balances: &HashMap<BalanceAt, ReplayedBalance>,
) -> Result<R::Reply> {
    let mut found = Vec::with_capacity(missing.len());
    for at in missing {
        let balance = match (at.version, balances.get(at)) {
            // Before its first entry an account has nothing.
            (0, _) => Balance::default(),
            (_, Some(ReplayedBalance::Known(balance))) => *balance,
            (_, Some(ReplayedBalance::Archived { since })) => {
                return Err(Error::Archived {
                    record: R::replayed_record(&reply),
                    since: *since,
                });
            }
            (_, None) => {
                let lack = "L4: the journal lacks an entry that a record names";
                return Err(Error::internal(lack));
            }
        };
        found.push(balance);
    }
    R::fill_replayed_balances(&mut reply, &found);
    Ok(reply)
}
