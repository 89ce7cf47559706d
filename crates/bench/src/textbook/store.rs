//! The textbook's SQL: one statement after the other, each prepared when its connection is made.

use bb8::ManageConnection;
use chrono::{DateTime, Utc};
use earmark::db::connect::{ConnectError, Connector};
use earmark::error::{Error, Outcome, Result};
use earmark::proto::allocation::v1 as pb;
use earmark::proto::common::v1::{Amount, Balance};
use earmark::types::content::Content;
use earmark::types::ids::{AllocationId, ConnectionId, EnterpriseId, ordered_id};
use earmark::types::time::Time;
use prost_types::Timestamp;
use rust_decimal::Decimal;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Row, Statement, Transaction};
use uuid::Uuid;

use crate::textbook::bucket_statements::TextbookBucketStatements;
use crate::textbook::shared::read_id;

const CUSTODY: Uuid = Uuid::from_u128(1);

const LOCK: &str = "SELECT owner_id FROM owner WHERE owner_id = $1 FOR NO KEY UPDATE";
const STANDING: &str = "\
    SELECT e.oes_licensed, k.mode, k.allocations_disabled_reason, k.client_id, k.partner_id \
    FROM connection k JOIN enterprise e ON e.id = k.client_enterprise_id \
    WHERE k.id = $1 AND k.client_enterprise_id = $2";
const KEY: &str = "\
    SELECT id FROM allocation WHERE owner_id = $1 AND client_external_id = $2 AND type = 'ALLOCATION'";
const ACCOUNTS: &str = "\
    SELECT account_id, available, held, version, reservation_count, clock_timestamp() \
    FROM account WHERE owner_id = $1 AND account_id = ANY($2) AND unit = $3";
const INSERT_ALLOCATION: &str = "\
    INSERT INTO allocation (owner_id, id, type, status, currency, quantity, connection_id, client_id, partner_id, \
                            client_external_id, initiated_by, notes, created_at, updated_at, content_hash, \
                            opened_custody_version, opened_connection_version) \
    VALUES ($1, $2, 'ALLOCATION', 'RESERVED', $3, $4, $5, $6, $7, $8, $9, $10, $11, $11, $12, $13, $14)";
const INSERT_ENTRY: &str = "\
    INSERT INTO entry (owner_id, account_id, unit, version, available_delta, held_delta, available, held, cause, \
                       cause_id, time, reservation_count) \
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 'RESERVE', $9, $10, $11)";
const UPDATE_ACCOUNT: &str = "\
    UPDATE account SET available = $4, held = $5, version = $6, reservation_count = $7 \
    WHERE owner_id = $1 AND account_id = $2 AND unit = $3";
const GET: &str = "\
    SELECT e.oes_licensed, a.id, a.type, a.status, a.currency, a.quantity, a.connection_id, a.client_id, a.partner_id, \
           a.client_external_id, a.partner_external_id, a.initiated_by, a.notes, a.reason, a.expire_time, a.created_at, \
           a.updated_at \
    FROM enterprise e LEFT JOIN allocation a ON a.owner_id = e.id AND a.id = $2 WHERE e.id = $1";

/// Makes the pool's connections.
pub(super) struct TextbookSessions(pub(super) Connector);

/// A connection with its statements.
pub(super) struct TextbookSession {
    pub(super) client: Client,
    statements: TextbookStatements,
    pub(super) buckets: TextbookBucketStatements,
}

struct TextbookStatements {
    lock: Statement,
    standing: Statement,
    key: Statement,
    accounts: Statement,
    insert_allocation: Statement,
    insert_entry: Statement,
    update_account: Statement,
    get: Statement,
}

impl ManageConnection for TextbookSessions {
    type Connection = TextbookSession;
    type Error = ConnectError;

