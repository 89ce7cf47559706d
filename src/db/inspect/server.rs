//! What kind of server a database has, and how far it is away.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

use crate::db::inspect::look::{InspectError, Look};
use crate::db::roles::RolePower;

/// How often the round trip and the clock are measured; the shortest round trip counts.
const SAMPLES: usize = 7;

/// The version of a server.
#[derive(Clone, Debug)]
pub(crate) struct ServerVersion {
    /// The major version, such as 17.
    pub(crate) major: i32,
    /// As the server names it, such as `17.5 (Debian 17.5-1)`.
    pub(crate) name: String,
}

pub(crate) async fn version(look: &Look<'_>) -> Result<ServerVersion, InspectError> {
    let sql =
        "SELECT current_setting('server_version_num')::int4, current_setting('server_version')";
    let row = look.row(sql, &[]).await?;
    let number: i32 = row.get(0);
    Ok(ServerVersion {
        major: number / 10_000,
        name: row.get(1),
    })
}

/// A session as its server sees it.
#[derive(Clone, Debug)]
pub(crate) struct SessionFacts {
    pub(crate) encoding: String,
    pub(crate) lc_messages: String,
    /// The name of the role, with quotes if SQL needs them.
    pub(crate) role: String,
    /// The name of the database, likewise.
    pub(crate) database: String,
    /// Whether the session is encrypted, where the connection ends at the server itself.
    pub(crate) is_encrypted: bool,
    /// The version of TLS, if it is.
    pub(crate) tls_version: Option<String>,
    pub(crate) is_standby: bool,
    /// Whether it came by a unix socket or a loopback address.
    pub(crate) is_local: bool,
    /// Whether the role sees what the sessions of others do.
    pub(crate) sees_others: bool,
}

pub(crate) async fn session(look: &Look<'_>) -> Result<SessionFacts, InspectError> {
    let sql = "SELECT current_setting('server_encoding'), current_setting('lc_messages'), quote_ident(current_user),
            coalesce((SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()), false),
            (SELECT version::text FROM pg_stat_ssl WHERE pid = pg_backend_pid()),
            pg_is_in_recovery(),
            coalesce(host(inet_client_addr())::inet << '127.0.0.0/8' OR host(inet_client_addr()) = '::1', true),
            pg_has_role(current_user, 'pg_read_all_stats', 'USAGE'), quote_ident(current_database())";
    let row = look.row(sql, &[]).await?;
    Ok(SessionFacts {
        encoding: row.get(0),
        lc_messages: row.get(1),
        role: row.get(2),
        is_encrypted: row.get(3),
        tls_version: row.get(4),
        is_standby: row.get(5),
        is_local: row.get(6),
        sees_others: row.get(7),
        database: row.get(8),
    })
}

/// Bytes of the database's files.
pub(crate) async fn database_bytes(look: &Look<'_>) -> Result<i64, InspectError> {
    let sql = "SELECT pg_database_size(current_database())";
    Ok(look.row(sql, &[]).await?.get(0))
}

/// How far away a server is, and by how much its clock differs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ClockFacts {
    /// The shortest of several round trips.
    pub(crate) round_trip: Duration,
    /// By how many seconds the database's clock is ahead of this machine's; negative if it is behind. It is exact to half
    /// of the round trip.
    pub(crate) ahead_s: f64,
}

pub(crate) async fn clock(look: &Look<'_>) -> Result<ClockFacts, InspectError> {
    let sql = "SELECT extract(epoch FROM clock_timestamp())::float8";
    let mut best: Option<ClockFacts> = None;
    for _ in 0..SAMPLES {
        let (before, begun) = (unix_seconds(), Instant::now());
        let theirs: f64 = look.row(sql, &[]).await?.get(0);
        let round_trip = begun.elapsed();
        if best.is_none_or(|best| round_trip < best.round_trip) {
            best = Some(ClockFacts {
                round_trip,
                ahead_s: theirs - (before + round_trip.as_secs_f64() / 2.0),
            });
        }
    }
    best.ok_or_else(|| InspectError::Failed("the clock was not read".into()))
}

fn unix_seconds() -> f64 {
    // A clock before 1970 shows as one that is far behind.
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs_f64()
}

/// What the role of this session may do with the tables.
pub(crate) async fn role_power(look: &Look<'_>) -> Result<RolePower, InspectError> {
    let role: String = look.row("SELECT current_user::text", &[]).await?.get(0);
    let power = RolePower::of(look.client(), &role).await?;
    power.ok_or_else(|| InspectError::Failed(format!("the role {role:?} was dropped")))
}
