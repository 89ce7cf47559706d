//! Every setting of the command line: its flag, environment variable, default, and effect. The doc comments of fields
//! are the help texts: the first paragraph is shown by `-h`, all of them by `--help`, and `docs/configuration.md` has them
//! too. A setting whose value must not be shown has `hide_env_values`.

#[cfg(feature = "archive")]
mod archive;
mod doctor;
mod files;
mod listen_address;
mod partitions;
mod shown;
mod telemetry;
mod tls;
mod tokens;
mod traces;
mod values;

use std::path::PathBuf;
use std::time::Duration;

use clap::builder::NonEmptyStringValueParser;
use clap::{ArgAction, Args, ValueEnum};
use uuid::Uuid;

use crate::app::AppSettings;
#[cfg(feature = "archive")]
pub(crate) use crate::config::archive::{ArchiveArgs, VerifyArchiveArgs};
pub(crate) use crate::config::doctor::{DoctorArgs, DoctorFormat, ExaminedArgs};
pub(crate) use crate::config::files::ConfigFileArgs;
use crate::config::files::{DatabaseUrlFileArgs, LAST};
pub(crate) use crate::config::listen_address::ListenAddress;
use crate::config::partitions::{PartitionArgs, PeriodArgs};
pub(crate) use crate::config::shown::{CompletionsArgs, ManArgs, ShowConfigArgs};
pub(crate) use crate::config::telemetry::TelemetryArgs;
pub(crate) use crate::config::tls::HealthcheckTlsArgs;
use crate::config::tls::TlsArgs;
use crate::config::tokens::TokenArgs;
pub(crate) use crate::config::traces::TraceArgs;
use crate::config::values::{
    bytes_under_way, call_time, connection_time, count, duration, listen_address, log_filter,
    moment, read_limit, request_keys_kept, scopes,
};
use crate::db::pool::PoolSettings;
use crate::db::pools::ReadLimits;
use crate::server::ServerSettings;
use crate::types::time::Time;

/// The format of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// Text if standard error is a terminal, else JSON.
    Auto,
    /// One line of readable text per event.
    Text,
    /// One JSON object per line and event.
    Json,
}

/// Settings of the logs, which are written to standard error.
#[derive(Args, Clone, Debug)]
pub(crate) struct LogArgs {
    /// What is logged: a level, or levels by target
    ///
    /// A level is error, warn, info, debug or trace. Several directives are separated by commas: for example
    /// "info,earmark::access=off" leaves out the line that each call has. With error or warn, the cause of a problem
    /// may be missing from the log; debug and trace reduce the server's throughput. `serve` reads it again from the
    /// configuration file on SIGHUP.
    #[arg(
        long,
        env = "EARMARK_LOG",
        global = true,
        display_order = LAST,
        value_name = "FILTER",
        default_value = "info",
        value_parser = log_filter
    )]
    pub(crate) log: String,

    /// The format of log lines, which are written to standard error
    #[arg(
        long,
        env = "EARMARK_LOG_FORMAT",
        global = true,
        display_order = LAST,
        value_enum,
        default_value_t = LogFormat::Auto
    )]
    pub(crate) log_format: LogFormat,
}

/// The setting that selects the database.
#[derive(Args, Clone)]
pub(crate) struct DatabaseArgs {
    /// The PostgreSQL database: postgresql://user:password@host:port/name?sslmode=verify-full
    ///
    /// sslmode is disable, prefer (the default), require, verify-ca or verify-full. Only the last two check the certificate
    /// of the database server, verify-full its host name too; its roots are the machine's, or those of the PEM file that
    /// the URL's parameter sslrootcert names. Other modes are warned of if the server is on another machine. The parameters
    /// sslcert and sslkey name the PEM files of a certificate to present, and of its key. Several servers are written
    /// host1:port,host2:port, with target_session_attrs=read-write to use the one that takes writes. Prefer the environment
    /// variable, or --database-url-file, to the flag, because the arguments of a process are visible to other users.
    #[arg(
        long,
        env = "DATABASE_URL",
        hide_env_values = true,
        value_name = "URL",
        value_parser = NonEmptyStringValueParser::new()
    )]
    pub(crate) database_url: String,

    #[command(flatten)]
    url_file: DatabaseUrlFileArgs,
}

