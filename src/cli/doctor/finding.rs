//! What a check has found.

use std::time::Duration;

use serde::Serialize;

/// How a finding is to be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum FindingState {
    /// As it should be.
    Ok,
    /// Could not be looked at, or there was no setting for it.
    NotLookedAt,
    /// Works, and will hurt one day or under load.
    Warning,
    /// A server does not work with it, or data is at risk.
    Problem,
}

impl FindingState {
    pub(super) const ALL: [Self; 4] = [Self::Ok, Self::NotLookedAt, Self::Warning, Self::Problem];

    /// The word that is printed.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::NotLookedAt => "not looked at",
            Self::Warning => "warning",
            Self::Problem => "problem",
        }
    }
}

/// The result of one check.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Finding {
    /// Group and check, such as `settings.fsync`; stable, so that programs may refer to it.
    pub(super) name: &'static str,
    pub(super) state: FindingState,
    /// What was found, with numbers; one line.
    pub(super) found: String,
    /// What to do; `None` if it is ok.
    pub(super) advice: Option<String>,
}

impl Finding {
    pub(super) fn ok(name: &'static str, found: impl Into<String>) -> Self {
        Self {
            name,
            state: FindingState::Ok,
            found: one_line(found),
            advice: None,
        }
    }

    /// A finding that says what to do.
    pub(super) fn new(
        state: FindingState,
        name: &'static str,
        found: impl Into<String>,
        advice: impl Into<String>,
    ) -> Self {
        Self {
            advice: Some(one_line(advice)),
            ..Self {
                state,
                ..Self::ok(name, found)
            }
        }
    }

    pub(super) fn warning(
        name: &'static str,
        found: impl Into<String>,
        advice: impl Into<String>,
    ) -> Self {
        Self::new(FindingState::Warning, name, found, advice)
    }

    pub(super) fn problem(
        name: &'static str,
        found: impl Into<String>,
        advice: impl Into<String>,
    ) -> Self {
        Self::new(FindingState::Problem, name, found, advice)
    }

    /// Something that was not looked at, why, and how it can be.
    pub(super) fn not_looked_at(
        name: &'static str,
        why: impl Into<String>,
        advice: impl Into<String>,
    ) -> Self {
        Self::new(FindingState::NotLookedAt, name, why, advice)
    }
}

fn one_line(text: impl Into<String>) -> String {
    text.into().replace(['\r', '\n'], " ")
}

/// All findings, in the order of the checks.
#[derive(Debug)]
pub(super) struct Diagnosis {
    pub(super) findings: Vec<Finding>,
    pub(super) took: Duration,
}

impl Diagnosis {
    pub(super) fn new(findings: Vec<Finding>, took: Duration) -> Self {
        Self { findings, took }
    }

    pub(super) fn count(&self, state: FindingState) -> usize {
        self.findings
            .iter()
            .filter(|finding| finding.state == state)
            .count()
    }

    /// The worst state among the findings.
    pub(super) fn state(&self) -> FindingState {
        let states = self.findings.iter().map(|finding| finding.state);
        states
            .filter(|state| *state != FindingState::NotLookedAt)
            .max()
            .unwrap_or(FindingState::Ok)
    }
}
