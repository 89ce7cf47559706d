//! `earmark migrate`: brings a database's schema up to date, grants a server's role what it needs, and makes
//! the partitions that are missing.

use crate::cli::failure::CliFailure;
use crate::cli::maintain;
use crate::cli::output::print;
use crate::config::MigrateArgs;
use crate::db::connect::Connector;
use crate::db::migrate::{self, MigrateError};
use crate::db::roles::{self, GrantError};

pub(super) async fn run(args: &MigrateArgs) -> Result<(), CliFailure> {
    Connector::new(&args.database.database_url)
        .map_err(|error| CliFailure::setting(format!("--database-url: {error}")))?
        .warn_of_unverified_server();
    let applied = migrate::run(&args.database.database_url)
        .await
        .map_err(|error| match error {
            MigrateError::Connect(error) => CliFailure::setting(format!("--database-url: {error}")),
            error @ MigrateError::Encoding { .. } => {
                CliFailure::setting(format!("--database-url: {error}"))
            }
            other => CliFailure::new(other),
        })?;
    if applied.is_empty() {
        print("The schema is up to date.\n");
    }
    for migration in applied {
        print(&format!("Applied {migration}.\n"));
    }
    if let Some(role) = &args.grant {
        roles::grant(&args.database.database_url, role)
            .await
            .map_err(|error| match error {
                GrantError::Connect(error) => {
                    CliFailure::setting(format!("--database-url: {error}"))
                }
                GrantError::Postgres(_) | GrantError::Locked => {
                    CliFailure::new(format!("--grant {role}: {error}"))
                }
                error => CliFailure::setting(format!("--grant {role}: {error}")),
            })?;
        print(&format!("Granted {role} what a server needs.\n"));
    }
    // Last: servers need the others, and can do without these for a while.
    maintain::make(&args.database.database_url, args.partitions.rules()).await?;
    Ok(())
}
