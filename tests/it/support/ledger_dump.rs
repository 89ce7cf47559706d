//! Reads the whole ledger from the database and checks its invariants.

use earmark::ledger::account::{Account, AccountKey, Balance, Cause, Entry};
use earmark::ledger::adjustment::model::Adjustment;
use earmark::ledger::bucket::model::{
    ActionEffect, ActionKind, ActionStatus, BalanceAction, Bucket, BucketStatus, Cost, CostOwner,
    Reserve, ReserveClosing, ReserveUse, Transfer, UsageType, Validity,
};
use earmark::ledger::invariant::check;
use earmark::ledger::invariant::dump::LedgerDump;
use earmark::ledger::oes::model::{
    Allocation, AllocationRecord, AllocationTerms, Closing, Direction, OesVersions, Status,
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
pub(crate) async fn assert_sound(earmark: &Earmark) -> LedgerDump {
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
                FROM bucket_action WHERE type IN ('TOPUP', 'ADJUST', 'WRITEOFF', 'DEDUCT')
                UNION ALL SELECT unit, cost_amount FROM bucket_action WHERE cost_amount IS NOT NULL
            ) x(unit, value) GROUP BY unit HAVING sum(value) <> 0) off";
    let off = sql.query_one(everything, &[&AccountId::WORLD.0]).await;
    assert_eq!(off.expect("counted").get::<_, i64>(0), 0, "value was lost");
    dump
}

/// All rows of the ledger's tables.
pub(crate) async fn ledger_dump(sql: &Client) -> LedgerDump {
    LedgerDump {
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

fn optional_amount(row: &Row, column: &str) -> Option<Amount> {
    let amount: Option<rust_decimal::Decimal> = row.get(column);
    amount.map(|amount| Amount::from_decimal(amount).expect("28 digits"))
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
        reservation_count: row.get("reservation_count"),
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
    let versions = |custody: &str, connection: &str| OesVersions {
        custody: row.get(custody),
        connection: row.get(connection),
    };
    let expires: Option<chrono::DateTime<chrono::Utc>> = row.get("expire_time");
    let cause: Option<&str> = row.get("closed_cause");
    Allocation {
        owner: owner(row),
        record: AllocationRecord {
            id: AllocationId(row.get("id")),
            status: Status::parse(row.get("status")).expect("a status"),
            terms: AllocationTerms {
                direction: Direction::parse(row.get("type")).expect("a type"),
                connection: ConnectionId(row.get("connection_id")),
                unit: Unit::stored(row.get("currency")),
                quantity: amount(row, "quantity"),
                client_external_id: row.get("client_external_id"),
                notes: row.get("notes"),
                expire_time: expires.map(Time::from),
                initiated_by: row.get("initiated_by"),
            },
            client: ClientId(row.get("client_id")),
            partner: PartnerId(row.get("partner_id")),
            partner_external_id: row.get("partner_external_id"),
            reason: row.get("reason"),
            created_at: time(row, "created_at"),
            updated_at: time(row, "updated_at"),
        },
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
        status_since: optional_time(row, "status_since"),
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
        effect: effect(row),
        own_version: row.get("own_version"),
        details: DETAILS.into(),
        initiated_by: row.get("initiated_by"),
        created_at: time(row, "created_at"),
        updated_at: time(row, "updated_at"),
    }
}

fn effect(row: &Row) -> ActionEffect {
    let named: Option<Uuid> = row.get("reserve_id");
    let named = named.map(ActionId);
    match ActionKind::parse(row.get("type")).expect("a type") {
        ActionKind::Topup => ActionEffect::Topup,
        ActionKind::Adjust => ActionEffect::Adjust,
        ActionKind::WriteOff => ActionEffect::WriteOff,
        ActionKind::Transfer => {
            let cost_owner: Option<&str> = row.get("cost_owner");
            ActionEffect::Transfer(Transfer {
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
            ActionEffect::Reserve(Reserve {
                remaining: amount(row, "remaining_amount"),
                expire_time: optional_time(row, "expire_time"),
                closed: cause.map(|cause| ReserveClosing {
                    cause: Cause::parse(cause).expect("a cause"),
                    by: by.unwrap_or_default(),
                }),
                expired: optional_amount(row, "returned_amount"),
            })
        }
        ActionKind::Unreserve => ActionEffect::Unreserve {
            reserve: named.expect("a reserve"),
        },
        ActionKind::Deduct => ActionEffect::Deduct(named.map(|reserve| ReserveUse {
            reserve,
            returned: amount(row, "returned_amount"),
        })),
    }
}
