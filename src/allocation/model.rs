//! Allocations as the service reads them, and how a list is filtered and sorted.

use serde::{Deserialize, Serialize};

use crate::ledger::oes::model::{AllocationRecord, Direction, Status};
use crate::types::amount::Amount;
use crate::types::ids::{AllocationId, ClientId, ConnectionId, EnterpriseId, PartnerId};
use crate::types::page::{Page, PageCursor};
use crate::types::time::Time;
use crate::types::unit::Unit;

/// A list: AND between filters, OR between the values of one, an empty one lets everything pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct List {
    /// The enterprise that asks.
    pub enterprise: EnterpriseId,
    /// The side on which it asks.
    pub side: AllocationSide,
    pub ids: Vec<AllocationId>,
    pub directions: Vec<Direction>,
    pub statuses: Vec<Status>,
    pub units: Vec<Unit>,
    pub connections: Vec<ConnectionId>,
    /// Always empty in a client's list.
    pub clients: Vec<ClientId>,
    pub partners: Vec<PartnerId>,
    /// The first time of creation that is listed.
    pub created_from: Option<Time>,
    /// The last time of creation that is listed.
    pub created_to: Option<Time>,
    /// The first time of a last movement that is listed.
    pub updated_from: Option<Time>,
    /// The last time of a last movement that is listed.
    pub updated_to: Option<Time>,
    pub client_external_ids: Vec<String>,
    pub partner_external_ids: Vec<String>,
    pub order: AllocationOrder,
    pub page: Page<Cursor>,
}

impl List {
    /// Whether only open records are listed. All of these are on line, however old they are.
    fn has_only_open(&self) -> bool {
        self.statuses == [Status::Reserved]
    }

    /// A list of open records has their window of update times as one of times of creation: nothing has moved them since.
    /// Their first movement may be archived, so it would not lead to them.
    pub(super) fn with_window_of_open(mut self) -> Self {
        if self.has_only_open() {
            self.created_from = self.created_from.max(self.updated_from.take());
            self.created_to = match (self.created_to, self.updated_to.take()) {
                (Some(created), Some(updated)) => Some(created.min(updated)),
                (created, updated) => created.or(updated),
            };
        }
        self
    }

    /// Where the earlier of the list's windows of time begins, or ends if it has no beginning, and the field that says so. What
    /// is before it may be archived; `None` if there is no window, or if none of the records may be.
    pub(super) fn window_begin(&self) -> Option<(&'static str, Time)> {
        if self.has_only_open() {
            return None;
        }
        let named = |field, time: Option<Time>| Some((field, time?));
        let created = named("created_on_or_after", self.created_from)
            .or(named("created_before", self.created_to));
        let updated = named("updated_on_or_after", self.updated_from)
            .or(named("updated_before", self.updated_to));
        let set = created.into_iter().chain(updated);
        set.min_by_key(|(_, time)| *time)
    }

    /// Whether only records are listed whose last movement was in a window of time.
    pub(super) fn has_update_window(&self) -> bool {
        self.updated_from.is_some() || self.updated_to.is_some()
    }
}

/// The side on which an enterprise reads allocations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum AllocationSide {
    /// The enterprise of the client, which owns the value.
    Client,
    /// The enterprise of the partner that the value is reserved for.
    Partner,
}

/// The order of a list; ties are broken by creation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct AllocationOrder {
    pub field: AllocationSortField,
    /// Whether the highest value comes first.
    pub descending: bool,
}

/// The field that a list is sorted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum AllocationSortField {
    /// By id, which is the order of creation too.
    Id,
    /// By the last movement's time.
    UpdatedAt,
    /// By quantity as a number.
    Quantity,
    /// By currency, byte by byte.
    Currency,
}

/// The last record of the page before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Cursor {
    pub id: AllocationId,
    /// Its value of the field that the list is sorted by; `None` where that is the id.
    pub key: Option<AllocationSortKey>,
}

