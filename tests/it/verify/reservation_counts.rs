//! The migration that counts open reservations, and what counts for servers of the version before, which do not.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use earmark::proto::allocation::v1::{AllocationType, SubmitAllocationsRequest, SubmitItem};
use earmark::proto::balance::v1::GetBalanceRequest;
use earmark::proto::common::v1::Amount;
use earmark::proto::network::v1::ConnectionMode;
use tokio_postgres::Client;

use super::buckets::Broken;
use super::{LedgerFixture, verify};
use crate::support::allocation_fixture::AllocationFixture;
use crate::support::allocation_sql::make_allocations_writable;
use crate::support::journal::{partition, unpartition};
use crate::support::ledger_dump::ledger_dump;

/// The migration without what it does for indexes that a later one drops.
fn migration() -> String {
    let sql = include_str!("../../../migrations/2026-11-29-000012-4_reservation_count/up.sql");
    let lines = sql.lines();
    let kept: Vec<&str> = lines
        .filter(|line| !line.contains("ALTER INDEX allocation_open_"))
        .collect();
    assert_eq!(kept.len() + 2, sql.lines().count());
    kept.join("\n")
}

/// Takes back what the migration and the later one that partitions the journal did; the columns stay, for the server that is to read them afterwards.
async fn uncount(sql: &Client) {
    unpartition(sql).await;
    let before = "
        DROP TRIGGER entry_count_reservations ON entry;
        ALTER TABLE entry DROP CONSTRAINT IF EXISTS entry_reservation_count,
            ALTER COLUMN reservation_count DROP NOT NULL;
        UPDATE entry SET reservation_count = NULL;
        UPDATE account SET reservation_count = 0";
    sql.batch_execute(before).await.expect("uncounted");
}

async fn assert_recounts(sql: &Client) {
    let counted = ledger_dump(sql).await;
    let count = |dump: &earmark::ledger::invariant::dump::LedgerDump| {
        let accounts = dump.accounts.iter().map(|account| {
            let place = (account.owner, account.key.clone(), 0);
            (place, account.balance.reservation_count)
        });
        let entries = dump.entries.iter().map(|entry| {
            let place = (entry.owner, entry.key.clone(), entry.after.version);
            (place, entry.after.reservation_count)
        });
        let mut counts: Vec<_> = accounts.chain(entries).collect();
        counts.sort();
        counts
    };
    let expected = count(&counted);
    assert!(expected.iter().any(|(_, open)| *open > 1));
    uncount(sql).await;
    sql.batch_execute(&migration()).await.expect("migrated");
    assert_eq!(count(&ledger_dump(sql).await), expected);
    // It may be repeated.
    sql.batch_execute(&migration())
        .await
        .expect("migrated again");
    assert_eq!(count(&ledger_dump(sql).await), expected);
    partition(sql).await;
    assert_eq!(count(&ledger_dump(sql).await), expected);
}

#[tokio::test]
async fn the_migration_counts_what_is_stored_as_servers_count_it() {
    let ledger = LedgerFixture::open().await;
    ledger.fixture.allocate("2", "open too").await;
    assert_recounts(&ledger.fixture.earmark.sql().await).await;
}

#[tokio::test]
async fn the_migration_counts_reserves_of_buckets_of_which_a_part_was_used() {
    let buckets = Broken::open().await;
    assert_recounts(&buckets.sql).await;
    verify(&buckets.fixture.earmark).await.assert_sound();
}

