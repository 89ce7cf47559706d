//! Which members of a bucket are returned.

use std::collections::BTreeSet;

use crate::error::ViolatedRule;
use crate::proto::bucket::v1 as pb;

/// The members that a caller asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::bucket) struct Fields(Vec<Choice>);

/// What is returned of the member at the same place in `MEMBERS`.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Choice {
    Nothing,
    Whole,
    /// Of an object, or of each object of a list, these members by their JSON names.
    Part(BTreeSet<String>),
}

/// A member of a bucket, by its JSON name; the proto's name follows from it.
struct Member {
    name: &'static str,
    inner: Inner,
    clear: fn(&mut pb::Bucket),
    /// Clears the members of an object that are not to be kept.
    narrow: fn(&mut pb::Bucket, &Kept),
}

/// Whether a member of an object is kept.
type Kept<'k> = dyn Fn(&str) -> bool + 'k;

/// What a dot leads to.
enum Inner {
    Nothing,
    Members(&'static [&'static str]),
    /// Whatever was stored there.
    Anything,
}

/// A member that always stays.
const fn fixed(name: &'static str) -> Member {
    Member {
        name,
        inner: Inner::Nothing,
        clear: |_| {},
        narrow: |_, _| {},
    }
}

macro_rules! leaf {
    ($name:literal, $field:ident) => {
        Member {
            name: $name,
            inner: Inner::Nothing,
            clear: |bucket| bucket.$field = Default::default(),
            narrow: |_, _| {},
        }
    };
}

macro_rules! object {
    ($name:literal, $field:ident, $($inner:literal $inner_field:ident),*) => {
        Member {
            name: $name,
            inner: Inner::Members(&[$($inner),*]),
            clear: |bucket| bucket.$field = Default::default(),
            narrow: |bucket, keeps| {
                // An object that may be unset, or a list of them.
                for object in bucket.$field.iter_mut() {
                    $(if !keeps($inner) {
                        object.$inner_field = Default::default();
                    })*
                }
            },
        }
    };
}

const MEMBERS: &[Member] = &[
    fixed("id"),
    fixed("href"),
    fixed("@type"),
    leaf!("confirmationDate", confirmation_date),
    leaf!("description", description),
    leaf!("isShared", is_shared),
    leaf!("name", name),
    leaf!("remainingValueName", remaining_value_name),
    leaf!("requestedDate", requested_date),
    object!("logicalResource", logical_resource,
        "id" id, "href" href, "name" name, "@type" r#type, "@baseType" base_type,
        "@schemaLocation" schema_location, "@referredType" referred_type),
    object!("partyAccount", party_account,
        "id" id, "href" href, "name" name, "description" description, "status" status, "@type" r#type,
        "@baseType" base_type, "@schemaLocation" schema_location, "@referredType" referred_type),
    object!("product", product,
        "id" id, "href" href, "name" name, "@type" r#type, "@baseType" base_type,
        "@schemaLocation" schema_location, "@referredType" referred_type),
    object!("relatedParty", related_party,
        "id" id, "href" href, "name" name, "role" role, "@type" r#type, "@baseType" base_type,
        "@schemaLocation" schema_location, "@referredType" referred_type),
    object!("remainingValue", remaining_value,
        "amount" amount, "units" units, "@type" r#type, "@baseType" base_type,
        "@schemaLocation" schema_location),
    object!("reservedValue", reserved_value,
        "amount" amount, "units" units, "@type" r#type, "@baseType" base_type,
        "@schemaLocation" schema_location),
    leaf!("status", status),
    leaf!("usageType", usage_type),
    object!("validFor", valid_for, "startDateTime" start_date_time, "endDateTime" end_date_time),
    leaf!("version", version),
    leaf!("@baseType", base_type),
    leaf!("@schemaLocation", schema_location),
    Member {
        name: "extension",
        inner: Inner::Anything,
        clear: |bucket| bucket.extension = None,
        narrow: |bucket, keeps| {
            if let Some(extension) = &mut bucket.extension {
                extension.fields.retain(|key, _| keeps(key));
            }
        },
    },
];

