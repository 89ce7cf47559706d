//! Every setting: flag, environment variable, default, and what goes wrong when it is too high or too low.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::NonEmptyStringValueParser;
use clap::{ArgAction, Args, ValueEnum};
use uuid::Uuid;

use crate::app::AppSettings;
use crate::server::Settings;

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Text on a terminal, else JSON.
    Auto,
    /// For people.
    Text,
    /// One JSON object a line, for machines.
    Json,
}

/// A place in a command's help behind its own flags, in front of `--help`.
const LAST: usize = 900;

/// Settings of the logs, which go to standard error.
#[derive(Args, Clone, Debug)]
pub struct LogArgs {
    /// What is logged: a level (error, warn, info, debug, trace), or levels by target, such as
    /// "info,earmark::access=off" for no line per call. Too low hides why something failed; debug and trace cost
    /// throughput.
    #[arg(
        long,
        env = "EARMARK_LOG",
        global = true,
        display_order = LAST,
        value_name = "FILTER",
        default_value = "info"
    )]
    pub log: String,

    /// How log lines look.
    #[arg(
        long,
        env = "EARMARK_LOG_FORMAT",
        global = true,
        display_order = LAST,
        value_enum,
        default_value_t = LogFormat::Auto
    )]
    pub log_format: LogFormat,
}

/// Which database.
#[derive(Args, Clone)]
pub struct DatabaseArgs {
    /// The database: postgresql://user:password@host:port/name?sslmode=disable|require|verify-full. The variable rather
    /// than the flag keeps the password out of the list of processes.
    #[arg(
        long,
        env = "DATABASE_URL",
        hide_env_values = true,
        value_name = "URL",
        value_parser = NonEmptyStringValueParser::new()
    )]
    pub database_url: String,
}

/// How many connections to the database.
#[derive(Args, Clone, Debug)]
pub struct ConnectionArgs {
    /// Connections for reads, at the most; reads by id have two more, the health probe and each writer one. Too low: calls
    /// wait and end as OVERLOADED. Too high: all processes together pass Postgres's max_connections.
    #[arg(
        long,
        env = "EARMARK_POOL_SIZE",
        value_name = "N",
        default_value_t = 10,
        value_parser = clap::value_parser!(u32).range(1..=1_000)
    )]
    pub pool_size: u32,

    /// Writers of the ledger, each with a connection of its own; the enterprises are divided between them. Unless given,
    /// one for each processor of this machine, from 2 to 8. Too low: Postgres waits for this process. Too high: what
    /// could be written together is written apart.
    #[arg(
        long,
        env = "EARMARK_WRITERS",
        value_name = "N",
        value_parser = clap::value_parser!(u16).range(1..=64)
    )]
    pub writers: Option<u16>,
}

impl ConnectionArgs {
    /// As the process takes them.
    pub fn settings(&self) -> AppSettings {
        let mut settings = AppSettings::default();
        settings.pool.max_size = self.pool_size;
        if let Some(writers) = self.writers {
            settings.writer.writers = writers.into();
        }
        settings
    }
}

/// Whose tokens are good.
#[derive(Args, Clone, Debug)]
pub struct TokenArgs {
    /// The keys that sign tokens, a JWKS: a file, or an http(s) URL. RS256, ES256 and EdDSA keys are used. It is read at
    /// the start, and again, at most once a minute, when a token names a key that is not in it.
    #[arg(
        long,
        env = "EARMARK_JWKS",
        value_name = "FILE|URL",
        value_parser = NonEmptyStringValueParser::new()
    )]
    pub jwks: String,

    /// The issuer: `iss` of every token, to the letter.
    #[arg(
        long,
        env = "EARMARK_ISSUER",
        value_name = "ISS",
        value_parser = NonEmptyStringValueParser::new()
    )]
    pub issuer: String,

    /// This service's name in `aud` of every token.
    #[arg(
        long,
        env = "EARMARK_AUDIENCE",
        value_name = "AUD",
        value_parser = NonEmptyStringValueParser::new()
    )]
    pub audience: String,
}

