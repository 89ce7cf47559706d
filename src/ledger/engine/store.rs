//! The connection of a writer, and the SQL that all kinds share. Every statement is prepared once per connection, before
//! the first batch: a statement that is not prepared would be sent later than those that are.
//!
//! The connection is tokio-postgres itself rather than diesel-async, which is built on it: it gives SQLSTATEs, explicit
//! preparation, and messages that leave in the order in which the calls are made.

use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::try_join;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Row, Statement};
use uuid::Uuid;

use crate::ledger::account::{Account, Balance, EnterpriseFacts, Entry, OwnerKind};
use crate::ledger::books::{AccountChange, BookChanges, Books};
use crate::ledger::engine::batch_reads::BatchReads;
use crate::ledger::kind::{AccountName, BalanceAt, DueQuery, ReplayedBalance};
use crate::ledger::kinds::{Changes, DUE_OWNERS, Proofs, Statements, States};
use crate::ledger::store_error::{PgResult, StoreError};
use crate::ledger::table::description::{Stored, read_first};
use crate::ledger::table::statements::{Insert, Lookup, Update, UpdateShape};
use crate::ledger::table::values::read_balance_if_joined;
use crate::limits::EXPIRE_BATCH_MAX;
use crate::trace;
use crate::types::ids::{ClientId, OwnerId};
use crate::types::time::Time;

/// A connection with its prepared statements.
pub(super) struct Store {
    client: Client,
    lock: Statement,
    lock_free: Statement,
    insert_owners: Statement,
    enterprises: Statement,
    clock: ClockStatements,
    accounts: Lookup<AccountName>,
    balance_at: Statement,
    carried_balance: Statement,
    kinds: Statements,
    insert_accounts: Insert<Account>,
    update_accounts: Update<AccountChange>,
    insert_entries: Insert<Entry>,
    entry_exists: Statement,
}

/// How a batch locks its owners.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lock {
    /// All of them, waiting for other sessions up to the session's lock timeout.
    Wait,
    /// Those that no other session has locked.
    Skip,
}

const LOCK: &str =
    "SELECT owner_id FROM owner WHERE owner_id = ANY($1) ORDER BY owner_id FOR NO KEY UPDATE";
const LOCK_FREE: &str = "\
    SELECT owner_id FROM owner WHERE owner_id = ANY($1) ORDER BY owner_id FOR NO KEY UPDATE SKIP LOCKED";

/// Sorted, so that no two transactions wait for each other.
const INSERT_OWNERS: &str = "\
    INSERT INTO owner (owner_id) SELECT n.owner_id FROM unnest($1::uuid[]) n(owner_id) ORDER BY n.owner_id \
    ON CONFLICT DO NOTHING";

const ENTERPRISES: &str = "\
    SELECT e.id, e.oes_licensed, c.id \
    FROM enterprise e LEFT JOIN client c ON c.enterprise_id = e.id WHERE e.id = ANY($1)";

/// The newest entry of an account up to a version, between two times. Only the partitions between these are opened, which is
/// why they are parameters of the statement and not of a row. The order by time and version is that of the key alone.
const BALANCE_AT: &str = "\
    SELECT e.available, e.held, e.version, e.reservation_count FROM entry e \
    WHERE e.owner_id = $1 AND e.account_id = $2 AND e.unit = $3 AND e.time > $5 AND e.time <= $6 \
      AND e.version <= $4 \
    ORDER BY e.time DESC, e.version DESC LIMIT 1";

/// The time before which everything is archived, and the balance at a version if that was carried forward from there: it was
/// the account's last version of a period.
const CARRIED_BALANCE: &str = "\
    SELECT archived.since, c.available, c.held, c.version, c.reservation_count \
    FROM (SELECT max(end_time) AS since FROM archived_period) archived \
    LEFT JOIN carry_forward c ON c.owner_id = $1 AND c.account_id = $2 AND c.unit = $3 AND c.version = $4 \
        AND c.end_time <= archived.since \
    LIMIT 1";

const ENTRY_EXISTS: &str = "\
    SELECT EXISTS (SELECT FROM (\
        SELECT e.cause_id FROM entry e \
        WHERE e.owner_id = $1 AND e.account_id = $2 AND e.unit = $3 AND e.time >= $6 AND e.time <= $6 \
          AND e.version >= $4 AND e.version <= $4 \
        ORDER BY e.time, e.version LIMIT 1\
    ) e WHERE e.cause_id = $5)";

