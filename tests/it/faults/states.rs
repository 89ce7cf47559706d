//! Each state that a database can be in, made for real, and what every service, and health, answers in it.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::os::unix::fs::chown;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use earmark::db::migrate;
use earmark::proto::cas::v1 as cas;
use earmark_dev_postgres::{Cluster, ClusterOptions};
use tempfile::TempDir;
use tokio_postgres::Client;
use tonic_health::pb::health_check_response::ServingStatus;

use super::SLACK;
use crate::support::cluster::{Frozen, OwnCluster, database, own_cluster, own_folder, own_options};
use crate::support::earmark::{Earmark, Setup};
use crate::support::every_service::{
    Called, EveryService, assert_answered, assert_unavailable, health, health_becomes,
};
use crate::support::ledger_dump::assert_sound;
use crate::support::locks::session;
use crate::support::proxy::Proxy;

const UNAVAILABLE: &str = "DATABASE_UNAVAILABLE";
/// The longest time that a refusal takes which needs no time limit to pass.
const AT_ONCE: Duration = Duration::from_secs(2);
/// The longest time in which health has to notice a change, on a busy machine.
const NOTICED: Duration = Duration::from_secs(4);

/// A copy of a cluster that has stopped, as a standby that follows nobody.
async fn standby_of(stopped: &Path) -> OwnCluster {
    let folder = own_folder();
    let copied = Command::new("cp")
        .args(["-a", &stopped.to_string_lossy()])
        .arg(folder.path().join("data"))
        .status();
    assert!(copied.expect("cp runs").success());
    let signal = folder.path().join("data/postgres/standby.signal");
    fs::write(&signal, "").expect("written");
    let owner = fs::metadata(folder.path().join("data/postgres")).expect("there");
    chown(&signal, Some(owner.uid()), Some(owner.gid())).expect("its owner's");
    start(folder).await
}

async fn start(folder: TempDir) -> OwnCluster {
    let cluster = Cluster::start(own_options(folder.path())).await;
    OwnCluster {
        cluster: cluster.expect("a cluster"),
        folder,
    }
}

