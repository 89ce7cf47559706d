//! Settings of the tokens that a server accepts.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use clap::builder::NonEmptyStringValueParser;

use crate::auth::claims::ClaimNames;
use crate::auth::jwks::{JwksSettings, JwksSource};
use crate::auth::token::TokenRules;
use crate::config::values::{key_time, token_time};

/// Settings of the tokens that are accepted.
#[derive(Args, Clone, Debug)]
pub(crate) struct TokenArgs {
    /// The public keys of the issuer of tokens: a JWKS document, as a file or an http(s) URL. Without it: by discovery
    ///
    /// Discovery asks the issuer for its keys: --issuer must then be a URL, and serve
    /// <issuer>/.well-known/openid-configuration, which names the JWKS. Keys for RS256 (2048 to 4096 bits), ES256 and
    /// EdDSA (Ed25519) are used, others are ignored. The keys are read at the start; again, at most once a minute, when
    /// they do not verify a token; and again before they reach the age of --jwks-max-age. A URL that does not answer at
    /// the start is waited for, and health is NOT_SERVING until it does; a file must be there and be right.
    #[arg(
        long,
        env = "EARMARK_JWKS",
        value_name = "FILE|URL",
        value_parser = NonEmptyStringValueParser::new()
    )]
    jwks: Option<String>,

    /// A PEM file with certificates that are trusted when keys are read by https, besides those of the operating system
    ///
    /// For an issuer whose certificate is of a private authority. The file is read again with the keys. The operating
    /// system's certificates are found in its usual folders, or where SSL_CERT_FILE and SSL_CERT_DIR say.
    #[arg(long, env = "EARMARK_JWKS_CA", value_name = "FILE")]
    jwks_ca: Option<PathBuf>,

    /// The age up to which keys are used without a question, from 1s to 24h, such as 5m
    ///
    /// From 80 % of this age on they are read again in the background. A call that finds them older waits at most 2 s
    /// for a read that is under way, and then uses them nevertheless; the log has a warning a minute. So a key that
    /// its issuer withdraws is refused after this time at the latest, as long as the issuer can be asked. Too low: the
    /// issuer is asked often. Too high: withdrawn keys are accepted for long.
    #[arg(
        long,
        env = "EARMARK_JWKS_MAX_AGE",
        value_name = "DURATION",
        default_value = "5m",
        value_parser = key_time
    )]
    jwks_max_age: Duration,

    /// The age from which keys are not used any more, from --jwks-max-age to 24h, such as 1h
    ///
    /// Calls then end with UNAVAILABLE (KEYS_UNAVAILABLE), and health is NOT_SERVING, until the keys can be read again.
    /// Too low: an outage of the issuer stops the service. Too high: a key that is withdrawn during an outage of the
    /// issuer is accepted for long.
    #[arg(
        long,
        env = "EARMARK_JWKS_STALE_MAX",
        value_name = "DURATION",
        default_value = "1h",
        value_parser = key_time
    )]
    jwks_stale_max: Duration,

    /// The issuer of tokens: a token is refused unless its claim iss is exactly this text
    ///
    /// Without --jwks, its keys are found by discovery.
    #[arg(
        long,
        env = "EARMARK_ISSUER",
        value_name = "ISS",
        value_parser = NonEmptyStringValueParser::new()
    )]
    issuer: String,

    /// The audience: a token is refused unless its claim aud is, or contains, exactly this text
    #[arg(
        long,
        env = "EARMARK_AUDIENCE",
        value_name = "AUD",
        value_parser = NonEmptyStringValueParser::new()
    )]
    audience: String,

    /// How far ahead the end of a token (claim exp) may be, from 1m to 3650days, such as 24h
    ///
    /// A token that lasts longer is refused. A single token cannot be revoked, so this bounds for how long a stolen one
    /// is of use. Too low: tokens of issuers that give longer ones are refused.
    #[arg(
        long,
        env = "EARMARK_TOKEN_LIFETIME_MAX",
        value_name = "DURATION",
        default_value = "24h",
        value_parser = token_time
    )]
    token_lifetime_max: Duration,

    /// The claim with the scopes: a text with spaces between, or a list. Of several names, the first in the token counts
    ///
    /// Names of claims are separated by commas. A name is that of a member at the top of the token, to the letter, such
    /// as https://earmark.example/tenant; only if there is none, dots are read as nesting: ext.tenant is the member
    /// tenant of the object ext.
    #[arg(
        long,
        env = "EARMARK_CLAIM_SCOPE",
        value_name = "NAMES",
        default_value = "scope,scp",
        value_delimiter = ',',
        value_parser = NonEmptyStringValueParser::new()
    )]
    claim_scope: Vec<String>,

    /// The claim that says who the bearer is, which is stored with what the bearer writes. Named as for --claim-scope
    #[arg(
        long,
        env = "EARMARK_CLAIM_SUBJECT",
        value_name = "NAMES",
        default_value = "sub,client_id",
        value_delimiter = ',',
        value_parser = NonEmptyStringValueParser::new()
    )]
    claim_subject: Vec<String>,

    /// The claim with the UUIDs of the enterprises that the bearer is a member of. Named as for --claim-scope
    #[arg(
        long,
        env = "EARMARK_CLAIM_ENTERPRISES",
        value_name = "NAMES",
        default_value = "enterprises",
        value_delimiter = ',',
        value_parser = NonEmptyStringValueParser::new()
    )]
    claim_enterprises: Vec<String>,

    /// The claim with the UUID of the tenant whose buckets the bearer uses. Named as for --claim-scope
    #[arg(
        long,
        env = "EARMARK_CLAIM_TENANT",
        value_name = "NAMES",
        default_value = "tenant",
        value_delimiter = ',',
        value_parser = NonEmptyStringValueParser::new()
    )]
    claim_tenant: Vec<String>,

    /// The claim with the id of the firm whose CAS allocations the bearer uses. Named as for --claim-scope
    #[arg(
        long,
        env = "EARMARK_CLAIM_FIRM",
        value_name = "NAMES",
        default_value = "firm_id",
        value_delimiter = ',',
        value_parser = NonEmptyStringValueParser::new()
    )]
    claim_firm: Vec<String>,

    /// The claim with the numbers of the companies whose catalogues the bearer uses. Named as for --claim-scope
    #[arg(
        long,
        env = "EARMARK_CLAIM_COMPANIES",
        value_name = "NAMES",
        default_value = "companies",
        value_delimiter = ',',
        value_parser = NonEmptyStringValueParser::new()
    )]
    claim_companies: Vec<String>,
}

