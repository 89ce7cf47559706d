//! How findings are printed.

use std::fmt::Write;

use serde_json::{Map, Value, json};

use crate::cli::doctor::finding::{Diagnosis, Finding, FindingState};
use crate::cli::doctor::words::span;

/// One line for each finding, below it what to do, and a summary.
pub(super) fn text(diagnosis: &Diagnosis) -> String {
    let findings = &diagnosis.findings;
    let names = findings.iter().map(|finding| finding.name.len());
    let width = names.max().unwrap_or_default();
    let mut text = String::new();
    for finding in findings {
        let Finding {
            name,
            state,
            found,
            advice,
        } = finding;
        // Writing to a String cannot fail.
        _ = writeln!(text, "{:<13}  {name:<width$}  {found}", state.word());
        if let Some(advice) = advice {
            _ = writeln!(text, "{:15}→ {advice}", "");
        }
    }
    let counts = FindingState::ALL
        .iter()
        .rev()
        .map(|state| format!("{} {}", state.word(), diagnosis.count(*state)));
    let counts: Vec<String> = counts.collect();
    let (all, took) = (findings.len(), span(diagnosis.took.as_secs_f64()));
    _ = writeln!(text, "{all} checks in {took}: {}.", counts.join(", "));
    text
}

/// One object with all findings.
pub(super) fn json(diagnosis: &Diagnosis) -> String {
    let counts: Map<String, Value> = FindingState::ALL
        .iter()
        .map(|state| {
            let name = state.word().replace(' ', "_");
            (name, Value::from(diagnosis.count(*state)))
        })
        .collect();
    let value = json!({
        "state": diagnosis.state(),
        "version": env!("CARGO_PKG_VERSION"),
        "took_ms": u64::try_from(diagnosis.took.as_millis()).unwrap_or(u64::MAX),
        "counts": counts,
        "checks": diagnosis.findings,
    });
    format!("{value:#}\n")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn diagnosis() -> Diagnosis {
        let findings = vec![
            Finding::ok("a.b", "1 of 2"),
            Finding::not_looked_at("a.key", "no\nkeys", "give --jwks"),
            Finding::warning("c.d", "3", "do it"),
        ];
        Diagnosis::new(findings, Duration::from_millis(1_500))
    }

    #[test]
    fn text_has_a_line_for_each_finding_and_one_for_what_to_do() {
        let expected = "\
ok             a.b    1 of 2
not looked at  a.key  no keys
               → give --jwks
warning        c.d    3
               → do it
3 checks in 1.5 s: problem 0, warning 1, not looked at 1, ok 1.
";
        assert_eq!(text(&diagnosis()), expected);
    }

    #[test]
    fn json_has_the_worst_state_and_all_findings() {
        let value: Value = serde_json::from_str(&json(&diagnosis())).expect("JSON");
        assert_eq!(value["state"], "warning");
        assert_eq!(value["took_ms"], 1_500);
        let counts = json!({"ok": 1, "not_looked_at": 1, "warning": 1, "problem": 0});
        assert_eq!(value["counts"], counts);
        let first = json!({"name": "a.b", "state": "ok", "found": "1 of 2", "advice": null});
        assert_eq!(value["checks"][0], first);
        assert_eq!(value["checks"][1]["state"], "not_looked_at");
    }
}
