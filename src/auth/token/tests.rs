use serde_json::Value;
use serde_json::json;
use uuid::Uuid;

use super::*;
use crate::auth::dev_key::DevKey;
use crate::auth::jwks::JwksSource;
use crate::auth::scope::Scope;
use crate::types::ids::{CompanyId, EnterpriseId, FirmId, TenantId};

mod rotation;

const ISSUER: &str = "https://issuer.example";
const AUDIENCE: &str = "earmark";

struct Issuer {
    key: DevKey,
    verifier: TokenVerifier,
    _file: tempfile::NamedTempFile,
}

async fn issuer() -> Issuer {
    issuer_with(TokenRules::new(ISSUER, AUDIENCE)).await
}

/// Rules for tokens that last for ever.
fn everlasting() -> TokenRules {
    TokenRules {
        lifetime_max: Duration::MAX,
        ..TokenRules::new(ISSUER, AUDIENCE)
    }
}

async fn issuer_with(rules: TokenRules) -> Issuer {
    let key = DevKey::generate().expect("a key");
    let file = jwks_file(&key.jwks());
    let keys = Jwks::open(JwksSource::File(file.path().into()))
        .await
        .expect("readable");
    Issuer {
        key,
        verifier: TokenVerifier::new(rules, keys),
        _file: file,
    }
}

fn jwks_file(jwks: &Value) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), jwks.to_string()).expect("written");
    file
}

impl Issuer {
    async fn verify(&self, claims: &Value) -> Result<Arc<Caller>> {
        let token = self.key.sign(claims).expect("signed");
        self.verifier.verify(&token).await
    }
}

fn claims() -> Value {
    json!({
        "iss": ISSUER, "aud": AUDIENCE, "sub": "somebody", "exp": ClockReading::read().unix + 600.0,
        "scope": "settlement_network_read unheard-of",
    })
}

fn with(name: &str, value: Value) -> Value {
    let mut claims = claims();
    claims[name] = value;
    claims
}

fn without(name: &str) -> Value {
    let mut claims = claims();
    claims.as_object_mut().expect("an object").remove(name);
    claims
}

fn base64(value: &Value) -> String {
    base64_bytes(value.to_string().as_bytes())
}

fn base64_bytes(bytes: &[u8]) -> String {
    use ::base64::Engine;
    ::base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes)
}

fn uuid(number: u128) -> Value {
    json!(Uuid::from_u128(number).to_string())
}

#[tokio::test]
async fn a_good_token_says_who_calls() {
    let issuer = issuer().await;
    let caller = issuer.verify(&claims()).await.expect("good");
    let expected = Caller {
        issuer: ISSUER.into(),
        ..Caller::with_scopes("somebody", &[Scope::NetworkRead])
    };
    assert_eq!(*caller, expected);
}

#[tokio::test]
async fn claims_come_in_every_form_that_issuers_use() {
    let issuer = issuer().await;
    let audiences = with("aud", json!(["other", AUDIENCE]));
    issuer.verify(&audiences).await.expect("one of several");

    let scopes = with("scope", json!(["network-admin", "settlement_network_read"]));
    let caller = issuer.verify(&scopes).await.expect("an array");
    assert_eq!(caller.scopes, [Scope::NetworkAdmin, Scope::NetworkRead]);
    let caller = issuer.verify(&without("scope")).await.expect("none");
    assert_eq!(caller.scopes, []);
    for scp in [json!("network-admin x"), json!(["network-admin", "x"])] {
        let mut claims = without("scope");
        claims["scp"] = scp;
        let caller = issuer.verify(&claims).await.expect("as others name it");
        assert_eq!(caller.scopes, [Scope::NetworkAdmin]);
    }

    let mut client = without("sub");
    client["client_id"] = json!("a-client");
    let caller = issuer.verify(&client).await.expect("no sub");
    assert_eq!(caller.subject, "a-client");

    let hundred: Vec<Value> = (0..100).map(uuid).collect();
    let caller = issuer
        .verify(&with("enterprises", json!(hundred)))
        .await
        .expect("100 are allowed");
    assert_eq!(caller.enterprises.as_ref().map(Vec::len), Ok(100));
    for firm in [json!("42"), json!(42)] {
        let caller = issuer.verify(&with("firm_id", firm)).await;
        assert_eq!(caller.expect("a firm").firm, Ok(FirmId("42".into())));
    }
    let caller = issuer.verify(&with("tenant", uuid(7))).await;
    let tenant = caller.expect("a UUID").require_tenant();
    assert_eq!(tenant, Ok(TenantId(Uuid::from_u128(7))));
    let companies: Vec<i64> = (0..100).collect();
    let caller = issuer.verify(&with("companies", json!(companies))).await;
    let expected = companies.into_iter().map(CompanyId).collect();
    assert_eq!(caller.expect("100 are allowed").companies, Ok(expected));
}

