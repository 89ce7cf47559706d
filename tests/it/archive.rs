//! `earmark archive`: what it writes and takes away, that the ledger stays sound, that it goes on after an interruption, and
//! that nobody waits for it.

mod boundaries;
mod command;
mod files;
mod interrupted;
mod load;
mod partitions;
mod sound;
mod tampered;

use std::path::{Path, PathBuf};
use std::time::Duration;

use chrono::{DateTime, Utc};
use earmark::db::connect::Connector;
use earmark::ledger::archive::ArchiveError;
use earmark::ledger::archive::run::{ArchiveOptions, ArchiveStep, ArchivedFiles, archive};
use earmark::ledger::seal::run::{SealOptions, seal};
use earmark::proto::network::v1::ConnectionMode;
use earmark::types::period::CalendarPeriod;
use earmark::types::time::Time;
use tempfile::TempDir;
use tokio_postgres::Client;

use crate::support::allocation_fixture::AllocationFixture;
use crate::support::cluster::own_folder;

/// A ledger of three stretches of 30 days, each with partitions of its own; the third one is the present.
struct ArchiveFixture {
    fixture: AllocationFixture,
    sql: Client,
    /// Where the first stretch ends, and where the second one does.
    ends: [DateTime<Utc>; 2],
    folder: TempDir,
    /// Open since the first stretch, and since the second.
    open: [String; 2],
}

/// Moves everything that there is 30 days back, with the times that are in ids.
const MOVE_BACK: &str = "
    CREATE FUNCTION pg_temp.older(id uuid) RETURNS uuid LANGUAGE sql AS $$
        SELECT (lpad(to_hex(('x' || left(replace(id::text, '-', ''), 12))::bit(48)::bigint - 2592000000), 12, '0')
            || right(replace(id::text, '-', ''), 20))::uuid
    $$;
    UPDATE entry SET time = time - interval '30 days', cause_id = pg_temp.older(cause_id);
    UPDATE open_allocation SET id = pg_temp.older(id), created_at = created_at - interval '30 days',
        updated_at = updated_at - interval '30 days', expire_time = expire_time - interval '30 days';
    UPDATE closed_allocation SET id = pg_temp.older(id), created_at = created_at - interval '30 days',
        updated_at = updated_at - interval '30 days', expire_time = expire_time - interval '30 days';
    UPDATE allocation_key SET id = pg_temp.older(id);
    UPDATE adjustment SET id = pg_temp.older(id), created_at = created_at - interval '30 days';
    DROP FUNCTION pg_temp.older(uuid)";

/// Partitions of 30 days each, instead of those that the migrations have made.
const PARTITION: &str = "
    DO $$
    DECLARE
        made regclass;
        bounds timestamptz[];
        ids text[];
    BEGIN
        FOR made IN
            SELECT inhrelid::regclass FROM pg_inherits
            WHERE inhparent IN ('entry'::regclass, 'closed_allocation'::regclass)
                AND inhrelid NOT IN ('entry_default'::regclass, 'closed_allocation_default'::regclass)
        LOOP
            EXECUTE format('DROP TABLE %s', made);
        END LOOP;
        SELECT array_agg(bound ORDER BY bound) INTO bounds FROM (
            SELECT date_trunc('second', now()) + part * interval '30 days' - interval '15 days' AS bound
            FROM generate_series(-2, 1) part
        ) b;
        SELECT array_agg(lpad(to_hex((extract(epoch FROM bound) * 1000)::bigint), 12, '0') || repeat('0', 20) ORDER BY bound)
        INTO ids FROM unnest(bounds) bound;
        FOR part IN 1..3 LOOP
            EXECUTE format('CREATE TABLE entry_%s PARTITION OF entry FOR VALUES FROM (%L) TO (%L)',
                part, bounds[part], bounds[part + 1]);
            EXECUTE format('CREATE TABLE closed_allocation_%s PARTITION OF closed_allocation FOR VALUES FROM (%L) TO (%L)',
                part, ids[part], ids[part + 1]);
        END LOOP;
    END $$";

