//! The SQL of allocations.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use tokio::try_join;
use tokio_postgres::{Client, Row, Statement};
use uuid::Uuid;

use crate::ledger::account::AccountKey;
use crate::ledger::books::Books;
use crate::ledger::kind::{DueQuery, KindState};
use crate::ledger::oes::model::OesRecords;
use crate::ledger::oes::model::{Allocation, Connection, Direction};
use crate::ledger::oes::records::{AllocationChanges, KeyWithoutRecord, PartnerFacts};
use crate::ledger::store_error::{PgResult, StoreError};
use crate::ledger::table::description::{Described, Stored, columns, select_list};
use crate::ledger::table::statements::{Insert, Lookup, Move, MoveShape};
use crate::ledger::table::values::read_balance_if_joined;
use crate::trace;
use crate::types::ids::{AccountId, AllocationId, ConnectionId, EnterpriseId, OwnerId};
use crate::types::time::Time;

/// Finds an allocation by its idempotency key.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AllocationByKey {
    /// The client's enterprise, which owns it.
    pub owner: OwnerId,
    /// The direction; each has keys of its own.
    pub direction: Direction,
    /// The idempotency key to find.
    pub client_external_id: String,
}

impl AllocationByKey {
    /// The key as `allocation_key` has it, of which the database has the same function.
    fn stored(&self) -> KeyOfAllocation {
        KeyOfAllocation {
            owner: self.owner,
            key: self.direction.stored_key(&self.client_external_id),
        }
    }
}

/// Finds a row of `allocation_key`.
struct KeyOfAllocation {
    owner: OwnerId,
    key: Uuid,
}

columns!(KeyOfAllocation {
    owner: ["owner_id"];
    key: ["key"];
});

/// A row of `allocation_key`.
struct StoredKey {
    key: KeyOfAllocation,
    id: AllocationId,
}

columns!(StoredKey {
    key: { nested };
    id: ["id"];
});

impl StoredKey {
    fn of(allocation: &Allocation) -> Self {
        let terms = &allocation.record.terms;
        Self {
            key: KeyOfAllocation {
                owner: allocation.owner,
                key: terms.direction.stored_key(&terms.client_external_id),
            },
            id: allocation.record.id,
        }
    }

    fn record(&self) -> AllocationById {
        AllocationById {
            owner: self.key.owner,
            id: self.id,
        }
    }
}

/// Finds an allocation by its id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AllocationById {
    /// The client's enterprise, which owns it.
    pub owner: OwnerId,
    /// The id to find.
    pub id: AllocationId,
}

columns!(AllocationById {
    owner: ["owner_id"];
    id: ["id"];
});

/// Finds a connection of an owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ConnectionKey {
    /// The connection to find.
    pub id: ConnectionId,
    /// The client's enterprise, which owns it.
    pub owner: OwnerId,
}

columns!(ConnectionKey {
    id: ["id"];
    owner: ["client_enterprise_id"];
});

/// What commands on allocations name.
#[derive(Debug, Default)]
pub struct AllocationReads {
    /// Enterprises that give verdicts.
    pub partners: HashSet<EnterpriseId>,
    /// Connections that are named by id.
    pub connections: HashSet<ConnectionKey>,
    /// Allocations by idempotency key.
    pub keys: HashSet<AllocationByKey>,
    /// Allocations that are named by id.
    pub ids: HashSet<AllocationById>,
}

/// The rows that were found for [`AllocationReads`].
pub struct AllocationRows {
    partners: Vec<Row>,
    connections: Vec<Row>,
    /// Open records that are named by id.
    open: Vec<Row>,
    /// Other records that are named by id, and those that have a key.
    others: Vec<Row>,
    /// Keys that are used, each with the id of its record, which was not found.
    keys_without_record: Vec<StoredKey>,
    /// The time before which everything is archived; only read where a key has no record.
    archived_before: Option<DateTime<Utc>>,
}

