//! `earmark archive`: moves sealed periods from the database into files. Also `earmark verify --archive-directory`.
//!
//! What was done is printed to standard output, one line each.

use std::path::Path;

use crate::cli::failure::CliFailure;
use crate::cli::output::print;
use crate::config::ArchiveArgs;
use crate::db::connect::Connector;
use crate::ledger::archive::ArchiveError;
use crate::ledger::archive::run::{ArchiveOptions, ArchiveStep, archive};
use crate::ledger::archive::verify::verify_archive;
use crate::limits::VERIFY_BREACHES_MAX;

pub(super) async fn run(args: &ArchiveArgs) -> Result<(), CliFailure> {
    let connector = Connector::new(&args.database.database_url)
        .map_err(|error| CliFailure::setting(format!("--database-url: {error}")))?;
    connector.warn_of_unverified_server();
    let options = ArchiveOptions {
        directory: args.directory.clone(),
        keep: args.keep,
        drop: args.drop,
    };
    let mut count = 0;
    archive(&connector, &options, |step| {
        if let Some(line) = step_line(step) {
            count += 1;
            print(&line);
        }
    })
    .await
    .map_err(|error| match error {
        ArchiveError::Connect(error) => CliFailure::setting(format!("--database-url: {error}")),
        other => CliFailure::new(other),
    })?;
    if count == 0 {
        print("There is no period to archive.\n");
    }
    Ok(())
}

/// What is printed of a step; nothing of those that are not worth a line.
fn step_line(step: &ArchiveStep) -> Option<String> {
    Some(match step {
        ArchiveStep::Written(_) | ArchiveStep::Completed(_) => return None,
        ArchiveStep::Archived(files) => format!(
            "Archived {}: {} entries and {} allocations in {}, manifest {}.\n",
            files.bounds,
            files.entries,
            files.records,
            files.folder.display(),
            files.manifest_digest
        ),
        ArchiveStep::Left(left) => format!(
            "Left {} on line: {} or more of its allocations are open, or were closed after the archived periods.\n",
            left.partition, left.records
        ),
        ArchiveStep::Waiting {
            bounds,
            partition_end,
        } => format!(
            "The period {bounds} waits for those that are in the same partition of the journal, which ends {}.\n",
            partition_end.map_or("never".into(), |end| format!("at {end}"))
        ),
        ArchiveStep::Dropped(table) => format!("Dropped {table}.\n"),
    })
}

/// Checks an archive, against a database too if there is one.
pub(super) async fn verify(directory: &Path, url: Option<&str>) -> Result<(), CliFailure> {
    let connector = url.map(Connector::new).transpose();
    let connector =
        connector.map_err(|error| CliFailure::setting(format!("--database-url: {error}")))?;
    if let Some(connector) = &connector {
        connector.warn_of_unverified_server();
    }
    let mut shown = 0;
    let summary = verify_archive(directory, connector.as_ref(), |fault| {
        shown += 1;
        if shown <= VERIFY_BREACHES_MAX {
            print(&format!("{fault}\n"));
        }
    });
    let summary = summary.await.map_err(CliFailure::setting)?;
    if summary.periods == 0 && summary.faults == 0 {
        let text = format!("{} has no archived period", directory.display());
        return Err(CliFailure::setting(text));
    }
    let compared = match connector {
        Some(_) => "what was sealed, and what the database says was archived",
        None => "what was sealed",
    };
    let result = match summary.faults {
        0 => format!("the files are {compared}"),
        1 => "1 fault".into(),
        faults => format!("{faults} faults"),
    };
    print(&format!(
        "{} archived periods, {} entries, {} allocations: {result}.\n",
        summary.periods, summary.entries, summary.records
    ));
    match summary.faults {
        0 => Ok(()),
        _ => Err(CliFailure::new(
            "the archive is not what was sealed, as printed; nothing was repaired",
        )),
    }
}