/// How calls are served.
#[derive(Args, Clone, Debug)]
pub struct ServerArgs {
    /// Address and port to listen on; port 0 takes a free one. There is no TLS: on anything but a trusted network put a
    /// proxy in front that has it.
    #[arg(
        long,
        env = "EARMARK_LISTEN",
        value_name = "ADDRESS",
        default_value = "127.0.0.1:50051"
    )]
    pub listen: SocketAddr,

    /// Calls at work at the same time; one above is answered RESOURCE_EXHAUSTED at once. Too low refuses what the server
    /// could do; too high makes all calls slow, and past their deadlines, when there are too many.
    #[arg(
        long,
        env = "EARMARK_CALLS_MAX",
        value_name = "N",
        default_value_t = Settings::default().calls_max,
        value_parser = positive
    )]
    pub calls_max: usize,

    /// Open connections; one above waits to be accepted. Too low: clients hang when they connect. Too high: the
    /// process runs out of file descriptors.
    #[arg(
        long,
        env = "EARMARK_CONNECTIONS_MAX",
        value_name = "N",
        default_value_t = Settings::default().connections_max,
        value_parser = positive
    )]
    pub connections_max: usize,

    /// Calls at the same time on one connection; the client waits above. Too low slows busy clients; too high lets one
    /// of them take all places.
    #[arg(
        long,
        env = "EARMARK_STREAMS_MAX",
        value_name = "N",
        default_value_t = Settings::default().streams_max,
        value_parser = clap::value_parser!(u32).range(1..)
    )]
    pub streams_max: u32,

    /// The longest a call may last; a client's own deadline can only be shorter. Too low ends slow lists; too high keeps
    /// places and locks for callers that have given up.
    #[arg(
        long,
        env = "EARMARK_CALL_MAX",
        value_name = "DURATION",
        default_value = "30s",
        value_parser = humantime::parse_duration
    )]
    pub call_max: Duration,

    /// How long calls may go on once the server stops; connections are cut after that. Too low loses answers; too high
    /// delays restarts, and the platform kills the process first (give it at least 30 s more than this).
    #[arg(
        long,
        env = "EARMARK_DRAIN",
        value_name = "DURATION",
        default_value = "25s",
        value_parser = humantime::parse_duration
    )]
    pub drain: Duration,

    /// Whether gRPC reflection is served (true or false). It tells everybody what RPCs there are.
    #[arg(
        long,
        env = "EARMARK_REFLECTION",
        value_name = "BOOL",
        default_value_t = true,
        action = ArgAction::Set
    )]
    pub reflection: bool,
}

impl ServerArgs {
    /// As the server takes them.
    pub fn settings(&self, lame_duck: Duration) -> Settings {
        Settings {
            calls_max: self.calls_max,
            call_max: self.call_max,
            connections_max: self.connections_max,
            streams_max: self.streams_max,
            lame_duck,
            drain_max: self.drain,
            reflection: self.reflection,
        }
    }
}

fn positive(text: &str) -> Result<usize, String> {
    match text.parse() {
        // A semaphore holds no more.
        Ok(number) if (1..=1_000_000).contains(&number) => Ok(number),
        _ => Err("must be a number from 1 to 1000000".into()),
    }
}

/// Settings of `serve`.
#[derive(Args, Clone)]
pub struct ServeArgs {
    /// Which database.
    #[command(flatten)]
    pub database: DatabaseArgs,
    /// How many connections to it.
    #[command(flatten)]
    pub connections: ConnectionArgs,
    /// Whose tokens are good.
    #[command(flatten)]
    pub tokens: TokenArgs,
    /// How calls are served.
    #[command(flatten)]
    pub server: ServerArgs,

    /// How long the server goes on serving after it has said NOT_SERVING. Too low: load balancers still send calls to a
    /// server that is gone. Too high delays restarts.
    #[arg(
        long,
        env = "EARMARK_LAME_DUCK",
        value_name = "DURATION",
        default_value = "5s",
        value_parser = humantime::parse_duration
    )]
    pub lame_duck: Duration,
}

/// Where a development server keeps what it makes, unless told otherwise.
pub const DATA_DIR: &str = ".earmark";

/// Where a development server keeps what it makes.
#[derive(Args, Clone, Debug)]
pub struct DataDirArgs {
    /// The folder of the development server: its Postgres cluster, its key (dev-key.pem) and its JWKS (dev-jwks.json).
    #[arg(
        long,
        env = "EARMARK_DATA_DIR",
        value_name = "FOLDER",
        default_value = DATA_DIR
    )]
    pub data_dir: PathBuf,
}

