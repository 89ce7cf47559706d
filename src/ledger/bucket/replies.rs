//! Replies to operations on buckets.

use crate::ledger::account::{AccountKey, Balance};
use crate::ledger::bucket::model::{BalanceAction, Bucket};
use crate::ledger::bucket::request::BucketReply;
use crate::ledger::kind::{BalanceAt, Judgement, Origin};
use crate::types::ids::AccountId;
use crate::types::time::Time;

/// The reply to an operation that was carried out now.
pub(super) fn done(
    now: Time,
    bucket: Bucket,
    balance: Balance,
    action: Option<BalanceAction>,
) -> BucketReply {
    BucketReply {
        bucket,
        balance,
        action,
        now,
        origin: Origin::Done,
    }
}

/// The judgement that an operation was carried out before, at this time, and left this version of the bucket's account.
pub(super) fn replay(
    now: Time,
    bucket: Bucket,
    action: Option<BalanceAction>,
    (own_version, time): (i64, Time),
) -> Judgement<BucketReply> {
    let balance = BalanceAt {
        owner: bucket.owner,
        key: AccountKey::new(AccountId::OWN, &bucket.unit),
        version: own_version,
        time,
    };
    let reply = BucketReply {
        bucket,
        balance: Balance::default(),
        action,
        now,
        origin: Origin::Replayed,
    };
    Judgement::Replay(reply, vec![balance])
}
