//! Page tokens: versioned, with a checksum, and bound to the call that returned them.
//!
//! A token is base64url of: version byte, 8 bytes of binding, 4 bytes of checksum, the cursor as JSON. The binding is a
//! hash over the RPC and the filter and sort of the request, so a token is accepted only for the list that returned it,
//! on any page. The checksum detects an altered token. It needs no secret key: a cursor holds only values of records that
//! the caller has seen. Who knows how makes tokens as well, so what is in a cursor is checked like any input.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use prost::Message;
use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};

use crate::rpc::list_filter::filter_of;
use crate::types::page::PageCursor;

const VERSION: u8 = 1;
const BINDING_BYTES: usize = 8;
const CHECKSUM_BYTES: usize = 4;
const HEADER_BYTES: usize = 1 + BINDING_BYTES + CHECKSUM_BYTES;
/// Longer tokens are refused without decoding them. A CAS search sorted by eight text fields returns the longest.
const TOKEN_BYTES_MAX: usize = 128 * 1024;

/// A hash of the RPC, the owner and the filter that a token is bound to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Binding([u8; BINDING_BYTES]);

impl Binding {
    /// Binds to an RPC and to what a request lists. The request's page fields do not count, nor do the order and repetition
    /// of values of its filters.
    pub fn new(rpc: &str, request: &impl Message) -> Self {
        Self::with_owner(rpc, request, &[])
    }

    /// Binds to the owner of the records as well, for lists whose owner is taken from the bearer
    /// token, not the request.
    pub fn with_owner(rpc: &str, request: &impl Message, owner: &[u8]) -> Self {
        let mut hash = Sha256::new();
        for part in [rpc.as_bytes(), owner, &filter_of(rpc, request)] {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        Self(first_bytes(&hash.finalize()))
    }
}

/// Makes the token of the page that begins behind the cursor.
pub fn encode(binding: Binding, cursor: &impl Serialize) -> String {
    // Cursors are structs of ids, numbers, texts and times, which serde_json always serialises.
    let cursor = serde_json::to_vec(cursor).unwrap_or_default();
    let mut token = Vec::with_capacity(HEADER_BYTES + cursor.len());
    token.push(VERSION);
    token.extend(binding.0);
    token.extend(checksum(binding, &cursor));
    token.extend(cursor);
    URL_SAFE_NO_PAD.encode(token)
}

/// Returns the cursor of a token; `None` if [`decode`] does, or if no record could have its values.
pub(crate) fn read<C: PageCursor>(binding: Binding, token: &str) -> Option<C> {
    decode(binding, token).filter(C::is_possible)
}

/// Returns what a token holds, unchecked; `None` if the token was altered or has another binding.
pub fn decode<C: DeserializeOwned>(binding: Binding, token: &str) -> Option<C> {
    if token.len() > TOKEN_BYTES_MAX {
        return None;
    }
    let bytes = URL_SAFE_NO_PAD.decode(token).ok()?;
    let (header, cursor) = bytes.split_at_checked(HEADER_BYTES)?;
    let (version, rest) = header.split_at(1);
    let (bound, sum) = rest.split_at(BINDING_BYTES);
    let fits = version == [VERSION] && bound == binding.0 && sum == checksum(binding, cursor);
    fits.then(|| serde_json::from_slice(cursor).ok())?
}

fn checksum(binding: Binding, cursor: &[u8]) -> [u8; CHECKSUM_BYTES] {
    let hash = Sha256::new()
        .chain_update([VERSION])
        .chain_update(binding.0)
        .chain_update(cursor)
        .finalize();
    first_bytes(&hash)
}

fn first_bytes<const N: usize>(hash: &[u8]) -> [u8; N] {
    let mut bytes = [0; N];
    bytes.copy_from_slice(&hash[..N]);
    bytes
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::proto::common::v1::Amount;

    fn binding(currency: &str) -> Binding {
        let request = Amount {
            currency: currency.into(),
            quantity: String::new(),
        };
        Binding::new("/a.B/C", &request)
    }

    #[test]
    fn a_token_serves_only_the_call_that_gave_it() {
        let token = encode(binding("A"), &(7, "x"));
        assert_eq!(decode(binding("A"), &token), Some((7, "x".to_owned())));
        assert_eq!(decode::<(i32, String)>(binding("B"), &token), None);
        assert_eq!(decode::<(i32, String)>(binding("A"), ""), None);
        assert_eq!(
            decode::<(i32, String)>(binding("A"), &"A".repeat(200_000)),
            None
        );
    }

    proptest! {
        #[test]
        fn an_altered_token_is_refused(position in 0_usize..40, letter in "[A-Za-z0-9_-]") {
            let token = encode(binding("A"), &(123_456_789_u64, "cursor"));
            let position = position % token.len();
            let mut altered = token.clone();
            altered.replace_range(position..=position, &letter);
            let read = decode::<(u64, String)>(binding("A"), &altered);
            prop_assert_eq!(read.is_some(), altered == token);
        }
    }
}