#[tokio::test]
async fn bad_claims_are_refused_and_not_repeated() {
    let issuer = issuer().await;
    let now = ClockReading::read().unix;
    let table = [
        ("no iss", without("iss")),
        ("other iss", with("iss", json!("https://secret.example"))),
        ("iss in a list", with("iss", json!([ISSUER]))),
        ("no aud", without("aud")),
        ("other aud", with("aud", json!("secret"))),
        ("longer aud", with("aud", json!("earmark-secret"))),
        ("other auds", with("aud", json!(["secret", "earmarks"]))),
        ("no auds", with("aud", json!([]))),
        ("aud no text", with("aud", json!([AUDIENCE, 1]))),
        ("no exp", without("exp")),
        ("null exp", with("exp", Value::Null)),
        ("exp no number", with("exp", json!("2999-01-01"))),
        ("nbf to come", with("nbf", json!(now + 60.0))),
        ("nbf no number", with("nbf", json!("secret"))),
        ("no sub", without("sub")),
        ("empty sub", with("sub", json!(""))),
        ("sub no text", with("sub", json!(7))),
        ("long sub", with("sub", json!("secret".repeat(50)))),
        ("sub with NUL", with("sub", json!("secret\0"))),
        ("scope no text", with("scope", json!(7))),
        ("scopes no text", with("scope", json!([["secret"]]))),
    ];
    for (case, claims) in table {
        match issuer.verify(&claims).await {
            Err(Error::ClaimInvalid { claim, why }) => {
                assert!(case.contains(&claim), "{case}: {claim}");
                assert!(!why.contains("secret"), "{case}: {why}");
            }
            other => panic!("{case}: {other:?}"),
        }
    }
}

