//! The statements that read a page of the journal, one for each of the three ways through it.

use diesel::sql_types::{BigInt, Nullable, Numeric, Text, Timestamptz, Uuid as SqlUuid};
use uuid::Uuid;

use crate::balance::model::EntryList;
use crate::db::statement::{SqlTexts, Statement};
use crate::types::ids::{AccountId, OwnerId};
use crate::types::time::Time;
use crate::types::unit::Unit;

/// The columns that each of the statements answers.
pub(super) type EntryColumns = (
    SqlUuid,
    Text,
    BigInt,
    Numeric,
    Numeric,
    Numeric,
    Numeric,
    Text,
    SqlUuid,
    Timestamptz,
    Nullable<Text>,
    BigInt,
);

/// The way that a list takes through the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum EntrySource {
    Journal,
    Histories,
    Causes,
}

/// What the text of a list depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct EntryTextShape {
    source: EntrySource,
    descending: bool,
}

fn text(shape: &EntryTextShape) -> String {
    let (direction, follows) = if shape.descending {
        ("DESC", "<")
    } else {
        ("ASC", ">")
    };
    let page = match (shape.source, shape.descending) {
        (EntrySource::Journal, _) => JOURNAL.to_owned(),
        (EntrySource::Histories, false) => HISTORIES.replace("{edges}", RISING_EDGES),
        (EntrySource::Histories, true) => HISTORIES.replace("{edges}", FALLING_EDGES),
        (EntrySource::Causes, _) => CAUSES.to_owned(),
    };
    (page + SELECT)
        .replace("{direction}", direction)
        .replace("{follows}", follows)
}

/// The list's statement, with the parameters that all three texts have.
fn statement(source: EntrySource, list: &EntryList) -> Statement<EntryColumns> {
    static TEXTS: SqlTexts<EntryTextShape> = SqlTexts::new(text);

    let text = TEXTS.get(EntryTextShape {
        source,
        descending: list.descending,
    });
    let causes = list.causes.iter().map(|cause| cause.as_str().to_owned());
    let causes: Vec<String> = causes.collect();
    Statement::new(&text)
        .bind("causes", causes)
        .bind("limit", list.page.fetch())
}

/// Adds where a page begins, as an entry that comes right before it, and the bounds of times.
fn with_range(statement: Statement<EntryColumns>, list: &EntryList) -> Statement<EntryColumns> {
    let (from, to) = (list.from.unwrap_or(Time::MIN), list.to.unwrap_or(Time::MAX));
    // No account lies before the nil UUID: with it, a time stands before all its entries, the next one behind them.
    let start = if list.descending { to.next() } else { from };
    let (time, account, unit) = match list.page.after() {
        Some(cursor) => (cursor.time, cursor.account.0, cursor.unit.clone()),
        None => (start, Uuid::nil(), String::new()),
    };
    statement
        .bind("after_time", time)
        .bind("after_account", account)
        .bind("after_unit", unit)
        .bind("from", from)
        .bind("to", to)
}

/// A page of an owner's whole journal.
pub(super) fn of_journal(list: &EntryList, owner: OwnerId) -> Statement<EntryColumns> {
    with_range(statement(EntrySource::Journal, list), list).bind("owner", owner.0)
}

/// A page of the entries of accounts.
pub(super) fn of_histories(
    list: &EntryList,
    accounts: &[(OwnerId, AccountId)],
) -> Statement<EntryColumns> {
    let (owners, ids): (Vec<_>, Vec<_>) =
        accounts.iter().map(|(owner, id)| (owner.0, id.0)).unzip();
    let cursor = list.page.after();
    let (mut below, mut upto) = (
        list.from.map_or(Time::MIN, Time::previous),
        list.to.unwrap_or(Time::MAX),
    );
    // The entry before the page is of this time, and so may be others behind it.
    match cursor.map(|cursor| cursor.time) {
        Some(time) if list.descending => upto = upto.min(time),
        Some(time) => below = below.max(time.previous()),
        None => {}
    }
    statement(EntrySource::Histories, list)
        .bind("owners", owners)
        .bind("accounts", ids)
        .bind("unit", list.unit.as_ref().map(Unit::to_string))
        .bind("all_below", below)
        .bind("all_upto", upto)
        .bind("after_time", cursor.map(|cursor| cursor.time))
        .bind("after_account", cursor.map(|cursor| cursor.account.0))
        .bind("after_unit", cursor.map(|cursor| cursor.unit.clone()))
}

