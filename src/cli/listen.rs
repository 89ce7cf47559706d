//! Opens the socket that a server listens on.

use std::io;
use std::net::SocketAddr;

use tokio::net::TcpListener;

use crate::cli::failure::CliFailure;

/// Listens on an address, and logs the one that was bound: with port 0 the system selects the port.
pub(super) async fn listen(address: SocketAddr) -> Result<TcpListener, CliFailure> {
    let failure = |error: io::Error| {
        let advice = match error.kind() {
            io::ErrorKind::AddrInUse => {
                ": another process listens there; stop it, or choose another address or port with --listen"
            }
            io::ErrorKind::AddrNotAvailable => {
                ": no network interface of this machine has this address; choose one that has with --listen, for example \
                 0.0.0.0 for all of them"
            }
            io::ErrorKind::PermissionDenied => {
                ": this user may not use the port; choose one from 1024 on with --listen"
            }
            _ => "",
        };
        CliFailure::new(format!("cannot listen on {address}: {error}{advice}"))
    };
    let listener = TcpListener::bind(address).await.map_err(failure)?;
    let address = listener.local_addr().map_err(failure)?;
    tracing::info!(%address, "listening");
    Ok(listener)
}
