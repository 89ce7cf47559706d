//! One balance as it stands or stood: all that are asked for at the same time in one statement, and so each from one
//! snapshot. What it costs depends neither on the moment nor on how many reservations are open: an entry has the number of
//! these beside the amounts.

use std::collections::HashMap;
use std::sync::LazyLock;

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Bool, Nullable, Numeric, Timestamptz, Uuid as SqlUuid};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use rust_decimal::Decimal;
use uuid::Uuid;

use super::accounts::amount;
use crate::balance::model::{BalanceAccount, BalanceQuery, BalanceSide, Moment, PastBalance};
use crate::db::archive_end;
use crate::db::coalesce::ReadMany;
use crate::db::enterprise_status::EnterpriseStatus;
use crate::db::pg_error::TransactionError;
use crate::db::pool::Pool;
use crate::db::read;
use crate::db::statement::{SqlText, Statement};
use crate::error::Result;
use crate::ledger::account::Balance;
use crate::types::ids::{ClientId, OwnerId};
use crate::types::time::Time;

/// The balance that is asked for, and the clock by which reservations have expired; without one, that of the statement.
#[derive(Clone, Debug)]
pub(in crate::balance) struct BalanceKey {
    query: BalanceQuery,
    clock: Option<Time>,
}

impl BalanceKey {
    pub(in crate::balance) fn new(query: &BalanceQuery, clock: Option<Time>) -> Self {
        Self {
            query: query.clone(),
            clock,
        }
    }
}

/// What was found by a key.
#[derive(Debug)]
pub(in crate::balance) struct FoundBalance {
    /// What the enterprise that asks may do, if it exists.
    pub(in crate::balance) enterprise: Option<EnterpriseStatus>,
    /// The account, if the enterprise has a side of it.
    pub(in crate::balance) account: Option<BalanceAccount>,
    /// Whether any reservation of the account's owner had expired. These are to be released, and the account to be read
    /// again by the clock of the first read.
    has_expired: bool,
    /// The account's balance; none without the account.
    pub(in crate::balance) snapshot: Option<BalanceSnapshot>,
}

impl FoundBalance {
    /// The owner whose reservations are to be released before the balance is shown.
    pub(in crate::balance) fn expired(&self) -> Vec<OwnerId> {
        let owner = self.account.filter(|_| self.has_expired);
        owner.map(|account| account.owner).into_iter().collect()
    }
}

/// An account at a moment, and what says whether that moment has been reached.
#[derive(Debug)]
pub(in crate::balance) struct BalanceSnapshot {
    /// The database's clock when the statement began.
    pub(in crate::balance) clock: Time,
    /// The time of the newest entry that is later than the clock and that the side that asks may see: a client's of its whole
    /// enterprise, a partner's of this account. It is only looked for where a later time is asked for.
    pub(in crate::balance) ahead: Option<Time>,
    /// The account's current version; 0 before its first entry.
    pub(in crate::balance) version: i64,
    /// The time before which everything is archived, if the moment is before it.
    pub(in crate::balance) archived: Option<Time>,
    /// The account as it was at the moment; none if there is no entry of its version.
    pub(in crate::balance) past: Option<PastBalance>,
}

/// Reads balances, many in one statement.
#[derive(Debug)]
pub(in crate::balance) struct BalancesByKey(pub(in crate::balance) Pool);

impl ReadMany for BalancesByKey {
    type Key = BalanceKey;
    type Value = FoundBalance;

    fn read(
        &self,
        keys: &[BalanceKey],
    ) -> impl Future<Output = Result<Vec<Result<FoundBalance>>>> + Send {
        get_all(&self.0, keys)
    }
}

