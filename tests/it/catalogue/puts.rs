//! Writes: a record's ids are its key, versions are checked, and `validate_only` writes nothing.

use earmark::proto::catalogue::v1::{
    Company, DeleteAllocationRequest, PutAllocationRequest, PutCompanyRequest, PutCompanyResponse,
};
use tonic::{Code, Response, Status};

use crate::support::catalogue_fixture::{
    COMPANY, CatalogueFixture, NO_COMPANY, get, listing, putting, texts,
};
use crate::support::earmark::refusal;
use crate::support::service::is_replayed;

fn company(name: &str, expected_version: Option<i64>) -> PutCompanyRequest {
    PutCompanyRequest {
        company_id: COMPANY,
        name: name.into(),
        expected_version,
        validate_only: false,
    }
}

fn deletion(id: &str) -> DeleteAllocationRequest {
    DeleteAllocationRequest {
        company_id: COMPANY,
        allocation_id: id.into(),
        ..Default::default()
    }
}

fn expecting(expected_version: i64, request: PutAllocationRequest) -> PutAllocationRequest {
    PutAllocationRequest {
        expected_version: Some(expected_version),
        ..request
    }
}

/// An allocation that differs by its price.
fn at(price: &str) -> PutAllocationRequest {
    PutAllocationRequest {
        msrp_price: price.into(),
        ..putting("1", [("fr", texts("fr"))])
    }
}

