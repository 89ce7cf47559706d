//! TLS of the listener, by rustls: TLS 1.2 and 1.3, and HTTP/2 by ALPN as the only protocol.
//!
//! Certificate, key and the authorities of clients come from PEM files, which are read again when they change:
//! connections that begin later use the new ones. What cannot be used is refused at the start, and warned of later, when
//! the files in use stay in use.

mod certificate;
mod files;
mod handshake;
mod reload;

pub use files::{TlsClientAuth, TlsFileError, TlsFiles};
pub(super) use handshake::{HandshakeFailure, TlsClient, accept};
pub use reload::{ServerTls, TlsStatus};
