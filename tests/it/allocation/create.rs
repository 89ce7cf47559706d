//! CreateAllocation.

use earmark::proto::allocation::v1::{
    AllocationStatus, AllocationType, CreateAllocationRequest, GetAllocationRequest,
};
use earmark::proto::common::v1::Amount;
use earmark::proto::network::v1::ConnectionMode;
use tonic::Code;

use crate::support::earmark::{Earmark, NOBODY, balance, refusal};
use crate::support::service::is_replayed;

#[tokio::test]
async fn create_on_a_confirmed_connection_reserves_the_quantity() {
    let earmark = Earmark::start().await;
    let parties = earmark.parties(ConnectionMode::Confirmed).await;
    earmark.deposit(&parties.enterprise, "BTC", "100").await;
    let mut client = earmark.member(&[&parties.enterprise]).allocation;

    let answer = client
        .create_allocation(parties.allocation("BTC", "30", "a-1"))
        .await
        .expect("created");
    assert!(answer.metadata().get("earmark-replayed").is_none());
    let answer = answer.into_inner();
    let allocation = answer.allocation.expect("set");
    assert_eq!(allocation.status(), AllocationStatus::Reserved);
    assert_eq!(allocation.r#type(), AllocationType::Allocation);
    assert_eq!(allocation.initiated_by, "somebody");
    assert_eq!(
        (&allocation.client_id, &allocation.partner_id),
        (&parties.client, &parties.partner)
    );
    assert_eq!(allocation.created_at, allocation.updated_at);
    assert_eq!(answer.custody_balance, balance("70", "30", 2));
    assert_eq!(answer.connection_balance, balance("0", "0", 0));

    let request = GetAllocationRequest {
        enterprise_id: parties.enterprise.clone(),
        allocation_id: allocation.id.clone(),
    };
    let got = client
        .get_allocation(request.clone())
        .await
        .expect("there")
        .into_inner();
    assert_eq!(got.allocation.as_ref(), Some(&allocation));
    let mut partner = earmark.member(&[&parties.partner_enterprise]).allocation;
    let request = GetAllocationRequest {
        enterprise_id: parties.partner_enterprise.clone(),
        ..request
    };
    let got = partner
        .get_allocation(request)
        .await
        .expect("the partner's too")
        .into_inner();
    assert_eq!(got.allocation, Some(allocation));
}

#[tokio::test]
async fn create_on_an_instant_connection_moves_the_quantity_at_once() {
    let earmark = Earmark::start().await;
    let parties = earmark.parties(ConnectionMode::Instant).await;
    earmark.deposit(&parties.enterprise, "BTC", "100").await;
    let mut client = earmark.member(&[&parties.enterprise]).allocation;
    let answer = client
        .create_allocation(parties.allocation("BTC", "30", "a-1"))
        .await
        .expect("created")
        .into_inner();
    assert_eq!(
        answer.allocation.expect("set").status(),
        AllocationStatus::Cleared
    );
    assert_eq!(answer.custody_balance, balance("70", "0", 2));
    assert_eq!(answer.connection_balance, balance("30", "0", 1));
}

#[tokio::test]
async fn a_replay_returns_the_current_record_and_the_balances_of_the_first_answer() {
    let earmark = Earmark::start().await;
    let parties = earmark.parties(ConnectionMode::Instant).await;
    earmark.deposit(&parties.enterprise, "BTC", "100").await;
    let mut client = earmark.member(&[&parties.enterprise]).allocation;
    let first = client
        .create_allocation(parties.allocation("BTC", "30", "a-1"))
        .await
        .expect("created")
        .into_inner();
    client
        .create_allocation(parties.allocation("BTC", "5", "a-2"))
        .await
        .expect("created");
    let again = client
        .create_allocation(parties.allocation("BTC", "30", "a-1"))
        .await
        .expect("replayed");
    assert_eq!(
        again.metadata().get("earmark-replayed").expect("set"),
        "true"
    );
    assert_eq!(again.into_inner(), first);

    let other = refusal(
        client
            .create_allocation(parties.allocation("BTC", "31", "a-1"))
            .await,
    );
    assert_eq!(
        (other.code, other.reason.as_str()),
        (Code::AlreadyExists, "IDEMPOTENCY_KEY_REUSED")
    );
    assert_eq!(other.metadata["outcome"], "not_applied");
}

#[tokio::test]
async fn an_insufficient_balance_is_refused_with_the_available_amount() {
    let earmark = Earmark::start().await;
    let parties = earmark.parties(ConnectionMode::Confirmed).await;
    earmark.deposit(&parties.enterprise, "BTC", "100").await;
    let mut client = earmark.member(&[&parties.enterprise]).allocation;
    let refused = refusal(
        client
            .create_allocation(parties.allocation("BTC", "101", "a-1"))
            .await,
    );
    assert_eq!(
        (refused.code, refused.reason.as_str()),
        (Code::FailedPrecondition, "INSUFFICIENT_BALANCE")
    );
    let numbers: Vec<_> = ["available", "requested", "currency"]
        .iter()
        .map(|key| refused.metadata[*key].as_str())
        .collect();
    assert_eq!(numbers, ["100", "101", "BTC"]);
    // A refused request stores no key.
    let answer = client
        .create_allocation(parties.allocation("BTC", "100", "a-1"))
        .await
        .expect("created");
    assert_eq!(answer.into_inner().custody_balance, balance("0", "100", 2));
}

#[tokio::test]
async fn validate_only_answers_like_the_real_create_and_writes_nothing() {
    let earmark = Earmark::start().await;
    for mode in [ConnectionMode::Confirmed, ConnectionMode::Instant] {
        let parties = earmark.parties(mode).await;
        earmark.deposit(&parties.enterprise, "BTC", "100").await;
        let stored = "SELECT (SELECT count(*) FROM allocation) + (SELECT count(*) FROM entry)";
        let before = earmark.count(stored).await;
        let mut client = earmark.member(&[&parties.enterprise]).allocation;
        let real = CreateAllocationRequest {
            notes: Some("for the record".into()),
            ..parties.allocation("BTC", "30", "a-1")
        };
        let validate = CreateAllocationRequest {
            validate_only: true,
            ..real.clone()
        };
        let validated = client
            .create_allocation(validate.clone())
            .await
            .expect("valid");
        assert!(!is_replayed(&validated));
        let validated = validated.into_inner();
        assert_eq!(earmark.count(stored).await, before, "nothing is stored");
        // Other content under the same key succeeds, because the validation stored no key.
        let other = CreateAllocationRequest {
            notes: None,
            ..validate.clone()
        };
        client.create_allocation(other).await.expect("valid too");

        let mut done = client
            .create_allocation(real)
            .await
            .expect("created")
            .into_inner();
        let id = {
            let record = done.allocation.as_mut().expect("set");
            (record.created_at, record.updated_at) = (None, None);
            std::mem::take(&mut record.id)
        };
        assert_eq!(validated, done);

        // A used key is replayed, with the record's id.
        let replayed = client.create_allocation(validate).await.expect("replayed");
        assert!(is_replayed(&replayed));
        let replayed = replayed.into_inner();
        assert_eq!(replayed.allocation.expect("set").id, id);
        assert_eq!(replayed.custody_balance, done.custody_balance);
        assert_eq!(replayed.connection_balance, done.connection_balance);
    }
}

#[tokio::test]
async fn validate_only_refuses_what_the_real_create_refuses() {
    let earmark = Earmark::start().await;
    let parties = earmark.parties(ConnectionMode::Confirmed).await;
    earmark.deposit(&parties.enterprise, "BTC", "100").await;
    let mut client = earmark.member(&[&parties.enterprise]).allocation;
    client
        .create_allocation(parties.allocation("BTC", "30", "a-1"))
        .await
        .expect("created");
    let mut validate = async |quantity: &str, key: &str| {
        let request = CreateAllocationRequest {
            validate_only: true,
            ..parties.allocation("BTC", quantity, key)
        };
        let refused = refusal(client.create_allocation(request).await);
        assert_eq!(refused.metadata["outcome"], "not_applied");
        refused
    };
    let refused = validate("71", "a-2").await;
    refused.expect(Code::FailedPrecondition, "INSUFFICIENT_BALANCE");
    let refused = validate("31", "a-1").await;
    refused.expect(Code::AlreadyExists, "IDEMPOTENCY_KEY_REUSED");
    earmark.enable_allocations(&parties.connection, false).await;
    let refused = validate("1", "a-2").await;
    refused.expect(Code::FailedPrecondition, "CONNECTION_INACTIVE");
}

#[tokio::test]
async fn a_key_with_any_other_content_is_refused() {
    let earmark = Earmark::start().await;
    let parties = earmark.parties(ConnectionMode::Confirmed).await;
    let second = earmark
        .connection(&parties, ConnectionMode::Confirmed)
        .await;
    for currency in ["BTC", "btc"] {
        earmark.deposit(&parties.enterprise, currency, "100").await;
    }
    let mut client = earmark.member(&[&parties.enterprise]).allocation;
    let first = CreateAllocationRequest {
        notes: Some("why".into()),
        ..parties.allocation("BTC", "30", "a-1")
    };
    let created = client
        .create_allocation(first.clone())
        .await
        .expect("created");
    let others = [
        parties.allocation("BTC", "30", "a-1"),
        CreateAllocationRequest {
            notes: Some("Why".into()),
            ..first.clone()
        },
        CreateAllocationRequest {
            notes: Some(String::new()),
            ..first.clone()
        },
        CreateAllocationRequest {
            connection_id: second,
            ..first.clone()
        },
        CreateAllocationRequest {
            notes: first.notes.clone(),
            ..parties.allocation("btc", "30", "a-1")
        },
    ];
    for other in others {
        let refused = refusal(client.create_allocation(other.clone()).await);
        let refused = refused.expect(Code::AlreadyExists, "IDEMPOTENCY_KEY_REUSED");
        assert_eq!(refused.metadata["field"], "client_external_id", "{other:?}");
    }

    // Ids are case-insensitive, keys are not; another subject may repeat the call.
    let colleague = earmark.token_of(&earmark.claims("a colleague", &[&parties.enterprise]));
    let shouted = CreateAllocationRequest {
        enterprise_id: first.enterprise_id.to_uppercase(),
        connection_id: first.connection_id.to_uppercase(),
        ..first.clone()
    };
    let again = earmark
        .with_token(colleague)
        .allocation
        .create_allocation(shouted)
        .await
        .expect("replayed");
    assert!(is_replayed(&again));
    assert_eq!(again.into_inner(), created.into_inner());
    let upper_key = parties.allocation("BTC", "30", "A-1");
    let created = client.create_allocation(upper_key).await.expect("created");
    assert!(!is_replayed(&created));
}

#[tokio::test]
async fn two_clients_may_use_the_same_key() {
    let earmark = Earmark::start().await;
    for quantity in ["1", "2"] {
        let parties = earmark.parties(ConnectionMode::Confirmed).await;
        earmark.deposit(&parties.enterprise, "BTC", "100").await;
        let mut client = earmark.member(&[&parties.enterprise]).allocation;
        let created = client
            .create_allocation(parties.allocation("BTC", quantity, "a-1"))
            .await
            .expect("created");
        assert!(!is_replayed(&created));
    }
}

#[tokio::test]
async fn the_largest_amount_is_accepted_and_one_digit_more_is_refused() {
    let earmark = Earmark::start().await;
    let greatest = "9".repeat(28);
    for mode in [ConnectionMode::Confirmed, ConnectionMode::Instant] {
        let parties = earmark.parties(mode).await;
        earmark.deposit(&parties.enterprise, "BTC", &greatest).await;
        let mut client = earmark.member(&[&parties.enterprise]).allocation;
        let more = parties.allocation("BTC", &format!("{greatest}9"), "a-1");
        let refused = refusal(client.create_allocation(more).await);
        refused.expect_invalid(&["amount.quantity"]);
        let all = parties.allocation("BTC", &greatest, "a-1");
        let answer = client.create_allocation(all).await.expect("created");
        let answer = answer.into_inner();
        let amount = answer.allocation.and_then(|record| record.amount);
        assert_eq!(amount.expect("set").quantity, greatest);
        let (held, allocated) = match mode {
            ConnectionMode::Instant => ("0", greatest.as_str()),
            _ => (greatest.as_str(), "0"),
        };
        assert_eq!(answer.custody_balance, balance("0", held, 2));
        let connection = answer.connection_balance.expect("set");
        assert_eq!(connection.available, allocated);
    }
}

#[tokio::test]
async fn quantities_that_are_not_whole_base_units_are_refused() {
    let earmark = Earmark::start().await;
    let parties = earmark.parties(ConnectionMode::Confirmed).await;
    let mut client = earmark.member(&[&parties.enterprise]).allocation;
    for quantity in [
        "", " ", "0", "00", "01", "-1", "+1", "1.0", "1.", ".1", "1e3", "1E3", "0x1", "1_0", "1,0",
        " 1", "1 ", "1\n", "NaN", "Infinity", "１", "1\0",
    ] {
        let refused = refusal(
            client
                .create_allocation(parties.allocation("BTC", quantity, "a-1"))
                .await,
        );
        refused.expect_invalid(&["amount.quantity"]);
    }
    for currency in ["", " ", "B C", "BTC\0", "€", "a/b", &"x".repeat(33)] {
        let refused = refusal(
            client
                .create_allocation(parties.allocation(currency, "1", "a-1"))
                .await,
        );
        refused.expect_invalid(&["amount.currency"]);
    }
    let absent = CreateAllocationRequest {
        amount: None,
        ..parties.allocation("BTC", "1", "a-1")
    };
    refusal(client.create_allocation(absent).await).expect_invalid(&["amount"]);
}

#[tokio::test]
async fn text_limits_count_characters_and_texts_are_stored_unchanged() {
    let earmark = Earmark::start().await;
    let parties = earmark.parties(ConnectionMode::Confirmed).await;
    earmark.deposit(&parties.enterprise, "BTC", "100").await;
    let mut client = earmark.member(&[&parties.enterprise]).allocation;
    let with = |key: String, notes: String| CreateAllocationRequest {
        client_external_id: key,
        notes: Some(notes),
        ..parties.allocation("BTC", "1", "")
    };
    // Four bytes each.
    let (key, notes) = ("𝄞".repeat(128), "🜚".repeat(1_000));
    for (key, notes) in [
        (key.clone(), notes.clone()),
        (
            "a'b\"c\\d%_ e\u{301}".into(),
            " a'b\"c\\d%_\t\r\n\u{202e}e\u{301} ".into(),
        ),
    ] {
        let created = client
            .create_allocation(with(key.clone(), notes.clone()))
            .await
            .expect("created");
        let id = created.into_inner().allocation.expect("set").id;
        let request = GetAllocationRequest {
            enterprise_id: parties.enterprise.clone(),
            allocation_id: id,
        };
        let got = client.get_allocation(request).await.expect("there");
        let got = got.into_inner().allocation.expect("set");
        assert_eq!((got.client_external_id, got.notes), (key, Some(notes)));
    }

    let long_key = with(format!("{key}x"), String::new());
    let refused = refusal(client.create_allocation(long_key).await);
    refused.expect_invalid(&["client_external_id"]);
    let long_notes = with("a-1".into(), format!("{notes}x"));
    refusal(client.create_allocation(long_notes).await).expect_invalid(&["notes"]);
    let nul = with("a\0".into(), "\0".into());
    let refused = refusal(client.create_allocation(nul).await);
    refused.expect_invalid(&["client_external_id", "notes"]);
}

#[tokio::test]
async fn create_reports_every_invalid_field() {
    let earmark = Earmark::start().await;
    let mut client = earmark.member(&[]).allocation;
    let refused = refusal(
        client
            .create_allocation(CreateAllocationRequest::default())
            .await,
    );
    let fields = [
        "enterprise_id",
        "connection_id",
        "amount",
        "client_external_id",
    ];
    let refused = refused.expect_invalid(&fields);
    assert_eq!(refused.metadata["violations_total"], "4");
    assert!(
        refused
            .violations
            .iter()
            .all(|(_, why)| why == "is required")
    );

    let everything = CreateAllocationRequest {
        enterprise_id: "x".into(),
        connection_id: NOBODY.replace('-', ""),
        amount: Some(Amount::default()),
        client_external_id: "x".repeat(129),
        notes: Some("x".repeat(1_001)),
        ..Default::default()
    };
    refusal(client.create_allocation(everything).await).expect_invalid(&[
        "enterprise_id",
        "connection_id",
        "amount.currency",
        "amount.quantity",
        "client_external_id",
        "notes",
    ]);
}

#[tokio::test]
async fn a_disabled_direction_refuses_new_creates_and_replays_earlier_ones() {
    let earmark = Earmark::start().await;
    let parties = earmark.parties(ConnectionMode::Confirmed).await;
    earmark.deposit(&parties.enterprise, "BTC", "100").await;
    let mut client = earmark.member(&[&parties.enterprise]).allocation;
    let first = parties.allocation("BTC", "30", "a-1");
    client
        .create_allocation(first.clone())
        .await
        .expect("created");

    earmark.enable_allocations(&parties.connection, false).await;
    // More than is available, but the connection is checked first.
    let second = parties.allocation("BTC", "1000", "a-2");
    let status = client
        .create_allocation(second)
        .await
        .expect_err("disabled");
    assert!(status.message().contains("under review"), "{status:?}");
    let refused = refusal(Err::<(), _>(status));
    let refused = refused.expect(Code::FailedPrecondition, "CONNECTION_INACTIVE");
    assert_eq!(refused.metadata["direction"], "allocation");
    let replayed = client.create_allocation(first).await.expect("replayed");
    assert!(is_replayed(&replayed));

    earmark.enable_allocations(&parties.connection, true).await;
    client
        .create_allocation(parties.allocation("BTC", "1", "a-2"))
        .await
        .expect("enabled again, and the refusal left no key");
}

#[tokio::test]
async fn another_clients_connection_is_refused_like_an_unknown_one() {
    let earmark = Earmark::start().await;
    let ours = earmark.parties(ConnectionMode::Instant).await;
    let theirs = earmark.parties(ConnectionMode::Instant).await;
    for parties in [&ours, &theirs] {
        earmark.deposit(&parties.enterprise, "BTC", "100").await;
    }
    // This holds for a member of both enterprises too.
    let mut client = earmark
        .member(&[&ours.enterprise, &theirs.enterprise])
        .allocation;
    for connection in [theirs.connection.as_str(), NOBODY] {
        let request = CreateAllocationRequest {
            connection_id: connection.into(),
            ..ours.allocation("BTC", "1", "a-1")
        };
        let status = client
            .create_allocation(request)
            .await
            .expect_err("not ours");
        assert_eq!(
            status.message(),
            format!("There is no connection {connection}.")
        );
        refusal(Err::<(), _>(status)).expect(Code::NotFound, "CONNECTION_NOT_FOUND");
    }
    // The partner's enterprise has no custody account.
    let mut partner = earmark.member(&[&ours.partner_enterprise]).allocation;
    let request = CreateAllocationRequest {
        enterprise_id: ours.partner_enterprise.clone(),
        ..ours.allocation("BTC", "1", "a-1")
    };
    let refused = refusal(partner.create_allocation(request).await);
    refused.expect(Code::NotFound, "CLIENT_NOT_FOUND");
    let stored = "SELECT count(*) FROM allocation";
    assert_eq!(earmark.count(stored).await, 0);
}

#[tokio::test]
async fn currencies_are_case_sensitive() {
    let earmark = Earmark::start().await;
    let parties = earmark.parties(ConnectionMode::Instant).await;
    earmark.deposit(&parties.enterprise, "BTC", "100").await;
    let mut client = earmark.member(&[&parties.enterprise]).allocation;
    let other = parties.allocation("btc", "1", "a-1");
    let refused = refusal(client.create_allocation(other).await);
    let refused = refused.expect(Code::FailedPrecondition, "INSUFFICIENT_BALANCE");
    assert_eq!(refused.metadata["available"], "0");
    assert_eq!(refused.metadata["currency"], "btc");
}
