//! Open reservations: whether what has expired was released.

use crate::cli::doctor::finding::Finding;
use crate::cli::doctor::looks::Looks;
use crate::cli::doctor::words::{count, span};
use crate::db::inspect::reservations::{self, DueFacts};
use crate::limits::DOCTOR_OVERDUE_MAX;

/// The sweep of a server releases within two seconds what has expired.
const LATE_WARNING_S: f64 = 10.0;
const LATE_PROBLEM_S: f64 = 60.0;

pub(super) async fn all(looks: &mut Looks) {
    looks
        .add(
            "reservations.allocations",
            reservations::of_allocations,
            |facts| judge("reservations.allocations", &facts),
        )
        .await;
    looks
        .add("reservations.buckets", reservations::of_buckets, |facts| {
            judge("reservations.buckets", &facts)
        })
        .await;
}

fn judge(name: &'static str, facts: &DueFacts) -> Finding {
    let (Some(due_s), Some(age_s)) = (facts.first_due_s, facts.first_age_s) else {
        return Finding::ok(name, "none is open that expires");
    };
    let age = span(age_s);
    if facts.overdue == 0 {
        let found = format!(
            "none is overdue; of those that are open the first one expires in {} and was made {age} ago",
            span(due_s)
        );
        return Finding::ok(name, found);
    }
    let late_s = -due_s;
    let least = if facts.overdue >= DOCTOR_OVERDUE_MAX {
        "at least "
    } else {
        ""
    };
    let found = format!(
        "{least}{} have expired and are not released, the first {} ago (made {age} ago)",
        count(facts.overdue),
        span(late_s)
    );
    let advice = "start a server (`earmark serve`), whose sweep releases them within seconds; if one runs, look in its log for \
                  the writer's errors, and at sessions.locks: an owner may be locked";
    match late_s {
        LATE_PROBLEM_S.. => Finding::problem(name, found, advice),
        LATE_WARNING_S.. => Finding::warning(name, found, advice),
        _ => Finding::ok(name, found),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::doctor::finding::FindingState;

    #[test]
    fn what_is_overdue_for_long_is_a_problem() {
        let of = |due_s: f64, overdue| {
            let facts = DueFacts {
                first_due_s: Some(due_s),
                first_age_s: Some(7_200.0),
                overdue,
            };
            judge("reservations.buckets", &facts)
        };
        assert_eq!(of(60.0, 0).state, FindingState::Ok);
        assert_eq!(of(-1.0, 3).state, FindingState::Ok);
        assert_eq!(of(-11.0, 3).state, FindingState::Warning);
        let late = of(-90.0, DOCTOR_OVERDUE_MAX);
        assert_eq!(late.state, FindingState::Problem);
        assert!(
            late.found.starts_with("at least 10,000 have expired"),
            "{late:?}"
        );
        assert!(late.found.contains("1 min 30 s ago"), "{late:?}");
        let none = judge("reservations.buckets", &DueFacts::default());
        assert_eq!(none.state, FindingState::Ok);
    }
}
