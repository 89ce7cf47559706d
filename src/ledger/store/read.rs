//! What a batch reads: the owners' locks, then, as separate later statements of the same pipeline, all that `decide`
//! needs. Never lock and read in one statement: Postgres would read the locked row anew but judge all else by the old
//! snapshot.

mod bucket;

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use tokio::try_join;
use tokio_postgres::{Client, Row, Statement};
use uuid::Uuid;

use crate::ledger::model::{
    AccountKey, Adjustment, Allocation, Balance, Cause, Closing, Connection, Direction, Mode,
    Status, Versions,
};
use crate::ledger::state::{Owner, PartnerStanding, Standing, State};
use crate::ledger::store::needs::Needs;
use crate::ledger::store::{Lock, PgResult, Store, StoreError, if_any};
use crate::limits::EXPIRE_BATCH_MAX;
use crate::types::amount::Amount;
use crate::types::content::ContentHash;
use crate::types::ids::{
    AccountId, AdjustmentId, AllocationId, ClientId, ConnectionId, EnterpriseId, OwnerId, PartnerId,
};
use crate::types::time::Time;
use crate::types::unit::Unit;

pub(super) struct Statements {
    owners: Statement,
    partners: Statement,
    connections: Statement,
    keys: Statement,
    adjustments: Statement,
    clock: Statement,
    named: Statement,
    due: Statement,
    accounts: Statement,
    past: Statement,
    buckets: bucket::Statements,
}

const OWNERS: &str = "\
    SELECT e.id, e.oes_licensed, c.id, (SELECT max(t.time) FROM entry t WHERE t.owner_id = e.id) \
    FROM enterprise e LEFT JOIN client c ON c.enterprise_id = e.id WHERE e.id = ANY($1)";

const PARTNERS: &str = "\
    SELECT e.id, e.oes_licensed, EXISTS (SELECT FROM partner p WHERE p.enterprise_id = e.id) \
    FROM enterprise e WHERE e.id = ANY($1)";

const CONNECTIONS: &str = "\
    SELECT id, client_enterprise_id, client_id, partner_id, partner_enterprise_id, mode, \
           allocations_disabled_reason, deallocations_disabled_reason \
    FROM unnest($1::uuid[], $2::uuid[]) k(id, client_enterprise_id) \
    JOIN connection USING (id, client_enterprise_id)";

/// The columns of an allocation, in the order that `allocation` reads them.
const ALLOCATION: &str = "\
    a.owner_id, a.id, a.type, a.status, a.currency, a.quantity, a.connection_id, a.client_id, a.partner_id, \
    a.client_external_id, a.partner_external_id, a.initiated_by, a.notes, a.reason, a.expire_time, a.created_at, \
    a.updated_at, a.content_hash, a.opened_custody_version, a.opened_connection_version, a.closed_cause, \
    a.closed_custody_version, a.closed_connection_version";
const ALLOCATION_COLUMNS: usize = 23;

const KEYS: &str = "\
    SELECT {allocation} FROM unnest($1::uuid[], $2::text[], $3::text[]) k(owner_id, type, client_external_id) \
    JOIN allocation a USING (owner_id, type, client_external_id)";

const ADJUSTMENTS: &str = "\
    SELECT a.owner_id, a.id, a.external_id, a.currency, a.quantity, a.reason, a.initiated_by, a.content_hash, \
           a.custody_version, a.created_at \
    FROM unnest($1::uuid[], $2::text[]) k(owner_id, external_id) \
    JOIN adjustment a USING (owner_id, external_id)";

/// The clock, once, and the owners of which a reservation is due by it.
const CLOCK: &str = "\
    SELECT clock.now, ARRAY(SELECT o.owner_id FROM unnest($1::uuid[]) o(owner_id) WHERE EXISTS (\
        SELECT FROM allocation a WHERE a.owner_id = o.owner_id AND a.status = 'RESERVED' \
        AND a.expire_time IS NOT NULL AND a.expire_time <= clock.now)) \
    FROM (SELECT clock_timestamp() AS now OFFSET 0) clock";

/// Reservations by id.
const NAMED: &str = "\
    SELECT {allocation}, {accounts} FROM unnest($1::uuid[], $2::uuid[]) k(owner_id, id) \
    JOIN allocation a USING (owner_id, id) {join_accounts}";

/// What was due at a time, of each owner the oldest.
const DUE: &str = "\
    SELECT {allocation}, {accounts} FROM unnest($1::uuid[]) o(owner_id) CROSS JOIN LATERAL (\
        SELECT * FROM allocation d WHERE d.owner_id = o.owner_id AND d.status = 'RESERVED' \
        AND d.expire_time IS NOT NULL AND d.expire_time <= $2 ORDER BY d.expire_time, d.id LIMIT $3\
    ) a {join_accounts} ORDER BY a.expire_time, a.id";

