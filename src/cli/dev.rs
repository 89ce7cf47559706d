//! `earmark dev`: a server with demo data and a PostgreSQL of its own.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use earmark_dev_postgres::{Cluster, ClusterOptions};
use tokio_util::task::AbortOnDropHandle;
use uuid::Uuid;

use crate::app::App;
use crate::auth::dev_key::{AUDIENCE, DevClaims, DevKey, ISSUER, JWKS_FILE};
use crate::auth::jwks::{Jwks, JwksSource};
use crate::auth::scope::Scope;
use crate::auth::token::{TokenRules, TokenVerifier};
use crate::cli::failure::CliFailure;
use crate::cli::greeting::greeting;
use crate::cli::healthcheck;
use crate::cli::listen::listen;
use crate::cli::output::print;
use crate::cli::{metrics, open_files, traces};
use crate::config::DevArgs;
use crate::db::connect::Connector;
use crate::db::partitions::{self, PartitionRules};
use crate::db::{migrate, roles};
use crate::demo::{self, DemoIds};
use crate::limits::DEV_MAINTAIN_INTERVAL;
use crate::server::drain::Shutdown;
use crate::server::{self, ClosingHook, ServerParts, ServerSettings};

/// The name of the server's database in the development cluster.
pub(super) const DATABASE: &str = "earmark";
/// The role that the server connects as. The cluster's superuser owns the tables.
const SERVER_ROLE: &str = "earmark_server";
/// How long the printed token is valid: longer than a working day.
const TOKEN_TTL: Duration = Duration::from_secs(24 * 60 * 60);
/// Pause between two health checks before the greeting is printed.
const HEALTH_CHECK_PAUSE: Duration = Duration::from_millis(20);

pub(super) async fn run(args: DevArgs) -> Result<(), CliFailure> {
    // Before anything is started, so that Ctrl-C always leads to an orderly shutdown of PostgreSQL.
    let shutdown = Shutdown::on_signals()
        .map_err(|error| CliFailure::new(format!("cannot handle SIGTERM and SIGINT: {error}")))?;
    // Before anything that is measured.
    let metrics = metrics::start(&args.telemetry).await?;
    // No load balancer has to notice that a development server stops.
    let settings = args.server.settings(Duration::ZERO);
    open_files::raise_limit(&settings, &args.connections.settings(args.server.calls_max));
    let traces = traces::start(&args.telemetry, &args.traces)?;
    let listener = listen(&args.server.listen, "--listen").await?;
    let address = listener.local_addr().map_err(CliFailure::new)?;
    tracing::info!("starting PostgreSQL; its first start takes some seconds");
    let starting = Cluster::start(ClusterOptions {
        binaries: args.postgres_bin.clone(),
        fresh: args.fresh,
        ..ClusterOptions::new(&args.data.data_dir)
    });
    let Some(cluster) = shutdown.or_sooner(starting).await else {
        tracing::info!("stopped before PostgreSQL was started");
        return Ok(());
    };
    let cluster = cluster.map_err(CliFailure::new)?;
    for note in cluster.notes() {
        tracing::info!("{note}");
    }

    match shutdown.or_sooner(prepare(&args, &cluster)).await {
        Some(Ok(prepared)) => {
            let address = connectable(address);
            let (demo, token) = (&prepared.demo, &prepared.token);
            let text = greeting(address, &args, demo, token, &cluster.url(DATABASE));
            let _maintenance =
                AbortOnDropHandle::new(tokio::spawn(maintain_daily(cluster.url(DATABASE))));
            let _greeter = AbortOnDropHandle::new(tokio::spawn(print_once_healthy(address, text)));
            let prepared = PreparedServer {
                metrics,
                traces,
                ..prepared
            };
            serve(listener, settings, prepared, cluster, shutdown).await
        }
        None => {
            tracing::info!("stopped before the server was started");
            cluster.stop().await.map_err(CliFailure::new)
        }
        Some(Err(failure)) => {
            // The first failure is the one to report, even if the cluster cannot be stopped either.
            _ = cluster.stop().await;
            Err(failure)
        }
    }
}

/// What [`serve`] needs, made from a cluster that runs.
struct PreparedServer {
    app: App,
    verifier: TokenVerifier,
    /// Ends the export of traces, if they are exported.
    traces: Option<ClosingHook>,
    demo: DemoIds,
    token: String,
    metrics: Option<ClosingHook>,
}

