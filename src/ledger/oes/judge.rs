//! What each request on allocations reads, and how it is judged.

use uuid::Uuid;

use crate::audit::CallWrites;
use crate::error::{Error, KeyHolder, RecordName, Result};
use crate::ledger::account::{AccountKey, Balance};
use crate::ledger::books::Books;
use crate::ledger::kind::{AccountReads, CommandHead, Judgement, KindState, Origin, Request};
use crate::ledger::oes::model::OesRecords;
use crate::ledger::oes::request::{
    AllocationReply, CloseAllocation, CreateAllocation, SubmitAllocations,
};
use crate::ledger::oes::statements::{
    AllocationById, AllocationByKey, AllocationReads, ConnectionKey,
};
use crate::ledger::oes::{close, create};
use crate::types::ids::{AccountId, AllocationId, OwnerId};

/// Adds what one creation reads.
fn add_create(
    create: &CreateAllocation,
    owner: OwnerId,
    read_set: &mut AllocationReads,
    accounts: &mut AccountReads,
) {
    let terms = &create.terms;
    read_set.connections.insert(ConnectionKey {
        id: terms.connection,
        owner,
    });
    read_set.keys.insert(AllocationByKey {
        owner,
        direction: terms.direction,
        client_external_id: terms.client_external_id.clone(),
    });
    for account in [AccountId::OWN, terms.connection.into()] {
        accounts.add(owner, AccountKey::new(account, &terms.unit));
    }
}

impl Request for CreateAllocation {
    type Kind = OesRecords;
    type Reply = AllocationReply;

    fn add_reads(
        &self,
        owner: OwnerId,
        read_set: &mut AllocationReads,
        accounts: &mut AccountReads,
    ) {
        add_create(self, owner, read_set, accounts);
    }

    fn judge(
        &self,
        command: &CommandHead,
        books: &mut Books,
        state: &mut KindState<OesRecords>,
    ) -> Judgement<AllocationReply> {
        match create::judge(command, books, state, self) {
            Ok(reply) if reply.origin == Origin::Replayed => {
                let (opened, opened_at) =
                    (reply.allocation.opened, reply.allocation.record.created_at);
                reply.replay(opened, opened_at)
            }
            reply => reply.into(),
        }
    }

    fn mark_validated(reply: &mut AllocationReply, owner: OwnerId, state: &KindState<OesRecords>) {
        reply.mark_validated(owner, state);
    }

    fn add_writes(reply: &AllocationReply, writes: &mut CallWrites) {
        reply.add_to(writes);
    }

    fn replayed_record(reply: &AllocationReply) -> Option<RecordName> {
        Some(RecordName::Id(reply.allocation.record.id.to_string()))
    }

    fn fill_replayed_balances(reply: &mut AllocationReply, balances: &[Balance]) {
        reply.fill(balances);
    }
}

impl Request for SubmitAllocations {
    type Kind = OesRecords;
    /// The outcome of each, in their order and without balances.
    type Reply = Vec<Result<AllocationReply>>;

    fn weight(&self) -> usize {
        self.0.len().max(1)
    }

    fn add_reads(
        &self,
        owner: OwnerId,
        read_set: &mut AllocationReads,
        accounts: &mut AccountReads,
    ) {
        for create in &self.0 {
            add_create(create, owner, read_set, accounts);
        }
    }

    fn judge(
        &self,
        command: &CommandHead,
        books: &mut Books,
        state: &mut KindState<OesRecords>,
    ) -> Judgement<Self::Reply> {
        create::judge_all(command, books, state, &self.0).into()
    }

    fn mark_validated(reply: &mut Self::Reply, owner: OwnerId, state: &KindState<OesRecords>) {
        for reply in reply {
            match reply {
                Ok(reply) => reply.mark_validated(owner, state),
                Err(error) => hide_unstored(error, owner, state),
            }
        }
    }

    fn add_writes(reply: &Self::Reply, writes: &mut CallWrites) {
        for reply in reply.iter().flatten() {
            reply.add_to(writes);
        }
    }
}

/// Takes the holder of a key out of an error if it is an earlier item of the same submission, of which nothing is stored.
fn hide_unstored(error: &mut Error, owner: OwnerId, before: &KindState<OesRecords>) {
    let Error::IdempotencyKeyReused { holder, .. } = error else {
        return;
    };
    let records = before.records.get(&owner);
    let is_stored = |holder: &KeyHolder| {
        let id = Uuid::try_parse(&holder.id).ok().map(AllocationId);
        id.is_some_and(|id| records.is_some_and(|records| records.get(id).is_some()))
    };
    if !holder.as_ref().is_some_and(is_stored) {
        *holder = None;
    }
}

impl Request for CloseAllocation {
    type Kind = OesRecords;
    type Reply = AllocationReply;

    fn add_reads(&self, owner: OwnerId, read_set: &mut AllocationReads, _: &mut AccountReads) {
        if let Some(partner) = self.verdict.partner() {
            read_set.partners.insert(partner.enterprise);
            read_set.connections.insert(ConnectionKey {
                id: partner.connection,
                owner,
            });
        }
        // Its two accounts are read with it.
        read_set.ids.insert(AllocationById {
            owner,
            id: self.allocation,
        });
    }

    fn judge(
        &self,
        command: &CommandHead,
        books: &mut Books,
        state: &mut KindState<OesRecords>,
    ) -> Judgement<AllocationReply> {
        close::judge(command, books, state, self)
    }

    fn mark_validated(reply: &mut AllocationReply, owner: OwnerId, state: &KindState<OesRecords>) {
        reply.mark_validated(owner, state);
    }

    fn add_writes(reply: &AllocationReply, writes: &mut CallWrites) {
        reply.add_to(writes);
    }

    fn replayed_record(reply: &AllocationReply) -> Option<RecordName> {
        Some(RecordName::Id(reply.allocation.record.id.to_string()))
    }

    fn fill_replayed_balances(reply: &mut AllocationReply, balances: &[Balance]) {
        reply.fill(balances);
    }
}
