//! Ids: one type per kind of record, so that the compiler refuses an id of another kind.

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::types::time::Time;

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub Uuid);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.as_hyphenated().fmt(f)
            }
        }

        impl From<Uuid> for $name {
            fn from(id: Uuid) -> Self {
                Self(id)
            }
        }
    )*};
}

ids! {
    /// An enterprise, which owns its custody account and the accounts of its client's connections.
    EnterpriseId
    /// A client: the side of an enterprise whose custody is allocated.
    ClientId
    /// A partner: a trading venue that clients allocate to.
    PartnerId
    /// A connection between a client and a partner.
    ConnectionId
    /// An allocation or deallocation of the OES ledger.
    AllocationId
    /// A deposit or withdrawal of custody.
    AdjustmentId
    /// A balance action of a prepaid bucket.
    ActionId
    /// A tenant, which owns prepaid buckets.
    TenantId
    /// An allocation of book building (CAS).
    CasAllocationId
    /// The key by which value is routed, locked and distributed over shards.
    OwnerId
    /// An account within its owner.
    AccountId
}

/// A firm, which owns CAS allocations: the value of the claim `firm_id`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FirmId(pub String);

/// The number of a company in the catalogue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CompanyId(pub i64);

impl fmt::Display for CompanyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl From<EnterpriseId> for OwnerId {
    fn from(id: EnterpriseId) -> Self {
        Self(id.0)
    }
}

impl OwnerId {
    /// The namespaces of the ids below. They must never change, since the ids are stored.
    const BUCKETS: Uuid = Uuid::from_u128(0x3f3c_9e0c_1c5e_4a55_9c3b_5d0e_8a4b_7f21);
    const FIRMS: Uuid = Uuid::from_u128(0x5d0c_2f5e_9a43_4c0b_8b0e_6f3a_1d7c_42e9);
    const COMPANIES: Uuid = Uuid::from_u128(0x9b0f_3c55_7d0a_4c1e_8f5b_2f6a_1d0c_44e3);

    /// The owner of the CAS allocations of a firm.
    pub fn of_firm(firm: &FirmId) -> Self {
        Self(Uuid::new_v5(&Self::FIRMS, firm.0.as_bytes()))
    }

    /// The owner of the catalogue of a company.
    pub fn of_company(company: CompanyId) -> Self {
        Self(Uuid::new_v5(&Self::COMPANIES, &company.0.to_be_bytes()))
    }

    /// The owner that a bucket is. It is computed from tenant and id, so that a call needs no lookup to find it.
    pub fn of_bucket(tenant: TenantId, id: &str) -> Self {
        let mut name = tenant.0.into_bytes().to_vec();
        name.extend_from_slice(id.as_bytes());
        Self(Uuid::new_v5(&Self::BUCKETS, &name))
    }
}

impl From<ConnectionId> for AccountId {
    fn from(id: ConnectionId) -> Self {
        Self(id.0)
    }
}

impl AllocationId {
    /// The id in the answer to a creation that was only validated.
    pub const NIL: Self = Self(Uuid::nil());
}

impl ActionId {
    /// The id in the answer to an action that was only validated.
    pub const NIL: Self = Self(Uuid::nil());

    /// The id of the action by which a bucket's opening value is shown. It is not stored: time and owner give it.
    pub fn of_opening(bucket: OwnerId, created_at: Time) -> Self {
        let random = (bucket.0.as_u128() & u128::from(u64::MAX)).to_be_bytes();
        let mut entropy = Entropy::default();
        entropy.copy_from_slice(&random[8..]);
        Self(ordered_id(created_at, entropy))
    }
}

impl AccountId {
    /// The main account of an owner: a client's custody, a bucket's value.
    pub const OWN: Self = Self(Uuid::from_u128(1));
    /// The account that value from outside of the ledger comes from; may be negative.
    pub const WORLD: Self = Self(Uuid::from_u128(2));
    /// The account that value between two owners passes through; may be negative.
    pub const TRANSIT: Self = Self(Uuid::from_u128(3));