/// The claim's name, and what a call that needs it is answered.
fn owner_claims(caller: &Caller) -> [(&'static str, Result<()>); 4] {
    [
        ("enterprises", caller.require_enterprises().map(|_| ())),
        ("companies", caller.require_companies().map(|_| ())),
        ("firm_id", caller.require_firm().map(|_| ())),
        ("tenant", caller.require_tenant().map(|_| ())),
    ]
}

#[tokio::test]
async fn a_malformed_claim_harms_only_calls_that_need_it() {
    let issuer = issuer().await;
    let many: Vec<Value> = (0..101).map(uuid).collect();
    let mut good = claims();
    good["enterprises"] = json!([uuid(1)]);
    good["companies"] = json!([1]);
    good["firm_id"] = json!("1");
    good["tenant"] = uuid(1);
    let table = [
        ("enterprises", json!(many)),
        ("enterprises", uuid(1)),
        ("enterprises", json!(["secret"])),
        ("enterprises", json!(["00000000000000000000000000000001"])),
        ("enterprises", json!([1])),
        ("companies", json!(vec![1; 101])),
        ("companies", json!([1.5])),
        ("companies", json!(["secret"])),
        ("firm_id", json!(4.2)),
        ("firm_id", json!("")),
        ("firm_id", json!("x".repeat(129))),
        ("firm_id", json!(["secret"])),
        ("tenant", json!([uuid(1)])),
        ("tenant", json!("secret")),
        ("tenant", json!("00000000000000000000000000000001")),
    ];
    for (malformed, value) in table {
        let mut claims = good.clone();
        claims[malformed] = value.clone();
        let caller = issuer.verify(&claims).await.expect("verified");
        for (name, required) in owner_claims(&caller) {
            match required {
                Ok(()) => assert_ne!(name, malformed, "{value}"),
                Err(Error::ClaimInvalid { claim, why }) => {
                    assert_eq!((name, claim.as_str()), (malformed, malformed), "{value}");
                    assert!(!why.contains("secret"), "{why}");
                }
                Err(other) => panic!("{malformed} {value}: {other:?}"),
            }
        }
    }
}

#[tokio::test]
async fn leeway_is_five_seconds_each_way() {
    let issuer = issuer().await;
    let now = ClockReading::read().unix;
    for (case, claims) in [
        ("exp just past", with("exp", json!(now - 3.0))),
        ("nbf just ahead", with("nbf", json!(now + 3.0))),
    ] {
        assert!(issuer.verify(&claims).await.is_ok(), "{case}");
    }
    for expired in [now - 6.0, 0.0, -1e300] {
        let refused = issuer.verify(&with("exp", json!(expired))).await;
        assert_eq!(refused, Err(Error::TokenExpired), "{expired}");
    }
}

#[tokio::test]
async fn a_token_may_not_last_longer_than_the_rules_allow() {
    let day = Duration::from_secs(24 * 60 * 60);
    for (lifetime_max, issuer) in [
        (day, issuer().await),
        (
            day * 7,
            issuer_with(TokenRules {
                lifetime_max: day * 7,
                ..TokenRules::new(ISSUER, AUDIENCE)
            })
            .await,
        ),
    ] {
        let latest = ClockReading::read().unix + lifetime_max.as_secs_f64();
        let longest = issuer.verify(&with("exp", json!(latest))).await;
        assert!(longest.is_ok(), "{longest:?}");
        for beyond in [latest + 60.0, 1e300] {
            let refused = issuer.verify(&with("exp", json!(beyond))).await;
            let Err(Error::ClaimInvalid { claim, why }) = refused else {
                panic!("{beyond}: {refused:?}");
            };
            assert_eq!(claim, "exp");
            let days = lifetime_max.as_secs() / day.as_secs();
            assert!(why.contains(&format!("{days}day")), "{why}");
        }
    }
    let for_ever = issuer_with(everlasting()).await;
    let never = for_ever.verify(&with("exp", json!(1e18))).await;
    assert!(never.is_ok());
}

#[tokio::test]
async fn claims_are_found_under_the_names_of_the_rules() {
    let names = |names: &[&str]| names.iter().copied().map(Into::into).collect();
    let rules = TokenRules {
        claims: ClaimNames {
            scope: names(&["permissions"]),
            subject: names(&["user.name"]),
            enterprises: names(&["ext.enterprises"]),
            tenant: names(&["https://earmark.example/tenant"]),
            firm: names(&["none", "ext.firm"]),
            companies: names(&["ext.companies"]),
        },
        ..TokenRules::new(ISSUER, AUDIENCE)
    };
    let issuer = issuer_with(rules).await;
    let mut claims = claims();
    claims["permissions"] = json!(["network-admin"]);
    claims["user"] = json!({"name": "a user"});
    claims["ext"] = json!({"enterprises": [uuid(1)], "firm": 7, "companies": [1]});
    claims["https://earmark.example/tenant"] = uuid(2);
    // What the default names would find.
    claims["tenant"] = uuid(3);
    claims["enterprises"] = json!("malformed");
    let caller = issuer.verify(&claims).await.expect("good");
    let expected = Caller {
        issuer: ISSUER.into(),
        enterprises: Ok(vec![EnterpriseId(Uuid::from_u128(1))]),
        enterprises_claim: "ext.enterprises".into(),
        firm: Ok(FirmId("7".into())),
        tenant: Ok(TenantId(Uuid::from_u128(2))),
        companies: Ok(vec![CompanyId(1)]),
        ..Caller::with_scopes("a user", &[Scope::NetworkAdmin])
    };
    assert_eq!(*caller, expected);

    claims["ext"]["firm"] = json!([7]);
    claims["https://earmark.example/tenant"] = Value::Null;
    let caller = issuer.verify(&claims).await.expect("good");
    let Err(Error::ClaimInvalid { claim, .. }) = &caller.firm else {
        panic!("{caller:?}");
    };
    assert_eq!(claim, "ext.firm", "the name by which it was found");
    let missing = Error::ClaimMissing("https://earmark.example/tenant".into());
    assert_eq!(caller.tenant, Err(missing));
    claims["user"] = json!("a user");
    let refused = issuer.verify(&claims).await;
    assert!(
        matches!(&refused, Err(Error::ClaimInvalid { claim, .. }) if claim == "user.name"),
        "{refused:?}"
    );
}

#[tokio::test]
async fn a_wrong_audience_is_reported_before_expiry() {
    let issuer = issuer().await;
    let mut claims = with("aud", json!("other"));
    claims["exp"] = json!(1);
    let refused = issuer.verify(&claims).await;
    assert!(matches!(refused, Err(Error::ClaimInvalid { .. })));
}

#[tokio::test]
#[expect(
    clippy::too_many_lines,
    reason = "a table of forgeries, each with its name"
)]
async fn forged_tokens_are_refused() {
    let issuer = issuer().await;
    let good = issuer.key.sign(&claims()).expect("signed");
    let kid = decode_header(&good).expect("a header").kid;
    let public_x = issuer.key.jwks()["keys"][0]["x"].clone();
    let [header, body, signature] = good.split('.').collect::<Vec<_>>()[..] else {
        panic!("three parts");
    };
    let foreign = DevKey::generate().expect("a key");
    let foreign_token = foreign.sign(&claims()).expect("signed");
    let foreign_signature = foreign_token.rsplit('.').next().expect("three parts");
    let hmac = |secret: &[u8]| {
        let header = Header {
            kid: kid.clone(),
            ..Header::new(jsonwebtoken::Algorithm::HS256)
        };
        let key = jsonwebtoken::EncodingKey::from_secret(secret);
        jsonwebtoken::encode(&header, &claims(), &key).expect("signed")
    };
    let public_bytes = {
        use ::base64::Engine;
        ::base64::engine::general_purpose::URL_SAFE_NO_PAD
            .decode(public_x.as_str().expect("a text"))
            .expect("base64")
    };
    let none = base64(&json!({"alg": "none", "kid": kid}));
    let header_with = |name: &str, value: Value| {
        let mut header = json!({"alg": "EdDSA", "kid": kid});
        header[name] = value;
        base64(&header)
    };
    let table = [
        ("empty", String::new()),
        ("one dot", "a.b".into()),
        ("dots", "..".into()),
        ("no base64", "?.?.?".into()),
        ("five parts", format!("{good}.a.b")),
        ("spaces", format!(" {good}")),
        (
            "header no JSON",
            format!("{}.{body}.{signature}", base64_bytes(b"x")),
        ),
        ("alg none", format!("{none}.{body}.")),
        ("alg none, signed", format!("{none}.{body}.{signature}")),
        (
            "alg in capitals",
            format!("{}.{body}.", header_with("alg", json!("NONE"))),
        ),
        (
            "other alg",
            format!("{}.{body}.{signature}", header_with("alg", json!("RS256"))),
        ),
        (
            "critical",
            format!("{}.{body}.{signature}", header_with("crit", json!(["x"]))),
        ),
        (
            "HS256 with the key's text",
            hmac(public_x.as_str().expect("a text").as_bytes()),
        ),
        ("HS256 with the key's bytes", hmac(&public_bytes)),
        (
            "HS256 with the JWKS",
            hmac(issuer.key.jwks().to_string().as_bytes()),
        ),
        ("foreign key", foreign_token.clone()),
        (
            "foreign signature",
            format!("{header}.{body}.{foreign_signature}"),
        ),
        ("no signature", format!("{header}.{body}.")),
        (
            "other body",
            format!(
                "{header}.{}.{signature}",
                base64(&with("sub", json!("root")))
            ),
        ),
        ("own key in the header", {
            let jwk = foreign.jwks()["keys"][0].clone();
            let header = header_with("jwk", jwk);
            format!("{header}.{body}.{foreign_signature}")
        }),
        (
            "body no object",
            issuer.key.sign(&json!([1])).expect("signed"),
        ),
        ("long", "a".repeat(16_000)),
    ];
    for (case, token) in table {
        match issuer.verifier.verify(&token).await {
            Err(Error::TokenInvalid(_)) => {}
            other => panic!("{case}: {other:?}"),
        }
    }
    assert!(issuer.verifier.verify(&good).await.is_ok());
}

