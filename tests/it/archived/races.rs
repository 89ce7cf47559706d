//! Calls while their record is archived: what they name is there, or archived, and never missing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use earmark::proto::allocation::v1::GetAllocationRequest;
use earmark::proto::balance::v1::ListEntriesRequest;
use earmark::proto::network::v1::ConnectionMode;
use earmark::types::amount::Amount;
use tonic::Code;

use crate::support::allocation_fixture::AllocationFixture;
use crate::support::archive::archive;
use crate::support::earmark::{Earmark, Parties, refusal};
use crate::support::service::is_replayed;

/// Calls again and again until it is told to end; returns how often it was answered, and how often refused.
async fn again_and_again<F: Future<Output = bool>>(
    is_done: Arc<AtomicBool>,
    call: impl Fn() -> F,
) -> (usize, usize) {
    let (mut answered, mut refused) = (0, 0);
    while !is_done.load(Ordering::Relaxed) || refused == 0 {
        match call().await {
            true => answered += 1,
            false => refused += 1,
        }
        assert!(answered < 100_000, "it is never archived");
    }
    (answered, refused)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_is_there_or_archived_at_every_moment() {
    for _ in 0..3 {
        let fixture = AllocationFixture::open(ConnectionMode::Instant).await;
        let done = fixture.allocate("1", "done").await;
        // The balances of the first answer are no longer those of the accounts.
        fixture.allocate("1", "later").await;
        let is_done = Arc::new(AtomicBool::new(false));
        let get = again_and_again(Arc::clone(&is_done), || async {
            let request = GetAllocationRequest {
                enterprise_id: fixture.parties.partner_enterprise.clone(),
                allocation_id: done.id.clone(),
            };
            match fixture.partner.clone().get_allocation(request).await {
                Ok(found) => {
                    assert_eq!(found.into_inner().allocation.as_ref(), Some(&done));
                    true
                }
                refused => {
                    refusal(refused).expect(Code::OutOfRange, "HISTORY_ARCHIVED");
                    false
                }
            }
        });
        let create = again_and_again(Arc::clone(&is_done), || async {
            let request = fixture.parties.allocation("BTC", "1", "done");
            match fixture.client.clone().create_allocation(request).await {
                Ok(repeated) => {
                    assert!(is_replayed(&repeated), "{repeated:?}");
                    true
                }
                refused => {
                    refusal(refused).expect(Code::FailedPrecondition, "ARCHIVED");
                    false
                }
            }
        });
        let archiving = async {
            archive(&fixture.earmark).await;
            is_done.store(true, Ordering::Relaxed);
        };
        let ((got, _), (repeated, _), ()) = tokio::join!(get, create, archiving);
        assert!(got > 0 && repeated > 0, "{got} {repeated}");
    }
}

/// What the changes of custody add up to, in pages of two entries.
async fn sum(earmark: &Earmark, parties: &Parties) -> Option<Amount> {
    let mut request = ListEntriesRequest {
        enterprise_id: parties.enterprise.clone(),
        connection_id: Some(String::new()),
        page_size: 2,
        ..Default::default()
    };
    let mut rpc = earmark.member(&[&parties.enterprise]).balance;
    let mut sum = Amount::ZERO;
    loop {
        let page = match rpc.list_entries(request.clone()).await {
            Ok(page) => page.into_inner(),
            refused => {
                let refused = refusal(refused).expect(Code::OutOfRange, "HISTORY_ARCHIVED");
                assert_eq!(refused.metadata["field"], "page_token");
                return None;
            }
        };
        for entry in page.entries {
            let delta = Amount::parse_decimal(&entry.available_delta).expect("a decimal");
            sum = sum.checked_add(delta).expect("small");
        }
        if page.next_page_token.is_empty() {
            return Some(sum);
        }
        request.page_token = page.next_page_token;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_history_adds_up_at_every_moment() {
    let fixture = AllocationFixture::open(ConnectionMode::Instant).await;
    for key in 0..9 {
        fixture.allocate("1", &key.to_string()).await;
    }
    let expected = Amount::parse_decimal("91");
    let is_done = AtomicBool::new(false);
    let lists = async {
        let mut whole = 0;
        while !is_done.load(Ordering::Relaxed) {
            if let Some(sum) = sum(&fixture.earmark, &fixture.parties).await {
                assert_eq!(Some(sum), expected);
                whole += 1;
            }
        }
        whole
    };
    let archiving = async {
        for _ in 0..3 {
            archive(&fixture.earmark).await;
        }
        is_done.store(true, Ordering::Relaxed);
    };
    let (whole, ()) = tokio::join!(lists, archiving);
    assert!(whole > 0);
}
