//! Balances and entries as the service reads them, and what a read can ask for.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::ledger::account::{Balance, Cause};
use crate::types::amount::Amount;
use crate::types::ids::{
    AccountId, AllocationId, ClientId, ConnectionId, EnterpriseId, OwnerId, PartnerId,
};
use crate::types::page::{Page, PageCursor};
use crate::types::time::Time;
use crate::types::unit::Unit;

/// The balances of one account, by currency.
pub(super) type Balances = BTreeMap<Unit, Balance>;

/// A client's list: AND between filters, OR between the values of one, an empty one lets everything pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct BalanceClientList {
    /// The enterprise whose client's balances are listed.
    pub enterprise: EnterpriseId,
    pub connections: Vec<ConnectionId>,
    pub partners: Vec<PartnerId>,
    /// Only these currencies, in custody too.
    pub units: Vec<Unit>,
    /// The page of the connections; custody is on every page.
    pub page: Page<Cursor>,
}

/// The last connection of the page before. Ids sort by creation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Cursor(pub ConnectionId);

impl PageCursor for Cursor {
    fn is_possible(&self) -> bool {
        true
    }
}

/// The balances of one connection, as its client sees them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct NetworkBalance {
    pub connection: ConnectionId,
    pub partner: PartnerId,
    /// The partner's own id of the connection; empty if it has none.
    pub partners_connection_id: String,
    pub name: String,
    pub institution_identifier: String,
    pub balances: Balances,
}

/// A partner's list: AND between filters, OR between the values of one, an empty one lets everything pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct BalancePartnerList {
    /// The enterprise whose partners' balances are listed.
    pub enterprise: EnterpriseId,
    pub partners: Vec<PartnerId>,
    pub clients: Vec<ClientId>,
    pub connections: Vec<ConnectionId>,
    /// The partner's own ids of the connections.
    pub partners_connection_ids: Vec<String>,
    pub units: Vec<Unit>,
    /// The page of the connections, in the order of their creation.
    pub page: Page<Cursor>,
}

/// A connection as its partner sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PartnerConnection {
    /// The client's enterprise, which owns the account.
    pub owner: OwnerId,
    /// The connection, whose account has the same id.
    pub id: ConnectionId,
    pub client: ClientId,
    /// The name that the client has now.
    pub client_name: String,
    pub partner: PartnerId,
    /// The partner's own id of the connection; empty if it has none.
    pub partners_connection_id: String,
    pub name: String,
}

/// The balances of one connection, as its partner sees them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PartnerNetworkBalance {
    pub connection: PartnerConnection,
    pub balances: Balances,
}

/// The balance that is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct BalanceQuery {
    /// The enterprise that asks.
    pub enterprise: EnterpriseId,
    /// The connection whose account is meant; `None` stands for custody.
    pub connection: Option<ConnectionId>,
    pub unit: Unit,
    pub moment: Moment,
}

impl BalanceQuery {
    pub(super) fn account(&self) -> AccountId {
        self.connection.map_or(AccountId::OWN, AccountId::from)
    }
}

/// A page of the reservations of an account at one of its versions, in the order in which they were opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ReservationList {
    pub account: BalanceAccount,
    pub unit: Unit,
    /// The balance at that version.
    pub balance: Balance,
    /// The time of the entry that made the version.
    pub time: Time,
    /// The `as_of` that all pages answer.
    pub as_of: Time,
    pub page: Page<ReservationCursor>,
}

impl ReservationList {
    pub(super) fn new(
        account: BalanceAccount,
        unit: Unit,
        past: &PastBalance,
        page: Page<ReservationCursor>,
    ) -> Self {
        Self {
            account,
            unit,
            balance: past.balance,
            time: past.time,
            as_of: past.as_of,
            page,
        }
    }

    /// The cursor of the page that follows this reservation.
    pub(super) fn cursor(&self, last: &OpenReservation) -> ReservationCursor {
        ReservationCursor {
            version: self.balance.version,
            as_of: self.as_of,
            after: last.version,
        }
    }
}

