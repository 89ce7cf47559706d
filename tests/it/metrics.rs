//! Metrics, of servers that are processes of their own: those of one process are common to all its servers.

mod alerts;
mod otlp;
mod partitions;
mod plans;
mod prometheus;
mod served;

use std::net::SocketAddr;
use std::process::Stdio;

use crate::support::earmark::Earmark;
use crate::support::process::OwnAddress;

/// A server that serves metrics.
struct MeasuredServer {
    earmark: Earmark,
    metrics: SocketAddr,
    _own_address: OwnAddress,
}

impl MeasuredServer {
    /// On a migrated database that the caller keeps.
    async fn start_on(url: &str) -> Self {
        Self::start_with(url, &[]).await
    }

    /// The same with further settings, as environment variables.
    async fn start_with(url: &str, settings: &[(&str, &str)]) -> Self {
        let own_address = OwnAddress::new();
        let metrics = own_address.address;
        let address = metrics.to_string();
        let mut settings = settings.to_vec();
        settings.extend([("EARMARK_LOG", "off"), ("EARMARK_METRICS_LISTEN", &address)]);
        let earmark = Earmark::start_process_with_env(url, &settings, Stdio::null()).await;
        Self {
            earmark,
            metrics,
            _own_address: own_address,
        }
    }
}