/// Reserves 1 as a server of the version before does, or cancels the newest reservation.
fn old_write(owner: &str, connection: &str, number: usize) -> String {
    let change = if number % 3 == 2 { -1 } else { 1 };
    format!(
        "DO $$
         DECLARE
             at timestamptz; own record; made uuid := gen_random_uuid();
         BEGIN
             PERFORM FROM owner WHERE owner_id = '{owner}' FOR NO KEY UPDATE;
             at := clock_timestamp();
             UPDATE account SET available = available - ({change}), held = held + ({change}), version = version + 1
             WHERE owner_id = '{owner}' AND account_id = '00000000-0000-0000-0000-000000000001' AND unit = 'BTC'
             RETURNING * INTO own;
             IF {change} > 0 THEN
                 INSERT INTO allocation (owner_id, id, type, status, currency, quantity, connection_id, client_id,
                                         partner_id, client_external_id, initiated_by, created_at, updated_at,
                                         content_hash, opened_custody_version, opened_connection_version)
                 SELECT '{owner}', made, 'ALLOCATION', 'RESERVED', 'BTC', 1, c.id, c.client_id, c.partner_id,
                        'old {number}', 'x', at, at, '\\x00', own.version, 0
                 FROM connection c WHERE c.id = '{connection}';
             ELSE
                 UPDATE allocation SET status = 'RELEASED', closed_cause = 'CANCEL', updated_at = at,
                     closed_custody_version = own.version, closed_connection_version = 0
                 WHERE owner_id = '{owner}' AND client_external_id = 'old {before}' RETURNING id INTO made;
             END IF;
             INSERT INTO entry (owner_id, account_id, unit, version, available_delta, held_delta, available, held,
                                cause, cause_id, time)
             VALUES ('{owner}', own.account_id, 'BTC', own.version, -({change}), {change}, own.available, own.held,
                     CASE WHEN {change} > 0 THEN 'RESERVE' ELSE 'CANCEL' END, made, at);
         END $$",
        before = number.saturating_sub(1),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_of_the_version_before_go_on_during_the_migration_and_after_it() {
    let fixture = AllocationFixture::open(ConnectionMode::Confirmed).await;
    let (owner, connection) = (
        fixture.parties.enterprise.clone(),
        fixture.parties.connection.clone(),
    );
    let sql = fixture.earmark.sql().await;
    make_allocations_writable(&sql).await;
    fixture.earmark.deposit(&owner, "BTC", "100000").await;
    // More than one step of the migration.
    for round in 0..6 {
        let items = (0..1_000).map(|item| SubmitItem {
            r#type: AllocationType::Allocation.into(),
            connection_id: connection.clone(),
            amount: Some(Amount {
                currency: "BTC".into(),
                quantity: "1".into(),
            }),
            client_external_id: format!("{round}-{item}"),
            ..Default::default()
        });
        let request = SubmitAllocationsRequest {
            enterprise_id: owner.clone(),
            items: items.collect(),
            validate_only: false,
        };
        let submitted = fixture.client.clone().submit_allocations(request).await;
        submitted.expect("submitted");
    }
    uncount(&sql).await;

    let is_migrated = Arc::new(AtomicBool::new(false));
    let old_server = {
        let (sql, is_migrated) = (fixture.earmark.sql().await, Arc::clone(&is_migrated));
        let (owner, connection) = (owner.clone(), connection.clone());
        tokio::spawn(async move {
            let (mut number, mut after) = (0, 0);
            // Some more behind the migration.
            while after < 30 || number % 3 != 0 {
                let write = old_write(&owner, &connection, number);
                sql.batch_execute(&write).await.expect("written");
                number += 1;
                after += usize::from(is_migrated.load(Ordering::Relaxed));
            }
            number
        })
    };
    sql.batch_execute(&migration()).await.expect("migrated");
    partition(&sql).await;
    is_migrated.store(true, Ordering::Relaxed);
    let written = old_server.await.expect("no panic");
    assert!(written > 40, "only {written} beside the migration");

    verify(&fixture.earmark).await.assert_sound();
    // And a server of this version goes on from there.
    fixture.allocate("5", "new").await;
    verify(&fixture.earmark).await.assert_sound();
    let request = GetBalanceRequest {
        enterprise_id: owner.clone(),
        currency: "BTC".into(),
        ..Default::default()
    };
    let mut member = fixture.earmark.member(&[&owner]).balance;
    let answer = member.get_balance(request).await.expect("there");
    let open = i64::try_from(6_000 + written / 3 + 1).expect("few");
    assert_eq!(answer.into_inner().reservation_count, open);
}
