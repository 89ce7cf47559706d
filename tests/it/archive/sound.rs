//! A ledger stays sound while its beginning is archived; breaches of what is on line, and of what should be archived, are found.

use earmark::db::connect::Connector;
use earmark::ledger::archive::verify::verify_archive;
use earmark::proto::balance::v1::VerifyBreach;

use super::ArchiveFixture;
use crate::support::process::{earmark, run, text};
use crate::verify::verify;

impl ArchiveFixture {
    async fn breaches(&self) -> Vec<VerifyBreach> {
        verify(&self.fixture.earmark).await.breaches
    }

    /// Breaks the ledger; returns the breaches as texts, after it was restored by the other statement.
    async fn broken(&self, harm: &str, undo: &str) -> Vec<String> {
        self.sql.batch_execute(harm).await.expect(harm);
        let breaches = self.breaches().await;
        self.sql.batch_execute(undo).await.expect(undo);
        let shown = breaches.iter().map(|breach| {
            format!(
                "{} {}: {} / {}",
                breach.invariant, breach.account, breach.expected, breach.actual
            )
        });
        shown.collect()
    }

    async fn assert_sound(&self) {
        let told = verify(&self.fixture.earmark).await;
        assert_eq!(told.breaches, []);
        let online = "entry WHERE time >= coalesce((SELECT max(end_time) FROM archived_period), '-infinity')";
        assert_eq!(told.summary.entries, self.count(online).await);
        let chain = run(&mut earmark(&[
            "verify",
            "--chain",
            "--database-url",
            self.url(),
        ]));
        assert_eq!(chain.status.code(), Some(0), "{}", text(&chain.stdout));
    }
}

#[tokio::test]
async fn a_ledger_stays_sound_while_its_beginning_is_archived() {
    let it = ArchiveFixture::open().await;
    let [first, second] = it.ends;
    it.assert_sound().await;
    let in_first = it.count(&format!("entry WHERE time < '{first}'")).await;
    let closed_in_first = it
        .count(&format!("closed_allocation WHERE updated_at < '{first}'"))
        .await;
    assert!(in_first > 10 && closed_in_first == 4);

    it.seal(first).await;
    it.assert_sound().await;
    let periods = it.archive().await;
    let entries: i64 = periods.iter().map(|period| period.entries).sum();
    let records: i64 = periods.iter().map(|period| period.records).sum();
    assert_eq!((entries, records), (in_first, closed_in_first));
    assert_eq!(it.count(&format!("entry WHERE time < '{first}'")).await, 0);
    assert_eq!(
        it.count(&format!("closed_allocation WHERE updated_at < '{first}'"))
            .await,
        0
    );
    // A record of the first partition that was closed in the second stretch.
    assert_eq!(it.count("closed_allocation_default").await, 1);
    assert_eq!(it.count("entry_1").await, in_first);
    assert_eq!(it.count("closed_allocation_1").await, closed_in_first);
    it.assert_sound().await;

    // What was open across the end is closed as ever.
    it.fixture.clear(&it.open[0]).await;
    assert_eq!(it.count("closed_allocation_default").await, 2);
    it.assert_sound().await;

    it.seal(second).await;
    it.assert_sound().await;
    assert!(!it.archive().await.is_empty());
    assert_eq!(it.count(&format!("entry WHERE time < '{second}'")).await, 0);
    // The record that was moved is archived now.
    assert_eq!(it.count("closed_allocation_default").await, 1);
    it.assert_sound().await;
    it.fixture.release(&it.open[1]).await;
    it.assert_sound().await;

    let connector = Connector::new(it.url()).expect("a URL");
    let mut faults = Vec::new();
    let summary = verify_archive(&it.directory(), Some(&connector), |fault| {
        faults.push(fault.to_string())
    })
    .await
    .expect("read");
    assert_eq!(faults, Vec::<String>::new());
    let rows = it.count("archived_period").await;
    assert_eq!(summary.periods, rows);
    assert!(summary.entries > in_first);
    let printed = run(&mut earmark(&["verify", "--database-url", it.url()]));
    let archived = format!(
        "({rows} archived, whose {} entries were not read)",
        summary.entries
    );
    assert!(
        text(&printed.stdout).contains(&archived),
        "{}",
        text(&printed.stdout)
    );
}

#[tokio::test]
async fn what_is_on_line_is_verified_as_ever() {
    let it = ArchiveFixture::open().await;
    it.seal(it.ends[0]).await;
    it.archive().await;
    it.seal(it.ends[1]).await;
    it.sql
        .batch_execute("ALTER TABLE archived_period DROP CONSTRAINT archived_period_sealed")
        .await
        .expect("unbound");
    let boundary = "end_time = (SELECT max(end_time) FROM archived_period)";
    let custody = "account_id = '00000000-0000-0000-0000-000000000001'";
    let after = "time = (SELECT min(time) FROM entry)";
    let sealed = "(SELECT end_time FROM archived_period ORDER BY end_time DESC LIMIT 1)";
    for (harm, undo, expected) in [
        // The balance that everything on line begins with.
        (
            format!("UPDATE carry_forward SET available = available + 1 WHERE {boundary} AND {custody}"),
            format!("UPDATE carry_forward SET available = available - 1 WHERE {boundary} AND {custody}"),
            &["L4 custody", "L8 : period"][..],
        ),
        (
            format!("UPDATE carry_forward SET version = version + 1 WHERE {boundary} AND {custody}"),
            format!("UPDATE carry_forward SET version = version - 1 WHERE {boundary} AND {custody}"),
            &["L4 custody", "L8 : period"],
        ),
        // The first entry on line.
        (
            format!("UPDATE entry SET available = available + 1 WHERE {after} AND {custody}"),
            format!("UPDATE entry SET available = available - 1 WHERE {after} AND {custody}"),
            &["L4 custody", "L8 custody"],
        ),
        // A key of a record on line.
        (
            "CREATE TABLE kept AS SELECT * FROM allocation_key WHERE id = (SELECT id FROM open_allocation LIMIT 1);
             DELETE FROM allocation_key WHERE id = (SELECT id FROM kept)".into(),
            "INSERT INTO allocation_key SELECT * FROM kept; DROP TABLE kept".into(),
            &["L6 custody"],
        ),
        // Nothing says any more that the last entries are archived.
        (
            format!("CREATE TABLE kept AS SELECT * FROM archived_period WHERE end_time = {sealed};
                     DELETE FROM archived_period WHERE end_time = (SELECT end_time FROM kept)"),
            "INSERT INTO archived_period SELECT * FROM kept; DROP TABLE kept".into(),
            &["L4 custody", "L8 custody"],
        ),
        // As many were archived as it says.
        (
            format!("UPDATE archived_period SET entries = entries + 1 WHERE end_time = {sealed}"),
            format!("UPDATE archived_period SET entries = entries - 1 WHERE end_time = {sealed}"),
            &["L8 "],
        ),
    ] {
        let breaches = it.broken(&harm, &undo).await;
        for start in expected {
            let is_found = breaches.iter().any(|breach| breach.starts_with(start));
            assert!(is_found, "{harm}: no {start} in {breaches:#?}");
        }
    }
    it.assert_sound().await;
}
