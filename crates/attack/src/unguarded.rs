//! A server of the library, without the guards against one attack. It takes the database, the address and the keys from
//! the same environment variables as `earmark serve`.

use std::sync::Arc;

use anyhow::{Context, Result};
use earmark::app::App;
use earmark::auth::dev_key::{AUDIENCE, ISSUER};
use earmark::auth::jwks::{Jwks, JwksSource};
use earmark::auth::token::TokenVerifier;
use earmark::db::connect::Connector;
use earmark::server::drain::Shutdown;
use earmark::server::{ServerParts, serve as serve_calls};
use tokio::net::TcpListener;

use crate::cli::UnguardedArgs;
use crate::guards::{self, GuardSettings};

/// Serves until SIGTERM or SIGINT, and then shuts down in order.
pub(crate) async fn serve(args: &UnguardedArgs) -> Result<bool> {
    let variable = |name: &str| std::env::var(name).with_context(|| name.to_owned());
    tracing_subscriber::fmt()
        .json()
        .with_writer(std::io::stderr)
        .with_env_filter("info")
        .init();
    let mut settings = GuardSettings::default();
    for guard in guards::against(&args.without) {
        (guard.switch_off)(&mut settings);
    }
    let keys = Jwks::open(JwksSource::parse(&variable("EARMARK_JWKS")?)).await?;
    let listener = TcpListener::bind(variable("EARMARK_LISTEN")?).await?;
    let connector = Connector::new(&variable("DATABASE_URL")?)?;
    let app = App::start(connector, &settings.app)?;
    let parts = ServerParts {
        routes: app.routes(),
        verifier: Arc::new(TokenVerifier::new(ISSUER, AUDIENCE, keys)),
        probe: app.probe(),
        settings: settings.server,
        closing: app.closing(),
    };
    serve_calls(listener, parts, Shutdown::on_signals()?).await?;
    Ok(true)
}
