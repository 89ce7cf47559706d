//! Decides what a put does: the ids of the record are its idempotency key.

use crate::db::record_write::require_version;
use crate::error::Result;

/// What a put does with the record that it finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PutDecision {
    /// Leaves the record, which has the content of the put already; with its version.
    Replay(i64),
    /// Creates the record with version 1.
    Create,
    /// Replaces the record; with its new version.
    Replace(i64),
}

impl PutDecision {
    /// The version of the record after the put.
    pub(crate) fn version(self) -> i64 {
        match self {
            Self::Replay(version) | Self::Replace(version) => version,
            Self::Create => 1,
        }
    }

    /// Whether the put leaves the record as it is.
    pub(crate) fn is_replay(self) -> bool {
        matches!(self, Self::Replay(_))
    }
}

/// Decides what a put does, by the stored record's version and whether its content is that of the put.
///
/// A put with the same content is a repetition if it expects the stored version or the one before: the latter is what
/// the put that wrote the record expected, if it expected any.
///
/// # Errors
/// A version mismatch if the put expects another version; the actual version is 0 if there is no record.
pub(crate) fn decide_put(expected: Option<i64>, found: Option<(i64, bool)>) -> Result<PutDecision> {
    let actual = found.map_or(0, |(version, _)| version);
    let is_same = found.is_some_and(|(_, is_same)| is_same);
    if is_same && expected.is_none_or(|expected| [actual - 1, actual].contains(&expected)) {
        return Ok(PutDecision::Replay(actual));
    }
    require_version(expected, actual)?;
    Ok(match actual {
        0 => PutDecision::Create,
        _ => PutDecision::Replace(actual + 1),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::error::Error;

    #[test]
    fn a_put_replaces_unless_nothing_would_change() {
        let mismatch = |expected, actual| Err(Error::VersionMismatch { expected, actual });
        for (expected, found, decision) in [
            (None, None, Ok(PutDecision::Create)),
            (Some(0), None, Ok(PutDecision::Create)),
            (Some(1), None, mismatch(1, 0)),
            (None, Some((3, false)), Ok(PutDecision::Replace(4))),
            (Some(3), Some((3, false)), Ok(PutDecision::Replace(4))),
            (Some(2), Some((3, false)), mismatch(2, 3)),
            (None, Some((3, true)), Ok(PutDecision::Replay(3))),
            (Some(3), Some((3, true)), Ok(PutDecision::Replay(3))),
            (Some(2), Some((3, true)), Ok(PutDecision::Replay(3))),
            (Some(1), Some((3, true)), mismatch(1, 3)),
            (Some(4), Some((3, true)), mismatch(4, 3)),
            (Some(0), Some((1, true)), Ok(PutDecision::Replay(1))),
            (Some(0), Some((1, false)), mismatch(0, 1)),
        ] {
            assert_eq!(
                decide_put(expected, found),
                decision,
                "{expected:?} {found:?}"
            );
        }
    }

    proptest! {
        /// Repeating a put that was applied leaves the record as it is, whatever version it expects.
        #[test]
        fn a_repeat_is_a_replay(expected in proptest::option::of(-1_i64..5), found in proptest::option::of((1_i64..4, any::<bool>()))) {
            if let Ok(decision) = decide_put(expected, found) {
                let version = decision.version();
                prop_assert_eq!(decide_put(expected, Some((version, true))), Ok(PutDecision::Replay(version)));
            }
        }
    }
}
