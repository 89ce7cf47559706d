//! `make bench-compare`: two builds of the server, base and head, measured on the same rows in one run.
//!
//! Both builds serve at the same time from one cluster, each on databases that its own `earmark migrate` has made. A round is
//! four short turns in the order base, head, head, base, and every second round begins with head: a drift of the machine's
//! speed falls on both builds alike. A row is judged by the median of its rounds' ratios.

mod verdict;

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use earmark::auth::dev_key::DevKey;

pub(crate) use self::verdict::{BenchComparison, table};
use crate::arm::{Arm, ArmDriver, GrowingTable, Measured};
use crate::client::LoadWork;
use crate::cluster::BenchCluster;
use crate::ids::BenchNetwork;
use crate::plan::{CALLERS, CONNECTIONS, HOT, LARGE, SPREAD, span};
use crate::row::Metric;
use crate::screen::Screen;
use crate::seed;
use crate::server::{BenchServer, BenchServerKind, Programs};
use crate::span::Span;
use crate::work::{BenchClear, BenchCreate, BenchGet, BenchList, Tokens};

/// Rounds of every row, unless `--rounds` says otherwise.
const ROUNDS: usize = 7;
/// The least ratio head/base of a rate, unless `--floor` says otherwise; of a latency, its inverse is the most.
const FLOOR: f64 = 0.97;
/// Turns of each build in a round.
const TURNS_PER_ROUND: usize = 2;
const TURN: Span = span(500, 2_000);

/// 250,000 records in 100,000 accounts: enough that an index is as deep as at a million, and seeded in seconds.
const GETS: BenchNetwork = BenchNetwork {
    records: 50,
    ..SPREAD
};
/// One enterprise with 250,000 records.
const PAGES: BenchNetwork = BenchNetwork {
    records: 250_000,
    ..LARGE
};

/// What P13 clears: more than any build clears in nine rounds.
const CLEARS: u32 = 900_000;
/// All of them lie in one account.
const HOT_CLEARS: BenchNetwork = BenchNetwork {
    records: CLEARS,
    ..HOT
};
/// They lie in 100,000 accounts.
const SPREAD_CLEARS: BenchNetwork = BenchNetwork {
    records: CLEARS / SPREAD.enterprises,
    ..SPREAD
};

