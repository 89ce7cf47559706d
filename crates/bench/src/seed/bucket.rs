//! Prepaid buckets of one tenant.

use anyhow::{Context, Result};
use earmark::types::ids::{OwnerId, TenantId, ordered_id};
use earmark::types::time::Time;
use tokio_postgres::Client;
use uuid::Uuid;

use super::loader::{CONTENT_HASH, Loader};
use crate::cluster::BenchCluster;

/// Whose buckets they all are.
pub(crate) const TENANT: Uuid = Uuid::from_u128(0x018f_0000_0000_7004_8000_0000_0000_0000);
/// What is in them.
pub(crate) const UNIT: &str = "MB";

const OPENING: i64 = 1_000_000_000_000;
/// The first second of 2026. A bucket is opened so many microseconds later as its number is: so pgbench, which cannot
/// make up an owner's id, finds a bucket by its place in the tenant's list as cheaply as others do by its owner.
const START_MICROS: i64 = 1_767_225_600_000_000;
/// Actions of a bucket are a second apart: no two of its movements have the same time.
const ACTION_MICROS: i64 = 1_000_000;
const OWN: &str = "00000000-0000-0000-0000-000000000001";
const WORLD: &str = "00000000-0000-0000-0000-000000000002";

/// How many buckets a database holds, and what they have.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SeededBuckets {
    /// They count from 1, and fewer than 1,000,001.
    pub(crate) buckets: u32,
    /// The actions of each bucket: open reserves and deductions of 1 in turns.
    pub(crate) actions: u32,
    /// Each bucket serves one of so many products, in turns.
    pub(crate) products: u32,
}

impl SeededBuckets {
    fn all(self) -> impl Iterator<Item = SeedBucket> {
        (1..=self.buckets).map(move |number| SeedBucket {
            number,
            of: self,
            owner: OwnerId::of_bucket(TenantId(TENANT), &bucket_id(number)),
        })
    }
}

/// The id of a bucket, counted from 1.
pub(crate) fn bucket_id(number: u32) -> String {
    format!("bucket-{number}")
}

/// The id of a product, counted from 1.
pub(crate) fn product_id(number: u32) -> String {
    format!("product-{number}")
}

/// Seeds a migrated database without buckets.
pub(crate) async fn seed(
    cluster: &BenchCluster,
    database: &str,
    buckets: SeededBuckets,
) -> Result<()> {
    let client = cluster.connect(database).await?;
    // Foreign keys need that of the owners, so that it stays.
    let mut tables = vec!["bucket", "bucket_product", "account", "entry"];
    let actions = tables_of_actions(&client).await?;
    tables.extend(actions.iter().map(|(table, _)| *table));
    let loader = Loader::begin(&client, &tables).await?;
    for (columns, lines) in TABLES {
        loader
            .copy(columns, buckets.all().map(|bucket| lines(&bucket)))
            .await
            .context("seeding buckets")?;
    }
    for (table, is_there) in actions {
        let columns = format!("{table} ({ACTION_COLUMNS})");
        loader
            .copy(
                &columns,
                buckets.all().map(|bucket| bucket.actions(*is_there)),
            )
            .await
            .context("seeding actions")?;
    }
    loader.end().await?;
    if actions.iter().all(|(table, _)| *table != ALL) {
        let keys = "INSERT INTO bucket_action_key SELECT owner_id, bucket_action_key_of(type, request_id), id \
                    FROM bucket_action ORDER BY id";
        client.batch_execute(keys).await.context(keys)?;
    }
    Ok(())
}

/// A table of actions, and which of them are in it, given whether one is a reserve. All reserves are open.
type ActionTable = (&'static str, fn(bool) -> bool);

const ALL: &str = "bucket_action";
const ACTIONS_IN_ONE: [ActionTable; 1] = [(ALL, |_| true)];
const ACTIONS_APART: [ActionTable; 2] = [
    ("open_bucket_action", |is_reserve| is_reserve),
    ("closed_bucket_action", |is_reserve| !is_reserve),
];

/// Where actions are. A program that `compare` has as its base may have them in the table of all.
async fn tables_of_actions(client: &Client) -> Result<&'static [ActionTable]> {
    let sql = "SELECT to_regclass('open_bucket_action') IS NOT NULL";
    let are_apart: bool = client.query_one(sql, &[]).await?.get(0);
    Ok(if are_apart {
        &ACTIONS_APART
    } else {
        &ACTIONS_IN_ONE
    })
}

/// The lines that a bucket has in a table.
type CopyLines = fn(&SeedBucket) -> String;

/// Tables with the columns that are filled, and what fills them.
const TABLES: [(&str, CopyLines); 5] = [
    ("owner (owner_id)", |bucket| format!("{}\n", bucket.owner)),
    (
        "bucket (owner_id, tenant, id, name, status, usage_type, party_account_id, unit, details, initiated_by, \
         content_hash, opened_amount, opened_version, version, created_at, updated_at)",
        SeedBucket::record,
    ),
    (
        "bucket_product (owner_id, product_id, tenant, bucket_id, created_at)",
        SeedBucket::product,
    ),
    (
        "account (owner_id, account_id, unit, available, held, version, reservation_count)",
        SeedBucket::accounts,
    ),
    (
        "entry (owner_id, account_id, unit, version, available_delta, held_delta, available, held, cause, cause_id, time, \
         reservation_count)",
        SeedBucket::entries,
    ),
];

