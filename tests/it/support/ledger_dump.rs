//! Reads the whole ledger from the database and checks its invariants.

use earmark::ledger::invariant::{Picture, check};
use earmark::ledger::model::bucket::{
    ActionKind, ActionStatus, BalanceAction, Bucket, BucketStatus, Cost, CostOwner, Drawn,
    Performed, Reserve, ReserveClosing, Transfer, UsageType, Validity,
};
use earmark::ledger::model::{
    Account, AccountKey, Adjustment, Allocation, Balance, Cause, Closing, Direction, Entry, Status,
    Versions,
};
use earmark::types::amount::Amount;
use earmark::types::content::ContentHash;
use earmark::types::ids::{
    AccountId, ActionId, AdjustmentId, AllocationId, ClientId, ConnectionId, OwnerId, PartnerId,
    TenantId,
};
use earmark::types::time::Time;
use earmark::types::unit::Unit;
use tokio_postgres::{Client, Row};
use uuid::Uuid;

use super::earmark::Earmark;

/// Asserts that every invariant holds and that the total value equals what was deposited. Returns the whole ledger.
pub(crate) async fn assert_sound(earmark: &Earmark) -> Picture {
    let sql = earmark.sql().await;
    let begin = "BEGIN ISOLATION LEVEL REPEATABLE READ";
    sql.batch_execute(begin).await.expect(begin);
    let dump = ledger_dump(&sql).await;
    assert_eq!(check(&dump), []);
    let everything = "SELECT count(*) FROM (
            SELECT unit, sum(value) FROM (
                SELECT unit, available + held FROM account WHERE account_id <> $1
                UNION ALL SELECT currency, -quantity FROM adjustment
                UNION ALL SELECT unit, -opened_amount FROM bucket
                UNION ALL SELECT unit, CASE type WHEN 'DEDUCT' THEN amount ELSE -amount END
                FROM bucket_action WHERE type IN ('TOPUP', 'ADJUST', 'DEDUCT')
                UNION ALL SELECT unit, cost_amount FROM bucket_action WHERE cost_amount IS NOT NULL
            ) x(unit, value) GROUP BY unit HAVING sum(value) <> 0) off";
    let off = sql.query_one(everything, &[&AccountId::WORLD.0]).await;
    assert_eq!(off.expect("counted").get::<_, i64>(0), 0, "value was lost");
    dump
}

/// All rows of the ledger's tables.
pub(crate) async fn ledger_dump(sql: &Client) -> Picture {
    Picture {
        accounts: all(sql, "account", account).await,
        entries: all(sql, "entry", entry).await,
        allocations: all(sql, "allocation", allocation).await,
        adjustments: all(sql, "adjustment", adjustment).await,
        buckets: all(sql, "bucket", bucket).await,
        actions: all(sql, "bucket_action", action).await,
    }
}

async fn all<T>(sql: &Client, table: &str, read: fn(&Row) -> T) -> Vec<T> {
    let rows = sql.query(&format!("SELECT * FROM {table}"), &[]).await;
    rows.expect(table).iter().map(read).collect()
}

fn amount(row: &Row, column: &str) -> Amount {
    Amount::from_decimal(row.get(column)).expect("28 digits")
}

fn time(row: &Row, column: &str) -> Time {
    Time::from(row.get::<_, chrono::DateTime<chrono::Utc>>(column))
}

fn owner(row: &Row) -> OwnerId {
    OwnerId(row.get("owner_id"))
}

fn content(row: &Row) -> ContentHash {
    let hash = row.get::<_, &[u8]>("content_hash").try_into();
    ContentHash(hash.expect("32 bytes"))
}

fn key(row: &Row) -> AccountKey {
    AccountKey {
        account: AccountId(row.get("account_id")),
        unit: Unit::stored(row.get("unit")),
    }
}

fn balance(row: &Row) -> Balance {
    Balance {
        available: amount(row, "available"),
        held: amount(row, "held"),
        version: row.get("version"),
    }
}

fn account(row: &Row) -> Account {
    Account {
        owner: owner(row),
        key: key(row),
        balance: balance(row),
    }
}

fn entry(row: &Row) -> Entry {
    Entry {
        owner: owner(row),
        key: key(row),
        available_delta: amount(row, "available_delta"),
        held_delta: amount(row, "held_delta"),
        after: balance(row),
        cause: Cause::parse(row.get("cause")).expect("a cause"),
        cause_id: row.get("cause_id"),
        time: time(row, "time"),
    }
}

