//! An owner whose row another session holds, and those who have nothing to do with it.

use std::time::{Duration, Instant};

use earmark::app::AppSettings;
use earmark::ledger::writer::WriterSettings;
use earmark::proto::allocation::v1::ListPartnerAllocationsRequest;
use earmark::proto::balance::v1::ListPartnerBalancesRequest;
use earmark::proto::network::v1::ConnectionMode;
use futures_util::future::join_all;
use tonic::Code;

use crate::support::desk::Desk;
use crate::support::earmark::{Earmark, Parties, Setup, impatient, refusal};
use crate::support::locks::{hold_owner, somebody_waits};
use crate::support::picture::assert_sound;

const LOCK_WAIT: Duration = Duration::from_millis(100);

#[tokio::test(flavor = "multi_thread")]
async fn many_calls_on_a_held_owner_delay_the_others_no_more_than_one() {
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

#[tokio::test]
async fn a_held_owner_delays_no_list_that_leaves_it_out() {
    let setup = Setup {
        app: AppSettings {
            writer: impatient(LOCK_WAIT),
            ..AppSettings::default()
        },
        ..Setup::default()
    };
    let desk = Desk::on(Earmark::start_with(setup).await, ConnectionMode::Confirmed).await;
    let other = desk.earmark.enterprise("Another client").await;
    let other = Parties {
        client: desk.earmark.client(&other.id).await,
        ..desk.parties.clone()
    };
    let connection = desk
        .earmark
        .connection(&other, ConnectionMode::Confirmed)
        .await;
    let held = desk.allocate("1", "held").await;
    let holder = hold_owner(&desk.earmark.url, &desk.parties.enterprise).await;
    let due = format!(
        "UPDATE allocation SET expire_time = created_at WHERE id = '{}'",
        held.id
    );
    desk.earmark
        .sql()
        .await
        .batch_execute(&due)
        .await
        .expect("made due");

    let partner = desk.earmark.member(&[&desk.parties.partner_enterprise]);
    let list = async |client: &str| {
        let (enterprise_id, client_ids) =
            (desk.parties.partner_enterprise.clone(), vec![client.into()]);
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
            desk.parties.partner_enterprise.clone(),
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
    // What is due there cannot be released, and must not be shown as open.
    refusal(list(&desk.parties.client).await).expect(Code::Aborted, "CONTENTION");
    refusal(balances(&desk.parties.connection).await).expect(Code::Aborted, "CONTENTION");
    holder.batch_execute("ROLLBACK").await.expect("released");
    assert_eq!(list(&desk.parties.client).await.expect("free again"), 1);
}
