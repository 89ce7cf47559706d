//! VerifyLedger and `earmark verify`: no breach on a sound ledger, also during writes; else owner and account of each.

mod breaches;
mod buckets;
mod calls;
mod command;
mod reservation_counts;
mod seals;
mod sound;

use earmark::proto::balance::v1::verify_ledger_response::Event;
use earmark::proto::balance::v1::{
    AdjustBalanceRequest, VerifyBreach, VerifyLedgerRequest, VerifyProgress, VerifySummary,
};
use earmark::proto::network::v1::ConnectionMode;
use tonic::Status;

use crate::support::allocation_fixture::AllocationFixture;
use crate::support::earmark::Earmark;

/// The events of one verification.
#[derive(Debug)]
pub(crate) struct Verification {
    progress: Vec<VerifyProgress>,
    pub(crate) breaches: Vec<VerifyBreach>,
    pub(crate) summary: VerifySummary,
}

/// Verifies the ledger and asserts that the stream is well formed: progress rises from 0 to all, one summary ends it.
pub(crate) async fn verify(earmark: &Earmark) -> Verification {
    try_verify(earmark).await.expect("verified")
}

async fn try_verify(earmark: &Earmark) -> Result<Verification, Status> {
    let mut admin = earmark.admin().balance;
    let answer = admin.verify_ledger(VerifyLedgerRequest {}).await?;
    let mut stream = answer.into_inner();
    let (mut progress, mut breaches, mut summary) = (Vec::new(), Vec::new(), None);
    while let Some(message) = stream.message().await? {
        assert_eq!(summary, None, "nothing follows the summary");
        match message.event.expect("an event") {
            Event::Progress(event) => progress.push(event),
            Event::Breach(event) => breaches.push(event),
            Event::Summary(event) => summary = Some(event),
        }
    }
    let told = Verification {
        progress,
        breaches,
        summary: summary.expect("a summary"),
    };
    told.assert_well_formed();
    Ok(told)
}

impl Verification {
    fn assert_well_formed(&self) {
        let all = self.summary.accounts;
        let ends = (self.progress.first(), self.progress.last());
        let (Some(first), Some(last)) = ends else {
            panic!("no progress: {self:?}");
        };
        assert_eq!((first.accounts_done, last.accounts_done), (0, all));
        assert!(self.progress.iter().all(|told| told.accounts_total == all));
        assert!(
            self.progress
                .is_sorted_by_key(|progress| progress.accounts_done)
        );
        let told = i64::try_from(self.breaches.len()).expect("not many");
        assert_eq!(self.summary.breaches.min(1_000), told);
    }

    fn assert_sound(&self) {
        assert_eq!(self.breaches, []);
        assert_eq!(self.summary.breaches, 0);
    }
}

/// A ledger with a record of every kind and status, all of BTC; each record's key names its status.
///
/// Custody has entries 1 to 10, the connection 1 and 2, the instant connection 1.
struct LedgerFixture {
    fixture: AllocationFixture,
    /// The id of the connection with the mode INSTANT.
    instant: String,
}

impl LedgerFixture {
    async fn open() -> Self {
        let fixture = AllocationFixture::open(ConnectionMode::Confirmed).await;
        let withdrawal = AdjustBalanceRequest {
            enterprise_id: fixture.parties.enterprise.clone(),
            currency: "BTC".into(),
            quantity: "-5".into(),
            external_id: "withdrawn".into(),
            reason: "a test's withdrawal".into(),
            validate_only: false,
        };
        let withdrawn = fixture
            .earmark
            .admin()
            .balance
            .adjust_balance(withdrawal)
            .await;
        withdrawn.expect("withdrawn");
        fixture.allocate("30", "open").await;
        let cleared = fixture.allocate("20", "cleared").await;
        fixture.clear(&cleared.id).await;
        let released = fixture.allocate("10", "released").await;
        fixture.release(&released.id).await;
        let cancelled = fixture.allocate("3", "cancelled").await;
        fixture.cancel(&cancelled.id).await;
        let instant = fixture
            .earmark
            .connection(&fixture.parties, ConnectionMode::Instant)
            .await;
        let mut at_once = fixture.parties.allocation("BTC", "6", "instant");
        at_once.connection_id.clone_from(&instant);
        let moved = fixture.client.clone().create_allocation(at_once).await;
        moved.expect("allocated");
        fixture.deallocate("4", "back").await;
        Self { fixture, instant }
    }
}
