//! CHECK constraints: the database refuses invalid rows whoever writes them.

use std::collections::BTreeSet;

use tokio_postgres::error::DbError;

use super::{migrated, texts};

const OWNER: &str = "'00000000-0000-0000-0000-0000000000aa'";
/// SQL for the owner's custody account and for its world account.
const OWN: &str = "'00000000-0000-0000-0000-000000000001'";
const WORLD: &str = "'00000000-0000-0000-0000-000000000002'";

/// Values that no amount may have.
const NO_AMOUNTS: [&str; 6] = [
    "'NaN'",
    "'Infinity'",
    "'-Infinity'",
    "10000000000000000000000000000",
    "-10000000000000000000000000000",
    "9999999999999999999999999999.5",
];

fn account(account: &str, available: &str, held: &str, version: i32) -> String {
    format!(
        "INSERT INTO account VALUES ({OWNER}, {account}, 'BTC', {available}, {held}, {version})"
    )
}

/// `numbers` are the two deltas and the two balances.
fn entry(numbers: [&str; 4], version: i32, cause: &str) -> String {
    let numbers = numbers.join(", ");
    format!(
        "INSERT INTO entry (owner_id, account_id, unit, version, available_delta, held_delta, available, held, cause,
                            cause_id, time)
         VALUES ({OWNER}, {OWN}, 'BTC', {version}, {numbers}, '{cause}', gen_random_uuid(), now())"
    )
}

/// An INSERT of an open allocation that is valid but for these columns.
fn open_allocation(changes: &[(&str, &str)]) -> String {
    insert("open_allocation", &ALLOCATION, changes)
}

/// An INSERT of a cleared allocation that is valid but for these columns.
fn closed_allocation(changes: &[(&str, &str)]) -> String {
    let cleared = [
        ("status", "'CLEARED'"),
        ("closed_cause", "'CLEAR'"),
        ("closed_custody_version", "2"),
        ("closed_connection_version", "1"),
    ];
    let mut columns = ALLOCATION.to_vec();
    columns.retain(|(name, _)| *name != "status");
    columns.extend(cleared);
    insert("closed_allocation", &columns, changes)
}

const ALLOCATION: [(&str, &str); 16] = [
    ("owner_id", OWNER),
    ("id", "gen_random_uuid()"),
    ("type", "'ALLOCATION'"),
    ("status", "'RESERVED'"),
    ("currency", "'BTC'"),
    ("quantity", "1"),
    ("connection_id", "gen_random_uuid()"),
    ("client_id", "gen_random_uuid()"),
    ("partner_id", "gen_random_uuid()"),
    ("client_external_id", "gen_random_uuid()"),
    ("initiated_by", "'somebody'"),
    ("created_at", "now()"),
    ("updated_at", "now()"),
    ("content_hash", "''"),
    ("opened_custody_version", "1"),
    ("opened_connection_version", "0"),
];

/// The INSERT of these columns with some of them changed.
fn insert(table: &str, columns: &[(&str, &str)], changes: &[(&str, &str)]) -> String {
    let mut columns = columns.to_vec();
    columns.retain(|(name, _)| changes.iter().all(|(changed, _)| changed != name));
    columns.extend(changes);
    let (names, values): (Vec<_>, Vec<_>) = columns.into_iter().unzip();
    let (names, values) = (names.join(", "), values.join(", "));
    format!("INSERT INTO {table} ({names}) VALUES ({values})")
}

/// A digest, for SQL.
const DIGEST: &str = "sha256('x')";

/// An INSERT of a first period that is valid but for these columns.
fn period(changes: &[(&str, &str)]) -> String {
    let columns = [
        ("start_time", "'2026-01-01'"),
        ("end_time", "'2026-02-01'"),
        ("digest", DIGEST),
        ("format", "1"),
        ("owners", "1"),
        ("entries", "1"),
        ("sealed_at", "'2026-02-02'"),
    ];
    insert("sealed_period", &columns, changes)
}

fn sealed_owner(changes: &[(&str, &str)]) -> String {
    let columns = [
        ("owner_id", OWNER),
        ("end_time", "'2026-02-01'"),
        ("digest", DIGEST),
        ("entries", "1"),
    ];
    insert("sealed_owner", &columns, changes)
}

