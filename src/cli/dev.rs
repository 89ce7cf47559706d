//! `earmark dev`: a server with a Postgres of its own.

use std::env;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use earmark_dev_postgres::{Cluster, ClusterOptions};
use tokio_util::task::AbortOnDropHandle;
use uuid::Uuid;

use crate::app::App;
use crate::auth::dev_key::{AUDIENCE, DevClaims, DevKey, ISSUER, JWKS_FILE};
use crate::auth::jwks::{Jwks, Source};
use crate::auth::token::Verifier;
use crate::cli::serve::listen;
use crate::cli::{Failure, healthcheck, print};
use crate::config::{DATA_DIR, DevArgs};
use crate::db::connect::Connector;
use crate::db::migrate;
use crate::demo::{self, Demo};
use crate::server::drain::Shutdown;
use crate::server::{self, ClosingHook, ServerParts};

/// The database's name in the cluster.
pub(super) const DATABASE: &str = "earmark";
/// What the printed token may do.
const SCOPES: &str = "network-admin settlement_network_read settlement_network_write allocations-read allocations-write \
    buckets-read buckets-write catalogue-read catalogue-write";
/// How long the printed token is good: longer than anybody works in one go.
const TOKEN_TTL: Duration = Duration::from_secs(24 * 60 * 60);
/// Where `make dev` puts a grpcurl, seen from the folder that it runs in.
const GRPCURL: &str = "target/tools/bin/grpcurl";
/// Time between two looks whether the server serves.
const GREETER_PAUSE: Duration = Duration::from_millis(20);

pub(super) async fn run(args: DevArgs) -> Result<(), Failure> {
    // Before anything is started: from here on Ctrl-C leads through the drain.
    let shutdown = Shutdown::on_signals().map_err(Failure::new)?;
    let listener = listen(args.server.listen).await?;
    let address = listener.local_addr().map_err(Failure::new)?;
    tracing::info!("starting Postgres; its first start takes some seconds");
    let cluster = Cluster::start(ClusterOptions {
        binaries: args.postgres_bin.clone(),
        fresh: args.fresh,
        ..ClusterOptions::new(&args.data.data_dir)
    })
    .await
    .map_err(Failure::new)?;
    for note in cluster.notes() {
        tracing::info!("{note}");
    }

    match prepare(&args, &cluster).await {
        Ok(prepared) => {
            let text = greeting(address, &args, &prepared, &cluster.url(DATABASE));
            let _greeter = AbortOnDropHandle::new(tokio::spawn(greet(address, text)));
            serve(listener, args, prepared, cluster, shutdown).await
        }
        Err(failure) => {
            // What failed is the news; the cluster's own end is not.
            _ = cluster.stop().await;
            Err(failure)
        }
    }
}

/// What stands between a cluster that runs and a server that serves.
struct Prepared {
    app: App,
    verifier: Verifier,
    demo: Demo,
    token: String,
}

async fn prepare(args: &DevArgs, cluster: &Cluster) -> Result<Prepared, Failure> {
    cluster
        .create_database_if_missing(DATABASE)
        .await
        .map_err(Failure::new)?;
    let url = cluster.url(DATABASE);
    migrate::run(&url).await.map_err(Failure::new)?;
    let connector = Connector::new(&url).map_err(Failure::new)?;
    let app = App::start(connector, &args.connections.settings()).map_err(Failure::new)?;

    let demo = demo::load(app.routes()).await.map_err(Failure::new)?;

    let data_dir = &args.data.data_dir;
    let key = DevKey::open_or_create(data_dir).map_err(Failure::new)?;
    let keys = Jwks::open(Source::File(data_dir.join(JWKS_FILE)))
        .await
        .map_err(Failure::new)?;
    let claims = DevClaims {
        sub: "developer".into(),
        scope: SCOPES.into(),
        enterprises: enterprises(&demo),
        firm_id: Some(demo.firm.into()),
        tenant: Some(demo.tenant.0),
        companies: vec![demo.company.0],
    };
    Ok(Prepared {
        app,
        verifier: Verifier::new(ISSUER, AUDIENCE, keys),
        demo,
        token: key.mint(&claims, TOKEN_TTL).map_err(Failure::new)?,
    })
}

/// The enterprises that the printed token is for: those of the demo data.
fn enterprises(demo: &Demo) -> Vec<Uuid> {
    [&demo.enterprise, &demo.partner_enterprise]
        .into_iter()
        .filter_map(|id| Uuid::parse_str(id).ok())
        .collect()
}

