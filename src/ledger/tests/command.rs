//! Commands of every type as one type, so that random batches can mix them, and what they are answered.

use std::collections::HashMap;

use crate::error::Result;
use crate::ledger::account::{Balance, OwnerKind};
use crate::ledger::adjustment::request::{AdjustCustody, AdjustmentReply};
use crate::ledger::books::Books;
use crate::ledger::bucket::model::Buckets;
use crate::ledger::bucket::request::{BucketReply, BucketRequest};
use crate::ledger::engine::judge;
use crate::ledger::engine::pending::filled;
use crate::ledger::kind::{
    self, BalanceAt, CommandHead, Judgement, ReleaseDue, ReplayedBalance, Request,
};
use crate::ledger::kinds::{RegisteredKind, States};
use crate::ledger::oes::model::OesRecords;
use crate::ledger::oes::request::{
    AllocationReply, CloseAllocation, CreateAllocation, SubmitAllocations,
};
use crate::types::ids::{Entropy, OwnerId};

/// A command about one owner's value.
#[derive(Clone, Debug)]
pub(super) struct Command {
    pub(super) owner: OwnerId,
    pub(super) validate_only: bool,
    pub(super) entropy: Entropy,
    pub(super) action: Action,
}

/// What is asked.
#[derive(Clone, Debug)]
pub(super) enum Action {
    Create(CreateAllocation),
    Submit(Vec<CreateAllocation>),
    Close(CloseAllocation),
    Adjust(AdjustCustody),
    Bucket(Box<BucketRequest>),
    Expire(OwnerKind),
}

/// What is answered.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Reply {
    Allocation(Box<AllocationReply>),
    Submitted(Vec<Result<AllocationReply>>),
    Adjustment(Box<AdjustmentReply>),
    Bucket(Box<BucketReply>),
    Expired,
}

/// The state of a batch.
#[derive(Debug)]
pub(super) struct BatchState {
    pub(super) books: Books,
    pub(super) states: States,
}

/// The outcome of a command once replays have their balances.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Outcome {
    Final(Result<Reply>),
    Later,
}

/// A judgement that still needs the journal, if it is a replay.
pub(super) struct Judged(Box<Judge>);

/// Turns a judgement into its outcome, given the books that it was made on.
type Judge = dyn FnOnce(&Books, &StoredBalances<'_>) -> Outcome;

/// The stored journal: the balance that an account had at a version.
type StoredBalances<'a> = dyn Fn(&BalanceAt) -> Option<Balance> + 'a;

impl Judged {
    /// The outcome, with the balances of replays from the stored journal. Those of this batch must be stored by then.
    pub(super) fn outcome(
        self,
        books: &Books,
        stored: impl Fn(&BalanceAt) -> Option<Balance>,
    ) -> Outcome {
        (self.0)(books, &stored)
    }
}

impl Command {
    /// All owners whose value it may move.
    pub(super) fn owners(&self) -> impl Iterator<Item = OwnerId> {
        let further = match &self.action {
            Action::Bucket(request) => request.further_owner(),
            _ => None,
        };
        std::iter::once(self.owner).chain(further)
    }

    fn judge(&self, state: &mut BatchState) -> Judged {
        match self.action.clone() {
            Action::Create(create) => {
                self.run(create, state, |reply| Reply::Allocation(Box::new(reply)))
            }
            Action::Submit(creates) => {
                self.run(SubmitAllocations(creates), state, Reply::Submitted)
            }
            Action::Close(close) => {
                self.run(close, state, |reply| Reply::Allocation(Box::new(reply)))
            }
            Action::Adjust(adjust) => {
                self.run(adjust, state, |reply| Reply::Adjustment(Box::new(reply)))
            }
            Action::Bucket(request) => {
                self.run(*request, state, |reply| Reply::Bucket(Box::new(reply)))
            }
            Action::Expire(OwnerKind::Enterprise) => {
                self.run(ReleaseDue::<OesRecords>::default(), state, |()| {
                    Reply::Expired
                })
            }
            Action::Expire(OwnerKind::Bucket) => {
                self.run(ReleaseDue::<Buckets>::default(), state, |()| Reply::Expired)
            }
        }
    }

    fn run<R>(&self, request: R, state: &mut BatchState, wrap: fn(R::Reply) -> Reply) -> Judged
    where
        R: Request<Kind: RegisteredKind>,
    {
        let head = CommandHead {
            owner: self.owner,
            validate_only: self.validate_only,
            entropy: self.entropy,
        };
        let command = kind::Command { head, request };
        let of_kind = R::Kind::state(&mut state.states);
        let judgement = judge::judge(&command, &mut state.books, of_kind);
        Judged(Box::new(move |books, stored| match judgement {
            Judgement::Later => Outcome::Later,
            Judgement::Final(result) => Outcome::Final(result.map(wrap)),
            Judgement::Replay(reply, missing) => {
                let found = missing.iter().filter_map(|at| {
                    let stored = stored(at);
                    let of_batch = books.known_balance(at.owner, &at.key, at.version);
                    assert!(of_batch.is_none() || of_batch == stored);
                    stored.map(|balance| (at.clone(), ReplayedBalance::Known(balance)))
                });
                let balances: HashMap<BalanceAt, ReplayedBalance> = found.collect();
                Outcome::Final(filled::<R>(reply, &missing, &balances).map(wrap))
            }
        }))
    }
}

/// Releases what is due, and judges the commands in order.
pub(super) fn decide(state: &mut BatchState, commands: &[&Command]) -> Vec<Judged> {
    judge::release_due(&mut state.books, &mut state.states);
    commands
        .iter()
        .map(|command| command.judge(state))
        .collect()
}