fn carry_forward(changes: &[(&str, &str)]) -> String {
    let columns = [
        ("owner_id", OWNER),
        ("account_id", OWN),
        ("unit", "'BTC'"),
        ("end_time", "'2026-02-01'"),
        ("version", "1"),
        ("time", "'2026-01-31'"),
        ("available", "0"),
        ("held", "0"),
        ("reservation_count", "0"),
        ("entries", "1"),
        ("digest", DIGEST),
    ];
    insert("carry_forward", &columns, changes)
}

/// An INSERT of an archived period, whose seal is missing.
fn archived_period(changes: &[(&str, &str)]) -> String {
    let columns = [
        ("end_time", "'2026-02-01'"),
        ("entries", "1"),
        ("records", "0"),
        ("manifest_digest", DIGEST),
        ("archived_at", "'2026-03-03'"),
    ];
    insert("archived_period", &columns, changes)
}

fn refused_of_seals() -> Vec<Case> {
    let mut cases: Vec<Case> = vec![
        (
            "sealed_period_order",
            period(&[("end_time", "'2026-01-01'")]),
        ),
        (
            "sealed_period_order",
            period(&[("sealed_at", "'2026-01-31'")]),
        ),
        ("sealed_period_digest", period(&[("digest", "'x'")])),
        (
            "sealed_period_digest",
            period(&[("previous_digest", "sha512('x')")]),
        ),
        ("sealed_period_format", period(&[("format", "0")])),
        ("sealed_period_counts", period(&[("entries", "0")])),
        ("sealed_period_counts", period(&[("owners", "-1")])),
        (
            "archived_period_counts",
            archived_period(&[("entries", "-1")]),
        ),
        (
            "archived_period_counts",
            archived_period(&[("records", "-1")]),
        ),
        (
            "archived_period_digest",
            archived_period(&[("manifest_digest", "'x'")]),
        ),
        (
            "archived_period_order",
            archived_period(&[("archived_at", "'2026-01-31'")]),
        ),
        ("sealed_owner_digest", sealed_owner(&[("digest", "''")])),
        ("sealed_owner_entries", sealed_owner(&[("entries", "0")])),
        (
            "carry_forward_time",
            carry_forward(&[("time", "'2026-02-01'")]),
        ),
        ("carry_forward_entries", carry_forward(&[("entries", "0")])),
        ("carry_forward_entries", carry_forward(&[("entries", "2")])),
        (
            "carry_forward_reservation_count",
            carry_forward(&[("reservation_count", "-1")]),
        ),
        ("carry_forward_digest", carry_forward(&[("digest", "''")])),
    ];
    for bad in &NO_AMOUNTS[..5] {
        for column in ["available", "held"] {
            cases.push(("carry_forward_in_range", carry_forward(&[(column, bad)])));
        }
    }
    cases
}

/// An INSERT of a CAS allocation that is valid but for these columns.
fn cas_allocation(changes: &[(&str, &str)]) -> String {
    let columns = [
        ("owner_id", "gen_random_uuid()"),
        ("id", "gen_random_uuid()"),
        ("created_by", "'somebody'"),
        ("created_at", "now()"),
        ("last_modified_by", "'somebody'"),
        ("last_modified_at", "now()"),
        ("version", "1"),
        ("status_messages", "'[]'"),
        ("comments", "'[]'"),
        ("content_hash", "''"),
    ];
    insert("cas_allocation", &columns, changes)
}

fn bucket(changes: &[(&str, &str)]) -> String {
    let columns = [
        ("owner_id", "gen_random_uuid()"),
        ("tenant", "gen_random_uuid()"),
        ("id", "'x'"),
        ("status", "'ACTIVE'"),
        ("unit", "'EUR'"),
        ("details", "'{}'"),
        ("initiated_by", "'somebody'"),
        ("content_hash", "''"),
        ("opened_amount", "0"),
        ("opened_version", "0"),
        ("version", "1"),
        ("created_at", "now()"),
        ("updated_at", "now()"),
    ];
    insert("bucket", &columns, changes)
}

/// An INSERT of a topup that is valid but for these columns.
fn action(changes: &[(&str, &str)]) -> String {
    action_of("closed_bucket_action", changes)
}

