//! `earmark migrate`: brings a database's schema up to date.

use crate::cli::failure::CliFailure;
use crate::cli::output::print;
use crate::config::MigrateArgs;
use crate::db::migrate::{self, MigrateError};

pub(super) async fn run(args: &MigrateArgs) -> Result<(), CliFailure> {
    let applied = migrate::run(&args.database.database_url)
        .await
        .map_err(|error| match error {
            MigrateError::Connect(error) => CliFailure::setting(format!("--database-url: {error}")),
            other => CliFailure::new(other),
        })?;
    if applied.is_empty() {
        print("The schema is up to date.\n");
    }
    for migration in applied {
        print(&format!("Applied {migration}.\n"));
    }
    Ok(())
}
