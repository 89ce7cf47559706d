//! Language fallback of texts, and labels for quantities.

use earmark::proto::catalogue::v1::{
    GetAllocationRequest, ListSupportedCurrenciesRequest, ListSupportedLanguagesRequest,
    PutCompanyRequest, Translation,
};

use crate::support::catalogue_fixture::{
    COMPANY, CatalogueFixture, NO_COMPANY, get, listing, putting, texts,
};

#[tokio::test(flavor = "multi_thread")]
async fn each_text_falls_back_to_the_next_language_that_has_it() {
    let fixture = CatalogueFixture::open().await;
    let canadian = Translation {
        display_name: "fr-CA display".into(),
        ..Default::default()
    };
    let french = Translation {
        allocation_name: String::new(),
        ..texts("fr")
    };
    fixture
        .put(putting("1", [("FR-ca", canadian), ("fr", french)]))
        .await;
    for (asked, name, display, long) in [
        ("fr-CA", "en", "fr-CA", "fr"),
        ("FR-ca", "en", "fr-CA", "fr"),
        ("fr-CA-u-nu-arab", "en", "fr-CA", "fr"),
        ("fr-BE", "en", "fr", "fr"),
        ("fr", "en", "fr", "fr"),
        ("en-GB", "en", "en", "en"),
        ("de", "en", "en", "en"),
        ("und", "en", "en", "en"),
        ("", "en", "en", "en"),
    ] {
        let shown = fixture.only(asked).await;
        assert_eq!(shown.allocation_name, format!("{name} name"), "{asked}");
        assert_eq!(shown.display_name, format!("{display} display"), "{asked}");
        assert_eq!(shown.allocation_long_description, format!("{long} long"));
        let served = |field: &str| shown.served_languages[field].as_str();
        assert_eq!(served("allocation_name"), name, "{asked}");
        assert_eq!(served("display_name"), display, "{asked}");
        assert_eq!(served("allocation_long_description"), long, "{asked}");
        assert_eq!(shown.served_languages.len(), 6);
        // Texts keep the placeholder; only the label of a get has the quantity filled in.
        assert_eq!(shown.allocation_plural_label, format!("{long} [qty] units"));
        let got = fixture.get("1", asked).await;
        assert_eq!((got.allocation, got.label), (Some(shown), None));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn texts_in_every_script_are_stored_unchanged() {
    let fixture = CatalogueFixture::open().await;
    let strange = Translation {
        allocation_name: "שלום \u{202b}עברית\u{202c} 123".into(),
        display_name: "e\u{301} is not é; \u{200f}\u{2067}عربي\u{2069}".into(),
        allocation_description: "日本語 👩‍👩‍👧‍👦 \u{feff}\"\\/\t\n\u{1f}\u{7f}".into(),
        // As long as a text may be, in characters that take four bytes each.
        allocation_long_description: "𝄞".repeat(10_000),
        allocation_singular_label: "קדם [qty] אחרי".into(),
        allocation_plural_label: "[qty][qty]".into(),
    };
    let request = putting("1", [("he", strange.clone())]);
    let put = fixture.client.clone().put_allocation(request.clone()).await;
    let put = put.expect("put").into_inner();
    assert_eq!(put.translations, request.translations);
    assert_eq!(put.allocation.expect("set").allocation_name, "en name");
    let shown = fixture.only("he").await;
    assert_eq!(shown.allocation_name, strange.allocation_name);
    assert_eq!(shown.display_name, strange.display_name);
    assert_eq!(shown.allocation_description, strange.allocation_description);
    assert_eq!(
        shown.allocation_long_description,
        strange.allocation_long_description
    );
    let asking = GetAllocationRequest {
        quantity: Some(1),
        ..get("1", "he")
    };
    let got = fixture.client.clone().get_allocation(asking).await;
    let label = got.expect("there").into_inner().label;
    assert_eq!(label.as_deref(), Some("קדם 1 אחרי"));
}

#[tokio::test(flavor = "multi_thread")]
async fn quantities_are_formatted_by_the_rules_of_the_language() {
    let fixture = CatalogueFixture::open().await;
    let only_plural = Translation {
        allocation_plural_label: "de [qty] units".into(),
        ..Default::default()
    };
    let languages = [
        ("fr", texts("fr")),
        ("ar", texts("ar")),
        ("de", only_plural),
    ];
    fixture.put(putting("1", languages)).await;
    for (langcode, quantity, label) in [
        ("", 0, "en 0 units"),
        ("en", 1, "en 1 unit"),
        ("en-GB", 1_000_000, "en 1,000,000 units"),
        ("fr", 0, "fr 0 unit"),
        ("fr", 1, "fr 1 unit"),
        ("fr-CH", 2, "fr 2 units"),
        ("fr", 1_234, "fr 1\u{202f}234 units"),
        ("ar", 0, "ar 0 units"),
        ("ar-EG", 1, "ar 1 unit"),
        ("ar", 1_234, "ar 1,234 units"),
        // Each label by the rules of its own language.
        ("de", 1, "en 1 unit"),
        ("de", 1_234, "de 1.234 units"),
        ("ja", u64::MAX, "en 18,446,744,073,709,551,615 units"),
    ] {
        let request = GetAllocationRequest {
            quantity: Some(quantity),
            ..get("1", langcode)
        };
        let got = fixture.client.clone().get_allocation(request).await;
        let got = got.expect("there").into_inner();
        assert_eq!(
            got.label.as_deref(),
            Some(label),
            "{quantity} in {langcode}"
        );
        let allocation = got.allocation.expect("set");
        assert!(allocation.allocation_plural_label.contains("[qty]"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn list_languages_returns_those_of_the_callers_companies_and_english() {
    let fixture = CatalogueFixture::open().await;
    let languages = async |companies: &[i64]| {
        let token = fixture.earmark.company_token("catalogue-read", companies);
        let mut client = fixture.earmark.with_token(token).catalogue;
        let listed = client.list_supported_languages(ListSupportedLanguagesRequest::default());
        listed.await.expect("listed").into_inner().languages
    };
    assert_eq!(languages(&[COMPANY]).await, ["en"]);
    fixture
        .put(putting("1", [("fr-CA", texts("fr")), ("ar", texts("ar"))]))
        .await;
    fixture
        .put(putting(
            "2",
            [("ar", texts("ar")), ("zh-hant", texts("zh"))],
        ))
        .await;
    let other = PutCompanyRequest {
        company_id: NO_COMPANY,
        name: "Other".into(),
        ..Default::default()
    };
    let mut client = fixture.client.clone();
    client.put_company(other).await.expect("created");
    let mut of_other = putting("1", [("sw", texts("sw"))]);
    of_other.company_id = NO_COMPANY;
    fixture.put(of_other).await;

    assert_eq!(
        languages(&[COMPANY]).await,
        ["ar", "en", "fr-CA", "zh-Hant"]
    );
    assert_eq!(languages(&[NO_COMPANY]).await, ["en", "sw"]);
    let all = ["ar", "en", "fr-CA", "sw", "zh-Hant"];
    assert_eq!(languages(&[COMPANY, NO_COMPANY, 9]).await, all);
    assert_eq!(languages(&[9]).await, ["en"]);
    // Replaced texts are no longer served.
    fixture.put(putting("2", [])).await;
    assert_eq!(languages(&[COMPANY]).await, ["ar", "en", "fr-CA"]);
    assert_eq!(fixture.list(listing("zh-Hant")).await.allocations.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn list_currencies_returns_those_that_a_price_may_have() {
    let fixture = CatalogueFixture::open().await;
    // The answer is the same for every caller.
    let token = fixture.earmark.token("catalogue-read", &[]);
    let mut client = fixture.earmark.with_token(token).catalogue;
    let listed = client.list_supported_currencies(ListSupportedCurrenciesRequest {});
    let currencies = listed.await.expect("listed").into_inner().currencies;
    assert!(currencies.is_sorted() && currencies.len() > 150);
    for code in ["AED", "EUR", "JPY", "USD", "ZMW"] {
        assert!(currencies.iter().any(|one| one == code), "{code}");
    }
    for code in ["BTC", "DEM", "HRK"] {
        assert!(!currencies.iter().any(|one| one == code), "{code}");
    }
    let mut client = fixture.client.clone();
    for code in currencies {
        let mut request = putting("1", []);
        request.msrp_currency = code.clone();
        request.validate_only = true;
        client.put_allocation(request).await.expect(&code);
    }
}
