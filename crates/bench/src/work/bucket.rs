//! Calls of prepaid buckets.

use bytes::Bytes;
use earmark::proto::bucket::v1::{ActionAmount, DeductBalanceRequest, ReserveBalanceRequest};

use crate::client::{LoadWork, frame};
use crate::seed::bucket::{UNIT, bucket_id};

/// `ReserveBalance` of 1 in a random bucket, with a new key.
pub(crate) struct BenchReserve {
    pub(crate) token: String,
    /// How many there are.
    pub(crate) buckets: u32,
}

impl LoadWork for BenchReserve {
    fn path(&self) -> &'static str {
        "/earmark.bucket.v1.BucketService/ReserveBalance"
    }

    fn token(&self, _: usize) -> &str {
        &self.token
    }

    fn request(&self, _: usize, random: &mut fastrand::Rng) -> Bytes {
        frame(&ReserveBalanceRequest {
            bucket_id: bucket_id(random.u32(1..=self.buckets)),
            amount: one(),
            request_id: new_key(random),
            ..Default::default()
        })
    }
}

/// `DeductBalance` of 1 of what is available in a random bucket, with a new key.
pub(crate) struct BenchDeduct {
    pub(crate) token: String,
    /// How many there are.
    pub(crate) buckets: u32,
}

impl LoadWork for BenchDeduct {
    fn path(&self) -> &'static str {
        "/earmark.bucket.v1.BucketService/DeductBalance"
    }

    fn token(&self, _: usize) -> &str {
        &self.token
    }

    fn request(&self, _: usize, random: &mut fastrand::Rng) -> Bytes {
        frame(&DeductBalanceRequest {
            bucket_id: bucket_id(random.u32(1..=self.buckets)),
            amount: one(),
            request_id: new_key(random),
            ..Default::default()
        })
    }
}

fn one() -> Option<ActionAmount> {
    Some(ActionAmount {
        amount: "1".into(),
        units: UNIT.into(),
    })
}

fn new_key(random: &mut fastrand::Rng) -> String {
    random.u64(1..=i64::MAX.unsigned_abs()).to_string()
}