/// The prepared statements of the kind.
pub struct AllocationStatements {
    partners: Statement,
    connections: Lookup<ConnectionKey>,
    keys: Lookup<KeyOfAllocation>,
    open: Lookup<AllocationById>,
    all: Lookup<AllocationById>,
    archived_before: Statement,
    due: Statement,
    created_keys: Insert<StoredKey>,
    created_open: Insert<Allocation>,
    created_closed: Insert<Allocation>,
    closed: Move<Allocation>,
}

const PARTNERS: &str = "\
    SELECT e.id, e.oes_licensed, EXISTS (SELECT FROM partner p WHERE p.enterprise_id = e.id) \
    FROM enterprise e WHERE e.id = ANY($1)";

/// The time before which everything is archived.
const ARCHIVED_BEFORE: &str = "SELECT max(end_time) FROM archived_period";

/// Whether the enterprise of a connection's partner holds a licence: a subquery leaves the planner no choice of a join.
const PARTNER_LICENSED: &str =
    "(SELECT e.oes_licensed FROM enterprise e WHERE e.id = t.partner_enterprise_id)";

/// The kind's part of the clock statement, see [`crate::ledger::kind::Kind::DUE_OWNERS`].
pub(super) const DUE_OWNERS: &str = "\
    SELECT o.owner_id FROM {owners} o(owner_id) CROSS JOIN LATERAL (\
        SELECT FROM open_allocation a WHERE a.owner_id = o.owner_id \
        AND a.expire_time IS NOT NULL AND a.expire_time <= clock.now ORDER BY a.expire_time, a.id LIMIT 1) due";

/// The oldest reservations of each owner that were due at a time.
const DUE: &str = "\
    SELECT {allocation}, {accounts} FROM unnest($1::uuid[]) o(owner_id) CROSS JOIN LATERAL (\
        SELECT * FROM open_allocation d WHERE d.owner_id = o.owner_id \
        AND d.expire_time IS NOT NULL AND d.expire_time <= $2 ORDER BY d.expire_time, d.id LIMIT $3\
    ) t {join_accounts} ORDER BY t.expire_time, t.id";

/// The two accounts of a reservation, read with it.
const ACCOUNTS: &str = "\
    own.available, own.held, own.version, own.reservation_count, \
    net.available, net.held, net.version, net.reservation_count";
const JOIN_ACCOUNTS: &str = "\
    LEFT JOIN account own ON own.owner_id = t.owner_id AND own.unit = t.currency \
        AND own.account_id = '00000000-0000-0000-0000-000000000001' \
    LEFT JOIN account net ON net.owner_id = t.owner_id AND net.unit = t.currency \
        AND net.account_id = t.connection_id";

/// Only an open reservation can be closed.
const CLOSED: MoveShape = MoveShape {
    from: "open_allocation",
    to: "closed_allocation",
    keys: &["owner_id", "id"],
    set: &[
        "status",
        "partner_external_id",
        "reason",
        "updated_at",
        "closed_cause",
        "closed_custody_version",
        "closed_connection_version",
    ],
};

impl AllocationStatements {
    pub(super) async fn prepare(client: &Client) -> PgResult<Self> {
        let allocation = select_list::<Allocation>("t");
        let due = DUE
            .replace("{allocation}", &allocation)
            .replace("{accounts}", ACCOUNTS)
            .replace("{join_accounts}", JOIN_ACCOUNTS);
        let connection = format!(
            "t.id, t.client_enterprise_id, {}, {PARTNER_LICENSED}",
            select_list::<Connection>("t")
        );
        Ok(Self {
            partners: client.prepare(PARTNERS).await?,
            connections: Lookup::prepare_select(client, &connection, "connection", "").await?,
            keys: Lookup::prepare::<StoredKey>(client, "allocation_key").await?,
            open: by_id(client, "open_allocation").await?,
            all: by_id(client, "allocation").await?,
            archived_before: client.prepare(ARCHIVED_BEFORE).await?,
            due: client.prepare(&due).await?,
            created_keys: Insert::prepare(client, "allocation_key").await?,
            created_open: Insert::prepare(client, "open_allocation").await?,
            created_closed: Insert::prepare(client, "closed_allocation").await?,
            closed: Move::prepare(client, CLOSED).await?,
        })
    }

