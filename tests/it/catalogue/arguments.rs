//! Invalid arguments: every field is reported, and nothing is written.

use earmark::proto::catalogue::v1::{
    DeleteAllocationRequest, GetAllocationRequest, PricePerUnit, PutAllocationRequest,
    PutCompanyRequest, Translation,
};
use tonic::Code;

use crate::support::catalogue_fixture::{COMPANY, CatalogueFixture, get, listing, putting, texts};
use crate::support::earmark::refusal;

fn changed(change: impl FnOnce(&mut PutAllocationRequest)) -> PutAllocationRequest {
    let mut request = putting("1", [("fr", texts("fr"))]);
    change(&mut request);
    request
}

fn unit(number: &str, currency_code: &str) -> Option<PricePerUnit> {
    Some(PricePerUnit {
        number: number.into(),
        currency_code: currency_code.into(),
    })
}

/// A put with changed texts in one language.
fn in_language(language: &str, change: impl FnOnce(&mut Translation)) -> PutAllocationRequest {
    changed(|request| change(request.translations.entry(language.into()).or_default()))
}

/// A put, and the arguments that are wrong in it.
type Case = (PutAllocationRequest, &'static [&'static str]);

fn wrong_values() -> Vec<Case> {
    let mut cases: Vec<Case> = vec![
        (
            PutAllocationRequest::default(),
            &[
                "company_id",
                "allocation_id",
                "msrp_price",
                "msrp_currency",
                "price_per_unit.number",
                "price_per_unit.currency_code",
                "allocation_image",
                "translations[\"en\"]",
            ],
        ),
        (changed(|request| request.company_id = -1), &["company_id"]),
        (
            changed(|request| request.price_per_unit = unit("-0.1", "XYZ")),
            &["price_per_unit.number", "price_per_unit.currency_code"],
        ),
        (
            changed(|request| request.price_per_unit = unit("1e3", "USD")),
            &["price_per_unit.number"],
        ),
    ];
    for id in ["0", "01", "-1", "1.5", "x", "1000000000000000000", "١"] {
        cases.push((
            changed(|request| request.allocation_id = id.into()),
            &["allocation_id"],
        ));
    }
    for price in [
        "-1",
        "-0",
        "1,5",
        "NaN",
        "0.0000000000001",
        "12345678901234567",
    ] {
        cases.push((
            changed(|request| request.msrp_price = price.into()),
            &["msrp_price"],
        ));
    }
    for code in ["usd", "US", "DEM", "XBT", "$"] {
        cases.push((
            changed(|request| request.msrp_currency = code.into()),
            &["msrp_currency"],
        ));
    }
    cases
}

async fn wrong_images_are_named(fixture: &CatalogueFixture) {
    let overlong = format!("https://example.com/{}", "é".repeat(1_000));
    for url in [
        "http://example.com/x.png",
        "javascript:alert(1)",
        "data:text/html,x",
        "https://",
        "https://user:pass@example.com/",
        " https://example.com/",
        "https://example.com/\0",
        &overlong,
    ] {
        let case = changed(|request| request.allocation_image = url.into());
        let refused = fixture.client.clone().put_allocation(case).await;
        let fields = refusal(refused).expect(Code::InvalidArgument, "INVALID_REQUEST");
        assert!(
            fields
                .fields()
                .iter()
                .all(|field| *field == "allocation_image"),
            "{url}"
        );
    }
}

async fn wrong_languages_are_named(fixture: &CatalogueFixture) {
    for language in [
        "",
        "e",
        "en_US",
        "fr CA",
        "und",
        "en-u-nu-arab",
        "x-own",
        "fr\0",
    ] {
        let request = in_language(language, |given| *given = texts("x"));
        let refused = fixture.client.clone().put_allocation(request).await;
        refusal(refused).expect_invalid(&[format!("translations[\"{language}\"]").as_str()]);
    }
}