async fn get_all(pool: &Pool, keys: &[BalanceKey]) -> Result<Vec<Result<FoundBalance>>> {
    let (rows, history) = read::one(pool, async |connection: &mut AsyncPgConnection| {
        let numbered = || keys.iter().enumerate();
        let is_of_version = |key: &BalanceKey| matches!(key.query.moment, Moment::Version(_));
        let mut rows: Vec<Option<Row>> = keys.iter().map(|_| None).collect();
        let of_versions = numbered().filter(|(_, key)| is_of_version(key)).collect();
        load(connection, of_versions, of_version, &mut rows).await?;
        let at_times = numbered().filter(|(_, key)| !is_of_version(key)).collect();
        load(
            connection,
            at_times,
            |keys| at_time(keys, &EntrySpan::recent(keys)),
            &mut rows,
        )
        .await?;
        let older = numbered().filter(|(number, key)| {
            let row = rows.get(*number).and_then(Option::as_ref);
            !is_of_version(key) && row.is_some_and(|row| row.lacks_entries(key))
        });
        let older = older.collect();
        load(
            connection,
            older,
            |keys| at_time(keys, &EntrySpan::ALL),
            &mut rows,
        )
        .await?;
        let history = archived_history(connection, keys, &rows).await?;
        Ok::<_, TransactionError>((rows, history))
    })
    .await?;
    let found = (0..).zip(keys).zip(rows);
    Ok(found
        .map(|((number, key), row)| found_balance(row, key, history.of(number)))
        .collect())
}

/// What is archived of the accounts that are asked for.
#[derive(Default)]
struct ArchivedHistory {
    /// The time before which everything is archived.
    since: Option<Time>,
    /// By the number of their key, the accounts that had entries before it.
    openings: HashMap<i64, OpeningRow>,
}

impl ArchivedHistory {
    fn of(&self, number: i64) -> Option<(Time, Option<&OpeningRow>)> {
        Some((self.since?, self.openings.get(&number)))
    }
}

/// Looks whether what is asked for is archived: after the entries were looked for, so that none is missed that has left
/// meanwhile, and only where a past moment is asked for or an entry is lacking.
async fn archived_history(
    connection: &mut AsyncPgConnection,
    keys: &[BalanceKey],
    rows: &[Option<Row>],
) -> QueryResult<ArchivedHistory> {
    let of_accounts = || {
        let found = (0..).zip(keys).zip(rows);
        found.filter_map(|((number, key), row)| {
            let row = row.as_ref()?;
            Some((number, key, row, row.owner?))
        })
    };
    if !of_accounts().any(|(_, key, row, _)| row.may_be_archived(key)) {
        return Ok(ArchivedHistory::default());
    }
    let Some(since) = archive_end::find(connection).await? else {
        return Ok(ArchivedHistory::default());
    };
    let lacking = of_accounts().filter(|(_, _, row, _)| {
        let time = row.time.map(Time::from);
        time.is_none_or(|time| time < since)
    });
    let lacking = lacking.map(|(number, key, _, owner)| (number, key, owner));
    let found: Vec<OpeningRow> = openings(lacking.collect(), since).load(connection).await?;
    Ok(ArchivedHistory {
        since: Some(since),
        openings: found.into_iter().map(|row| (row.number, row)).collect(),
    })
}

/// What an account had when everything before a time was archived, by the number of its key.
#[derive(Queryable)]
struct OpeningRow {
    number: i64,
    available: Decimal,
    held: Decimal,
    version: i64,
    reservation_count: i64,
    /// The time of the account's last entry before.
    time: DateTime<Utc>,
}

type OpeningColumns = (BigInt, Numeric, Numeric, BigInt, BigInt, Timestamptz);

/// The balances that were carried forward to the last end of a period at or before a time.
fn openings(accounts: Vec<(i64, &BalanceKey, Uuid)>, since: Time) -> Statement<OpeningColumns> {
    static SQL: LazyLock<SqlText> = LazyLock::new(|| SqlText::new(OPENINGS));

    let queries = || accounts.iter().map(|(_, key, _)| &key.query);
    let numbers: Vec<i64> = accounts.iter().map(|(number, ..)| *number).collect();
    let owners: Vec<Uuid> = accounts.iter().map(|(.., owner)| *owner).collect();
    let ids: Vec<Uuid> = queries().map(|query| query.account().0).collect();
    let units: Vec<String> = queries().map(|query| query.unit.to_string()).collect();
    Statement::new(&SQL)
        .bind("numbers", numbers)
        .bind("owners", owners)
        .bind("accounts", ids)
        .bind("units", units)
        .bind("since", since)
}

const OPENINGS: &str = "\
    SELECT k.n, c.available, c.held, c.version, c.reservation_count, c.time \
    FROM unnest(:numbers, :owners, :accounts, :units) k(n, owner_id, account_id, unit) \
    CROSS JOIN LATERAL (\
        SELECT * FROM carry_forward c \
        WHERE c.owner_id = k.owner_id AND c.account_id = k.account_id AND c.unit = k.unit AND c.end_time <= :since \
        ORDER BY c.end_time DESC LIMIT 1\
    ) c";