/// A page of the entries of the records that the list names, as far as they are of these accounts.
pub(super) fn of_causes(
    list: &EntryList,
    accounts: &[(OwnerId, AccountId)],
) -> Statement<EntryColumns> {
    let (owners, ids): (Vec<_>, Vec<_>) =
        accounts.iter().map(|(owner, id)| (owner.0, id.0)).unzip();
    let cause_ids = list.cause_ids.iter();
    let allocations: Vec<_> = cause_ids
        .filter_map(|id| Uuid::try_parse(id).ok())
        .collect();
    with_range(statement(EntrySource::Causes, list), list)
        .bind("owners", owners)
        .bind("accounts", ids)
        .bind("unit", list.unit.as_ref().map(Unit::to_string))
        .bind("allocations", allocations)
        .bind("external_ids", list.cause_ids.clone())
}

/// What is shown of the entries in `page`, of which an adjustment is named by its external id.
const SELECT: &str = "\
    SELECT p.account_id, p.unit, p.version, p.available_delta, p.held_delta, p.available, p.held, p.cause, p.cause_id, \
        p.time, CASE WHEN p.cause = 'ADJUST' THEN (\
            SELECT j.external_id FROM adjustment j WHERE j.owner_id = p.owner_id AND j.id = p.cause_id\
        ) END, p.reservation_count \
    FROM page p ORDER BY p.time {direction}, p.account_id {direction}, p.unit {direction}";

/// All of an owner's entries but those of its world and transit accounts. The index has them by time; those of one time are of
/// one movement, and are sorted. A page begins in the index by the bounds of the time, which also leave out partitions.
const JOURNAL: &str = "\
    WITH page AS (\
        SELECT e.* FROM entry e \
        WHERE e.owner_id = :owner AND (e.time, e.account_id, e.unit) {follows} (:after_time, :after_account, :after_unit) \
          AND e.time {follows}= :after_time AND e.time >= :from AND e.time <= :to \
          AND e.account_id NOT IN ('00000000-0000-0000-0000-000000000002', '00000000-0000-0000-0000-000000000003') \
          AND (cardinality(:causes) = 0 OR e.cause = ANY(:causes)) \
        ORDER BY e.time {direction}, e.account_id {direction}, e.unit {direction} LIMIT :limit\
    ) ";

/// The entries of accounts, from the accounts' own histories, which the key has in the order of their times.
///
/// `history`: the accounts, and the times between which entries of each are wanted, the first of them excluded. `head`: the
/// first entry of each, and of these as many as a page has: no other history reaches into it. The LATERALs' orders and limits
/// hold the planner to the key. The bounds of all histories together leave partitions out when the statement begins.
const HISTORIES: &str = "\
    WITH history AS MATERIALIZED (\
        SELECT a.owner_id, a.account_id, a.unit, {edges} \
        FROM unnest(:owners, :accounts) v(owner_id, account_id) JOIN account a USING (owner_id, account_id) \
        WHERE :unit IS NULL OR a.unit = :unit\
    ), head AS MATERIALIZED (\
        SELECT h.* FROM history h CROSS JOIN LATERAL (\
            SELECT e.time FROM entry e \
            WHERE e.owner_id = h.owner_id AND e.account_id = h.account_id AND e.unit = h.unit \
              AND e.time > h.below AND e.time <= h.upto AND e.time > :all_below AND e.time <= :all_upto \
              AND (cardinality(:causes) = 0 OR e.cause = ANY(:causes)) \
            ORDER BY e.time {direction}, e.version {direction} LIMIT 1\
        ) e ORDER BY e.time {direction}, h.account_id {direction}, h.unit {direction} LIMIT :limit\
    ), page AS (\
        SELECT e.* FROM head h CROSS JOIN LATERAL (\
            SELECT e.* FROM entry e \
            WHERE e.owner_id = h.owner_id AND e.account_id = h.account_id AND e.unit = h.unit \
              AND e.time > h.below AND e.time <= h.upto AND e.time > :all_below AND e.time <= :all_upto \
              AND (cardinality(:causes) = 0 OR e.cause = ANY(:causes)) \
            ORDER BY e.time {direction}, e.version {direction} LIMIT :limit\
        ) e ORDER BY e.time {direction}, e.account_id {direction}, e.unit {direction} LIMIT :limit\
    ) ";

