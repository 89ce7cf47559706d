//! Language fallback of texts, and labels for quantities.

use earmark::proto::catalogue::v1::{
    GetAllocationRequest, ListSupportedCurrenciesRequest, ListSupportedLanguagesRequest,
    PutCompanyRequest, Translation,
};

use crate::support::catalogue_fixture::{
    COMPANY, CatalogueFixture, NO_COMPANY, get, listing, putting, texts,
};
use crate::support::earmark::refusal;

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

/// Each language that is stored, and readers of others who are served it.
const NEAREST: &[(&str, &str)] = &[
    ("zh-Hant", "zh-Hant-TW zh-TW zh-HK zh-Hant"),
    ("zh", "zh-CN zh-Hans-SG zh"),
    ("sr-Latn", "sr-Latn-RS sr-ME sr-Latn"),
    ("sr", "sr-RS sr-Cyrl-ME sr"),
    ("nb", "no no-NO nn nn-NO nb"),
    ("he", "iw iw-IL he"),
    ("id", "in in-ID id"),
    ("fil", "tl fil-PH fil"),
    ("es-419", "es-MX es-AR es-419"),
    ("es", "es-ES es"),
    ("pt-PT", "pt-AO pt-MZ pt-PT"),
    ("pt", "pt-BR pt"),
    // Another script is not served before English.
    ("en", "zh-Latn az-Arab de en-AU"),
];

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_is_served_the_nearest_language() {
    let fixture = CatalogueFixture::open().await;
    let mut request = putting("1", []);
    for (language, _) in NEAREST {
        request
            .translations
            .insert((*language).into(), texts(language));
    }
    fixture.put(request).await;
    for (served, readers) in NEAREST {
        for asked in readers.split(' ') {
            let shown = fixture.only(asked).await;
            assert_eq!(shown.display_name, format!("{served} display"), "{asked}");
            assert_eq!(shown.served_languages["display_name"], *served, "{asked}");
            let got = fixture.get("1", asked).await;
            assert_eq!(got.allocation, Some(shown), "{asked}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn stored_tags_take_their_canonical_form() {
    let fixture = CatalogueFixture::open().await;
    let given = ["IW", "no-NO", "tl", "in", "sh", "zh-cmn-hant"];
    let mut request = putting("1", []);
    for language in given {
        request
            .translations
            .insert(language.into(), texts(language));
    }
    let put = fixture.client.clone().put_allocation(request.clone()).await;
    let put = put.expect("put").into_inner();
    let stored: Vec<&str> = put.translations.keys().map(String::as_str).collect();
    let canonical = ["en", "fil", "he", "id", "nb-NO", "sr-Latn", "zh-Hant"];
    assert_eq!(stored, canonical);
    let mut client = fixture.client.clone();
    let listed = client.list_supported_languages(ListSupportedLanguagesRequest::default());
    assert_eq!(
        listed.await.expect("listed").into_inner().languages,
        canonical
    );
    for (asked, name) in [
        ("he", "IW name"),
        ("nb-NO", "no-NO name"),
        ("sr-ME", "sh name"),
    ] {
        assert_eq!(fixture.only(asked).await.allocation_name, name, "{asked}");
    }

    for (given, canonical) in [
        (["he", "iw"], "he"),
        (["nb", "no"], "nb"),
        (["FR", "fr"], "fr"),
    ] {
        let mut twice = putting("1", []);
        for language in given {
            twice.translations.insert(language.into(), texts("x"));
        }
        let refused = client.put_allocation(twice).await.expect_err("refused");
        let [first, second] = given;
        let text = format!(
            "`translations`: must not have a language twice: the keys {first:?} and {second:?} both mean {canonical}"
        );
        assert_eq!(refused.message(), text);
        refusal::<()>(Err(refused)).expect_invalid(&["translations"]);
    }
    assert_eq!(fixture.only("").await.version, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_may_ask_for_a_list_of_languages() {
    let fixture = CatalogueFixture::open().await;
    let german = Translation {
        display_name: "de display".into(),
        ..Default::default()
    };
    fixture
        .put(putting("1", [("fr", texts("fr")), ("de", german)]))
        .await;
    for (asked, display, name) in [
        ("de-AT, fr;q=0.9", "de", "fr"),
        ("fr;q=0.5,de", "de", "fr"),
        ("ja, de;q=0.1, fr;q=0.2", "fr", "fr"),
        ("de-CH,de;q=0.9,en;q=0.8,fr;q=0.7", "de", "en"),
        ("ja, *;q=0.5", "en", "en"),
        ("fr-CA, fr;q=0", "en", "en"),
        ("en-GB, fr", "en", "en"),
    ] {
        let shown = fixture.only(asked).await;
        assert_eq!(shown.display_name, format!("{display} display"), "{asked}");
        assert_eq!(shown.allocation_name, format!("{name} name"), "{asked}");
        let got = fixture.get("1", asked).await;
        assert_eq!(got.allocation, Some(shown), "{asked}");
    }
    let rule = "`langcode`: must be BCP 47 language tags as in Accept-Language, such as `fr-CA` or `fr-CA, fr;q=0.9`, got";
    for (asked, text) in [
        ("fr, ?;q=1", format!("{rule} \"?;q=1\"")),
        ("en_US", format!("{rule} \"en_US\": did you mean `en-US`?")),
        (
            vec!["fr"; 21].join(",").as_str(),
            "`langcode`: must name at most 20 languages, got 21".into(),
        ),
        (
            " ".repeat(1_001).as_str(),
            "`langcode`: must have at most 1000 characters, without NUL".into(),
        ),
    ] {
        let mut client = fixture.client.clone();
        let refused = client.list_available_allocations(listing(asked)).await;
        let refused = refused.expect_err("refused");
        assert_eq!(refused.message(), text);
        refusal::<()>(Err(refused)).expect_invalid(&["langcode"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn labels_are_right_in_languages_with_a_script_and_in_rare_ones() {
    let fixture = CatalogueFixture::open().await;
    let languages = ["sr-Latn", "yi", "gsw", "ln", "mg", "se"];
    let mut request = putting("1", []);
    for language in languages {
        request
            .translations
            .insert(language.into(), texts(language));
    }
    fixture.put(request).await;
    for (language, quantity, label) in [
        ("sr-Latn", 1, "1 unit"),
        ("sr-Latn-RS", 21, "21 unit"),
        ("sr-ME", 11, "11 units"),
        ("sr-Latn", 1_234, "1.234 units"),
        ("yi", 1, "1 unit"),
        ("yi", 0, "0 units"),
        ("gsw", 1, "1 unit"),
        ("gsw-CH", 1_234, "1'234 units"),
        ("ln", 0, "0 unit"),
        ("ln", 1_234, "1.234 units"),
        ("mg", 0, "0 unit"),
        ("mg", 2, "2 units"),
        ("se", 1, "1 unit"),
        ("se-FI", 1_234, "1\u{a0}234 units"),
    ] {
        let request = GetAllocationRequest {
            quantity: Some(quantity),
            ..get("1", language)
        };
        let got = fixture.client.clone().get_allocation(request).await;
        let got = got.expect("there").into_inner().label.expect("set");
        let (_, got) = got.split_once(' ').expect("the language first");
        assert_eq!(got, label, "{quantity} in {language}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn texts_that_show_nothing_do_not_exist() {
    let fixture = CatalogueFixture::open().await;
    let invisible = Translation {
        allocation_name: " \t\u{a0}".into(),
        display_name: "\u{200b}\u{feff}\u{2060}".into(),
        allocation_description: "\u{3164}\u{202e}".into(),
        ..texts("fr")
    };
    let put = putting("1", [("fr", invisible.clone())]);
    let put = fixture.client.clone().put_allocation(put).await;
    let put = put.expect("put").into_inner();
    assert_eq!(put.translations["fr"].display_name, "");
    let shown = fixture.only("fr").await;
    assert_eq!(shown.display_name, "en display");
    assert_eq!(shown.served_languages["allocation_name"], "en");
    assert_eq!(shown.allocation_long_description, "fr long");

    let mut english = putting("1", []);
    english.translations.insert("en".into(), invisible);
    let refused = fixture.client.clone().put_allocation(english).await;
    refusal(refused).expect_invalid(&[
        "translations[\"en\"].allocation_name",
        "translations[\"en\"].display_name",
        "translations[\"en\"].allocation_description",
    ]);
    let company = PutCompanyRequest {
        company_id: COMPANY,
        name: "\u{200b} ".into(),
        ..Default::default()
    };
    let refused = fixture.client.clone().put_company(company).await;
    refusal(refused).expect_invalid(&["name"]);
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

#[tokio::test(flavor = "multi_thread")]
async fn a_language_without_any_text_does_not_exist() {
    let fixture = CatalogueFixture::open().await;
    let invisible = Translation {
        display_name: "\u{200b} ".into(),
        ..Default::default()
    };
    let request = putting(
        "1",
        [
            ("tr", Translation::default()),
            ("it", invisible),
            ("fr", texts("fr")),
        ],
    );
    let mut client = fixture.client.clone();
    let put = client.put_allocation(request.clone()).await.expect("put");
    let put = put.into_inner();
    assert_eq!(put.translations.keys().collect::<Vec<_>>(), ["en", "fr"]);
    assert_eq!(supported(&fixture).await, ["en", "fr"]);
    // Without them the content is the same.
    let again = fixture.put(putting("1", [("fr", texts("fr"))])).await;
    assert_eq!(again.version, 1);
    let twice = putting("1", [("nb", texts("x")), ("no", Translation::default())]);
    let refused = refusal(client.put_allocation(twice).await);
    refused.expect_invalid(&["translations"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn languages_without_any_text_that_are_stored_are_removed_by_the_migration() {
    let fixture = CatalogueFixture::open().await;
    fixture.put(putting("1", [("fr", texts("fr"))])).await;
    fixture.put(putting("2", [])).await;
    let sql = fixture.earmark.sql().await;
    let earlier = "UPDATE catalogue_allocation
        SET translations = translations || '{\"tr\": {}, \"it\": {}}', languages = '{en,fr,it,tr}' WHERE allocation_id = 1";
    sql.batch_execute(earlier).await.expect("stored");
    let up = include_str!("../../../migrations/2026-11-30-000014_catalogue_languages/up.sql");
    for _ in 0..2 {
        sql.batch_execute(up).await.expect("migrated");
        assert_eq!(supported(&fixture).await, ["en", "fr"]);
        let same = fixture.put(putting("1", [("fr", texts("fr"))])).await;
        assert_eq!(same.version, 1);
    }
    assert_eq!(
        fixture.get("2", "").await.allocation.expect("set").version,
        1
    );
}

async fn supported(fixture: &CatalogueFixture) -> Vec<String> {
    let mut client = fixture.client.clone();
    let listed = client.list_supported_languages(ListSupportedLanguagesRequest::default());
    listed.await.expect("listed").into_inner().languages
}