    pub(super) async fn read(
        &self,
        client: &Client,
        read_set: &AllocationReads,
    ) -> PgResult<AllocationRows> {
        let (partners, connections, records) = try_join!(
            biased;
            self.read_partners(client, &read_set.partners),
            self.connections.query(client, &read_set.connections),
            self.read_records(client, read_set),
        )?;
        Ok(AllocationRows {
            partners,
            connections,
            ..records
        })
    }

    /// Most commands name a key that nobody has used, or a record that is open. Only for others all records are searched.
    async fn read_records(
        &self,
        client: &Client,
        read_set: &AllocationReads,
    ) -> PgResult<AllocationRows> {
        let keys: Vec<KeyOfAllocation> =
            read_set.keys.iter().map(AllocationByKey::stored).collect();
        let (keys, open) = try_join!(
            biased;
            self.keys.query(client, &keys),
            self.open.query(client, &read_set.ids),
        )?;
        let keys = keys.iter().map(stored_key).collect::<PgResult<Vec<_>>>()?;
        let found = open
            .iter()
            .map(record_of)
            .collect::<PgResult<HashSet<_>>>()?;
        let mut others: HashSet<AllocationById> =
            read_set.ids.difference(&found).copied().collect();
        others.extend(keys.iter().map(StoredKey::record));
        let others = self.all.query(client, &others).await?;
        let (keys_without_record, archived_before) =
            self.read_archived(client, keys, &others).await?;
        Ok(AllocationRows {
            partners: Vec::new(),
            connections: Vec::new(),
            open,
            others,
            keys_without_record,
            archived_before,
        })
    }

    /// The keys that have no record among these, and the time before which everything is archived. It is read after the
    /// records: if these were archived meanwhile, it covers them.
    async fn read_archived(
        &self,
        client: &Client,
        mut keys: Vec<StoredKey>,
        records: &[Row],
    ) -> PgResult<(Vec<StoredKey>, Option<DateTime<Utc>>)> {
        if !keys.is_empty() {
            let found = records
                .iter()
                .map(record_of)
                .collect::<PgResult<HashSet<_>>>()?;
            keys.retain(|key| !found.contains(&key.record()));
        }
        if keys.is_empty() {
            return Ok((keys, None));
        }
        let reading = client.query_one(&self.archived_before, &[]);
        let row = trace::statement("SELECT", "archived_period", reading).await?;
        Ok((keys, row.try_get(0)?))
    }

    async fn read_partners(
        &self,
        client: &Client,
        partners: &HashSet<EnterpriseId>,
    ) -> PgResult<Vec<Row>> {
        if partners.is_empty() {
            return Ok(Vec::new());
        }
        let partners: Vec<Uuid> = partners.iter().map(|id| id.0).collect();
        trace::statement(
            "SELECT",
            "enterprise",
            client.query(&self.partners, &[&partners]),
        )
        .await
    }

    pub(super) async fn read_due(&self, client: &Client, due: &DueQuery) -> PgResult<Vec<Row>> {
        let now: DateTime<Utc> = due.now;
        trace::statement(
            "SELECT",
            "allocation",
            client.query(&self.due, &[&due.owners, &now, &due.limit]),
        )
        .await
    }

    pub(super) async fn write(
        &self,
        client: &Client,
        changes: &AllocationChanges<'_>,
    ) -> Result<(), StoreError> {
        let keys: Vec<StoredKey> = changes.created.iter().copied().map(StoredKey::of).collect();
        let keys: Vec<&StoredKey> = keys.iter().collect();
        let (open, closed): (Vec<&Allocation>, Vec<&Allocation>) = changes
            .created
            .iter()
            .copied()
            .partition(|allocation| allocation.closed.is_none());
        try_join!(
            biased;
            self.created_keys.execute(client, &keys),
            self.created_open.execute(client, &open),
            self.created_closed.execute(client, &closed),
            self.closed.execute(client, &changes.closed),
        )?;
        Ok(())
    }
}

