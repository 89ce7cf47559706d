//! `earmark serve`: a server on an existing PostgreSQL database.

use std::sync::Arc;

use tokio_util::task::AbortOnDropHandle;

use crate::app::App;
use crate::auth::jwks::{Jwks, JwksError};
use crate::auth::token::TokenVerifier;
use crate::cli::failure::CliFailure;
use crate::cli::listen::listen;
use crate::cli::{metrics, open_files, traces};
use crate::config::ServeArgs;
use crate::db::connect::Connector;
use crate::db::{pooler, roles};
use crate::server::drain::Shutdown;
use crate::server::tls::ServerTls;
use crate::server::{self, Listeners, ServerParts};

pub(super) async fn run(args: ServeArgs) -> Result<(), CliFailure> {
    let shutdown = Shutdown::on_signals()
        .map_err(|error| CliFailure::new(format!("cannot handle SIGTERM and SIGINT: {error}")))?;
    // Before anything that is measured.
    let metrics = metrics::start(&args.telemetry).await?;
    let settings = args.server.settings(args.lame_duck);
    let app_settings = args.connections.settings(args.server.calls_max);
    open_files::raise_limit(&settings, &app_settings);
    let tokens = args.tokens;
    let source = tokens.source().map_err(CliFailure::setting)?;
    let key_settings = tokens.key_settings().map_err(CliFailure::setting)?;
    let opening = Jwks::open_with(source.clone(), key_settings);
    let Some(keys) = shutdown.or_sooner(opening).await else {
        return Ok(());
    };
    let keys = keys.map_err(|error| match error {
        JwksError::Roots(_) => CliFailure::setting(format!("--jwks-ca: {error}")),
        _ => CliFailure::setting(format!("--jwks {source}: {error}")),
    })?;
    let traces = traces::start(&args.telemetry, &args.traces)?;
    let tls = args.tls.files().map(ServerTls::open).transpose();
    let tls = tls.map_err(CliFailure::setting)?;
    let listeners = Listeners {
        calls: listen(&args.server.listen, "--listen").await?,
        health: match &args.tls.health_listen {
            Some(address) => Some(listen(address, "--health-listen").await?),
            None => None,
        },
        tls,
    };
    let connector = Connector::new(&args.database.database_url)
        .map_err(|error| CliFailure::setting(format!("--database-url: {error}")))?;
    connector.warn_of_unverified_server();
    let for_pooler = connector.clone();
    let _report = AbortOnDropHandle::new(tokio::spawn(roles::report(connector.clone())));
    let app = App::start(connector, &app_settings)
        .map_err(|error| CliFailure::new(format!("cannot start the writers' threads: {error}")))?;
    let parts = ServerParts {
        routes: app.routes(),
        verifier: Arc::new(TokenVerifier::new(tokens.rules(), keys)),
        probe: app.probe(),
        settings,
        closing: app
            .closing()
            .into_iter()
            .chain(traces)
            .chain(metrics)
            .collect(),
    };
    tokio::select! {
        served = server::serve(listeners, parts, shutdown) => served.map_err(CliFailure::new),
        reason = pooler::refusal(for_pooler) => {
            Err(CliFailure::setting(format!("--database-url: {reason}")))
        }
    }
}
