//! The deadline of a call: the client's, and at the latest the server's own limit.

use std::time::Duration;

use http::HeaderMap;
use tokio::time::Instant;

use crate::error::{Error, Result, rule_with_value};

/// Metadata with the time after which the client gives up.
const HEADER: &str = "grpc-timeout";

/// When a call ends at the latest. `max` is `None` for calls without a limit of the server; without a deadline of the client
/// either, the result is `None`.
///
/// # Errors
/// [`Error::InvalidRequest`] if the client's deadline is malformed: its call must not go on for longer than it may mean.
pub(super) fn of(headers: &HeaderMap, max: Option<Duration>) -> Result<Option<Instant>> {
    let requested = match headers.get(HEADER) {
        None => None,
        Some(value) => Some(requested(
            value.to_str().unwrap_or("a value that is not ASCII"),
        )?),
    };
    let timeout = match (requested, max) {
        (Some(requested), Some(max)) => Some(requested.min(max)),
        (one, other) => one.or(other),
    };
    Ok(timeout.and_then(|timeout| Instant::now().checked_add(timeout)))
}

fn requested(text: &str) -> Result<Duration> {
    const RULE: &str = "must be 1 to 8 digits and a unit, one of H, M, S, m, u and n";
    parse(text).ok_or_else(|| Error::invalid(HEADER, rule_with_value(RULE, text)))
}

/// Reads `grpc-timeout`: one to eight digits and a unit. `None` for anything else.
fn parse(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let well_formed =
        (1..=8).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit());
    let number: u64 = well_formed.then(|| digits.parse().ok())??;
    match unit {
        "H" => Some(Duration::from_secs(number * 3_600)),
        "M" => Some(Duration::from_secs(number * 60)),
        "S" => Some(Duration::from_secs(number)),
        "m" => Some(Duration::from_millis(number)),
        "u" => Some(Duration::from_micros(number)),
        "n" => Some(Duration::from_nanos(number)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_are_read_as_the_protocol_writes_them() {
        for (text, expected) in [
            ("1H", Duration::from_secs(3_600)),
            ("2M", Duration::from_secs(120)),
            ("3S", Duration::from_secs(3)),
            ("40m", Duration::from_millis(40)),
            ("5u", Duration::from_micros(5)),
            ("6n", Duration::from_nanos(6)),
            ("0n", Duration::ZERO),
            ("99999999H", Duration::from_secs(99_999_999 * 3_600)),
        ] {
            assert_eq!(parse(text), Some(expected), "{text}");
        }
        for malformed in [
            "",
            "S",
            "1",
            "1s",
            "-1S",
            "+1S",
            "1.5S",
            "123456789n",
            "1 S",
            "1é",
            "é",
        ] {
            assert_eq!(parse(malformed), None, "{malformed}");
        }
    }

    #[test]
    fn the_shorter_timeout_applies() {
        let ends_in = |text: &str, max: Option<u64>| {
            let mut headers = HeaderMap::new();
            headers.insert(HEADER, text.parse().expect("a header"));
            let now = Instant::now();
            let end = of(&headers, max.map(Duration::from_secs))?;
            Ok(end.map(|end| end.saturating_duration_since(now).as_secs()))
        };
        assert_eq!(ends_in("10S", Some(30)), Ok(Some(10)));
        assert_eq!(ends_in("10M", Some(30)), Ok(Some(30)));
        assert_eq!(ends_in("10M", None), Ok(Some(600)));
        let refused = ends_in("malformed", None).expect_err("malformed");
        assert!(matches!(refused, Error::InvalidRequest(_)));
    }
}