    async fn connect(&self) -> Result<TextbookSession, ConnectError> {
        let (client, _driver) = self.0.connect().await?;
        let statements = TextbookStatements {
            lock: client.prepare(LOCK).await?,
            standing: client.prepare(STANDING).await?,
            key: client.prepare(KEY).await?,
            accounts: client.prepare(ACCOUNTS).await?,
            insert_allocation: client.prepare(INSERT_ALLOCATION).await?,
            insert_entry: client.prepare(INSERT_ENTRY).await?,
            update_account: client.prepare(UPDATE_ACCOUNT).await?,
            get: client.prepare(GET).await?,
        };
        let buckets = TextbookBucketStatements::prepare(&client).await?;
        Ok(TextbookSession {
            client,
            statements,
            buckets,
        })
    }

    async fn is_valid(&self, _: &mut TextbookSession) -> Result<(), ConnectError> {
        Ok(())
    }

    fn has_broken(&self, session: &mut TextbookSession) -> bool {
        session.client.is_closed()
    }
}

/// A `CreateAllocationRequest`, checked and converted.
pub(super) struct TextbookCreate {
    pub(super) enterprise: Uuid,
    connection: Uuid,
    currency: String,
    quantity: Decimal,
    key: String,
    notes: Option<String>,
    subject: String,
}

impl TextbookCreate {
    pub(super) fn read(message: pb::CreateAllocationRequest, subject: &str) -> Result<Self> {
        let amount = message.amount.unwrap_or_default();
        let quantity = Decimal::from_str_exact(&amount.quantity).ok();
        let quantity = quantity.filter(|quantity| *quantity > Decimal::ZERO);
        Ok(Self {
            enterprise: read_id("enterprise_id", &message.enterprise_id)?,
            connection: read_id("connection_id", &message.connection_id)?,
            currency: amount.currency,
            quantity: quantity.ok_or_else(|| Error::invalid("amount", "must be positive"))?,
            key: message.client_external_id,
            notes: message.notes,
            subject: subject.into(),
        })
    }

    /// What a repeat of the key would be compared by.
    fn content(&self) -> [u8; 32] {
        let content = Content::new()
            .field(1, self.connection)
            .field(2, &self.currency)
            .field(3, self.quantity.to_string())
            .optional(4, self.notes.as_ref());
        content.hash().0
    }
}

struct TextbookAccount {
    available: Decimal,
    held: Decimal,
    version: i64,
    reservation_count: i64,
}

/// What a new reservation leaves.
struct TextbookReservation {
    id: Uuid,
    time: DateTime<Utc>,
    client: Uuid,
    partner: Uuid,
    custody: TextbookAccount,
    connection: TextbookAccount,
}

/// How a read is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TextbookReads {
    /// Like a write: BEGIN, the statement, COMMIT.
    Transaction,
    /// By the statement alone: the least that a connection to itself can cost.
    Statement,
}

impl TextbookReads {
    /// As the program's argument.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Transaction => "transaction",
            Self::Statement => "statement",
        }
    }
}

impl TextbookSession {
    /// One interactive transaction; what fails in it rolls it back.
    pub(super) async fn create(
        &mut self,
        create: &TextbookCreate,
    ) -> Result<pb::CreateAllocationResponse> {
        let db = self.client.transaction().await.map_err(failed)?;
        let reservation = judge(&db, &self.statements, create).await?;
        write(&db, &self.statements, create, &reservation)
            .await
            .map_err(failed)?;
        db.commit().await.map_err(failed)?;
        Ok(pb::CreateAllocationResponse {
            allocation: Some(create.created(&reservation)),
            custody_balance: Some(reservation.custody.into()),
            connection_balance: Some(reservation.connection.into()),
        })
    }

