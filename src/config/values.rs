//! Reads the values of settings. Each error says what a value must be.

use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use tracing_subscriber::EnvFilter;
use url::Url;

use crate::auth::scope::Scope;
use crate::config::listen_address::ListenAddress;
use crate::limits::{CALL_MAX, READ_LIMIT_MIN, REQUEST_KEYS_KEPT_MIN};
use crate::types::time::Time;

const SECOND: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Reads a number of calls or connections; tokio's semaphores, which count them, have an upper limit.
pub(super) fn count(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(number) if (1..=1_000_000).contains(&number) => Ok(number),
        _ => Err("must be a number from 1 to 1000000".into()),
    }
}

/// Reads an address or host name with its port. The name is looked up only when it is listened on.
pub(super) fn listen_address(text: &str) -> Result<ListenAddress, String> {
    const RULE: &str = "must be an address or host name and a port, for example 127.0.0.1:50051, [::1]:50051 or localhost:50051";
    let (host, port) = text.rsplit_once(':').ok_or(RULE)?;
    let port = port.parse().map_err(|_| RULE)?;
    let host = match host.strip_prefix('[') {
        Some(rest) => {
            let address = rest.strip_suffix(']').ok_or(RULE)?;
            _ = address.parse::<Ipv6Addr>().map_err(|_| RULE)?;
            address
        }
        None => host,
    };
    let is_address = host.parse::<IpAddr>().is_ok();
    let is_name = !host.is_empty()
        && host
            .chars()
            .all(|it| it.is_ascii_alphanumeric() || "-._".contains(it));
    if is_name || (is_address && text.starts_with('[')) {
        let host = host.into();
        return Ok(ListenAddress { host, port });
    }
    Err(RULE.into())
}

/// Reads a port of this machine, or an address or host name with its port.
pub(super) fn metrics_address(text: &str) -> Result<ListenAddress, String> {
    let port = text.strip_prefix(':').unwrap_or(text);
    match port.parse() {
        Ok(port) => Ok(ListenAddress {
            host: "127.0.0.1".into(),
            port,
        }),
        Err(_) => listen_address(text).map_err(|_| {
            "must be a port, or an address or host name and a port, for example 9464, 0.0.0.0:9464 or [::1]:9464".into()
        }),
    }
}

/// Reads the URL of a collector.
pub(super) fn collector_url(text: &str) -> Result<String, String> {
    const RULE: &str = "must be the URL of a collector with http:// or https://, for example http://localhost:4317";
    let url = Url::parse(text).map_err(|_| RULE)?;
    let has_host = url.host_str().is_some_and(|host| !host.is_empty());
    if has_host && matches!(url.scheme(), "http" | "https") {
        Ok(text.into())
    } else {
        Err(RULE.into())
    }
}

/// Reads a part of a whole.
pub(super) fn ratio(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(ratio) if (0.0..=1.0).contains(&ratio) => Ok(ratio),
        _ => Err("must be a number from 0 to 1, for example 0.01".into()),
    }
}

/// Checks that every scope is one that the server uses.
pub(super) fn scopes(text: &str) -> Result<String, String> {
    match text
        .split_whitespace()
        .find(|name| Scope::parse(name).is_none())
    {
        None => Ok(text.into()),
        Some(unknown) => {
            let all = Scope::ALL.map(Scope::name).join(", ");
            Err(format!("there is no scope {unknown}: choose from {all}"))
        }
    }
}

/// Checks the directives of a log filter.
pub(super) fn log_filter(text: &str) -> Result<String, String> {
    match EnvFilter::try_new(text) {
        Ok(_) => Ok(text.into()),
        Err(error) => Err(format!(
            "{error}; write a level (error, warn, info, debug, trace) or target=level, separated by commas"
        )),
    }
}

/// Reads a number of bytes such as `64MiB` or `1GiB`. A quarter of it must have room for one largest message.
pub(super) fn bytes_under_way(text: &str) -> Result<usize, String> {
    const RULE: &str = "must be a number of MiB or GiB from 32MiB to 64GiB, for example 64MiB";
    let (digits, unit) = match (text.strip_suffix("MiB"), text.strip_suffix("GiB")) {
        (Some(digits), _) => (digits, 1 << 20),
        (_, Some(digits)) => (digits, 1 << 30),
        _ => return Err(RULE.into()),
    };
    let number: usize = digits.parse().map_err(|_| RULE)?;
    match number.checked_mul(unit) {
        Some(bytes) if (32 << 20..=64 << 30).contains(&bytes) => Ok(bytes),
        _ => Err(RULE.into()),
    }
}

/// Reads a duration such as `500ms`, `5s` or `1h 30m`.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text)
        .map_err(|error| format!("{error}; write a number and a unit, for example 500ms, 5s or 2m"))
}

