//! Language tags of BCP 47.

use std::cmp::Ordering;
use std::fmt;

use icu_locale::{LocaleCanonicalizer, LocaleExpander, LocaleFallbacker};
use icu_locale_core::subtags::{Language, language};
use icu_locale_core::{DataLocale, LanguageIdentifier, Locale, langid};
use serde::{Deserialize, Serialize};

use crate::types::page::PageCursor;

/// The BCP 47 tag of a language, without extensions and in CLDR's canonical form: `zh-Hant-TW`, and `he` for `iw`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct LanguageTag(LanguageIdentifier);

impl LanguageTag {
    /// English, in which every allocation has all texts.
    pub(crate) const ENGLISH: Self = Self(langid!("en"));

    /// Parses the tag of stored texts, which must name a language and must not have extensions.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let identifier = LanguageIdentifier::try_from_str(without_prefix(text)).ok()?;
        (!identifier.language.is_unknown()).then(|| Self::canonical(identifier.into()))
    }

    /// Parses the tag that a reader asks for. Its extensions are dropped: they select formats, not the language.
    pub(crate) fn parse_requested(text: &str) -> Option<Self> {
        let locale = Locale::try_from_str(without_prefix(text)).ok()?;
        Some(Self::canonical(locale))
    }

    fn canonical(mut locale: Locale) -> Self {
        LocaleCanonicalizer::new_extended().canonicalize(&mut locale);
        Self::of(locale.id)
    }

    fn of(mut identifier: LanguageIdentifier) -> Self {
        // CLDR has its Norwegian data under the macrolanguage. What is written is Bokmål, so the two are one language.
        if identifier.language == language!("no") {
            identifier.language = language!("nb");
        }
        Self(identifier)
    }

    /// The tag itself, and those whose texts a reader of it may be served instead, the nearest first: RFC 4647's lookup,
    /// with CLDR's parents (`es-419` for `es-MX`) and likely scripts (`zh-Hant` for `zh-TW`). None has another script than
    /// the tag. A tag is followed by those that mean the same, with or without a script.
    pub(crate) fn lineage(&self) -> Vec<Self> {
        let mut lineage = Vec::new();
        let mut tag = self.0.clone();
        while let Some(last) = tag.variants.last().copied() {
            add(&mut lineage, Self(tag.clone()));
            tag.variants.remove(&last);
        }
        add(&mut lineage, Self(tag.clone()));
        let fallbacker = LocaleFallbacker::new().for_config(Default::default());
        let mut steps = fallbacker.fallback_for(DataLocale::from(tag));
        while !steps.get().is_unknown() {
            let step = Self::of(steps.get().into_locale().id);
            let with_script = step.with_script();
            let is_of_macao = with_script.0 == langid!("zh-Hant-MO");
            add(&mut lineage, step);
            add(&mut lineage, with_script);
            if is_of_macao {
                // ICU4X misses this parent of CLDR: it looks for one without the script that the region implies.
                add(&mut lineage, Self(langid!("zh-HK")));
                add(&mut lineage, Self(langid!("zh-Hant-HK")));
            }
            steps.step();
        }
        lineage
    }

    /// The same tag with the script that the language is usually written in there, unless it names one.
    pub(crate) fn with_script(&self) -> Self {
        let mut likely = self.0.clone();
        LocaleExpander::new_extended().maximize(&mut likely);
        let mut tag = self.0.clone();
        tag.script = tag.script.or(likely.script);
        Self(tag)
    }

    /// The subtag of the language, without script, region and variants.
    pub(crate) fn language(&self) -> Language {
        self.0.language
    }

    /// The same tag without script and variants.
    pub(crate) fn language_and_region(&self) -> Self {
        let mut tag = LanguageIdentifier::from(self.0.language);
        tag.region = self.0.region;
        Self(tag)
    }

    /// The same tag without region and variants.
    pub(crate) fn language_and_script(&self) -> Self {
        let mut tag = LanguageIdentifier::from(self.0.language);
        tag.script = self.0.script;
        Self(tag)
    }
}

fn add(tags: &mut Vec<LanguageTag>, tag: LanguageTag) {
    if !tags.contains(&tag) {
        tags.push(tag);
    }
}

/// The tag without the language that precedes an extended language: `yue` for `zh-yue`, which means the same. The
/// languages are all that RFC 5646's registry has as such prefixes.
fn without_prefix(text: &str) -> &str {
    const PREFIXES: [&str; 8] = ["ar", "kok", "lv", "ms", "sgn", "sw", "uz", "zh"];
    let Some((prefix, rest)) = text.split_once('-') else {
        return text;
    };
    let is_extended = |text: &str| {
        let subtag = text.split('-').next().unwrap_or_default();
        subtag.len() == 3 && subtag.bytes().all(|byte| byte.is_ascii_alphabetic())
    };
    if !PREFIXES.contains(&prefix.to_ascii_lowercase().as_str()) || !is_extended(rest) {
        return text;
    }
    // `zh-min-nan` is registered with two.
    match rest.split_once('-') {
        Some((_, after)) if is_extended(after) => after,
        _ => rest,
    }
}

impl fmt::Display for LanguageTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Ord for LanguageTag {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.total_cmp(&other.0)
    }
}

impl PartialOrd for LanguageTag {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// The last language of the page before, by its tag.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LanguageCursor(pub(crate) String);

impl PageCursor for LanguageCursor {
    fn is_possible(&self) -> bool {
        LanguageTag::parse(&self.0).is_some()
    }
}

#[cfg(test)]
mod tests;
