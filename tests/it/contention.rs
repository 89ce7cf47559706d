//! Owners whose row another session has locked, beside owners that are free.

use std::time::{Duration, Instant};

use earmark::app::AppSettings;
use earmark::ledger::engine::WriterSettings;
use earmark::proto::allocation::v1::ListPartnerAllocationsRequest;
use earmark::proto::balance::v1::ListPartnerBalancesRequest;
use earmark::proto::network::v1::ConnectionMode;
use futures_util::future::join_all;
use tonic::Code;

use crate::support::allocation_fixture::AllocationFixture;
use crate::support::earmark::{Earmark, Parties, Setup, impatient, refusal};
use crate::support::ledger_dump::assert_sound;
use crate::support::locks::{hold_owner, somebody_waits};

const LOCK_WAIT: Duration = Duration::from_millis(100);

#[tokio::test(flavor = "multi_thread")]
async fn many_calls_on_a_locked_owner_delay_others_no_more_than_one() {
    let setup = Setup {
        app: AppSettings {
            writer: WriterSettings {
                writers: 1,
                ..impatient(LOCK_WAIT)
            },
            ..AppSettings::default()
        },
        ..Setup::default()
    };
    let earmark = Earmark::start_with(setup).await;
    let held = earmark.parties(ConnectionMode::Confirmed).await;
    let free = earmark.parties(ConnectionMode::Confirmed).await;
    for parties in [&held, &free] {
        earmark.deposit(&parties.enterprise, "BTC", "100").await;
    }
    let holder = hold_owner(&earmark.url, &held.enterprise).await;
    let client = earmark
        .member(&[&held.enterprise, &free.enterprise])
        .allocation;
    let call = async |request| client.clone().create_allocation(request).await;
    let stuck =
        join_all((0..40).map(|index| call(held.allocation("BTC", "1", &format!("{index}")))));
    let others = async {
        somebody_waits(&earmark.url).await;
        let started = Instant::now();
        let answer = call(free.allocation("BTC", "1", "a-1")).await;
        answer.expect("has nothing to do with the lock");
        started.elapsed()
    };
    let (stuck, waited) = tokio::join!(stuck, others);
    for answer in stuck {
        let refused = refusal(answer).expect(Code::Aborted, "CONTENTION");
        assert_eq!(refused.metadata["outcome"], "not_applied");
    }
    // The wait of the batch that is under way, and that of a batch that both are in; each of the forty by itself would
    // take forty times as long.
    assert!(waited < 20 * LOCK_WAIT, "{waited:?}");
    holder.batch_execute("ROLLBACK").await.expect("released");
    let answer = call(held.allocation("BTC", "1", "0")).await;
    answer.expect("the refusals left no key");
    assert_sound(&earmark).await;
}

async fn make_due(earmark: &Earmark, id: &str) {
    let due = format!("UPDATE open_allocation SET expire_time = created_at WHERE id = '{id}'");
    let due = earmark.sql().await.batch_execute(&due).await;
    due.expect("made due");
}

#[tokio::test]
async fn a_locked_owner_does_not_delay_lists_without_it() {
    let setup = Setup {
        app: AppSettings {
            writer: impatient(LOCK_WAIT),
            ..AppSettings::default()
        },
        ..Setup::default()
    };
    let fixture =
        AllocationFixture::on(Earmark::start_with(setup).await, ConnectionMode::Confirmed).await;
    let other = fixture.earmark.enterprise("Another client").await;
    let other = Parties {
        client: fixture.earmark.client(&other.id).await,
        ..fixture.parties.clone()
    };
    let connection = fixture
        .earmark
        .connection(&other, ConnectionMode::Confirmed)
        .await;
    let held = fixture.allocate("1", "held").await;
    let holder = hold_owner(&fixture.earmark.url, &fixture.parties.enterprise).await;
    make_due(&fixture.earmark, &held.id).await;

    let partner = fixture
        .earmark
        .member(&[&fixture.parties.partner_enterprise]);
    let list = async |client: &str| {
        let (enterprise_id, client_ids) = (
            fixture.parties.partner_enterprise.clone(),
            vec![client.into()],
        );
        let request = ListPartnerAllocationsRequest {
            enterprise_id,
            client_ids,
            ..Default::default()
        };
        let answer = partner
            .allocation
            .clone()
            .list_partner_allocations(request)
            .await;
        answer.map(|answer| answer.into_inner().allocations.len())
    };
    let balances = async |connection: &str| {
        let (enterprise_id, connection_ids) = (
            fixture.parties.partner_enterprise.clone(),
            vec![connection.into()],
        );
        let request = ListPartnerBalancesRequest {
            enterprise_id,
            connection_ids,
            ..Default::default()
        };
        let answer = partner.balance.clone().list_partner_balances(request).await;
        answer.map(|answer| answer.into_inner().network_balances.len())
    };
    assert_eq!(
        list(&other.client)
            .await
            .expect("has nothing to do with the lock"),
        0
    );
    assert_eq!(
        balances(&connection)
            .await
            .expect("has nothing to do with the lock"),
        1
    );
    // The due reservation cannot be expired and must not be shown as open.
    refusal(list(&fixture.parties.client).await).expect(Code::Aborted, "CONTENTION");
    refusal(balances(&fixture.parties.connection).await).expect(Code::Aborted, "CONTENTION");
    holder.batch_execute("ROLLBACK").await.expect("released");
    assert_eq!(list(&fixture.parties.client).await.expect("free again"), 1);
}