/// An INSERT of an open reserve that is valid but for these columns.
fn open_reserve(changes: &[(&'static str, &'static str)]) -> String {
    action_of("open_bucket_action", &changed(&RESERVE, changes))
}

fn action_of(table: &str, changes: &[(&str, &str)]) -> String {
    let columns = [
        ("owner_id", OWNER),
        ("id", "gen_random_uuid()"),
        ("tenant", "gen_random_uuid()"),
        ("bucket_id", "'x'"),
        ("type", "'TOPUP'"),
        ("status", "'COMPLETED'"),
        ("request_id", "gen_random_uuid()"),
        ("content_hash", "''"),
        ("unit", "'EUR'"),
        ("amount", "1"),
        ("own_version", "1"),
        ("details", "'{}'"),
        ("initiated_by", "'somebody'"),
        ("created_at", "now()"),
        ("updated_at", "now()"),
    ];
    insert(table, &columns, changes)
}

/// The columns that make a topup an action of another kind.
const RESERVE: [(&str, &str); 3] = [
    ("type", "'RESERVE'"),
    ("status", "'CREATED'"),
    ("remaining_amount", "1"),
];
const EXPIRED: [(&str, &str); 7] = [
    ("type", "'RESERVE'"),
    ("status", "'CANCELLED'"),
    ("remaining_amount", "0"),
    ("expire_time", "now()"),
    ("closed_cause", "'EXPIRE'"),
    ("closed_by", OWNER),
    ("returned_amount", "1"),
];
const UNRESERVE: [(&str, &str); 2] = [("type", "'UNRESERVE'"), ("reserve_id", "gen_random_uuid()")];
const DRAW: [(&str, &str); 3] = [
    ("type", "'DEDUCT'"),
    ("reserve_id", "gen_random_uuid()"),
    ("returned_amount", "0"),
];
const TRANSFER: [(&str, &str); 4] = [
    ("type", "'TRANSFER'"),
    ("receiver_owner_id", "gen_random_uuid()"),
    ("receiver_bucket_id", "'y'"),
    ("receiver_version", "1"),
];

/// These columns with some of them changed.
fn changed<'a>(
    kind: &[(&'a str, &'a str)],
    changes: &[(&'a str, &'a str)],
) -> Vec<(&'a str, &'a str)> {
    let mut all = kind.to_vec();
    all.retain(|(name, _)| changes.iter().all(|(changed, _)| changed != name));
    all.extend(changes);
    all
}

/// An INSERT of another company that is valid but for these columns.
fn company(changes: &[(&str, &str)]) -> String {
    let columns = [
        (
            "owner_id",
            "(SELECT owner_id FROM owner EXCEPT SELECT owner_id FROM catalogue_company)",
        ),
        ("company_id", "1"),
        ("name", "'x'"),
        ("version", "1"),
        ("created_at", "now()"),
        ("updated_at", "now()"),
    ];
    insert("catalogue_company", &columns, changes)
}

