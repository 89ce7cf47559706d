//! Attacks one after the other or together, and what is made of their figures.

use std::fs;
use std::io::{self, Write as _};
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{sleep, timeout};

use crate::attack::{Attack, AttackTarget};
use crate::attacks;
use crate::cli::{AllAtOnceArgs, RunArgs};
use crate::memory_limit::{MemoryCgroup, MemoryWatch};
use crate::report::{AttackFigures, RSS_MAX_MIB, table};
use crate::server::{AttackedServer, ServerProgram};
use crate::stage::AttackStage;
use crate::victim::{Victim, VictimFigures};

/// Calls before anything is measured: connections are made and statements prepared.
const WARM_UP: Duration = Duration::from_secs(1);
/// How long the calls of the other tenant are measured before an attack.
const QUIET: Duration = Duration::from_secs(5);
/// The deadline of the other tenant's calls.
const DEADLINE: Duration = Duration::from_secs(5);
/// The same where times are not judged.
const DEADLINE_SHORT: Duration = Duration::from_secs(25);
/// How much longer than its time an attacker may take to end.
const ATTACKER_GRACE: Duration = Duration::from_secs(30);
const SECONDS_DEFAULT: u64 = 10;
const SECONDS_SHORT: u64 = 2;

/// Attacks that no program of the server has fallen to, because a library holds against them, and how.
const HELD_BY_LIBRARIES: &[(&str, &str)] = &[
    (
        "reset",
        "h2 closes a connection with many calls that were reset before they began",
    ),
    ("continuation", "h2 limits the frames and bytes of a head"),
];

type Attacks<'a> = &'a [&'static dyn Attack];

/// `run`: whether the server held.
pub(crate) async fn run(args: &RunArgs) -> Result<bool> {
    let attacks = attacks::select(&args.names)?;
    let program = program(args.server.as_ref())?;
    let stage = AttackStage::start(&folder()?, &program, true).await?;
    let attacking = async {
        let mut rows = Vec::new();
        for attack in attacks {
            let one = AttackRun::new(
                &stage,
                program.clone(),
                args.duration(SECONDS_DEFAULT),
                args.nice,
            );
            let figures = one.measure(attack.name(), &[attack], None).await?;
            rows.push(judged(figures, true));
        }
        Ok(rows)
    };
    let rows = interruptible(attacking).await;
    stage.end().await?;
    print_held(rows?)
}

/// `unguarded`: whether every attack succeeded. Otherwise it would prove nothing about a server that holds.
pub(crate) async fn unguarded(args: &RunArgs) -> Result<bool> {
    if args.server.is_none() {
        bail!("name a server program from before the guards: --server PATH");
    }
    let attacks = attacks::select(&args.names)?;
    let program = program(args.server.as_ref())?;
    let stage = AttackStage::start(&folder()?, &program, true).await?;
    let attacking = async {
        let mut rows = Vec::new();
        for attack in attacks {
            let name = attack.name();
            if let Some((_, how)) = HELD_BY_LIBRARIES.iter().find(|(held, _)| *held == name) {
                say(&format!("{name}: left out, since {how}"));
                continue;
            }
            let duration = args.duration(SECONDS_DEFAULT);
            let one = AttackRun::new(&stage, program.clone(), duration, args.nice);
            let figures = one.measure(name, &[attack], None).await?;
            let breaches = figures.breaches(true);
            let verdict = match breaches.as_slice() {
                [] => "HELD".to_owned(),
                breaches => format!("succeeds: {}", breaches.join(", ")),
            };
            say(&format!("{name}: {verdict}"));
            rows.push((figures, verdict));
        }
        Ok(rows)
    };
    let rows: Result<Vec<_>> = interruptible(attacking).await;
    stage.end().await?;
    let rows = rows?;
    print(&table(&rows))?;
    Ok(rows
        .iter()
        .all(|(figures, _)| !figures.breaches(true).is_empty()))
}

/// `all-at-once`: whether the server held.
pub(crate) async fn all_at_once(args: &AllAtOnceArgs) -> Result<bool> {
    let attacks = attacks::select(&args.names)?;
    let program = program(args.server.as_ref())?;
    let stage = AttackStage::start(&folder()?, &program, true).await?;
    let attacking = async {
        let duration = Duration::from_secs(60 * args.minutes);
        let one = AttackRun::new(&stage, program, duration, args.nice);
        let figures = one.measure("all", &attacks, Some(args.memory)).await?;
        Ok(vec![judged(figures, true)])
    };
    let rows = interruptible(attacking).await;
    stage.end().await?;
    print_held(rows?)
}

/// How often `short` makes an attack that did not hold. The machine may do other things, and a build without optimisation
/// then misses a health check. What has no guard does not hold at any try, as `unguarded` shows.
const TRIES_SHORT: usize = 3;
/// The pause before the next try.
const PAUSE_SHORT: Duration = Duration::from_secs(2);

/// `short`: whether the server answered under all attacks. All of them are on one server.
pub(crate) async fn short(args: &RunArgs) -> Result<bool> {
    let attacks = attacks::select(&args.names)?;
    let program = program(args.server.as_ref())?;
    let folder = folder()?.join("short");
    let stage = AttackStage::start(&folder, &program, false).await?;
    let attacking = async {
        let one = AttackRun::new(&stage, program, args.duration(SECONDS_SHORT), args.nice);
        let figures = one.measure_in_turns(&attacks).await?;
        Ok(figures
            .into_iter()
            .map(|figures| judged(figures, false))
            .collect())
    };
    let rows = interruptible(attacking).await;
    stage.end().await?;
    print_held(rows?)
}

/// Attacks on one server.
struct AttackRun<'s> {
    stage: &'s AttackStage,
    program: ServerProgram,
    duration: Duration,
    /// The priority of attackers.
    nice: u8,
}

