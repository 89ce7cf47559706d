//! Decides what a put does: the ids of the record are its idempotency key.

use crate::db::record_write::require_version;
use crate::error::Result;

/// What a put does with the record that it finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PutDecision {
    /// Leaves the record, which has the content of the put already; with its version.
    Replay(i64),
    /// Creates the record; with its first version.
    Create(i64),
    /// Replaces the record; with its new version.
    Replace(i64),
}

impl PutDecision {
    /// The version of the record after the put.
    pub(crate) fn version(self) -> i64 {
        match self {
            Self::Replay(version) | Self::Create(version) | Self::Replace(version) => version,
        }
    }

    /// Whether the put leaves the record as it is.
    pub(crate) fn is_replay(self) -> bool {
        matches!(self, Self::Replay(_))
    }
}

/// The record that a put finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PutTarget {
    pub(crate) version: i64,
    /// The version that the record was created with.
    pub(crate) first_version: i64,
    /// Whether the content of the record is that of the put.
    pub(crate) is_same: bool,
}

/// Decides what a put does with the record with this id that it finds. A record that it creates begins above `deleted_version_max`,
/// the highest version of all that were deleted, so that no version ever names two contents.
///
/// A put with the same content is a repetition if it expects the stored version or the one before: the latter is what
/// the put that wrote the record expected, if it expected any. The version before a record's first one is 0.
///
/// # Errors
/// A version mismatch if the put expects another version; the actual version is 0 if there is no record.
pub(crate) fn decide_put(
    id: i64,
    expected: Option<i64>,
    found: Option<PutTarget>,
    deleted_version_max: i64,
) -> Result<PutDecision> {
    let Some(found) = found else {
        require_version(id, expected, 0)?;
        return Ok(PutDecision::Create(deleted_version_max + 1));
    };
    let before = if found.version == found.first_version {
        0
    } else {
        found.version - 1
    };
    let is_repetition = |expected| [before, found.version].contains(&expected);
    if found.is_same && expected.is_none_or(is_repetition) {
        return Ok(PutDecision::Replay(found.version));
    }
    require_version(id, expected, found.version)?;
    Ok(PutDecision::Replace(found.version + 1))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::error::{Error, RecordName};

    fn target(version: i64, first_version: i64, is_same: bool) -> Option<PutTarget> {
        Some(PutTarget {
            version,
            first_version,
            is_same,
        })
    }

    #[test]
    fn a_put_replaces_unless_nothing_would_change() {
        let mismatch = |expected, actual| {
            Err(Error::VersionMismatch {
                record: RecordName::Id("9".into()),
                expected,
                actual,
            })
        };
        for (expected, found, decision) in [
            (None, None, Ok(PutDecision::Create(1))),
            (Some(0), None, Ok(PutDecision::Create(1))),
            (Some(1), None, mismatch(1, 0)),
            (None, target(3, 1, false), Ok(PutDecision::Replace(4))),
            (Some(3), target(3, 1, false), Ok(PutDecision::Replace(4))),
            (Some(2), target(3, 1, false), mismatch(2, 3)),
            (None, target(3, 1, true), Ok(PutDecision::Replay(3))),
            (Some(3), target(3, 1, true), Ok(PutDecision::Replay(3))),
            (Some(2), target(3, 1, true), Ok(PutDecision::Replay(3))),
            (Some(1), target(3, 1, true), mismatch(1, 3)),
            (Some(4), target(3, 1, true), mismatch(4, 3)),
            (Some(0), target(1, 1, true), Ok(PutDecision::Replay(1))),
            (Some(0), target(1, 1, false), mismatch(0, 1)),
            // A record that was created anew above the version 4.
            (Some(0), target(5, 5, true), Ok(PutDecision::Replay(5))),
            (Some(4), target(5, 5, true), mismatch(4, 5)),
            (Some(0), target(6, 5, true), mismatch(0, 6)),
        ] {
            let decided = decide_put(9, expected, found, 0);
            assert_eq!(decided, decision, "{expected:?} {found:?}");
        }
        let anew = decide_put(9, Some(0), None, 4);
        assert_eq!(anew, Ok(PutDecision::Create(5)));
    }

    proptest! {
        /// Repeating a put that was applied leaves the record as it is, whatever version it expects.
        #[test]
        fn a_repeat_is_a_replay(
            expected in proptest::option::of(-1_i64..8),
            found in proptest::option::of((0_i64..3, 1_i64..4, any::<bool>())),
            deleted in 0_i64..4,
        ) {
            let found = found.map(|(writes, first_version, is_same)| PutTarget { version: first_version + writes, first_version, is_same });
            if let Ok(decision) = decide_put(9, expected, found, deleted) {
                let version = decision.version();
                let first_version = found.map_or(version, |found| found.first_version);
                let written = PutTarget { version, first_version, is_same: true };
                prop_assert_eq!(decide_put(9, expected, Some(written), deleted), Ok(PutDecision::Replay(version)));
            }
        }
    }
}
