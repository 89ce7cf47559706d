//! A session of the database that no longer answers.

use std::time::Duration;

use anyhow::{Context, Result};
use futures_util::future::LocalBoxFuture;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::time::sleep;
use tokio_postgres::NoTls;

use crate::attack::{Attack, AttackTarget};

/// One backend of Postgres that serves reads is stopped, as by a dead machine behind a pooler: what a caller can bring
/// about by chance only, but what all callers then share.
pub(crate) struct FrozenAttack;

impl Attack for FrozenAttack {
    fn name(&self) -> &'static str {
        "frozen"
    }

    fn run<'t>(&'t self, target: &'t AttackTarget) -> LocalBoxFuture<'t, Result<()>> {
        Box::pin(async move {
            let (client, connection) = tokio_postgres::connect(&target.database_url, NoTls).await?;
            tokio::spawn(connection);
            // A pooled session has read something; a writer's last statement was a write or a COMMIT.
            let sql = "SELECT pid FROM pg_stat_activity \
                       WHERE datname = current_database() AND pid <> pg_backend_pid() \
                         AND backend_type = 'client backend' AND state = 'idle' AND query ILIKE '%cas_allocation%' \
                       ORDER BY query_start DESC LIMIT 1";
            let pid = loop {
                match client.query_opt(sql, &[]).await? {
                    Some(row) => break row.get(0),
                    None => sleep(Duration::from_millis(100)).await,
                }
            };
            let _frozen = FrozenBackend::freeze(pid)?;
            std::future::pending::<Result<()>>().await
        })
    }
}

/// A stopped process, which goes on when this is dropped.
struct FrozenBackend(Pid);

impl FrozenBackend {
    fn freeze(pid: i32) -> Result<Self> {
        let pid = Pid::from_raw(pid);
        kill(pid, Signal::SIGSTOP).context("stopping a backend")?;
        Ok(Self(pid))
    }
}

impl Drop for FrozenBackend {
    fn drop(&mut self) {
        _ = kill(self.0, Signal::SIGCONT);
    }
}