/// Settings of the connections to the database.
#[derive(Args, Clone, Debug)]
pub(crate) struct ConnectionArgs {
    /// The largest number of database connections for reads and for writes outside of the ledger, from 8 to 1000
    ///
    /// They are divided into four lanes: a fifth each for reads by key, for searches, and for writes of the network, book
    /// building and catalogues; the rest for lists. Who calls alone has half of a lane. In addition a process opens up to
    /// four connections for reads by id, two for health, one for a moment to ask whether the database answers, one for
    /// each writer, and one for each verification that runs (two at most). Too low: calls wait for a free connection, and
    /// those that wait for two seconds end with RESOURCE_EXHAUSTED (OVERLOADED). Too high: all processes together exceed
    /// PostgreSQL's max_connections, and calls end with UNAVAILABLE.
    #[arg(
        long,
        env = "EARMARK_POOL_SIZE",
        value_name = "N",
        default_value_t = PoolSettings::default().max_size,
        value_parser = clap::value_parser!(u32).range(8..=1_000)
    )]
    pub(crate) pool_size: u32,

    /// The longest time that a read by key may take, such as 500ms or 2s
    ///
    /// Its wait for a connection counts. A read that takes longer is cancelled in PostgreSQL, and ends with
    /// DEADLINE_EXCEEDED (DEADLINE, with the metadata limit). Too low: reads end although the database is only slow for a
    /// moment. Too high: while the database is overloaded, reads hold connections that nobody waits for any longer.
    #[arg(
        long,
        env = "EARMARK_READ_BY_KEY_MAX",
        value_name = "DURATION",
        default_value = "2s",
        value_parser = read_limit
    )]
    pub(crate) read_by_key_max: Duration,

    /// The longest time that a page of a list may take, such as 5s
    ///
    /// As for reads by key. Too low: large pages behind large offsets cannot be read. Too high: slow lists keep other
    /// lists of the same caller waiting.
    #[arg(
        long,
        env = "EARMARK_READ_LIST_MAX",
        value_name = "DURATION",
        default_value = "5s",
        value_parser = read_limit
    )]
    pub(crate) read_list_max: Duration,

    /// The longest time that a search of CAS allocations may take, such as 10s
    ///
    /// As for reads by key. Too low: searches of firms with many records cannot be made. Too high: searches that read
    /// everything keep the processors of the database busy.
    #[arg(
        long,
        env = "EARMARK_READ_SEARCH_MAX",
        value_name = "DURATION",
        default_value = "10s",
        value_parser = read_limit
    )]
    pub(crate) read_search_max: Duration,

    /// The number of writers of the ledger, from 1 to 64. Without it: one per processor, at least 2 and at most 8
    ///
    /// Each writer has a thread and a database connection. All of them take from one queue: one writer commits
    /// everything that waits as one transaction, and the others join in under load. Too low: the database is idle
    /// between two transactions. Too high: transactions become smaller, and the same work needs more of them.
    #[arg(
        long,
        env = "EARMARK_WRITERS",
        value_name = "N",
        value_parser = clap::value_parser!(u16).range(1..=64)
    )]
    pub(crate) writers: Option<u16>,
}

impl ConnectionArgs {
    /// The settings of [`App`](crate::app::App), with its defaults for whatever is not configurable.
    /// Half of `calls_max` may wait for one owner.
    pub(crate) fn settings(&self, calls_max: usize) -> AppSettings {
        let mut settings = AppSettings::default();
        settings.writer.owner_commands_max = calls_max.div_ceil(2);
        settings.pool.max_size = self.pool_size;
        settings.reads = ReadLimits {
            by_key: self.read_by_key_max,
            list: self.read_list_max,
            search: self.read_search_max,
        };
        if let Some(writers) = self.writers {
            settings.writer.writers = writers.into();
        }
        settings
    }
}