/// The position behind a reservation, and what all pages answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ReservationCursor {
    /// The version of the account that all pages are of.
    pub version: i64,
    /// The `as_of` of the first page.
    pub as_of: Time,
    /// The version that the last reservation of the page before left when it was opened.
    pub after: i64,
}

impl PageCursor for ReservationCursor {
    fn is_possible(&self) -> bool {
        self.after >= 1 && self.after <= self.version && self.as_of.is_storable()
    }
}

/// The moment at which an account is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Moment {
    /// The moment of the read itself.
    Now,
    /// After all entries of this time or before.
    At(Time),
    /// After the entry that made this version; 0 is the account before its first entry.
    Version(i64),
}

/// An account, and the side of it that reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BalanceAccount {
    pub owner: OwnerId,
    pub id: AccountId,
    pub side: BalanceSide,
}

/// The two sides of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BalanceSide {
    /// The client, which owns the accounts and sees all of them.
    Client,
    /// The partner, which sees its connections' accounts and nothing else of their owners.
    Partner,
}

/// An open reservation: a part of what an account holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct OpenReservation {
    pub allocation: AllocationId,
    pub quantity: Amount,
    /// The time of the movement that opened it.
    pub created_at: Time,
    /// The time at which it is released unless it is closed before; `None` is never.
    pub expire_time: Option<Time>,
    /// The version of the account after that movement: a later reservation has a higher one.
    pub version: i64,
}

/// An account at one of its versions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PastBalance {
    /// The amounts, and the version that they belong to.
    pub balance: Balance,
    /// The time of the entry that made the version; 1970 before the first.
    pub time: Time,
    /// A time that, asked for as `as_of`, leads to the same answer for ever.
    pub as_of: Time,
}

/// A list of the journal: AND between filters, OR between the values of one, an empty one lets everything pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct EntryList {
    /// The enterprise that asks.
    pub enterprise: EnterpriseId,
    pub accounts: EntryAccounts,
    pub unit: Option<Unit>,
    /// The first time that is listed.
    pub from: Option<Time>,
    /// The last time that is listed.
    pub to: Option<Time>,
    pub causes: Vec<Cause>,
    /// Only of these allocations (their ids) or adjustments (their external ids).
    pub cause_ids: Vec<String>,
    /// Whether the newest entry comes first.
    pub descending: bool,
    pub page: Page<EntryCursor>,
}

impl EntryList {
    /// Whether the list shows what accounts had when its history began. Where that is asked for from a time on, it does not:
    /// it shows what changed from then on.
    pub(super) fn has_openings(&self) -> bool {
        let has_cause = self.causes.is_empty() || self.causes.contains(&Cause::OPENING);
        self.from.is_none() && has_cause && self.cause_ids.is_empty()
    }

    /// Judges that nothing of the list, or of this page of it, is before the time at which the history on line begins. What
    /// was carried forward to that time is before it, too.
    pub(super) fn require_on_line(&self, since: Time) -> Result<()> {
        let before = |field, time: Option<Time>| time.filter(|time| *time < since).map(|_| field);
        let of_window = before("time_on_or_after", self.from).or(before("time_before", self.to));
        let cursor = self.page.after();
        let cursor = cursor.filter(|cursor| cursor.since != Some(since));
        let of_page = before("page_token", cursor.map(|cursor| cursor.time));
        match of_window.or(of_page) {
            None => Ok(()),
            Some(field) => Err(Error::HistoryArchived {
                field,
                id: None,
                since,
            }),
        }
    }

    /// The list without what is archived.
    pub(super) fn since(&self, since: Option<Time>) -> Self {
        Self {
            from: self.from.max(since),
            ..self.clone()
        }
    }
}

/// The accounts whose entries are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum EntryAccounts {
    /// Every account that the enterprise may see.
    All,
    /// The account of its client.
    Custody,
    /// The account of this connection.
    Connection(ConnectionId),
}

/// The last entry of the page before: the key that the journal is sorted by.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct EntryCursor {
    pub time: Time,
    pub account: AccountId,
    pub unit: String,
    /// The time at which the history on line began when the page was read, if a part of it was archived.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Time>,
}

