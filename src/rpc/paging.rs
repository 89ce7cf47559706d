//! Ends a page of a list by the number of its records and by the size of the answer.

use prost::Message;
use prost::encoding::encoded_len_varint;
use serde::Serialize;

use crate::error::{Error, Result};
use crate::limits::RESPONSE_BYTES_MAX;
use crate::rpc::page_token::{self, Binding};
use crate::types::page::Page;

/// Bytes allowed for the page token and the other fields of an answer that are neither records nor in `bytes_taken`.
const REST_BYTES_MAX: usize = 4 * 1024;

/// Makes a page of at most as many rows as it was asked for, and the token of the next page, which is empty on the last one.
///
/// `rows` must hold one row more than the page if another page follows. The page ends early where the answer would be
/// larger than [`RESPONSE_BYTES_MAX`]; `bytes_taken` is the size of what the answer holds besides the records.
///
/// # Errors
/// [`Error::PageTooLarge`] if a page that was asked for by number would have to end early.
pub(crate) fn finish<R, M: Message, P, C: Serialize>(
    rows: Vec<R>,
    page: &Page<P>,
    binding: Binding,
    bytes_taken: usize,
    cursor: impl Fn(&R) -> C,
    convert: impl Fn(R) -> M,
) -> Result<(Vec<M>, String)> {
    let available = rows.len();
    let size = usize::try_from(page.size).unwrap_or(usize::MAX);
    let mut records = Vec::with_capacity(available.min(size));
    let mut last = None;
    let mut bytes = REST_BYTES_MAX + bytes_taken;
    for row in rows.into_iter().take(size) {
        let position = cursor(&row);
        let message = convert(row);
        let length = message.encoded_len();
        // The encoding of one element of a repeated field: its tag, its length and its bytes.
        bytes += 1 + encoded_len_varint(length as u64) + length;
        // The first record is always kept, and fits: an empty page with a token would make the client ask for ever.
        if bytes > RESPONSE_BYTES_MAX && !records.is_empty() {
            if page.is_numbered() {
                return Err(Error::PageTooLarge {
                    field: page.size_field,
                    fits: records.len(),
                });
            }
            break;
        }
        last = Some(position);
        records.push(message);
    }
    let token = match last {
        Some(cursor) if records.len() < available => page_token::encode(binding, &cursor),
        _ => String::new(),
    };
    Ok((records, token))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::common::v1::Amount;
    use crate::types::page::Start;

    fn page(rows: usize, page: &Page<()>, bytes: usize) -> Result<(Vec<Amount>, Option<usize>)> {
        let binding = Binding::new("/a.B/C", &());
        let rows = (0..rows).collect();
        let (records, token) = finish(
            rows,
            page,
            binding,
            0,
            |row| *row,
            |_| Amount {
                currency: "x".repeat(bytes),
                quantity: String::new(),
            },
        )?;
        Ok((records, page_token::decode(binding, &token)))
    }

    const MIB: usize = 1024 * 1024;

    #[test]
    fn a_page_ends_at_its_size_and_leads_behind_its_last_record() {
        for start in [
            Start::First,
            Start::Skip(0),
            Start::Skip(7),
            Start::After(()),
        ] {
            let asked = Page::new(2, start);
            let ends = |rows| page(rows, &asked, 1).map(|(page, next)| (page.len(), next));
            assert_eq!(ends(0), Ok((0, None)));
            assert_eq!(ends(2), Ok((2, None)));
            assert_eq!(ends(3), Ok((2, Some(1))));
        }
    }

    #[test]
    fn a_page_without_a_number_ends_before_the_answer_is_too_large() {
        for start in [Start::First, Start::After(())] {
            let (records, next) = page(6, &Page::new(5, start), MIB).expect("a page");
            assert_eq!((records.len(), next), (3, Some(2)));
            let bytes: usize = records.iter().map(Message::encoded_len).sum();
            assert!(bytes < RESPONSE_BYTES_MAX);
        }
    }

    #[test]
    fn a_numbered_page_that_does_not_fit_is_refused_with_the_number_that_does() {
        let too_large = |field, fits| Err(Error::PageTooLarge { field, fits });
        let numbered = |size| Page::new(size, Start::Skip(0));
        assert_eq!(page(6, &numbered(5), MIB), too_large("page_size", 3));
        assert_eq!(page(4, &numbered(5), MIB), too_large("page_size", 3));
        let limited = Page {
            size_field: "limit",
            ..numbered(4)
        };
        assert_eq!(page(5, &limited, MIB), too_large("limit", 3));
        for size in 1..=3 {
            let (records, _) = page(6, &numbered(size), MIB).expect("what fits");
            assert_eq!(u32::try_from(records.len()), Ok(size));
        }
    }
}
