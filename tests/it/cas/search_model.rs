//! Random searches, compared with a filter and a sort in memory over the same records.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use earmark::proto::common::v1::SortDirection;
use prost_types::Timestamp;

use super::{Client, cash, create, criterion, pb, search};
use crate::support::earmark::Earmark;
use crate::support::random::Random;

const RECORDS: usize = 60;
const SEARCHES: usize = 300;

/// A value of a field as the reference sees it. Of one field all have one kind.
#[derive(Clone, Debug, PartialEq, PartialOrd)]
enum Seen {
    Text(String),
    /// Whole numbers, amounts in units of 10⁻¹², and times in microseconds.
    Number(i128),
    Flag(bool),
}

fn text(value: &Option<String>) -> Option<Seen> {
    value.clone().map(Seen::Text)
}

fn time(value: Option<Timestamp>) -> Option<Seen> {
    let time = value?;
    let micros = i128::from(time.seconds) * 1_000_000 + i128::from(time.nanos) / 1_000;
    Some(Seen::Number(micros))
}

fn amount(data: Option<&pb::AllocationValueData>) -> Option<Seen> {
    let written = data?.amount.as_deref()?;
    Some(Seen::Number(units(written)))
}

/// A decimal in units of 10⁻¹².
fn units(written: &str) -> i128 {
    let (whole, fraction) = written.split_once('.').unwrap_or((written, ""));
    let digits = format!("{whole}{fraction:0<12}");
    digits.parse().expect("digits")
}

fn word(name: &str, prefix: &str) -> Option<Seen> {
    let word = name.strip_prefix(prefix).expect("the prefix");
    let mut letters = String::new();
    let mut is_upper = false;
    for letter in word.chars() {
        match letter {
            '_' => is_upper = true,
            letter if is_upper => {
                letters.push(letter);
                is_upper = false;
            }
            letter => letters.push(letter.to_ascii_lowercase()),
        }
    }
    (letters != "unspecified").then_some(Seen::Text(letters))
}

const FIELDS: [&str; 22] = [
    "dealId",
    "trancheId",
    "source_id",
    "investorAccountId",
    "indicationId",
    "indication_group_id",
    "sourceRowVersion",
    "companyId",
    "version",
    "createdBy",
    "createdDateTime",
    "lastModifiedDateTime",
    "orderStatus",
    "distribution_type",
    "allocationValue.type",
    "allocationValue.data.amount",
    "allocation_value.override_allocation.data.amount",
    "statusMessages.code",
    "statusMessages.message",
    "comment.comments.commentType",
    "comment.comments.lastModifiedDateTime",
    "detail.order.affirmation.isAffirmed",
];