/// Settings of the gRPC server.
#[derive(Args, Clone, Debug)]
pub(crate) struct ServerArgs {
    /// The address or host name, and the port, to listen on; port 0 selects a free port, which the log names
    ///
    /// For example 127.0.0.1:50051, [::1]:50051, 0.0.0.0:50051 for all IPv4 addresses of this machine, or localhost:50051.
    /// A name stands for the first of its addresses that can be used, those of IPv4 before others.
    /// Without TLS (--tls-cert of serve) connections are not encrypted: outside of a trusted network, listen on an address
    /// that only a proxy which provides TLS can reach.
    #[arg(
        long,
        env = "EARMARK_LISTEN",
        value_name = "ADDRESS",
        default_value = "127.0.0.1:50051",
        value_parser = listen_address
    )]
    pub(crate) listen: ListenAddress,

    /// The largest number of calls in progress at the same time, from 1 to 1000000
    ///
    /// A call is in progress from its complete request to the last byte of its answer. Each enterprise, firm, company
    /// or tenant has at most as many as it leaves free to the others: half of them if it is alone. A call above that is
    /// answered RESOURCE_EXHAUSTED (OVERLOADED) at once. Health checks are always answered. Too low: calls are refused
    /// although the server has capacity. Too high: under overload all calls become slow and pass their deadlines,
    /// instead of some being refused.
    #[arg(
        long,
        env = "EARMARK_CALLS_MAX",
        value_name = "N",
        default_value_t = ServerSettings::default().calls_max,
        value_parser = count
    )]
    pub(crate) calls_max: usize,

    /// The largest number of bytes of requests that are received or handled at the same time, from 32MiB to 64GiB
    ///
    /// Each enterprise, firm, company or tenant takes at most a quarter of it, and so does an address whose request does
    /// not name one yet. What finds no room is answered RESOURCE_EXHAUSTED (OVERLOADED). Requests below 16 KiB that come
    /// in one piece are not counted. Too low: large submissions are refused under load. Too high: the process takes more
    /// memory, up to six times this number.
    #[arg(
        long,
        env = "EARMARK_REQUEST_BYTES_MAX",
        value_name = "BYTES",
        default_value = "64MiB",
        value_parser = bytes_under_way
    )]
    pub(crate) request_bytes_max: usize,

    /// The largest number of bytes of answers that wait to be sent at the same time, from 32MiB to 64GiB
    ///
    /// Each enterprise, firm, company or tenant takes at most a quarter of it; an answer that finds no room is replaced
    /// by RESOURCE_EXHAUSTED (OVERLOADED). Too low: many long lists at the same time are refused. Too high: clients that
    /// read slowly take more memory.
    #[arg(
        long,
        env = "EARMARK_ANSWER_BYTES_MAX",
        value_name = "BYTES",
        default_value = "64MiB",
        value_parser = bytes_under_way
    )]
    pub(crate) answer_bytes_max: usize,

    /// The largest number of open client connections, from 1 to 1000000
    ///
    /// Further connections are not accepted until another one is closed. Too low: clients wait while they connect. Too
    /// high: the process runs out of file descriptors. At its start it raises its own limit (ulimit -n) as far as the
    /// system allows, and logs a warning if that is not enough.
    #[arg(
        long,
        env = "EARMARK_CONNECTIONS_MAX",
        value_name = "N",
        default_value_t = ServerSettings::default().connections_max,
        value_parser = count
    )]
    pub(crate) connections_max: usize,

    /// The largest number of open connections of one client address. Without it: half of --connections-max
    ///
    /// The IPv6 addresses of one network of 64 bits count as one address. Up to half of --connections-max an address also
    /// has at most as many as it leaves free to others. Further connections of the address are closed at once. Too low: connections of clients that share an address, behind a proxy or NAT, are closed. Too high: one
    /// client can take all connections. If all clients come through one proxy, set it to --connections-max.
    #[arg(
        long,
        env = "EARMARK_CONNECTIONS_PER_PEER_MAX",
        value_name = "N",
        value_parser = count
    )]
    pub(crate) connections_per_peer_max: Option<usize>,

    /// The age at which clients are asked to open another connection, from 1s to 365days, such as 30m
    ///
    /// The connection gets GOAWAY at this age, give or take a tenth, and is closed when its calls have ended. Clients
    /// look up the server's name again when they connect, and so find new servers. Too low: clients spend their time
    /// connecting. Too high: new servers stay without load.
    #[arg(
        long,
        env = "EARMARK_CONNECTION_AGE_MAX",
        value_name = "DURATION",
        default_value = "30m",
        value_parser = connection_time
    )]
    pub(crate) connection_age_max: Duration,

    /// How long a connection may be without a call, from 1s to 365days, such as 10m
    ///
    /// After this time the connection gets GOAWAY and is closed. Too low: clients that call now and then connect anew
    /// for each call. Too high: connections that nobody uses take those that others need.
    #[arg(
        long,
        env = "EARMARK_CONNECTION_IDLE_MAX",
        value_name = "DURATION",
        default_value = "10m",
        value_parser = connection_time
    )]
    pub(crate) connection_idle_max: Duration,

    /// The largest number of concurrent calls (HTTP/2 streams) on one connection
    ///
    /// Clients delay further calls on the connection until another one has ended. Too low: busy clients become slow.
    /// Too high: one connection can use up the limit for calls in progress.
    #[arg(
        long,
        env = "EARMARK_STREAMS_MAX",
        value_name = "N",
        default_value_t = ServerSettings::default().streams_max,
        value_parser = clap::value_parser!(u32).range(1..)
    )]
    pub(crate) streams_max: u32,

    /// The longest time that a call may take, such as 500ms, 30s or 2m, from 100ms to 24h
    ///
    /// A call that takes longer ends with DEADLINE_EXCEEDED, or earlier if its client has set a shorter deadline.
    /// Health checks, reflection and VerifyLedger are exempt. Too low: long lists end before they are complete. Too
    /// high: calls whose clients have given up still count as calls in progress.
    #[arg(
        long,
        env = "EARMARK_CALL_MAX",
        value_name = "DURATION",
        default_value = "30s",
        value_parser = call_time
    )]
    pub(crate) call_max: Duration,

    /// How long calls in progress may continue at a shutdown, once no new ones are accepted, such as 25s or 2m
    ///
    /// After this time the connections that still have calls are closed, and writes that were accepted are committed.
    /// Too low: clients lose responses. Too high: restarts take longer, and the platform may kill the process first:
    /// its grace period (Kubernetes: terminationGracePeriodSeconds) should be at least 30 s longer than this.
    #[arg(
        long,
        env = "EARMARK_DRAIN",
        value_name = "DURATION",
        default_value = "25s",
        value_parser = duration
    )]
    pub(crate) drain: Duration,

    /// Whether gRPC reflection is served: true or false
    ///
    /// With reflection, tools such as grpcurl need no proto files. Anyone who can connect can list the RPCs and their
    /// message types, without a token.
    #[arg(
        long,
        env = "EARMARK_REFLECTION",
        value_name = "BOOL",
        default_value_t = true,
        action = ArgAction::Set
    )]
    pub(crate) reflection: bool,
}