#[tokio::test]
async fn no_altered_token_passes() {
    let issuer = issuer().await;
    let good = issuer.key.sign(&claims()).expect("signed");
    let letters = ["A", "b", ".", "="].into_iter().cycle();
    for (position, letter) in (0..good.len()).rev().step_by(3).zip(letters) {
        let mut altered = good.clone();
        altered.replace_range(position..=position, letter);
        if altered != good {
            let refused = issuer.verifier.verify(&altered).await;
            assert!(refused.is_err(), "{letter} at {position}");
        }
    }
}

#[tokio::test]
async fn the_key_pins_the_algorithm() {
    let fixture: Value =
        serde_json::from_str(include_str!("foreign_tokens.json")).expect("valid JSON");
    let file = jwks_file(&fixture["jwks"]);
    let keys = Jwks::open(JwksSource::File(file.path().into()))
        .await
        .expect("readable");
    let verifier = TokenVerifier::new(everlasting(), keys);
    let tokens = |name: &str| fixture[name].as_object().expect("an object").clone();
    for (case, token) in tokens("good") {
        let caller = verifier.verify(token.as_str().expect("a text")).await;
        assert_eq!(caller.expect(&case).subject, "somebody");
    }
    for (case, token) in tokens("refused") {
        let refused = verifier.verify(token.as_str().expect("a text")).await;
        assert!(matches!(refused, Err(Error::TokenInvalid(_))), "{case}");
    }
}

