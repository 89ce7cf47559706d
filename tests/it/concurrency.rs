//! Concurrent calls: each unit moves once, and every invariant holds afterwards.

mod buckets;
mod flags;
mod processes;
mod reads;
mod verdicts;

use earmark::proto::network::v1::ConnectionMode;

use crate::support::allocation_fixture::AllocationFixture;
use crate::support::earmark::{Clients, Earmark, Setup};

/// Two servers on one database, as two processes would be, and both sides at work.
struct Pair {
    fixture: AllocationFixture,
    other: Earmark,
}

impl Pair {
    async fn open(mode: ConnectionMode) -> Self {
        let fixture = AllocationFixture::open(mode).await;
        let other = Earmark::start_on(&fixture.earmark.url, Setup::default()).await;
        Self { fixture, other }
    }

    /// Members of both enterprises: of one server for even numbers, of the other for odd ones.
    fn members(&self) -> [Clients; 2] {
        let parties = &self.fixture.parties;
        let both = [&*parties.enterprise, &*parties.partner_enterprise];
        [self.fixture.earmark.member(&both), self.other.member(&both)]
    }
}