    /// One statement, in an interactive transaction or committing by itself.
    pub(super) async fn get(
        &mut self,
        reads: TextbookReads,
        enterprise: Uuid,
        id: Uuid,
    ) -> Result<pb::Allocation> {
        let row = match reads {
            TextbookReads::Transaction => {
                let db = self.client.transaction().await.map_err(failed)?;
                let row = db
                    .query_opt(&self.statements.get, &[&enterprise, &id])
                    .await;
                let row = row.map_err(failed)?;
                db.commit().await.map_err(failed)?;
                row
            }
            TextbookReads::Statement => {
                let found = self
                    .client
                    .query_opt(&self.statements.get, &[&enterprise, &id])
                    .await;
                found.map_err(failed)?
            }
        };
        let row = row.ok_or(Error::EnterpriseNotFound(EnterpriseId(enterprise)))?;
        if !row.get::<_, bool>(0) {
            return Err(Error::NoOesLicense);
        }
        if row.get::<_, Option<Uuid>>(1).is_none() {
            return Err(Error::AllocationNotFound(AllocationId(id)));
        }
        Ok(record(&row))
    }
}

/// Locks, reads, and refuses what cannot be done.
async fn judge(
    db: &Transaction<'_>,
    statements: &TextbookStatements,
    create: &TextbookCreate,
) -> Result<TextbookReservation> {
    let (enterprise, connection) = (&create.enterprise, &create.connection);
    let one = async |statement, parameters: &[&(dyn ToSql + Sync)]| {
        db.query_opt(statement, parameters).await.map_err(failed)
    };
    let locked = one(&statements.lock, &[enterprise]).await?;
    locked.ok_or(Error::EnterpriseNotFound(EnterpriseId(*enterprise)))?;
    let standing = one(&statements.standing, &[connection, enterprise]).await?;
    let standing = standing.ok_or(Error::ConnectionNotFound(ConnectionId(*connection)))?;
    require_usable(ConnectionId(*connection), &standing)?;
    let used = one(&statements.key, &[enterprise, &create.key]).await?;
    if used.is_some() {
        return Err(Error::IdempotencyKeyReused {
            field: "client_external_id",
            holder: None,
            stored: Vec::new(),
        });
    }
    let accounts = [CUSTODY, *connection];
    let rows = db
        .query(
            &statements.accounts,
            &[enterprise, &&accounts[..], &create.currency],
        )
        .await
        .map_err(failed)?;
    let before = account(&rows, CUSTODY);
    if before.available < create.quantity {
        return Err(Error::internal("the bench's accounts never run dry"));
    }
    let time: DateTime<Utc> = rows.first().map_or_else(Utc::now, |row| row.get(5));
    Ok(TextbookReservation {
        id: ordered_id(time.into(), fastrand::u64(..).to_be_bytes()),
        time,
        client: standing.get(3),
        partner: standing.get(4),
        custody: TextbookAccount {
            available: before.available - create.quantity,
            held: before.held + create.quantity,
            version: before.version + 1,
            reservation_count: before.reservation_count + 1,
        },
        connection: account(&rows, *connection),
    })
}

/// Writes the record, the entry and the account.
async fn write(
    db: &Transaction<'_>,
    statements: &TextbookStatements,
    create: &TextbookCreate,
    reservation: &TextbookReservation,
) -> Result<(), tokio_postgres::Error> {
    let (enterprise, currency) = (&create.enterprise, &create.currency);
    let TextbookReservation { id, time, .. } = reservation;
    let custody = &reservation.custody;
    let record: [&(dyn ToSql + Sync); 14] = [
        enterprise,
        id,
        currency,
        &create.quantity,
        &create.connection,
        &reservation.client,
        &reservation.partner,
        &create.key,
        &create.subject,
        &create.notes,
        time,
        &&create.content()[..],
        &custody.version,
        &reservation.connection.version,
    ];
    let entry: [&(dyn ToSql + Sync); 11] = [
        enterprise,
        &CUSTODY,
        currency,
        &custody.version,
        &-create.quantity,
        &create.quantity,
        &custody.available,
        &custody.held,
        id,
        time,
        &custody.reservation_count,
    ];
    let account: [&(dyn ToSql + Sync); 7] = [
        enterprise,
        &CUSTODY,
        currency,
        &custody.available,
        &custody.held,
        &custody.version,
        &custody.reservation_count,
    ];
    db.execute(&statements.insert_allocation, &record).await?;
    db.execute(&statements.insert_entry, &entry).await?;
    db.execute(&statements.update_account, &account).await?;
    Ok(())
}

