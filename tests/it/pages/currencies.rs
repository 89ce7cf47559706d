//! How many currencies an enterprise may have, so that its balances fit into an answer.

use earmark::limits::ENTERPRISE_CURRENCIES_MAX;
use earmark::proto::balance::v1::{AdjustBalanceRequest, ListClientBalancesRequest};
use earmark::proto::network::v1::ConnectionMode;
use futures_util::future::join_all;
use tonic::{Code, Status};

use crate::support::cluster::database;
use crate::support::earmark::{Earmark, Parties, Setup, refusal};

/// Gives an enterprise this many currencies as if they had been deposited: an account for what came in, and custody.
async fn stock(earmark: &Earmark, parties: &Parties, currencies: usize) {
    let sql = format!(
        "INSERT INTO account SELECT '{}', account, 'U' || n, CASE account::text WHEN
             '00000000-0000-0000-0000-000000000002' THEN -7 ELSE 7 END, 0, 1
           FROM generate_series(1, {currencies}) n, unnest(ARRAY['00000000-0000-0000-0000-000000000001',
             '00000000-0000-0000-0000-000000000002']::uuid[]) account",
        parties.enterprise
    );
    earmark.sql().await.batch_execute(&sql).await.expect(&sql);
}

async fn adjust(
    earmark: &Earmark,
    parties: &Parties,
    currency: &str,
    quantity: &str,
) -> Result<String, Status> {
    let request = AdjustBalanceRequest {
        enterprise_id: parties.enterprise.clone(),
        currency: currency.into(),
        quantity: quantity.into(),
        external_id: format!("{currency} {quantity}"),
        reason: "test".into(),
        ..Default::default()
    };
    let adjusted = earmark.admin().balance.adjust_balance(request).await?;
    let balance = adjusted.into_inner().custody_balance.expect("set");
    Ok(balance.available)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_enterprise_has_at_most_5_000_currencies_however_many_deposit_at_once() {
    let db = database().await;
    let one = Earmark::start_on(&db.url, Setup::default()).await;
    let two = Earmark::start_on(&db.url, Setup::default()).await;
    let parties = one.parties(ConnectionMode::Instant).await;
    stock(&one, &parties, ENTERPRISE_CURRENCIES_MAX - 3).await;
    // Two servers, each with several deposits in one batch.
    let deposits = (0..20).map(async |index| {
        let earmark = if index % 2 == 0 { &one } else { &two };
        (
            index,
            adjust(earmark, &parties, &format!("new-{index}"), "5").await,
        )
    });
    let (mut kept, mut refused) = (Vec::new(), Vec::new());
    for (index, result) in join_all(deposits).await {
        match result {
            Ok(_) => kept.push(format!("new-{index}")),
            Err(status) => refused.push(refusal(Err::<(), _>(status))),
        }
    }
    assert_eq!((kept.len(), refused.len()), (3, 17));
    for refused in refused {
        let refused = refused.expect(Code::FailedPrecondition, "LIMIT_REACHED");
        assert_eq!(refused.metadata["limit"], "5000");
        assert_eq!(refused.metadata["outcome"], "not_applied");
    }
    let accounts =
        "SELECT count(*) FROM account WHERE account_id = '00000000-0000-0000-0000-000000000002'";
    assert_eq!(one.count(accounts).await, 5_000);

    // What it has had can be deposited and withdrawn, to nothing too, and then it still counts.
    assert_eq!(
        adjust(&one, &parties, "U1", "3").await.expect("known"),
        "10"
    );
    assert_eq!(
        adjust(&one, &parties, "U1", "-10").await.expect("known"),
        "0"
    );
    assert_eq!(
        adjust(&one, &parties, &kept[0], "5")
            .await
            .expect("a replay"),
        "5"
    );
    let withdrawn = adjust(&one, &parties, "other", "-1").await;
    refusal(withdrawn).expect(Code::FailedPrecondition, "INSUFFICIENT_BALANCE");
    let deposited = refusal(adjust(&one, &parties, "other", "1").await);
    deposited.expect(Code::FailedPrecondition, "LIMIT_REACHED");
    // The limit is each enterprise's own.
    let others = one.parties(ConnectionMode::Instant).await;
    assert_eq!(
        adjust(&one, &others, "other", "1")
            .await
            .expect("its first"),
        "1"
    );

    // Custody with all of them is one answer.
    let request = ListClientBalancesRequest {
        enterprise_id: parties.enterprise.clone(),
        ..Default::default()
    };
    let mut client = one.member(&[&parties.enterprise]).balance;
    let listed = client.list_client_balances(request).await.expect("listed");
    assert_eq!(listed.into_inner().balances.len(), 5_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn balances_in_more_currencies_than_allowed_are_listed_by_naming_some() {
    let earmark = Earmark::start().await;
    let parties = earmark.parties(ConnectionMode::Instant).await;
    // Only a database of before the limit can hold them.
    stock(&earmark, &parties, 40_001).await;
    let mut client = earmark.member(&[&parties.enterprise]).balance;
    let asked = |currencies| ListClientBalancesRequest {
        enterprise_id: parties.enterprise.clone(),
        currencies,
        ..Default::default()
    };
    let refused = refusal(client.list_client_balances(asked(Vec::new())).await);
    let refused = refused.expect(Code::InvalidArgument, "PAGE_TOO_LARGE");
    assert_eq!(refused.fields(), ["currencies"]);
    let fits: usize = refused.metadata["fits"].parse().expect("a number");
    let named: Vec<String> = (1..=fits).map(|number| format!("U{number}")).collect();
    let listed = client.list_client_balances(asked(named)).await;
    assert_eq!(listed.expect("listed").into_inner().balances.len(), fits);
}
