//! Whether the server takes writes, and what becomes of its write-ahead log: standbys, slots, the archive.

use crate::cli::doctor::finding::Finding;
use crate::cli::doctor::looks::Looks;
use crate::cli::doctor::words::{bytes, counted, span};
use crate::db::inspect::replication::{self, ArchiverFacts, IdleSlot, StandbyFacts};

/// A standby that is so far behind would lose as much at a failover, or delays COMMIT.
const LAG_WARNING_S: f64 = 60.0;
const LAG_WARNING_BYTES: i64 = 1 << 30;
/// So much of the log kept for a slot that nobody reads is a problem, since the disk fills up.
const KEPT_PROBLEM_BYTES: i64 = 10 << 30;

pub(super) async fn all(looks: &mut Looks, is_standby: bool) {
    if is_standby {
        looks
            .add("replication.role", replication::replay_delay, standby)
            .await;
        return;
    }
    looks
        .add("replication.role", replication::standbys, primary)
        .await;
    looks
        .add("replication.slots", replication::slots, |(used, idle)| {
            slots(used, &idle)
        })
        .await;
}

fn standby(delay_s: Option<f64>) -> Finding {
    let behind = delay_s.map_or_else(String::new, |delay| format!(", {} behind", span(delay)));
    Finding::problem(
        "replication.role",
        format!("a standby{behind}: it takes no writes, and health is NOT_SERVING"),
        "connect to the primary; with several hosts in the URL, add target_session_attrs=read-write",
    )
}

fn primary(facts: StandbyFacts) -> Finding {
    const NAME: &str = "replication.role";
    let names = &facts.synchronous_names;
    let mut found = format!("the primary, with {}", counted(facts.count, "standby"));
    if !names.is_empty() && facts.count == 0 {
        return Finding::problem(
            NAME,
            format!(
                "{found}, but COMMIT waits for one (synchronous_standby_names = {names:?}): writes never end"
            ),
            "start the standby, or ALTER SYSTEM SET synchronous_standby_names = '' and SELECT pg_reload_conf()",
        );
    }
    if !names.is_empty() && facts.hidden == 0 && facts.synchronous == 0 {
        return Finding::problem(
            NAME,
            format!(
                "{found}, none of which is one that COMMIT waits for (synchronous_standby_names = {names:?})"
            ),
            "give the standby that application_name in its primary_conninfo, or correct synchronous_standby_names",
        );
    }
    if facts.hidden > 0 {
        return Finding::not_looked_at(
            NAME,
            format!("{found}, whose delay the role may not see"),
            "GRANT pg_read_all_stats TO <role>, or run `earmark doctor` with the URL of an administrator",
        );
    }
    let (lag_s, lag_bytes) = (
        facts.lag_s.unwrap_or_default(),
        facts.lag_bytes.unwrap_or_default(),
    );
    if facts.count > 0 {
        let synchronous = facts.synchronous;
        found = format!(
            "{found} ({synchronous} synchronous), at most {} and {} behind",
            bytes(lag_bytes),
            span(lag_s)
        );
    }
    if lag_s > LAG_WARNING_S || lag_bytes > LAG_WARNING_BYTES {
        return Finding::warning(
            NAME,
            found,
            "a failover would lose what the standby lacks: look at pg_stat_replication, the network and the standby's disk",
        );
    }
    Finding::ok(NAME, found)
}

fn slots(used: i64, idle: &[IdleSlot]) -> Finding {
    const NAME: &str = "replication.slots";
    let Some(worst) = idle.first() else {
        return Finding::ok(NAME, format!("{used} in use, none idle"));
    };
    let kept = bytes(worst.kept_bytes);
    let found = format!(
        "{used} in use, {} idle: {:?} keeps {kept} of the write-ahead log",
        idle.len(),
        worst.name
    );
    let advice = format!(
        "start what reads it, or SELECT pg_drop_replication_slot('{}'); max_slot_wal_keep_size bounds what is kept",
        worst.name.replace('\'', "''")
    );
    if worst.kept_bytes > KEPT_PROBLEM_BYTES {
        return Finding::problem(NAME, found, advice);
    }
    Finding::warning(NAME, found, advice)
}

/// What `archive_mode` leads to.
pub(super) fn archive(facts: &ArchiverFacts) -> Finding {
    const NAME: &str = "replication.archive";
    let archived = counted(facts.archived, "file");
    if let Some(file) = &facts.failing {
        return Finding::problem(
            NAME,
            format!("archiving {file} fails; archived before: {archived}"),
            "look at the database's log for the output of archive_command; until it succeeds the disk fills up, and a \
             restore ends before that file",
        );
    }
    let last = facts.archived_s.map_or_else(String::new, |age| {
        format!(", the last one {} ago", span(age))
    });
    Finding::ok(NAME, format!("{archived} archived{last}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::doctor::finding::FindingState;

    fn facts(count: i64) -> StandbyFacts {
        StandbyFacts {
            count,
            ..StandbyFacts::default()
        }
    }

    #[test]
    fn a_commit_that_waits_for_nobody_is_a_problem() {
        assert_eq!(primary(facts(0)).state, FindingState::Ok);
        let mut none = facts(0);
        none.synchronous_names = "s1".into();
        let found = primary(none.clone());
        assert_eq!(found.state, FindingState::Problem);
        assert!(found.found.contains("writes never end"), "{found:?}");
        none.count = 1;
        assert_eq!(primary(none.clone()).state, FindingState::Problem);
        none.synchronous = 1;
        assert_eq!(primary(none).state, FindingState::Ok);
    }

    #[test]
    fn a_standby_far_behind_is_a_warning() {
        let mut late = facts(1);
        late.lag_s = Some(61.0);
        assert_eq!(primary(late).state, FindingState::Warning);
        let mut hidden = facts(1);
        hidden.hidden = 1;
        assert_eq!(primary(hidden).state, FindingState::NotLookedAt);
        assert_eq!(standby(Some(2.0)).state, FindingState::Problem);
    }

    #[test]
    fn an_idle_slot_and_an_archive_that_fails_say_what_to_do() {
        let slot = |kept_bytes| IdleSlot {
            name: "old".into(),
            kept_bytes,
        };
        assert_eq!(slots(1, &[]).state, FindingState::Ok);
        let warned = slots(0, &[slot(1)]);
        assert_eq!(warned.state, FindingState::Warning);
        let advice = warned.advice.expect("advice");
        assert!(
            advice.contains("pg_drop_replication_slot('old')"),
            "{advice}"
        );
        assert_eq!(slots(0, &[slot(11 << 30)]).state, FindingState::Problem);

        let mut archiver = ArchiverFacts::default();
        assert_eq!(archive(&archiver).state, FindingState::Ok);
        archiver.failing = Some("0000001".into());
        assert_eq!(archive(&archiver).state, FindingState::Problem);
    }
}