#[tokio::test]
async fn a_cached_token_still_expires_and_is_verified_again() {
    let issuer = issuer().await;
    let now = ClockReading::read();
    let later = |seconds: f64| ClockReading {
        unix: now.unix + seconds,
        instant: now.instant + Duration::from_secs_f64(seconds),
    };
    let token = issuer
        .key
        .sign(&with("exp", json!(now.unix + 30.0)))
        .expect("signed");

    let first = issuer.verifier.verify_at(&token, now).await.expect("good");
    let again = issuer.verifier.verify_at(&token, later(34.0)).await;
    assert!(
        again.is_ok_and(|again| Arc::ptr_eq(&first, &again)),
        "cached"
    );
    for seconds in [35.1, 59.0, 61.0] {
        let expired = issuer.verifier.verify_at(&token, later(seconds)).await;
        assert_eq!(expired, Err(Error::TokenExpired), "after {seconds} s");
    }

    let lasting = issuer.key.sign(&claims()).expect("signed");
    let first = issuer
        .verifier
        .verify_at(&lasting, now)
        .await
        .expect("good");
    let again = issuer.verifier.verify_at(&lasting, later(61.0)).await;
    assert!(
        again.is_ok_and(|again| !Arc::ptr_eq(&first, &again)),
        "verified again"
    );
}

#[tokio::test]
async fn the_cache_is_bounded() {
    let issuer = issuer().await;
    let caller = issuer.verify(&claims()).await.expect("good");
    for number in 0..TOKENS_REMEMBERED_MAX + 10 {
        let verified = CachedToken {
            caller: Arc::clone(&caller),
            expires: f64::MAX,
            verified_at: Instant::now(),
        };
        let digest = Sha256::digest(number.to_be_bytes()).into();
        issuer.verifier.store(digest, verified, 1);
    }
    let cache = issuer.verifier.cache.read().expect("no panic");
    let cached = cache.tokens.len();
    assert!(cached <= TOKENS_REMEMBERED_MAX, "{cached}");
}