/// The owner and the id of a record, which are its first columns.
fn record_of(row: &Row) -> PgResult<AllocationById> {
    Ok(AllocationById {
        owner: OwnerId(row.try_get(0)?),
        id: AllocationId(row.try_get(1)?),
    })
}

/// A row of `allocation_key`.
fn stored_key(row: &Row) -> PgResult<StoredKey> {
    let key = KeyOfAllocation {
        owner: OwnerId(row.try_get(0)?),
        key: row.try_get(1)?,
    };
    let id = AllocationId(row.try_get(2)?);
    Ok(StoredKey { key, id })
}

/// Records by their ids, with their accounts.
async fn by_id(client: &Client, table: &'static str) -> PgResult<Lookup<AllocationById>> {
    let selected = format!("{}, {ACCOUNTS}", select_list::<Allocation>("t"));
    Lookup::prepare_select(client, &selected, table, JOIN_ACCOUNTS).await
}

impl AllocationRows {
    pub(super) fn load(
        &self,
        books: &mut Books,
        state: &mut KindState<OesRecords>,
    ) -> Result<(), StoreError> {
        for row in &self.partners {
            let facts = PartnerFacts {
                is_licensed: row.try_get(1)?,
                has_partner: row.try_get(2)?,
            };
            state.context.0.insert(EnterpriseId(row.try_get(0)?), facts);
        }
        for row in &self.connections {
            let mut position = 0;
            let id = Stored::read(row, &mut position)?;
            let owner = Stored::read(row, &mut position)?;
            if books.is_locked(owner) {
                let connection = Connection::read(row, &mut position)?;
                let facts = PartnerFacts {
                    is_licensed: row.try_get(position)?,
                    // It has the connection.
                    has_partner: true,
                };
                let partner = connection.partner_enterprise;
                state.context.0.insert(partner, facts);
                state.records_mut(owner).connections.insert(id, connection);
            }
        }
        for row in self.open.iter().chain(&self.others) {
            load_with_accounts(row, books, state)?;
        }
        for key in &self.keys_without_record {
            let owner = key.key.owner;
            if books.is_locked(owner) {
                let lost = KeyWithoutRecord {
                    id: key.id,
                    archived_before: self.archived_before.map(Time::from),
                };
                state.records_mut(owner).load_lost_key(key.key.key, lost);
            }
        }
        Ok(())
    }
}

/// Adds a reservation and its two accounts; returns its owner and id if the owner is locked.
fn load_with_accounts(
    row: &Row,
    books: &mut Books,
    state: &mut KindState<OesRecords>,
) -> Result<Option<(OwnerId, AllocationId)>, StoreError> {
    let mut position = 0;
    let allocation = Allocation::read(row, &mut position)?;
    let Some(owner) = books.owners.get_mut(&allocation.owner) else {
        return Ok(None);
    };
    let terms = &allocation.record.terms;
    for account in [AccountId::OWN, terms.connection.into()] {
        if let Some(balance) = read_balance_if_joined(row, &mut position)? {
            owner.load_account(AccountKey::new(account, &terms.unit), balance);
        }
    }
    let found = (allocation.owner, allocation.record.id);
    state.records_mut(allocation.owner).load(allocation);
    Ok(Some(found))
}

pub(super) fn load_due(
    rows: &[Row],
    share: usize,
    books: &mut Books,
    state: &mut KindState<OesRecords>,
) -> Result<(), StoreError> {
    for row in rows {
        let Some((owner, id)) = load_with_accounts(row, books, state)? else {
            continue;
        };
        let records = state.records_mut(owner);
        if records.due.len() < share {
            records.due.push(id);
        } else if let Some(owner) = books.owners.get_mut(&owner) {
            owner.has_more_due = true;
        }
    }
    Ok(())
}