#[track_caller]
fn mismatch<T: std::fmt::Debug>(result: Result<T, Status>, expected: &str, actual: &str) {
    let refused = refusal(result).expect(Code::Aborted, "VERSION_MISMATCH");
    assert_eq!(refused.metadata["expected_version"], expected);
    assert_eq!(refused.metadata["actual_version"], actual);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_put_changes_nothing() {
    let fixture = CatalogueFixture::open().await;
    let mut client = fixture.client.clone();
    let put = client.put_allocation(at("1.50")).await.expect("put");
    assert!(!is_replayed(&put));
    let put = put.into_inner();
    let again = client.put_allocation(at("1.50")).await.expect("replayed");
    assert!(is_replayed(&again));
    assert_eq!(again.into_inner(), put);
    // The same languages, written otherwise.
    let mut shouted = at("1.50");
    let french = shouted.translations.remove("fr").expect("set");
    shouted.translations.insert("FR".into(), french);
    let again = client.put_allocation(shouted).await.expect("replayed");
    assert!(is_replayed(&again));
    assert_eq!(again.into_inner(), put);
    // Decimals are what a price is written with: others are another content.
    let other = client.put_allocation(at("1.5")).await.expect("put");
    assert!(!is_replayed(&other));
    let allocation = other.into_inner().allocation.expect("set");
    assert_eq!(
        (allocation.version, allocation.msrp_price.as_str()),
        (2, "1.5")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_put_replaces_the_whole_record() {
    let fixture = CatalogueFixture::open().await;
    assert_eq!(fixture.put(at("1")).await.version, 1);
    let mut other = putting("1", [("ar", texts("ar"))]);
    other.allocation_image = "https://example.com/other.png".into();
    assert_eq!(fixture.put(other.clone()).await.version, 2);
    let shown = fixture.only("fr").await;
    assert_eq!(shown.display_name, "en display", "French is gone");
    assert_eq!(shown.allocation_image, other.allocation_image);
    assert_eq!(fixture.only("ar").await.display_name, "ar display");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unexpected_version_is_refused() {
    let fixture = CatalogueFixture::open().await;
    let mut client = fixture.client.clone();
    mismatch(client.put_allocation(expecting(1, at("1"))).await, "1", "0");
    let created = client.put_allocation(expecting(0, at("1"))).await;
    assert!(!is_replayed(&created.expect("created")));
    // A repeat of the creation, and of what replaced it, whatever it named.
    let again = client.put_allocation(expecting(0, at("1"))).await;
    assert!(is_replayed(&again.expect("replayed")));
    mismatch(client.put_allocation(expecting(0, at("2"))).await, "0", "1");
    let replaced = client.put_allocation(expecting(1, at("2"))).await;
    assert!(!is_replayed(&replaced.expect("replaced")));
    for version in [1, 2] {
        let again = client.put_allocation(expecting(version, at("2"))).await;
        let again = again.expect("replayed");
        assert!(is_replayed(&again));
        let allocation = again.into_inner().allocation.expect("set");
        assert_eq!(allocation.version, 2);
    }
    // A late repeat of the creation does not undo the change of the price.
    mismatch(client.put_allocation(expecting(0, at("1"))).await, "0", "2");
    mismatch(client.put_allocation(expecting(0, at("2"))).await, "0", "2");
    assert_eq!(fixture.only("").await.msrp_price, "2");

    let stale = DeleteAllocationRequest {
        expected_version: Some(1),
        ..deletion("1")
    };
    mismatch(client.delete_allocation(stale).await, "1", "2");
    let fitting = DeleteAllocationRequest {
        expected_version: Some(2),
        ..deletion("1")
    };
    client.delete_allocation(fitting).await.expect("deleted");
    let got = client.get_allocation(get("1", "")).await;
    refusal(got).expect(Code::NotFound, "NO_RESULTS");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_allocation_is_not_found_and_its_id_is_free() {
    let fixture = CatalogueFixture::open().await;
    let mut client = fixture.client.clone();
    let nothing = client.delete_allocation(deletion("1")).await;
    let refused = nothing.expect_err("refused");
    assert_eq!(
        refused.message(),
        "No results found for specified criteria."
    );
    refusal::<()>(Err(refused)).expect(Code::NotFound, "NO_RESULTS");
    fixture.put(at("1")).await;
    fixture.put(at("2")).await;
    client.delete_allocation(deletion("1")).await.expect("gone");
    let again = client.delete_allocation(deletion("1")).await;
    refusal(again).expect(Code::NotFound, "NO_RESULTS");
    let listed = client.list_available_allocations(listing("")).await;
    refusal(listed).expect(Code::NotFound, "NO_RESULTS");
    assert_eq!(fixture.put(at("2")).await.version, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_never_names_two_contents() {
    let fixture = CatalogueFixture::open().await;
    let mut client = fixture.client.clone();
    fixture.put(at("1")).await;
    fixture.put(at("2")).await;
    let seen = fixture.put(at("3")).await.version;
    client.delete_allocation(deletion("1")).await.expect("gone");
    // Who saw the deleted record cannot change or delete the one that has its id now.
    let created = client.put_allocation(expecting(0, at("4"))).await;
    let created = created.expect("created").into_inner().allocation;
    assert_eq!(created.expect("set").version, 4);
    mismatch(
        client.put_allocation(expecting(seen, at("5"))).await,
        "3",
        "4",
    );
    let stale = DeleteAllocationRequest {
        expected_version: Some(seen),
        ..deletion("1")
    };
    mismatch(client.delete_allocation(stale).await, "3", "4");
    // A repeat of the creation is one, and no other version is what it expected.
    let again = client.put_allocation(expecting(0, at("4"))).await;
    assert!(is_replayed(&again.expect("replayed")));
    mismatch(client.put_allocation(expecting(3, at("4"))).await, "3", "4");
    let again = client.put_allocation(expecting(4, at("4"))).await;
    assert!(is_replayed(&again.expect("replayed")));

    // All ids of a company begin above, and those that exist go on as they were.
    assert_eq!(fixture.put(putting("2", [])).await.version, 4);
    client.delete_allocation(deletion("1")).await.expect("gone");
    client.delete_allocation(deletion("2")).await.expect("gone");
    let judged = PutAllocationRequest {
        validate_only: true,
        ..at("6")
    };
    let judged = client.put_allocation(judged).await.expect("good");
    assert_eq!(judged.into_inner().allocation.expect("set").version, 5);
    assert_eq!(fixture.put(at("6")).await.version, 5);
    let renamed = client.put_company(company("Other", Some(1))).await;
    let renamed = renamed.expect("its version does not count them");
    assert_eq!(renamed.into_inner().company.expect("set").version, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_put_that_changes_nothing_leaves_the_time_of_the_change() {
    let fixture = CatalogueFixture::open().await;
    let mut client = fixture.client.clone();
    fixture.put(at("1")).await;
    let changed = async || {
        let times = "SELECT (extract(epoch FROM a.updated_at) * 1e6)::bigint + (extract(epoch FROM c.updated_at) * 1e6)::bigint
            FROM catalogue_allocation a JOIN catalogue_company c USING (owner_id)";
        fixture.earmark.count(times).await
    };
    let before = changed().await;
    for request in [at("1"), expecting(0, at("1")), expecting(1, at("1"))] {
        assert!(is_replayed(
            &client.put_allocation(request).await.expect("replayed")
        ));
    }
    let again = client.put_company(company("Company", Some(1))).await;
    assert!(is_replayed(&again.expect("replayed")));
    assert_eq!(changed().await, before);
    fixture.put(at("2")).await;
    assert!(changed().await > before);
}

#[tokio::test(flavor = "multi_thread")]
async fn puts_of_companies_follow_the_same_rules() {
    let fixture = CatalogueFixture::open().await;
    let mut client = fixture.client.clone();
    let is = |answer: &Response<PutCompanyResponse>, name: &str, version, replayed| {
        let expected = Company {
            company_id: COMPANY,
            name: name.into(),
            version,
        };
        assert_eq!(answer.get_ref().company.as_ref(), Some(&expected));
        assert_eq!(is_replayed(answer), replayed);
    };
    let again = client.put_company(company("Company", None)).await;
    is(&again.expect("replayed"), "Company", 1, true);
    mismatch(client.put_company(company("חברה", Some(0))).await, "0", "1");
    let renamed = client.put_company(company("חברה", Some(1))).await;
    is(&renamed.expect("renamed"), "חברה", 2, false);
    let again = client.put_company(company("חברה", Some(1))).await;
    is(&again.expect("replayed"), "חברה", 2, true);
    // Renaming a company keeps its allocations.
    fixture.put(at("1")).await;
    let renamed = client.put_company(company("Company", None)).await;
    is(&renamed.expect("renamed"), "Company", 3, false);
    assert_eq!(fixture.only("").await.version, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_allocation_needs_its_company() {
    let fixture = CatalogueFixture::open().await;
    let mut client = fixture.client.clone();
    let mut request = at("1");
    request.company_id = NO_COMPANY;
    for validate_only in [true, false] {
        request.validate_only = validate_only;
        let refused = client.put_allocation(request.clone()).await;
        let refused = refused.expect_err("refused");
        assert_eq!(refused.message(), "Invalid company id.");
        refusal::<()>(Err(refused)).expect(Code::NotFound, "COMPANY_NOT_FOUND");
    }
    let elsewhere = DeleteAllocationRequest {
        company_id: NO_COMPANY,
        ..deletion("1")
    };
    let refused = client.delete_allocation(elsewhere).await;
    refusal(refused).expect(Code::NotFound, "COMPANY_NOT_FOUND");
    assert_eq!(fixture.earmark.count("SELECT count(*) FROM owner").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn validate_only_answers_like_the_real_call_and_writes_nothing() {
    let fixture = CatalogueFixture::open().await;
    let mut client = fixture.client.clone();
    let only = |request: PutAllocationRequest| PutAllocationRequest {
        validate_only: true,
        ..request
    };
    let judged = client.put_allocation(only(at("1"))).await.expect("good");
    let listed = client.list_available_allocations(listing("")).await;
    refusal(listed).expect(Code::NotFound, "NO_RESULTS");
    let put = client.put_allocation(at("1")).await.expect("put");
    assert_eq!(judged.into_inner(), put.into_inner());

    let judged = client.put_allocation(only(at("2"))).await.expect("good");
    assert!(!is_replayed(&judged));
    assert_eq!(judged.into_inner().allocation.expect("set").version, 2);
    let same = client.put_allocation(only(at("1"))).await.expect("good");
    assert!(is_replayed(&same));
    let stale = client.put_allocation(expecting(5, only(at("2")))).await;
    mismatch(stale, "5", "1");
    assert_eq!(fixture.only("").await.msrp_price, "1");

    let delete = DeleteAllocationRequest {
        validate_only: true,
        ..deletion("1")
    };
    client.delete_allocation(delete).await.expect("good");
    assert_eq!(fixture.only("").await.version, 1);
    let rename = PutCompanyRequest {
        validate_only: true,
        ..company("Other", None)
    };
    let judged = client.put_company(rename.clone()).await.expect("good");
    assert_eq!(judged.into_inner().company.expect("set").version, 2);
    let create = PutCompanyRequest {
        company_id: NO_COMPANY,
        ..rename
    };
    let judged = client.put_company(create).await.expect("good");
    assert_eq!(judged.into_inner().company.expect("set").version, 1);
    let stored = "SELECT count(*) FROM catalogue_company";
    assert_eq!(fixture.earmark.count(stored).await, 1);
    assert_eq!(fixture.earmark.count("SELECT count(*) FROM owner").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_company_has_at_most_1000_allocations() {
    let fixture = CatalogueFixture::open().await;
    fixture.stock(999, 1).await;
    let mut puts = tokio::task::JoinSet::new();
    for id in 2_001..2_009 {
        let mut client = fixture.client.clone();
        puts.spawn(async move { client.put_allocation(putting(&id.to_string(), [])).await });
    }
    let mut stored = 0;
    while let Some(put) = puts.join_next().await {
        match put.expect("no panic") {
            Ok(_) => stored += 1,
            refused => {
                let refused = refusal(refused).expect(Code::FailedPrecondition, "LIMIT_REACHED");
                assert_eq!(refused.metadata["limit"], "1000");
            }
        }
    }
    assert_eq!(stored, 1);
    let mut validated = putting("3000", []);
    validated.validate_only = true;
    let refused = fixture.client.clone().put_allocation(validated).await;
    refusal(refused).expect(Code::FailedPrecondition, "LIMIT_REACHED");
    // At the limit existing allocations can be changed, and a deletion makes room.
    assert_eq!(fixture.put(putting("500", [])).await.version, 2);
    let mut client = fixture.client.clone();
    client
        .delete_allocation(deletion("500"))
        .await
        .expect("deleted");
    fixture.put(putting("3000", [])).await;
    let listed = fixture.list(listing("")).await;
    assert_eq!(
        (listed.allocations.len(), listed.next_page_token.as_str()),
        (1_000, "")
    );
}
