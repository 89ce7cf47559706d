//! `earmark seal`: seals the periods of the journal that have ended.
//!
//! Each sealed period is printed to standard output, one line each.

use crate::cli::failure::CliFailure;
use crate::cli::output::print;
use crate::config::SealArgs;
use crate::db::connect::Connector;
use crate::ledger::seal::model::PeriodSeal;
use crate::ledger::seal::run::{SealError, SealOptions, seal};

pub(super) async fn run(args: &SealArgs) -> Result<(), CliFailure> {
    let connector = Connector::new(&args.database.database_url)
        .map_err(|error| CliFailure::setting(format!("--database-url: {error}")))?;
    connector.warn_of_unverified_server();
    let options = SealOptions {
        length: args.period.calendar(),
        grace: args.after,
        until: args.until,
    };
    let mut count = 0;
    seal(&connector, &options, |period| {
        count += 1;
        print(&period_line(period));
    })
    .await
    .map_err(|error| match error {
        SealError::Connect(error) => CliFailure::setting(format!("--database-url: {error}")),
        error @ SealError::NotFinished { .. } => CliFailure::setting(format!("--until: {error}")),
        other => CliFailure::new(other),
    })?;
    if count == 0 {
        print("There is no period to seal.\n");
    }
    Ok(())
}

fn period_line(seal: &PeriodSeal) -> String {
    format!(
        "Sealed {}: {} entries of {} owners, digest {}.\n",
        seal.bounds, seal.entries, seal.owners, seal.digest
    )
}