impl<'s> AttackRun<'s> {
    fn new(stage: &'s AttackStage, program: ServerProgram, duration: Duration, nice: u8) -> Self {
        Self {
            stage,
            program,
            duration,
            nice,
        }
    }

    /// Starts a server, and attacks it by all of these at the same time. `limit_mib` is what the server may use.
    async fn measure(
        &self,
        name: &str,
        attacks: Attacks<'_>,
        limit_mib: Option<u64>,
    ) -> Result<AttackFigures> {
        let url = self.stage.open(name).await?;
        let mut server = self.serve(name, &url).await?;
        let limit = limit_mib.map(|limit| (limit, MemoryCgroup::create(limit)));
        let watched_limit = match &limit {
            None => None,
            Some((mib, Ok(cgroup))) => {
                cgroup
                    .take(server.pid()?)
                    .context("limiting the server's memory")?;
                say(&format!("the server is in a cgroup of {mib} MiB"));
                None
            }
            Some((mib, Err(reason))) => {
                say(&format!(
                    "no cgroup ({reason}): the server is ended above {mib} MiB"
                ));
                Some(*mib)
            }
        };
        let memory = MemoryWatch::start(server.pid()?, watched_limit);
        let victim = self.victim(&server, DEADLINE).await?;
        let quiet = victim.run(QUIET).await;
        let attacked = self.attack(attacks, &url, &server, &victim).await?;
        let figures = AttackFigures {
            name: name.into(),
            quiet,
            attacked,
            duration: self.duration,
            rss_peak_mib: memory.peak_mib(),
            rss_max_mib: limit_mib.unwrap_or(RSS_MAX_MIB),
            logged: server.logged()?,
            judges_log: attacks.iter().all(|attack| !attack.has_token()),
            ended: server.ended()?,
        };
        server.end().await?;
        self.stage.close(name).await?;
        Ok(figures)
    }

    /// Starts one server, and attacks it by one after the other.
    async fn measure_in_turns(&self, attacks: Attacks<'_>) -> Result<Vec<AttackFigures>> {
        let url = self.stage.open("short").await?;
        let mut server = self.serve("short", &url).await?;
        let memory = MemoryWatch::start(server.pid()?, None);
        let victim = self.victim(&server, DEADLINE_SHORT).await?;
        let mut all = Vec::new();
        for attack in attacks {
            let mut tries = 0;
            let figures = loop {
                let logged = server.logged()?;
                let attacked = self.attack(&[*attack], &url, &server, &victim).await?;
                let figures = AttackFigures {
                    name: attack.name().into(),
                    quiet: victim.run(Duration::from_millis(200)).await,
                    attacked,
                    duration: self.duration,
                    rss_peak_mib: memory.peak_mib(),
                    rss_max_mib: RSS_MAX_MIB,
                    logged: server.logged()? - logged,
                    judges_log: !attack.has_token(),
                    ended: server.ended()?,
                };
                tries += 1;
                let breaches = figures.breaches(false);
                if breaches.is_empty() || tries == TRIES_SHORT {
                    break figures;
                }
                say(&format!(
                    "{}: {}; again",
                    attack.name(),
                    breaches.join(", ")
                ));
                sleep(PAUSE_SHORT).await;
            };
            all.push(figures);
        }
        server.end().await?;
        self.stage.close("short").await?;
        Ok(all)
    }

