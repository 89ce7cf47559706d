//! Many at once: whatever meets, each unit moves once, and every invariant holds afterwards.

mod buckets;
mod flags;
mod processes;
mod reads;
mod verdicts;

use earmark::proto::network::v1::ConnectionMode;

use crate::support::desk::Desk;
use crate::support::earmark::{Clients, Earmark, Setup};

/// Two servers on one database, as two processes would be, and both sides at work.
struct Pair {
    desk: Desk,
    other: Earmark,
}

impl Pair {
    async fn open(mode: ConnectionMode) -> Self {
        let desk = Desk::open(mode).await;
        let other = Earmark::start_on(&desk.earmark.url, Setup::default()).await;
        Self { desk, other }
    }

    /// Members of both enterprises: of one server for even numbers, of the other for odd ones.
    fn members(&self) -> [Clients; 2] {
        let parties = &self.desk.parties;
        let both = [&*parties.enterprise, &*parties.partner_enterprise];
        [self.desk.earmark.member(&both), self.other.member(&both)]
    }
}