const ACTION_COLUMNS: &str = "owner_id, id, tenant, bucket_id, party_account_id, type, status, request_id, content_hash, \
    unit, amount, remaining_amount, own_version, details, initiated_by, created_at, updated_at";

struct SeedBucket {
    number: u32,
    of: SeededBuckets,
    owner: OwnerId,
}

/// How a bucket's accounts stand after so many of its actions.
struct SeedBalance {
    available: i64,
    held: i64,
    own_version: i64,
    world: i64,
    world_version: i64,
}

impl SeedBalance {
    fn after(actions: u32) -> Self {
        let (reserved, deducted) = (i64::from(actions.div_ceil(2)), i64::from(actions / 2));
        Self {
            available: OPENING - i64::from(actions),
            held: reserved,
            own_version: 1 + i64::from(actions),
            world: deducted - OPENING,
            world_version: 1 + deducted,
        }
    }
}

/// Odd ones are reserves, even ones are deductions.
fn is_reserve(action: u32) -> bool {
    action % 2 == 1
}

impl SeedBucket {
    fn id(&self) -> String {
        bucket_id(self.number)
    }

    /// The account of the party that uses it: each uses two buckets.
    fn party_account(&self) -> String {
        format!("party-{}", self.number.div_ceil(2))
    }

    fn product_id(&self) -> String {
        product_id((self.number - 1) % self.of.products + 1)
    }

    /// The time of an action, counted from 1; 0 is the opening.
    fn time(&self, action: u32) -> Time {
        let micros = START_MICROS + i64::from(self.number) + i64::from(action) * ACTION_MICROS;
        Time::from_micros(micros).expect("in range")
    }

    fn action_id(&self, action: u32) -> Uuid {
        ordered_id(self.time(action), u64::from(self.number).to_be_bytes())
    }

    fn record(&self) -> String {
        let (owner, id, number) = (self.owner, self.id(), self.number);
        let (party, product, time) = (self.party_account(), self.product_id(), self.time(0));
        format!(
            "{owner}\t{TENANT}\t{id}\tBucket {number}\tACTIVE\tDATA\t{party}\t{UNIT}\t\
             {{\"product\":[{{\"id\":\"{product}\"}}],\"party_account\":{{\"id\":\"{party}\"}}}}\tseed\t\
             {CONTENT_HASH}\t{OPENING}\t1\t1\t{time}\t{time}\n"
        )
    }

    fn product(&self) -> String {
        let (owner, id, product, time) = (self.owner, self.id(), self.product_id(), self.time(0));
        format!("{owner}\t{product}\t{TENANT}\t{id}\t{time}\n")
    }

    fn accounts(&self) -> String {
        let owner = self.owner;
        let SeedBalance {
            available,
            held,
            own_version,
            world,
            world_version,
        } = SeedBalance::after(self.of.actions);
        format!(
            "{owner}\t{OWN}\t{UNIT}\t{available}\t{held}\t{own_version}\t{held}\n\
             {owner}\t{WORLD}\t{UNIT}\t{world}\t0\t{world_version}\t0\n"
        )
    }

    fn entries(&self) -> String {
        let (owner, time) = (self.owner, self.time(0));
        let mut lines = format!(
            "{owner}\t{OWN}\t{UNIT}\t1\t{OPENING}\t0\t{OPENING}\t0\tOPENING\t{owner}\t{time}\t0\n\
             {owner}\t{WORLD}\t{UNIT}\t1\t-{OPENING}\t0\t-{OPENING}\t0\tOPENING\t{owner}\t{time}\t0\n"
        );
        for action in 1..=self.of.actions {
            let (id, time) = (self.action_id(action), self.time(action));
            let SeedBalance {
                available,
                held,
                own_version,
                world,
                world_version,
            } = SeedBalance::after(action);
            if is_reserve(action) {
                lines += &format!(
                    "{owner}\t{OWN}\t{UNIT}\t{own_version}\t-1\t1\t{available}\t{held}\tRESERVE\t{id}\t{time}\t{held}\n"
                );
            } else {
                lines += &format!(
                    "{owner}\t{OWN}\t{UNIT}\t{own_version}\t-1\t0\t{available}\t{held}\tDEDUCT\t{id}\t{time}\t{held}\n\
                     {owner}\t{WORLD}\t{UNIT}\t{world_version}\t1\t0\t{world}\t0\tDEDUCT\t{id}\t{time}\t0\n"
                );
            }
        }
        lines
    }

    /// The lines of those actions that are in a table, given whether one is a reserve.
    fn actions(&self, is_there: fn(bool) -> bool) -> String {
        let (owner, bucket, party) = (self.owner, self.id(), self.party_account());
        let actions = (1..=self.of.actions).filter(|action| is_there(is_reserve(*action)));
        let lines = actions.map(|action| {
            let (id, time) = (self.action_id(action), self.time(action));
            let version = SeedBalance::after(action).own_version;
            let (kind, status, remaining) = if is_reserve(action) {
                ("RESERVE", "CREATED", "1")
            } else {
                ("DEDUCT", "COMPLETED", "\\N")
            };
            format!(
                "{owner}\t{id}\t{TENANT}\t{bucket}\t{party}\t{kind}\t{status}\tseed-{action}\t{CONTENT_HASH}\t{UNIT}\t1\t\
                 {remaining}\t{version}\t{{}}\tseed\t{time}\t{time}\n"
            )
        });
        lines.collect()
    }
}