/// The values of a field: one of a scalar, one of each element of an array; an empty array has one that is unset.
fn values(record: &pb::CasAllocation, field: &str) -> Vec<Option<Seen>> {
    let value = record.allocation_value.as_ref();
    let scalar = match field {
        "dealId" => text(&record.deal_id),
        "trancheId" => text(&record.tranche_id),
        "source_id" => text(&record.source_id),
        "investorAccountId" => text(&record.investor_account_id),
        "indicationId" => text(&record.indication_id),
        "indication_group_id" => text(&record.indication_group_id),
        "sourceRowVersion" => text(&record.source_row_version),
        "companyId" => record.company_id.map(|id| Seen::Number(id.into())),
        "version" => Some(Seen::Number(record.version.into())),
        "createdBy" => text(&record.created_by),
        "createdDateTime" => time(record.created_date_time),
        "lastModifiedDateTime" => time(record.last_modified_date_time),
        "orderStatus" => word(record.order_status().as_str_name(), "ORDER_STATUS_"),
        "distribution_type" => word(
            record.distribution_type().as_str_name(),
            "DISTRIBUTION_TYPE_",
        ),
        "allocationValue.type" => {
            value.and_then(|value| word(value.r#type().as_str_name(), "ALLOCATION_VALUE_TYPE_"))
        }
        "allocationValue.data.amount" => value.and_then(|value| amount(value.data.as_ref())),
        "allocation_value.override_allocation.data.amount" => value
            .and_then(|value| value.override_allocation.as_ref())
            .and_then(|value| amount(value.data.as_ref())),
        "detail.order.affirmation.isAffirmed" => record
            .detail
            .as_ref()
            .and_then(|detail| detail.order.as_ref()?.affirmation.as_ref()?.is_affirmed)
            .map(Seen::Flag),
        _ => {
            let (array, member) = field.rsplit_once('.').expect("of an array");
            let elements = elements(record, array).into_iter();
            let values = elements.map(|element| element[member].clone());
            return or_unset(values.collect());
        }
    };
    vec![scalar]
}

/// The members of each element of an array.
fn elements(record: &pb::CasAllocation, array: &str) -> Vec<BTreeMap<&'static str, Option<Seen>>> {
    if array == "statusMessages" {
        let members = |each: &pb::StatusMessage| {
            BTreeMap::from([("code", text(&each.code)), ("message", text(&each.message))])
        };
        return record.status_messages.iter().map(members).collect();
    }
    assert_eq!(array, "comment.comments");
    let comments = record.comment.iter().flat_map(|list| &list.comments);
    let members = |each: &pb::Comment| {
        BTreeMap::from([
            ("commentType", text(&each.comment_type)),
            ("lastModifiedDateTime", time(each.last_modified_date_time)),
        ])
    };
    comments.map(members).collect()
}

fn or_unset(values: Vec<Option<Seen>>) -> Vec<Option<Seen>> {
    if values.is_empty() {
        vec![None]
    } else {
        values
    }
}

/// A value as a criterion writes it.
fn written(field: &str, value: &Seen) -> String {
    match value {
        Seen::Text(text) => text.clone(),
        Seen::Flag(flag) => flag.to_string(),
        Seen::Number(micros) if field.ends_with("Time") => {
            let micros = i64::try_from(*micros).expect("in range");
            let time = chrono::DateTime::from_timestamp_micros(micros).expect("in range");
            time.to_rfc3339()
        }
        Seen::Number(units) if field.ends_with("amount") => {
            let sign = if *units < 0 { "-" } else { "" };
            let units = units.unsigned_abs();
            format!(
                "{sign}{}.{:012}",
                units / 10_u128.pow(12),
                units % 10_u128.pow(12)
            )
        }
        Seen::Number(number) => number.to_string(),
    }
}

/// The reference's own matcher, letter by letter.
fn is_like(text: &[char], pattern: &[char]) -> bool {
    match pattern {
        [] => text.is_empty(),
        ['%', rest @ ..] => (0..=text.len()).any(|taken| is_like(&text[taken..], rest)),
        ['_', rest @ ..] => !text.is_empty() && is_like(&text[1..], rest),
        ['\\', letter, rest @ ..] | [letter, rest @ ..] => {
            text.first() == Some(letter) && is_like(&text[1..], rest)
        }
    }
}

#[derive(Debug)]
struct Asked {
    field: &'static str,
    operator: &'static str,
    operands: Vec<Seen>,
}

impl Asked {
    fn fits(&self, record: &pb::CasAllocation) -> bool {
        values(record, self.field)
            .iter()
            .any(|value| self.fits_value(value))
    }

    fn fits_value(&self, value: &Option<Seen>) -> bool {
        let one = self.operands.first();
        let Some(value) = value else {
            return ["!=", "is-unset"].contains(&self.operator);
        };
        match self.operator {
            "is-set" => true,
            "is-unset" => false,
            "=" => Some(value) == one,
            "!=" => Some(value) != one,
            ">" => Some(value) > one,
            ">=" => Some(value) >= one,
            "<" => Some(value) < one,
            "<=" => Some(value) <= one,
            "in" => self.operands.contains(value),
            "like" => match (value, one) {
                (Seen::Text(text), Some(Seen::Text(pattern))) => {
                    let letters = |text: &str| text.chars().collect::<Vec<_>>();
                    is_like(&letters(text), &letters(pattern))
                }
                _ => panic!("like takes texts"),
            },
            other => panic!("{other}"),
        }
    }

    fn message(&self) -> pb::Criterion {
        let values = self.operands.iter().map(|each| written(self.field, each));
        let value = match self.operator {
            "in" => {
                let escaped = values.map(|value| value.replace('\\', "\\\\").replace(',', "\\,"));
                escaped.collect::<Vec<_>>().join(",")
            }
            _ => values.collect(),
        };
        criterion(self.field, self.operator, &value)
    }
}

/// What a search asks for in one criterion.
#[derive(Debug)]
enum Condition {
    Field(Asked),
    /// Of one element of this array.
    Any(&'static str, Vec<Asked>),
}

impl Condition {
    fn random(random: &mut Random, records: &[pb::CasAllocation]) -> Self {
        if !random.one_in(3) {
            return Self::Field(asked(random, records, &FIELDS));
        }
        let (array, members) = match random.one_in(2) {
            true => (
                "statusMessages",
                ["statusMessages.code", "statusMessages.message"],
            ),
            false => (
                "comment.comments",
                [
                    "comment.comments.commentType",
                    "comment.comments.lastModifiedDateTime",
                ],
            ),
        };
        let inner = (0..random.number(1..4)).map(|_| asked(random, records, &members));
        Self::Any(array, inner.collect())
    }

    fn fits(&self, record: &pb::CasAllocation) -> bool {
        match self {
            Self::Field(asked) => asked.fits(record),
            Self::Any(array, all) => elements(record, array).iter().any(|element| {
                let member = |field: &str| &element[field.rsplit('.').next().expect("a name")];
                all.iter()
                    .all(|asked| asked.fits_value(member(asked.field)))
            }),
        }
    }

    fn message(&self) -> pb::Criterion {
        match self {
            Self::Field(asked) => asked.message(),
            Self::Any(array, all) => {
                let inner = all.iter().map(|asked| {
                    let pb::Criterion {
                        field,
                        operator,
                        value,
                        ..
                    } = asked.message();
                    pb::ElementCriterion {
                        field: field.rsplit('.').next().expect("a name").into(),
                        operator,
                        value,
                    }
                });
                pb::Criterion {
                    field: (*array).into(),
                    any: inner.collect(),
                    ..Default::default()
                }
            }
        }
    }
}

const TEXTS: [&str; 10] = [
    "",
    "a",
    "B",
    "ab",
    "a%b",
    "a_b",
    "a,b",
    "a\\b",
    "ä",
    "\u{1f600}",
];
const AMOUNTS: [&str; 6] = [
    "0",
    "9",
    "10",
    "-10.5",
    "9.999999999999",
    "9999999999999999.000000000001",
];

/// A record with random texts, and nothing else set.
fn random_texts(random: &mut Random) -> pb::CasAllocation {
    let mut some_text = || {
        let is_set = !random.one_in(4);
        is_set.then(|| TEXTS[random.number(0..TEXTS.len())].to_owned())
    };
    pb::CasAllocation {
        deal_id: some_text(),
        tranche_id: some_text(),
        investor_account_id: some_text(),
        indication_id: some_text(),
        indication_group_id: some_text(),
        source_row_version: some_text(),
        ..Default::default()
    }
}

async fn record(client: &Client, random: &mut Random, index: usize) -> pb::CasAllocation {
    let said = random_texts(random);
    let at = |seconds: usize| Timestamp {
        seconds: i64::try_from(seconds).expect("small"),
        nanos: 5_000,
    };
    let override_allocation = pb::OverrideAllocation {
        data: cash(AMOUNTS[random.number(0..AMOUNTS.len())]).data,
        ..Default::default()
    };
    let value = pb::AllocationValue {
        r#type: i32::try_from(random.number(0..3)).expect("small"),
        override_allocation: random.one_in(2).then_some(override_allocation),
        ..cash(AMOUNTS[random.number(0..AMOUNTS.len())])
    };
    let affirmation = pb::Affirmation {
        is_affirmed: Some(random.one_in(2)),
        ..Default::default()
    };
    let detail = pb::AllocationDetail {
        order: Some(pb::AllocationOrder {
            affirmation: Some(affirmation),
        }),
    };
    let said = pb::CasAllocation {
        source_id: (!random.one_in(3)).then(|| format!("S{}", index % 100)),
        company_id: (!random.one_in(4)).then(|| random.number(0..12) as i64 - 3),
        order_status: i32::try_from(random.number(0..6)).expect("small"),
        distribution_type: i32::try_from(random.number(0..4)).expect("small"),
        status_messages: (0..random.number(0..3))
            .map(|_| pb::StatusMessage {
                code: (!random.one_in(3)).then(|| TEXTS[random.number(0..TEXTS.len())].into()),
                message: random.one_in(2).then(|| TEXTS[random.number(0..4)].into()),
            })
            .collect(),
        comment: Some(pb::CommentList {
            comments: (0..random.number(0..3))
                .map(|_| pb::Comment {
                    comment_type: random.one_in(2).then(|| TEXTS[random.number(0..3)].into()),
                    last_modified_date_time: random.one_in(2).then(|| at(random.number(0..4))),
                    ..Default::default()
                })
                .collect(),
        }),
        allocation_value: (!random.one_in(4)).then_some(value),
        detail: (!random.one_in(3)).then_some(detail),
        ..said
    };
    let mut record = create(client, said.clone()).await;
    if random.one_in(4) {
        let request = pb::UpdateAllocationRequest {
            id: record.id,
            allocation: Some(said),
            ..Default::default()
        };
        let answer = client
            .clone()
            .update_allocation(request)
            .await
            .expect("updated");
        record = answer.into_inner().allocation.expect("set");
    }
    record
}

fn asked(random: &mut Random, records: &[pb::CasAllocation], fields: &[&'static str]) -> Asked {
    loop {
        let field = fields[random.number(0..fields.len())];
        // Values that records have: others would find nothing most of the time.
        let known: Vec<Seen> = records
            .iter()
            .flat_map(|each| values(each, field))
            .flatten()
            .collect();
        let operators = [
            "=", "!=", ">", ">=", "<", "<=", "in", "like", "is-set", "is-unset",
        ];
        let operator = operators[random.number(0..operators.len())];
        let is_text = matches!(known.first(), Some(Seen::Text(_)))
            && !["orderStatus", "distribution_type", "allocationValue.type"].contains(&field);
        let operands = match operator {
            "is-set" | "is-unset" => Vec::new(),
            "like" if !is_text => continue,
            "like" => {
                let patterns = [
                    "%", "%%", "%_%", "a%", "%b", "%a%", "%_b", "a%%b", "a_b", "a\\%b", "_",
                    "%\\\\%", "%\\%%", "S1%", "",
                ];
                vec![Seen::Text(
                    patterns[random.number(0..patterns.len())].into(),
                )]
            }
            "in" => (0..random.number(1..4))
                .map(|_| known[random.number(0..known.len())].clone())
                .collect(),
            _ => vec![known[random.number(0..known.len())].clone()],
        };
        return Asked {
            field,
            operator,
            operands,
        };
    }
}

/// An unset value is above all others.
fn compare(one: &Option<Seen>, other: &Option<Seen>) -> Ordering {
    match (one, other) {
        (None, None) => Ordering::Equal,
        (None, Some(_)) => Ordering::Greater,
        (Some(_), None) => Ordering::Less,
        (Some(one), Some(other)) => one.partial_cmp(other).expect("one kind"),
    }
}

/// The records of all pages of a search. Each page is asked for its total or not.
async fn walked(
    client: &Client,
    request: &mut pb::SearchAllocationsRequest,
    random: &mut Random,
    expected: i64,
) -> Vec<String> {
    let mut found = Vec::new();
    let mut total = Some(expected);
    loop {
        request.count = i32::try_from(random.number(0..3)).expect("small");
        let answer = search(client, request.clone()).await;
        let answer = answer.unwrap_or_else(|status| panic!("{status:?} to {request:?}"));
        total = match request.count() {
            // As on the page before; the first one is counted.
            pb::TotalCount::Unspecified => total,
            pb::TotalCount::Exact => Some(expected),
            pb::TotalCount::None => None,
        };
        assert_eq!(answer.total_count, total, "{request:?}");
        found.extend(answer.allocations.into_iter().map(|each| each.id));
        if answer.next_page_token.is_empty() {
            return found;
        }
        request.page_token = answer.next_page_token;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn random_searches_match_a_filter_in_memory() {
    let seed = std::env::var("EARMARK_SEED").map_or(11, |seed| seed.parse().expect("a number"));
    let mut random = Random::new(seed);
    let earmark = Earmark::start().await;
    let client = earmark.firm("1");
    let mut records = Vec::new();
    for index in 0..RECORDS {
        records.push(record(&client, &mut random, index).await);
        // Another firm's are never found.
        if index % 10 == 0 {
            record(&earmark.firm("2"), &mut random, index).await;
        }
    }
    let mut hits = 0;
    for round in 0..SEARCHES {
        let criteria: Vec<Condition> = (0..random.number(0..4))
            .map(|_| Condition::random(&mut random, &records))
            .collect();
        let mut fields = FIELDS.to_vec();
        let mut sort = Vec::new();
        for _ in 0..random.number(0..4) {
            let field = fields.swap_remove(random.number(0..fields.len()));
            sort.push((field, random.one_in(2)));
        }

        let mut expected: Vec<_> = records
            .iter()
            .filter(|each| criteria.iter().all(|c| c.fits(each)))
            .collect();
        // They were created in this order, which breaks ties.
        expected.sort_by(|one, other| {
            let mut keys = sort.iter().map(|(field, descending)| {
                let order = compare(&values(one, field)[0], &values(other, field)[0]);
                if *descending { order.reverse() } else { order }
            });
            keys.find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
        });
        let expected: Vec<&str> = expected.into_iter().map(|each| each.id.as_str()).collect();

        let direction = |descending: bool| match descending {
            true => SortDirection::Desc.into(),
            false => SortDirection::Asc.into(),
        };
        let mut request = pb::SearchAllocationsRequest {
            criteria: criteria.iter().map(Condition::message).collect(),
            sort_fields: sort
                .iter()
                .map(|(field, descending)| pb::SortField {
                    field: (*field).into(),
                    direction: direction(*descending),
                })
                .collect(),
            page_size: i32::try_from(random.number(1..RECORDS)).expect("small"),
            ..Default::default()
        };
        let found = walked(&client, &mut request, &mut random, expected.len() as i64).await;
        assert_eq!(found, expected, "seed {seed}, round {round}: {request:?}");
        hits += expected.len();
    }
    assert!(
        hits > SEARCHES,
        "searches that find nothing test nothing: {hits}"
    );
}
