//! The document's example, put through the API and read back; and the demo data, which contains it.

use earmark::app::{App, AppSettings};
use earmark::db::connect::Connector;
use earmark::demo;
use earmark::proto::catalogue::v1::{ListAvailableAllocationsRequest, PutAllocationRequest};
use serde_json::{Value, json};

use crate::support::catalogue_fixture::{COMPANY, CatalogueFixture};
use crate::support::cluster::database;
use crate::support::earmark::{Earmark, Setup};
use crate::support::json::{from_json, to_json};

/// The answer of the source's example request, to the letter.
const SOURCE: &str = include_str!("source_example.json");
const ALLOCATION: &str = "earmark.catalogue.v1.Allocation";

/// The source's only allocation.
fn source() -> Value {
    let answer: Value = serde_json::from_str(SOURCE).expect("JSON");
    answer["2"].clone()
}

/// What a listed allocation must be: the source's, and the members that it does not have.
fn assert_is_the_sources(mut shown: Value) {
    let mut expected = source();
    // Under proto JSON's own rules a decimal is a string; every other member is the source's as it stands.
    assert_eq!(expected["msrp_price"], json!(0.5));
    expected["msrp_price"] = json!("0.5");
    let members = shown.as_object_mut().expect("an object");
    assert_eq!(members.remove("version"), Some(json!("1")));
    let languages = members.remove("served_languages").expect("set");
    let languages = languages.as_object().expect("an object");
    assert_eq!(languages.len(), 6);
    assert!(languages.values().all(|tag| tag == "en"), "{languages:?}");
    assert_eq!(shown, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_documents_example_round_trips_under_its_own_member_names() {
    let fixture = CatalogueFixture::open().await;
    let mut texts = source();
    let mut request = json!({"company_id": COMPANY.to_string(), "msrp_price": "0.5"});
    let given = texts.as_object_mut().expect("an object");
    for member in [
        "allocation_id",
        "msrp_currency",
        "price_per_unit",
        "allocation_image",
    ] {
        request[member] = given.remove(member).expect("set");
    }
    given.remove("msrp_price");
    request["translations"] = json!({ "en": texts });
    let request: PutAllocationRequest =
        from_json("earmark.catalogue.v1.PutAllocationRequest", request);
    let put = fixture.put(request).await;
    assert_is_the_sources(to_json(ALLOCATION, &put));
    assert_is_the_sources(to_json(ALLOCATION, &fixture.only("").await));
    let got = fixture.get("2", "en").await.allocation.expect("set");
    assert_is_the_sources(to_json(ALLOCATION, &got));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_demo_data_has_left_to_right_and_right_to_left_languages() {
    let db = database().await;
    let connector = Connector::new(&db.url).expect("a URL");
    let app = App::start(connector, &AppSettings::default()).expect("started");
    let loaded = demo::load(app.routes()).await.expect("loaded");
    assert_eq!(demo::load(app.routes()).await.expect("found"), loaded);

    let earmark = Earmark::start_on(&db.url, Setup::default()).await;
    let company_id = loaded.company.0;
    let token = earmark.company_token("catalogue-read", &[company_id]);
    let mut client = earmark.with_token(token).catalogue;
    let mut list = async |langcode: &str| {
        let request = ListAvailableAllocationsRequest {
            company_id,
            langcode: langcode.into(),
            ..Default::default()
        };
        let listed = client.list_available_allocations(request).await;
        listed.expect("listed").into_inner().allocations
    };
    let english = list("").await;
    let ids: Vec<_> = english
        .iter()
        .map(|one| one.allocation_id.as_str())
        .collect();
    assert_eq!(ids, ["2", "10"], "in the order of numbers");
    assert_is_the_sources(to_json(ALLOCATION, &english[0]));
    let arabic = &list("ar-EG").await[0];
    assert_eq!(arabic.display_name, "أرض محمية");
    assert!(arabic.served_languages.values().all(|tag| tag == "ar"));
}
