//! `docs/runbook.md` compared with the reasons of the protos and the alerts in `deploy/prometheus/`.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use earmark::proto::common::v1::ErrorReason;

const RUNBOOK: &str = include_str!("../../docs/runbook.md");

fn section(heading: &str) -> &'static str {
    let found = RUNBOOK.split_once(&format!("\n## {heading}\n"));
    let (_, rest) = found.unwrap_or_else(|| panic!("no section {heading}"));
    rest.split("\n## ").next().unwrap_or_default()
}

/// The headings of the third level, which the hosting platforms give anchors of the same letters in lower case.
fn entries(section: &str) -> Vec<&str> {
    let lines = section.lines();
    lines.filter_map(|line| line.strip_prefix("### ")).collect()
}

/// An alert of a file of rules.
#[derive(Debug)]
struct Alert {
    name: String,
    runbook_url: Option<String>,
}

fn alerts() -> Vec<Alert> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/prometheus/alerts.yaml");
    let mut alerts: Vec<Alert> = Vec::new();
    for line in fs::read_to_string(&file).expect("rules").lines() {
        let line = line.trim().trim_start_matches("- ");
        let unquoted = |text: &str| text.trim().trim_matches('"').to_owned();
        if let Some(name) = line.strip_prefix("alert:") {
            alerts.push(Alert {
                name: unquoted(name),
                runbook_url: None,
            });
        } else if let Some(url) = line.strip_prefix("runbook_url:") {
            alerts.last_mut().expect("an alert before it").runbook_url = Some(unquoted(url));
        }
    }
    assert!(!alerts.is_empty(), "no alert in {}", file.display());
    alerts
}

#[test]
fn every_alert_has_a_runbook_entry() {
    let alerts = alerts();
    let named: BTreeSet<&str> = alerts.iter().map(|alert| alert.name.as_str()).collect();
    let entries = entries(section("Alerts"));
    assert_eq!(named, entries.into_iter().collect());
    for alert in &alerts {
        let anchor = format!("docs/runbook.md#{}", alert.name.to_lowercase());
        let url = alert.runbook_url.as_deref().unwrap_or_default();
        assert!(url.ends_with(&anchor), "{alert:?} has to lead to {anchor}");
    }
}

#[test]
fn every_alert_entry_says_what_it_means_and_what_to_do() {
    for entry in section("Alerts").split("\n### ").skip(1) {
        for part in ["\n- **Means**: ", "\n- **Look at**: ", "\n- **Do**: "] {
            assert!(entry.contains(part), "{part:?} is missing in {entry}");
        }
    }
}

#[test]
fn every_reason_has_one_runbook_entry() {
    let rows = section("Reasons")
        .lines()
        .filter(|line| line.starts_with("| `"));
    let first_cells = rows.filter_map(|row| row.split(" | ").next());
    let mut listed: Vec<&str> = first_cells
        .flat_map(|cell| cell.split('`').skip(1).step_by(2))
        .collect();
    listed.sort_unstable();
    let reasons = (1..1_000).filter_map(|number| ErrorReason::try_from(number).ok());
    let mut reasons: Vec<&str> = reasons
        .map(|reason| &reason.as_str_name()["ERROR_REASON_".len()..])
        .collect();
    reasons.sort_unstable();
    assert_eq!(listed, reasons);
}
