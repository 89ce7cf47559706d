//! The end of a page: by its size, or before the answer grows past what clients take.

use prost::Message;
use serde::Serialize;

use crate::limits::RESPONSE_BYTES_MAX;
use crate::rpc::page_token::{self, Binding};

/// Converts the records of a page, of which one more than `size` was fetched, and makes the token of the next page.
/// `bytes_taken` is what the rest of the answer needs.
///
/// A record that is too large for any answer would stand alone on its page; the limits of texts rule it out.
pub fn paged<R, M, C>(
    records: Vec<R>,
    size: u32,
    binding: Binding,
    bytes_taken: usize,
    cursor: impl Fn(&R) -> C,
) -> (Vec<M>, String)
where
    M: Message + From<R>,
    C: Serialize,
{
    /// Tag and length of each record, and the token itself.
    const OVERHEAD: usize = 16;
    const TOKEN: usize = 2_048;

    let size = size as usize;
    let mut bytes = bytes_taken + TOKEN;
    let mut messages = Vec::with_capacity(records.len().min(size));
    let mut last = None;
    for record in records {
        let behind = cursor(&record);
        let message = M::from(record);
        bytes += message.encoded_len() + OVERHEAD;
        let full = messages.len() == size || (bytes > RESPONSE_BYTES_MAX && !messages.is_empty());
        if full {
            let token =
                last.map_or_else(String::new, |cursor| page_token::encode(binding, &cursor));
            return (messages, token);
        }
        messages.push(message);
        last = Some(behind);
    }
    (messages, String::new())
}