/// A row of the plan, as two builds are compared by it.
struct CompareRow {
    id: &'static str,
    work: &'static str,
    metric: Metric,
    /// The end of the names of the databases that hold the network.
    seed: &'static str,
    network: BenchNetwork,
    call: CompareCall,
    callers: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum CompareCall {
    Create,
    Clear,
    Get,
    FirstPage,
    LastPage,
}

const ROWS: [CompareRow; 8] = [
    CompareRow {
        id: "P1",
        work: "CreateAllocation, one account, 256 callers",
        metric: Metric::PerSecond,
        seed: "hot",
        network: HOT,
        call: CompareCall::Create,
        callers: CALLERS,
    },
    CompareRow {
        id: "P2",
        work: "CreateAllocation, 100,000 accounts, 256 callers",
        metric: Metric::PerSecond,
        seed: "spread",
        network: SPREAD,
        call: CompareCall::Create,
        callers: CALLERS,
    },
    CompareRow {
        id: "P4",
        work: "GetAllocation, random of 250,000, 256 callers",
        metric: Metric::PerSecond,
        seed: "gets",
        network: GETS,
        call: CompareCall::Get,
        callers: CALLERS,
    },
    CompareRow {
        id: "P5",
        work: "ListClientAllocations, first 100 of 250,000, 256 callers",
        metric: Metric::PerSecond,
        seed: "pages",
        network: PAGES,
        call: CompareCall::FirstPage,
        callers: CALLERS,
    },
    CompareRow {
        id: "P5",
        work: "ListClientAllocations, last 100 of 250,000, 256 callers",
        metric: Metric::PerSecond,
        seed: "pages",
        network: PAGES,
        call: CompareCall::LastPage,
        callers: CALLERS,
    },
    CompareRow {
        id: "P6",
        work: "CreateAllocation, a single caller",
        metric: Metric::P50,
        seed: "hot",
        network: HOT,
        call: CompareCall::Create,
        callers: 1,
    },
    CompareRow {
        id: "P13",
        work: "ClearAllocation, one account, 256 callers",
        metric: Metric::PerSecond,
        seed: "hot_clears",
        network: HOT_CLEARS,
        call: CompareCall::Clear,
        callers: CALLERS,
    },
    CompareRow {
        id: "P13",
        work: "ClearAllocation, 100,000 accounts, 256 callers",
        metric: Metric::PerSecond,
        seed: "spread_clears",
        network: SPREAD_CLEARS,
        call: CompareCall::Clear,
        callers: CALLERS,
    },
];

/// What `compare` was called with.
pub(crate) struct CompareArgs {
    base: PathBuf,
    head: PathBuf,
    rounds: usize,
    pub(crate) floor: f64,
    /// Ids of rows; all rows if it is empty.
    rows: Vec<String>,
}

impl CompareArgs {
    /// Reads `--base PROGRAM --head PROGRAM [--rounds N] [--floor RATIO] [ROW…]`.
    pub(crate) fn read(arguments: &[&str]) -> Result<Self> {
        let (mut base, mut head) = (None, None);
        let (mut rounds, mut floor, mut rows) = (ROUNDS, FLOOR, Vec::new());
        let mut rest = arguments.iter();
        while let Some(&argument) = rest.next() {
            let mut value = || {
                rest.next()
                    .with_context(|| format!("{argument} needs a value"))
            };
            match argument {
                "--base" => base = Some(PathBuf::from(value()?)),
                "--head" => head = Some(PathBuf::from(value()?)),
                "--rounds" => rounds = value()?.parse().context("--rounds: not a number")?,
                "--floor" => floor = value()?.parse().context("--floor: not a ratio")?,
                row if ROWS.iter().any(|known| known.id == row) => rows.push(row.into()),
                other => bail!(
                    "{other:?} is none of --base, --head, --rounds, --floor, P1, P2, P4, P5, P6, P13"
                ),
            }
        }
        if rounds == 0 {
            bail!("--rounds: at least 1");
        }
        if !(0.0..=1.0).contains(&floor) {
            bail!("--floor: a ratio from 0 to 1, got {floor}");
        }
        Ok(Self {
            base: base.context("--base is missing: the server program to compare with")?,
            head: head.context("--head is missing: the server program to judge")?,
            rounds,
            floor,
            rows,
        })
    }

    /// The program that makes a cluster's other databases.
    pub(crate) fn head(&self) -> &Path {
        &self.head
    }

    fn wants(&self, row: &CompareRow) -> bool {
        self.rows.is_empty() || self.rows.iter().any(|id| id == row.id)
    }
}

/// One of the two builds.
struct Build {
    /// In the names of its databases.
    name: &'static str,
    programs: Programs,
}

/// Both builds, and what they are measured with.
struct CompareRun<'a> {
    cluster: &'a BenchCluster,
    screen: &'a Screen,
    key: DevKey,
    base: Build,
    head: Build,
    /// The databases that hold their network already.
    seeded: HashSet<String>,
}

/// What came of all rows.
#[derive(Default)]
pub(crate) struct CompareResults {
    pub(crate) comparisons: Vec<BenchComparison>,
    /// Rows that could not be measured, each with the reason.
    pub(crate) failures: Vec<String>,
}

/// Measures the rows that the arguments name, one after the other. A row that fails does not end the run.
pub(crate) async fn compare(
    cluster: &BenchCluster,
    screen: &Screen,
    folder: &Path,
    args: &CompareArgs,
) -> Result<CompareResults> {
    let build = |name, program: &Path| Build {
        name,
        programs: Programs {
            earmark: program.into(),
            folder: folder.into(),
        },
    };
    let mut run = CompareRun {
        cluster,
        screen,
        key: DevKey::open_or_create(folder)?,
        base: build("base", &args.base),
        head: build("head", &args.head),
        seeded: HashSet::new(),
    };
    let mut results = CompareResults::default();
    for (index, row) in ROWS.iter().enumerate() {
        if args.wants(row) {
            match run.row(row, index, args.rounds).await {
                Ok(comparison) => results.comparisons.push(comparison),
                Err(error) => results.failures.push(format!("{}: {error:#}", row.id)),
            }
        }
    }
    Ok(results)
}

