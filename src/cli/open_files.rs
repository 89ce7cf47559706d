//! The process's limit of open files, by which the operating system limits its connections.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::app::AppSettings;
use crate::limits::{HEALTH_CONNECTIONS_MAX, OPEN_FILES_RESERVE, VERIFY_AT_ONCE_MAX};
use crate::server::ServerSettings;

/// Raises the limit of open files as far as the system allows, and logs a warning if it is below what a server with these
/// settings can come to need. Neither keeps the server from starting: it may never have so many connections.
pub(super) fn raise_limit(server: &ServerSettings, app: &AppSettings) {
    let needed = needed(server, app);
    let limit = match raise(needed) {
        Ok(limit) => limit,
        Err(error) => {
            tracing::warn!(%error, needed, "the limit of open files (ulimit -n) cannot be raised");
            return;
        }
    };
    if limit < needed {
        tracing::warn!(
            limit,
            needed,
            connections_max = server.connections_max,
            "the limit of open files (ulimit -n) is below what --connections-max may need: raise the limit, or lower \
             --connections-max"
        );
    }
}

/// The limit that a server of this user on this machine could raise its own to, and what it can come to need.
pub(super) fn limit_and_need(
    server: &ServerSettings,
    app: &AppSettings,
) -> nix::Result<(u64, u64)> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    Ok((hard, needed(server, app)))
}

/// Sets the soft limit to the hard limit, or at least to what is needed, and returns it.
fn raise(needed: u64) -> nix::Result<u64> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    // macOS shows no hard limit, but refuses a soft one above a limit of the kernel.
    let set = |wanted: u64| {
        if wanted > soft {
            setrlimit(Resource::RLIMIT_NOFILE, wanted, hard)?;
            tracing::info!(from = soft, to = wanted, "raised the limit of open files");
        }
        Ok(wanted.max(soft))
    };
    set(hard).or_else(|_| set(needed.min(hard)))
}

/// Files that a server has open when all that is limited has reached its limit.
fn needed(server: &ServerSettings, app: &AppSettings) -> u64 {
    // One more client connection is accepted and waits, on the port for health too. Of the database: the pool, each writer with a probe of its own,
    // the pool of coalesced reads, the health probe, verifications.
    let of_clients = (server.connections_max + 1 + HEALTH_CONNECTIONS_MAX + 1) as u64;
    let of_database = u64::from(app.pool.max_size) + 2 * app.writer.writers as u64 + 3;
    of_clients + of_database + VERIFY_AT_ONCE_MAX as u64 + OPEN_FILES_RESERVE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_raised_as_far_as_it_can_be() {
        let needed = 300;
        let limit = raise(needed).expect("raised");
        let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("a limit");
        assert_eq!(soft, limit);
        assert!(soft == hard || soft >= needed, "{soft} of {hard}");
    }

    #[test]
    fn each_connection_needs_a_file() {
        let app = AppSettings::default();
        let mut server = ServerSettings::default();
        let before = needed(&server, &app);
        assert!(before > server.connections_max as u64 + u64::from(app.pool.max_size));
        server.connections_max += 1_000;
        assert_eq!(needed(&server, &app), before + 1_000);
    }
}
