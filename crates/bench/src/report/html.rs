//! The page: one file that needs nothing else.

use std::fmt::Write as _;

use anyhow::Result;

use crate::arm::{Round, median};
use crate::report::{ArmReport, BenchReport, RowReport, goal_line, plots};
use crate::row::GoalVerdict;

/// The page: `page.html` with its placeholders filled in.
pub(super) fn page(report: &BenchReport) -> Result<String> {
    let machine = &report.machine;
    let settings: String = report
        .settings
        .iter()
        .map(|setting| format!("<tr><td>{}<td>{}", setting.name, setting.value))
        .collect();
    let facts = format!(
        "{}, {} cores, {} GiB, Linux {}; load average before the run {}<br>{}<br>commit {}, {}, {} s",
        escape(&machine.processor),
        machine.cores,
        machine.memory_gib,
        machine.kernel,
        machine.load_before,
        escape(&report.postgres),
        report.commit,
        report.time,
        report.seconds,
    );
    let mut summary: String = report.rows.iter().map(summary_of).collect();
    for failure in &report.failures {
        // A String never refuses a write.
        _ = write!(
            summary,
            "<tr><td>{}<td><td><td><td><span class=missed>MISSED</span>",
            escape(failure)
        );
    }
    Ok(include_str!("page.html")
        .replace("{{facts}}", &facts)
        .replace("{{settings}}", &settings)
        .replace("{{summary}}", &summary)
        .replace(
            "{{rounds}}",
            &report.rows.iter().map(rounds).collect::<String>(),
        )
        .replace("{{costs}}", &costs(report))
        .replace("{{plots}}", &plots_of(report)?))
}

fn summary_of(row: &RowReport) -> String {
    let mut text = format!("<tr><td colspan=5><b>{}</b> {}", row.id, escape(row.work));
    for arm in &row.arms {
        // A String never refuses a write.
        _ = write!(
            text,
            "<tr><td><td>{}<br><small>{}</small><td class=n>{}<td class=n>{:.0} %<td>",
            escape(arm.name),
            escape(&arm.detail),
            row.metric.show(arm.median),
            arm.spread * 100.0
        );
    }
    for note in &row.notes {
        _ = write!(text, "<tr><td><td colspan=4>{}", escape(note));
    }
    for goal in &row.goals {
        _ = write!(
            text,
            "<tr><td><td colspan=4><span class={}>{}</span>",
            class(&goal.verdict),
            escape(&goal_line(goal))
        );
    }
    text
}

fn class(verdict: &GoalVerdict) -> &'static str {
    match verdict {
        GoalVerdict::Met | GoalVerdict::Aim => "met",
        GoalVerdict::Missed(_) => "missed",
    }
}

fn rounds(row: &RowReport) -> String {
    let mut text = format!("<h3>{} {}</h3>", row.id, escape(row.work));
    text.push_str(
        "<table><tr><th>arm<th>round<th>per second<th>p50<th>p90<th>p99<th>p99.9<th>max, ms\
         <th>server<th>Postgres<th>client, cores<th>items per transaction<th>WAL bytes per item",
    );
    for arm in &row.arms {
        for (index, round) in arm.rounds.iter().enumerate() {
            let items = round
                .items_per_transaction
                .map_or_else(|| "–".into(), |items| format!("{items:.1}"));
            _ = write!(
                text,
                "<tr><td>{}<td class=n>{}<td class=n>{:.0}<td class=n>{:.2}<td class=n>{:.2}<td class=n>{:.2}\
                 <td class=n>{:.2}<td class=n>{:.2}<td class=n>{:.2}<td class=n>{:.2}<td class=n>{:.2}\
                 <td class=n>{items}<td class=n>{:.0}",
                escape(arm.name),
                index + 1,
                round.per_second,
                round.p50,
                round.p90,
                round.p99,
                round.p999,
                round.max,
                round.cores.server,
                round.cores.postgres,
                round.cores.client,
                round.wal_bytes_per_item,
            );
        }
    }
    text.push_str("</table>");
    for arm in &row.arms {
        if let Some(verified) = &arm.verified {
            _ = write!(
                text,
                "<p><code>earmark verify</code>, {}: {}",
                escape(arm.name),
                escape(verified)
            );
        }
    }
    text
}

/// Processor time of one item of each arm, as bars: the longest of a row fills its width.
fn costs(report: &BenchReport) -> String {
    let mut text = String::new();
    for row in report.rows.iter().filter(|row| !row.arms.is_empty()) {
        let of = |arm: &ArmReport| {
            let middle = |of: fn(&Round) -> f64| median(&arm.rounds, of);
            [
                ("server", middle(|round| round.micros.server)),
                ("postgres", middle(|round| round.micros.postgres)),
                ("client", middle(|round| round.micros.client)),
            ]
        };
        let total = |arm: &ArmReport| of(arm).iter().map(|part| part.1).sum::<f64>();
        let longest = row.arms.iter().map(total).fold(1.0, f64::max);
        _ = write!(
            text,
            "<tr><td colspan=2><b>{}</b> {}",
            row.id,
            escape(row.work)
        );
        for arm in &row.arms {
            _ = write!(text, "<tr><td>{}<td class=bar>", escape(arm.name));
            for (class, micros) in of(arm) {
                let width = micros / longest * 100.0;
                _ = write!(
                    text,
                    "<i class={class} style='width:{width:.2}%' title='{class} {micros:.1} µs'></i>"
                );
            }
            _ = write!(text, "<td class=n>{:.0}", total(arm));
        }
    }
    text
}

fn plots_of(report: &BenchReport) -> Result<String> {
    let mut text = String::new();
    let mut add = |title: &str, svg: String| {
        _ = write!(
            text,
            "<figure><figcaption>{}</figcaption>{svg}</figure>",
            escape(title)
        );
    };
    if !report.growth.is_empty() {
        add(
            "Cost against table size: processor time of a call, server and Postgres together",
            plots::growth(&report.growth)?,
        );
    }
    if !report.creates_by_callers.is_empty() {
        add(
            "CreateAllocation on one account",
            plots::throughput(&report.creates_by_callers)?,
        );
    }
    if !report.gets_by_callers.is_empty() {
        add("GetAllocation", plots::throughput(&report.gets_by_callers)?);
    }
    for row in report.rows.iter().filter(|row| !row.arms.is_empty()) {
        let latencies: Vec<_> = row
            .arms
            .iter()
            .map(|arm| (arm.name.to_owned(), &arm.latency))
            .collect();
        add(
            &format!("Latency, {} {}", row.id, row.work),
            plots::percentiles(&latencies)?,
        );
    }
    let open: Vec<_> = report
        .open_loops
        .iter()
        .map(|open| {
            (
                format!("{} at {:.0}/s", open.name, open.rate),
                &open.latency,
            )
        })
        .collect();
    if !open.is_empty() {
        add(
            "Latency from the intended time on, open loop, CreateAllocation on one account",
            plots::percentiles(&open)?,
        );
    }
    Ok(text)
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}
