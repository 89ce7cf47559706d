//! What is hashed, in version 1. All hashes are SHA-256.
//!
//! | digest | of |
//! |---|---|
//! | account | `earmark account 1`, owner, account, unit, start, end, and each of its entries in the period by time |
//! | owner | `earmark owner 1`, owner, start, end, and by account and unit: account, unit, number of entries, last entry's version, time and count of reservations, available, held, digest |
//! | period | `earmark period 1`, digest of the period before (32 zero bytes for the first), start, end, and by owner: owner, number of entries, digest |
//!
//! An entry is the byte 1, owner, account, unit, version, available delta, held delta, available, held, count of reservations,
//! cause, cause's id, time.
//!
//! A UUID is its 16 bytes. A number is 8 bytes, signed, the highest first; a time is the number of microseconds since 1970. A
//! text is a byte that counts its bytes (255 and a number for more than 254), and these. An amount is the text of the decimal without an exponent, leading zeros, a
//! `+`, and zeros or a point at the end. Since every part has a known end, no two lists of parts have the same bytes.
//!
//! What is hashed of sealed periods must never change. Another form gets another version, beside this one.

use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::ledger::seal::model::{
    AccountSeal, CarriedBalance, JournalLine, LineAmounts, OwnerSeal, PeriodBounds, PeriodSeal,
    SealDigest, SealKey,
};
use crate::types::amount::Amount;
use crate::types::ids::OwnerId;
use crate::types::time::Time;

/// The version of what is hashed, as it is stored with each period.
pub const SEAL_FORMAT: i32 = 1;

const ACCOUNT: &[u8] = b"earmark account 1";
const OWNER: &[u8] = b"earmark owner 1";
const PERIOD: &[u8] = b"earmark period 1";
/// The first byte of an entry.
const ENTRY: u8 = 1;
/// Stands for an entry that cannot be hashed. No seal has it.
const UNREADABLE: u8 = 0;

/// Bytes that are gathered before they are hashed.
#[derive(Debug, Default)]
struct Parts(Vec<u8>);

impl Parts {
    fn uuid(&mut self, id: Uuid) {
        self.0.extend_from_slice(id.as_bytes());
    }

    fn number(&mut self, number: i64) {
        self.0.extend_from_slice(&number.to_be_bytes());
    }

    fn time(&mut self, time: Time) {
        self.number(time.micros());
    }

    fn bounds(&mut self, bounds: PeriodBounds) {
        self.time(bounds.start);
        self.time(bounds.end);
    }

    /// Units and causes have at most 32 characters of ASCII; only a person could have stored a longer one.
    fn text(&mut self, text: &str) {
        match u8::try_from(text.len()) {
            Ok(length) if length < u8::MAX => self.0.push(length),
            _ => {
                self.0.push(u8::MAX);
                self.number(i64::try_from(text.len()).unwrap_or(i64::MAX));
            }
        }
        self.0.extend_from_slice(text.as_bytes());
    }

    /// The text of an amount, written without going through a formatter: four of them are hashed of each entry.
    fn amount(&mut self, amount: Amount) {
        let decimal = amount.to_decimal().normalize();
        let mut scale = decimal.scale();
        let mut rest = decimal.mantissa().unsigned_abs();
        // At most a sign, 29 digits, a point and a zero before it, from the last character on.
        let mut text = [0; 40];
        let mut start = text.len();
        let mut put = |character: u8| {
            start -= 1;
            text[start] = character;
        };
        let has_fraction = scale > 0;
        loop {
            // Divisions of 64 bits are many times faster.
            let digit = match u64::try_from(rest) {
                Ok(short) => {
                    rest = u128::from(short / 10);
                    short % 10
                }
                Err(_) => {
                    let digit = rest % 10;
                    rest /= 10;
                    u64::try_from(digit).unwrap_or_default()
                }
            };
            put(b'0' + u8::try_from(digit).unwrap_or_default());
            if has_fraction && scale > 0 {
                scale -= 1;
                if scale == 0 {
                    put(b'.');
                    continue;
                }
            }
            if rest == 0 && scale == 0 {
                break;
            }
        }
        if decimal.is_sign_negative() && !decimal.is_zero() {
            put(b'-');
        }
        let text = &text[start..];
        self.0.push(u8::try_from(text.len()).unwrap_or(u8::MAX));
        self.0.extend_from_slice(text);
    }

    fn entry(&mut self, line: &JournalLine<'_>, amounts: &LineAmounts, time: Time) {
        self.0.push(ENTRY);
        self.uuid(line.owner);
        self.uuid(line.account);
        self.text(line.unit);
        self.number(line.version);
        self.amount(amounts.available_delta);
        self.amount(amounts.held_delta);
        self.amount(amounts.available);
        self.amount(amounts.held);
        self.number(line.reservation_count);
        self.text(line.cause);
        self.uuid(line.cause_id);
        self.time(time);
    }
}