/// The two accounts of a reservation.
const RESERVATION_ACCOUNTS: &str =
    "own.available, own.held, own.version, net.available, net.held, net.version";
const JOIN_RESERVATION_ACCOUNTS: &str = "\
    LEFT JOIN account own ON own.owner_id = a.owner_id AND own.unit = a.currency \
        AND own.account_id = '00000000-0000-0000-0000-000000000001' \
    LEFT JOIN account net ON net.owner_id = a.owner_id AND net.unit = a.currency \
        AND net.account_id = a.connection_id";

const ACCOUNTS: &str = "\
    SELECT a.owner_id, a.account_id, a.unit, a.available, a.held, a.version \
    FROM unnest($1::uuid[], $2::uuid[], $3::text[]) k(owner_id, account_id, unit) \
    JOIN account a USING (owner_id, account_id, unit)";

const PAST: &str = "\
    SELECT e.available, e.held FROM entry e \
    WHERE e.owner_id = $1 AND e.account_id = $2 AND e.unit = $3 AND e.version = $4";

impl Statements {
    pub(super) async fn prepare(client: &Client) -> PgResult<Self> {
        let with_columns = |sql: &str| {
            sql.replace("{allocation}", ALLOCATION)
                .replace("{accounts}", RESERVATION_ACCOUNTS)
                .replace("{join_accounts}", JOIN_RESERVATION_ACCOUNTS)
        };
        Ok(Self {
            owners: client.prepare(OWNERS).await?,
            partners: client.prepare(PARTNERS).await?,
            connections: client.prepare(CONNECTIONS).await?,
            keys: client.prepare(&with_columns(KEYS)).await?,
            adjustments: client.prepare(ADJUSTMENTS).await?,
            clock: client.prepare(CLOCK).await?,
            named: client.prepare(&with_columns(NAMED)).await?,
            due: client.prepare(&with_columns(DUE)).await?,
            accounts: client.prepare(ACCOUNTS).await?,
            past: client.prepare(PAST).await?,
            buckets: bucket::Statements::prepare(client).await?,
        })
    }
}

/// What a batch has read.
pub struct Snapshot {
    /// For `decide`.
    pub state: State,
    /// Owners that are there, but that another session holds: nothing may be judged of them.
    pub blocked: HashSet<OwnerId>,
}

