//! Concurrent reads and writes through two processes: no read mixes two states, and no write is lost.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use earmark::proto::catalogue::v1::catalogue_service_client::CatalogueServiceClient;
use earmark::proto::catalogue::v1::{
    Allocation, DeleteAllocationRequest, GetAllocationRequest, PricePerUnit, PutAllocationRequest,
};
use tokio::task::JoinSet;
use tonic::Code;

use crate::support::catalogue_fixture::{
    COMPANY, CatalogueFixture, client, get, listing, putting, texts,
};
use crate::support::earmark::{Authorized, Earmark, Setup, refusal};
use crate::support::service::is_replayed;

/// Every member says which state it belongs to.
fn in_state(id: &str, state: u32) -> PutAllocationRequest {
    let with = format!("s{state}");
    let mut request = putting(id, [("ar", texts(&with)), ("fr", texts(&with))]);
    request.translations.insert("en".into(), texts(&with));
    // Every other state lacks a language, which is then served in English.
    if state.is_multiple_of(2) {
        request.translations.remove("fr");
    }
    request.msrp_price = state.to_string();
    request.price_per_unit = Some(PricePerUnit {
        number: format!("{state}.00"),
        currency_code: "USD".into(),
    });
    request.allocation_image = format!("https://example.com/{state}.png");
    request
}

/// The state that an allocation is in, with all its members.
fn state_of(shown: &Allocation) -> u32 {
    let state = shown.msrp_price.parse().expect("a state");
    let with = texts(&format!("s{state}"));
    assert_eq!(shown.allocation_name, with.allocation_name, "{shown:?}");
    assert_eq!(shown.display_name, with.display_name, "{shown:?}");
    assert_eq!(shown.allocation_description, with.allocation_description);
    assert_eq!(
        shown.allocation_long_description,
        with.allocation_long_description
    );
    assert_eq!(
        shown.allocation_singular_label,
        with.allocation_singular_label
    );
    assert_eq!(shown.allocation_plural_label, with.allocation_plural_label);
    let unit = shown.price_per_unit.as_ref().expect("set");
    assert_eq!(unit.number, format!("{state}.00"), "{shown:?}");
    let image = format!("https://example.com/{state}.png");
    assert_eq!(shown.allocation_image, image, "{shown:?}");
    state
}

/// Two servers on one database.
async fn two() -> (CatalogueFixture, Earmark) {
    let fixture = CatalogueFixture::open().await;
    let other = Earmark::start_on(&fixture.earmark.url, Setup::default()).await;
    (fixture, other)
}

/// How many states each allocation goes through.
const STATES: u32 = 40;

/// Lists and gets until `is_done`: no answer mixes two states or is older than an earlier one. Returns how many
/// lists it read.
async fn read_until(
    is_done: Arc<AtomicBool>,
    mut reader: CatalogueServiceClient<Authorized>,
    langcode: &'static str,
) -> u32 {
    let mut latest: BTreeMap<String, u32> = BTreeMap::new();
    let mut lists = 0_u32;
    while !is_done.load(Ordering::SeqCst) {
        let listed = reader.list_available_allocations(listing(langcode)).await;
        let listed = listed.expect("listed").into_inner().allocations;
        assert!(listed.len() >= 2, "{listed:?}");
        for shown in &listed {
            let state = state_of(shown);
            let id = shown.allocation_id.as_str();
            if id != "3" {
                assert_eq!(shown.version, i64::from(state));
            }
            let before = latest.insert(id.into(), state).unwrap_or(0);
            assert!(before <= state, "{id}: {state} after {before}");
        }
        let request = GetAllocationRequest {
            quantity: Some(1),
            ..get("1", langcode)
        };
        let got = reader.get_allocation(request).await;
        let got = got.expect("there").into_inner();
        let state = state_of(&got.allocation.expect("set"));
        assert_eq!(got.label, Some(format!("s{state} 1 unit")));
        let before = latest.insert("1".into(), state).unwrap_or(0);
        assert!(before <= state, "{state} after {before}");
        lists += 1;
    }
    lists
}