/// Refuses a connection that may not be used.
fn require_usable(connection: ConnectionId, standing: &Row) -> Result<()> {
    if !standing.get::<_, bool>(0) {
        return Err(Error::NoOesLicense);
    }
    if standing.get::<_, &str>(1) != "CONFIRMED" {
        return Err(Error::internal("the bench's connections are all CONFIRMED"));
    }
    match standing.get(2) {
        Some(reason) => Err(Error::ConnectionInactive {
            connection,
            direction: "allocation",
            reason,
        }),
        None => Ok(()),
    }
}

/// An account without a row was never used.
fn account(rows: &[Row], id: Uuid) -> TextbookAccount {
    let row = rows.iter().find(|row| row.get::<_, Uuid>(0) == id);
    TextbookAccount {
        available: row.map_or(Decimal::ZERO, |row| row.get(1)),
        held: row.map_or(Decimal::ZERO, |row| row.get(2)),
        version: row.map_or(0, |row| row.get(3)),
        reservation_count: row.map_or(0, |row| row.get(4)),
    }
}

impl From<TextbookAccount> for Balance {
    fn from(account: TextbookAccount) -> Self {
        Self {
            available: account.available.normalize().to_string(),
            held: account.held.normalize().to_string(),
            version: account.version,
        }
    }
}

impl TextbookCreate {
    fn created(&self, reservation: &TextbookReservation) -> pb::Allocation {
        let time = Some(timestamp(reservation.time));
        pb::Allocation {
            id: reservation.id.to_string(),
            r#type: pb::AllocationType::Allocation.into(),
            status: pb::AllocationStatus::Reserved.into(),
            amount: Some(Amount {
                currency: self.currency.clone(),
                quantity: self.quantity.to_string(),
            }),
            connection_id: self.connection.to_string(),
            client_id: reservation.client.to_string(),
            partner_id: reservation.partner.to_string(),
            client_external_id: self.key.clone(),
            initiated_by: self.subject.clone(),
            notes: self.notes.clone(),
            created_at: time,
            updated_at: time,
            ..Default::default()
        }
    }
}

fn record(row: &Row) -> pb::Allocation {
    let kind = match row.get(2) {
        "ALLOCATION" => pb::AllocationType::Allocation,
        _ => pb::AllocationType::Deallocation,
    };
    let status = match row.get(3) {
        "RESERVED" => pb::AllocationStatus::Reserved,
        "CLEARED" => pb::AllocationStatus::Cleared,
        _ => pb::AllocationStatus::Released,
    };
    let id = |column: usize| row.get::<_, Uuid>(column).to_string();
    pb::Allocation {
        id: id(1),
        r#type: kind.into(),
        status: status.into(),
        amount: Some(Amount {
            currency: row.get(4),
            quantity: row.get::<_, Decimal>(5).normalize().to_string(),
        }),
        connection_id: id(6),
        client_id: id(7),
        partner_id: id(8),
        client_external_id: row.get(9),
        partner_external_id: row.get(10),
        initiated_by: row.get(11),
        notes: row.get(12),
        reason: row.get(13),
        retriable: false,
        expire_time: row.get::<_, Option<DateTime<Utc>>>(14).map(timestamp),
        created_at: Some(timestamp(row.get(15))),
        updated_at: Some(timestamp(row.get(16))),
    }
}

pub(super) fn timestamp(time: DateTime<Utc>) -> Timestamp {
    let (seconds, nanos) = Time::from(time).seconds_and_nanos();
    Timestamp {
        seconds,
        nanos: i32::try_from(nanos).unwrap_or_default(),
    }
}

pub(super) fn failed(error: tokio_postgres::Error) -> Error {
    Error::Internal(error.to_string(), Outcome::Unknown)
}