impl Store {
    /// Begins a transaction, locks the owners and reads: one round trip, and another if something is due.
    pub async fn begin(&self, needs: &Needs, how: Lock) -> Result<Snapshot, StoreError> {
        let (client, reads) = (&self.client, &self.reads);
        let lock = match how {
            Lock::Wait => &self.lock,
            Lock::Skip => &self.lock_free,
        };
        let Needs {
            owners,
            enterprises,
            buckets: bucket_needs,
            ..
        } = needs;
        let new_owners = match how {
            Lock::Wait => &bucket_needs.new_owners[..],
            // Another session may be making it: it is waited for in the other way, and is blocked in this one.
            Lock::Skip => &[],
        };
        // The futures send when they are first polled, and that is in this order.
        let (
            _,
            _,
            locked,
            owner_rows,
            partners,
            connections,
            keys,
            adjustments,
            named,
            accounts,
            buckets,
            clock,
        ) = try_join!(
            biased;
            self.send_begin(),
            if_any(!new_owners.is_empty(), self.make_owners(new_owners)),
            async { client.query(lock, &[owners]).await },
            if_any(!enterprises.is_empty(), async {
                client.query(&reads.owners, &[enterprises]).await
            }),
            if_any(!needs.partners.is_empty(), async {
                client.query(&reads.partners, &[&needs.partners]).await
            }),
            if_any(!needs.connections.is_empty(), async {
                client.query(&reads.connections, &[&needs.connections, &needs.connection_owners]).await
            }),
            if_any(!needs.key_ids.is_empty(), async {
                let Needs { key_owners, key_types, key_ids, .. } = needs;
                client.query(&reads.keys, &[key_owners, key_types, key_ids]).await
            }),
            if_any(!needs.adjustment_ids.is_empty(), async {
                let Needs { adjustment_owners, adjustment_ids, .. } = needs;
                client.query(&reads.adjustments, &[adjustment_owners, adjustment_ids]).await
            }),
            if_any(!needs.allocation_ids.is_empty(), async {
                let Needs { allocation_owners, allocation_ids, .. } = needs;
                client.query(&reads.named, &[allocation_owners, allocation_ids]).await
            }),
            if_any(!needs.account_ids.is_empty(), async {
                let Needs { account_owners, account_ids, account_units, .. } = needs;
                client.query(&reads.accounts, &[account_owners, account_ids, account_units]).await
            }),
            reads.buckets.query(client, bucket_needs),
            async {
                if bucket_needs.owners.is_empty() {
                    client.query_one(&reads.clock, &[enterprises]).await
                } else {
                    let both = &reads.buckets.clock;
                    client.query_one(both, &[enterprises, &bucket_needs.owners]).await
                }
            },
        )?;

        // A command whose owner row the lock did not return is never judged as if it were locked.
        let mut blocked = HashSet::new();
        let mut found: HashMap<OwnerId, Owner> = locked
            .iter()
            .map(|row| (OwnerId(row.get(0)), Owner::default()))
            .collect();
        for row in &owner_rows {
            if let Some(owner) = found.get_mut(&OwnerId(row.get(0))) {
                owner.enterprise = Some(Standing {
                    licensed: row.get(1),
                    client: row.get::<_, Option<Uuid>>(2).map(ClientId),
                });
                owner.last_time = row.get::<_, Option<DateTime<Utc>>>(3).map(Time::from);
            } else {
                // An enterprise and its owner row are written together.
                blocked.insert(OwnerId(row.get(0)));
            }
        }
        for row in &connections {
            if let Some(owner) = found.get_mut(&OwnerId(row.get(1))) {
                owner
                    .connections
                    .insert(ConnectionId(row.get(0)), connection(row)?);
            }
        }
        for row in &keys {
            let allocation = allocation(row)?;
            if let Some(owner) = found.get_mut(&allocation.owner) {
                owner.load_allocation(allocation);
            }
        }
        for row in &adjustments {
            let adjustment = adjustment(row)?;
            if let Some(owner) = found.get_mut(&adjustment.owner) {
                owner.load_adjustment(adjustment);
            }
        }
        for row in &accounts {
            if let Some(owner) = found.get_mut(&OwnerId(row.get(0))) {
                let key = AccountKey {
                    account: AccountId(row.get(1)),
                    unit: Unit::stored(row.get(2)),
                };
                owner.load_account(key, balance(row, 3)?.unwrap_or_default());
            }
        }
        for row in &named {
            load_reservation(&mut found, row)?;
        }
        buckets.load(&mut found, &mut blocked)?;
        if how == Lock::Skip {
            let unlocked = bucket_needs.new_owners.iter().copied().map(OwnerId);
            blocked.extend(unlocked.filter(|owner| !found.contains_key(owner)));
        }
        let now: DateTime<Utc> = clock.get(0);
        let locked = |owners: Vec<Uuid>| -> Vec<Uuid> {
            let locked = owners.into_iter();
            locked
                .filter(|owner| found.contains_key(&OwnerId(*owner)))
                .collect()
        };
        let due_owners = locked(clock.get(1));
        let due_buckets = if bucket_needs.owners.is_empty() {
            Vec::new()
        } else {
            locked(clock.get(2))
        };
        if !due_owners.is_empty() || !due_buckets.is_empty() {
            let due = (&due_owners[..], &due_buckets[..]);
            self.load_due(&mut found, due, now).await?;
        }
        let partners = partners
            .iter()
            .map(|row| {
                let standing = PartnerStanding {
                    licensed: row.get(1),
                    has_partner: row.get(2),
                };
                (EnterpriseId(row.get(0)), standing)
            })
            .collect();
        Ok(Snapshot {
            state: State {
                now: now.into(),
                owners: found,
                partners,
            },
            blocked,
        })
    }

    /// Adds the rows of owners that are not there.
    pub(super) async fn make_owners(&self, owners: &[Uuid]) -> PgResult<u64> {
        self.client
            .execute(&self.reads.buckets.new_owners, &[&owners])
            .await
    }

    /// Adds what was due of enterprises and of buckets, of each owner its share of what one transaction releases.
    async fn load_due(
        &self,
        owners: &mut HashMap<OwnerId, Owner>,
        (enterprises, buckets): (&[Uuid], &[Uuid]),
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        let (client, reads) = (&self.client, &self.reads);
        let share = EXPIRE_BATCH_MAX.div_ceil(enterprises.len() + buckets.len());
        // One more tells whether there is more.
        let limit = i64::try_from(share + 1).unwrap_or(i64::MAX);
        let (reservations, reserves) = try_join!(
            biased;
            if_any(!enterprises.is_empty(), async {
                client.query(&reads.due, &[&enterprises, &now, &limit]).await
            }),
            if_any(!buckets.is_empty(), async {
                client.query(&reads.buckets.due, &[&buckets, &now, &limit]).await
            }),
        )?;
        for row in &reservations {
            let Some((owner, id)) = load_reservation(owners, row)? else {
                continue;
            };
            if owner.due.len() == share {
                owner.more_due = true;
            } else {
                owner.due.push(id);
            }
        }
        bucket::load_due(owners, &reserves, share)
    }