/// Settings of `dev`.
#[derive(Args, Clone, Debug)]
pub struct DevArgs {
    /// Where it keeps what it makes.
    #[command(flatten)]
    pub data: DataDirArgs,

    /// Delete the development database and start with a new one; the key stays, and with it every token.
    #[arg(long, env = "EARMARK_FRESH")]
    pub fresh: bool,

    /// The folder of Postgres's programs (postgres, initdb), version 15 to 18. Looked for if not given.
    #[arg(long, env = "EARMARK_POSTGRES_BIN", value_name = "FOLDER")]
    pub postgres_bin: Option<PathBuf>,

    /// How many connections to the database.
    #[command(flatten)]
    pub connections: ConnectionArgs,
    /// How calls are served.
    #[command(flatten)]
    pub server: ServerArgs,
}

/// Settings of `migrate`.
#[derive(Args, Clone)]
pub struct MigrateArgs {
    /// Which database.
    #[command(flatten)]
    pub database: DatabaseArgs,
}

/// Settings of `token`.
#[derive(Args, Clone, Debug)]
pub struct MintArgs {
    /// Scopes, separated by spaces: settlement_network_read, settlement_network_write, network-admin.
    #[arg(long, env = "EARMARK_TOKEN_SCOPE", value_name = "SCOPES")]
    pub scope: String,

    /// An enterprise (UUID) that the bearer is a member of; may be given up to 100 times.
    #[arg(
        long,
        env = "EARMARK_TOKEN_ENTERPRISE",
        value_name = "UUID",
        value_delimiter = ','
    )]
    pub enterprise: Vec<Uuid>,

    /// The firm whose CAS allocations the bearer keeps.
    #[arg(
        long,
        env = "EARMARK_TOKEN_FIRM_ID",
        value_name = "FIRM",
        value_parser = NonEmptyStringValueParser::new()
    )]
    pub firm_id: Option<String>,

    /// A company whose catalogue the bearer sees; may be given up to 100 times.
    #[arg(
        long,
        env = "EARMARK_TOKEN_COMPANY",
        value_name = "N",
        value_delimiter = ','
    )]
    pub company: Vec<i64>,

    /// The tenant (UUID) whose buckets the bearer uses.
    #[arg(long, env = "EARMARK_TOKEN_TENANT", value_name = "UUID")]
    pub tenant: Option<Uuid>,

    /// Who the bearer is.
    #[arg(
        long,
        env = "EARMARK_TOKEN_SUBJECT",
        value_name = "SUBJECT",
        default_value = "developer",
        value_parser = NonEmptyStringValueParser::new()
    )]
    pub subject: String,

    /// How long the token is good.
    #[arg(
        long,
        env = "EARMARK_TOKEN_TTL",
        value_name = "DURATION",
        default_value = "1h",
        value_parser = humantime::parse_duration
    )]
    pub ttl: Duration,

    /// Where the key is.
    #[command(flatten)]
    pub data: DataDirArgs,
}

/// Settings of `healthcheck`.
#[derive(Args, Clone, Debug)]
pub struct HealthcheckArgs {
    /// Address and port of the server.
    #[arg(
        long,
        env = "EARMARK_ADDRESS",
        value_name = "ADDRESS",
        default_value = "127.0.0.1:50051"
    )]
    pub address: String,

    /// The service to ask for: empty for all of them, a full name such as earmark.balance.v1.BalanceService, or
    /// "liveness" for the process alone.
    #[arg(long, env = "EARMARK_SERVICE", value_name = "NAME", default_value = "")]
    pub service: String,

    /// How long to wait for an answer.
    #[arg(
        long,
        env = "EARMARK_TIMEOUT",
        value_name = "DURATION",
        default_value = "3s",
        value_parser = humantime::parse_duration
    )]
    pub timeout: Duration,
}

/// Settings of `verify`.
#[derive(Args, Clone)]
pub struct VerifyArgs {
    /// The database: postgresql://user:password@host:port/name?sslmode=disable|require|verify-full.
    #[cfg_attr(
        feature = "dev",
        doc = " Without it that of the running development server."
    )]
    #[arg(
        long,
        env = "DATABASE_URL",
        hide_env_values = true,
        value_name = "URL",
        value_parser = NonEmptyStringValueParser::new()
    )]
    pub database_url: Option<String>,

    /// Where the development server is, if that is meant.
    #[cfg(feature = "dev")]
    #[command(flatten)]
    pub data: DataDirArgs,
}