impl Fields {
    /// The choice of every member.
    pub(super) fn all() -> Self {
        Self(MEMBERS.iter().map(|_| Choice::Whole).collect())
    }

    /// Reads a comma-separated list; an empty one is all. An error is the part that names no member.
    pub(in crate::bucket) fn parse(text: &str) -> Result<Self, &str> {
        if text.trim().is_empty() {
            return Ok(Self::all());
        }
        let mut choices: Vec<Choice> = MEMBERS.iter().map(|_| Choice::Nothing).collect();
        for part in text.split(',').map(str::trim) {
            let (outer, inner) = match part.split_once('.') {
                Some((outer, inner)) => (outer, Some(inner)),
                None => (part, None),
            };
            let index = MEMBERS
                .iter()
                .position(|member| is_named(member.name, outer))
                .ok_or(part)?;
            let choice = &mut choices[index];
            match (inner, &mut *choice) {
                (None, _) => *choice = Choice::Whole,
                (Some(inner), choice) => {
                    let name = MEMBERS[index].inner.named(inner).ok_or(part)?;
                    match choice {
                        Choice::Whole => {}
                        Choice::Part(names) => _ = names.insert(name),
                        Choice::Nothing => *choice = Choice::Part(BTreeSet::from([name])),
                    }
                }
            }
        }
        Ok(Self(choices))
    }

    /// The rule for a part of the list that names no member.
    pub(in crate::bucket) fn rule_for(unknown: &str) -> ViolatedRule {
        if unknown.is_empty() {
            return "must not have an empty name: remove the comma".into();
        }
        let outer = unknown.split_once('.').and_then(|(outer, _)| {
            let is_it = |member: &&Member| is_named(member.name, outer);
            MEMBERS.iter().find(is_it)
        });
        let (kind, known) = match outer.map(|member| (member.name, &member.inner)) {
            Some((name, Inner::Members(names))) => (format!("member of `{name}`"), names.to_vec()),
            Some((name, Inner::Nothing)) => {
                return format!("must not go inside of `{name}`, which has no members").into();
            }
            Some((name, Inner::Anything)) => {
                return format!("must name a member behind the point, as in `{name}.color`").into();
            }
            None => {
                let names = MEMBERS.iter().map(|member| member.name).collect();
                ("member".into(), names)
            }
        };
        ViolatedRule::unknown_name(&kind, unknown, &known)
    }

    /// Clears what is not asked for.
    pub(in crate::bucket) fn narrow(&self, bucket: &mut pb::Bucket) {
        for (member, choice) in MEMBERS.iter().zip(&self.0) {
            match choice {
                Choice::Whole => {}
                Choice::Nothing => (member.clear)(bucket),
                Choice::Part(names) => (member.narrow)(bucket, &|name| names.contains(name)),
            }
        }
    }
}

impl Inner {
    /// The member's own name, if there is one that is called so.
    fn named(&self, text: &str) -> Option<String> {
        match self {
            Self::Nothing => None,
            Self::Members(names) => {
                let name = names.iter().find(|name| is_named(name, text))?;
                Some((*name).into())
            }
            Self::Anything => (!text.is_empty()).then(|| text.into()),
        }
    }
}

/// Whether a text is a member's JSON name or the proto's, which has `_` and a small letter for each capital, and no `@`.
fn is_named(name: &str, text: &str) -> bool {
    let in_proto = name.trim_start_matches('@').chars().flat_map(|letter| {
        let underscore = letter.is_ascii_uppercase().then_some('_');
        underscore.into_iter().chain([letter.to_ascii_lowercase()])
    });
    text == name || text.chars().eq(in_proto)
}

#[cfg(test)]
mod tests;