    /// The name of the account in answers: `custody`, `world`, `transit`, or the id of the connection
    /// whose account it is.
    pub fn name(self) -> Cow<'static, str> {
        match self {
            Self::OWN => "custody".into(),
            Self::WORLD => "world".into(),
            Self::TRANSIT => "transit".into(),
            Self(connection) => connection.to_string().into(),
        }
    }

    /// Whether the balance of the account may be negative: the exemption of invariant L2.
    pub fn may_be_negative(self) -> bool {
        self == Self::WORLD || self == Self::TRANSIT
    }
}

/// The random bits of an id. Callers draw them, so that code that makes ids can be deterministic.
pub type Entropy = [u8; 8];

/// Makes a UUID of version 7 that sorts by `time` to the microsecond.
///
/// By method 3 of RFC 9562 the 12 bits behind the milliseconds are the microseconds; 62 bits are random. All movements
/// of an owner have different times, so the ids of its records sort by creation.
pub fn ordered_id(time: Time, entropy: Entropy) -> Uuid {
    let micros = u64::try_from(time.micros()).unwrap_or(0);
    let millis = micros / 1_000;
    let fraction = u128::from(micros % 1_000) << 2;
    let random = u128::from(u64::from_be_bytes(entropy)) & ((1 << 62) - 1);
    let bits = (u128::from(millis) << 80) | (7 << 76) | (fraction << 64) | (0b10 << 62) | random;
    Uuid::from_u128(bits)
}

/// The time of which [`ordered_id`] made the id, in microseconds since 1970.
pub fn ordered_micros(id: Uuid) -> i64 {
    let bits = id.as_u128();
    let millis = i64::try_from(bits >> 80).unwrap_or(i64::MAX / 1_000 - 2);
    let fraction = i64::try_from((bits >> 66) & 0x3ff).unwrap_or(0);
    millis * 1_000 + fraction
}

/// The time of which [`ordered_id`] made the id; none if it could not have made it.
pub fn ordered_time(id: Uuid) -> Option<Time> {
    let is_ordered = id.get_version_num() == 7 && id.get_variant() == uuid::Variant::RFC4122;
    let time = is_ordered.then(|| Time::from_micros(ordered_micros(id)));
    time.flatten()
}

/// Makes a UUID of version 7 by the clock of this process, for records outside of the ledger.
pub fn new_id() -> Uuid {
    Uuid::now_v7()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owners_of_buckets_are_for_ever() {
        let tenant = TenantId(Uuid::from_u128(7));
        let owner = OwnerId::of_bucket(tenant, "0.0.0.1+-balance_group+106463");
        assert_eq!(owner.to_string(), "313198c5-6d30-5f62-864f-bc0db1c1c379");
        assert_ne!(
            owner,
            OwnerId::of_bucket(
                TenantId(Uuid::from_u128(8)),
                "0.0.0.1+-balance_group+106463"
            )
        );
    }

    #[test]
    fn owners_of_firms_are_for_ever() {
        let owner = OwnerId::of_firm(&FirmId("42".into()));
        assert_eq!(owner.to_string(), "bbb1cd51-51cd-581f-a4a7-ab0bfe5f54e2");
    }

    #[test]
    fn owners_of_companies_are_for_ever() {
        let owner = OwnerId::of_company(CompanyId(1));
        assert_eq!(owner.to_string(), "57dea9a3-415d-5945-8352-bd69337db766");
    }

    #[test]
    fn ordered_ids_sort_by_microsecond_and_are_version_7() {
        let earlier = Time::from_micros(1_700_000_000_000_001).expect("in range");
        let later = Time::from_micros(1_700_000_000_000_002).expect("in range");
        let (a, b) = (ordered_id(earlier, [0xff; 8]), ordered_id(later, [0x00; 8]));
        assert!(a < b, "{a} sorts before {b}");
        for id in [a, b] {
            assert_eq!(id.get_version_num(), 7);
            assert_eq!(id.get_variant(), uuid::Variant::RFC4122);
        }
        assert_eq!(ordered_time(a), Some(earlier));
        assert_eq!(ordered_time(b), Some(later));
        for id in [Uuid::nil(), Uuid::max(), Uuid::new_v4()] {
            assert_eq!(ordered_time(id), None, "{id}");
        }
        assert_eq!(ordered_micros(a), earlier.micros());
        assert_eq!(ordered_micros(b), later.micros());
        let (seconds, nanos) = a.get_timestamp().expect("version 7").to_unix();
        assert_eq!((seconds, nanos), (1_700_000_000, 0));
    }
}
