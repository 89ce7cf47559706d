//! `earmark seal`: what it prints, and how it ends.

use super::{count, journal};
use crate::support::cluster::as_server;
use crate::support::process::{earmark, run, text};

#[tokio::test]
async fn seal_prints_each_period_with_its_digest() {
    let (db, sql) = journal(2, 40).await;
    let seal = || {
        let arguments = [
            "seal",
            "--database-url",
            &db.url,
            "--until",
            "2026-03-01T00:00:00Z",
        ];
        run(&mut earmark(&arguments))
    };
    let sealed = seal();
    assert_eq!(sealed.status.code(), Some(0), "{sealed:?}");
    let digests = "SELECT encode(digest, 'hex') FROM sealed_period ORDER BY end_time";
    let rows = sql.query(digests, &[]).await.expect(digests);
    let digests: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    assert_eq!(
        text(&sealed.stdout),
        format!(
            "Sealed 2026-01-10T00:00:00.000000Z to 2026-02-01T00:00:00.000000Z: 88 entries of 2 owners, digest {}.\n\
             Sealed 2026-02-01T00:00:00.000000Z to 2026-03-01T00:00:00.000000Z: 72 entries of 2 owners, digest {}.\n",
            digests[0], digests[1]
        )
    );
    let again = seal();
    assert_eq!(again.status.code(), Some(0), "{again:?}");
    assert_eq!(text(&again.stdout), "There is no period to seal.\n");
}

#[tokio::test]
async fn seal_says_what_stopped_it() {
    let (db, sql) = journal(1, 5).await;
    let until = ["--until", "2026-01-15T00:00:00Z"];
    let server = as_server(&db.url);
    let denied = run(earmark(&["seal", "--database-url", &server]).args(until));
    assert_eq!(denied.status.code(), Some(1), "{denied:?}");
    assert_eq!(count(&sql, "sealed_owner").await, 0);
    for (arguments, code, why) in [
        (
            ["--until", "2999-01-01T00:00:00Z"],
            2,
            "cannot be sealed yet",
        ),
        (["--until", "tomorrow"], 2, "must be a time such as"),
        (
            ["--period", "year"],
            2,
            "[possible values: month, week, day]",
        ),
        (["--after", "soon"], 2, "--after"),
    ] {
        let refused = run(earmark(&["seal", "--database-url", &db.url]).args(arguments));
        assert_eq!(
            refused.status.code(),
            Some(code),
            "{arguments:?}: {refused:?}"
        );
        assert!(
            text(&refused.stderr).contains(why),
            "{arguments:?}: {refused:?}"
        );
    }
    sql.batch_execute("DELETE FROM entry WHERE version = 3")
        .await
        .expect("deleted");
    let broken = run(earmark(&["seal", "--database-url", &db.url]).args(until));
    assert_eq!(broken.status.code(), Some(1), "{broken:?}");
    assert!(text(&broken.stderr).starts_with("earmark: L4 does not hold in the period 2026-01-10"));
    assert_eq!(text(&broken.stdout), "");
}
