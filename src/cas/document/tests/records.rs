//! Random records. A failure prints its smallest input and adds its seed to `proptest-regressions/`.

use std::fmt::Debug;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use rust_decimal::Decimal;

use super::*;
use crate::cas::string_enum::StringEnum;

fn texts() -> impl Strategy<Value = Option<String>> {
    option::of("[a-z\"\\\\/~é😀\n]{1,8}")
}

fn times() -> impl Strategy<Value = Option<Time>> {
    let micros = prop_oneof![
        any::<i32>().prop_map(i64::from),
        -62_135_596_800_000_000..=253_402_300_799_999_999_i64
    ];
    option::of(micros.prop_map(at))
}

fn enum_values<E: StringEnum + Debug>() -> impl Strategy<Value = Option<E>> {
    option::of(select(E::ALL))
}

fn amounts() -> impl Strategy<Value = CasValue> {
    let limit = 10_i128.pow(16);
    let amount = (-limit + 1..limit, 0_u32..=12).prop_map(|(mantissa, scale)| {
        Amount::from_decimal(Decimal::from_i128_with_scale(mantissa, scale)).expect("16 digits")
    });
    (enum_values(), option::of(amount))
        .prop_map(|(value_type, amount)| CasValue { value_type, amount })
}

fn records() -> impl Strategy<Value = RecordFields> {
    let ids = [(); 7].map(|()| texts());
    let enums = (enum_values(), enum_values(), option::of(any::<i64>()));
    let statuses = (texts(), texts()).prop_map(|(code, message)| StatusMessage { code, message });
    let comments =
        (texts(), texts(), texts(), times()).prop_map(|(kind, comment, by, time)| Comment {
            comment_type: kind,
            comment,
            last_modified_by: by,
            last_modified_at: time,
        });
    let affirmation = (option::of(any::<bool>()), texts(), times());
    (
        ids,
        enums,
        vec(statuses, 0..3),
        amounts(),
        amounts(),
        vec(comments, 0..3),
        affirmation,
    )
        .prop_map(
            |(ids, enums, status_messages, value, override_value, comments, affirmation)| {
                let [
                    deal,
                    tranche,
                    source,
                    account,
                    indication,
                    row_version,
                    group,
                ] = ids;
                RecordFields {
                    deal_id: deal,
                    tranche_id: tranche,
                    source_id: source,
                    investor_account_id: account,
                    indication_id: indication,
                    company_id: enums.2,
                    source_row_version: row_version,
                    order_status: enums.0,
                    indication_group_id: group,
                    status_messages,
                    value,
                    override_value,
                    distribution_type: enums.1,
                    comments,
                    affirmation: Affirmation {
                        is_affirmed: affirmation.0,
                        modified_by: affirmation.1,
                        modified_at: affirmation.2,
                    },
                }
            },
        )
}

proptest! {
    #[test]
    fn every_record_comes_back_as_it_went(fields in records()) {
        prop_assert_eq!(read(&write(&record(fields.clone()))), Ok(fields));
    }

    /// Every member is read into its own field: removing one changes no other.
    #[test]
    fn a_member_taken_away_takes_nothing_with_it(fields in records(), name in select(&NAMES[..])) {
        let before = record(fields);
        let Json::Object(mut members) = write(&before) else {
            panic!("an object")
        };
        members.remove(name);
        let after = record(read(&Json::Object(members.clone())).expect("a record"));
        let Json::Object(mut written) = write(&after) else {
            panic!("an object")
        };
        // Arrays are always present.
        let emptied = written.remove(name);
        prop_assert!(emptied.is_none() || name == "statusMessages" || name == "comment");
        prop_assert_eq!(written, members);
    }
}

/// The members that callers set.
const NAMES: [&str; 14] = [
    "dealId",
    "trancheId",
    "sourceId",
    "investorAccountId",
    "indicationId",
    "companyId",
    "sourceRowVersion",
    "orderStatus",
    "indicationGroupId",
    "statusMessages",
    "allocationValue",
    "distributionType",
    "comment",
    "detail",
];
