//! Enterprises with accounts and open allocations.

use anyhow::{Context, Result};
use chrono::{DateTime, TimeDelta, Utc};
use tokio_postgres::Client;

use super::loader::{CONTENT_HASH, Loader};
use crate::cluster::BenchCluster;
use crate::ids::{self, BenchNetwork};

const OPENING: i64 = 1_000_000_000_000;

/// Seeds networks into a migrated database, one after the other.
pub(crate) async fn seed(
    cluster: &BenchCluster,
    database: &str,
    networks: &[BenchNetwork],
) -> Result<()> {
    let client = cluster.connect(database).await?;
    let counts = counts_reservations(&client).await?;
    let table = table_of_allocations(&client).await?;
    let loader = Loader::begin(&client, &[table, "entry"]).await?;
    for network in networks {
        let records = i64::from(network.records);
        // Its newest record is a minute old.
        let start = Utc::now() - TimeDelta::milliseconds(records) - TimeDelta::minutes(1);
        let sql = include_str!("network.sql")
            .replace("$first", &network.first.to_string())
            .replace("$last", &network.last().to_string())
            .replace("$currencies", &network.currencies.to_string())
            .replace("$records", &network.records.to_string())
            .replace("$account_count", if counts { ", held" } else { "" })
            .replace("$entry_count", if counts { ", 0" } else { "" })
            .replace(
                "$entry_column",
                if counts { ", reservation_count" } else { "" },
            )
            .replace("$start", &start.to_rfc3339());
        // The functions and tables that it makes for itself end with the connection.
        let session = cluster.connect(database).await?;
        session.batch_execute(&sql).await.context("seeding")?;
        let allocations = format!(
            "{table} (owner_id, id, type, status, currency, quantity, connection_id, client_id, partner_id, \
             client_external_id, initiated_by, created_at, updated_at, content_hash, opened_custody_version, \
             opened_connection_version)"
        );
        loader
            .copy(
                &allocations,
                places(*network).map(|place| place.allocation(start)),
            )
            .await?;
        let count = if counts { ", reservation_count" } else { "" };
        let entries = format!(
            "entry (owner_id, account_id, unit, version, available_delta, held_delta, available, held, cause, \
             cause_id, time{count})"
        );
        loader
            .copy(
                &entries,
                places(*network).map(|place| place.entry(start, counts)),
            )
            .await?;
    }
    loader.end().await?;
    if table == OPEN {
        let keys = "INSERT INTO allocation_key SELECT owner_id, allocation_key_of(type, client_external_id), id \
                    FROM open_allocation ORDER BY id";
        client.batch_execute(keys).await.context(keys)?;
    }
    Ok(())
}

const OPEN: &str = "open_allocation";

/// Where open allocations are. A program that `compare` has as its base may have them in the table of all.
async fn table_of_allocations(client: &Client) -> Result<&'static str> {
    let sql = format!("SELECT to_regclass('{OPEN}') IS NOT NULL");
    let has_own: bool = client.query_one(&sql, &[]).await?.get(0);
    Ok(if has_own { OPEN } else { "allocation" })
}

/// Whether accounts and entries count open reservations. A program that `compare` has as its base may be older.
async fn counts_reservations(client: &Client) -> Result<bool> {
    let sql = "SELECT EXISTS (SELECT FROM pg_attribute
                WHERE attrelid = 'entry'::regclass AND attname = 'reservation_count' AND NOT attisdropped)";
    Ok(client.query_one(sql, &[]).await?.get(0))
}

/// A record among the others, both counted as the ids are.
struct SeedRecord {
    enterprise: u32,
    record: u32,
    currencies: u32,
}

/// All records in the order in which they would have been made: the enterprises in turns.
fn places(network: BenchNetwork) -> impl Iterator<Item = SeedRecord> {
    (0..network.records).flat_map(move |record| {
        (network.first..=network.last()).map(move |enterprise| SeedRecord {
            enterprise,
            record,
            currencies: network.currencies,
        })
    })
}

impl SeedRecord {
    fn currency(&self) -> u32 {
        self.record % self.currencies + 1
    }

    /// The first version is the opening deposit's.
    fn version(&self) -> i64 {
        i64::from(self.record / self.currencies) + 2
    }

    /// One record of an enterprise in each millisecond, the first behind its deposits.
    fn time(&self, start: DateTime<Utc>) -> String {
        let time = start + TimeDelta::milliseconds(i64::from(self.record) + 1);
        time.format("%Y-%m-%d %H:%M:%S%.6f+00").to_string()
    }

    fn allocation(&self, start: DateTime<Utc>) -> String {
        let Self {
            enterprise, record, ..
        } = *self;
        format!(
            "{owner}\t{id}\tALLOCATION\tRESERVED\tC{currency}\t1\t{connection}\t{client}\t{partner}\t\
             seed-{record}\tseed\t{time}\t{time}\t{CONTENT_HASH}\t{version}\t0\n",
            owner = ids::enterprise(enterprise),
            id = ids::allocation(enterprise, record),
            currency = self.currency(),
            connection = ids::connection(enterprise),
            client = ids::client(enterprise),
            partner = ids::partner(),
            time = self.time(start),
            version = self.version(),
        )
    }

    fn entry(&self, start: DateTime<Utc>, counts: bool) -> String {
        let held = self.version() - 1;
        let count = if counts {
            format!("\t{held}")
        } else {
            String::new()
        };
        format!(
            "{owner}\t00000000-0000-0000-0000-000000000001\tC{currency}\t{version}\t-1\t1\t{available}\t{held}\tRESERVE\t\
             {cause}\t{time}{count}\n",
            owner = ids::enterprise(self.enterprise),
            currency = self.currency(),
            version = self.version(),
            available = OPENING - held,
            cause = ids::allocation(self.enterprise, self.record),
            time = self.time(start),
        )
    }
}
