//! AdjustBalance.

use earmark::proto::balance::v1::AdjustBalanceRequest;
use earmark::proto::network::v1::ConnectionMode;
use tonic::{Code, Status};

use crate::support::earmark::{Earmark, NOBODY, balance, refusal};
use crate::support::service::is_replayed;

const GREATEST: &str = "9999999999999999999999999999";

fn adjust(enterprise: &str, quantity: &str, external_id: &str) -> AdjustBalanceRequest {
    AdjustBalanceRequest {
        enterprise_id: enterprise.into(),
        currency: "BTC".into(),
        quantity: quantity.into(),
        external_id: external_id.into(),
        reason: "a test".into(),
        validate_only: false,
    }
}

/// An enterprise with a client.
async fn client_side(earmark: &Earmark) -> String {
    let enterprise = earmark.enterprise("Client side").await.id;
    earmark.client(&enterprise).await;
    enterprise
}

#[tokio::test]
async fn a_deposit_adds_and_a_withdrawal_takes() {
    let earmark = Earmark::start().await;
    let enterprise = client_side(&earmark).await;
    let mut admin = earmark.admin().balance;
    let steps = [
        ("100", "100", 1),
        ("-30", "70", 2),
        ("-70", "0", 3),
        ("5", "5", 4),
    ];
    for (quantity, available, version) in steps {
        let request = adjust(&enterprise, quantity, &format!("d-{version}"));
        let answer = admin.adjust_balance(request).await.expect("adjusted");
        assert!(!is_replayed(&answer));
        let custody = answer.into_inner().custody_balance;
        assert_eq!(custody, balance(available, "0", version));
    }
}

#[tokio::test]
async fn a_replay_shows_the_balance_of_the_first_answer() {
    let earmark = Earmark::start().await;
    let enterprise = client_side(&earmark).await;
    let mut admin = earmark.admin().balance;
    let first = adjust(&enterprise, "100", "d-1");
    admin
        .adjust_balance(first.clone())
        .await
        .expect("deposited");
    let withdrawal = adjust(&enterprise, "-40", "w-1");
    admin.adjust_balance(withdrawal).await.expect("withdrawn");
    let validate = AdjustBalanceRequest {
        validate_only: true,
        ..first.clone()
    };
    for again in [first.clone(), validate] {
        let again = admin.adjust_balance(again).await.expect("replayed");
        assert!(is_replayed(&again));
        let custody = again.into_inner().custody_balance;
        assert_eq!(custody, balance("100", "0", 1));
    }
    let entries = "SELECT count(*) FROM entry WHERE account_id::text LIKE '%1'";
    assert_eq!(earmark.count(entries).await, 2);

    let others = [
        adjust(&enterprise, "101", "d-1"),
        adjust(&enterprise, "-100", "d-1"),
        AdjustBalanceRequest {
            currency: "btc".into(),
            ..first.clone()
        },
        AdjustBalanceRequest {
            reason: "another".into(),
            ..first.clone()
        },
    ];
    for other in others {
        let differing = match (
            other.currency != first.currency,
            other.reason != first.reason,
        ) {
            (true, _) => "That one had `currency` \"BTC\"",
            (_, true) => "That one had `reason` \"a test\".",
            _ => "That one had `quantity` \"100\"",
        };
        let answer = admin.adjust_balance(other).await;
        let text = answer.as_ref().map_or_else(Status::message, |_| "");
        let expected = "to adjust custody by 100 BTC";
        assert!(text.contains(expected), "{text}");
        assert!(text.contains(differing), "{text}");
        let refused = refusal(answer);
        let refused = refused.expect(Code::AlreadyExists, "IDEMPOTENCY_KEY_REUSED");
        assert_eq!(refused.metadata["field"], "external_id");
        assert_eq!(refused.metadata["outcome"], "not_applied");
        // What has the key: the record, and what it did.
        let stored = "SELECT id::text FROM adjustment WHERE external_id = 'd-1'";
        let stored = earmark.sql().await.query_one(stored, &[]).await;
        let stored: String = stored.expect("stored").get(0);
        assert_eq!(refused.metadata["id"], stored);
    }
    // Another enterprise's keys are its own.
    let other = client_side(&earmark).await;
    let answer = admin.adjust_balance(adjust(&other, "1", "d-1")).await;
    assert!(!is_replayed(&answer.expect("deposited")));
}