impl ArchiveFixture {
    async fn open() -> Self {
        let fixture = AllocationFixture::open(ConnectionMode::Confirmed).await;
        let sql = fixture.earmark.sql().await;
        sql.batch_execute("CREATE TABLE deposits AS TABLE entry; TRUNCATE entry")
            .await
            .expect("set aside");
        sql.batch_execute(PARTITION).await.expect("partitioned");
        sql.batch_execute("INSERT INTO entry SELECT * FROM deposits; DROP TABLE deposits")
            .await
            .expect("put back");
        let bounds = "
            SELECT max(substring(pg_get_expr(relpartbound, oid) FROM 'TO \\(''(.*)''\\)')::timestamptz)
                FILTER (WHERE relname = 'entry_1'),
                max(substring(pg_get_expr(relpartbound, oid) FROM 'TO \\(''(.*)''\\)')::timestamptz)
                FILTER (WHERE relname = 'entry_2')
            FROM pg_class WHERE relname IN ('entry_1', 'entry_2')";
        let row = sql.query_one(bounds, &[]).await.expect(bounds);
        let ends = [row.get(0), row.get(1)];

        let first = fixture.allocate("5", "first-open").await.id;
        let later = fixture.allocate("7", "first-closed-in-second").await.id;
        movements(&fixture, "first").await;
        sql.batch_execute(MOVE_BACK).await.expect("moved back");
        fixture.clear(&older(&later)).await;
        let second = fixture.allocate("3", "second-open").await.id;
        movements(&fixture, "second").await;
        sql.batch_execute(MOVE_BACK).await.expect("moved back");
        movements(&fixture, "third").await;
        Self {
            open: [older(&older(&first)), older(&second)],
            fixture,
            sql,
            ends,
            folder: own_folder(),
        }
    }

    fn url(&self) -> &str {
        &self.fixture.earmark.url
    }

    fn directory(&self) -> PathBuf {
        self.folder.path().join("archive")
    }

    /// Seals up to a time, in as many periods as there are months.
    async fn seal(&self, until: DateTime<Utc>) {
        let options = SealOptions {
            length: CalendarPeriod::Month,
            grace: Duration::ZERO,
            until: Some(Time::from(until)),
        };
        let connector = Connector::new(self.url()).expect("a URL");
        let mut count = 0;
        seal(&connector, &options, |_| count += 1)
            .await
            .expect("sealed");
        assert!(count > 0);
    }

    /// Archives what is sealed. Returns the periods.
    async fn archive(&self) -> Vec<ArchivedFiles> {
        let (steps, ended) = archived(self.url(), &self.directory(), false).await;
        ended.expect("archived");
        periods(&steps)
    }

    async fn count(&self, sql: &str) -> i64 {
        let sql = format!("SELECT count(*) FROM {sql}");
        self.sql.query_one(&sql, &[]).await.expect(&sql).get(0)
    }
}

/// Archives with no grace; returns the steps, and how it has ended.
async fn archived(
    url: &str,
    directory: &Path,
    drop: bool,
) -> (Vec<ArchiveStep>, Result<(), ArchiveError>) {
    let connector = Connector::new(url).expect("a URL");
    let options = ArchiveOptions {
        directory: directory.to_owned(),
        keep: Duration::ZERO,
        drop,
    };
    let mut steps = Vec::new();
    let ended = archive(&connector, &options, |step| steps.push(step.clone())).await;
    (steps, ended)
}

/// The periods among steps.
fn periods(steps: &[ArchiveStep]) -> Vec<ArchivedFiles> {
    let archived = steps.iter().filter_map(|step| match step {
        ArchiveStep::Archived(files) => Some(files.clone()),
        _ => None,
    });
    archived.collect()
}

/// Movements of every kind, with keys of their own, that leave nothing open.
async fn movements(fixture: &AllocationFixture, name: &str) {
    fixture
        .earmark
        .deposit(&fixture.parties.enterprise, "BTC", "11")
        .await;
    let cleared = fixture.allocate("6", &format!("{name}-cleared")).await;
    fixture.clear(&cleared.id).await;
    let released = fixture.allocate("2", &format!("{name}-released")).await;
    fixture.release(&released.id).await;
    let cancelled = fixture.allocate("1", &format!("{name}-cancelled")).await;
    fixture.cancel(&cancelled.id).await;
    let back = fixture.deallocate("4", &format!("{name}-back")).await;
    fixture.clear(&back.id).await;
}

/// The id that a record has once it is 30 days older.
fn older(id: &str) -> String {
    let id: uuid::Uuid = id.parse().expect("an id");
    uuid::Uuid::from_u128(id.as_u128() - ((30 * 86_400_000_u128) << 80)).to_string()
}