/// Keys with their numbers, by which the rows come back.
type NumberedKeys<'k> = Vec<(usize, &'k BalanceKey)>;

/// Runs a statement for these keys, if there are any, and puts each row into its place.
async fn load(
    connection: &mut AsyncPgConnection,
    keys: NumberedKeys<'_>,
    statement: impl Fn(&[(usize, &BalanceKey)]) -> Statement<BalanceColumns>,
    rows: &mut [Option<Row>],
) -> QueryResult<()> {
    if keys.is_empty() {
        return Ok(());
    }
    let found: Vec<Row> = statement(&keys).load(connection).await?;
    for row in found {
        let place = usize::try_from(row.number).ok();
        if let Some(place) = place.and_then(|place| rows.get_mut(place)) {
            *place = Some(row);
        }
    }
    Ok(())
}

fn found_balance(
    row: Option<Row>,
    key: &BalanceKey,
    history: Option<(Time, Option<&OpeningRow>)>,
) -> Result<FoundBalance> {
    let Some(mut row) = row else {
        return Ok(FoundBalance {
            enterprise: None,
            account: None,
            has_expired: false,
            snapshot: None,
        });
    };
    let account = row.owner.map(|owner| BalanceAccount {
        owner: OwnerId(owner),
        id: key.query.account(),
        side: if owner == key.query.enterprise.0 {
            BalanceSide::Client
        } else {
            BalanceSide::Partner
        },
    });
    let enterprise = EnterpriseStatus {
        licensed: row.licensed,
        client: row.client.map(ClientId),
        has_partner: row.has_partner,
        clock: row.clock.into(),
    };
    let moment = key.query.moment;
    let archived = history.and_then(|(since, opening)| {
        let is_archived = is_archived(moment, since, opening);
        if let Some(opening) = opening.filter(|_| !is_archived) {
            row.fill_from(opening, moment);
        }
        is_archived.then_some(since)
    });
    let since = history.map(|(since, _)| since);
    let snapshot = account.map(|account| snapshot(&row, account.side, moment, since));
    Ok(FoundBalance {
        enterprise: Some(enterprise),
        account,
        has_expired: row.has_expired,
        snapshot: snapshot.transpose()?.map(|snapshot| BalanceSnapshot {
            archived,
            ..snapshot
        }),
    })
}

/// Whether the account at the moment is archived with all that was before `since`, when it had this balance.
fn is_archived(moment: Moment, since: Time, opening: Option<&OpeningRow>) -> bool {
    match moment {
        Moment::Now => false,
        Moment::At(time) => time < since,
        Moment::Version(version) => opening.is_some_and(|opening| version < opening.version),
    }
}

/// What a row says of the account at a moment. The history on line begins at `since`, if a part of it is archived.
fn snapshot(
    row: &Row,
    side: BalanceSide,
    moment: Moment,
    since: Option<Time>,
) -> Result<BalanceSnapshot> {
    let as_of = match (side, moment) {
        (BalanceSide::Client, Moment::Now | Moment::At(_)) => row.owner_time,
        _ => row.time,
    };
    let is_there = match moment {
        Moment::Now => row.latest == 0 || row.time.is_some(),
        Moment::Version(version) => row.version.unwrap_or(0) == version,
        Moment::At(_) => true,
    };
    let found = match (row.version, row.available, row.held, row.reservation_count) {
        (Some(version), Some(available), Some(held), Some(reservation_count)) => Balance {
            available: amount(available)?,
            held: amount(held)?,
            version,
            reservation_count,
        },
        // Before the first entry.
        _ => Balance::default(),
    };
    let past = is_there.then_some(found);
    let or_epoch = |time: Option<DateTime<Utc>>| Time::from(time.unwrap_or(DateTime::UNIX_EPOCH));
    // At a time that is archived the same could not be asked for again.
    let as_of = or_epoch(as_of).max(since.unwrap_or(Time::MIN));
    Ok(BalanceSnapshot {
        archived: None,
        clock: row.clock.into(),
        ahead: row.ahead.map(Time::from),
        version: row.latest,
        past: past.map(|balance| PastBalance {
            balance,
            time: or_epoch(row.time),
            as_of,
        }),
    })
}

