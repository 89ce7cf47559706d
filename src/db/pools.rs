//! The pools of a process, one for each lane: reads by key, lists, searches, and writes of records outside of the ledger.
//! What waits in one lane delays nothing in another.

use std::time::Duration;

use crate::db::connect::Connector;
use crate::db::pool::{self, Pool, PoolSettings, ReadLimit};
use crate::db::pulse::Pulse;
use crate::limits::{
    COALESCED_CONNECTIONS_MAX, DB_LANE_CONNECTIONS_MIN, READ_BY_KEY_MAX, READ_HEDGE_AFTER,
    READ_LIST_MAX, READ_SEARCH_MAX, SEARCH_HEDGE_AFTER,
};
use crate::metrics::lanes::DatabaseLane;
use crate::turns::ShareOfTurns;
use crate::types::read_class::ReadClass;

/// How long reads may take, by their class.
#[derive(Clone, Debug)]
pub struct ReadLimits {
    /// How long a read by key may take, its wait for a connection included.
    pub by_key: Duration,
    /// How long a page of a list may take.
    pub list: Duration,
    /// How long a search by free criteria may take.
    pub search: Duration,
}

impl Default for ReadLimits {
    fn default() -> Self {
        Self {
            by_key: READ_BY_KEY_MAX,
            list: READ_LIST_MAX,
            search: READ_SEARCH_MAX,
        }
    }
}

/// A pool for each lane. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Pools {
    /// Reads by key: of a record, of a balance, of who owns what a write is about.
    pub by_key: Pool,
    /// Reads by id that are joined into one statement for many calls. Their order is kept by the queue that joins them.
    pub by_id: Pool,
    /// Pages of lists, of every service.
    pub list: Pool,
    /// Searches by free criteria.
    pub search: Pool,
    /// Writes of records outside of the ledger, and the sweep's look for what is due.
    pub records: Pool,
}

/// How many connections each lane has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct LaneSizes {
    by_key: u32,
    list: u32,
    search: u32,
    records: u32,
}

impl LaneSizes {
    /// A fifth each, and what is left to lists, of which a single caller reads many; none less than
    /// [`DB_LANE_CONNECTIONS_MIN`], whatever the total.
    fn of(total: u32) -> Self {
        let fifth = (total / 5).max(DB_LANE_CONNECTIONS_MIN);
        Self {
            by_key: fifth,
            list: total.saturating_sub(3 * fifth).max(fifth),
            search: fifth,
            records: fifth,
        }
    }
}

impl Pools {
    /// Opens the pools, whose connections number `settings.max_size` together, those of the reads by id aside.
    ///
    /// Must be called within a tokio runtime.
    pub fn open(
        connector: &Connector,
        settings: &PoolSettings,
        limits: &ReadLimits,
        pulse: &Pulse,
    ) -> Self {
        let sizes = LaneSizes::of(settings.max_size);
        let reads = |max_size, class, max: Duration, hedge_after: Duration| PoolSettings {
            max_size,
            read_limit: Some(ReadLimit { class, max }),
            hedge_after: Some(hedge_after.min(max / 2)),
            ..settings.clone()
        };
        let by_key = reads(
            sizes.by_key,
            ReadClass::ByKey,
            limits.by_key,
            READ_HEDGE_AFTER,
        );
        let list = reads(sizes.list, ReadClass::List, limits.list, READ_HEDGE_AFTER);
        let search = reads(
            sizes.search,
            ReadClass::Search,
            limits.search,
            SEARCH_HEDGE_AFTER,
        );
        let records = PoolSettings {
            max_size: sizes.records,
            ..settings.clone()
        };
        let by_id = PoolSettings {
            max_size: COALESCED_CONNECTIONS_MAX,
            share: ShareOfTurns::All,
            ..by_key.clone()
        };
        let open = |settings| pool::open_with(connector.clone(), &settings, pulse.clone());
        Self {
            by_id: pool::open_with(
                connector.adjusted(|session| session.generic_plans = true),
                &by_id,
                pulse.clone(),
            )
            .counted_as(DatabaseLane::ById),
            by_key: open(by_key).counted_as(DatabaseLane::ByKey),
            list: open(list).counted_as(DatabaseLane::List),
            search: open(search).counted_as(DatabaseLane::Search),
            records: open(records).counted_as(DatabaseLane::Records),
        }
    }

    /// One pool for all lanes, so that a test can look at the connections that a service uses.
    pub fn sharing(pool: &Pool) -> Self {
        Self {
            by_key: pool.clone(),
            by_id: pool.clone(),
            list: pool.clone(),
            search: pool.clone(),
            records: pool.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sizes(total: u32) -> [u32; 4] {
        let sizes = LaneSizes::of(total);
        [sizes.by_key, sizes.list, sizes.search, sizes.records]
    }

    #[test]
    fn the_connections_are_divided_among_the_lanes() {
        assert_eq!(sizes(16), [3, 7, 3, 3]);
        assert_eq!(sizes(20), [4, 8, 4, 4]);
        assert_eq!(sizes(8), [2; 4]);
        assert_eq!(sizes(1), [2; 4]);
        for total in 8..100 {
            assert_eq!(sizes(total).iter().sum::<u32>(), total);
        }
    }
}