/// The version that was read must still be the stored one.
const UPDATED_ACCOUNTS: UpdateShape = UpdateShape {
    table: "account",
    keys: &["owner_id", "account_id", "unit"],
    set: &["available", "held", "version", "reservation_count"],
    compared: &["stored_version"],
    condition: "t.version = n.stored_version",
    has_other_indexes: false,
};

/// How far back the newest entry of an account is looked for first: in one partition or two, where most are. What is older is
/// looked for in all of them.
const RECENT: Duration = Duration::from_hours(40 * 24);

/// The time that [`Store::was_committed`] waits for locks of the transaction that it looks for.
const DOUBT_LOCK_WAIT: Duration = Duration::from_secs(4);

/// The statement that reads the clock, for each combination of kinds of owners: what looks for due records of a kind
/// opens its tables even where no owner is of it.
struct ClockStatements {
    enterprises: Statement,
    buckets: Statement,
    both: Statement,
}

impl ClockStatements {
    async fn prepare(client: &Client) -> PgResult<Self> {
        use OwnerKind::{Bucket, Enterprise};

        Ok(Self {
            enterprises: client.prepare(&clock_text(&[Enterprise])).await?,
            buckets: client.prepare(&clock_text(&[Bucket])).await?,
            both: client.prepare(&clock_text(&[Enterprise, Bucket])).await?,
        })
    }

    async fn read(&self, client: &Client, reads: &BatchReads) -> PgResult<Row> {
        let (enterprises, buckets) = (&reads.enterprises, &reads.buckets);
        let both: [&(dyn ToSql + Sync); 2] = [enterprises, buckets];
        let (statement, parameters) = if buckets.is_empty() {
            (&self.enterprises, &both[..1])
        } else if enterprises.is_empty() {
            (&self.buckets, &both[1..])
        } else {
            (&self.both, &both[..])
        };
        let reading = client.query_one(statement, parameters);
        trace::statement("SELECT", "clock", reading).await
    }
}

/// The clock, read once; the time of each owner's newest entry of the last day or later, in the order of the owners given,
/// first of enterprises and then of buckets; and for each kind of record the owners of which something is due. The parameters
/// are the owners of each of these kinds of owners; those of another kind have none.
///
/// A movement takes the clock's time, unless an entry of the owner is as late: so none matters that is earlier. The day is for
/// a clock that is set back. Partitions that ended before are left out when the statement begins, at any age of the ledger.
fn clock_text(kinds: &[OwnerKind]) -> String {
    let owners = |kind: OwnerKind| {
        let position = kinds.iter().position(|given| *given == kind)?;
        Some(format!("unnest(${}::uuid[])", position + 1))
    };
    let last_times = |kind: OwnerKind| match owners(kind) {
        Some(owners) => format!(
            "ARRAY(SELECT (\
                 SELECT t.time FROM entry t \
                 WHERE t.owner_id = o.owner_id AND t.time > statement_timestamp() - interval '1 day' \
                 ORDER BY t.time DESC LIMIT 1\
             ) FROM {owners} o(owner_id))"
        ),
        None => "ARRAY[]::timestamptz[]".into(),
    };
    let due = |(kind, subquery): (OwnerKind, Option<&'static str>)| {
        subquery
            .and_then(|subquery| Some(subquery.replace("{owners}", &owners(kind)?)))
            .map_or("ARRAY[]::uuid[]".into(), |text| format!("ARRAY({text})"))
    };
    let columns = ["clock.now".to_owned()]
        .into_iter()
        .chain([OwnerKind::Enterprise, OwnerKind::Bucket].map(last_times))
        .chain(DUE_OWNERS.map(due));
    format!(
        "SELECT {} FROM (SELECT clock_timestamp() AS now OFFSET 0) clock",
        columns.collect::<Vec<_>>().join(", ")
    )
}

/// The columns of the clock's row before those of the kinds.
const CLOCK_COLUMNS: usize = 3;

/// What a transaction wrote and what nothing changes any more. No two tries write the same: each has a time of its own,
/// from the clock under the owners' locks.
#[derive(Clone, Debug)]
pub(super) enum Proof {
    /// A line of the journal.
    Entry(Box<Entry>),
    /// Changes of records without a movement.
    Records(Proofs),
}