fn wrong_translations() -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    let twice = in_language("FR", |given| *given = texts("x"));
    cases.push((twice, &["translations"]));
    let without_english = changed(|request| {
        request.translations.remove("en");
    });
    cases.push((without_english, &["translations[\"en\"]"]));
    let only_british = changed(|request| {
        let english = request.translations.remove("en").expect("set");
        request.translations.insert("en-GB".into(), english);
    });
    cases.push((only_british, &["translations[\"en\"]"]));
    cases.push((
        in_language("en", |english| {
            english.display_name.clear();
            english.allocation_long_description.clear();
        }),
        &[
            "translations[\"en\"].display_name",
            "translations[\"en\"].allocation_long_description",
        ],
    ));
    cases.push((
        in_language("fr", |french| {
            french.allocation_name = "é".repeat(10_001);
            french.display_name = "a\0b".into();
        }),
        &[
            "translations[\"fr\"].allocation_name",
            "translations[\"fr\"].display_name",
        ],
    ));
    cases.push((
        in_language("fr", |french| {
            french.allocation_singular_label = "unité".into()
        }),
        &["translations[\"fr\"].allocation_singular_label"],
    ));
    cases.push((
        in_language("en", |english| {
            english.allocation_plural_label = "units".into()
        }),
        &["translations[\"en\"].allocation_plural_label"],
    ));
    // The singular label falls back to the English one, which has a quantity, so the plural label needs one too.
    cases.push((
        in_language("de", |german| {
            german.allocation_plural_label = "Einheiten".into()
        }),
        &["translations[\"de\"].allocation_plural_label"],
    ));
    cases
}

