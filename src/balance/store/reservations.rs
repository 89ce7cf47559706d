//! A page of the reservations that were open in an account at one of its versions.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Nullable, Numeric, Timestamptz, Uuid as SqlUuid};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use rust_decimal::Decimal;
use uuid::Uuid;

use super::accounts::amount;
use crate::balance::model::{OpenReservation, ReservationList};
use crate::db::pool::Pool;
use crate::db::read;
use crate::db::statement::{SqlTexts, Statement};
use crate::error::{Error, Result};
use crate::types::ids::{AccountId, AllocationId};
use crate::types::time::Time;

type ReservationColumns = (SqlUuid, Numeric, Timestamptz, Nullable<Timestamptz>, BigInt);

#[derive(Queryable)]
struct Row {
    id: Uuid,
    quantity: Decimal,
    created_at: DateTime<Utc>,
    expire_time: Option<DateTime<Utc>>,
    version: i64,
}

impl TryFrom<Row> for OpenReservation {
    type Error = Error;

    fn try_from(row: Row) -> Result<Self> {
        Ok(Self {
            allocation: AllocationId(row.id),
            quantity: amount(row.quantity)?,
            created_at: row.created_at.into(),
            expire_time: row.expire_time.map(Time::from),
            version: row.version,
        })
    }
}

/// A page and one more. What was open at a version stays so, whatever happens between two pages.
pub(in crate::balance) async fn reservations(
    pool: &Pool,
    list: &ReservationList,
) -> Result<Vec<OpenReservation>> {
    let rows: Vec<Row> = read::one(pool, async |connection: &mut AsyncPgConnection| {
        statement(list).load(connection).await
    })
    .await?;
    rows.into_iter().map(OpenReservation::try_from).collect()
}

/// The kind of account that the text is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum HoldingAccount {
    Custody,
    Connection,
}

fn statement(list: &ReservationList) -> Statement<ReservationColumns> {
    static TEXTS: SqlTexts<HoldingAccount> = SqlTexts::new(text);

    let kind = if list.account.id == AccountId::OWN {
        HoldingAccount::Custody
    } else {
        HoldingAccount::Connection
    };
    Statement::new(&TEXTS.get(kind))
        .bind("owner", list.account.owner.0)
        .bind("account", list.account.id.0)
        .bind("unit", list.unit.to_string())
        .bind("version", list.balance.version)
        .bind("time", list.time)
        .bind("after", list.page.after().map_or(0, |cursor| cursor.after))
        .bind("next_id", first_id_after(list.time))
        .bind("limit", list.page.fetch())
}

/// The first id of the millisecond after this time: ids begin with the time of creation.
fn first_id_after(time: Time) -> Uuid {
    let millis = u64::try_from(time.micros() / 1_000).unwrap_or(0);
    Uuid::from_u128(u128::from(millis + 1) << 80)
}

fn text(kind: &HoldingAccount) -> String {
    let (of_account, opened) = match kind {
        HoldingAccount::Custody => ("a.type = 'ALLOCATION'", "a.opened_custody_version"),
        HoldingAccount::Connection => (
            "a.type = 'DEALLOCATION' AND a.connection_id = :account",
            "a.opened_connection_version",
        ),
    };
    TEXT.replace("{of_account}", of_account)
        .replace("{opened}", opened)
}

/// What is open now and was opened by then; and what has been closed since.
///
/// The index of what is open has groups of 256 versions, see its migration. `batch`: those that are not empty, one after
/// the other, until LIMIT has enough. A closing takes from `held`; the entries later than that of the version are read for it,
/// none if the account still has the version. Of the closings only records are looked up that may have been there, which
/// their ids tell. The LATERALs keep any plan to this order, and to the keys.
const TEXT: &str = "\
    WITH RECURSIVE batch(number) AS (\
        (SELECT {opened} >> 8 FROM open_allocation a \
         WHERE a.owner_id = :owner AND a.currency = :unit AND {of_account} \
           AND ({opened} >> 8) >= (:after >> 8) \
         ORDER BY {opened} >> 8 LIMIT 1) \
        UNION ALL \
        SELECT n.number FROM batch b CROSS JOIN LATERAL (\
            SELECT {opened} >> 8 AS number FROM open_allocation a \
            WHERE a.owner_id = :owner AND a.currency = :unit AND {of_account} \
              AND ({opened} >> 8) > b.number \
            ORDER BY {opened} >> 8 LIMIT 1\
        ) n WHERE b.number < (:version >> 8)\
    ) \
    SELECT o.id, o.quantity, o.created_at, o.expire_time, o.opened FROM (\
        (SELECT r.* FROM batch b CROSS JOIN LATERAL (\
             SELECT a.id, a.quantity, a.created_at, a.expire_time, {opened} AS opened FROM open_allocation a \
             WHERE a.owner_id = :owner AND a.currency = :unit AND {of_account} \
               AND ({opened} >> 8) = b.number AND {opened} > :after AND {opened} <= :version \
             ORDER BY {opened}\
         ) r LIMIT :limit) \
        UNION ALL \
        (SELECT a.id, a.quantity, a.created_at, a.expire_time, {opened} \
         FROM (\
             SELECT a.version FROM account a \
             WHERE a.owner_id = :owner AND a.account_id = :account AND a.unit = :unit LIMIT 1\
         ) latest \
         CROSS JOIN LATERAL (\
             SELECT e.cause_id FROM entry e \
             WHERE latest.version > :version AND e.owner_id = :owner AND e.account_id = :account AND e.unit = :unit \
               AND e.time > :time AND e.held_delta < 0 AND e.cause_id < :next_id \
             ORDER BY e.time, e.version OFFSET 0\
         ) e \
         CROSS JOIN LATERAL (\
             SELECT * FROM closed_allocation a WHERE a.owner_id = :owner AND a.id = e.cause_id LIMIT 1\
         ) a \
         WHERE {opened} > :after AND {opened} <= :version)\
    ) o ORDER BY o.opened LIMIT :limit";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::balance::model::{BalanceAccount, BalanceSide};
    use crate::ledger::account::Balance;
    use crate::types::ids::OwnerId;
    use crate::types::page::{Page, Start};
    use crate::types::unit::Unit;

    #[test]
    fn every_parameter_of_either_text_has_a_value() {
        for id in [AccountId::OWN, AccountId(Uuid::nil())] {
            let list = ReservationList {
                account: BalanceAccount {
                    owner: OwnerId(Uuid::nil()),
                    id,
                    side: BalanceSide::Client,
                },
                unit: Unit::stored("EUR"),
                balance: Balance::default(),
                time: Time::MIN,
                as_of: Time::MIN,
                page: Page::new(1, Start::First),
            };
            let sql = statement(&list).sql().expect("complete");
            assert!(!sql.contains('{'), "{sql}");
        }
    }

    #[test]
    fn an_id_of_a_later_millisecond_is_not_below_the_first() {
        use crate::types::ids::ordered_id;

        let time = Time::from_micros(1_800_000_000_123_456).expect("in range");
        let next = Time::from_micros(1_800_000_000_124_000).expect("in range");
        let first = first_id_after(time);
        assert!(ordered_id(time, [0xff; 8]) < first);
        assert!(ordered_id(next, [0; 8]) >= first);
    }
}