impl TokenArgs {
    /// Where the keys are read from.
    ///
    /// # Errors
    /// There is no `--jwks`, and the issuer is no URL.
    pub(crate) fn source(&self) -> Result<JwksSource, String> {
        match &self.jwks {
            Some(jwks) => Ok(JwksSource::parse(jwks)),
            None => JwksSource::of_issuer(&self.issuer).ok_or_else(|| {
                format!(
                    "--jwks is missing: the keys of tokens can only be found without it if --issuer is an http(s) URL, got {:?}",
                    self.issuer
                )
            }),
        }
    }

    /// Whether the source of the keys is given, rather than found by discovery.
    pub(crate) fn has_jwks(&self) -> bool {
        self.jwks.is_some()
    }

    /// The issuer whose tokens are accepted.
    pub(crate) fn issuer(&self) -> &str {
        &self.issuer
    }

    /// How the keys are read, and how long they are used.
    ///
    /// # Errors
    /// Settings that contradict each other.
    pub(crate) fn key_settings(&self) -> Result<JwksSettings, String> {
        if self.jwks_stale_max < self.jwks_max_age {
            return Err(format!(
                "--jwks-stale-max {} must not be below --jwks-max-age {}",
                humantime::format_duration(self.jwks_stale_max),
                humantime::format_duration(self.jwks_max_age)
            ));
        }
        Ok(JwksSettings {
            ca: self.jwks_ca.clone(),
            age_max: self.jwks_max_age,
            stale_max: self.jwks_stale_max,
            ..JwksSettings::default()
        })
    }

    /// What a token must be to be accepted.
    pub(crate) fn rules(&self) -> TokenRules {
        TokenRules {
            issuer: self.issuer.clone(),
            audience: self.audience.clone(),
            lifetime_max: self.token_lifetime_max,
            claims: ClaimNames {
                scope: self.claim_scope.clone(),
                subject: self.claim_subject.clone(),
                enterprises: self.claim_enterprises.clone(),
                tenant: self.claim_tenant.clone(),
                firm: self.claim_firm.clone(),
                companies: self.claim_companies.clone(),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(clap::Parser)]
    struct OnlyTokens {
        #[command(flatten)]
        tokens: TokenArgs,
    }

    fn parsed(more: &[&str]) -> TokenArgs {
        let all = [&["earmark", "--audience", "a"], more].concat();
        OnlyTokens::try_parse_from(all).expect("arguments").tokens
    }

    #[test]
    fn defaults_are_those_of_the_code() {
        let tokens = parsed(&["--issuer", "i", "--jwks", "f"]);
        let (rules, defaults) = (tokens.rules(), TokenRules::new("i", "a"));
        assert_eq!(rules.claims, defaults.claims);
        assert_eq!(rules.lifetime_max, defaults.lifetime_max);
        let (settings, defaults) = (tokens.key_settings(), JwksSettings::default());
        let settings = settings.expect("they agree");
        assert_eq!(settings.age_max, defaults.age_max);
        assert_eq!(settings.stale_max, defaults.stale_max);
    }

    #[test]
    fn keys_come_from_the_issuer_unless_they_are_given() {
        let url = "https://issuer.example/";
        let given = parsed(&["--issuer", url, "--jwks", "a.json"]);
        assert_eq!(given.source(), Ok(JwksSource::File("a.json".into())));
        let found = parsed(&["--issuer", url]).source();
        assert_eq!(found, Ok(JwksSource::Issuer(url.into())));
        let refused = parsed(&["--issuer", "i"]).source().expect_err("no URL");
        assert!(refused.contains("--jwks") && refused.contains("\"i\""));
    }

    #[test]
    fn keys_must_not_be_too_old_before_they_are_old() {
        let times = ["--issuer", "i", "--jwks-stale-max", "4m"];
        let refused = parsed(&times).key_settings().expect_err("below 5m");
        assert!(
            refused.contains("4m") && refused.contains("5m"),
            "{refused}"
        );
        let times = [&times[..], &["--jwks-max-age", "4m"]].concat();
        assert!(parsed(&times).key_settings().is_ok());
    }

    #[test]
    fn names_of_claims_are_separated_by_commas() {
        let names = "https://earmark.example/tenant,ext.tenant";
        let rules = parsed(&["--issuer", "i", "--claim-tenant", names]).rules();
        let expected = ["https://earmark.example/tenant", "ext.tenant"];
        assert_eq!(rules.claims.tenant, expected);
    }
}
