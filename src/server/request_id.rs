//! Gives every call an id: the caller's own if it is sane.

use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue};
use uuid::Uuid;

use crate::limits::ID_CHARS_MAX;

/// Metadata of request and answer that names the call.
pub const HEADER: HeaderName = HeaderName::from_static("x-request-id");

/// The caller's id if it is 1 to 128 characters of `[A-Za-z0-9._:/+=-]`, else a new one.
pub fn of(headers: &HeaderMap) -> Arc<str> {
    headers
        .get(HEADER)
        .and_then(|value| value.to_str().ok())
        .filter(|id| is_sane(id))
        .map_or_else(|| Uuid::now_v7().to_string().into(), Arc::from)
}

/// Puts the id into an answer.
pub fn echo(id: &str, headers: &mut HeaderMap) {
    if let Ok(value) = HeaderValue::from_str(id) {
        headers.insert(HEADER, value);
    }
}

fn is_sane(id: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"._:/+=-".contains(&byte);
    (1..=ID_CHARS_MAX).contains(&id.len()) && id.bytes().all(fits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_insane_id_is_replaced() {
        let of_text = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(HEADER, HeaderValue::from_str(text).expect("a header"));
            of(&headers)
        };
        assert_eq!(&*of_text("order-7/a.b:c"), "order-7/a.b:c");
        for insane in ["", "a b", "a\"b", "{}", &"a".repeat(129)] {
            let id = of_text(insane);
            assert!(Uuid::try_parse(&id).is_ok(), "{insane}: {id}");
        }
        assert_ne!(of(&HeaderMap::new()), of(&HeaderMap::new()));
    }
}