async fn prepare(args: &DevArgs, cluster: &Cluster) -> Result<PreparedServer, CliFailure> {
    cluster
        .create_database_if_missing(DATABASE)
        .await
        .map_err(CliFailure::new)?;
    let url = cluster.url(DATABASE);
    migrate::run(&url).await.map_err(|error| {
        CliFailure::new(format!(
            "the development database cannot be migrated: {error}; `earmark dev --fresh` deletes it and creates a new one"
        ))
    })?;
    maintain(&url).await?;
    // As in production: the role that owns the tables migrates, and the server connects as another.
    cluster
        .create_role_if_missing(SERVER_ROLE)
        .await
        .map_err(CliFailure::new)?;
    roles::grant(&url, SERVER_ROLE)
        .await
        .map_err(CliFailure::new)?;
    let server_url = cluster.url_as(SERVER_ROLE, DATABASE);
    let connector = Connector::new(&server_url).map_err(CliFailure::new)?;
    let app = App::start(connector, &args.connections.settings(args.server.calls_max))
        .map_err(|error| CliFailure::new(format!("cannot start the writers' threads: {error}")))?;
    let demo = demo::load(app.routes()).await.map_err(|status| {
        let (code, text) = (status.code(), status.message());
        CliFailure::new(format!(
            "the demo data cannot be loaded: {code:?}: {text} `earmark dev --fresh` deletes the development database and \
             creates a new one"
        ))
    })?;

    let data_dir = &args.data.data_dir;
    let key = DevKey::open_or_create(data_dir).map_err(CliFailure::new)?;
    let jwks = data_dir.join(JWKS_FILE);
    let keys = Jwks::open(JwksSource::File(jwks.clone()))
        .await
        .map_err(|error| CliFailure::new(format!("{}: {error}", jwks.display())))?;
    let rules = TokenRules {
        // `earmark token --ttl` makes tokens that last as long as a developer likes.
        lifetime_max: Duration::MAX,
        ..TokenRules::new(ISSUER, AUDIENCE)
    };
    let claims = DevClaims {
        sub: "developer".into(),
        scope: Scope::ALL.map(Scope::name).join(" "),
        enterprises: enterprises(&demo),
        firm_id: Some(demo.firm.into()),
        tenant: Some(demo.tenant.0),
        companies: vec![demo.company.0],
    };
    Ok(PreparedServer {
        app,
        verifier: TokenVerifier::new(rules, keys),
        traces: None,
        demo,
        token: key.mint(&claims, TOKEN_TTL).map_err(CliFailure::new)?,
        metrics: None,
    })
}

/// Makes the partitions that are missing, as `earmark maintain` does.
async fn maintain(url: &str) -> Result<(), CliFailure> {
    let made = partitions::maintain(url, PartitionRules::default()).await;
    made.map(drop).map_err(CliFailure::new)
}

/// Does so every day from tomorrow on. What fails is tried again the day after, since no call depends on it.
async fn maintain_daily(url: String) {
    loop {
        tokio::time::sleep(DEV_MAINTAIN_INTERVAL).await;
        if let Err(failure) = maintain(&url).await {
            tracing::warn!(error = failure.text, "partitions could not be made");
        }
    }
}

/// The enterprises of the printed token: those of the demo data.
fn enterprises(demo: &DemoIds) -> Vec<Uuid> {
    [&demo.enterprise, &demo.partner_enterprise]
        .into_iter()
        .filter_map(|id| Uuid::parse_str(id).ok())
        .collect()
}

async fn serve(
    listener: tokio::net::TcpListener,
    settings: ServerSettings,
    prepared: PreparedServer,
    cluster: Cluster,
    shutdown: Shutdown,
) -> Result<(), CliFailure> {
    let PreparedServer {
        app,
        verifier,
        traces,
        metrics,
        ..
    } = prepared;
    let (routes, probe) = (app.routes(), app.probe());
    let mut closing = app.closing();
    closing.extend(traces);
    closing.extend(metrics);
    closing.push(ClosingHook::new("postgres", async move {
        if let Err(error) = cluster.stop().await {
            tracing::error!(%error, "the development cluster could not be stopped");
        }
    }));
    let parts = ServerParts {
        routes,
        verifier: Arc::new(verifier),
        probe,
        settings,
        closing,
    };
    server::serve(listener, parts, shutdown)
        .await
        .map_err(CliFailure::new)
}

/// Prints the text once the server is SERVING, so that its calls work at once, and below the log of the start.
async fn print_once_healthy(address: SocketAddr, text: String) {
    while healthcheck::check(&address.to_string(), "", None)
        .await
        .is_err()
    {
        tokio::time::sleep(HEALTH_CHECK_PAUSE).await;
    }
    print(&text);
}

/// The address that a client on this machine connects to; of a server that listens on all
/// addresses, the loopback address.
fn connectable(mut address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    address
}
