//! Where a server listens, and the URL of a database there.

use std::path::PathBuf;
use std::time::Duration;

use tokio::time::timeout;
use tokio_postgres::NoTls;

const PROBE_MAX: Duration = Duration::from_secs(5);
/// The server's port; its socket's file is named after it.
pub(crate) const PORT: u16 = 5432;
/// The role that makes a cluster, and may do everything in it.
pub(crate) const SUPERUSER: &str = "earmark";

/// The unix socket on which a server listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SocketEndpoint {
    pub(crate) socket_dir: PathBuf,
    pub(crate) port: u16,
}

impl SocketEndpoint {
    /// The URL of a database, as libpq and tokio-postgres read it. The user is `earmark`, without a password.
    pub(crate) fn url(&self, database: &str) -> String {
        self.url_as(SUPERUSER, database)
    }

    /// The same for another user.
    pub(crate) fn url_as(&self, user: &str, database: &str) -> String {
        let user = percent_encode(user);
        let host = percent_encode(&self.socket_dir.to_string_lossy());
        let database = percent_encode(database);
        match self.port {
            PORT => format!("postgresql://{user}@{host}/{database}"),
            port => format!("postgresql://{user}@{host}:{port}/{database}"),
        }
    }

    /// Opens a connection and closes it again; the error is for people.
    pub(crate) async fn probe(&self) -> Result<(), String> {
        let url = self.url("postgres");
        match timeout(PROBE_MAX, tokio_postgres::connect(&url, NoTls)).await {
            Ok(Ok(_client_and_connection)) => Ok(()),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_elapsed) => Err(format!("no answer within {} s", PROBE_MAX.as_secs())),
        }
    }
}

fn percent_encode(text: &str) -> String {
    let keep = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(byte);
    text.bytes()
        .map(|byte| {
            if keep(&byte) {
                char::from(byte).to_string()
            } else {
                format!("%{byte:02X}")
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_leads_tokio_postgres_to_the_socket() -> Result<(), tokio_postgres::Error> {
        let endpoint = SocketEndpoint {
            socket_dir: PathBuf::from("/tmp/a b/€"),
            port: 5433,
        };
        let config: tokio_postgres::Config = endpoint.url("my db").parse()?;
        assert_eq!(
            config.get_hosts(),
            [tokio_postgres::config::Host::Unix(PathBuf::from(
                "/tmp/a b/€"
            ))]
        );
        assert_eq!(
            (config.get_dbname(), config.get_user()),
            (Some("my db"), Some("earmark"))
        );
        assert_eq!(config.get_ports(), [5433]);
        Ok(())
    }
}
