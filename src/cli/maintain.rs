//! `earmark maintain`: makes partitions ahead of the time that their rows will have, and deletes request ids that are no longer
//! kept.

use crate::cli::failure::CliFailure;
use crate::cli::output::print;
use crate::config::MaintainArgs;
use crate::db::connect::{ConnectError, Connector};
use crate::db::partitions::{self, MaintainError, PartitionRules};
use crate::db::request_key_retention::{
    self, ExpiredRequestKeys, RequestKeyAction, RequestKeyError,
};

pub(super) async fn run(args: &MaintainArgs) -> Result<(), CliFailure> {
    let url = &args.database.database_url;
    Connector::new(url)
        .map_err(|error| CliFailure::setting(format!("--database-url: {error}")))?
        .warn_of_unverified_server();
    let rules = args.partitions.rules();
    let is_complete = if args.dry_run {
        let planned = partitions::planned(url, rules).await.map_err(failure)?;
        for change in &planned {
            print(&format!("Would make {change}.\n"));
        }
        planned.is_empty()
    } else {
        make(url, rules).await?
    };
    if is_complete {
        print("No partition is missing.\n");
    }
    expire_request_keys(url, args).await
}

/// Deletes the request ids that are no longer kept, or with `--dry-run` counts them, and prints how many they are.
async fn expire_request_keys(url: &str, args: &MaintainArgs) -> Result<(), CliFailure> {
    let (action, done) = if args.dry_run {
        (RequestKeyAction::Count, "Would delete")
    } else {
        (RequestKeyAction::Delete, "Deleted")
    };
    let expired = request_key_retention::expire(url, args.request_keys_kept, action)
        .await
        .map_err(|error| match error {
            RequestKeyError::Connect(error) => unreachable(&error),
            other => CliFailure::new(other),
        })?;
    if expired.count > 0 {
        let ExpiredRequestKeys { count, before } = expired;
        print(&format!("{done} {count} request ids of before {before}.\n"));
    }
    Ok(())
}

/// Makes the partitions that are missing, and prints each. Returns whether none was.
pub(super) async fn make(url: &str, rules: PartitionRules) -> Result<bool, CliFailure> {
    let made = partitions::maintain(url, rules).await.map_err(failure)?;
    for change in &made {
        print(&format!("Made {change}.\n"));
    }
    Ok(made.is_empty())
}

fn failure(error: MaintainError) -> CliFailure {
    match error {
        MaintainError::Connect(error) => unreachable(&error),
        other => CliFailure::new(other),
    }
}

/// The failure of a database that cannot be connected to.
fn unreachable(error: &ConnectError) -> CliFailure {
    CliFailure::setting(format!("--database-url: {error}"))
}
