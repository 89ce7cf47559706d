//! What sessions do at the moment that keeps others waiting, or vacuum from its work.

use crate::cli::doctor::finding::Finding;
use crate::cli::doctor::looks::Looks;
use crate::cli::doctor::words::{counted, first_few, span};
use crate::db::inspect::activity::{self, LockWait, PreparedTransaction, TransactionFacts};

/// A transaction that has been open for longer keeps vacuum from removing rows.
const TRANSACTION_WARNING_S: f64 = 300.0;
const TRANSACTION_PROBLEM_S: f64 = 3_600.0;
/// A prepared transaction is committed within milliseconds unless its coordinator is lost.
const PREPARED_PROBLEM_S: f64 = 300.0;
/// Earmark's own waits for locks are shorter.
const WAIT_WARNING_S: f64 = 1.0;

pub(super) async fn all(looks: &mut Looks, sees_others: bool) {
    looks
        .add("sessions.transactions", activity::transactions, |facts| {
            transactions(&facts, sees_others)
        })
        .await;
    looks
        .add(
            "sessions.prepared_transactions",
            activity::prepared_transactions,
            |found| prepared(&found),
        )
        .await;
    looks
        .add(
            "sessions.locks",
            activity::lock_waits,
            |(waiting, longest)| locks(waiting, longest.as_ref()),
        )
        .await;
}

fn transactions(facts: &TransactionFacts, sees_others: bool) -> Finding {
    const NAME: &str = "sessions.transactions";
    if let Some(oldest) = &facts.oldest
        && oldest.age_s > TRANSACTION_WARNING_S
    {
        let found = format!(
            "the oldest is open for {}: pid {}, role {}, application {:?}, {}",
            span(oldest.age_s),
            oldest.pid,
            oldest.role,
            oldest.application,
            oldest.state
        );
        let advice = format!(
            "vacuum removes nothing that is younger: find out what it does, and end it with SELECT pg_terminate_backend({})",
            oldest.pid
        );
        if oldest.age_s > TRANSACTION_PROBLEM_S {
            return Finding::problem(NAME, found, advice);
        }
        return Finding::warning(NAME, found, advice);
    }
    let found = match &facts.oldest {
        Some(oldest) => format!("the oldest is open for {}", span(oldest.age_s)),
        None => "none is open".into(),
    };
    if !sees_others && facts.hidden > 0 {
        return Finding::not_looked_at(
            NAME,
            format!(
                "{found} among the role's own sessions; those of {} others are hidden",
                facts.hidden
            ),
            "GRANT pg_read_all_stats TO <role>, or run `earmark doctor` with the URL of an administrator",
        );
    }
    Finding::ok(NAME, found)
}

fn prepared(transactions: &[PreparedTransaction]) -> Finding {
    const NAME: &str = "sessions.prepared_transactions";
    let Some(oldest) = transactions.first() else {
        return Finding::ok(NAME, "none");
    };
    let names: Vec<String> = transactions
        .iter()
        .map(|one| format!("{:?} in {}", one.name, one.database))
        .collect();
    let found = format!(
        "{} are open, the oldest for {}: {}",
        transactions.len(),
        span(oldest.age_s),
        first_few(&names)
    );
    let advice = format!(
        "Earmark prepares none: if its coordinator is gone, connect to {} and ROLLBACK PREPARED '{}'; until then it keeps its \
         locks, and vacuum from removing rows",
        oldest.database,
        oldest.name.replace('\'', "''")
    );
    if oldest.age_s > PREPARED_PROBLEM_S {
        return Finding::problem(NAME, found, advice);
    }
    Finding::warning(NAME, found, advice)
}

fn locks(waiting: i64, longest: Option<&LockWait>) -> Finding {
    const NAME: &str = "sessions.locks";
    let Some(longest) = longest else {
        return Finding::ok(NAME, "no session waits for one");
    };
    let table = longest
        .table
        .as_ref()
        .map_or_else(String::new, |table| format!(" of {table}"));
    let blockers: Vec<String> = longest.blocked_by.iter().map(ToString::to_string).collect();
    let found = format!(
        "{} waiting for one, the longest for {}: pid {}{table}, behind pid {}",
        counted(waiting, "session"),
        span(longest.waited_s),
        longest.pid,
        first_few(&blockers)
    );
    if longest.waited_s < WAIT_WARNING_S {
        return Finding::ok(NAME, found);
    }
    let advice = match longest.blocked_by.first() {
        Some(0) => "a prepared transaction holds it: see sessions.prepared_transactions".into(),
        Some(pid) => format!(
            "look at what holds it: SELECT * FROM pg_stat_activity WHERE pid = {pid}; end it with SELECT \
             pg_terminate_backend({pid})"
        ),
        None => "run `earmark doctor` again: it may be over".into(),
    };
    Finding::warning(NAME, found, advice)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::doctor::finding::FindingState;
    use crate::db::inspect::activity::OpenTransaction;

    fn open(age_s: f64) -> TransactionFacts {
        TransactionFacts {
            oldest: Some(OpenTransaction {
                pid: 77,
                age_s,
                role: "r".into(),
                application: "a".into(),
                state: "idle in transaction".into(),
            }),
            hidden: 3,
        }
    }

    #[test]
    fn an_old_transaction_is_named_with_its_session() {
        assert_eq!(transactions(&open(1.0), true).state, FindingState::Ok);
        let hidden = transactions(&open(1.0), false);
        assert_eq!(hidden.state, FindingState::NotLookedAt);
        let old = transactions(&open(301.0), false);
        assert_eq!(old.state, FindingState::Warning);
        let advice = old.advice.expect("advice");
        assert!(advice.contains("pg_terminate_backend(77)"), "{advice}");
        assert_eq!(
            transactions(&open(4_000.0), true).state,
            FindingState::Problem
        );
    }

    #[test]
    fn a_prepared_transaction_becomes_a_problem() {
        let of = |age_s| PreparedTransaction {
            name: "it's".into(),
            database: "d".into(),
            age_s,
        };
        assert_eq!(prepared(&[]).state, FindingState::Ok);
        assert_eq!(prepared(&[of(1.0)]).state, FindingState::Warning);
        let old = prepared(&[of(301.0)]);
        assert_eq!(old.state, FindingState::Problem);
        let advice = old.advice.expect("advice");
        assert!(advice.contains("ROLLBACK PREPARED 'it''s'"), "{advice}");
    }

    #[test]
    fn a_short_wait_for_a_lock_is_none() {
        let wait = |waited_s, blocker| LockWait {
            pid: 1,
            table: Some("entry".into()),
            waited_s,
            blocked_by: vec![blocker],
        };
        assert_eq!(locks(1, Some(&wait(0.2, 5))).state, FindingState::Ok);
        let found = locks(2, Some(&wait(3.0, 5)));
        assert_eq!(found.state, FindingState::Warning);
        assert!(found.found.contains("of entry, behind pid 5"), "{found:?}");
        let found = locks(2, Some(&wait(3.0, 0)));
        assert!(
            found
                .advice
                .is_some_and(|advice| advice.contains("prepared"))
        );
    }
}
