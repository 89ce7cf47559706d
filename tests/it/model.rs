//! Random commands of many clients, through two processes of the built binary on one database, held against a reference
//! that shares no code with the server.
//!
//! The calls follow from a seed, which a failure prints and `EARMARK_MODEL_SEED` repeats. How calls interleave
//! depends on the machine. `make soak` runs a million commands.

mod buckets;
mod call;
mod check;
mod claims;
mod plan;
mod reference;
mod report;
mod round;
mod servers;
mod tampering;
mod wire;

use std::env;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use plan::Shape;
use report::{Counts, Progress, recipe};
use round::play;
use servers::{Disturbance, Servers};

/// A number from an environment variable, if it is set.
fn number(name: &str) -> Option<u64> {
    let value = env::var(name).ok()?;
    Some(value.parse().unwrap_or_else(|_| panic!("{name}={value}")))
}

/// The seed that is asked for, or any.
fn seed() -> u64 {
    number("EARMARK_MODEL_SEED").unwrap_or_else(|| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        now.expect("after 1970").as_micros() as u64 % 1_000_000_000
    })
}

fn shape(commands: usize) -> Shape {
    let commands = number("EARMARK_MODEL_COMMANDS").map_or(commands, |number| number as usize);
    Shape {
        owners: 9,
        // What one waits for, others share with him: many go faster than few.
        workers: (commands / 200).clamp(48, 256),
        commands,
    }
}

/// Calls that were not even tried: with too many of them a run says nothing.
fn assert_busy_enough(counts: &Counts) {
    let turned_away: usize = [
        "OVERLOADED",
        "CONTENTION",
        "DATABASE_UNAVAILABLE",
        "SHUTTING_DOWN",
        "DEADLINE",
    ]
    .iter()
    .map(|reason| counts.answered(reason))
    .sum();
    assert!(turned_away * 50 <= counts.total(), "{}", counts.table());
    for needed in [
        "done",
        "replayed",
        "INSUFFICIENT_BALANCE",
        "IDEMPOTENCY_KEY_REUSED",
        "ALREADY_TERMINAL",
    ] {
        assert!(
            counts.answered(needed) * 200 > counts.total(),
            "too seldom {needed}:\n{}",
            counts.table()
        );
    }
}

async fn one_round(disturbance: Disturbance, commands: usize) {
    let (seed, shape) = (seed(), shape(commands));
    eprintln!("{}", recipe(seed, shape, disturbance));
    let servers = Servers::start().await;
    let progress = Arc::new(Progress::quiet());
    let played = play(&servers, seed, shape, disturbance, &progress).await;
    let findings = played.check();
    let entries = servers.verify().await;
    let counts = &played.counts;
    eprintln!(
        "{} commands in {:?}, {entries} entries: {}\n{}",
        counts.total(),
        played.worked,
        findings.line(),
        counts.table()
    );
    assert_busy_enough(counts);
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_histories_are_linearizable() {
    one_round(Disturbance::Nothing, 4_000).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn histories_are_linearizable_with_slow_commits() {
    one_round(Disturbance::SlowCommits, 3_000).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn histories_are_linearizable_across_process_kills() {
    one_round(Disturbance::Killing, 3_000).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes minutes: `make soak`"]
async fn a_million_commands_leave_no_breach() {
    const ROUND: usize = 50_000;
    let goal = number("EARMARK_SOAK_COMMANDS").unwrap_or(1_000_000) as usize;
    let first_seed = seed();
    let progress = Arc::new(Progress::shown(goal));
    progress.say(&format!("seed {first_seed}"));
    let servers = Servers::start().await;
    let mut counts = Counts::default();
    let mut findings = check::Findings::default();
    let troubles = [
        Disturbance::Nothing,
        Disturbance::SlowCommits,
        Disturbance::Killing,
    ];
    let mut worked = std::time::Duration::ZERO;
    for round in 0.. {
        if progress.done() >= goal {
            break;
        }
        let (seed, disturbance) = (first_seed + round, troubles[round as usize % 3]);
        let played = play(&servers, seed, shape(ROUND), disturbance, &progress).await;
        let found = played.check();
        let rate = played.counts.total() as f64 / played.worked.as_secs_f64();
        progress.say(&format!(
            "round {round}, seed {seed}, {disturbance:?}: {rate:.0} commands/s; {}",
            found.line()
        ));
        worked += played.worked;
        counts.extend(played.counts);
        findings.add(found);
    }
    let entries = servers.verify().await;
    progress.finish();
    let total = counts.total();
    eprintln!(
        "{}\n{total} commands, seed {first_seed}: {:.0} commands/s while the clients were at work, {:?} in all\n{}; \
         {entries} entries verified, no breach",
        counts.table(),
        total as f64 / worked.as_secs_f64(),
        progress.elapsed(),
        findings.line()
    );
    assert!(total >= goal);
    assert_busy_enough(&counts);
}