impl Proof {
    /// What proves these changes, if there are any.
    pub(super) fn of(books: &BookChanges<'_>, kinds: &Changes<'_>) -> Option<Self> {
        if let Some(entry) = books.entries.first() {
            return Some(Self::Entry(Box::new(Entry::clone(entry))));
        }
        let proofs = kinds.proofs();
        (!proofs.is_empty()).then_some(Self::Records(proofs))
    }
}

impl Store {
    /// Prepares every statement, on a connection that plans each of them once for all parameters.
    pub(super) async fn prepare(client: Client) -> PgResult<Self> {
        Ok(Self {
            lock: client.prepare(LOCK).await?,
            lock_free: client.prepare(LOCK_FREE).await?,
            insert_owners: client.prepare(INSERT_OWNERS).await?,
            enterprises: client.prepare(ENTERPRISES).await?,
            clock: ClockStatements::prepare(&client).await?,
            accounts: Lookup::prepare::<Account>(&client, "account").await?,
            balance_at: client.prepare(BALANCE_AT).await?,
            carried_balance: client.prepare(CARRIED_BALANCE).await?,
            kinds: Statements::prepare(&client).await?,
            insert_accounts: Insert::prepare(&client, "account").await?,
            update_accounts: Update::prepare(&client, UPDATED_ACCOUNTS).await?,
            insert_entries: Insert::prepare(&client, "entry").await?,
            entry_exists: client.prepare(ENTRY_EXISTS).await?,
            client,
        })
    }

    /// Whether the session can write: its server is no standby, and nobody has made it read-only.
    pub(super) async fn can_write(&self) -> PgResult<bool> {
        let sql =
            "SELECT NOT pg_is_in_recovery() AND NOT current_setting('transaction_read_only')::bool";
        Ok(self.client.query_one(sql, &[]).await?.get(0))
    }

    /// Waits for an answer to nothing.
    pub(super) async fn ping(&self) -> PgResult<()> {
        self.client.batch_execute("").await
    }

    /// Begins a transaction, locks the owners and reads: one round trip, and another if something is due. The locks and
    /// the reads are separate statements: one that both locks and reads would see a locked row as it is now and everything
    /// else as it was before the lock.
    pub(super) async fn begin(
        &self,
        reads: &BatchReads,
        how: Lock,
    ) -> Result<(Books, States), StoreError> {
        let new_owners = match how {
            Lock::Wait => &reads.new_owners[..],
            // Another session may be inserting it: Wait waits for that, here it counts as locked by the other one.
            Lock::Skip => &[],
        };
        // Each future sends its statement when it is first polled, and that is in this order.
        let (_, _, locked, enterprises, accounts, kinds, clock) = try_join!(
            biased;
            self.transact("BEGIN", "BEGIN ISOLATION LEVEL READ COMMITTED"),
            self.insert_owners(new_owners),
            self.lock(&reads.owners, how),
            self.read_enterprises(&reads.enterprises),
            self.accounts.query(&self.client, &reads.accounts.accounts),
            self.kinds.read(&self.client, &reads.kinds),
            self.clock.read(&self.client, reads),
        )?;

        let now: DateTime<Utc> = clock.try_get(0)?;
        let mut books = Books::new(now.into(), locked);
        load_last_times(&mut books, &reads.enterprises, &clock, 1)?;
        load_last_times(&mut books, &reads.buckets, &clock, 2)?;
        load_enterprises(&mut books, &enterprises)?;
        for row in &accounts {
            let account: Account = read_first(row)?;
            if let Some(owner) = books.owners.get_mut(&account.owner) {
                owner.load_account(account.key, account.balance);
            }
        }
        let mut states = States::default();
        states.load(&kinds, &mut books)?;
        if how == Lock::Skip {
            let new_owners = reads.new_owners.iter().copied().map(OwnerId);
            let unlocked: Vec<_> = new_owners
                .filter(|owner| !books.is_locked(*owner))
                .collect();
            books.blocked.extend(unlocked);
        }
        self.load_due(&mut books, &mut states, &clock).await?;
        Ok((books, states))
    }

    async fn lock(&self, owners: &[Uuid], how: Lock) -> PgResult<Vec<OwnerId>> {
        let statement = match how {
            Lock::Wait => &self.lock,
            Lock::Skip => &self.lock_free,
        };
        let rows =
            trace::statement("SELECT", "owner", self.client.query(statement, &[&owners])).await?;
        Ok(rows.iter().map(|row| OwnerId(row.get(0))).collect())
    }

