//! Ends a page of a list by the number of its records and by the size of the answer.

use prost::Message;
use prost::encoding::encoded_len_varint;
use serde::Serialize;

use crate::limits::RESPONSE_BYTES_MAX;
use crate::rpc::page_token::{self, Binding};

/// Bytes allowed for the page token and the other fields of an answer that are neither records nor in `bytes_taken`.
const REST_BYTES_MAX: usize = 4 * 1024;

/// Makes a page of at most `size` rows, and the token of the next page, which is empty on the last one.
///
/// `rows` must hold one row more than `size` if another page follows. The page ends early where the answer would be
/// larger than [`RESPONSE_BYTES_MAX`]; `bytes_taken` is the size of what the answer holds besides the records.
pub(crate) fn finish<R, M: Message, C: Serialize>(
    rows: Vec<R>,
    size: u32,
    binding: Binding,
    bytes_taken: usize,
    cursor: impl Fn(&R) -> C,
    convert: impl Fn(R) -> M,
) -> (Vec<M>, String) {
    let available = rows.len();
    let mut page = Vec::with_capacity(available);
    let mut last = None;
    let mut bytes = REST_BYTES_MAX + bytes_taken;
    for row in rows
        .into_iter()
        .take(usize::try_from(size).unwrap_or(usize::MAX))
    {
        let position = cursor(&row);
        let message = convert(row);
        let length = message.encoded_len();
        // The encoding of one element of a repeated field: its tag, its length and its bytes.
        bytes += 1 + encoded_len_varint(length as u64) + length;
        // The first record is always kept: an empty page with a token would make the client ask for ever.
        if bytes > RESPONSE_BYTES_MAX && !page.is_empty() {
            break;
        }
        last = Some(position);
        page.push(message);
    }
    let token = match last {
        Some(cursor) if page.len() < available => page_token::encode(binding, &cursor),
        _ => String::new(),
    };
    (page, token)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::common::v1::Amount;

    fn page(rows: usize, size: u32, bytes: usize) -> (Vec<Amount>, Option<usize>) {
        let binding = Binding::new("/a.B/C", &());
        let rows = (0..rows).collect();
        let (page, token) = finish(
            rows,
            size,
            binding,
            0,
            |row| *row,
            |_| Amount {
                currency: "x".repeat(bytes),
                quantity: String::new(),
            },
        );
        (page, page_token::decode(binding, &token))
    }

    #[test]
    fn a_page_ends_at_its_size_and_leads_behind_its_last_record() {
        let ends = |rows, size| {
            let (page, next) = page(rows, size, 1);
            (page.len(), next)
        };
        assert_eq!(ends(0, 2), (0, None));
        assert_eq!(ends(2, 2), (2, None));
        assert_eq!(ends(3, 2), (2, Some(1)));
    }

    #[test]
    fn a_page_ends_before_the_answer_is_too_large() {
        let (records, next) = page(6, 5, 1024 * 1024);
        assert_eq!((records.len(), next), (3, Some(2)));
        let bytes: usize = records.iter().map(Message::encoded_len).sum();
        assert!(bytes < RESPONSE_BYTES_MAX);
        let (records, next) = page(2, 5, 5 * 1024 * 1024);
        assert_eq!((records.len(), next), (1, Some(0)));
    }
}
