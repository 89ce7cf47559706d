//! The alerts' form, without promtool: `scripts/check-prometheus` has that.

use std::collections::BTreeSet;

use crate::docs::{code, rows_of_all_tables};

const ALERTS: &str = include_str!("../../../deploy/prometheus/alerts.yaml");
const METRICS: &str = include_str!("../../../docs/metrics.md");

/// Each alert's name, and its text up to the next one.
fn alerts() -> Vec<(&'static str, &'static str)> {
    let parts = ALERTS.split("- alert: ").skip(1);
    let alerts: Vec<_> = parts.filter_map(|part| part.split_once('\n')).collect();
    assert!(alerts.len() > 10, "{alerts:?}");
    alerts
}

#[test]
fn each_alert_says_what_it_is_and_what_to_do() {
    let mut names = BTreeSet::new();
    for (name, text) in alerts() {
        assert!(name.starts_with("Earmark") && names.insert(name), "{name}");
        for part in ["summary: ", "description: ", "severity: "] {
            assert_eq!(text.matches(part).count(), 1, "{name}: {part}");
        }
        let runbook = format!("runbook_url: docs/runbook.md#{}\n", name.to_lowercase());
        assert!(text.contains(&runbook), "{name}: {runbook}");
    }
}

#[test]
fn alerts_are_made_of_metrics_that_are_served() {
    let rows = rows_of_all_tables(METRICS, "metric");
    let names: BTreeSet<&str> = rows.iter().flat_map(|row| code(row[0])).collect();
    for (alert, text) in alerts() {
        let (_, rest) = text.split_once("expr: ").expect("an expression");
        let (expression, _) = rest.split_once("        for: ").expect("a time");
        let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let words = expression.split(|c| !is_word(c));
        let metrics = words.filter(|word| {
            ["earmark_", "rpc_server_", "process_"]
                .iter()
                .any(|start| word.starts_with(start))
        });
        let mut found = 0;
        for metric in metrics {
            let of_histogram = ["_bucket", "_count", "_sum"].iter();
            let metric = of_histogram.fold(metric, |it, end| it.strip_suffix(end).unwrap_or(it));
            assert!(names.contains(metric), "{alert}: {metric}");
            found += 1;
        }
        assert!(
            found > 0 || expression.contains("up{"),
            "{alert}: {expression}"
        );
    }
}