impl ServerArgs {
    /// The settings of the server. The lame duck's time is a parameter, because `dev` has no option for it.
    pub(crate) fn settings(&self, lame_duck: Duration) -> ServerSettings {
        ServerSettings {
            calls_max: self.calls_max,
            request_bytes_max: self.request_bytes_max,
            answer_bytes_max: self.answer_bytes_max,
            call_max: self.call_max,
            connections_max: self.connections_max,
            connections_per_peer_max: self
                .connections_per_peer_max
                .unwrap_or(self.connections_max.div_ceil(2)),
            connection_age_max: self.connection_age_max,
            connection_idle_max: self.connection_idle_max,
            streams_max: self.streams_max,
            lame_duck,
            drain_max: self.drain,
            reflection: self.reflection,
            ..ServerSettings::default()
        }
    }
}

/// Settings of `earmark serve`.
#[derive(Args, Clone)]
pub(crate) struct ServeArgs {
    #[command(flatten)]
    pub(crate) database: DatabaseArgs,
    #[command(flatten)]
    pub(crate) connections: ConnectionArgs,
    #[command(flatten)]
    pub(crate) tokens: TokenArgs,
    #[command(flatten)]
    pub(crate) server: ServerArgs,
    #[command(flatten)]
    pub(crate) telemetry: TelemetryArgs,
    #[command(flatten)]
    pub(crate) traces: TraceArgs,
    #[command(flatten)]
    pub(crate) tls: TlsArgs,