/// A database that has records of every service.
async fn stocked(own: &OwnCluster) -> (String, EveryService) {
    let url = own.database("shelf").await;
    let earmark = Earmark::start_on(&url, Setup::default()).await;
    let records = EveryService::make(&earmark).await;
    earmark.shutdown.hurry();
    (url, records)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_standby_serves_reads_and_refuses_writes_until_it_is_promoted() {
    let own = own_cluster().await;
    let (_, records) = stocked(&own).await;
    let data = own.folder.path().join("data");
    let OwnCluster { cluster, folder } = own;
    cluster.stop().await.expect("the cluster stops");
    let standby = standby_of(&data).await;
    drop(folder);
    let url = standby.cluster.url("shelf");
    let earmark = Earmark::start_on(&url, Setup::default()).await;
    health_becomes(&earmark, false, true).await;
    for _ in 0..2 {
        assert_answered(&records.reads(&earmark).await);
        assert_unavailable(&records.writes(&earmark).await, UNAVAILABLE, AT_ONCE);
    }
    let promote = "SELECT pg_promote()";
    session(&url)
        .await
        .execute(promote, &[])
        .await
        .expect(promote);
    let (noticed, healed) = tokio::join!(
        health_becomes(&earmark, true, true),
        records.healed(&earmark)
    );
    assert_healed("a promoted standby", noticed, healed, NOTICED);
    assert_sound(&earmark).await;
    standby.stop().await;
}

/// Asserts that health has noticed in time that a state has ended, and that every call succeeds again. The times are shown
/// with `--no-capture`.
#[track_caller]
fn assert_healed(state: &str, noticed: Duration, healed: Duration, limit: Duration) {
    eprintln!("{state}: health after {noticed:?}, all calls after {healed:?}");
    assert!(noticed < limit && healed < limit, "{noticed:?}, {healed:?}");
}

async fn sql(client: &Client, text: &str) {
    client.batch_execute(text).await.expect(text);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_administrator_can_make_the_database_read_only_for_all_sessions() {
    let own = own_cluster().await;
    let (url, records) = stocked(&own).await;
    let earmark = Earmark::start_on(&url, Setup::default()).await;
    health_becomes(&earmark, true, true).await;
    let admin = session(&url).await;
    // All sessions have this setting at once; and only new ones, of which the server has none before these are ended.
    let switches = [
        (
            "ALTER SYSTEM SET default_transaction_read_only = on",
            "SELECT pg_reload_conf()",
            "SET default_transaction_read_only = off; ALTER SYSTEM RESET default_transaction_read_only",
        ),
        (
            "ALTER DATABASE shelf SET default_transaction_read_only = on",
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'earmark'",
            "SET default_transaction_read_only = off; ALTER DATABASE shelf RESET default_transaction_read_only",
        ),
    ];
    for (on, apply, off) in switches {
        sql(&admin, on).await;
        sql(&admin, apply).await;
        let noticed = health_becomes(&earmark, false, true).await;
        assert!(noticed < NOTICED, "{noticed:?}");
        for _ in 0..2 {
            assert_answered(&records.reads(&earmark).await);
            assert_unavailable(&records.writes(&earmark).await, UNAVAILABLE, AT_ONCE);
        }
        sql(&admin, "SET default_transaction_read_only = off").await;
        sql(&admin, off.split("; ").last().expect("a statement")).await;
        sql(&admin, "SELECT pg_reload_conf()").await;
        let (noticed, healed) = tokio::join!(
            health_becomes(&earmark, true, true),
            records.healed(&earmark)
        );
        assert_healed("a read-only database", noticed, healed, NOTICED);
    }
    assert_sound(&earmark).await;
    own.stop().await;
}

/// Lets each insert into the table of a service fail with this error.
async fn fail_inserts(client: &Client, errcode: &str, message: &str) {
    sql(
        client,
        &format!(
            "CREATE OR REPLACE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS
             $$ BEGIN RAISE EXCEPTION '{message}' USING ERRCODE = '{errcode}'; END $$"
        ),
    )
    .await;
    for table in TABLES_WRITTEN {
        let trigger = format!(
            "CREATE OR REPLACE TRIGGER fail BEFORE INSERT OR UPDATE ON {table} FOR EACH ROW EXECUTE FUNCTION fail()"
        );
        sql(client, &trigger).await;
    }
}

/// At least one of each service; buckets write one of two.
const TABLES_WRITTEN: [&str; 7] = [
    "enterprise",
    "adjustment",
    "open_allocation",
    "closed_bucket_action",
    "open_bucket_action",
    "cas_allocation",
    "catalogue_company",
];

#[tokio::test(flavor = "multi_thread")]
async fn errors_of_the_databases_state_are_unavailable_on_every_service() {
    let db = database().await;
    let earmark = Earmark::start_on(&db.url, Setup::default()).await;
    let records = EveryService::make(&earmark).await;
    let admin = session(&db.url).await;
    for (errcode, message) in [
        (
            "53100",
            "could not extend file \"base/5/16384\": No space left on device",
        ),
        ("53200", "out of memory"),
        (
            "53400",
            "temporary file size exceeds temp_file_limit (64kB)",
        ),
        (
            "58030",
            "could not read block 7 in file \"base/5/16384\": Input/output error",
        ),
        ("57014", "canceling statement due to user request"),
        ("25006", "cannot execute INSERT in a read-only transaction"),
        (
            "25P02",
            "current transaction is aborted, commands ignored until end of transaction block",
        ),
    ] {
        fail_inserts(&admin, errcode, message).await;
        let limit = AT_ONCE + SLACK;
        assert_unavailable(&records.writes(&earmark).await, UNAVAILABLE, limit);
        assert_answered(&records.reads(&earmark).await);
        for table in TABLES_WRITTEN {
            sql(&admin, &format!("DROP TRIGGER fail ON {table}")).await;
        }
        let healed = records.healed(&earmark).await;
        assert_healed(errcode, Duration::ZERO, healed, NOTICED);
    }
    assert_sound(&earmark).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn statements_that_an_administrator_cancels_are_unavailable() {
    let own = own_cluster().await;
    let (url, records) = stocked(&own).await;
    let earmark = Earmark::start_on(&url, Setup::default()).await;
    health_becomes(&earmark, true, true).await;
    assert_answered(&records.reads(&earmark).await);
    let holder = session(&url).await;
    let lock = "BEGIN; LOCK TABLE enterprise, account, allocation, bucket, cas_allocation, \
                catalogue_company, catalogue_allocation \
                IN ACCESS EXCLUSIVE MODE";
    sql(&holder, lock).await;
    let admin = session(&url).await;
    let cancel = "SELECT pg_cancel_backend(pid) FROM pg_stat_activity
                   WHERE application_name = 'earmark' AND wait_event_type = 'Lock'";
    let cancelling = async {
        loop {
            sql(&admin, cancel).await;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let reads = tokio::select! {
        reads = records.reads(&earmark) => reads,
        () = cancelling => unreachable!("it goes on"),
    };
    assert_unavailable(&reads, UNAVAILABLE, AT_ONCE + SLACK);
    sql(&holder, "ROLLBACK").await;
    let healed = records.healed(&earmark).await;
    assert_healed("cancelled statements", Duration::ZERO, healed, NOTICED);
    own.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn reads_beyond_the_temporary_space_of_the_database_are_unavailable() {
    let own = own_cluster().await;
    let (url, records) = stocked(&own).await;
    let admin = session(&url).await;
    let fill = "INSERT INTO cas_allocation
                SELECT owner_id, gen_random_uuid(), created_by, created_at, last_modified_by, last_modified_at, 1, deal_id,
                       tranche_id, NULL, repeat(md5(n::text), 20), indication_id, company_id, source_row_version, order_status,
                       indication_group_id, status_messages, value_type, value_amount, override_type, override_amount,
                       distribution_type, comments, is_affirmed, affirmed_by, affirmed_at, content_hash
                  FROM (SELECT * FROM cas_allocation LIMIT 1) c, generate_series(1, 5000) n";
    sql(&admin, fill).await;
    sql(
        &admin,
        "ALTER DATABASE shelf SET temp_file_limit = '64kB'; ALTER DATABASE shelf SET work_mem = '64kB'",
    )
    .await;
    let earmark = Earmark::start_on(&url, Setup::default()).await;
    let request = cas::SearchAllocationsRequest {
        sort_fields: vec![cas::SortField {
            field: "investorAccountId".into(),
            ..Default::default()
        }],
        ..Default::default()
    };
    let searched = earmark
        .firm("every-service")
        .search_allocations(request)
        .await;
    super::assert_refused_read(searched, UNAVAILABLE);
    assert_answered(&records.writes(&earmark).await);
    own.stop().await;
}

/// A file system of a few MB; unmounted when dropped.
struct SmallDisk(TempDir);

impl SmallDisk {
    /// `None` where only root may mount one.
    fn mount(megabytes: u32, owner: u32) -> Option<Self> {
        let folder = own_folder();
        let options = format!("size={megabytes}m,mode=0700,uid={owner}");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &options, "tmpfs"])
            .arg(folder.path())
            .stderr(std::process::Stdio::null())
            .status();
        mounted
            .is_ok_and(|status| status.success())
            .then(|| Self(folder))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        _ = Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_makes_writes_unavailable_until_there_is_room() {
    let own = own_cluster().await;
    let data = own.folder.path().join("data/postgres");
    let owner = fs::metadata(&data).expect("there").uid();
    let Some(disk) = SmallDisk::mount(48, owner) else {
        eprintln!("not tried: only root can mount a small file system");
        own.stop().await;
        return;
    };
    let server = session(&own.cluster.url("postgres")).await;
    let place = disk.0.path().display();
    sql(
        &server,
        &format!("CREATE TABLESPACE small LOCATION '{place}'"),
    )
    .await;
    sql(&server, "CREATE DATABASE shelf TABLESPACE small").await;
    let (url, records) = stocked(&own).await;
    let earmark = Earmark::start_on(&url, Setup::default()).await;
    health_becomes(&earmark, true, true).await;
    let admin = session(&url).await;
    sql(&admin, "CREATE TABLE filler (text text)").await;
    for rows in [1_000, 100, 10, 1] {
        let fill =
            format!("INSERT INTO filler SELECT repeat('x', 1900) FROM generate_series(1, {rows})");
        while admin.batch_execute(&fill).await.is_ok() {}
    }
    let mut refused = 0;
    for _ in 0..60 {
        let writes = records.writes(&earmark).await;
        let failed: Vec<Called> = writes.into_iter().filter(|it| it.result.is_err()).collect();
        assert_unavailable(&failed, UNAVAILABLE, AT_ONCE);
        refused += failed.len();
    }
    assert!(refused > 0, "there was room for all");
    assert_answered(&records.reads_of_records(&earmark).await);
    let noticed = health_becomes(&earmark, true, true).await;
    sql(&admin, "DROP TABLE filler").await;
    let healed = records.healed(&earmark).await;
    assert_healed("a full disk", noticed, healed, NOTICED);
    assert_sound(&earmark).await;
    drop((server, admin));
    own.stop().await;
    drop(disk);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_stands_still_is_unavailable_rather_than_overloaded() {
    let own = own_cluster().await;
    let (url, records) = stocked(&own).await;
    let earmark = Earmark::start_on(&url, Setup::default()).await;
    health_becomes(&earmark, true, true).await;
    assert_answered(&records.reads(&earmark).await);
    let frozen = own.freeze();
    let noticed = health_becomes(&earmark, false, false);
    // More calls than any lane has connections for.
    let reads = futures_util::future::join_all((0..8).map(|_| records.reads_of_records(&earmark)));
    let writes = futures_util::future::join_all((0..8).map(|_| records.writes(&earmark)));
    let (noticed, reads, writes) = tokio::join!(noticed, reads, writes);
    assert!(noticed < NOTICED, "{noticed:?}");
    let limit = Duration::from_secs(6) + SLACK;
    for calls in reads.iter().chain(&writes) {
        assert_unavailable(calls, UNAVAILABLE, limit);
    }
    drop(frozen);
    let (noticed, healed) = tokio::join!(
        health_becomes(&earmark, true, true),
        records.healed(&earmark)
    );
    assert_healed(
        "a database that stood still",
        noticed,
        healed,
        NOTICED + SLACK,
    );
    assert_sound(&earmark).await;
    own.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_backend_of_the_probe_does_not_end_health() {
    let own = own_cluster().await;
    let (url, records) = stocked(&own).await;
    let earmark = Earmark::start_on(&url, Setup::default()).await;
    health_becomes(&earmark, true, true).await;
    let admin = session(&url).await;
    let probing = "SELECT pid FROM pg_stat_activity WHERE application_name = 'earmark' \
                   AND query LIKE '%FROM __diesel_schema_migrations'";
    let row = admin.query_one(probing, &[]).await.expect("one");
    let frozen = Frozen::new(vec![row.get(0)]);
    let begun = Instant::now();
    let mut missed = 0;
    while begun.elapsed() < Duration::from_secs(5) {
        let found = health(&earmark, "").await;
        missed += u32::from(found != ServingStatus::Serving);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(
        missed <= 20,
        "at most a second of a hundred looks: {missed}"
    );
    assert_answered(&records.writes(&earmark).await);
    assert_answered(&records.reads(&earmark).await);
    drop(frozen);
    own.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn half_open_connections_are_given_up_and_made_anew() {
    let db = database().await;
    let proxy = Proxy::before(&db.url).await;
    let earmark = Earmark::start_on(&proxy.url, Setup::default()).await;
    let records = EveryService::make(&earmark).await;
    assert_answered(&records.reads(&earmark).await);
    health_becomes(&earmark, true, true).await;
    proxy.strand();
    let (noticed, healed) = tokio::join!(
        health_becomes(&earmark, true, true),
        records.healed(&earmark)
    );
    assert!(noticed < NOTICED, "{noticed:?}");
    assert_healed(
        "half-open connections",
        noticed,
        healed,
        Duration::from_secs(10) + SLACK,
    );
    assert_sound(&earmark).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_not_migrated_is_a_state_of_its_own() {
    let db = database().await;
    migrate::revert_all(&db.url).await.expect("reverted");
    let folder = tempfile::tempdir().expect("a folder");
    let log_path = folder.path().join("log");
    let log = fs::File::create(&log_path).expect("a file");
    let earmark = Earmark::start_process_with_log(&db.url, "info", log).await;
    // Its ids name nothing: it is refused before that is looked at.
    let records = EveryService::of_nothing();
    let calls = async {
        [
            records.reads(&earmark).await,
            records.writes(&earmark).await,
        ]
        .concat()
    };
    let calls = calls.await;
    assert_unavailable(&calls, "SCHEMA_OUTDATED", AT_ONCE);
    for call in &calls {
        let status = call.result.as_ref().expect_err("refused");
        assert!(status.message().contains("earmark migrate"), "{status:?}");
        assert!(status.message().contains("found none"), "{status:?}");
    }
    assert_eq!(health(&earmark, "").await, ServingStatus::NotServing);
    assert_eq!(health(&earmark, "reads").await, ServingStatus::NotServing);
    tokio::time::sleep(Duration::from_secs(3)).await;
    let log = fs::read_to_string(&log_path).expect("a log");
    let of_level = |level: &str| {
        let level = format!("\"level\":\"{level}\"");
        log.lines()
            .filter(|line| line.contains(&level) && !line.contains("earmark::access"))
            .collect::<Vec<_>>()
    };
    let errors = of_level("ERROR");
    let [error] = errors[..] else {
        panic!("one line: {log}");
    };
    for part in ["schema_found", "schema_needed", "earmark migrate", &db.name] {
        assert!(error.contains(part), "{part}: {error}");
    }
    assert_eq!(of_level("WARN"), Vec::<&str>::new(), "{log}");
    migrate::run(&db.url).await.expect("migrated");
    earmark::db::roles::grant(&db.url, crate::support::cluster::SERVER_ROLE)
        .await
        .expect("granted");
    let noticed = health_becomes(&earmark, true, true).await;
    assert!(noticed < NOTICED, "{noticed:?}");
    let records = EveryService::make(&earmark).await;
    assert_answered(&records.reads(&earmark).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newer_schema_than_the_servers_serves() {
    let db = database().await;
    let earmark = Earmark::start_on(&db.url, Setup::default()).await;
    let sql = session(&db.url).await;
    let newer = "INSERT INTO __diesel_schema_migrations (version) VALUES ('99991231000001')";
    sql.batch_execute(newer).await.expect(newer);
    let records = EveryService::make(&earmark).await;
    health_becomes(&earmark, true, true).await;
    assert_answered(&records.reads(&earmark).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_follow_a_failover_through_a_url_with_several_hosts() {
    let first = own_cluster().await;
    let (_, records) = stocked(&first).await;
    let options = own_options(first.folder.path());
    let OwnCluster { cluster, folder } = first;
    cluster.stop().await.expect("the cluster stops");
    let standby = standby_of(&folder.path().join("data")).await;
    let first = start_again(options, folder).await;
    let proxies = [
        Proxy::before(&first.cluster.url("shelf")).await,
        Proxy::before(&standby.cluster.url("shelf")).await,
    ];
    let hosts = proxies.each_ref().map(|proxy| {
        let (_, rest) = proxy.url.split_once('@').expect("a user");
        rest.split('/').next().expect("a host").to_owned()
    });
    // The standby is named first, so that each connection has to pass it by.
    let url = format!(
        "postgres://earmark@{},{}/shelf?sslmode=disable&target_session_attrs=read-write",
        hosts[1], hosts[0]
    );
    let earmark = Earmark::start_on(&url, Setup::default()).await;
    health_becomes(&earmark, true, true).await;
    assert_answered(&records.writes(&earmark).await);
    assert_answered(&records.reads(&earmark).await);
    // The machine of the primary stops to answer, and accepts connections still.
    proxies[0].stall(true);
    let down = health_becomes(&earmark, false, false).await;
    assert!(down < NOTICED, "{down:?}");
    let promote = "SELECT pg_promote()";
    let at = session(&standby.cluster.url("shelf")).await;
    at.execute(promote, &[]).await.expect(promote);
    let healed = records.healed(&earmark).await;
    assert_healed("a failover", down, healed, Duration::from_secs(10) + SLACK);
    health_becomes(&earmark, true, true).await;
    standby.stop().await;
    first.stop().await;
}

async fn start_again(options: ClusterOptions, folder: TempDir) -> OwnCluster {
    let cluster = Cluster::start(options).await.expect("a cluster");
    OwnCluster { cluster, folder }
}