impl CompareRun<'_> {
    async fn row(
        &mut self,
        row: &CompareRow,
        index: usize,
        rounds: usize,
    ) -> Result<BenchComparison> {
        self.seed(row).await?;
        let mut base = self.arm(&self.base, row, index).await?;
        let mut head = self.arm(&self.head, row, index).await?;
        self.screen
            .stage(&format!("{} {}", row.id, row.work), rounds);
        // Statements are prepared and pages read by a first turn, which is not counted.
        for arm in [&mut base, &mut head] {
            arm.turn(self.cluster, TURN, arm.pace).await?;
        }
        for round in 0..rounds {
            self.round(round, &mut base, &mut head).await?;
            let value = |arm: &Arm| row.metric.show(row.metric.of(&arm.rounds[round]));
            let (base, head) = (value(&base), value(&head));
            self.screen
                .done(&format!("round {}: base {base}, head {head}", round + 1));
        }
        let comparison =
            BenchComparison::new((row.id, row.work), row.metric, &base.rounds, &head.rounds);
        base.end().await?;
        head.end().await?;
        Ok(comparison)
    }

    /// Four turns, of which the first and the last are the same build's.
    async fn round(&self, round: usize, base: &mut Arm, head: &mut Arm) -> Result<()> {
        self.screen.step(&format!("round {}", round + 1));
        self.cluster.checkpoint().await?;
        let (first, second) = if round.is_multiple_of(2) {
            (base, head)
        } else {
            (head, base)
        };
        let mut of_first = self.turn(first).await?;
        let mut of_second = self.turn(second).await?;
        for _ in 1..TURNS_PER_ROUND {
            of_second.add(self.turn(second).await?)?;
            of_first.add(self.turn(first).await?)?;
        }
        first.keep(of_first)?;
        second.keep(of_second)?;
        Ok(())
    }

    async fn turn(&self, arm: &mut Arm) -> Result<Measured> {
        arm.turn(self.cluster, TURN, arm.pace).await
    }

    /// Fills the row's database of each build, unless an earlier row has.
    async fn seed(&mut self, row: &CompareRow) -> Result<()> {
        for build in [&self.base, &self.head] {
            let database = format!("{}_{}", build.name, row.seed);
            if self.seeded.contains(&database) {
                continue;
            }
            self.screen.step(&format!("seeding {database}"));
            self.cluster
                .create(&database, &build.programs.earmark)
                .await?;
            seed::network(self.cluster, &database, &[row.network])
                .await
                .with_context(|| format!("seeding {database}"))?;
            self.screen.done(&format!("seeded {database}"));
            self.seeded.insert(database);
        }
        Ok(())
    }

    /// A server of the build on the row's database; what writes has a copy of its own.
    async fn arm(&self, build: &Build, row: &CompareRow, index: usize) -> Result<Arm> {
        let template = format!("{}_{}", build.name, row.seed);
        let table = match row.call {
            CompareCall::Create => Some("allocation"),
            CompareCall::Clear => Some("(SELECT FROM allocation WHERE status = 'CLEARED') cleared"),
            CompareCall::Get | CompareCall::FirstPage | CompareCall::LastPage => None,
        };
        let (database, stored) = if let Some(table) = table {
            let copy = format!("{}_{}_{index}", build.name, row.id.to_lowercase());
            self.cluster.copy(&template, &copy).await?;
            let rows = self.cluster.count(&copy, table).await?;
            (copy, Some(GrowingTable { table, rows }))
        } else {
            (template, None)
        };
        let url = self.cluster.url(&database);
        let server = BenchServer::start(&build.programs, BenchServerKind::Earmark, &url).await?;
        let tokens = match row.call {
            CompareCall::Clear => Tokens::mint_for_partner(&self.key, row.network)?,
            _ => Tokens::mint(&self.key, row.network)?,
        };
        let connections = tokens.count().max(CONNECTIONS).min(row.callers);
        let work: Arc<dyn LoadWork> = match row.call {
            CompareCall::Create => Arc::new(BenchCreate(tokens)),
            CompareCall::Clear => Arc::new(BenchClear::new(tokens)),
            CompareCall::Get => Arc::new(BenchGet(tokens)),
            CompareCall::FirstPage => Arc::new(BenchList::first_page(tokens)),
            CompareCall::LastPage => {
                let last = row.network.records / BenchList::PAGE - 1;
                let list = BenchList::first_page(tokens);
                Arc::new(list.at_page(last, server.address).await?)
            }
        };
        let how = ArmDriver::Served {
            servers: vec![server],
            work,
            connections,
        };
        Ok(Arm::new(build.name, &database, how, row.callers, stored))
    }
}
