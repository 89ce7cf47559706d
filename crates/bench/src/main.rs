//! `make bench`, `bench-quick`, `bench-long` and `bench-compare`: Earmark beside the alternatives that do the same work, on the reader's own machine and in one run.
//!
//! The binary is load client, referee, and (started again with an argument) the servers that Earmark is held against.
//! `plan` says what is measured, `row` how arms take turns and what is judged, `arm` what one round is.

mod arm;
mod client;
mod cluster;
mod compare;
mod ids;
mod pgbench;
mod plan;
mod report;
mod results;
mod row;
mod screen;
mod seed;
mod server;
mod span;
mod textbook;
mod usage;
mod work;

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use mimalloc::MiMalloc;
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{SignalKind, signal};

use crate::cluster::BenchCluster;
use crate::compare::{BenchComparison, CompareArgs, CompareResults};
use crate::plan::{BenchRun, BenchSelection};
use crate::report::{BenchReport, Machine};
use crate::screen::Screen;
use crate::textbook::TextbookReads;

/// As in the server: the textbook's shall not lose by its allocator.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match run(&arguments) {
        Ok(code) => code,
        Err(error) => {
            _ = writeln!(io::stderr(), "bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[&str]) -> Result<ExitCode> {
    let runtime = Builder::new_multi_thread().enable_all().build()?;
    match arguments {
        ["textbook", pool_size, reads] => {
            let reads = [TextbookReads::Transaction, TextbookReads::Statement]
                .into_iter()
                .find(|known| known.name() == *reads)
                .context("an unknown kind of reads")?;
            runtime.block_on(textbook::serve_textbook(pool_size.parse()?, reads))?;
            Ok(ExitCode::SUCCESS)
        }
        ["null"] => {
            runtime.block_on(textbook::serve_null())?;
            Ok(ExitCode::SUCCESS)
        }
        ["compare", arguments @ ..] => run_comparison(runtime, &CompareArgs::read(arguments)?),
        arguments => run_suite(runtime, &BenchSelection::read(arguments)?),
    }
}

/// Measures two builds, and prints how they compare. Ends with success if no row is worse than it may be.
fn run_comparison(runtime: Runtime, args: &CompareArgs) -> Result<ExitCode> {
    let comparisons = runtime.block_on(measure_builds(args));
    runtime.shutdown_background();
    let CompareResults {
        comparisons,
        failures,
    } = comparisons?;
    let mut out = io::stdout().lock();
    writeln!(out, "{}", compare::table(&comparisons, args.floor))?;
    for failure in &failures {
        writeln!(out, "not measured: {failure}")?;
    }
    let is_worse = |comparison: &BenchComparison| comparison.is_worse(args.floor);
    Ok(
        if comparisons.iter().any(is_worse) || !failures.is_empty() {
            ExitCode::FAILURE
        } else {
            ExitCode::SUCCESS
        },
    )
}

async fn measure_builds(args: &CompareArgs) -> Result<CompareResults> {
    let folder = folder()?;
    let screen = Screen::new();
    let cluster = BenchCluster::start(&folder.join("cluster"), args.head()).await?;
    let measured = tokio::select! {
        measured = compare::compare(&cluster, &screen, &folder, args) => measured,
        interrupted = interrupted() => interrupted.and_then(|()| bail!("interrupted")),
    };
    screen.finish();
    cluster.end().await.context("ending the cluster")?;
    measured
}

/// Measures, and tells what came of it. Ends with success if every row reached what it must.
fn run_suite(runtime: Runtime, wanted: &BenchSelection) -> Result<ExitCode> {
    let report = runtime.block_on(measure(wanted));
    // A load client that was interrupted would go on until its round's end.
    runtime.shutdown_background();
    let report = report?;
    let mut out = io::stdout().lock();
    writeln!(out, "{}", report.table())?;
    let page = report.write(&folder()?, wanted.suite.report())?;
    writeln!(out, "{}", page.display())?;
    Ok(if report.is_met() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

async fn measure(wanted: &BenchSelection) -> Result<BenchReport> {
    let folder = folder()?;
    let earmark = server_program()?;
    let machine = Machine::look();
    let screen = Screen::new();
    let cluster = BenchCluster::start(&folder.join("cluster"), &earmark).await?;
    let measured = tokio::select! {
        measured = measure_on(&cluster, &screen, &folder, earmark, machine, wanted) => measured,
        interrupted = interrupted() => interrupted.and_then(|()| bail!("interrupted")),
    };
    screen.finish();
    cluster.end().await.context("ending the cluster")?;
    measured
}

async fn measure_on(
    cluster: &BenchCluster,
    screen: &Screen,
    folder: &Path,
    earmark: PathBuf,
    machine: Machine,
    wanted: &BenchSelection,
) -> Result<BenchReport> {
    let settings = cluster.settings().await?;
    let bench = BenchRun::new(cluster, screen, wanted, folder, earmark)?;
    let results = bench.run().await;
    Ok(BenchReport::new(
        machine,
        settings,
        screen.elapsed().as_secs(),
        results,
    ))
}

/// The server of the same build profile, which cargo puts beside this program.
fn server_program() -> Result<PathBuf> {
    let program = std::env::current_exe()?.with_file_name("earmark");
    if !program.is_file() {
        bail!(
            "there is no {}: build the server first, or use `make bench`, which does",
            program.display()
        );
    }
    Ok(program)
}

/// Below cargo's own folder, so that `make clean` deletes it.
fn folder() -> Result<PathBuf> {
    let program = std::env::current_exe()?;
    // The program is `<folder>/<profile>/earmark-bench`.
    let folder = program
        .ancestors()
        .nth(2)
        .context("the program is not in cargo's folder")?
        .join("bench");
    fs::create_dir_all(&folder)?;
    Ok(folder)
}

async fn interrupted() -> Result<()> {
    let (mut interrupt, mut terminate) = (
        signal(SignalKind::interrupt())?,
        signal(SignalKind::terminate())?,
    );
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    Ok(())
}
