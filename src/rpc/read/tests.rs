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
fn a_page_number_and_a_token_exclude_each_other() {
    let binding = Binding::new("/a.B/C", &());
    let token = page_token::encode(binding, &1_u8);
    let judge = |number, size, token: &str| {
        let mut reader = Reader::new();
        let page = reader.page::<u8>(number, size, token, binding);
        reader.finish().map(|()| page)
    };
    assert_eq!(
        judge(0, 0, ""),
        Ok(Page {
            size: 100,
            start: Start::Skip(0)
        })
    );
    assert_eq!(
        judge(2, 10, ""),
        Ok(Page {
            size: 10,
            start: Start::Skip(20)
        })
    );
    assert_eq!(
        judge(0, 501, &token),
        Ok(Page {
            size: 500,
            start: Start::After(1)
        })
    );
    for (number, size, token) in [
        (1, 501, ""),
        (1, 0, &*token),
        (-1, 0, ""),
        (0, -1, ""),
        (2_001, 500, ""),
    ] {
        assert!(
            judge(number, size, token).is_err(),
            "{number} {size} {token}"
        );
    }
    assert_eq!(judge(0, 0, "x"), Err(Error::PageTokenInvalid));
}

#[test]
fn an_offset_and_a_token_exclude_each_other() {
    let binding = Binding::new("/a.B/C", &());
    let token = page_token::encode(binding, &1_u8);
    let judge = |limit, offset, token: &str| {
        let mut reader = Reader::new();
        let page = reader.offset_page::<u8>(limit, 1_000, offset, token, binding);
        reader.finish().map(|()| (page.size, page.start))
    };
    assert_eq!(judge(0, 0, ""), Ok((100, Start::Skip(0))));
    assert_eq!(judge(7, 3, ""), Ok((7, Start::Skip(3))));
    assert_eq!(judge(1_001, 0, &token), Ok((1_000, Start::After(1))));
    for (limit, offset, token) in [
        (1_001, 1, ""),
        (0, 1, &*token),
        (-1, 0, ""),
        (0, -1, ""),
        (0, 1_000_001, ""),
    ] {
        assert!(
            judge(limit, offset, token).is_err(),
            "{limit} {offset} {token}"
        );
    }
}