#[tokio::test(flavor = "multi_thread")]
async fn no_read_mixes_two_states() {
    let (fixture, other) = two().await;
    let is_done = Arc::new(AtomicBool::new(false));
    for id in ["1", "2", "3"] {
        fixture.put(in_state(id, 1)).await;
    }
    let mut writers = JoinSet::new();
    for (id, mut writer) in [("1", fixture.client.clone()), ("2", client(&other))] {
        writers.spawn(async move {
            for state in 2..=STATES {
                let put = writer.put_allocation(in_state(id, state)).await;
                let allocation = put.expect("put").into_inner().allocation.expect("set");
                assert_eq!(allocation.version, i64::from(state));
            }
        });
    }
    // The third allocation is deleted and created again in turn.
    let mut comings = fixture.client.clone();
    writers.spawn(async move {
        for state in 2..STATES {
            let delete = DeleteAllocationRequest {
                company_id: COMPANY,
                allocation_id: "3".into(),
                ..Default::default()
            };
            comings.delete_allocation(delete).await.expect("deleted");
            let put = comings.put_allocation(in_state("3", state)).await;
            put.expect("put");
        }
    });
    let mut readers = JoinSet::new();
    for (langcode, reader) in [
        ("en", fixture.client.clone()),
        ("fr-CA", client(&other)),
        ("ar", client(&other)),
    ] {
        let is_done = Arc::clone(&is_done);
        readers.spawn(read_until(is_done, reader, langcode));
    }
    while let Some(writer) = writers.join_next().await {
        writer.expect("no panic");
    }
    is_done.store(true, Ordering::SeqCst);
    while let Some(reader) = readers.join_next().await {
        assert!(reader.expect("no panic") > 5, "readers read meanwhile");
    }
    let last = fixture.list(listing("fr")).await.allocations;
    let states: Vec<u32> = last.iter().map(state_of).collect();
    assert_eq!(states, [STATES, STATES, STATES - 1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_one_of_concurrent_puts_on_one_version_is_applied() {
    let (fixture, other) = two().await;
    fixture.put(in_state("1", 1)).await;
    for version in 1..6 {
        let mut puts = JoinSet::new();
        for index in 0..8_u32 {
            let mut writer = match index % 2 {
                0 => fixture.client.clone(),
                _ => client(&other),
            };
            let request = PutAllocationRequest {
                expected_version: Some(version),
                ..in_state("1", 1_000 * u32::try_from(version).expect("small") + index)
            };
            puts.spawn(async move { writer.put_allocation(request).await });
        }
        let mut won = Vec::new();
        while let Some(put) = puts.join_next().await {
            match put.expect("no panic") {
                Ok(put) => won.push(state_of(&put.into_inner().allocation.expect("set"))),
                refused => {
                    refusal(refused).expect(Code::Aborted, "VERSION_MISMATCH");
                }
            }
        }
        let shown = fixture.only("ar").await;
        assert_eq!((won, shown.version), (vec![state_of(&shown)], version + 1));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_equal_puts_are_written_once() {
    let (fixture, other) = two().await;
    let mut puts = JoinSet::new();
    for index in 0..16 {
        let mut writer = match index % 2 {
            0 => fixture.client.clone(),
            _ => client(&other),
        };
        puts.spawn(async move { writer.put_allocation(in_state("1", 1)).await });
    }
    let mut written = 0;
    while let Some(put) = puts.join_next().await {
        let put = put.expect("no panic").expect("put");
        written += i32::from(!is_replayed(&put));
        assert_eq!(put.into_inner().allocation.expect("set").version, 1);
    }
    assert_eq!(written, 1);
    assert_eq!(fixture.only("").await.version, 1);
}

/// A put waits for a session that has locked the company, and then sees what that session has committed.
#[tokio::test(flavor = "multi_thread")]
async fn a_put_waits_for_the_companys_lock_and_reads_after_it() {
    let fixture = CatalogueFixture::open().await;
    fixture.put(in_state("1", 1)).await;
    let mut holder = fixture.earmark.sql().await;
    let holding = holder.transaction().await.expect("begun");
    holding
        .batch_execute(
            "SELECT FROM owner FOR NO KEY UPDATE; UPDATE catalogue_allocation SET version = 7",
        )
        .await
        .expect("held");
    let mut writer = fixture.client.clone();
    let put = tokio::spawn(async move { writer.put_allocation(in_state("1", 2)).await });
    // Reads do not wait for the lock.
    assert_eq!(fixture.only("").await.version, 1);
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(!put.is_finished());
    holding.commit().await.expect("free");
    let put = put.await.expect("no panic").expect("put").into_inner();
    assert_eq!(put.allocation.expect("set").version, 8);
}