impl PageCursor for EntryCursor {
    fn is_possible(&self) -> bool {
        self.time.is_storable()
            && self.since.is_none_or(Time::is_storable)
            && Unit::parse(&self.unit).is_some()
    }
}

/// A line of the journal as callers see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct BalanceEntry {
    pub account: AccountId,
    pub unit: Unit,
    /// What the entry added to `available`.
    pub available_delta: Amount,
    /// What the entry added to `held`.
    pub held_delta: Amount,
    /// The balance that the entry left; its version is the entry's.
    pub after: Balance,
    /// The kind of movement that the entry is part of.
    pub cause: Cause,
    /// The record behind it: an allocation's id or an adjustment's external id; empty for what was carried forward.
    pub cause_id: String,
    /// The movement's time, which all its entries have.
    pub time: Time,
}

impl BalanceEntry {
    /// The cursor of the page that follows this entry, in a history that begins at `since` if a part of it is archived.
    pub(super) fn cursor(&self, since: Option<Time>) -> EntryCursor {
        EntryCursor {
            time: self.time,
            account: self.account,
            unit: self.unit.to_string(),
            since,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::page::Start;

    #[test]
    fn a_cursor_that_no_page_leads_to_is_impossible() {
        let cursor = ReservationCursor {
            version: 7,
            as_of: Time::MIN,
            after: 7,
        };
        assert!(cursor.is_possible());
        for (version, after) in [(7, 8), (7, 0), (0, 0), (-1, -2), (i64::MIN, i64::MIN)] {
            let forged = ReservationCursor {
                version,
                after,
                ..cursor
            };
            assert!(!forged.is_possible(), "{forged:?}");
        }
        let late = chrono::DateTime::<chrono::Utc>::MAX_UTC;
        let forged = ReservationCursor {
            as_of: late.into(),
            ..cursor
        };
        assert!(!forged.is_possible());
    }

    fn time(micros: i64) -> Time {
        Time::from_micros(micros).expect("in range")
    }

    fn entry_list(from: Option<i64>, to: Option<i64>, after: Option<(i64, i64)>) -> EntryList {
        let cursor = |(at, since)| EntryCursor {
            time: time(at),
            account: AccountId::OWN,
            unit: "EUR".into(),
            since: Some(time(since)),
        };
        EntryList {
            enterprise: EnterpriseId(uuid::Uuid::nil()),
            accounts: EntryAccounts::All,
            unit: None,
            from: from.map(time),
            to: to.map(time),
            causes: Vec::new(),
            cause_ids: Vec::new(),
            descending: false,
            page: Page::new(1, after.map_or(Start::First, |at| Start::After(cursor(at)))),
        }
    }

    #[test]
    fn a_list_must_not_begin_before_what_is_on_line() {
        for (from, to, after, field) in [
            (None, None, None, None),
            (Some(10), Some(10), None, None),
            (Some(9), None, None, Some("time_on_or_after")),
            (Some(8), Some(9), None, Some("time_on_or_after")),
            (None, Some(9), None, Some("time_before")),
            (None, Some(10), None, None),
            // What was carried forward to this time, and to another one.
            (None, None, Some((9, 10)), None),
            (None, None, Some((9, 8)), Some("page_token")),
            (None, None, Some((10, 8)), None),
        ] {
            let refused = entry_list(from, to, after).require_on_line(time(10)).err();
            let expected = field.map(|field| Error::HistoryArchived {
                field,
                id: None,
                since: time(10),
            });
            assert_eq!(refused, expected, "{from:?} {to:?} {after:?}");
        }
    }

    #[test]
    fn a_list_has_openings_unless_it_asks_for_changes_only() {
        let whole = entry_list(None, Some(20), None);
        assert!(whole.has_openings());
        let of = |causes: &[Cause]| EntryList {
            causes: causes.to_vec(),
            ..whole.clone()
        };
        assert!(of(&[Cause::ADJUST, Cause::OPENING]).has_openings());
        assert!(!of(&[Cause::ADJUST]).has_openings());
        assert!(!entry_list(Some(10), None, None).has_openings());
        let named = EntryList {
            cause_ids: vec!["a".into()],
            ..whole
        };
        assert!(!named.has_openings());
    }
}