async fn serve(
    listener: tokio::net::TcpListener,
    args: DevArgs,
    prepared: Prepared,
    cluster: Cluster,
    shutdown: Shutdown,
) -> Result<(), Failure> {
    let Prepared { app, verifier, .. } = prepared;
    let (routes, probe) = (app.routes(), app.probe());
    let mut closing = app.closing();
    closing.push(ClosingHook::new("postgres", async move {
        if let Err(error) = cluster.stop().await {
            tracing::error!(%error, "the development cluster did not stop");
        }
    }));
    let parts = ServerParts {
        routes,
        verifier: Arc::new(verifier),
        probe,
        // Nobody balances load between development servers.
        settings: args.server.settings(Duration::ZERO),
        closing,
    };
    server::serve(listener, parts, shutdown)
        .await
        .map_err(Failure::new)
}

/// Greets once the server serves: a newcomer copies the calls at once, and what is printed last is found first.
async fn greet(address: SocketAddr, text: String) {
    while healthcheck::ask(&reachable(address).to_string(), "")
        .await
        .is_err()
    {
        tokio::time::sleep(GREETER_PAUSE).await;
    }
    print(&text);
}

/// What a newcomer needs: a token, and some calls to copy.
fn greeting(address: SocketAddr, args: &DevArgs, prepared: &Prepared, database: &str) -> String {
    let Prepared { demo, token, .. } = prepared;
    let Demo {
        enterprise,
        confirmed_connection: connection,
        tenant,
        product,
        firm,
        deal,
        company,
        ..
    } = demo;
    let address = reachable(address);
    let grpcurl = match Path::new(GRPCURL).is_file() {
        true => GRPCURL,
        false => "grpcurl",
    };
    let earmark = env::args().next().unwrap_or_else(|| "earmark".into());
    let data_dir = match args.data.data_dir.as_path() {
        default if default == Path::new(DATA_DIR) => String::new(),
        other => format!(" --data-dir '{}'", other.display()),
    };
    format!(
        "
Earmark serves on {address}, with demo data. To try it, copy this token and then any call into another terminal:

export TOKEN={token}

{grpcurl} -plaintext -H \"authorization: Bearer $TOKEN\" \\
  -d '{{\"enterprise_id\": \"{enterprise}\"}}' \\
  {address} earmark.balance.v1.BalanceService/ListClientBalances

{grpcurl} -plaintext -H \"authorization: Bearer $TOKEN\" \\
  -d '{{\"enterprise_id\": \"{enterprise}\", \"connection_id\": \"{connection}\",
       \"amount\": {{\"currency\": \"BTC\", \"quantity\": \"2500\"}}, \"client_external_id\": \"my-first\"}}' \\
  {address} earmark.allocation.v1.AllocationService/CreateAllocation

{grpcurl} -plaintext -H \"authorization: Bearer $TOKEN\" \\
  -d '{{\"enterprise_id\": \"{enterprise}\"}}' \\
  {address} earmark.allocation.v1.AllocationService/ListClientAllocations

{grpcurl} -plaintext -H \"authorization: Bearer $TOKEN\" \\
  -d '{{\"product_id\": \"{product}\"}}' \\
  {address} earmark.bucket.v1.BucketService/ListBuckets

{grpcurl} -plaintext -H \"authorization: Bearer $TOKEN\" \\
  -d '{{\"criteria\": [{{\"field\": \"dealId\", \"operator\": \"=\", \"value\": \"{deal}\"}}]}}' \\
  {address} earmark.cas.v1.CasAllocationService/SearchAllocations

{grpcurl} -plaintext -H \"authorization: Bearer $TOKEN\" \\
  -d '{{\"company_id\": {company}, \"langcode\": \"fr-CA\"}}' \\
  {address} earmark.catalogue.v1.CatalogueService/ListAvailableAllocations

The token is an administrator's, a member's of both demo enterprises, of the tenant {tenant}, the firm {firm} and the company {company}, good for a day. One that may only read:
  {earmark} token --scope settlement_network_read --enterprise {enterprise}{data_dir}
The database:
  psql '{database}'
README.md has a longer tour. Ctrl-C stops the server and its Postgres.
"
    )
}

/// Where a client on this machine finds a server that listens on every address.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    address
}
