//! `earmark verify`: what it prints, and how it ends.

use std::process::Output;

use earmark::db::migrate;
use earmark_dev_postgres::Cluster;

use crate::support::cluster::{database, own_folder, own_options};
use crate::support::process::{earmark, run, text};
use crate::verify::LedgerFixture;

fn verify(arguments: &[&str]) -> Output {
    let mut command = earmark(&["verify"]);
    run(command.args(arguments))
}

#[tokio::test]
async fn verify_exits_with_0_on_a_sound_ledger_and_with_1_otherwise() {
    let ledger = LedgerFixture::open().await;
    let server = &ledger.fixture.earmark;
    let sound = verify(&["--database-url", &server.url]);
    assert_eq!(sound.status.code(), Some(0), "{sound:?}");
    assert_eq!(
        text(&sound.stdout),
        "4 accounts, 15 entries, no sealed period: L1 to L8 hold.\n"
    );
    assert_eq!(
        text(&sound.stderr),
        "0 of 4 accounts checked\n4 of 4 accounts checked\n"
    );

    let harm = "UPDATE account SET held = held + 1 WHERE account_id = '00000000-0000-0000-0000-000000000001'";
    server.sql().await.batch_execute(harm).await.expect(harm);
    let broken = run(earmark(&["verify"]).env("DATABASE_URL", &server.url));
    assert_eq!(broken.status.code(), Some(1), "{broken:?}");
    let owner = &ledger.fixture.parties.enterprise;
    let printed = text(&broken.stdout);
    let lines: Vec<&str> = printed.lines().collect();
    assert_eq!(
        lines,
        [
            format!("L1 owner {owner}, all accounts, BTC: expected 0, found 1"),
            format!("L3 owner {owner}, custody, BTC: expected 30, found 31"),
            format!(
                "L4 owner {owner}, custody, BTC: expected 39 available, 30 held, version 10, \
                 found 39 available, 31 held, version 10"
            ),
            "4 accounts, 15 entries, no sealed period: 3 breaches.".into(),
        ]
    );
    assert!(text(&broken.stderr).ends_with(
        "earmark: the stored ledger breaches its invariants, as printed; nothing was repaired\n"
    ));
}

#[tokio::test]
async fn verify_exits_with_2_when_it_cannot_read_the_ledger() {
    let folder = own_folder();
    let empty = folder.path().to_str().expect("UTF-8");
    let unmigrated = database().await;
    migrate::revert_all(&unmigrated.url)
        .await
        .expect("reverted");
    for (arguments, why) in [
        (["--data-dir", empty], "no development server runs in"),
        (
            ["--database-url", "nonsense"],
            "--database-url: the database URL is invalid",
        ),
        (
            ["--database-url", "postgres://nobody@127.0.0.1:1/none"],
            "cannot connect to Postgres",
        ),
        (
            ["--database-url", &unmigrated.url],
            "`earmark migrate` makes one",
        ),
    ] {
        let refused = verify(&arguments);
        assert_eq!(refused.status.code(), Some(2), "{arguments:?}: {refused:?}");
        let said = text(&refused.stderr);
        assert!(said.contains(why), "{arguments:?}: {said}");
        assert_eq!(text(&refused.stdout), "");
    }
}

#[tokio::test]
async fn verify_without_a_url_uses_the_running_development_server() {
    let folder = own_folder();
    let options = own_options(folder.path());
    let data_dir = options.data_dir.clone();
    let data_dir = data_dir.to_str().expect("UTF-8");
    let cluster = Cluster::start(options).await.expect("a cluster");
    cluster
        .create_database_if_missing("earmark")
        .await
        .expect("a database");
    migrate::run(&cluster.url("earmark"))
        .await
        .expect("migrated");
    let sound = verify(&["--data-dir", data_dir]);
    assert_eq!(sound.status.code(), Some(0), "{sound:?}");
    assert_eq!(
        text(&sound.stdout),
        "0 accounts, 0 entries, no sealed period: L1 to L8 hold.\n"
    );
    cluster.stop().await.expect("stopped");
    assert_eq!(verify(&["--data-dir", data_dir]).status.code(), Some(2));
}
