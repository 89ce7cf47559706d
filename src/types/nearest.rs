//! Suggestions for names that are not known.

/// Longer names get no suggestion: comparing takes time in proportion to both lengths, and callers choose one of them.
const ASKED_BYTES_MAX: usize = 128;

/// The known name that is most like the one asked for, without regard to case; `None` if none is like it. Names are
/// alike if one becomes the other by changing, adding, removing or swapping few of its letters: a third at most.
pub fn nearest<'a>(asked: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if asked.is_empty() || asked.len() > ASKED_BYTES_MAX {
        return None;
    }
    let folded = asked.to_lowercase();
    known
        .into_iter()
        .map(|name| (strsim::osa_distance(&folded, &name.to_lowercase()), name))
        .filter(|(distance, name)| {
            let letters = name.chars().count().max(asked.chars().count());
            *distance <= letters.max(3) / 3 && *distance < letters
        })
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// As [`nearest`] for paths whose names are separated by points. If no whole path is like the one asked for, their last
/// names are compared: `amount` suggests `data.amount`.
pub fn nearest_path<'a>(asked: &str, known: &[&'a str]) -> Option<&'a str> {
    let last = |path: &'a str| path.rsplit('.').next().unwrap_or(path);
    nearest(asked, known.iter().copied()).or_else(|| {
        let asked = asked.rsplit('.').next().unwrap_or(asked);
        let found = nearest(asked, known.iter().map(|path| last(path)))?;
        known.iter().copied().find(|path| last(path) == found)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NAMES: [&str; 5] = ["dealId", "trancheId", "sourceId", "=", "in"];

    #[test]
    fn a_name_with_few_wrong_letters_gets_a_suggestion() {
        for (asked, suggested) in [
            ("dealID", Some("dealId")),
            ("deal_id", Some("dealId")),
            ("daelId", Some("dealId")),
            ("dealIds", Some("dealId")),
            ("tranche", Some("trancheId")),
            ("soruceid", Some("sourceId")),
            ("==", Some("=")),
            ("IN", Some("in")),
            ("", None),
            ("x", None),
            ("company", None),
            ("dealId; DROP TABLE owner", None),
        ] {
            assert_eq!(nearest(asked, NAMES), suggested, "{asked}");
        }
        let long = "dealId".repeat(1_000_000);
        assert_eq!(nearest(&long, [long.as_str()]), None);
    }

    #[test]
    fn a_path_is_also_found_by_its_last_name() {
        let paths = [
            "dealId",
            "allocationValue.data.amount",
            "comment.comments.comment",
        ];
        for (asked, suggested) in [
            ("dealid", Some("dealId")),
            ("amount", Some("allocationValue.data.amount")),
            ("value.amount", Some("allocationValue.data.amount")),
            ("comments.Comment", Some("comment.comments.comment")),
            ("nothing", None),
            ("", None),
            (".", None),
        ] {
            assert_eq!(nearest_path(asked, &paths), suggested, "{asked}");
        }
    }

    proptest! {
        #[test]
        fn a_known_name_in_any_case_is_its_own_suggestion(index in 0_usize..NAMES.len(), upper in any::<bool>()) {
            let asked = if upper { NAMES[index].to_uppercase() } else { NAMES[index].to_owned() };
            prop_assert_eq!(nearest(&asked, NAMES), Some(NAMES[index]));
        }
    }
}
