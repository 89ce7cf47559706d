//! `earmark archive` and `earmark verify --archive`: what they print, and how they end.

use std::process::Output;

use super::ArchiveFixture;
use crate::support::cluster::{as_server, database};
use crate::support::process::{earmark, run, text};

impl ArchiveFixture {
    fn run_archive(&self, more: &[&str]) -> Output {
        let directory = self.directory();
        let path = directory.to_str().expect("UTF-8");
        let arguments = ["archive", "--database-url", self.url(), "--directory", path];
        run(earmark(&arguments).args(more))
    }
}

#[tokio::test]
async fn archive_prints_each_period_and_drops_what_it_is_told_to() {
    let it = ArchiveFixture::open().await;
    it.seal(it.ends[0]).await;
    let early = it.run_archive(&["--keep", "80d"]);
    assert_eq!(early.status.code(), Some(0), "{early:?}");
    assert_eq!(text(&early.stdout), "There is no period to archive.\n");

    // The default is 30 days, and the first stretch has ended 45 days ago.
    let archived = it.run_archive(&[]);
    assert_eq!(archived.status.code(), Some(0), "{archived:?}");
    let rows = "
        SELECT to_char(s.start_time, 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"'), to_char(s.end_time, 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"'),
            a.entries, a.records, encode(a.manifest_digest, 'hex')
        FROM archived_period a JOIN sealed_period s USING (end_time) ORDER BY end_time";
    let rows = it.sql.query(rows, &[]).await.expect(rows);
    let lines: Vec<String> = rows
        .iter()
        .map(|row| {
            let (start, end): (String, String) = (row.get(0), row.get(1));
            let (entries, records): (i64, i64) = (row.get(2), row.get(3));
            let (digest, directory): (String, _) = (row.get(4), it.directory());
            let compact = |time: &str| {
                let text = time.replace(['-', ':'], "");
                text.strip_suffix("T000000.000000Z").map_or(text.clone(), Into::into)
            };
            let folder = directory.join(format!("{}-{}", compact(&start), compact(&end)));
            format!(
                "Archived {start} to {end}: {entries} entries and {records} allocations in {}, manifest {digest}.\n",
                folder.display()
            )
        })
        .collect();
    assert_eq!(text(&archived.stdout), lines.concat());
    assert!(it.count("entry_1").await > 0, "detached tables stay");

    let dropped = it.run_archive(&["--drop"]);
    assert_eq!(dropped.status.code(), Some(0), "{dropped:?}");
    assert_eq!(
        text(&dropped.stdout),
        "Dropped public.closed_allocation_1.\nDropped public.entry_1.\n"
    );
    assert_eq!(
        it.count("pg_class WHERE relname IN ('entry_1', 'closed_allocation_1')")
            .await,
        0
    );
    let again = it.run_archive(&["--drop"]);
    assert_eq!(text(&again.stdout), "There is no period to archive.\n");
}

#[tokio::test]
async fn nothing_is_dropped_whose_files_are_not_there() {
    let it = ArchiveFixture::open().await;
    it.seal(it.ends[0]).await;
    it.archive().await;
    let hidden = it.folder.path().join("hidden");
    std::fs::rename(it.directory(), &hidden).expect("hidden");
    let refused = it.run_archive(&["--drop"]);
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    let told = text(&refused.stderr);
    assert!(told.contains("manifest.json: No such file"), "{told}");
    assert!(it.count("entry_1").await > 0);
    std::fs::remove_dir_all(it.directory()).expect("removed");
    std::fs::rename(&hidden, it.directory()).expect("there again");
    // A table that was attached to nothing when somebody wrote to it.
    let written = "UPDATE entry_1 SET time = now() WHERE time = (SELECT max(time) FROM entry_1)";
    it.sql.batch_execute(written).await.expect(written);
    let refused = it.run_archive(&["--drop"]);
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    let told = text(&refused.stderr);
    assert!(
        told.contains("public.entry_1 has rows of a period that is not archived"),
        "{told}"
    );
    assert!(it.count("entry_1").await > 0);
}

#[tokio::test]
async fn archive_needs_the_role_of_the_owner_and_the_tables() {
    let it = ArchiveFixture::open().await;
    it.seal(it.ends[0]).await;
    let directory = it.directory();
    let path = directory.to_str().expect("UTF-8");
    let archive = |url: &str| {
        run(&mut earmark(&[
            "archive",
            "--database-url",
            url,
            "--directory",
            path,
        ]))
    };
    let server = archive(&as_server(it.url()));
    assert_eq!(server.status.code(), Some(1), "{server:?}");
    assert_eq!(it.count("archived_period").await, 0);
    let unmigrated = database().await;
    let session = crate::support::locks::session(&unmigrated.url).await;
    let dropped = "DROP TABLE archived_period";
    session.batch_execute(dropped).await.expect(dropped);
    let without = archive(&unmigrated.url);
    assert_eq!(without.status.code(), Some(1), "{without:?}");
    assert!(
        text(&without.stderr).contains("earmark migrate"),
        "{without:?}"
    );
    let nowhere = archive("postgresql://nobody@127.0.0.1:1/none");
    assert_eq!(nowhere.status.code(), Some(2), "{nowhere:?}");
}

#[tokio::test]
async fn verify_of_an_archive_says_what_it_has_checked() {
    let it = ArchiveFixture::open().await;
    it.seal(it.ends[0]).await;
    let directory = it.directory();
    let path = directory.to_str().expect("UTF-8");
    let verify = |more: &[&str]| run(earmark(&["verify", "--archive", path]).args(more));
    let none = verify(&[]);
    assert_eq!(none.status.code(), Some(2), "{none:?}");
    std::fs::create_dir(&directory).expect("made");
    let empty = verify(&[]);
    assert_eq!(empty.status.code(), Some(2), "{empty:?}");
    assert!(
        text(&empty.stderr).contains("has no archived period"),
        "{empty:?}"
    );

    let archived = it.archive().await;
    let entries: i64 = archived.iter().map(|period| period.entries).sum();
    let counts = format!(
        "{} archived periods, {entries} entries, 4 allocations",
        archived.len()
    );
    let alone = verify(&[]);
    assert_eq!(alone.status.code(), Some(0), "{alone:?}");
    assert_eq!(
        text(&alone.stdout),
        format!("{counts}: the files are what was sealed.\n")
    );
    let compared = verify(&["--database-url", it.url()]);
    assert_eq!(compared.status.code(), Some(0), "{compared:?}");
    assert_eq!(
        text(&compared.stdout),
        format!(
            "{counts}: the files are what was sealed, and what the database says was archived.\n"
        )
    );
    std::fs::remove_file(archived[0].folder.join("manifest.json")).expect("removed");
    let broken = verify(&[]);
    assert_eq!(broken.status.code(), Some(1), "{broken:?}");
    assert!(
        text(&broken.stdout).contains("manifest.json: No such file"),
        "{broken:?}"
    );
}