    /// Inserts the rows of owners that have none.
    async fn insert_owners(&self, owners: &[Uuid]) -> PgResult<u64> {
        if owners.is_empty() {
            return Ok(0);
        }
        trace::statement(
            "INSERT",
            "owner",
            self.client.execute(&self.insert_owners, &[&owners]),
        )
        .await
    }

    async fn read_enterprises(&self, enterprises: &[Uuid]) -> PgResult<Vec<Row>> {
        if enterprises.is_empty() {
            return Ok(Vec::new());
        }
        trace::statement(
            "SELECT",
            "enterprise",
            self.client.query(&self.enterprises, &[&enterprises]),
        )
        .await
    }

    /// Reads what is due of the owners that are locked, of each its share of what one transaction releases.
    async fn load_due(
        &self,
        books: &mut Books,
        states: &mut States,
        clock: &Row,
    ) -> Result<(), StoreError> {
        let mut due_owners: Vec<Vec<Uuid>> = Vec::with_capacity(DUE_OWNERS.len());
        for index in 0..DUE_OWNERS.len() {
            let mut owners: Vec<Uuid> = clock.try_get(CLOCK_COLUMNS + index)?;
            owners.retain(|owner| books.is_locked(OwnerId(*owner)));
            due_owners.push(owners);
        }
        let count: usize = due_owners.iter().map(Vec::len).sum();
        if count == 0 {
            return Ok(());
        }
        let share = EXPIRE_BATCH_MAX.div_ceil(count);
        let due: Vec<DueQuery> = due_owners
            .into_iter()
            .map(|owners| DueQuery {
                owners,
                now: books.now.to_chrono(),
                limit: i64::try_from(share + 1).unwrap_or(i64::MAX),
            })
            .collect();
        let rows = self.kinds.read_due(&self.client, &due).await?;
        states.load_due(&rows, share, books)
    }

    /// Writes all changes in one round trip. Records are sent before accounts and entries.
    pub(super) async fn write(
        &self,
        books: &BookChanges<'_>,
        kinds: &Changes<'_>,
    ) -> Result<(), StoreError> {
        let new_accounts: Vec<&Account> = books.new_accounts.iter().collect();
        let changed_accounts: Vec<&AccountChange> = books.changed_accounts.iter().collect();
        try_join!(
            biased;
            self.kinds.write(&self.client, kinds),
            self.insert_accounts.execute(&self.client, &new_accounts),
            self.update_accounts.execute(&self.client, &changed_accounts),
            self.insert_entries.execute(&self.client, &books.entries),
        )?;
        Ok(())
    }

    /// The balance that an entry left; none if the journal lacks it. Most movements replayed are recent, and so is the last
    /// entry before them of an account that they did not touch. Only where none is found, the archive is looked at, and after
    /// that: an entry that leaves meanwhile is found in either place.
    pub(super) async fn balance_at(
        &self,
        at: &BalanceAt,
    ) -> Result<Option<ReplayedBalance>, StoreError> {
        let latest = at.latest_time().to_chrono();
        let recent = latest - RECENT;
        let mut found = self.newest_balance(at, recent, latest).await?;
        if found.is_none() {
            let first = Time::MIN.to_chrono();
            found = self.newest_balance(at, first, recent).await?;
        }
        match found.filter(|balance| balance.version == at.version) {
            Some(balance) => Ok(Some(ReplayedBalance::Known(balance))),
            None => self.carried_balance(at).await,
        }
    }

    async fn carried_balance(&self, at: &BalanceAt) -> Result<Option<ReplayedBalance>, StoreError> {
        let unit = at.key.unit.as_str();
        let row = trace::statement(
            "SELECT",
            "carry_forward",
            self.client.query_one(
                &self.carried_balance,
                &[&at.owner.0, &at.key.account.0, &unit, &at.version],
            ),
        )
        .await?;
        let since: Option<DateTime<Utc>> = row.try_get(0)?;
        let Some(since) = since.map(Time::from) else {
            return Ok(None);
        };
        let balance = read_balance_if_joined(&row, &mut 1)?;
        Ok(match balance {
            Some(balance) => Some(ReplayedBalance::Known(balance)),
            None => (at.time < since).then_some(ReplayedBalance::Archived { since }),
        })
    }

