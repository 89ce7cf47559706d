//! What a replay answers: the balances that its first answer showed, which the journal has.

use crate::error::{Error, Result};
use crate::ledger::command::bucket::BucketReply;
use crate::ledger::command::{AdjustmentReply, AllocationReply, Reply};
use crate::ledger::model::{AccountKey, Balance, Versions};
use crate::types::ids::{AccountId, OwnerId};
use crate::types::unit::Unit;

/// The accounts and versions whose balances a replay answers.
pub fn past_balances(reply: &Reply, versions: Versions) -> Vec<(OwnerId, AccountKey, i64)> {
    let key = |account, unit: &Unit| AccountKey {
        account,
        unit: unit.clone(),
    };
    let wanted = match reply {
        Reply::Allocation(reply) => {
            let allocation = &reply.allocation;
            vec![
                (
                    allocation.owner,
                    key(AccountId::OWN, &allocation.unit),
                    versions.custody,
                ),
                (
                    allocation.owner,
                    key(allocation.connection.into(), &allocation.unit),
                    versions.connection,
                ),
            ]
        }
        Reply::Adjustment(reply) => {
            let adjustment = &reply.adjustment;
            vec![(
                adjustment.owner,
                key(AccountId::OWN, &adjustment.unit),
                versions.custody,
            )]
        }
        Reply::Bucket(reply) => {
            let bucket = &reply.bucket;
            vec![(
                bucket.owner,
                key(AccountId::OWN, &bucket.unit),
                versions.custody,
            )]
        }
        Reply::Submitted(_) | Reply::Expired => Vec::new(),
    };
    // Version 0 is the account before its first entry: nothing in it.
    wanted
        .into_iter()
        .filter(|(_, _, version)| *version > 0)
        .collect()
}

/// Fills in the balances that a replay answers.
pub fn fill_past(
    reply: &mut Reply,
    versions: Versions,
    past: impl Fn(OwnerId, &AccountKey, i64) -> Option<Balance>,
) -> Result<()> {
    let find = |owner, account, unit: &Unit, version| {
        if version == 0 {
            return Ok(Balance::default());
        }
        let key = AccountKey {
            account,
            unit: unit.clone(),
        };
        past(owner, &key, version)
            .ok_or_else(|| Error::internal("L4: the journal lacks an entry that a record names"))
    };
    match reply {
        Reply::Allocation(reply) => {
            let AllocationReply {
                allocation,
                custody,
                connection,
                ..
            } = &mut **reply;
            *custody = find(
                allocation.owner,
                AccountId::OWN,
                &allocation.unit,
                versions.custody,
            )?;
            *connection = find(
                allocation.owner,
                allocation.connection.into(),
                &allocation.unit,
                versions.connection,
            )?;
        }
        Reply::Adjustment(reply) => {
            let AdjustmentReply {
                adjustment,
                custody,
                ..
            } = &mut **reply;
            *custody = find(
                adjustment.owner,
                AccountId::OWN,
                &adjustment.unit,
                versions.custody,
            )?;
        }
        Reply::Bucket(reply) => {
            let BucketReply {
                bucket, balance, ..
            } = &mut **reply;
            *balance = find(bucket.owner, AccountId::OWN, &bucket.unit, versions.custody)?;
        }
        Reply::Submitted(_) | Reply::Expired => {}
    }
    Ok(())
}
