//! `earmark verify`: checks the stored ledger against its invariants.
//!
//! Breaches and the summary are printed to standard output, one line each; progress to standard error.

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use futures_util::TryStreamExt;
use indicatif::{ProgressBar, ProgressStyle};

#[cfg(feature = "archive")]
use crate::cli::archive;
#[cfg(feature = "dev")]
use crate::cli::dev::DATABASE;
use crate::cli::failure::CliFailure;
use crate::cli::output::print;
use crate::config::VerifyArgs;
use crate::db::connect::Connector;
use crate::ledger::breach::Breach;
use crate::ledger::verify::{self, Event, Progress, SealDepth, Summary, VerifyOptions};
use crate::limits::{VERIFY_BREACHES_MAX, VERIFY_SEAL_CONNECTIONS};

pub(super) async fn run(args: VerifyArgs) -> Result<(), CliFailure> {
    #[cfg(feature = "archive")]
    if let Some(directory) = &args.archive.archive_directory {
        return archive::verify(directory, args.database_url.as_deref()).await;
    }
    let url = match args.database_url {
        Some(url) => url,
        #[cfg(feature = "dev")]
        None => {
            earmark_dev_postgres::running_url(&args.data.data_dir, DATABASE).ok_or_else(|| {
                CliFailure::setting(format!(
                    "give --database-url or start `earmark dev`: no development server runs in {}",
                    args.data.data_dir.display()
                ))
            })?
        }
        #[cfg(not(feature = "dev"))]
        None => return Err(CliFailure::setting("give --database-url")),
    };
    let connector = Connector::new(&url)
        .map_err(|error| CliFailure::setting(format!("--database-url: {error}")))?;
    connector.warn_of_unverified_server();
    let options = VerifyOptions {
        depth: if args.chain {
            SealDepth::Chain
        } else {
            SealDepth::Rehash
        },
        seal_connections: VERIFY_SEAL_CONNECTIONS,
    };
    let mut events = verify::start(&connector, options)
        .await
        .map_err(CliFailure::setting)?;
    let mut output = VerifyOutput::new();
    // A stream that ends without a summary has not checked everything, which must not look like success.
    while let Some(event) = events.try_next().await.map_err(CliFailure::setting)? {
        match event {
            Event::Progress(progress) => output.progress(progress),
            Event::Breach(breach) => output.line(&breach_line(&breach)),
            Event::Summary(summary) => {
                output.finish(&summary_line(summary, options.depth));
                return match summary.breaches {
                    0 => Ok(()),
                    _ => Err(CliFailure::new(
                        "the stored ledger breaches its invariants, as printed; nothing was repaired",
                    )),
                };
            }
        }
    }
    Err(CliFailure::setting(
        "the verification ended before everything was checked: run it again",
    ))
}

fn breach_line(breach: &Breach) -> String {
    format!("{} {breach}\n", breach.invariant.name())
}

fn summary_line(summary: Summary, depth: SealDepth) -> String {
    let Summary {
        accounts,
        entries,
        sealed,
        breaches,
    } = summary;
    let periods = match sealed.periods {
        0 => "no sealed period".to_owned(),
        1 => "1 sealed period".to_owned(),
        periods => format!("{periods} sealed periods"),
    };
    let archived = match sealed.archived_periods {
        0 => String::new(),
        periods => format!(
            " ({periods} archived, whose {} entries were not read)",
            sealed.archived_entries
        ),
    };
    let result = match (breaches, depth) {
        (0, SealDepth::Chain) if sealed.periods > 0 => {
            "L1 to L7 hold, and the chain of L8; sealed entries were not hashed again".to_owned()
        }
        (0, _) => "L1 to L8 hold".to_owned(),
        (1, _) => "1 breach".to_owned(),
        _ => format!("{breaches} breaches"),
    };
    let all_shown = usize::try_from(breaches).is_ok_and(|found| found <= VERIFY_BREACHES_MAX);
    let rest = if all_shown {
        String::new()
    } else {
        format!(", of which the first {VERIFY_BREACHES_MAX} are shown")
    };
    format!("{accounts} accounts, {entries} entries, {periods}{archived}: {result}{rest}.\n")
}

/// Shows a verification's progress: as a bar if standard error is a terminal, else as one line per
/// tenth of the accounts.
enum VerifyOutput {
    Bar(ProgressBar),
    Lines { tenths_printed: Option<i64> },
}

