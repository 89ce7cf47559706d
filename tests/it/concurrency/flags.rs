//! A change that NetworkService acknowledged applies to every write that begins later, in every process.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use earmark::proto::allocation::v1::Allocation;
use earmark::proto::network::v1::ConnectionMode;
use futures_util::future::join_all;
use tonic::{Code, Status};

use super::Pair;
use crate::support::earmark::{Clients, Earmark, Parties, refusal};
use crate::support::ledger_dump::assert_sound;

/// Creates with new keys through several servers.
struct Creator<'a> {
    parties: &'a Parties,
    members: Vec<Clients>,
    keys: AtomicUsize,
}

impl Creator<'_> {
    async fn create(&self, server: usize) -> Result<Allocation, Status> {
        let key = self.keys.fetch_add(1, Ordering::Relaxed).to_string();
        let request = self.parties.allocation("BTC", "1", &key);
        let mut client = self.members[server % self.members.len()].allocation.clone();
        let answer = client.create_allocation(request).await;
        answer.map(|answer| answer.into_inner().allocation.expect("set"))
    }

    /// Asserts that every server refuses for this reason.
    async fn all_refuse(&self, code: Code, reason: &str) {
        for refused in join_all((0..6).map(|server| self.create(server))).await {
            let refused = refusal(refused).expect(code, reason);
            assert_eq!(refused.metadata["outcome"], "not_applied");
        }
    }

    /// Asserts that every server accepts creates.
    async fn all_take(&self) {
        for taken in join_all((0..6).map(|server| self.create(server))).await {
            taken.expect("reserved");
        }
    }

    /// Creates while others change flags and licences.
    async fn hammer(&self, server: usize, stop: &AtomicBool) {
        while !stop.load(Ordering::Relaxed) {
            if let Err(status) = self.create(server).await {
                let code = status.code();
                let expected = [Code::FailedPrecondition, Code::PermissionDenied];
                assert!(expected.contains(&code), "{status:?}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_acknowledged_flag_or_licence_change_binds_later_creates_in_every_process() {
    let pair = Pair::open(ConnectionMode::Confirmed).await;
    let fixture = &pair.fixture;
    let (earmark, parties) = (&fixture.earmark, &fixture.parties);
    let process = Earmark::start_process_on(&earmark.url).await;
    let deposit = earmark.deposit(&parties.enterprise, "BTC", "1000000000");
    deposit.await;
    let mut members = Vec::from(pair.members());
    members.push(process.member(&[&parties.enterprise]));
    let creator = Creator {
        parties,
        members,
        keys: AtomicUsize::new(0),
    };
    let stop = AtomicBool::new(false);
    let switching = async {
        for round in 0..6 {
            // Changed through one server or another, and through the other process.
            let by = [earmark, &pair.other, &process][round % 3];
            by.enable_allocations(&parties.connection, false).await;
            let inactive = (Code::FailedPrecondition, "CONNECTION_INACTIVE");
            creator.all_refuse(inactive.0, inactive.1).await;
            by.enable_allocations(&parties.connection, true).await;
            creator.all_take().await;
            by.license(&parties.enterprise, false).await;
            let unlicensed = (Code::PermissionDenied, "NO_OES_LICENSE");
            creator.all_refuse(unlicensed.0, unlicensed.1).await;
            by.license(&parties.enterprise, true).await;
            creator.all_take().await;
        }
        stop.store(true, Ordering::Relaxed);
    };
    let hammers = join_all((0..6).map(|server| creator.hammer(server, &stop)));
    tokio::join!(switching, hammers);
    assert_sound(earmark).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_withdrawn_partner_licence_binds_later_writes_in_every_server() {
    let pair = Pair::open(ConnectionMode::Confirmed).await;
    let (fixture, members) = (&pair.fixture, pair.members());
    let partner = &fixture.parties.partner_enterprise;
    for round in 0..4 {
        let by = [&fixture.earmark, &pair.other][round % 2];
        let hold = fixture.allocate("1", &format!("{round}")).await;
        by.license(partner, false).await;
        let clears = members.iter().map(async |member| {
            let request = fixture.parties.clear(&hold.id);
            member.allocation.clone().clear_allocation(request).await
        });
        for refused in join_all(clears).await {
            refusal(refused).expect(Code::PermissionDenied, "NO_OES_LICENSE");
        }
        let creates = members.iter().map(async |member| {
            let request = fixture.parties.allocation("BTC", "1", "to nobody");
            member.allocation.clone().create_allocation(request).await
        });
        for refused in join_all(creates).await {
            refusal(refused).expect(Code::FailedPrecondition, "PARTNER_NOT_LICENSED");
        }
        by.license(partner, true).await;
        fixture.clear(&hold.id).await;
    }
    assert_sound(&fixture.earmark).await;
}