/// The times of a history in rising order, behind a cursor.
const RISING_EDGES: &str = "\
    greatest(:all_below, \
        CASE WHEN (a.account_id, a.unit) > (:after_account, :after_unit) \
            THEN :after_time - interval '1 microsecond' ELSE :after_time END\
    ) AS below, :all_upto AS upto";

/// The same in falling order.
const FALLING_EDGES: &str = "\
    :all_below AS below, least(:all_upto, \
        CASE WHEN (a.account_id, a.unit) < (:after_account, :after_unit) \
            THEN :after_time ELSE :after_time - interval '1 microsecond' END\
    ) AS upto";

/// The entries of named records. Their times are those of their movements, so the index leads from each to its entries.
/// LIMIT and OFFSET hold the planner to the indexes: it would rather read a whole table than look 500 records up,
/// and IS TRUE to a hash of the accounts.
const CAUSES: &str = "\
    WITH visible AS MATERIALIZED (\
        SELECT v.owner_id, v.account_id FROM unnest(:owners, :accounts) v(owner_id, account_id)\
    ), record AS MATERIALIZED (\
        SELECT a.owner_id, a.id, a.created_at, a.updated_at \
        FROM (SELECT DISTINCT owner_id FROM visible) o CROSS JOIN unnest(:allocations) c(id) CROSS JOIN LATERAL (\
            SELECT a.* FROM allocation a WHERE a.owner_id = o.owner_id AND a.id = c.id LIMIT 1\
        ) a \
        UNION ALL \
        SELECT j.owner_id, j.id, j.created_at, j.created_at \
        FROM visible v CROSS JOIN unnest(:external_ids) c(external_id) CROSS JOIN LATERAL (\
            SELECT j.* FROM adjustment j WHERE j.owner_id = v.owner_id AND j.external_id = c.external_id LIMIT 1\
        ) j \
        WHERE v.account_id = '00000000-0000-0000-0000-000000000001'\
    ), moment AS MATERIALIZED (\
        SELECT owner_id, id, created_at AS time FROM record UNION SELECT owner_id, id, updated_at FROM record\
    ), found AS MATERIALIZED (\
        SELECT e.* FROM moment m CROSS JOIN LATERAL (\
            SELECT e.* FROM entry e \
            WHERE e.owner_id = m.owner_id AND e.time >= m.time AND e.time <= m.time AND e.cause_id = m.id \
            ORDER BY e.time OFFSET 0\
        ) e\
    ), page AS (\
        SELECT e.* FROM found e \
        WHERE ((e.owner_id, e.account_id) IN (SELECT owner_id, account_id FROM visible)) IS TRUE \
          AND (e.time, e.account_id, e.unit) {follows} (:after_time, :after_account, :after_unit) \
          AND e.time >= :from AND e.time <= :to \
          AND (:unit IS NULL OR e.unit = :unit) AND (cardinality(:causes) = 0 OR e.cause = ANY(:causes)) \
        ORDER BY e.time {direction}, e.account_id {direction}, e.unit {direction} LIMIT :limit\
    ) ";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::balance::model::{EntryAccounts, EntryCursor};
    use crate::types::ids::EnterpriseId;
    use crate::types::page::{Page, Start};

    fn lists() -> Vec<EntryList> {
        let list = |descending, start| EntryList {
            enterprise: EnterpriseId(Uuid::nil()),
            accounts: EntryAccounts::All,
            unit: None,
            from: None,
            to: None,
            causes: Vec::new(),
            cause_ids: Vec::new(),
            descending,
            page: Page::new(1, start),
        };
        let cursor = EntryCursor {
            time: Time::MIN,
            account: AccountId::OWN,
            unit: "EUR".into(),
            since: None,
        };
        vec![
            list(false, Start::First),
            list(true, Start::First),
            list(false, Start::After(cursor.clone())),
            list(true, Start::After(cursor)),
        ]
    }

    #[test]
    fn every_parameter_of_every_text_has_a_value() {
        use crate::balance::store::opening_statements::openings;

        let owner = OwnerId(Uuid::nil());
        let accounts = [(owner, AccountId::OWN)];
        for list in lists() {
            for statement in [
                of_journal(&list, owner),
                of_histories(&list, &accounts),
                of_causes(&list, &accounts),
                openings(&list, &[owner], None, Time::MAX),
                openings(&list, &[owner], Some(&[AccountId::OWN]), Time::MAX),
            ] {
                let sql = statement.sql().expect("complete");
                assert!(!sql.contains('{'), "{sql}");
            }
        }
    }
}