#[tokio::test]
async fn a_withdrawal_takes_at_most_the_available_balance() {
    let earmark = Earmark::start().await;
    let parties = earmark.parties(ConnectionMode::Confirmed).await;
    earmark.deposit(&parties.enterprise, "BTC", "100").await;
    let mut client = earmark.member(&[&parties.enterprise]).allocation;
    client
        .create_allocation(parties.allocation("BTC", "30", "a-1"))
        .await
        .expect("reserved");
    let mut admin = earmark.admin().balance;
    for (quantity, requested) in [("-71", "71"), (&format!("-{GREATEST}"), GREATEST)] {
        let request = adjust(&parties.enterprise, quantity, "w-1");
        let refused = refusal(admin.adjust_balance(request).await);
        let refused = refused.expect(Code::FailedPrecondition, "INSUFFICIENT_BALANCE");
        assert_eq!(refused.metadata["available"], "70");
        assert_eq!(refused.metadata["requested"], requested);
        assert_eq!(refused.metadata["currency"], "BTC");
    }
    let all = adjust(&parties.enterprise, "-70", "w-1");
    let answer = admin.adjust_balance(all).await.expect("the key is free");
    let custody = answer.into_inner().custody_balance;
    assert_eq!(custody, balance("0", "30", 3));
}

#[tokio::test]
async fn a_clients_total_in_a_currency_has_at_most_28_digits() {
    let earmark = Earmark::start().await;
    let parties = earmark.parties(ConnectionMode::Instant).await;
    let mut admin = earmark.admin().balance;
    let mut deposit = async |currency: &str, quantity: &str, key: &str| {
        let request = AdjustBalanceRequest {
            currency: currency.into(),
            ..adjust(&parties.enterprise, quantity, key)
        };
        admin.adjust_balance(request).await
    };
    deposit("BTC", GREATEST, "d-1").await.expect("fits");
    // Wherever the value stands: in custody, with a connection, or both.
    let mut client = earmark.member(&[&parties.enterprise]).allocation;
    for (quantity, key) in [("1", "a-1"), ("9999999999999999999999999998", "a-2")] {
        let refused = refusal(deposit("BTC", "1", "d-2").await);
        let refused = refused.expect(Code::FailedPrecondition, "BALANCE_LIMIT");
        assert_eq!(refused.metadata["limit"], GREATEST);
        assert_eq!(refused.metadata["currency"], "BTC");
        assert_eq!(refused.metadata["account"], "custody");
        assert_eq!(refused.metadata["outcome"], "not_applied");
        client
            .create_allocation(parties.allocation("BTC", quantity, key))
            .await
            .expect("allocated");
    }
    let refused = refusal(deposit("BTC", GREATEST, "d-2").await);
    refused.expect(Code::FailedPrecondition, "BALANCE_LIMIT");
    let answer = deposit("ETH", GREATEST, "d-2").await.expect("another one");
    let custody = answer.into_inner().custody_balance;
    assert_eq!(custody, balance(GREATEST, "0", 1));
    // What has been withdrawn leaves room again.
    deposit("ETH", "-1", "w-1").await.expect("withdrawn");
    deposit("ETH", "1", "d-3").await.expect("fits again");
}

#[tokio::test]
async fn validate_only_answers_the_resulting_balance_and_writes_nothing() {
    let earmark = Earmark::start().await;
    let enterprise = client_side(&earmark).await;
    let mut admin = earmark.admin().balance;
    let stored = "SELECT (SELECT count(*) FROM adjustment) + (SELECT count(*) FROM entry)
                       + (SELECT count(*) FROM account)";
    let mut validate = async |quantity: &str| {
        let request = AdjustBalanceRequest {
            validate_only: true,
            ..adjust(&enterprise, quantity, "d-1")
        };
        admin.adjust_balance(request).await
    };
    for quantity in ["100", "7"] {
        let answer = validate(quantity).await.expect("valid");
        assert!(!is_replayed(&answer));
        let custody = answer.into_inner().custody_balance;
        assert_eq!(custody, balance(quantity, "0", 1));
    }
    let refused = refusal(validate("-1").await);
    refused.expect(Code::FailedPrecondition, "INSUFFICIENT_BALANCE");
    assert_eq!(earmark.count(stored).await, 0);
    let mut admin = earmark.admin().balance;
    let real = admin.adjust_balance(adjust(&enterprise, "1", "d-1")).await;
    let custody = real.expect("deposited").into_inner().custody_balance;
    assert_eq!(custody, balance("1", "0", 1));
}