    /// How long the server still accepts calls at a shutdown, after its health has changed to NOT_SERVING, such as 5s
    ///
    /// Load balancers need this time to notice and to send calls elsewhere. Too low: they still send calls, which then
    /// fail with UNAVAILABLE. Too high: restarts take longer.
    #[arg(
        long,
        env = "EARMARK_LAME_DUCK",
        value_name = "DURATION",
        default_value = "5s",
        value_parser = duration
    )]
    pub(crate) lame_duck: Duration,
}

/// The default of `--data-dir`, relative to the working directory.
pub(crate) const DATA_DIR: &str = ".earmark";

/// The setting that selects the development server.
#[derive(Args, Clone, Debug)]
pub(crate) struct DataDirArgs {
    /// The folder of the development server: its database cluster, key (dev-key.pem) and JWKS (dev-jwks.json)
    ///
    /// A relative path starts at the working directory. `earmark dev` creates the folder if it does not exist. Only one
    /// development server at a time can use it.
    #[arg(
        long,
        env = "EARMARK_DATA_DIR",
        value_name = "FOLDER",
        default_value = DATA_DIR
    )]
    pub(crate) data_dir: PathBuf,
}

/// Settings of `earmark dev`.
#[derive(Args, Clone, Debug)]
pub(crate) struct DevArgs {
    #[command(flatten)]
    pub(crate) data: DataDirArgs,

    /// Delete the development database and create a new one. The key is kept, and tokens stay valid
    #[arg(long, env = "EARMARK_FRESH")]
    pub(crate) fresh: bool,

    /// The folder that contains PostgreSQL's programs (postgres and initdb), version 15 to 18
    ///
    /// Without it, PATH, the usual folders of distributions and target/tools are searched.
    #[arg(long, env = "EARMARK_POSTGRES_BIN", value_name = "FOLDER")]
    pub(crate) postgres_bin: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) connections: ConnectionArgs,
    #[command(flatten)]
    pub(crate) server: ServerArgs,
    #[command(flatten)]
    pub(crate) telemetry: TelemetryArgs,
    #[command(flatten)]
    pub(crate) traces: TraceArgs,
}

/// Settings of `earmark migrate`.
#[derive(Args, Clone)]
pub(crate) struct MigrateArgs {
    #[command(flatten)]
    pub(crate) database: DatabaseArgs,

    /// The role that servers connect as. It is granted what they need, and nothing else on Earmark's tables
    ///
    /// The role must exist, and must be neither a superuser nor an owner of the tables. It may read all tables, write
    /// those that are written, and change or delete rows only where a server does: not in the journal. What it was
    /// granted before is revoked. Give the option at each migration, since new tables need new privileges. Without it,
    /// no privilege is changed.
    #[arg(
        long,
        env = "EARMARK_GRANT",
        value_name = "ROLE",
        value_parser = NonEmptyStringValueParser::new()
    )]
    pub(crate) grant: Option<String>,

    #[command(flatten)]
    pub(crate) partitions: PartitionArgs,
}