    async fn serve(&self, name: &str, url: &str) -> Result<AttackedServer> {
        let log = self.stage.folder.join(format!("{name}.log"));
        self.stage.key_server.set_hanging(false);
        AttackedServer::start(&self.program, url, &self.stage.key_server.url(), log).await
    }

    /// The other tenant, who has called already.
    async fn victim(&self, server: &AttackedServer, deadline: Duration) -> Result<Victim> {
        let tenant = Arc::clone(&self.stage.victim);
        let victim = Victim::connect(server.address, tenant, deadline).await?;
        victim.run(WARM_UP).await;
        Ok(victim)
    }

    /// Attacks a server while the other tenant calls it.
    async fn attack(
        &self,
        attacks: Attacks<'_>,
        url: &str,
        server: &AttackedServer,
        victim: &Victim,
    ) -> Result<VictimFigures> {
        self.stage.key_server.set_hanging(true);
        let mut attackers = Vec::new();
        for (index, attack) in attacks.iter().enumerate() {
            let source = match attacks.len() {
                1 => Ipv4Addr::LOCALHOST,
                // Each its own: what is limited for one address must not be what ends the others.
                _ => Ipv4Addr::new(127, 0, 1, u8::try_from(index + 1)?),
            };
            let target = AttackTarget {
                address: server.address,
                source,
                database_url: url.into(),
                token: self.stage.attacker.token.clone(),
                enterprise: self.stage.attacker.enterprise,
                connection: self.stage.attacker.connection,
            };
            attackers.push((attack.name(), self.attacker(*attack, &target)?));
        }
        let attacked = victim.run(self.duration).await;
        for (name, mut attacker) in attackers {
            let ended = timeout(ATTACKER_GRACE, attacker.wait()).await;
            let status = ended.with_context(|| format!("the attacker {name} does not end"))??;
            if !status.success() {
                bail!("the attacker {name} could not attack: {status}");
            }
        }
        self.stage.key_server.set_hanging(false);
        Ok(attacked)
    }

    fn attacker(&self, attack: &dyn Attack, target: &AttackTarget) -> Result<Child> {
        let child = Command::new("nice")
            .args(["-n", &self.nice.to_string()])
            .arg(std::env::current_exe()?)
            .args(["attacker", attack.name(), "--target"])
            .arg(serde_json::to_string(target)?)
            .args(["--seconds", &self.duration.as_secs().to_string()])
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .spawn();
        child.context("starting an attacker by `nice`")
    }
}

/// Figures with their verdict, which is shown at once.
fn judged(figures: AttackFigures, judges_times: bool) -> (AttackFigures, String) {
    let breaches = figures.breaches(judges_times);
    let verdict = match breaches.as_slice() {
        [] => "held".to_owned(),
        breaches => format!("FELL: {}", breaches.join(", ")),
    };
    say(&format!("{}: {verdict}", figures.name));
    (figures, verdict)
}

fn print_held(rows: Vec<(AttackFigures, String)>) -> Result<bool> {
    print(&table(&rows))?;
    Ok(rows.iter().all(|(_, verdict)| verdict == "held"))
}

fn print(table: &str) -> Result<()> {
    Ok(write!(io::stdout(), "{table}")?)
}

/// Says on the terminal how far it is.
fn say(line: &str) {
    _ = writeln!(io::stderr(), "{line}");
}

fn program(other: Option<&PathBuf>) -> Result<ServerProgram> {
    match other {
        None => Ok(ServerProgram::BuiltIn),
        Some(path) if path.is_file() => Ok(ServerProgram::Other(path.clone())),
        Some(path) => bail!("--server {}: there is no such file", path.display()),
    }
}

/// Below cargo's own folder, so that `make clean` deletes it.
fn folder() -> Result<PathBuf> {
    let program = std::env::current_exe()?;
    // The program is in the folder of its profile.
    let target = program.ancestors().nth(2);
    let folder = target
        .context("the program is in no folder")?
        .join("attack");
    fs::create_dir_all(&folder)?;
    Ok(folder)
}

/// Ends with an error at SIGINT and SIGTERM, so that the cluster is stopped.
async fn interruptible<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        done = work => done,
        _ = interrupt.recv() => bail!("interrupted"),
        _ = terminate.recv() => bail!("interrupted"),
    }
}