    /// The balance that an entry left.
    pub async fn past(
        &self,
        owner: OwnerId,
        key: &AccountKey,
        version: i64,
    ) -> Result<Option<Balance>, StoreError> {
        let row = self
            .client
            .query_opt(
                &self.reads.past,
                &[&owner.0, &key.account.0, &key.unit.as_str(), &version],
            )
            .await?;
        row.map(|row| {
            Ok(Balance {
                available: amount(&row, 0)?,
                held: amount(&row, 1)?,
                version,
            })
        })
        .transpose()
    }
}

/// Adds a reservation and its two accounts; returns it with its owner, if that is locked.
fn load_reservation<'a>(
    owners: &'a mut HashMap<OwnerId, Owner>,
    row: &Row,
) -> Result<Option<(&'a mut Owner, AllocationId)>, StoreError> {
    const ACCOUNTS: usize = ALLOCATION_COLUMNS;
    let allocation = allocation(row)?;
    let Some(owner) = owners.get_mut(&allocation.owner) else {
        return Ok(None);
    };
    for (account, column) in [
        (AccountId::OWN, ACCOUNTS),
        (allocation.connection.into(), ACCOUNTS + 3),
    ] {
        if let Some(balance) = balance(row, column)? {
            let key = AccountKey {
                account,
                unit: allocation.unit.clone(),
            };
            owner.load_account(key, balance);
        }
    }
    let id = allocation.id;
    owner.load_allocation(allocation);
    Ok(Some((owner, id)))
}

fn amount(row: &Row, column: usize) -> Result<Amount, StoreError> {
    Amount::from_decimal(row.get::<_, Decimal>(column))
        .ok_or(StoreError::Corrupt("an amount has more than 28 digits"))
}

/// Three columns of an account; `None` where a LEFT JOIN found none.
fn balance(row: &Row, column: usize) -> Result<Option<Balance>, StoreError> {
    let Some(version) = row.get::<_, Option<i64>>(column + 2) else {
        return Ok(None);
    };
    Ok(Some(Balance {
        available: amount(row, column)?,
        held: amount(row, column + 1)?,
        version,
    }))
}

fn connection(row: &Row) -> Result<Connection, StoreError> {
    Ok(Connection {
        client: ClientId(row.get(2)),
        partner: PartnerId(row.get(3)),
        partner_enterprise: EnterpriseId(row.get(4)),
        mode: stored(Mode::parse, row, 5)?,
        allocations_disabled: row.get(6),
        deallocations_disabled: row.get(7),
    })
}

fn allocation(row: &Row) -> Result<Allocation, StoreError> {
    Ok(Allocation {
        owner: OwnerId(row.get(0)),
        id: AllocationId(row.get(1)),
        direction: stored(Direction::parse, row, 2)?,
        status: stored(Status::parse, row, 3)?,
        unit: Unit::stored(row.get(4)),
        quantity: amount(row, 5)?,
        connection: ConnectionId(row.get(6)),
        client: ClientId(row.get(7)),
        partner: PartnerId(row.get(8)),
        client_external_id: row.get(9),
        partner_external_id: row.get(10),
        initiated_by: row.get(11),
        notes: row.get(12),
        reason: row.get(13),
        expire_time: row.get::<_, Option<DateTime<Utc>>>(14).map(Time::from),
        created_at: row.get::<_, DateTime<Utc>>(15).into(),
        updated_at: row.get::<_, DateTime<Utc>>(16).into(),
        content: content(row, 17)?,
        opened: Versions {
            custody: row.get(18),
            connection: row.get(19),
        },
        closed: match row.get::<_, Option<&str>>(20) {
            None => None,
            Some(_) => Some(Closing {
                cause: stored(Cause::parse, row, 20)?,
                versions: Versions {
                    custody: row.get(21),
                    connection: row.get(22),
                },
            }),
        },
    })
}

fn adjustment(row: &Row) -> Result<Adjustment, StoreError> {
    Ok(Adjustment {
        owner: OwnerId(row.get(0)),
        id: AdjustmentId(row.get(1)),
        external_id: row.get(2),
        unit: Unit::stored(row.get(3)),
        quantity: amount(row, 4)?,
        reason: row.get(5),
        initiated_by: row.get(6),
        content: content(row, 7)?,
        custody_version: row.get(8),
        created_at: row.get::<_, DateTime<Utc>>(9).into(),
    })
}

fn content(row: &Row, column: usize) -> Result<ContentHash, StoreError> {
    let hash = row.get::<_, &[u8]>(column).try_into();
    hash.map(ContentHash)
        .map_err(|_| StoreError::Corrupt("a content hash has not 32 bytes"))
}

fn stored<T>(parse: impl Fn(&str) -> Option<T>, row: &Row, column: usize) -> Result<T, StoreError> {
    parse(row.get(column)).ok_or(StoreError::Corrupt(
        "a name is none that this version knows",
    ))
}
