//! Opens the socket that a server listens on.

use std::io;
use std::net::SocketAddr;

use tokio::net::{TcpListener, lookup_host};

use crate::cli::failure::CliFailure;
use crate::config::ListenAddress;

/// Listens on an address, and logs the one that was bound: with port 0 the system selects the port. Of a host name the first
/// address is used that can be, those of IPv4 before others. `flag` is the setting that errors and the log name.
pub(super) async fn listen(
    address: &ListenAddress,
    flag: &'static str,
) -> Result<TcpListener, CliFailure> {
    let failure = |error: io::Error| {
        let advice = match error.kind() {
            io::ErrorKind::AddrInUse => format!(
                ": another process listens there; stop it, or choose another address or port with {flag}"
            ),
            io::ErrorKind::AddrNotAvailable => format!(
                ": no network interface of this machine has this address; choose one that has with {flag}, for example \
                 0.0.0.0 for all of them"
            ),
            io::ErrorKind::PermissionDenied => {
                format!(": this user may not use the port; choose one from 1024 on with {flag}")
            }
            _ => String::new(),
        };
        CliFailure::new(format!("cannot listen on {address}: {error}{advice}"))
    };
    let found = lookup_host((address.host.as_str(), address.port)).await;
    let mut addresses: Vec<SocketAddr> = found
        .map_err(|error| {
            CliFailure::new(format!(
                "cannot listen on {address}: the name has no address: {error}; choose another with {flag}"
            ))
        })?
        .collect();
    addresses.sort_by_key(SocketAddr::is_ipv6);
    let listener = TcpListener::bind(&addresses[..]).await.map_err(failure)?;
    let address = listener.local_addr().map_err(failure)?;
    tracing::info!(%address, setting = flag, "listening");
    Ok(listener)
}
