//! The statement that reads what accounts had when the history on line began: what `earmark seal` has carried forward there.

use uuid::Uuid;

use super::entry_statements::EntryColumns;
use crate::balance::model::EntryList;
use crate::db::statement::{SqlTexts, Statement};
use crate::types::ids::{AccountId, OwnerId};
use crate::types::time::Time;
use crate::types::unit::Unit;

/// What the text depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct OpeningTextShape {
    descending: bool,
    /// Whether all accounts of an owner are shown, but for those that are never shown.
    is_whole: bool,
}

/// A page of what accounts had, each as an entry that adds it to nothing: of these accounts, each with its owner, or without
/// any, of all accounts of the owner.
pub(super) fn openings(
    list: &EntryList,
    owners: &[OwnerId],
    accounts: Option<&[AccountId]>,
    since: Time,
) -> Statement<EntryColumns> {
    static TEXTS: SqlTexts<OpeningTextShape> = SqlTexts::new(text);

    let text = TEXTS.get(OpeningTextShape {
        descending: list.descending,
        is_whole: accounts.is_none(),
    });
    let owners: Vec<Uuid> = owners.iter().map(|owner| owner.0).collect();
    let accounts = accounts.unwrap_or_default();
    let accounts: Vec<Uuid> = accounts.iter().map(|account| account.0).collect();
    // A page behind the entries begins with what was carried forward, and so does the first one.
    let start = if list.descending { since } else { Time::MIN };
    let cursor = list.page.after().filter(|cursor| cursor.time < since);
    let (time, account, unit) = match cursor {
        Some(cursor) => (cursor.time, cursor.account.0, cursor.unit.clone()),
        None => (start, Uuid::nil(), String::new()),
    };
    Statement::new(&text)
        .bind("owners", owners)
        .bind_if_named("accounts", accounts)
        .bind("unit", list.unit.as_ref().map(Unit::to_string))
        .bind("since", since)
        .bind("after_time", time)
        .bind("after_account", account)
        .bind("after_unit", unit)
        .bind("limit", list.page.fetch())
}

fn text(shape: &OpeningTextShape) -> String {
    let (direction, follows) = if shape.descending {
        ("DESC", "<")
    } else {
        ("ASC", ">")
    };
    let accounts = if shape.is_whole {
        OF_OWNERS
    } else {
        OF_ACCOUNTS
    };
    TEXT.replace("{accounts}", accounts)
        .replace("{direction}", direction)
        .replace("{follows}", follows)
}

const OF_ACCOUNTS: &str = "\
    unnest(:owners, :accounts) v(owner_id, account_id) JOIN account a USING (owner_id, account_id)";

/// Without the world and transit accounts.
const OF_OWNERS: &str = "\
    unnest(:owners) v(owner_id) JOIN account a ON a.owner_id = v.owner_id \
        AND a.account_id NOT IN ('00000000-0000-0000-0000-000000000002', '00000000-0000-0000-0000-000000000003')";

/// Of each account the last balance that was carried forward by then. An account that had entries only before the last period
/// has an older one.
const TEXT: &str = "\
    SELECT c.account_id, c.unit, c.version, c.available, c.held, c.available, c.held, 'OPENING', c.account_id, c.time, '', \
        c.reservation_count \
    FROM {accounts} CROSS JOIN LATERAL (\
        SELECT * FROM carry_forward c \
        WHERE c.owner_id = a.owner_id AND c.account_id = a.account_id AND c.unit = a.unit AND c.end_time <= :since \
        ORDER BY c.end_time DESC LIMIT 1\
    ) c \
    WHERE (:unit IS NULL OR c.unit = :unit) \
      AND (c.time, c.account_id, c.unit) {follows} (:after_time, :after_account, :after_unit) \
    ORDER BY c.time {direction}, c.account_id {direction}, c.unit {direction} LIMIT :limit";
