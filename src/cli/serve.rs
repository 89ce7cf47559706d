//! `earmark serve`: a server on somebody else's Postgres.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpListener;

use crate::app::App;
use crate::auth::jwks::{Jwks, Source};
use crate::auth::token::Verifier;
use crate::cli::Failure;
use crate::config::ServeArgs;
use crate::db::connect::Connector;
use crate::server::drain::Shutdown;
use crate::server::{self, ServerParts};

pub(super) async fn run(args: ServeArgs) -> Result<(), Failure> {
    let shutdown = Shutdown::on_signals().map_err(Failure::new)?;
    let tokens = args.tokens;
    let keys = Jwks::open(Source::parse(&tokens.jwks))
        .await
        .map_err(|error| Failure::setting(format!("--jwks {}: {error}", tokens.jwks)))?;
    let listener = listen(args.server.listen).await?;
    let connector = Connector::new(&args.database.database_url)
        .map_err(|error| Failure::setting(format!("--database-url: {error}")))?;
    let app = App::start(connector, &args.connections.settings()).map_err(Failure::new)?;
    let parts = ServerParts {
        routes: app.routes(),
        verifier: Arc::new(Verifier::new(tokens.issuer, tokens.audience, keys)),
        probe: app.probe(),
        settings: args.server.settings(args.lame_duck),
        closing: app.closing(),
    };
    server::serve(listener, parts, shutdown)
        .await
        .map_err(Failure::new)
}

/// Listens, and says where.
pub(super) async fn listen(address: SocketAddr) -> Result<TcpListener, Failure> {
    let failure = |error: io::Error| {
        let hint = match error.kind() {
            io::ErrorKind::AddrInUse => {
                ": another process listens there, so stop that or choose another --listen"
            }
            _ => "",
        };
        Failure::new(format!("cannot listen on {address}: {error}{hint}"))
    };
    let listener = TcpListener::bind(address).await.map_err(failure)?;
    let address = listener.local_addr().map_err(failure)?;
    tracing::info!(%address, "listening");
    Ok(listener)
}
