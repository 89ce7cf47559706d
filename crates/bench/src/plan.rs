//! What is measured, and in which order.

mod arms;
mod buckets;
mod creates;
mod growth;
mod lists;
mod memory;
mod reads;

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Result, bail};
use earmark::auth::dev_key::DevKey;
use tokio::sync::Mutex;

use crate::cluster::BenchCluster;
use crate::ids::BenchNetwork;
use crate::pgbench::Pgbench;
use crate::results::BenchResults;
use crate::screen::Screen;
use crate::server::Programs;
use crate::span::Span;

/// One account, on which everybody waits for everybody. Its few records are there for the planner's statistics.
pub(crate) const HOT: BenchNetwork = BenchNetwork {
    first: 1,
    enterprises: 1,
    currencies: 1,
    records: 1_000,
};
/// 100,000 accounts with a record each.
pub(crate) const SPREAD: BenchNetwork = BenchNetwork {
    first: 1,
    enterprises: 5_000,
    currencies: 20,
    records: 20,
};
/// The same with 1,000,000 records.
const MILLION: BenchNetwork = BenchNetwork {
    records: 200,
    ..SPREAD
};
/// One enterprise with 1,000,000 records.
pub(crate) const LARGE: BenchNetwork = BenchNetwork {
    first: 1,
    enterprises: 1,
    currencies: 20,
    records: 1_000_000,
};

pub(crate) const CALLERS: usize = 256;
/// Connections of the callers of one enterprise.
pub(crate) const CONNECTIONS: usize = 8;

const EARMARK: &str = "Earmark";
const INTERACTIVE: &str = "pgbench, interactive transaction";
const ONE_STATEMENT: &str = "pgbench, one statement";
const TEXTBOOK: &str = "textbook server";

const WRITES: Span = span(1_000, 3_000);
const READS: Span = span(500, 2_500);
const SHORT: Span = span(1_000, 2_000);
/// One of a round's turns: short, so that arms that take turns meet the same machine.
const TAILS: Span = span(500, 1_500);

pub(crate) const fn span(warm_up_ms: u64, duration_ms: u64) -> Span {
    Span {
        warm_up: Duration::from_millis(warm_up_ms),
        duration: Duration::from_millis(duration_ms),
    }
}

/// Which rows belong together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Suite {
    /// Whether the design is right, in under ten minutes.
    Quick,
    /// Every service, at a million rows.
    Whole,
    /// What takes long to show: memory, and growth to ten million rows.
    Long,
}

impl Suite {
    const ALL: [Self; 3] = [Self::Quick, Self::Whole, Self::Long];

    fn name(self) -> &'static str {
        match self {
            Self::Quick => "quick",
            Self::Whole => "whole",
            Self::Long => "long",
        }
    }

    /// The reports' file name, without an ending.
    pub(crate) fn report(self) -> &'static str {
        match self {
            Self::Quick | Self::Whole => "report",
            Self::Long => "report-long",
        }
    }

    /// In the order in which they are measured.
    fn rows(self) -> &'static [&'static str] {
        match self {
            Self::Quick => &["P1", "P2", "P4", "P6"],
            Self::Whole => &["P1", "P2", "P3", "P4", "P5", "P6", "P7", "P9", "P11", "P12"],
            Self::Long => &["P8", "P10"],
        }
    }
}

/// Which rows are measured.
pub(crate) struct BenchSelection {
    pub(crate) suite: Suite,
    rows: Vec<&'static str>,
}

impl BenchSelection {
    /// A suite, and those of its rows that are named; all of them if none is.
    pub(crate) fn read(arguments: &[&str]) -> Result<Self> {
        let suite = |argument: &&str| Suite::ALL.iter().find(|suite| suite.name() == *argument);
        let (suite, named) = match arguments {
            [first, rest @ ..] if suite(first).is_some() => {
                (*suite(first).unwrap_or(&Suite::Whole), rest)
            }
            all => (Suite::Whole, all),
        };
        for name in named {
            if !suite.rows().contains(name) {
                let rows = suite.rows().join(", ");
                bail!(
                    "there is no row {name:?} in {}: its rows are {rows}",
                    suite.name()
                );
            }
        }
        // P7 is at half of what these do: of those that are named with it, or of all.
        const HALVED: [&str; 3] = ["P1", "P2", "P4"];
        let implied: &[&str] =
            if named.contains(&"P7") && !HALVED.iter().any(|row| named.contains(row)) {
                &HALVED
            } else {
                &[]
            };
        let is_wanted =
            |row: &&&str| named.is_empty() || named.contains(row) || implied.contains(row);
        let rows = suite.rows().iter().filter(is_wanted).copied().collect();
        Ok(Self { suite, rows })
    }

    fn has(&self, row: &str) -> bool {
        self.rows.contains(&row)
    }
}

/// Everything that the rows need.
pub(crate) struct BenchRun<'a> {
    pub(crate) cluster: &'a BenchCluster,
    pub(crate) screen: &'a Screen,
    wanted: &'a BenchSelection,
    programs: Programs,
    key: DevKey,
    pgbench: Option<Pgbench>,
    /// The databases that are seeded already.
    seeded: Mutex<HashSet<String>>,
}

impl<'a> BenchRun<'a> {
    pub(crate) fn new(
        cluster: &'a BenchCluster,
        screen: &'a Screen,
        wanted: &'a BenchSelection,
        folder: &Path,
        earmark: PathBuf,
    ) -> Result<Self> {
        Ok(Self {
            cluster,
            screen,
            wanted,
            key: DevKey::open_or_create(folder)?,
            programs: Programs {
                earmark,
                folder: folder.into(),
            },
            pgbench: Pgbench::find(cluster, folder),
            seeded: Mutex::default(),
        })
    }

    /// The rows, one after the other. One that fails does not keep the others from being measured.
    pub(crate) async fn run(&self) -> BenchResults {
        let mut results = BenchResults::default();
        for row in &self.wanted.rows {
            let outcome = match *row {
                "P1" => self.hot_account(&mut results).await,
                "P2" => self.many_accounts(&mut results).await,
                "P3" => self.many_a_call(&mut results).await,
                "P4" => self.gets(&mut results).await,
                "P5" => self.pages(&mut results).await,
                "P6" => self.single_caller(&mut results).await,
                "P8" => self.memory(&mut results).await,
                "P9" => self.two_processes(&mut results).await,
                "P10" => self.growth(&mut results).await,
                "P11" => self.long_lists(&mut results).await,
                "P12" => self.buckets(&mut results).await,
                // P7 is measured with those whose half it is.
                _ => Ok(()),
            };
            if let Err(error) = outcome {
                results.failures.push(format!("{row}: {error:#}"));
            }
        }
        results
    }
}