/// Hashes parts as they come.
#[derive(Debug)]
struct Hasher {
    sha: Sha256,
    parts: Parts,
}

impl Hasher {
    fn new(tag: &[u8]) -> Self {
        Self {
            sha: Sha256::new_with_prefix(tag),
            parts: Parts::default(),
        }
    }

    fn add(&mut self, write: impl FnOnce(&mut Parts)) {
        self.parts.0.clear();
        write(&mut self.parts);
        self.sha.update(&self.parts.0);
    }

    fn finish(self) -> SealDigest {
        SealDigest(self.sha.finalize().into())
    }
}

/// Hashes the entries of one account in one period.
#[derive(Debug)]
pub struct AccountHasher {
    hasher: Hasher,
    entries: i64,
}

impl AccountHasher {
    /// A hasher that has no entry yet.
    pub fn new(key: &SealKey, bounds: PeriodBounds) -> Self {
        let mut hasher = Hasher::new(ACCOUNT);
        hasher.add(|parts| {
            parts.uuid(key.owner.0);
            parts.uuid(key.account.0);
            parts.text(key.unit.as_str());
            parts.bounds(bounds);
        });
        Self { hasher, entries: 0 }
    }

    /// Adds the next entry, by time.
    pub fn add(&mut self, line: &JournalLine<'_>, amounts: &LineAmounts, time: Time) {
        self.hasher.add(|parts| parts.entry(line, amounts, time));
        self.entries += 1;
    }

    /// Adds an entry that cannot be hashed, so that the digest is none that was ever sealed.
    pub fn add_unreadable(&mut self) {
        self.hasher.add(|parts| parts.0.push(UNREADABLE));
        self.entries += 1;
    }

    /// The number of entries that were added.
    pub fn entries(&self) -> i64 {
        self.entries
    }

    /// The seal of the account, which has this balance after the last entry.
    pub fn finish(self, key: SealKey, end: Time, carried: CarriedBalance) -> AccountSeal {
        AccountSeal {
            key,
            end,
            entries: self.entries,
            carried,
            digest: self.hasher.finish(),
        }
    }
}

/// Hashes the accounts of one owner in one period.
#[derive(Debug)]
pub struct OwnerHasher {
    hasher: Hasher,
    owner: OwnerId,
    end: Time,
    entries: i64,
}

impl OwnerHasher {
    /// A hasher that has no account yet.
    pub fn new(owner: OwnerId, bounds: PeriodBounds) -> Self {
        let mut hasher = Hasher::new(OWNER);
        hasher.add(|parts| {
            parts.uuid(owner.0);
            parts.bounds(bounds);
        });
        Self {
            hasher,
            owner,
            end: bounds.end,
            entries: 0,
        }
    }

    /// Adds the next account, by id and unit.
    pub fn add(&mut self, seal: &AccountSeal) {
        let CarriedBalance { balance, time } = seal.carried;
        self.hasher.add(|parts| {
            parts.uuid(seal.key.account.0);
            parts.text(seal.key.unit.as_str());
            parts.number(seal.entries);
            parts.number(balance.version);
            parts.time(time);
            parts.number(balance.reservation_count);
            parts.amount(balance.available);
            parts.amount(balance.held);
            parts.0.extend_from_slice(&seal.digest.0);
        });
        self.entries = self.entries.saturating_add(seal.entries);
    }

    /// The seal of the owner.
    pub fn finish(self) -> OwnerSeal {
        OwnerSeal {
            owner: self.owner,
            end: self.end,
            entries: self.entries,
            digest: self.hasher.finish(),
        }
    }
}

/// Hashes the owners of one period.
#[derive(Debug)]
pub struct PeriodHasher {
    hasher: Hasher,
    bounds: PeriodBounds,
    previous: Option<SealDigest>,
    owners: i64,
    entries: i64,
}

impl PeriodHasher {
    /// A hasher that has no owner yet.
    pub fn new(previous: Option<SealDigest>, bounds: PeriodBounds) -> Self {
        let mut hasher = Hasher::new(PERIOD);
        hasher.add(|parts| {
            let digest = previous.map_or([0; 32], |digest| digest.0);
            parts.0.extend_from_slice(&digest);
            parts.bounds(bounds);
        });
        Self {
            hasher,
            bounds,
            previous,
            owners: 0,
            entries: 0,
        }
    }

    /// Adds the next owner, by id.
    pub fn add(&mut self, seal: &OwnerSeal) {
        self.hasher.add(|parts| {
            parts.uuid(seal.owner.0);
            parts.number(seal.entries);
            parts.0.extend_from_slice(&seal.digest.0);
        });
        self.owners += 1;
        self.entries = self.entries.saturating_add(seal.entries);
    }

    /// The seal of the period.
    pub fn finish(self) -> PeriodSeal {
        PeriodSeal {
            bounds: self.bounds,
            previous: self.previous,
            owners: self.owners,
            entries: self.entries,
            digest: self.hasher.finish(),
        }
    }
}

#[cfg(test)]
mod tests;