/// Settings of `earmark maintain`.
#[derive(Args, Clone)]
pub(crate) struct MaintainArgs {
    #[command(flatten)]
    pub(crate) database: DatabaseArgs,

    #[command(flatten)]
    pub(crate) partitions: PartitionArgs,

    /// How long a `request_id` is kept, at least 7d; older ones are deleted
    ///
    /// A call that is repeated with a deleted one is carried out again. One that has created a record is kept as long as the
    /// record is there. External ids, and request ids of buckets, are kept for ever.
    #[arg(
        long,
        env = "EARMARK_REQUEST_KEYS_KEPT",
        value_name = "DURATION",
        default_value = "400d",
        value_parser = request_keys_kept
    )]
    pub(crate) request_keys_kept: Duration,

    /// Print what would be made and deleted, and change nothing
    #[arg(long, env = "EARMARK_DRY_RUN")]
    pub(crate) dry_run: bool,
}

/// Settings of `earmark seal`.
#[derive(Args, Clone)]
pub(crate) struct SealArgs {
    #[command(flatten)]
    pub(crate) database: DatabaseArgs,

    #[command(flatten)]
    pub(crate) period: PeriodArgs,

    /// How long a period must have ended before it is sealed
    ///
    /// It must be longer than the database's clock may go back, for example after a failover to a machine whose clock is
    /// behind: an entry that was written into a sealed period would be a breach of L8.
    #[arg(
        long,
        env = "EARMARK_SEAL_AFTER",
        value_name = "DURATION",
        default_value = "1h",
        value_parser = duration
    )]
    pub(crate) after: Duration,

    /// Seal up to this time, at which the last period ends, instead of whole periods only
    ///
    /// It is written as 2026-11-30T18:00:00Z. What --after says must have passed since then.
    #[arg(long, env = "EARMARK_SEAL_UNTIL", value_name = "TIME", value_parser = moment)]
    pub(crate) until: Option<Time>,
}

/// Settings of `earmark token`.
#[derive(Args, Clone, Debug)]
pub(crate) struct MintArgs {
    /// The token's scopes, separated by spaces
    ///
    /// They are settlement_network_read, settlement_network_write, network-admin, custody-write, allocations-read,
    /// allocations-write, buckets-read, buckets-write, catalogue-read and catalogue-write. Others are refused, because
    /// the server would ignore them.
    #[arg(long, env = "EARMARK_TOKEN_SCOPE", value_name = "SCOPES", value_parser = scopes)]
    pub(crate) scope: String,

    /// The UUID of an enterprise that the bearer is a member of. For several (up to 100): repeat it, or use commas
    #[arg(
        long,
        env = "EARMARK_TOKEN_ENTERPRISE",
        value_name = "UUID",
        value_delimiter = ','
    )]
    pub(crate) enterprise: Vec<Uuid>,

    /// The id of the firm whose CAS allocations the bearer may use
    #[arg(
        long,
        env = "EARMARK_TOKEN_FIRM_ID",
        value_name = "FIRM",
        value_parser = NonEmptyStringValueParser::new()
    )]
    pub(crate) firm_id: Option<String>,

    /// The number of a company whose catalogue the bearer may use. For several (up to 100): repeat it, or use commas
    #[arg(
        long,
        env = "EARMARK_TOKEN_COMPANY",
        value_name = "N",
        value_delimiter = ','
    )]
    pub(crate) company: Vec<i64>,

    /// The UUID of the tenant whose buckets the bearer may use
    #[arg(long, env = "EARMARK_TOKEN_TENANT", value_name = "UUID")]
    pub(crate) tenant: Option<Uuid>,

    /// The bearer's name (claim sub), which is stored with what the bearer writes: 1 to 255 characters
    #[arg(
        long,
        env = "EARMARK_TOKEN_SUBJECT",
        value_name = "SUBJECT",
        default_value = "developer",
        value_parser = NonEmptyStringValueParser::new()
    )]
    pub(crate) subject: String,

    /// How long the token is valid from now on, such as 30m, 1h or 7days
    #[arg(
        long,
        env = "EARMARK_TOKEN_TTL",
        value_name = "DURATION",
        default_value = "1h",
        value_parser = duration
    )]
    pub(crate) ttl: Duration,

    #[command(flatten)]
    pub(crate) data: DataDirArgs,
}