#[tokio::test]
async fn a_custodian_adjusts_for_the_enterprises_of_its_token_and_an_administrator_for_all() {
    let earmark = Earmark::start().await;
    let enterprise = client_side(&earmark).await;
    let mut member = earmark.member(&[&enterprise]).balance;
    let refused = refusal(member.adjust_balance(adjust(&enterprise, "1", "d-1")).await);
    let refused = refused.expect(Code::PermissionDenied, "SCOPE_MISSING");
    assert_eq!(refused.metadata["required_scope"], "custody-write");

    let custodian = |enterprise: &str| {
        let token = earmark.token("custody-write", &[enterprise]);
        earmark.with_token(token).balance
    };
    let request = adjust(&enterprise, "1", "d-0");
    let mut other = custodian(NOBODY);
    let refused = refusal(other.adjust_balance(request.clone()).await);
    refused.expect(Code::Unauthenticated, "NOT_A_MEMBER");
    let deposited = custodian(&enterprise).adjust_balance(request).await;
    let custody = deposited.expect("a custodian").into_inner().custody_balance;
    assert_eq!(custody, balance("1", "0", 1));

    let stranger = earmark.token("network-admin", &[NOBODY]);
    let mut stranger = earmark.with_token(stranger).balance;
    stranger
        .adjust_balance(adjust(&enterprise, "1", "d-1"))
        .await
        .expect("an administrator");
}

#[tokio::test]
async fn an_adjustment_needs_an_enterprise_with_a_client_but_no_licence() {
    let earmark = Earmark::start().await;
    let mut admin = earmark.admin().balance;
    let refused = refusal(admin.adjust_balance(adjust(NOBODY, "1", "d-1")).await);
    refused.expect(Code::NotFound, "ENTERPRISE_NOT_FOUND");
    let enterprise = earmark.new_enterprise("Unlicensed", false).await.id;
    let refused = refusal(admin.adjust_balance(adjust(&enterprise, "1", "d-1")).await);
    refused.expect(Code::NotFound, "CLIENT_NOT_FOUND");
    earmark.client(&enterprise).await;
    let answer = admin.adjust_balance(adjust(&enterprise, "1", "d-1")).await;
    let custody = answer.expect("deposited").into_inner().custody_balance;
    assert_eq!(custody, balance("1", "0", 1));
}

#[tokio::test]
async fn adjust_reports_every_invalid_field() {
    let earmark = Earmark::start().await;
    let mut admin = earmark.admin().balance;
    let refused = refusal(admin.adjust_balance(AdjustBalanceRequest::default()).await);
    let all = [
        "enterprise_id",
        "currency",
        "quantity",
        "external_id",
        "reason",
    ];
    refused.expect_invalid(&all);
    let more = AdjustBalanceRequest {
        enterprise_id: "1".into(),
        currency: "x".repeat(33),
        quantity: format!("{GREATEST}0"),
        external_id: "𝄞".repeat(129),
        reason: "\0".into(),
        validate_only: true,
    };
    refusal(admin.adjust_balance(more).await).expect_invalid(&all);
    let zero = "0".repeat(28);
    for quantity in [
        "", "0", "-0", "--1", "+1", "1.0", "-1.5", "1e3", "- 1", "-", "01", "-01", "NaN", "−1",
        &zero,
    ] {
        let refused = refusal(admin.adjust_balance(adjust(NOBODY, quantity, "d-1")).await);
        refused.expect_invalid(&["quantity"]);
    }
}

#[tokio::test]
async fn texts_at_their_limits_are_accepted() {
    let earmark = Earmark::start().await;
    let enterprise = client_side(&earmark).await;
    let request = AdjustBalanceRequest {
        currency: "aZ09._:-".repeat(4),
        external_id: "𝄞".repeat(128),
        reason: "🜚".repeat(1_000),
        ..adjust(&enterprise, GREATEST, "")
    };
    let mut admin = earmark.admin().balance;
    for replayed in [false, true] {
        let answer = admin.adjust_balance(request.clone()).await.expect("fits");
        assert_eq!(is_replayed(&answer), replayed);
        let custody = answer.into_inner().custody_balance;
        assert_eq!(custody, balance(GREATEST, "0", 1));
    }
}

#[tokio::test]
async fn a_currency_that_was_never_used_is_told_apart_from_one_that_is_spent() {
    let earmark = Earmark::start().await;
    let enterprise = client_side(&earmark).await;
    let mut admin = earmark.admin().balance;
    let deposit = adjust(&enterprise, "5", "d");
    admin.adjust_balance(deposit).await.expect("deposited");
    for (currency, is_unused) in [("BTC", false), ("btc", true)] {
        let withdrawal = AdjustBalanceRequest {
            currency: currency.into(),
            ..adjust(&enterprise, "-6", "w")
        };
        let refused = refusal(admin.adjust_balance(withdrawal).await);
        let refused = refused.expect(Code::FailedPrecondition, "INSUFFICIENT_BALANCE");
        let unused = format!("which never had any {currency}");
        assert_eq!(refused.message.contains(&unused), is_unused, "{refused:?}");
    }
}