impl VerifyOutput {
    fn new() -> Self {
        if !io::stderr().is_terminal() {
            return Self::Lines {
                tenths_printed: None,
            };
        }
        let bar = ProgressBar::new(0);
        // Fails only if the template is malformed; the bar then has its default style.
        if let Ok(style) = ProgressStyle::with_template(
            "{spinner} {bar:40} {human_pos} of {human_len} accounts, {elapsed}",
        ) {
            bar.set_style(style);
        }
        // A large owner is one step of the progress; the spinner shows that the check still runs.
        bar.enable_steady_tick(Duration::from_millis(200));
        Self::Bar(bar)
    }

    fn progress(&mut self, progress: Progress) {
        let Progress {
            accounts_done: done,
            accounts_total: total,
        } = progress;
        match self {
            Self::Bar(bar) => {
                bar.set_length(u64::try_from(total).unwrap_or(0));
                bar.set_position(u64::try_from(done).unwrap_or(0));
            }
            Self::Lines { tenths_printed } => {
                let tenths = Some(done.saturating_mul(10) / total.max(1));
                if tenths > *tenths_printed {
                    *tenths_printed = tenths;
                    _ = writeln!(io::stderr(), "{done} of {total} accounts checked");
                }
            }
        }
    }

    fn line(&self, text: &str) {
        match self {
            Self::Bar(bar) => bar.suspend(|| print(text)),
            Self::Lines { .. } => print(text),
        }
    }

    fn finish(&self, text: &str) {
        if let Self::Bar(bar) = self {
            bar.finish_and_clear();
        }
        print(text);
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::ledger::breach::Invariant;
    use crate::ledger::verify::SealTotals;
    use crate::types::ids::{AccountId, OwnerId};
    use crate::types::unit::Unit;

    #[test]
    fn a_breach_is_one_line_that_says_where_and_what() {
        let mut breach = Breach {
            invariant: Invariant::L3,
            owner: Some(OwnerId(Uuid::from_u128(7))),
            account: Some(AccountId::OWN),
            unit: Unit::stored("BTC"),
            expected: "30".into(),
            actual: "29".into(),
        };
        assert_eq!(
            breach_line(&breach),
            "L3 owner 00000000-0000-0000-0000-000000000007, custody, BTC: expected 30, found 29\n"
        );
        (breach.owner, breach.account) = (None, None);
        assert_eq!(
            breach_line(&breach),
            "L3 all owners, all accounts, BTC: expected 30, found 29\n"
        );
    }

    fn summary(periods: i64, breaches: i64) -> Summary {
        Summary {
            accounts: 2,
            entries: 3,
            sealed: SealTotals {
                periods,
                entries: periods,
                ..SealTotals::default()
            },
            breaches,
        }
    }

    #[test]
    fn the_summary_says_when_not_all_are_shown() {
        let line = |breaches| summary_line(summary(0, breaches), SealDepth::Rehash);
        let counts = "2 accounts, 3 entries, no sealed period:";
        assert_eq!(line(0), format!("{counts} L1 to L8 hold.\n"));
        assert_eq!(line(1), format!("{counts} 1 breach.\n"));
        assert_eq!(line(1_000), format!("{counts} 1000 breaches.\n"));
        assert_eq!(
            line(1_001),
            format!("{counts} 1001 breaches, of which the first 1000 are shown.\n")
        );
    }

    #[test]
    fn the_summary_says_what_is_archived() {
        let mut summary = summary(3, 0);
        summary.sealed.archived_periods = 2;
        summary.sealed.archived_entries = 40;
        assert_eq!(
            summary_line(summary, SealDepth::Rehash),
            "2 accounts, 3 entries, 3 sealed periods (2 archived, whose 40 entries were not read): L1 to L8 hold.\n"
        );
    }

    #[test]
    fn the_summary_says_what_was_not_hashed_again() {
        assert_eq!(
            summary_line(summary(1, 0), SealDepth::Chain),
            "2 accounts, 3 entries, 1 sealed period: L1 to L7 hold, and the chain of L8; sealed entries were not hashed \
             again.\n"
        );
        assert_eq!(
            summary_line(summary(2, 0), SealDepth::Rehash),
            "2 accounts, 3 entries, 2 sealed periods: L1 to L8 hold.\n"
        );
    }
}