fn allocation(row: &Row) -> Allocation {
    let versions = |custody: &str, connection: &str| Versions {
        custody: row.get(custody),
        connection: row.get(connection),
    };
    let expires: Option<chrono::DateTime<chrono::Utc>> = row.get("expire_time");
    let cause: Option<&str> = row.get("closed_cause");
    Allocation {
        id: AllocationId(row.get("id")),
        owner: owner(row),
        direction: Direction::parse(row.get("type")).expect("a type"),
        status: Status::parse(row.get("status")).expect("a status"),
        unit: Unit::stored(row.get("currency")),
        quantity: amount(row, "quantity"),
        connection: ConnectionId(row.get("connection_id")),
        client: ClientId(row.get("client_id")),
        partner: PartnerId(row.get("partner_id")),
        client_external_id: row.get("client_external_id"),
        partner_external_id: row.get("partner_external_id"),
        initiated_by: row.get("initiated_by"),
        notes: row.get("notes"),
        reason: row.get("reason"),
        expire_time: expires.map(Time::from),
        created_at: time(row, "created_at"),
        updated_at: time(row, "updated_at"),
        content: content(row),
        opened: versions("opened_custody_version", "opened_connection_version"),
        closed: cause.map(|cause| Closing {
            cause: Cause::parse(cause).expect("a cause"),
            versions: versions("closed_custody_version", "closed_connection_version"),
        }),
    }
}

fn adjustment(row: &Row) -> Adjustment {
    Adjustment {
        id: AdjustmentId(row.get::<_, Uuid>("id")),
        owner: owner(row),
        external_id: row.get("external_id"),
        unit: Unit::stored(row.get("currency")),
        quantity: amount(row, "quantity"),
        reason: row.get("reason"),
        initiated_by: row.get("initiated_by"),
        content: content(row),
        custody_version: row.get("custody_version"),
        created_at: time(row, "created_at"),
    }
}

fn optional_time(row: &Row, column: &str) -> Option<Time> {
    let time: Option<chrono::DateTime<chrono::Utc>> = row.get(column);
    time.map(Time::from)
}

/// Stands for the stored details, which no invariant is about.
const DETAILS: &str = "{}";

fn bucket(row: &Row) -> Bucket {
    let usage_type: Option<&str> = row.get("usage_type");
    Bucket {
        owner: owner(row),
        tenant: TenantId(row.get("tenant")),
        id: row.get("id"),
        name: row.get("name"),
        description: row.get("description"),
        status: BucketStatus::parse(row.get("status")).expect("a status"),
        usage_type: usage_type.map(|text| UsageType::parse(text).expect("a type")),
        party_account: row.get("party_account_id"),
        unit: Unit::stored(row.get("unit")),
        validity: Validity {
            from: optional_time(row, "valid_from"),
            to: optional_time(row, "valid_to"),
        },
        details: DETAILS.into(),
        initiated_by: row.get("initiated_by"),
        content: content(row),
        opened_amount: amount(row, "opened_amount"),
        opened_version: row.get("opened_version"),
        version: row.get("version"),
        created_at: time(row, "created_at"),
        updated_at: time(row, "updated_at"),
    }
}

fn action(row: &Row) -> BalanceAction {
    BalanceAction {
        id: ActionId(row.get("id")),
        owner: owner(row),
        tenant: TenantId(row.get("tenant")),
        bucket: row.get("bucket_id"),
        party_account: row.get("party_account_id"),
        status: ActionStatus::parse(row.get("status")).expect("a status"),
        request_id: row.get("request_id"),
        content: content(row),
        unit: Unit::stored(row.get("unit")),
        amount: amount(row, "amount"),
        what: performed(row),
        own_version: row.get("own_version"),
        details: DETAILS.into(),
        initiated_by: row.get("initiated_by"),
        created_at: time(row, "created_at"),
        updated_at: time(row, "updated_at"),
    }
}

fn performed(row: &Row) -> Performed {
    let named: Option<Uuid> = row.get("reserve_id");
    let named = named.map(ActionId);
    match ActionKind::parse(row.get("type")).expect("a type") {
        ActionKind::Topup => Performed::Topup,
        ActionKind::Adjust => Performed::Adjust,
        ActionKind::Transfer => {
            let cost_owner: Option<&str> = row.get("cost_owner");
            Performed::Transfer(Transfer {
                receiver: OwnerId(row.get("receiver_owner_id")),
                receiver_bucket: row.get("receiver_bucket_id"),
                receiver_version: row.get("receiver_version"),
                cost: cost_owner.map(|owner| Cost {
                    amount: amount(row, "cost_amount"),
                    owner: CostOwner::parse(owner).expect("an owner"),
                }),
            })
        }
        ActionKind::Reserve => {
            let cause: Option<&str> = row.get("closed_cause");
            let by: Option<Uuid> = row.get("closed_by");
            Performed::Reserve(Reserve {
                remaining: amount(row, "remaining_amount"),
                expire_time: optional_time(row, "expire_time"),
                closed: cause.map(|cause| ReserveClosing {
                    cause: Cause::parse(cause).expect("a cause"),
                    by: by.unwrap_or_default(),
                }),
            })
        }
        ActionKind::Unreserve => Performed::Unreserve {
            reserve: named.expect("a reserve"),
        },
        ActionKind::Deduct => Performed::Deduct(named.map(|reserve| Drawn {
            reserve,
            returned: amount(row, "returned_amount"),
        })),
    }
}