type BalanceColumns = (
    BigInt,
    Timestamptz,
    Bool,
    Nullable<SqlUuid>,
    Bool,
    Nullable<SqlUuid>,
    Bool,
    BigInt,
    Nullable<BigInt>,
    Nullable<Numeric>,
    Nullable<Numeric>,
    Nullable<BigInt>,
    Nullable<Timestamptz>,
    Nullable<Timestamptz>,
    Nullable<Timestamptz>,
);

#[derive(Queryable)]
struct Row {
    number: i64,
    clock: DateTime<Utc>,
    licensed: bool,
    client: Option<Uuid>,
    has_partner: bool,
    owner: Option<Uuid>,
    has_expired: bool,
    /// The account's current version.
    latest: i64,
    /// The version at the moment that is asked for, and below the balance at it; none if no entry was found.
    version: Option<i64>,
    available: Option<Decimal>,
    held: Option<Decimal>,
    reservation_count: Option<i64>,
    time: Option<DateTime<Utc>>,
    /// The time of the owner's newest entry at that moment, if its client asks.
    owner_time: Option<DateTime<Utc>>,
    /// The time of the newest entry that is later than the clock, of those that the side that asks may see. It is only looked
    /// for if a later time is asked for.
    ahead: Option<DateTime<Utc>>,
}

impl Row {
    /// Whether the answer may depend on entries that are archived.
    fn may_be_archived(&self, key: &BalanceKey) -> bool {
        key.query.moment != Moment::Now || self.time.is_none() || self.lacks_entries(key)
    }

    /// Takes what entries would say from the balance that the account had when the last one was archived, if none was found.
    fn fill_from(&mut self, opening: &OpeningRow, moment: Moment) {
        let is_of_moment = match moment {
            Moment::Now | Moment::At(_) => true,
            Moment::Version(version) => version == opening.version,
        };
        if self.time.is_some() || !is_of_moment {
            return;
        }
        self.time = Some(opening.time);
        // The present balance is that of the account.
        if moment != Moment::Now {
            self.version = Some(opening.version);
            self.available = Some(opening.available);
            self.held = Some(opening.held);
            self.reservation_count = Some(opening.reservation_count);
        }
    }

    /// Whether an entry may be missing because it is older than the span of the statement.
    fn lacks_entries(&self, key: &BalanceKey) -> bool {
        let Some(owner) = self.owner else {
            return false;
        };
        let is_client = owner == key.query.enterprise.0;
        (self.latest > 0 && self.time.is_none()) || (is_client && self.owner_time.is_none())
    }
}

/// The times among which a statement looks for entries: parameters of the statement, so that it opens no other partitions.
struct EntrySpan {
    /// The earliest moment that is asked for, before the present; entries are looked for from 40 days before it on.
    earliest: Option<Time>,
    /// The latest moment that is asked for; the end of all times where one asks for the present.
    latest: Time,
}

impl EntrySpan {
    const ALL: Self = Self {
        earliest: Some(Time::MIN),
        latest: Time::MAX,
    };

    /// The time in which nearly every account that is asked for has an entry before its moment. For the others the statement
    /// is run again over all times.
    fn recent(keys: &[(usize, &BalanceKey)]) -> Self {
        let times = || {
            keys.iter().map(|(_, key)| match key.query.moment {
                Moment::At(time) => Some(time),
                Moment::Now | Moment::Version(_) => None,
            })
        };
        Self {
            earliest: times().flatten().min(),
            latest: times()
                .map(|time| time.unwrap_or(Time::MAX))
                .max()
                .unwrap_or(Time::MAX),
        }
    }
}

/// The statement with the parameters that both texts have.
fn statement(text: &SqlText, keys: &[(usize, &BalanceKey)]) -> Statement<BalanceColumns> {
    let queries = || keys.iter().map(|(_, key)| &key.query);
    let numbers = keys.iter().map(|(number, _)| i64::try_from(*number));
    let numbers: Vec<i64> = numbers.map(|number| number.unwrap_or(i64::MAX)).collect();
    let enterprises: Vec<Uuid> = queries().map(|query| query.enterprise.0).collect();
    let is_custody: Vec<bool> = queries().map(|query| query.connection.is_none()).collect();
    let accounts: Vec<Uuid> = queries().map(|query| query.account().0).collect();
    let units: Vec<String> = queries().map(|query| query.unit.to_string()).collect();
    let clocks = keys.iter().map(|(_, key)| key.clock.map(Time::to_chrono));
    let clocks: Vec<Option<DateTime<Utc>>> = clocks.collect();
    Statement::new(text)
        .bind("numbers", numbers)
        .bind("enterprises", enterprises)
        .bind("is_custody", is_custody)
        .bind("accounts", accounts)
        .bind("units", units)
        .bind("clocks", clocks)
}