/// An INSERT of an allocation of the first company that is valid but for these columns.
fn offer(changes: &[(&str, &str)]) -> String {
    let columns = [
        (
            "owner_id",
            "(SELECT owner_id FROM catalogue_company WHERE company_id = 7)",
        ),
        ("allocation_id", "1"),
        ("msrp_price", "'0.50'"),
        ("msrp_currency", "'USD'"),
        ("unit_price", "'1'"),
        ("unit_currency", "'USD'"),
        ("image", "'https://example.com/'"),
        ("translations", r#"'{"en": {}}'"#),
        ("languages", "'{en}'"),
        ("version", "1"),
        ("created_at", "now()"),
        ("updated_at", "now()"),
    ];
    insert("catalogue_allocation", &columns, changes)
}

fn refused_of_catalogues() -> Vec<Case> {
    let mut cases = vec![
        ("catalogue_company_id", company(&[("company_id", "0")])),
        ("catalogue_company_version", company(&[("version", "0")])),
        ("catalogue_allocation_version", offer(&[("version", "0")])),
        (
            "catalogue_company_deleted_version",
            company(&[("deleted_version_max", "0")]),
        ),
    ];
    for first in ["0", "2"] {
        let case = offer(&[("first_version", first)]);
        cases.push(("catalogue_allocation_first_version", case));
    }
    for id in ["0", "-1", "1000000000000000000"] {
        let case = offer(&[("allocation_id", id)]);
        cases.push(("catalogue_allocation_id", case));
    }
    for price in ["''", "'-1'", "'1.'", "'.5'", "'1e3'", "'0.0000000000001'"] {
        for column in ["msrp_price", "unit_price"] {
            cases.push(("catalogue_allocation_price", offer(&[(column, price)])));
        }
    }
    for column in ["msrp_currency", "unit_currency"] {
        let case = offer(&[(column, "'usd'")]);
        cases.push(("catalogue_allocation_currency", case));
    }
    let image = offer(&[("image", "'http://example.com/'")]);
    cases.push(("catalogue_allocation_image", image));
    for (column, value) in [
        ("translations", r#"'{"fr": {}}'"#),
        ("languages", "'{fr}'"),
        ("languages", "'{}'"),
    ] {
        let case = offer(&[(column, value)]);
        cases.push(("catalogue_allocation_english", case));
    }
    cases
}

/// The check that must refuse, and the statement.
type Case = (&'static str, String);

/// An INSERT of an action of this kind with these columns changed.
fn of(kind: &[(&'static str, &'static str)], changes: &[(&'static str, &'static str)]) -> String {
    action(&changed(kind, changes))
}

/// The columns of a transfer with a cost.
fn priced() -> Vec<(&'static str, &'static str)> {
    changed(
        &TRANSFER,
        &[("cost_amount", "1"), ("cost_owner", "'RECEIVER'")],
    )
}

fn refused_of_actions() -> Vec<Case> {
    let closed = [
        ("status", "'COMPLETED'"),
        ("remaining_amount", "0"),
        ("closed_cause", "'DEDUCT'"),
        ("closed_by", "gen_random_uuid()"),
    ];
    let closed = changed(&RESERVE, &closed);
    vec![
        ("closed_bucket_action_status", action(&RESERVE)),
        ("bucket_action_type", action(&[("type", "'GIFT'")])),
        ("bucket_action_status", action(&[("status", "'CREATED'")])),
        ("bucket_action_status", of(&closed, &[("status", "'DONE'")])),
        ("bucket_action_amount", action(&[("amount", "0")])),
        ("bucket_action_amount", action(&[("amount", "-1")])),
        (
            "bucket_action_amount",
            action(&[("type", "'WRITEOFF'"), ("amount", "1")]),
        ),
        (
            "bucket_action_remaining",
            action(&[("remaining_amount", "0")]),
        ),
        (
            "bucket_action_remaining",
            action(&[("expire_time", "now()")]),
        ),
        (
            "bucket_action_remaining",
            of(&RESERVE, &[("remaining_amount", "NULL")]),
        ),
        (
            "bucket_action_remaining",
            of(&RESERVE, &[("remaining_amount", "2")]),
        ),
        (
            "bucket_action_remaining",
            of(&RESERVE, &[("remaining_amount", "-1")]),
        ),
        (
            "bucket_action_remaining",
            of(&RESERVE, &[("remaining_amount", "0")]),
        ),
        (
            "bucket_action_remaining",
            of(&closed, &[("remaining_amount", "1")]),
        ),
        (
            "bucket_action_closed",
            of(&closed, &[("closed_cause", "NULL")]),
        ),
        (
            "bucket_action_closed",
            of(&closed, &[("closed_cause", "'CLEAR'")]),
        ),
        (
            "bucket_action_closed",
            of(&closed, &[("closed_by", "NULL")]),
        ),
        (
            "bucket_action_closed",
            of(&RESERVE, &[("closed_cause", "'EXPIRE'")]),
        ),
        (
            "bucket_action_closed",
            action(&[("closed_by", "gen_random_uuid()")]),
        ),
    ]
}

/// What no open reserve has.
fn refused_of_open() -> Vec<Case> {
    let refused = [
        ("type", "'DEDUCT'"),
        ("status", "'COMPLETED'"),
        ("remaining_amount", "NULL"),
        ("remaining_amount", "0"),
        ("remaining_amount", "2"),
        ("closed_cause", "'EXPIRE'"),
        ("closed_by", "gen_random_uuid()"),
        ("reserve_id", "gen_random_uuid()"),
        ("returned_amount", "1"),
        ("receiver_owner_id", "gen_random_uuid()"),
        ("receiver_bucket_id", "'y'"),
        ("receiver_version", "1"),
        ("cost_amount", "1"),
        ("cost_owner", "'ORIGINATOR'"),
    ];
    let mut cases: Vec<Case> = refused
        .iter()
        .map(|change| ("open_bucket_action_reserve", open_reserve(&[*change])))
        .collect();
    for bad in &NO_AMOUNTS[..5] {
        let amounts = [("amount", *bad), ("remaining_amount", "1")];
        cases.push(("open_bucket_action_reserve", open_reserve(&amounts)));
        cases.push((
            "open_bucket_action_reserve",
            open_reserve(&[("remaining_amount", bad)]),
        ));
    }
    cases
}

/// What actions refer to of reserves.
fn refused_of_reserves() -> Vec<Case> {
    let of_topup = |column: &'static str, value: &'static str| action(&[(column, value)]);
    let refused = [
        of_topup("reserve_id", "gen_random_uuid()"),
        of_topup("returned_amount", "0"),
        of(&RESERVE, &[("returned_amount", "1")]),
        of(&EXPIRED, &[("returned_amount", "0")]),
        of(&EXPIRED, &[("returned_amount", "1.1")]),
        of(&UNRESERVE, &[("reserve_id", "NULL")]),
        of(&UNRESERVE, &[("returned_amount", "1")]),
        of(&DRAW, &[("reserve_id", "NULL")]),
        of(&DRAW, &[("returned_amount", "NULL")]),
        of(&DRAW, &[("returned_amount", "-1")]),
    ];
    let cases = refused.map(|sql| ("bucket_action_reserve", sql));
    cases.into()
}

/// What transfers refer to: receivers, costs.
fn refused_of_transfers() -> Vec<Case> {
    let priced = priced();
    vec![
        (
            "bucket_action_transfer",
            action(&[("receiver_owner_id", "gen_random_uuid()")]),
        ),
        (
            "bucket_action_transfer",
            action(&[("receiver_bucket_id", "'y'")]),
        ),
        (
            "bucket_action_transfer",
            of(&TRANSFER, &[("receiver_owner_id", OWNER)]),
        ),
        (
            "bucket_action_transfer",
            of(&TRANSFER, &[("receiver_owner_id", "NULL")]),
        ),
        (
            "bucket_action_transfer",
            of(&TRANSFER, &[("receiver_version", "NULL")]),
        ),
        ("bucket_action_cost", of(&priced, &[("cost_owner", "NULL")])),
        (
            "bucket_action_cost",
            of(&priced, &[("cost_owner", "'NOBODY'")]),
        ),
        (
            "bucket_action_cost",
            of(&priced, &[("cost_amount", "NULL")]),
        ),
        ("bucket_action_cost", of(&priced, &[("cost_amount", "0")])),
        (
            "bucket_action_cost",
            action(&[("cost_amount", "1"), ("cost_owner", "'ORIGINATOR'")]),
        ),
    ]
}

/// The statements that must be refused, each with the check that must refuse it.
fn refused_of_buckets() -> Vec<Case> {
    let priced = priced();
    let mut cases = vec![
        ("bucket_status", bucket(&[("status", "'OPEN'")])),
        ("bucket_usage_type", bucket(&[("usage_type", "'GAS'")])),
        ("bucket_version", bucket(&[("version", "0")])),
        (
            "bucket_valid_for",
            bucket(&[
                ("valid_from", "now()"),
                ("valid_to", "now() - interval '1 s'"),
            ]),
        ),
        ("bucket_opened", bucket(&[("opened_amount", "1")])),
        ("bucket_opened", bucket(&[("opened_version", "1")])),
        (
            "bucket_opened",
            bucket(&[("opened_amount", "-1"), ("opened_version", "1")]),
        ),
        (
            "bucket_key_rpc",
            format!("INSERT INTO bucket_key VALUES ({OWNER}, 'CREATE', 'k', '', 0, now())"),
        ),
        (
            "bucket_update_version",
            format!(
                "INSERT INTO bucket_update VALUES ({OWNER}, 1, NULL, '', 0, 'somebody', now())"
            ),
        ),
    ];
    cases.extend(refused_of_actions());
    cases.extend(refused_of_open());
    cases.extend(refused_of_reserves());
    cases.extend(refused_of_transfers());
    for bad in &NO_AMOUNTS[..5] {
        cases.push(("bucket_action_amount", action(&[("amount", bad)])));
        for kind in [&DRAW[..], &EXPIRED] {
            cases.push((
                "bucket_action_reserve",
                of(kind, &[("returned_amount", bad)]),
            ));
        }
        cases.push(("bucket_action_cost", of(&priced, &[("cost_amount", bad)])));
        cases.push((
            "bucket_opened",
            bucket(&[("opened_amount", bad), ("opened_version", "1")]),
        ));
        // Within the amount, which must itself be none.
        cases.push((
            "bucket_action_remaining",
            of(&RESERVE, &[("remaining_amount", bad)]),
        ));
    }
    cases
}

fn adjustment(quantity: &str) -> String {
    format!(
        "INSERT INTO adjustment VALUES ({OWNER}, gen_random_uuid(), gen_random_uuid(), 'BTC', {quantity}, 'why',
                'somebody', '', 1, now())"
    )
}

/// An INSERT of a connection that is valid but for these columns.
fn connection(changes: &[(&str, &str)]) -> String {
    let columns = [
        ("id", "gen_random_uuid()"),
        ("client_id", "(SELECT id FROM client)"),
        ("partner_id", "(SELECT id FROM partner)"),
        ("client_enterprise_id", "(SELECT enterprise_id FROM client)"),
        (
            "partner_enterprise_id",
            "(SELECT enterprise_id FROM partner)",
        ),
        ("name", "'x'"),
        ("partners_connection_id", "''"),
        ("mode", "'INSTANT'"),
        ("allocations_enabled", "true"),
        ("deallocations_enabled", "true"),
        ("version", "1"),
        ("created_at", "now()"),
        ("updated_at", "now()"),
    ];
    insert("connection", &columns, changes)
}

const NETWORK: &str = "
    INSERT INTO enterprise SELECT gen_random_uuid(), name, true, 1, now(), now() FROM unnest('{a,b}'::text[]) name;
    INSERT INTO client SELECT gen_random_uuid(), id, 'c', now(), now() FROM enterprise WHERE name = 'a';
    INSERT INTO partner SELECT gen_random_uuid(), id, 'p', 'i', now(), now() FROM enterprise WHERE name = 'b';
    INSERT INTO owner SELECT gen_random_uuid() FROM generate_series(1, 2);
    INSERT INTO catalogue_company SELECT owner_id, 7, 'x', 1, now(), now() FROM owner LIMIT 1";

fn refused_of_network() -> Vec<Case> {
    vec![
        (
            "enterprise_version",
            "INSERT INTO enterprise VALUES (gen_random_uuid(), 'x', true, 0, now(), now())".into(),
        ),
        (
            "client_version",
            "INSERT INTO client SELECT gen_random_uuid(), id, 'c', now(), now(), 0 FROM enterprise WHERE name = 'b'"
                .into(),
        ),
        (
            "partner_version",
            "INSERT INTO partner SELECT gen_random_uuid(), id, 'p', 'j', now(), now(), 0 FROM enterprise"
                .into(),
        ),
        ("connection_version", connection(&[("version", "0")])),
        ("connection_mode", connection(&[("mode", "'SOMETIMES'")])),
        (
            "connection_two_enterprises",
            connection(&[(
                "partner_enterprise_id",
                "(SELECT enterprise_id FROM client)",
            )]),
        ),
        (
            "connection_allocations_reason",
            connection(&[("allocations_enabled", "false")]),
        ),
        (
            "connection_allocations_reason",
            connection(&[("allocations_disabled_reason", "'why'")]),
        ),
        (
            "connection_deallocations_reason",
            connection(&[("deallocations_enabled", "false")]),
        ),
        (
            "connection_deallocations_reason",
            connection(&[("deallocations_disabled_reason", "'why'")]),
        ),
    ]
}

fn refused_of_cas() -> Vec<Case> {
    let mut cases = vec![
        (
            "cas_allocation_version",
            cas_allocation(&[("version", "0")]),
        ),
        (
            "cas_allocation_order_status",
            cas_allocation(&[("order_status", "'PENDING'")]),
        ),
        (
            "cas_allocation_value_type",
            cas_allocation(&[("value_type", "''")]),
        ),
        (
            "cas_allocation_override_type",
            cas_allocation(&[("override_type", "'money'")]),
        ),
        (
            "cas_allocation_distribution_type",
            cas_allocation(&[("distribution_type", "'x'")]),
        ),
    ];
    for bad in [
        "'NaN'",
        "'Infinity'",
        "'-Infinity'",
        "10000000000000000",
        "-10000000000000000",
    ] {
        for column in ["value_amount", "override_amount"] {
            cases.push(("cas_allocation_amounts", cas_allocation(&[(column, bad)])));
        }
    }
    cases
}

fn refused_counts() -> [Case; 2] {
    [
        (
            "account_reservation_count",
            format!("INSERT INTO account VALUES ({OWN}, {OWN}, 'BTC', 1, 0, 1, -1)"),
        ),
        (
            "entry_reservation_count",
            format!(
                "INSERT INTO entry VALUES ({OWN}, {OWN}, now(), 1, -1, {OWN}, 'BTC', 'ADJUST', 1, 0, 1, 0)"
            ),
        ),
    ]
}

/// The statements that must be refused, each with the check that must refuse it.
fn refused() -> Vec<Case> {
    let mut cases = vec![
        ("account_version", account(OWN, "1", "0", 0)),
        ("account_no_overdraft", account(OWN, "-1", "0", 1)),
        ("account_no_overdraft", account(OWN, "0", "-1", 1)),
        (
            "account_no_overdraft",
            account("gen_random_uuid()", "-0.000000000001", "0", 1),
        ),
        ("entry_version", entry(["1", "0", "1", "0"], 0, "ADJUST")),
        ("entry_cause", entry(["1", "0", "1", "0"], 1, "GIFT")),
        ("entry_cause", entry(["1", "0", "1", "0"], 1, "")),
        ("adjustment_quantity", adjustment("0")),
        ("adjustment_quantity", adjustment("0.5")),
    ];
    for bad in &NO_AMOUNTS[..5] {
        // Where nothing else is wrong: this account may be negative.
        cases.push(("account_in_range", account(WORLD, bad, "0", 1)));
        cases.push(("account_in_range", account(WORLD, "0", bad, 1)));
        for place in 0..4 {
            let mut numbers = ["0"; 4];
            numbers[place] = bad;
            cases.push(("entry_in_range", entry(numbers, 1, "ADJUST")));
        }
    }
    for bad in NO_AMOUNTS {
        let quantity = [("quantity", bad)];
        cases.push(("allocation_quantity", open_allocation(&quantity)));
        cases.push(("allocation_quantity", closed_allocation(&quantity)));
        cases.push(("adjustment_quantity", adjustment(bad)));
    }
    cases.extend(refused_of_allocations());
    cases.extend(refused_counts());
    cases.extend(refused_of_network());
    cases.extend(refused_of_cas());
    cases.extend(refused_of_buckets());
    cases.extend(refused_of_catalogues());
    cases.into_iter().chain(refused_of_seals()).collect()
}

fn refused_of_allocations() -> Vec<(&'static str, String)> {
    let mut cases = Vec::new();
    for row in [open_allocation, closed_allocation] {
        cases.push(("allocation_type", row(&[("type", "'GIFT'")])));
        for quantity in ["0", "-1", "1.5"] {
            cases.push(("allocation_quantity", row(&[("quantity", quantity)])));
        }
    }
    for (column, value) in [
        ("status", "'CLEARED'"),
        ("status", "'RELEASED'"),
        ("reason", "'why'"),
        ("closed_cause", "'CLEAR'"),
        ("closed_custody_version", "1"),
        ("closed_connection_version", "1"),
    ] {
        cases.push((
            "open_allocation_status",
            open_allocation(&[(column, value)]),
        ));
    }
    let (no_cause, no_version) = (("closed_cause", "NULL"), ("closed_custody_version", "NULL"));
    let open = [
        ("status", "'RESERVED'"),
        no_cause,
        no_version,
        ("closed_connection_version", "NULL"),
    ];
    for (name, changes) in [
        (
            "allocation_status",
            vec![("status", "'DONE'"), ("closed_cause", "'RELEASE'")],
        ),
        ("closed_allocation_status", open.to_vec()),
        ("allocation_reason", vec![("reason", "'why'")]),
        ("allocation_closed", vec![("status", "'RELEASED'")]),
        ("allocation_closed", vec![("closed_cause", "'RELEASE'")]),
        ("allocation_closed", vec![no_version]),
        (
            "allocation_closed",
            vec![("closed_connection_version", "NULL")],
        ),
    ] {
        cases.push((name, closed_allocation(&changes)));
    }
    cases
}

#[tokio::test]
async fn every_check_constraint_refuses_invalid_rows() {
    let (_db, client) = migrated().await;
    client.batch_execute(NETWORK).await.expect("a network");
    let mut covered = BTreeSet::new();
    for (name, sql) in refused() {
        let error = client.batch_execute(&sql).await.expect_err(&sql);
        let constraint = error.as_db_error().and_then(DbError::constraint);
        // Of several that a row breaks Postgres names the first by name.
        assert_eq!(constraint, Some(name), "{sql}: {error:?}");
        covered.insert(name.to_owned());
    }
    let checks = "SELECT conname::text FROM pg_constraint
        WHERE contype = 'c' AND connamespace = 'public'::regnamespace";
    let checks: BTreeSet<String> = texts(&client, checks).await.into_iter().collect();
    assert_eq!(covered, checks, "each has a case");
}

#[tokio::test]
async fn valid_rows_pass_every_check_constraint() {
    let (_db, client) = migrated().await;
    client.batch_execute(NETWORK).await.expect("a network");
    let greatest = "9999999999999999999999999999";
    let least = format!("-{greatest}");
    let released = [
        ("status", "'RELEASED'"),
        ("closed_cause", "'EXPIRE'"),
        ("closed_custody_version", "2"),
        ("closed_connection_version", "0"),
        ("reason", "'expired'"),
    ];
    for sql in [
        account(OWN, greatest, "0", 1),
        account(WORLD, &least, "0", 1),
        account("gen_random_uuid()", "0.000000000001", greatest, i32::MAX),
        entry([&least, greatest, "0", greatest], 1, "RESERVE"),
        open_allocation(&[("quantity", greatest)]),
        closed_allocation(&[("quantity", greatest)]),
        closed_allocation(&released),
        adjustment(&least),
        cas_allocation(&[]),
        cas_allocation(&[
            ("value_amount", "9999999999999999.999999999999"),
            ("override_amount", "-9999999999999999.999999999999"),
            ("order_status", "'deletePending'"),
        ]),
        bucket(&[]),
        bucket(&[
            ("opened_amount", greatest),
            ("opened_version", "1"),
            ("valid_from", "now()"),
            ("valid_to", "now()"),
        ]),
        action(&[("amount", greatest)]),
        action(&[("type", "'ADJUST'"), ("amount", &least)]),
        open_reserve(&[]),
        open_reserve(&[("amount", greatest), ("remaining_amount", greatest)]),
        action(&EXPIRED),
        action(&[("type", "'WRITEOFF'"), ("amount", &least)]),
        action(&UNRESERVE),
        action(&DRAW),
        action(&[("type", "'DEDUCT'")]),
        action(&TRANSFER),
        action(&changed(
            &TRANSFER,
            &[("cost_amount", greatest), ("cost_owner", "'ORIGINATOR'")],
        )),
        company(&[]),
        offer(&[]),
        offer(&[
            ("allocation_id", "999999999999999999"),
            ("msrp_price", "'9999999999999999.999999999999'"),
        ]),
        connection(&[]),
        connection(&[
            ("allocations_enabled", "false"),
            ("allocations_disabled_reason", "'why'"),
        ]),
        period(&[("owners", "0"), ("entries", "0")]),
        period(&[
            ("start_time", "'2026-02-01'"),
            ("end_time", "'2026-02-02'"),
            ("previous_digest", DIGEST),
            ("digest", "sha256('y')"),
        ]),
        sealed_owner(&[]),
        carry_forward(&[("available", &least), ("held", greatest)]),
    ] {
        client.batch_execute(&sql).await.expect(&sql);
    }
}
