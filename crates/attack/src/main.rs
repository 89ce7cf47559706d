//! `make attack`: programs that use a server as one abusive caller would, each beside calls of another tenant, which
//! must not notice it.
//!
//! `attacks` holds one module for each attack, `victim` the calls of the other tenant, and `stage` Postgres and the seeded
//! tenants. The binary is also the server under attack (`serve`) and each of
//! the attackers (`attacker`), as processes of their own.

mod attack;
mod attacker;
mod attacks;
mod cli;
mod flood;
mod key_server;
mod memory_limit;
mod report;
mod run;
mod server;
mod stage;
mod tenant;
mod victim;
mod wire;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser;
use mimalloc::MiMalloc;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::runtime::Builder;

use crate::cli::{AttackCli, AttackCommand};

/// The allocator of the server's own binary, which this one stands for.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    // These two are the server's own commands, with its own arguments.
    if matches!(
        std::env::args().nth(1).as_deref(),
        Some("serve" | "migrate")
    ) {
        // As the server's own program does. Not for attackers: programs that they start would inherit it.
        #[cfg(target_os = "linux")]
        let _ = nix::sys::prctl::set_thp_disable(true);
        return earmark::cli::main();
    }
    match execute(AttackCli::parse().command) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            _ = writeln!(io::stderr(), "attack: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// Carries a command out. `false` if a server did not hold, or if one held that should not have.
fn execute(command: AttackCommand) -> anyhow::Result<bool> {
    // An attacker holds thousands of connections, and the server inherits the limit.
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    // An attacker is one thread: it shall not take both processors of a small machine.
    let runtime = match &command {
        AttackCommand::Attacker(_) => Builder::new_current_thread().enable_all().build()?,
        _ => Builder::new_multi_thread().enable_all().build()?,
    };
    let outcome = runtime.block_on(async {
        match command {
            AttackCommand::Run(args) => run::run(&args).await,
            AttackCommand::Unguarded(args) => run::unguarded(&args).await,
            AttackCommand::AllAtOnce(args) => run::all_at_once(&args).await,
            AttackCommand::Short(args) => run::short(&args).await,
            AttackCommand::Attacker(args) => attacker::attack(&args).await,
        }
    });
    runtime.shutdown_background();
    outcome
}
