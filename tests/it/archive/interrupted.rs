//! An archive that is killed at any point loses nothing, and a further one goes on from there.

use std::fs;
use std::time::Duration;

use earmark::db::connect::Connector;
use earmark::ledger::archive::ArchiveError;
use earmark::ledger::archive::run::{ArchiveOptions, ArchiveStep, archive};
use earmark::ledger::archive::verify::verify_archive;
use tokio::time::sleep;

use super::{ArchiveFixture, archived, periods};
use crate::support::locks::{session, somebody_waits};
use crate::support::process::{Started, earmark};
use crate::verify::verify;

impl ArchiveFixture {
    /// Archives until the step, at which everything ends as it does when the process is killed.
    async fn killed_at(&self, is_step: fn(&ArchiveStep) -> bool) {
        let (url, directory) = (self.url().to_owned(), self.directory());
        let killed = tokio::spawn(async move {
            let connector = Connector::new(&url).expect("a URL");
            let options = ArchiveOptions {
                directory,
                keep: Duration::ZERO,
                drop: false,
            };
            let killed = archive(&connector, &options, |step| {
                assert!(!is_step(step), "killed")
            });
            killed.await
        });
        assert!(killed.await.expect_err("killed").is_panic());
    }

    /// Archives until no other run is under way any more. Returns how many periods were archived.
    async fn archive_again(&self) -> usize {
        loop {
            match archived(self.url(), &self.directory(), false).await {
                (steps, Ok(())) => return periods(&steps).len(),
                // The session of the killed run has not ended yet.
                (_, Err(ArchiveError::Busy)) => sleep(Duration::from_millis(20)).await,
                (_, Err(error)) => panic!("{error}"),
            }
        }
    }

    /// That the ledger is sound, and the archive has what the database says.
    async fn assert_consistent(&self) {
        assert_eq!(verify(&self.fixture.earmark).await.breaches, []);
        let connector = Connector::new(self.url()).expect("a URL");
        let mut faults = Vec::new();
        verify_archive(&self.directory(), Some(&connector), |fault| {
            faults.push(fault.to_string())
        })
        .await
        .expect("read");
        assert_eq!(faults, Vec::<String>::new());
    }
}

#[tokio::test]
async fn a_killed_archive_goes_on() {
    let it = ArchiveFixture::open().await;
    it.seal(it.ends[0]).await;
    let all = it
        .count(&format!("entry WHERE time < '{}'", it.ends[0]))
        .await;

    it.killed_at(|step| matches!(step, ArchiveStep::Written(_)))
        .await;
    assert_eq!(it.count("archived_period").await, 0);
    it.assert_consistent().await;

    it.killed_at(|step| matches!(step, ArchiveStep::Completed(_)))
        .await;
    assert_eq!(it.count("archived_period").await, 0);
    assert_eq!(it.count("entry_1").await, all);
    it.assert_consistent().await;

    it.killed_at(|step| matches!(step, ArchiveStep::Archived(_)))
        .await;
    let count = it.count("archived_period").await;
    assert!(count > 0);
    assert_eq!(
        it.count(&format!("entry WHERE time < '{}'", it.ends[0]))
            .await,
        0
    );
    it.assert_consistent().await;

    assert_eq!(it.archive_again().await, 0);
    let folders = fs::read_dir(it.directory()).expect("a folder").count();
    assert_eq!(
        i64::try_from(folders).expect("few"),
        count,
        "nothing unfinished is left"
    );
    it.assert_consistent().await;
}

/// What was recorded as archived and is still on line is looked at by nobody, and is taken away by the next run.
#[tokio::test]
async fn what_a_killed_archive_has_left_on_line_is_taken_away() {
    let it = ArchiveFixture::open().await;
    it.seal(it.ends[0]).await;
    it.archive().await;
    let bounds = "
        SELECT (SELECT time - interval '90 days' FROM entry_1 ORDER BY time LIMIT 1)::text,
            (SELECT max(time) + interval '1 us' FROM entry_1)::text";
    let row = it.sql.query_one(bounds, &[]).await.expect(bounds);
    let (from, to): (String, String) = (row.get(0), row.get(1));
    let undo = format!(
        "ALTER TABLE entry ATTACH PARTITION entry_1 FOR VALUES FROM ('{from}') TO ('{to}');
         INSERT INTO closed_allocation SELECT * FROM closed_allocation_1"
    );
    it.sql.batch_execute(&undo).await.expect(&undo);
    let old = format!(
        "closed_allocation_default WHERE updated_at < '{}'",
        it.ends[0]
    );
    assert!(it.count(&old).await > 0);
    it.assert_consistent().await;
    assert_eq!(it.archive_again().await, 0);
    assert_eq!(it.count(&old).await, 0);
    assert_eq!(
        it.count(&format!("entry WHERE time < '{}'", it.ends[0]))
            .await,
        0
    );
    assert!(
        it.count("closed_allocation_default").await > 0,
        "what was closed later stays"
    );
    it.assert_consistent().await;
}

/// A process that is killed while it waits for a long read of the journal. What it has sent is carried out as a whole, or not.
#[tokio::test]
async fn a_process_that_is_killed_while_it_changes_the_database_changes_all_or_nothing() {
    let it = ArchiveFixture::open().await;
    it.seal(it.ends[0]).await;
    let reader = session(it.url()).await;
    let begin = "BEGIN; LOCK TABLE entry IN ACCESS SHARE MODE";
    reader.batch_execute(begin).await.expect(begin);
    let directory = it.directory();
    let path = directory.to_str().expect("UTF-8");
    let arguments = [
        "archive",
        "--database-url",
        it.url(),
        "--directory",
        path,
        "--after",
        "0s",
    ];
    let mut process = Started::spawn(&mut earmark(&arguments));
    somebody_waits(it.url()).await;
    process.kill();
    reader.batch_execute("ROLLBACK").await.expect("ended");
    it.assert_consistent().await;
    it.archive_again().await;
    assert!(it.count("archived_period").await > 0);
    assert_eq!(
        it.count("pg_inherits WHERE inhrelid = 'entry_1'::regclass")
            .await,
        0
    );
    it.assert_consistent().await;
}

#[tokio::test]
async fn files_that_were_changed_before_they_were_archived_are_refused() {
    let it = ArchiveFixture::open().await;
    it.seal(it.ends[0]).await;
    it.killed_at(|step| matches!(step, ArchiveStep::Completed(_)))
        .await;
    let folder = fs::read_dir(it.directory())
        .expect("a folder")
        .next()
        .expect("a period");
    let folder = folder.expect("a period").path();
    let manifest = folder.join("manifest.json");
    let text = fs::read_to_string(&manifest).expect("a manifest");
    let changed = text.replacen("\"rows\": ", "\"rows\": 1", 1);
    fs::write(&manifest, changed).expect("written");
    let refused = loop {
        match archived(it.url(), &it.directory(), false).await.1 {
            Err(ArchiveError::Busy) => sleep(Duration::from_millis(20)).await,
            other => break other.expect_err("refused"),
        }
    };
    assert!(matches!(refused, ArchiveError::Faulty { .. }), "{refused}");
    let name = folder.to_str().expect("UTF-8");
    assert!(refused.to_string().contains(name), "{refused}");
    assert_eq!(it.count("archived_period").await, 0);
    fs::write(&manifest, text).expect("written");
    assert!(it.archive_again().await > 0);
    it.assert_consistent().await;
}