/// More languages than an allocation may have, and texts that are too large together.
fn too_many_texts() -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    let languages = ["aa", "ab", "af", "ak", "am"].map(String::from).into_iter();
    let many = languages.chain((0..98).map(|index| {
        format!(
            "q{}{}",
            char::from(b'a' + index / 26),
            char::from(b'a' + index % 26)
        )
    }));
    let many = changed(|request| {
        request
            .translations
            .extend(many.map(|language| (language, texts("x"))))
    });
    cases.push((many, &["translations"]));
    let heavy = changed(|request| {
        for language in ["aa", "ab", "af", "ak", "am", "an", "ar"] {
            let texts = Translation {
                allocation_name: "𝄞".repeat(10_000),
                display_name: "𝄞".repeat(10_000),
                allocation_description: "𝄞".repeat(10_000),
                allocation_long_description: "𝄞".repeat(10_000),
                ..Default::default()
            };
            request.translations.insert(language.into(), texts);
        }
    });
    cases.push((heavy, &["translations"]));
    cases
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invalid_put_reports_every_field_and_writes_nothing() {
    let fixture = CatalogueFixture::open().await;
    wrong_images_are_named(&fixture).await;
    wrong_languages_are_named(&fixture).await;
    let mut cases = wrong_values();
    cases.extend(wrong_translations());
    cases.extend(too_many_texts());
    for (request, fields) in cases {
        let refused = fixture.client.clone().put_allocation(request).await;
        let refused = refusal(refused).expect_invalid(fields);
        assert_eq!(refused.metadata["outcome"], "not_applied");
    }
    let stored = "SELECT count(*) FROM catalogue_allocation";
    assert_eq!(fixture.earmark.count(stored).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_text_of_a_refused_value_names_its_rule() {
    let fixture = CatalogueFixture::open().await;
    let text_of = async |request| {
        let refused = fixture.client.clone().put_allocation(request).await;
        refused.expect_err("refused").message().to_owned()
    };
    for (url, rule) in [
        ("http://example.com/", "must be a URL of the scheme https"),
        (
            "https://u:p@example.com/",
            "must not contain a user or a password",
        ),
        ("https://example.com:0/", "must not have the port 0"),
        (
            "https://10.1.2.3/",
            "must not lead to an address of a private network",
        ),
        (
            "https://0x7f.1/",
            "must not lead to an address of a private network",
        ),
        (
            "https://[::ffff:127.0.0.1]/",
            "must not lead to an address of a private network",
        ),
        (
            "https://example.com/\u{202e}x",
            "must not contain control characters or marks of the direction of text",
        ),
        (
            "https://example.com/\u{1b}",
            "must not contain control characters or marks of the direction of text",
        ),
        (
            "https://example.com/a b",
            "must be a valid URL: non-URL code point",
        ),
    ] {
        let case = changed(|request| request.allocation_image = url.into());
        let text = format!("`allocation_image`: {rule}");
        assert_eq!(text_of(case).await, text, "{url}");
    }
    let lower = changed(|request| request.msrp_currency = "usd".into());
    let text = "`msrp_currency`: must be an active currency code of ISO 4217, such as USD, got \"usd\": did you mean `USD`?";
    assert_eq!(text_of(lower).await, text);
    let posix = in_language("pt_BR", |given| *given = texts("x"));
    let text = "`translations[\"pt_BR\"]`: must have as key a BCP 47 language tag without extensions, such as fr-CA, got \"pt_BR\": did you mean `pt-BR`?";
    assert_eq!(text_of(posix).await, text);
    let missing = PutAllocationRequest {
        expected_version: Some(3),
        ..putting("9", [])
    };
    let text = "There is no record \"9\", so that it cannot be at the expected version 3: expect 0 to create it.";
    assert_eq!(text_of(missing).await, text);
    let mixed = changed(|request| request.allocation_image = "HttpS://Example.com/X".into());
    assert_eq!(
        fixture.put(mixed).await.allocation_image,
        "https://Example.com/X"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn values_at_their_limits_are_accepted() {
    let fixture = CatalogueFixture::open().await;
    let mut request = putting("999999999999999999", []);
    request.msrp_price = "9999999999999999.999999999999".into();
    request.price_per_unit = unit("0", "JPY");
    let path = "ü".repeat(1_000 - "https://example.com/".len());
    request.allocation_image = format!("https://example.com/{path}");
    for language in ["aa", "ab", "af", "ak"] {
        let texts = Translation {
            allocation_name: "𝄞".repeat(10_000),
            display_name: "𝄞".repeat(10_000),
            allocation_description: "𝄞".repeat(10_000),
            allocation_long_description: "𝄞".repeat(10_000),
            allocation_singular_label: "𝄞".repeat(10_000),
            allocation_plural_label: "𝄞".repeat(10_000),
        };
        request.translations.insert(language.into(), texts);
    }
    let put = fixture.client.clone().put_allocation(request.clone()).await;
    let put = put.expect("put").into_inner();
    assert_eq!(put.translations, request.translations);
    let shown = fixture.only("ak").await;
    assert_eq!(shown.msrp_price, request.msrp_price);
    assert_eq!(shown.price_per_unit, request.price_per_unit);
    assert_eq!(shown.allocation_image, request.allocation_image);
    assert_eq!(shown.display_name.chars().count(), 10_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_other_calls_report_every_invalid_field_too() {
    let fixture = CatalogueFixture::open().await;
    let client = &fixture.client;
    for langcode in ["e", "en_US", "fr CA", "en-u", "x".repeat(200).as_str()] {
        let refused = client
            .clone()
            .list_available_allocations(listing(langcode))
            .await;
        refusal(refused).expect_invalid(&["langcode"]);
    }
    let request = GetAllocationRequest {
        company_id: 0,
        quantity: Some(1),
        ..get("0", "??")
    };
    let refused = client.clone().get_allocation(request).await;
    let refused = refused.expect_err("refused");
    assert_eq!(refused.message(), "Invalid company id.");
    let fields = ["company_id", "allocation_id", "langcode"];
    refusal::<()>(Err(refused)).expect_invalid(&fields);

    for (name, fields) in [
        (String::new(), &["name"]),
        ("n".repeat(201), &["name"]),
        ("n\0".into(), &["name"]),
    ] {
        let request = PutCompanyRequest {
            company_id: COMPANY,
            name,
            ..Default::default()
        };
        refusal(client.clone().put_company(request).await).expect_invalid(fields);
    }
    let refused = client
        .clone()
        .put_company(PutCompanyRequest::default())
        .await;
    refusal(refused).expect_invalid(&["company_id", "name"]);
    let refused = client
        .clone()
        .delete_allocation(DeleteAllocationRequest::default())
        .await;
    refusal(refused).expect_invalid(&["company_id", "allocation_id"]);
    let named = "SELECT count(*) FROM catalogue_company WHERE name <> 'Company'";
    assert_eq!(fixture.earmark.count(named).await, 0);
}
