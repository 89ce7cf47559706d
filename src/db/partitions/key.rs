//! The keys that tables are partitioned by, and the bounds of their partitions.

use uuid::Uuid;

use crate::types::ids::ordered_micros;
use crate::types::time::Time;

/// What the column is that a table is partitioned by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum KeyKind {
    /// A `timestamptz`, in microseconds.
    Time,
    /// A `uuid` of version 7, which begins with its time in milliseconds.
    Id,
}

/// A bound of a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct KeyBound {
    /// The time of the bound; of an id, in whole milliseconds.
    pub(super) at: Time,
    /// The bound as Postgres takes it between quotes.
    pub(super) literal: String,
}

impl KeyKind {
    /// The bound below every key of this time or a later one, and above every key of an earlier one.
    pub(super) fn bound_at(self, at: Time) -> KeyBound {
        let literal = match self {
            Self::Time => at.to_string(),
            Self::Id => {
                let millis = u128::try_from(at.micros().div_euclid(1_000)).unwrap_or(0);
                Uuid::from_u128(millis << 80).to_string()
            }
        };
        KeyBound { at, literal }
    }

    /// The SQL of the key as a text that sorts as the key does where `min` and `max` are asked for it.
    pub(super) fn comparable(self, key: &str) -> String {
        match self {
            Self::Time => key.into(),
            // Before version 18, Postgres has no `min` and `max` of ids.
            Self::Id => format!("{key}::text COLLATE \"C\""),
        }
    }

    /// The SQL that makes a text of what `min` or `max` has found, for [`KeyKind::time_of`].
    pub(super) fn shown(self, found: &str) -> String {
        match self {
            Self::Time => format!("(extract(epoch FROM {found}) * 1000000)::int8::text"),
            Self::Id => found.into(),
        }
    }

    /// The time of a key that the database has shown; `None` if it is no key, or is later than the calendar.
    pub(super) fn time_of(self, shown: &str) -> Option<Time> {
        let micros = match self {
            Self::Time => shown.parse().ok()?,
            Self::Id => ordered_micros(shown.parse().ok()?),
        };
        Time::from_micros(micros)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::types::ids::ordered_id;

    proptest! {
        #[test]
        fn an_id_is_within_the_bounds_of_its_time(micros in 1_i64..4_000_000_000_000_000, bits in any::<u64>()) {
            let at = Time::from_micros(micros - micros % 1_000).expect("in range");
            let bound: Uuid = KeyKind::Id.bound_at(at).literal.parse().expect("an id");
            prop_assert!(ordered_id(at, bits.to_be_bytes()) >= bound);
            prop_assert!(ordered_id(at.previous(), bits.to_be_bytes()) < bound);
            prop_assert_eq!(KeyKind::Id.time_of(&bound.to_string()), Some(at));
        }
    }
}
