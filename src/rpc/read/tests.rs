use super::*;
use crate::rpc::page_token::{self, Binding};
use crate::types::page::{Page, Start};

#[test]
fn uuids_are_taken_in_hyphenated_form_only() {
    let id = "0198a7b2-6a44-7c11-8d4e-000000000001";
    assert!(parse_uuid(id).is_some());
    assert!(parse_uuid(&id.to_uppercase()).is_some());
    for bad in [
        "",
        "x",
        &id.replace('-', ""),
        &format!("{{{id}}}"),
        &format!("urn:uuid:{id}"),
    ] {
        assert_eq!(parse_uuid(bad), None, "{bad}");
    }
}

#[test]
fn lower_bounds_round_up_and_upper_bounds_round_down() {
    let fine = Timestamp {
        seconds: 1,
        nanos: 1_001,
    };
    let read = |rounding| parse_timestamp(&fine, rounding).map(Time::micros);
    assert_eq!(read(Rounding::Down), Some(1_000_001));
    assert_eq!(read(Rounding::Up), Some(1_000_002));
    for (seconds, nanos) in [
        (0, -1),
        (0, 1_000_000_000),
        (253_402_300_800, 0),
        (-62_135_596_801, 0),
    ] {
        assert_eq!(
            parse_timestamp(&Timestamp { seconds, nanos }, Rounding::Down),
            None
        );
    }
}

#[test]
fn a_window_of_time_ends_before_its_end() {
    let at = |nanos| Timestamp { seconds: 1, nanos };
    let micros = |time: Option<Time>| time.map(|time| time.micros() - 1_000_000);
    let window = |from: i32, before: i32| {
        let mut reader = Reader::new();
        let (from, last) = reader.time_window(
            ("time_on_or_after", Some(&at(from))),
            ("time_before", Some(&at(before))),
        );
        reader.finish().map(|()| (micros(from), micros(last)))
    };
    assert_eq!(window(1_000, 3_000), Ok((Some(1), Some(2))));
    // Finer bounds are rounded up, both of them.
    assert_eq!(window(1_001, 3_001), Ok((Some(2), Some(3))));
    assert_eq!(window(1_001, 1_999), Ok((Some(2), Some(1))), "empty");
    assert_eq!(window(1_000, 1_000), Ok((Some(1), Some(0))), "empty");
    assert!(window(1_001, 1_000).is_err());
}

/// The default and the maximum of `page_size`, the field of the number, and how the first page is numbered.
fn read_page(number: Option<i32>, size: i32, token: &str, first: i32) -> Result<Page<i64>> {
    let binding = Binding::new("/a.B/C", &());
    let mut reader = Reader::new();
    let page = match first {
        0 => reader.page_from_0(number, size, token, binding),
        _ => reader.page_from_1(number, size, (100, 500), token, binding),
    };
    reader.finish().map(|()| page)
}

#[test]
fn a_page_number_and_a_token_exclude_each_other() {
    let token = page_token::encode(Binding::new("/a.B/C", &()), &1_i64);
    for first in [0, 1] {
        let read = |number, size, token: &str| read_page(number, size, token, first);
        let page = |size, start| Ok(Page::new(size, start));
        assert_eq!(read(None, 0, ""), page(100, Start::First));
        assert_eq!(read(None, 501, ""), page(500, Start::First));
        assert_eq!(read(Some(first), 0, ""), page(100, Start::Skip(0)));
        assert_eq!(read(Some(first + 2), 10, ""), page(10, Start::Skip(20)));
        assert_eq!(read(None, 501, &token), page(500, Start::After(1)));
        for (number, size, token) in [
            (Some(first), 501, ""),
            (Some(first + 1), 501, ""),
            (Some(first), 0, &*token),
            (Some(first + 1), 0, &*token),
            (Some(first - 1), 0, ""),
            (None, -1, ""),
            (Some(first + 2_001), 500, ""),
        ] {
            assert!(
                matches!(read(number, size, token), Err(Error::InvalidRequest(_))),
                "{number:?} {size} {token}"
            );
        }
        assert_eq!(read(None, 0, "x"), Err(Error::PageTokenInvalid));
    }
}

#[test]
fn an_offset_and_a_token_exclude_each_other() {
    let binding = Binding::new("/a.B/C", &());
    let token = page_token::encode(binding, &1_i64);
    let judge = |limit, offset, token: &str| {
        let mut reader = Reader::new();
        let page = reader.offset_page::<i64>(limit, 1_000, offset, token, binding);
        reader.finish().map(|()| (page.size, page.start))
    };
    assert_eq!(judge(0, None, ""), Ok((100, Start::First)));
    assert_eq!(judge(1_001, None, ""), Ok((1_000, Start::First)));
    assert_eq!(judge(7, Some(0), ""), Ok((7, Start::Skip(0))));
    assert_eq!(judge(7, Some(3), ""), Ok((7, Start::Skip(3))));
    assert_eq!(judge(1_001, None, &token), Ok((1_000, Start::After(1))));
    for (limit, offset, token) in [
        (1_001, Some(0), ""),
        (1_001, Some(1), ""),
        (0, Some(0), &*token),
        (0, Some(1), &*token),
        (-1, None, ""),
        (0, Some(-1), ""),
        (0, Some(1_000_001), ""),
    ] {
        assert!(
            judge(limit, offset, token).is_err(),
            "{limit} {offset:?} {token}"
        );
    }
}
