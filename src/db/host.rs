//! The servers that a database URL names.

use std::net::IpAddr;
use std::time::Duration;

use tokio_postgres::Config;
use tokio_postgres::config::Host;

/// The port of a URL without one.
const PORT: u16 = 5432;

/// A configuration for each server that this one names, in their order. tokio-postgres alone would wait at a server that
/// accepts connections and does not answer, and never come to the next one.
pub(super) fn one_by_one(config: &Config, connect_max: Duration) -> Vec<Config> {
    let (names, addresses) = (config.get_hosts(), config.get_hostaddrs());
    let count = names.len().max(addresses.len());
    let each = (0..count).map(|index| {
        let mut single = without_hosts(config);
        match names.get(index) {
            Some(Host::Tcp(name)) => _ = single.host(name),
            Some(Host::Unix(folder)) => _ = single.host_path(folder),
            None => {}
        }
        if let Some(address) = addresses.get(index) {
            single.hostaddr(*address);
        }
        single.port(port(config, index));
        if count > 1 {
            let share = connect_max / u32::try_from(count).unwrap_or(u32::MAX);
            single
                .connect_timeout(share.min(config.get_connect_timeout().copied().unwrap_or(share)));
        }
        single
    });
    each.collect()
}

/// All settings but the servers.
fn without_hosts(config: &Config) -> Config {
    let mut other = Config::new();
    if let Some(user) = config.get_user() {
        other.user(user);
    }
    if let Some(password) = config.get_password() {
        other.password(password);
    }
    if let Some(name) = config.get_dbname() {
        other.dbname(name);
    }
    if let Some(options) = config.get_options() {
        other.options(options);
    }
    if let Some(name) = config.get_application_name() {
        other.application_name(name);
    }
    if let Some(limit) = config.get_connect_timeout() {
        other.connect_timeout(*limit);
    }
    if let Some(limit) = config.get_tcp_user_timeout() {
        other.tcp_user_timeout(*limit);
    }
    if let Some(interval) = config.get_keepalives_interval() {
        other.keepalives_interval(interval);
    }
    if let Some(retries) = config.get_keepalives_retries() {
        other.keepalives_retries(retries);
    }
    other
        .ssl_mode(config.get_ssl_mode())
        .ssl_negotiation(config.get_ssl_negotiation())
        .keepalives(config.get_keepalives())
        .keepalives_idle(config.get_keepalives_idle())
        .target_session_attrs(config.get_target_session_attrs())
        .channel_binding(config.get_channel_binding());
    other
}

fn port(config: &Config, index: usize) -> u16 {
    let ports = config.get_ports();
    ports.get(index).or(ports.first()).copied().unwrap_or(PORT)
}

/// The servers and the name of the database, for logs: `db1:5432,db2:5432/earmark`.
pub(super) fn described(config: &Config) -> String {
    let (names, addresses) = (config.get_hosts(), config.get_hostaddrs());
    let count = names.len().max(addresses.len());
    let hosts = (0..count).map(|index| {
        let port = port(config, index);
        match (names.get(index), addresses.get(index)) {
            (Some(Host::Tcp(name)), _) => format!("{name}:{port}"),
            (Some(Host::Unix(folder)), _) => format!("{}:{port}", folder.display()),
            (None, Some(address)) => format!("{address}:{port}"),
            (None, None) => String::new(),
        }
    });
    let hosts: Vec<String> = hosts.collect();
    let name = config.get_dbname().or(config.get_user());
    format!("{}/{}", hosts.join(","), name.unwrap_or_default())
}

/// Whether a connection leaves this machine, as far as the URL shows.
pub(super) fn is_remote(config: &Config) -> bool {
    let addresses = config.get_hostaddrs();
    if !addresses.is_empty() {
        return addresses.iter().any(|address| !address.is_loopback());
    }
    config.get_hosts().iter().any(|host| match host {
        Host::Unix(_) => false,
        Host::Tcp(name) => {
            let address = name.trim_matches(['[', ']']).parse::<IpAddr>();
            name != "localhost" && !address.is_ok_and(|address| address.is_loopback())
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(url: &str) -> Config {
        url.parse().expect("a URL")
    }

    #[test]
    fn several_servers_are_tried_one_by_one_and_share_the_time() {
        let url = "postgres://u:p@db1:1,db2:2/d?target_session_attrs=read-write&application_name=a";
        let each = one_by_one(&config(url), Duration::from_secs(5));
        let described: Vec<String> = each.iter().map(described).collect();
        assert_eq!(described, ["db1:1/d", "db2:2/d"]);
        for one in &each {
            assert_eq!(one.get_user(), Some("u"));
            assert_eq!(one.get_password(), Some(&b"p"[..]));
            assert_eq!(one.get_application_name(), Some("a"));
            let whole = config(url);
            assert_eq!(
                one.get_target_session_attrs(),
                whole.get_target_session_attrs()
            );
            assert_eq!(
                one.get_connect_timeout(),
                Some(&Duration::from_millis(2_500))
            );
        }
    }

    #[test]
    fn one_server_keeps_all_of_its_settings() {
        for url in [
            "postgres://u@db:1/d?connect_timeout=7&keepalives_retries=4",
            "postgres://u@%2Ftmp/d",
            "postgres://u@db/d?hostaddr=10.0.0.1",
            "postgres://u:p@db/d?options=-c%20geqo%3Doff&channel_binding=require&keepalives=0",
        ] {
            let whole = config(url);
            let each = one_by_one(&whole, Duration::from_secs(5));
            let [one] = &each[..] else { panic!("{each:?}") };
            let mut expected = whole.clone();
            if whole.get_ports().is_empty() {
                expected.port(PORT);
            }
            assert_eq!(*one, expected, "{url}");
        }
    }

    #[test]
    fn logs_name_the_servers_and_the_database() {
        for (url, expected) in [
            (
                "postgres://u:secret@db.internal/earmark",
                "db.internal:5432/earmark",
            ),
            ("postgres://u@a:1,b:2/earmark", "a:1,b:2/earmark"),
            ("postgres://u@%2Frun%2Fpg:7/earmark", "/run/pg:7/earmark"),
        ] {
            assert_eq!(described(&config(url)), expected);
        }
    }

    #[test]
    fn only_a_connection_through_a_network_is_remote() {
        for (url, expected) in [
            ("postgres://u@db/d", true),
            ("postgres://u@localhost/d", false),
            ("postgres://u@127.0.0.1/d", false),
            ("postgres://u@[::1]/d", false),
            ("postgres://u@%2Ftmp/d", false),
            ("postgres://u@localhost,db/d", true),
        ] {
            assert_eq!(is_remote(&config(url)), expected, "{url}");
        }
    }
}