/// Reads how long request ids are kept.
pub(super) fn request_keys_kept(text: &str) -> Result<Duration, String> {
    let kept = duration(text)?;
    if kept >= REQUEST_KEYS_KEPT_MIN {
        Ok(kept)
    } else {
        Err("must be at least 7d".into())
    }
}

/// Reads a time such as `2026-11-30T18:00:00Z`.
pub(super) fn moment(text: &str) -> Result<Time, String> {
    let time = Time::parse_exact(text).map_err(|error| error.to_string())?;
    let time = Time::floor(time);
    if time.is_storable() {
        Ok(time)
    } else {
        Err("must be a time from the year 1 to 9999".into())
    }
}

/// Reads the age of an issuer's keys.
pub(super) fn key_time(text: &str) -> Result<Duration, String> {
    let time = duration(text)?;
    if (SECOND..=DAY).contains(&time) {
        Ok(time)
    } else {
        Err("must be from 1s to 24h".into())
    }
}

/// Reads how long a token may last.
pub(super) fn token_time(text: &str) -> Result<Duration, String> {
    let time = duration(text)?;
    if (60 * SECOND..=3_650 * DAY).contains(&time) {
        Ok(time)
    } else {
        Err("must be from 1m to 3650days".into())
    }
}

/// Reads the time that a call may take.
pub(super) fn call_time(text: &str) -> Result<Duration, String> {
    let time = duration(text)?;
    if time >= Duration::from_millis(100) && time <= Duration::from_secs(24 * 60 * 60) {
        Ok(time)
    } else {
        Err("must be from 100ms to 24h".into())
    }
}

/// Reads a time that a connection may last. A year is more than any, and far below what a clock can add.
pub(super) fn connection_time(text: &str) -> Result<Duration, String> {
    let range = Duration::from_secs(1)..=Duration::from_secs(365 * 24 * 60 * 60);
    let time = duration(text)?;
    if range.contains(&time) {
        Ok(time)
    } else {
        Err("must be from 1s to 365days".into())
    }
}

/// Reads the time limit of a class of reads.
pub(super) fn read_limit(text: &str) -> Result<Duration, String> {
    let limit = duration(text)?;
    if limit < READ_LIMIT_MIN || limit > CALL_MAX {
        let (least, most) = (READ_LIMIT_MIN.as_millis(), CALL_MAX.as_secs());
        return Err(format!("must be from {least}ms to {most}s"));
    }
    Ok(limit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_scope_is_refused_with_all_that_exist() {
        assert_eq!(
            scopes("network-admin  buckets-read"),
            Ok("network-admin  buckets-read".into())
        );
        let refused = scopes("buckets-read buckets-reed").expect_err("unknown");
        assert!(
            refused.starts_with("there is no scope buckets-reed:"),
            "{refused}"
        );
        for scope in Scope::ALL {
            assert!(refused.contains(scope.name()), "{refused}");
        }
    }

    #[test]
    fn bytes_need_a_unit_and_room_for_large_messages() {
        assert_eq!(bytes_under_way("64MiB"), Ok(64 << 20));
        assert_eq!(bytes_under_way("2GiB"), Ok(2 << 30));
        for malformed in [
            "",
            "64",
            "31MiB",
            "65GiB",
            "-1GiB",
            "64MB",
            "99999999999999GiB",
        ] {
            let refused = bytes_under_way(malformed).expect_err(malformed);
            assert!(refused.contains("for example 64MiB"), "{refused}");
        }
    }

    #[test]
    fn durations_need_a_unit_and_the_error_says_so() {
        assert_eq!(duration("1m 30s"), Ok(Duration::from_secs(90)));
        for malformed in ["", "5", "-5s", "5 parsecs"] {
            let refused = duration(malformed).expect_err(malformed);
            assert!(refused.contains("for example 500ms"), "{refused}");
        }
    }

    #[test]
    fn times_of_keys_and_tokens_have_a_range() {
        assert_eq!(key_time("24h"), Ok(DAY));
        assert_eq!(token_time("3650days"), Ok(3_650 * DAY));
        for out_of_range in ["999ms", "25h"] {
            let refused = key_time(out_of_range).expect_err(out_of_range);
            assert!(refused.contains("from 1s to 24h"), "{refused}");
        }
        for out_of_range in ["59s", "3651days"] {
            let refused = token_time(out_of_range).expect_err(out_of_range);
            assert!(refused.contains("from 1m to 3650days"), "{refused}");
        }
    }

    #[test]
    fn a_connection_lasts_a_second_at_least_and_a_year_at_most() {
        let year = Duration::from_secs(365 * 24 * 60 * 60);
        assert_eq!(connection_time("365days"), Ok(year));
        assert_eq!(connection_time("1s"), Ok(Duration::from_secs(1)));
        for out_of_range in ["0s", "999ms", "366days"] {
            let refused = connection_time(out_of_range).expect_err(out_of_range);
            assert!(refused.contains("from 1s to 365days"), "{refused}");
        }
    }
}