impl PageCursor for Cursor {
    fn is_possible(&self) -> bool {
        match &self.key {
            None => true,
            Some(AllocationSortKey::UpdatedAt(time)) => time.is_storable(),
            Some(AllocationSortKey::Quantity(text)) => Amount::parse_quantity(text).is_some(),
            Some(AllocationSortKey::Currency(text)) => Unit::parse(text).is_some(),
        }
    }
}

/// A record's value of the field that a list is sorted by.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum AllocationSortKey {
    UpdatedAt(Time),
    /// A decimal as answers have it.
    Quantity(String),
    Currency(String),
}

impl AllocationOrder {
    /// The cursor of the page that follows a record.
    pub(super) fn cursor(self, record: &AllocationRecord) -> Cursor {
        let key = match self.field {
            AllocationSortField::Id => None,
            AllocationSortField::UpdatedAt => Some(AllocationSortKey::UpdatedAt(record.updated_at)),
            AllocationSortField::Quantity => Some(AllocationSortKey::Quantity(
                record.terms.quantity.to_string(),
            )),
            AllocationSortField::Currency => {
                Some(AllocationSortKey::Currency(record.terms.unit.to_string()))
            }
        };
        Cursor { id: record.id, key }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::page::Start;

    type Window = (Option<i64>, Option<i64>);

    fn list(statuses: &[Status], created: Window, updated: Window) -> List {
        let time = |micros: Option<i64>| Time::from_micros(micros?);
        List {
            enterprise: EnterpriseId(uuid::Uuid::nil()),
            side: AllocationSide::Client,
            ids: Vec::new(),
            directions: Vec::new(),
            statuses: statuses.to_vec(),
            units: Vec::new(),
            connections: Vec::new(),
            clients: Vec::new(),
            partners: Vec::new(),
            created_from: time(created.0),
            created_to: time(created.1),
            updated_from: time(updated.0),
            updated_to: time(updated.1),
            client_external_ids: Vec::new(),
            partner_external_ids: Vec::new(),
            order: AllocationOrder {
                field: AllocationSortField::Id,
                descending: false,
            },
            page: Page::new(1, Start::First),
        }
    }

    #[test]
    fn a_window_begins_where_the_earlier_of_both_does() {
        for (created, updated, begin) in [
            ((None, None), (None, None), None),
            (
                (Some(3), Some(9)),
                (None, None),
                Some(("created_on_or_after", 3)),
            ),
            ((None, Some(9)), (None, None), Some(("created_before", 9))),
            (
                (Some(3), None),
                (Some(2), Some(1)),
                Some(("updated_on_or_after", 2)),
            ),
            (
                (Some(3), None),
                (None, Some(2)),
                Some(("updated_before", 2)),
            ),
            (
                (Some(2), None),
                (None, Some(3)),
                Some(("created_on_or_after", 2)),
            ),
        ] {
            let found = list(&[Status::Reserved, Status::Cleared], created, updated);
            let found = found.window_begin();
            let found = found.map(|(field, time)| (field, time.micros()));
            assert_eq!(found, begin, "{created:?} {updated:?}");
            let open = list(&[Status::Reserved], created, updated);
            assert_eq!(open.window_begin(), None);
        }
    }

    #[test]
    fn open_records_have_one_window() {
        for (created, updated, both) in [
            ((None, None), (Some(1), Some(9)), (Some(1), Some(9))),
            ((Some(2), Some(8)), (None, None), (Some(2), Some(8))),
            ((Some(2), Some(8)), (Some(1), Some(9)), (Some(2), Some(8))),
            ((Some(1), Some(9)), (Some(2), Some(8)), (Some(2), Some(8))),
        ] {
            let open = list(&[Status::Reserved], created, updated).with_window_of_open();
            assert_eq!(open, list(&[Status::Reserved], both, (None, None)));
            let all = list(&[], created, updated);
            assert_eq!(all.clone().with_window_of_open(), all);
        }
    }
}
