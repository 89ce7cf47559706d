//! Finds out whether a pooler stands between the server and its database, and shares a session among clients.
//!
//! In transaction mode a pooler sends each transaction of a client to whatever connection is free. What was prepared on one
//! is unknown on another, unless the pooler prepares it there too; and settings of a session hold by chance. In statement
//! mode it refuses transactions.

use std::time::Duration;

use tokio::time::{sleep, timeout};
use tokio_postgres::{Client, Row, SimpleQueryMessage};
use uuid::Uuid;

use crate::db::connect::{ConnectError, Connector};
use crate::db::error_text::text_of;
use crate::limits::DB_ROLE_CHECK_PAUSE;

/// How often it is looked for: where others use the pooler too, a look may miss.
const LOOKS: usize = 12;
/// How long a session may take to come; after that the only one is taken to be in the other client's transaction.
const ANSWER_MAX: Duration = Duration::from_secs(2);
/// How often a session may not come before it is taken for the only one.
const WAITS_MAX: usize = 3;

/// Whose a session of the database is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sharing {
    /// Each connection has a session of its own, directly or through a pooler in session mode.
    Own,
    /// Sessions are shared, and what is prepared works on each of them.
    SharedPrepared,
    /// Sessions are shared, and what is prepared on one is unknown on another.
    Breaks,
    /// Each statement may go to another session, so that there are no transactions of several statements.
    NoTransactions,
}

/// Finds out how sessions are shared, by two connections. `None` if the database stopped to answer meanwhile.
///
/// # Errors
/// The connections cannot be made.
pub async fn sharing(connector: &Connector) -> Result<Option<Sharing>, ConnectError> {
    let (one, _driver) = connector.connect().await?;
    let (other, _other_driver) = connector.connect().await?;
    Ok(looks(&one, &other).await)
}

async fn looks(one: &Client, other: &Client) -> Option<Sharing> {
    let mut found = Sharing::Own;
    let mut waits = 0;
    for _ in 0..LOOKS {
        let own = match begin(one).await {
            Ok(session) => session,
            Err(error) if refuses_transactions(&error) => return Some(Sharing::NoTransactions),
            Err(_) => return None,
        };
        // The name of a prepared statement may be in use on a shared session, by a process that used the pooler before.
        let nonce = Uuid::new_v4().to_string();
        let prepared = match one.prepare(&format!("SELECT '{nonce}'")).await {
            Ok(prepared) => prepared,
            Err(error) if is_unknown(&error) => return Some(Sharing::Breaks),
            Err(_) => return None,
        };
        one.batch_execute("ROLLBACK").await.ok()?;
        // It gets the session that was used last, and so leaves another one to the first client.
        let taken = begin(other).await.ok()?;
        let now = timeout(ANSWER_MAX, begin(one)).await;
        if taken == own || matches!(&now, Ok(Ok(now)) if *now != own) {
            found = Sharing::SharedPrepared;
        }
        match now {
            Ok(Ok(now)) if now != own => {
                return match one.query(&prepared, &[]).await {
                    Ok(rows) if has_value(&rows, &nonce) => Some(found),
                    Ok(_) => Some(Sharing::Breaks),
                    Err(error) if is_unknown(&error) => Some(Sharing::Breaks),
                    Err(_) => None,
                };
            }
            Ok(Ok(_)) => {}
            Ok(Err(_)) => return None,
            Err(_) => waits += 1,
        }
        if waits == WAITS_MAX {
            break;
        }
        other.batch_execute("ROLLBACK").await.ok()?;
        one.batch_execute("ROLLBACK").await.ok()?;
    }
    Some(found)
}

/// Begins a transaction, and returns the number of the session that has it.
async fn begin(client: &Client) -> Result<String, tokio_postgres::Error> {
    let answer = client
        .simple_query("BEGIN; SELECT pg_backend_pid()")
        .await?;
    Ok(value_of(&answer).unwrap_or_default())
}

/// The first value of the answer.
async fn first_value(client: &Client, sql: &str) -> Option<String> {
    value_of(&client.simple_query(sql).await.ok()?)
}

fn value_of(answer: &[SimpleQueryMessage]) -> Option<String> {
    answer.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
        _ => None,
    })
}

/// Whether a session waits for the disk at COMMIT without a setting of its own, which another one may have.
async fn commits_to_disk(connector: &Connector) -> bool {
    let sql = "SELECT reset_val FROM pg_settings WHERE name = 'synchronous_commit'";
    let Ok((client, _driver)) = connector.connect().await else {
        return false;
    };
    let setting = first_value(&client, sql).await;
    setting.is_some_and(|setting| ["on", "remote_apply"].contains(&setting.as_str()))
}

/// Whether a prepared statement has answered what it was prepared for, and not what another of its name does.
fn has_value(rows: &[Row], value: &str) -> bool {
    let found = rows.first().map(|row| row.try_get::<_, &str>(0));
    matches!(found, Some(Ok(found)) if found == value)
}

/// Whether the prepared statement is not there, or is another one.
fn is_unknown(error: &tokio_postgres::Error) -> bool {
    let text = text_of(error);
    text.contains("prepared statement") || text.contains("bind message")
}

/// Whether a pooler in statement mode has ended the connection because of a BEGIN: PgBouncer has this text.
fn refuses_transactions(error: &tokio_postgres::Error) -> bool {
    text_of(error).contains("statement pooling mode")
}

/// Waits for the database, and returns why its pooler cannot be used; never returns if it can. Warns of one that can be used
/// but loses the settings of sessions.
pub async fn refusal(connector: Connector) -> &'static str {
    loop {
        match sharing(&connector).await {
            Ok(Some(Sharing::Breaks)) => {
                return "a pooler between this server and PostgreSQL shares sessions (transaction mode) and loses prepared \
                        statements: use session mode, or PgBouncer from 1.21 on with max_prepared_statements";
            }
            Ok(Some(Sharing::NoTransactions)) => {
                return "a pooler between this server and PostgreSQL refuses transactions (statement mode): use session mode, or \
                        transaction mode of PgBouncer from 1.21 on with max_prepared_statements";
            }
            Ok(Some(Sharing::SharedPrepared)) if !commits_to_disk(&connector).await => {
                return "a pooler between this server and PostgreSQL shares sessions (transaction mode), and theirs do not wait \
                        for the disk: ALTER ROLE … SET synchronous_commit = on, or use session mode";
            }
            Ok(Some(Sharing::SharedPrepared)) => {
                tracing::warn!(
                    database = connector.address(),
                    "a pooler shares sessions (transaction mode), so that time limits and other settings of sessions hold by \
                     chance: use session mode"
                );
                return std::future::pending().await;
            }
            Ok(Some(Sharing::Own)) => return std::future::pending().await,
            Ok(None) | Err(_) => sleep(DB_ROLE_CHECK_PAUSE).await,
        }
    }
}