    /// The balance after the account's newest entry up to the version that is later than `after`, and not later than `by`.
    async fn newest_balance(
        &self,
        at: &BalanceAt,
        after: DateTime<Utc>,
        by: DateTime<Utc>,
    ) -> Result<Option<Balance>, StoreError> {
        let unit = at.key.unit.as_str();
        let row = trace::statement(
            "SELECT",
            "entry",
            self.client.query_opt(
                &self.balance_at,
                &[
                    &at.owner.0,
                    &at.key.account.0,
                    &unit,
                    &at.version,
                    &after,
                    &by,
                ],
            ),
        )
        .await?;
        row.map(|row| Balance::read(&row, &mut 0)).transpose()
    }

    /// Whether the connection is gone.
    pub(super) fn is_closed(&self) -> bool {
        self.client.is_closed()
    }

    /// Ends the transaction; what it wrote is on disk when this returns.
    pub(super) async fn commit(&self) -> PgResult<()> {
        self.transact("COMMIT", "COMMIT").await
    }

    /// Sends a statement that begins or ends a transaction.
    async fn transact(&self, operation: &'static str, text: &str) -> PgResult<()> {
        trace::statement(operation, "", self.client.batch_execute(text)).await
    }

    /// Gives the transaction up.
    pub(super) async fn rollback(&self) -> PgResult<()> {
        self.transact("ROLLBACK", "ROLLBACK").await
    }

    /// Waits for an earlier transaction of these owners to end, and looks for its proof: if that is there, so is everything
    /// else that the transaction wrote.
    ///
    /// The transaction's number would prove nothing: after a crash of the server, one that never reached the disk is
    /// given to another transaction.
    pub(super) async fn was_committed(&self, owners: &[Uuid], proof: &Proof) -> PgResult<bool> {
        let begin = format!(
            "BEGIN; SET LOCAL lock_timeout = {}",
            DOUBT_LOCK_WAIT.as_millis()
        );
        self.client.batch_execute(&begin).await?;
        // An owner that the transaction inserted cannot be locked before that is committed: inserting it too waits.
        self.insert_owners(owners).await?;
        self.client.query(&self.lock, &[&owners]).await?;
        let was_committed = match proof {
            Proof::Entry(entry) => self.entry_exists(entry).await?,
            Proof::Records(proofs) => self.kinds.find_proof(&self.client, *proofs).await?,
        };
        self.rollback().await?;
        Ok(was_committed)
    }

    async fn entry_exists(&self, entry: &Entry) -> PgResult<bool> {
        let key = &entry.key;
        let row = self
            .client
            .query_one(
                &self.entry_exists,
                &[
                    &entry.owner.0,
                    &key.account.0,
                    &key.unit.as_str(),
                    &entry.after.version,
                    &entry.cause_id,
                    &entry.time.to_chrono(),
                ],
            )
            .await?;
        Ok(row.get(0))
    }
}

/// Sets the time of each owner's newest entry, if it is recent, in the order of the owners.
fn load_last_times(
    books: &mut Books,
    owners: &[Uuid],
    clock: &Row,
    column: usize,
) -> Result<(), StoreError> {
    let times: Vec<Option<DateTime<Utc>>> = clock.try_get(column)?;
    if times.len() != owners.len() {
        return Err(StoreError::Corrupt(
            "the clock's row has not one time for each owner",
        ));
    }
    for (owner, time) in owners.iter().zip(times) {
        if let Some(owner) = books.owners.get_mut(&OwnerId(*owner)) {
            owner.last_time = time.map(Time::from);
        }
    }
    Ok(())
}

fn load_enterprises(books: &mut Books, rows: &[Row]) -> Result<(), StoreError> {
    for row in rows {
        let id = OwnerId(row.try_get(0)?);
        let facts = EnterpriseFacts {
            is_licensed: row.try_get(1)?,
            client: row.try_get::<_, Option<Uuid>>(2)?.map(ClientId),
        };
        match books.owners.get_mut(&id) {
            Some(owner) => owner.enterprise = Some(facts),
            // An enterprise is inserted together with its owner's row, so that row exists, but was not locked.
            None => _ = books.blocked.insert(id),
        }
    }
    Ok(())
}