/// Settings of `earmark healthcheck`.
#[derive(Args, Clone, Debug)]
pub(crate) struct HealthcheckArgs {
    /// The host and port of the server
    #[arg(
        long,
        env = "EARMARK_ADDRESS",
        value_name = "ADDRESS",
        default_value = "127.0.0.1:50051"
    )]
    pub(crate) address: String,

    /// The service to check: empty for all of them, the full name of one, "reads" or "liveness"
    ///
    /// A full name is, for example, earmark.balance.v1.BalanceService. All services have the same health: the database
    /// answers, has its migrations, and takes writes. "reads" does without the last; "liveness" asks no more than
    /// whether the process itself answers.
    #[arg(long, env = "EARMARK_SERVICE", value_name = "NAME", default_value = "")]
    pub(crate) service: String,

    /// How long to wait for the answer, such as 500ms or 3s; no answer in this time is a failure
    #[arg(
        long,
        env = "EARMARK_TIMEOUT",
        value_name = "DURATION",
        default_value = "3s",
        value_parser = duration
    )]
    pub(crate) timeout: Duration,

    #[command(flatten)]
    pub(crate) tls: HealthcheckTlsArgs,
}

/// Settings of `earmark verify`.
#[derive(Args, Clone)]
pub(crate) struct VerifyArgs {
    /// The PostgreSQL database, as for serve
    ///
    /// It is written postgresql://user:password@host:port/name?sslmode=verify-full.
    #[cfg_attr(
        feature = "dev",
        doc = " Without it: that of the running development server in the data folder."
    )]
    #[arg(
        long,
        env = "DATABASE_URL",
        hide_env_values = true,
        value_name = "URL",
        value_parser = NonEmptyStringValueParser::new()
    )]
    pub(crate) database_url: Option<String>,

    #[command(flatten)]
    url_file: DatabaseUrlFileArgs,

    #[cfg(feature = "dev")]
    #[command(flatten)]
    pub(crate) data: DataDirArgs,

    /// Do not hash the entries of sealed periods again
    ///
    /// What is sealed of each owner is trusted then: only the carry-forwards, and the chain of the periods, are checked
    /// for L8. The other invariants are checked in full.
    #[arg(long, env = "EARMARK_VERIFY_CHAIN", action = ArgAction::SetTrue)]
    pub(crate) chain: bool,

    #[cfg(feature = "archive")]
    #[command(flatten)]
    pub(crate) archive: VerifyArchiveArgs,
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(clap::Parser)]
    struct OnlyServer {
        #[command(flatten)]
        server: ServerArgs,
    }

    #[test]
    fn one_peer_has_half_of_the_connections_unless_it_is_set() {
        let per_peer = |arguments: &[&str]| {
            let parsed = OnlyServer::try_parse_from([&["earmark"], arguments].concat());
            let settings = parsed.expect("arguments").server.settings(Duration::ZERO);
            settings.connections_per_peer_max
        };
        let default = ServerSettings::default().connections_per_peer_max;
        assert_eq!(per_peer(&[]), default);
        assert_eq!(per_peer(&["--connections-max", "1"]), 1);
        assert_eq!(per_peer(&["--connections-max", "300"]), 150);
        let both = [
            "--connections-max",
            "300",
            "--connections-per-peer-max",
            "300",
        ];
        assert_eq!(per_peer(&both), 300);
    }
}
