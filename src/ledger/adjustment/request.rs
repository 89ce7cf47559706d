//! What custodians ask of adjustments, and what they are answered.

use crate::audit::{CallWrites, Named, RecordId};
use crate::error::{AdjustmentHolder, Error, RecordName, Result};
use crate::ledger::account::{AccountKey, Balance, Cause};
use crate::ledger::adjustment::model::Adjustment;
use crate::ledger::adjustment::model::Adjustments;
use crate::ledger::adjustment::records::AdjustmentRecords;
use crate::ledger::adjustment::statements::{AdjustmentKey, AdjustmentReads};
use crate::ledger::books::{Books, Leg, Owner, ReservationChange};
use crate::ledger::enterprise;
use crate::ledger::kind::{
    AccountReads, BalanceAt, CommandHead, Judgement, KindState, Origin, Request,
};
use crate::limits::ENTERPRISE_CURRENCIES_MAX;
use crate::types::amount::Amount;
use crate::types::content::ContentHash;
use crate::types::ids::{AccountId, AdjustmentId, EnterpriseId, OwnerId, ordered_id};
use crate::types::time::Time;
use crate::types::unit::Unit;

/// The only account that is adjusted, as callers know it.
const CUSTODY: &str = "custody";

/// Deposits value to custody or withdraws it.
#[derive(Clone, Debug)]
pub struct AdjustCustody {
    /// The currency of the quantity.
    pub unit: Unit,
    /// The amount in base units; negative withdraws, never zero.
    pub quantity: Amount,
    /// The idempotency key of the request.
    pub external_id: String,
    /// The reason that the custodian gave.
    pub reason: String,
    /// The subject of the caller's token.
    pub initiated_by: String,
    /// What a repetition of the idempotency key is compared by.
    pub content: ContentHash,
}

/// An adjustment, with the balance after it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdjustmentReply {
    /// The adjustment as it is stored.
    pub adjustment: Adjustment,
    /// Custody after the movement; of a replay, as its first reply showed it.
    pub custody: Balance,
    /// How the reply came about.
    pub origin: Origin,
}

impl Request for AdjustCustody {
    type Kind = Adjustments;
    type Reply = AdjustmentReply;

    fn add_reads(
        &self,
        owner: OwnerId,
        read_set: &mut AdjustmentReads,
        accounts: &mut AccountReads,
    ) {
        read_set.keys.insert(AdjustmentKey {
            owner,
            external_id: self.external_id.clone(),
        });
        if !self.quantity.is_negative() {
            read_set.deposits.insert((owner, self.unit.clone()));
        }
        for account in [AccountId::OWN, AccountId::WORLD] {
            accounts.add(owner, AccountKey::new(account, &self.unit));
        }
    }

    fn judge(
        &self,
        command: &CommandHead,
        books: &mut Books,
        state: &mut KindState<Adjustments>,
    ) -> Judgement<AdjustmentReply> {
        let now = books.now;
        let owner = match enterprise::find_client(books, command.owner) {
            Ok(owner) => owner,
            Err(error) => return error.into(),
        };
        let records = state.records_mut(command.owner);
        match records.by_key(&self.external_id) {
            None => self.judge_new(now, owner, records, command).into(),
            Some(stored) if stored.content == self.content => replay(stored.clone()),
            Some(stored) => Error::AdjustmentKeyReused(Box::new(AdjustmentHolder {
                id: stored.id,
                quantity: stored.quantity,
                unit: stored.unit.clone(),
                created_at: stored.created_at,
                stored: stored.differing_from(&self.unit, self.quantity, &self.reason),
            }))
            .into(),
        }
    }

    fn mark_validated(reply: &mut AdjustmentReply, _: OwnerId, _: &KindState<Adjustments>) {
        reply.origin = Origin::Validated;
    }

    fn add_writes(reply: &AdjustmentReply, writes: &mut CallWrites) {
        writes.add(reply.origin.into(), &reply.adjustment);
    }

    fn replayed_record(reply: &AdjustmentReply) -> Option<RecordName> {
        Some(RecordName::Id(reply.adjustment.id.to_string()))
    }

    fn fill_replayed_balances(reply: &mut AdjustmentReply, balances: &[Balance]) {
        if let [custody] = *balances {
            reply.custody = custody;
        }
    }
}

impl Named for Adjustment {
    const KIND: &'static str = "adjustment";

    fn record_id(&self) -> Option<RecordId> {
        Some(RecordId::Uuid(self.id.0))
    }
}

fn replay(stored: Adjustment) -> Judgement<AdjustmentReply> {
    let balance = BalanceAt {
        owner: stored.owner,
        key: AccountKey::new(AccountId::OWN, &stored.unit),
        version: stored.custody_version,
        time: stored.created_at,
    };
    let reply = AdjustmentReply {
        adjustment: stored,
        custody: Balance::default(),
        origin: Origin::Replayed,
    };
    Judgement::Replay(reply, vec![balance])
}

impl AdjustCustody {
    fn judge_new(
        &self,
        now: Time,
        owner: &mut Owner,
        records: &mut AdjustmentRecords,
        command: &CommandHead,
    ) -> Result<AdjustmentReply> {
        let is_new_currency = owner.balance(AccountId::WORLD, &self.unit).version == 0;
        if is_new_currency
            && !self.quantity.is_negative()
            && records.currencies() >= ENTERPRISE_CURRENCIES_MAX
        {
            return Err(Error::CurrenciesLimit {
                enterprise: EnterpriseId(command.owner.0),
                unit: self.unit.clone(),
            });
        }
        let legs = vec![
            Leg {
                account: AccountId::WORLD,
                available: self.quantity.negated(),
                held: Amount::ZERO,
                reservation: ReservationChange::None,
            },
            Leg {
                account: AccountId::OWN,
                available: self.quantity,
                held: Amount::ZERO,
                reservation: ReservationChange::None,
            },
        ];
        let movement = owner.plan(&self.unit, legs).map_err(|refusal| {
            refusal
                .into_error(&self.unit, self.quantity.negated())
                .in_account(CUSTODY)
        })?;
        let custody = owner.balance_after(&movement, AccountId::OWN);
        let time = owner.next_time(now);
        let id = ordered_id(time, command.entropy);
        let adjustment = Adjustment {
            id: AdjustmentId(id),
            owner: command.owner,
            external_id: self.external_id.clone(),
            unit: self.unit.clone(),
            quantity: self.quantity,
            reason: self.reason.clone(),
            initiated_by: self.initiated_by.clone(),
            content: self.content,
            custody_version: custody.version,
            created_at: time,
        };
        owner.apply(command.owner, movement, Cause::ADJUST, id, time);
        records.create(adjustment.clone());
        if is_new_currency {
            records.add_currency();
        }
        Ok(AdjustmentReply {
            adjustment,
            custody,
            origin: Origin::Done,
        })
    }
}