/// The balances at times, or now.
fn at_time(keys: &[(usize, &BalanceKey)], span: &EntrySpan) -> Statement<BalanceColumns> {
    static SQL: LazyLock<SqlText> = LazyLock::new(|| {
        let columns = [OWNER_TIME, AHEAD].join(", ");
        SqlText::new(&text(&columns, "times", NEWEST_BY_TIME))
    });

    let times: Vec<Option<DateTime<Utc>>> = keys
        .iter()
        .map(|(_, key)| match key.query.moment {
            Moment::At(time) => Some(time.to_chrono()),
            Moment::Now | Moment::Version(_) => None,
        })
        .collect();
    statement(&SQL, keys)
        .bind("times", times)
        .bind("earliest", span.earliest)
        .bind("latest", span.latest)
}

/// The balances at versions.
fn of_version(keys: &[(usize, &BalanceKey)]) -> Statement<BalanceColumns> {
    static SQL: LazyLock<SqlText> =
        LazyLock::new(|| SqlText::new(&text("NULL, NULL", "versions", BY_VERSION)));

    let versions: Vec<Option<i64>> = keys
        .iter()
        .map(|(_, key)| match key.query.moment {
            Moment::Version(version) => Some(version),
            Moment::Now | Moment::At(_) => None,
        })
        .collect();
    statement(&SQL, keys).bind("versions", versions)
}

/// For each key the enterprise, the account that it has a side of, and the entry at the moment that is asked for. The present
/// balance is that of the account itself. LIMIT and the order hold any plan to the keys.
fn text(columns: &str, moments: &str, entry: &str) -> String {
    let balance = ["version", "available", "held", "reservation_count"]
        .map(|column| format!("CASE WHEN k.moment IS NULL THEN a.{column} ELSE b.{column} END"));
    TEXT.replace("{columns}", columns)
        .replace("{balance}", &balance.join(", "))
        .replace("{moments}", moments)
        .replace("{entry}", entry)
        .replace("{of_account}", OF_ACCOUNT)
}

const OF_ACCOUNT: &str =
    "e.owner_id = o.owner_id AND e.account_id = k.account_id AND e.unit = k.unit";

const TEXT: &str = "\
    SELECT k.n, statement_timestamp(), n.oes_licensed, c.id, \
        EXISTS (SELECT FROM partner r WHERE r.enterprise_id = n.id), o.owner_id, d.has_expired IS NOT NULL, \
        coalesce(a.version, 0), {balance}, b.time, {columns} \
    FROM unnest(:numbers, :enterprises, :is_custody, :accounts, :units, :clocks, :{moments}) \
        k(n, enterprise_id, is_custody, account_id, unit, clock, moment) \
    JOIN enterprise n ON n.id = k.enterprise_id \
    LEFT JOIN client c ON c.enterprise_id = n.id \
    LEFT JOIN LATERAL (\
        SELECT c.enterprise_id AS owner_id WHERE k.is_custody AND c.id IS NOT NULL \
        UNION ALL \
        (SELECT s.client_enterprise_id FROM connection s \
         WHERE NOT k.is_custody AND s.id = k.account_id \
           AND k.enterprise_id IN (s.client_enterprise_id, s.partner_enterprise_id) LIMIT 1)\
    ) o ON true \
    LEFT JOIN LATERAL (\
        SELECT a.version, a.available, a.held, a.reservation_count FROM account a \
        WHERE a.owner_id = o.owner_id AND a.account_id = k.account_id AND a.unit = k.unit LIMIT 1\
    ) a ON true \
    LEFT JOIN LATERAL ({entry}) b ON true \
    LEFT JOIN LATERAL (\
        SELECT true AS has_expired FROM open_allocation x \
        WHERE x.owner_id = o.owner_id \
          AND x.expire_time <= coalesce(k.clock, statement_timestamp()) \
        ORDER BY x.expire_time, x.id LIMIT 1\
    ) d ON true";

