//! Two processes of the built binary on one database.

use earmark::proto::allocation::v1::AllocationStatus;
use earmark::proto::network::v1::ConnectionMode;
use futures_util::StreamExt;
use futures_util::stream;

use crate::support::allocation_fixture::AllocationFixture;
use crate::support::earmark::{Earmark, balance};
use crate::support::ledger_dump::assert_sound;
use crate::support::service::is_replayed;

#[tokio::test(flavor = "multi_thread")]
async fn one_key_sent_10000_times_through_two_processes_has_one_effect() {
    const CALLS: usize = 10_000;
    /// On their way at the same time.
    const AT_ONCE: usize = 256;
    let fixture = AllocationFixture::open(ConnectionMode::Confirmed).await;
    let (one, other) = tokio::join!(
        Earmark::start_process_on(&fixture.earmark.url),
        Earmark::start_process_on(&fixture.earmark.url)
    );
    let enterprise = fixture.parties.enterprise.as_str();
    let clients = [&one, &other].map(|process| process.member(&[enterprise]).allocation);
    let calls = (0..CALLS).map(|index| {
        let mut client = clients[index % 2].clone();
        let request = fixture.parties.allocation("BTC", "7", "the one key");
        tokio::spawn(async move { client.create_allocation(request).await })
    });
    let (mut done, mut first) = (0, None);
    let mut answers = stream::iter(calls).buffer_unordered(AT_ONCE);
    while let Some(answer) = answers.next().await {
        let answer = answer.expect("no panic").expect("reserved or replayed");
        done += usize::from(!is_replayed(&answer));
        let answer = answer.into_inner();
        let first = first.get_or_insert_with(|| answer.clone());
        assert_eq!(&answer, first);
    }
    assert_eq!(done, 1);
    let answer = first.expect("ten thousand");
    assert_eq!(answer.custody_balance, balance("93", "7", 2));
    let record = answer.allocation.expect("set");
    assert_eq!(record.status(), AllocationStatus::Reserved);
    assert_eq!(fixture.get(&record.id).await, record);
    let dump = assert_sound(&fixture.earmark).await;
    assert_eq!((dump.allocations.len(), dump.entries.len()), (1, 3));
}
