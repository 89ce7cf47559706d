//! The request id of every call: the client's own where it is well formed, else a new one.

use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue};
use uuid::Uuid;

use crate::limits::ID_CHARS_MAX;

/// Metadata key of the request id, in requests and responses.
const HEADER: HeaderName = HeaderName::from_static("x-request-id");

/// The client's request id if it has 1 to 128 characters of `[A-Za-z0-9._:/+=-]`, else a new UUIDv7.
pub(super) fn of(headers: &HeaderMap) -> Arc<str> {
    headers
        .get(HEADER)
        .and_then(|value| value.to_str().ok())
        .filter(|id| is_well_formed(id))
        .map_or_else(|| Uuid::now_v7().to_string().into(), Arc::from)
}

/// Adds the request id to a response's headers.
pub(super) fn echo(id: &str, headers: &mut HeaderMap) {
    if let Ok(value) = HeaderValue::from_str(id) {
        headers.insert(HEADER, value);
    }
}

fn is_well_formed(id: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._:/+=-".contains(&byte);
    (1..=ID_CHARS_MAX).contains(&id.len()) && id.bytes().all(is_allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_malformed_id_is_replaced() {
        let of_text = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(HEADER, HeaderValue::from_str(text).expect("a header"));
            of(&headers)
        };
        assert_eq!(&*of_text("order-7/a.b:c"), "order-7/a.b:c");
        for malformed in ["", "a b", "a\"b", "{}", &"a".repeat(129)] {
            let id = of_text(malformed);
            assert!(Uuid::try_parse(&id).is_ok(), "{malformed}: {id}");
        }
        assert_ne!(of(&HeaderMap::new()), of(&HeaderMap::new()));
    }
}