/// The time of the owner's newest entry, for its client.
const OWNER_TIME: &str = "\
    CASE WHEN o.owner_id = k.enterprise_id THEN (\
        SELECT e.time FROM entry e \
        WHERE e.owner_id = o.owner_id AND e.time <= coalesce(k.moment, 'infinity') \
          AND e.time > least(:earliest, statement_timestamp()) - interval '40 days' AND e.time <= :latest \
        ORDER BY e.time DESC LIMIT 1\
    ) END";

const AHEAD: &str = "\
    CASE WHEN k.moment <= statement_timestamp() THEN NULL \
         WHEN o.owner_id = k.enterprise_id THEN (\
             SELECT e.time FROM entry e WHERE e.owner_id = o.owner_id AND e.time > statement_timestamp() \
             ORDER BY e.time DESC LIMIT 1\
         ) ELSE (\
             SELECT e.time FROM entry e WHERE {of_account} AND e.time > statement_timestamp() \
             ORDER BY e.time DESC, e.version DESC LIMIT 1\
         ) END";

/// The entry at a time. Versions and times run together (L4), and the key has them in this order.
const NEWEST_BY_TIME: &str = "\
    SELECT e.available, e.held, e.version, e.reservation_count, e.time FROM entry e \
    WHERE {of_account} AND e.time <= coalesce(k.moment, 'infinity') \
      AND e.time > least(:earliest, statement_timestamp()) - interval '40 days' AND e.time <= :latest \
    ORDER BY e.time DESC, e.version DESC LIMIT 1";

/// The entry of a version. The key has times before versions, and they run together (L4): so the time is searched for, between
/// one at which the version was lower (`low`) and one at which it was as high or higher (`high`), in turn where it would lie if
/// the versions were spread evenly, and in the middle. The key's entries between the two are read once they are few. The steps are
/// limited, in case the journal breaks L4.
const BY_VERSION: &str = "\
    WITH RECURSIVE search(low, low_time, high, high_time, step) AS (\
        SELECT 0::bigint, first.time - interval '1 microsecond', a.version, last.time, 0 \
        FROM (SELECT e.time FROM entry e WHERE {of_account} ORDER BY e.time, e.version LIMIT 1) first \
        CROSS JOIN (SELECT e.time FROM entry e WHERE {of_account} ORDER BY e.time DESC, e.version DESC LIMIT 1) last \
        WHERE k.moment BETWEEN 1 AND a.version \
        UNION ALL \
        SELECT CASE WHEN e.version < k.moment THEN e.version ELSE s.low END, \
            CASE WHEN e.version >= k.moment THEN s.low_time ELSE s.mid END, \
            CASE WHEN e.version >= k.moment THEN e.version ELSE s.high END, \
            CASE WHEN e.version >= k.moment THEN e.time ELSE s.high_time END, s.step + 1 \
        FROM (\
            SELECT *, low_time + (high_time - low_time) \
                * CASE step % 2 WHEN 0 THEN (k.moment - low)::float8 / (high - low) ELSE 0.5 END AS mid \
            FROM search WHERE high > k.moment AND high - low > 256 AND step < 200\
        ) s LEFT JOIN LATERAL (\
            SELECT e.version, e.time FROM entry e \
            WHERE {of_account} AND e.time > s.low_time AND e.time <= s.mid \
            ORDER BY e.time DESC, e.version DESC LIMIT 1\
        ) e ON true\
    ) \
    SELECT e.available, e.held, e.version, e.reservation_count, e.time \
    FROM (\
        SELECT CASE high WHEN k.moment THEN high_time - interval '1 microsecond' ELSE low_time END AS low_time, high_time \
        FROM search WHERE high = k.moment OR high - low <= 256 LIMIT 1\
    ) s CROSS JOIN LATERAL (\
        SELECT e.* FROM entry e \
        WHERE {of_account} AND e.time > s.low_time AND e.time <= s.high_time AND e.version = k.moment \
        ORDER BY e.time, e.version LIMIT 1\
    ) e";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_parameter_of_either_text_has_a_value() {
        for statement in [at_time(&[], &EntrySpan::ALL), of_version(&[])] {
            let sql = statement.sql().expect("complete");
            assert!(!sql.contains('{'), "{sql}");
        }
        openings(Vec::new(), Time::MIN).sql().expect("complete");
    }
}
