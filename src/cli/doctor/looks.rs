//! Makes one look after the other, and turns one that fails into a finding.

use crate::cli::doctor::finding::Finding;
use crate::db::inspect::look::{InspectError, Inspector, Look};

/// The looks at a database, and what they have found so far.
pub(super) struct Looks {
    inspector: Inspector,
    findings: Vec<Finding>,
    /// What stands in advice for `<role>` and `<database>`.
    role: String,
    database: String,
}

impl Looks {
    pub(super) fn new(inspector: Inspector) -> Self {
        Self {
            inspector,
            findings: Vec::new(),
            role: "<role>".into(),
            database: "<database>".into(),
        }
    }

    /// Names the role and the database, with quotes where SQL needs them, for the advice from now on.
    pub(super) fn name(&mut self, role: &str, database: &str) {
        role.clone_into(&mut self.role);
        database.clone_into(&mut self.database);
    }

    /// Looks at something and judges it. If the look fails, that is the finding, under this name.
    pub(super) async fn add<T>(
        &mut self,
        name: &'static str,
        ask: impl AsyncFnOnce(&Look<'_>) -> Result<T, InspectError>,
        judge: impl FnOnce(T) -> Finding,
    ) {
        if let Some(facts) = self.ask(name, ask).await {
            self.push(judge(facts));
        }
    }

    /// Looks at something without judging it; `None` if that has failed, which is then a finding.
    pub(super) async fn ask<T>(
        &mut self,
        name: &'static str,
        ask: impl AsyncFnOnce(&Look<'_>) -> Result<T, InspectError>,
    ) -> Option<T> {
        match self.inspector.look(ask).await {
            Ok(facts) => Some(facts),
            Err(error) => {
                self.push(failed(name, &error));
                None
            }
        }
    }

    pub(super) fn push(&mut self, mut finding: Finding) {
        if let Some(advice) = &mut finding.advice {
            *advice = advice
                .replace("<role>", &self.role)
                .replace("<database>", &self.database);
        }
        self.findings.push(finding);
    }

    pub(super) fn into_findings(self) -> Vec<Finding> {
        self.findings
    }
}

fn failed(name: &'static str, error: &InspectError) -> Finding {
    let found = error.to_string();
    match error {
        InspectError::Denied(_) => Finding::not_looked_at(
            name,
            found,
            "let the role see it (GRANT pg_monitor TO <role>), or run `earmark doctor` once with the URL of an administrator",
        ),
        InspectError::Missing(_) => {
            Finding::not_looked_at(name, found, "run `earmark migrate`, which makes the tables")
        }
        InspectError::Skipped => Finding::not_looked_at(
            name,
            found,
            "see to the problem above, then run `earmark doctor` again",
        ),
        InspectError::OutOfTime => Finding::warning(
            name,
            format!("not looked at: {found}"),
            "the database answers slowly: look at what its sessions and its machine do, then run `earmark doctor` again",
        ),
        InspectError::Lost(_) => Finding::problem(
            name,
            format!("the check failed: {found}"),
            "the database, or what is between, ends connections: look at its log",
        ),
        InspectError::TimedOut(_) => Finding::problem(
            name,
            format!("the check failed: {found}"),
            "the database stands still or is overloaded: look at pg_stat_activity and at its machine",
        ),
        InspectError::Failed(text) if text.contains("lock timeout") => Finding::problem(
            name,
            format!("the check failed: {found}"),
            "a session has locked a table or catalog for itself: find it with SELECT pid, relation::regclass, mode FROM \
             pg_locks WHERE mode = 'AccessExclusiveLock', and end it with SELECT pg_terminate_backend(pid)",
        ),
        InspectError::Failed(_) => Finding::problem(
            name,
            format!("the check failed: {found}"),
            "look at the database's log; if the statement is wrong for this version of PostgreSQL, report it",
        ),
    }
}
