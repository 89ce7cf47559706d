//! The fields of a record: the one place that says how each is named, what it holds and where it is stored.

use std::collections::BTreeSet;

use crate::cas::model::{DistributionType, OrderStatus, ValueType, Word};

/// What a field holds.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// A UUID.
    Id,
    /// A text.
    Text,
    /// One of a closed set of words, stored as the document form spells them.
    Word {
        /// The enum's name in the proto, as prefix of its values.
        prefix: &'static str,
        /// All of them.
        words: fn() -> Vec<&'static str>,
    },
    /// A whole number of 64 bits.
    Integer,
    /// An amount.
    Decimal,
    /// A moment.
    Time,
    /// True or false.
    Flag,
}

/// Where a field is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// A column that may be NULL.
    Column(&'static str),
    /// A column that is never NULL.
    Required(&'static str),
    /// A member of each element of an array, which is a column of its own.
    Element {
        /// The array's column.
        array: &'static str,
        /// The member's name.
        member: &'static str,
    },
}

macro_rules! fields {
    ($($field:ident = $name:literal, $kind:expr, $place:expr;)*) => {
        /// A field, in the order of the document form.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Field {
            $(#[doc = $name] $field,)*
        }

        impl Field {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$field,)*];

            /// Its name in the document form, with points where it is nested.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$field => $name,)*
                }
            }

            /// What it holds.
            pub fn kind(self) -> Kind {
                match self {
                    $(Self::$field => $kind,)*
                }
            }

            /// Where it is stored.
            pub fn place(self) -> Place {
                match self {
                    $(Self::$field => $place,)*
                }
            }
        }
    };
}

fields! {
    Id = "id", Kind::Id, Place::Required("id");
    Version = "version", Kind::Integer, Place::Required("version");
    CreatedBy = "createdBy", Kind::Text, Place::Required("created_by");
    CreatedDateTime = "createdDateTime", Kind::Time, Place::Required("created_at");
    LastModifiedBy = "lastModifiedBy", Kind::Text, Place::Required("last_modified_by");
    LastModifiedDateTime = "lastModifiedDateTime", Kind::Time, Place::Required("last_modified_at");
    DealId = "dealId", Kind::Text, Place::Column("deal_id");
    TrancheId = "trancheId", Kind::Text, Place::Column("tranche_id");
    SourceId = "sourceId", Kind::Text, Place::Column("source_id");
    InvestorAccountId = "investorAccountId", Kind::Text, Place::Column("investor_account_id");
    IndicationId = "indicationId", Kind::Text, Place::Column("indication_id");
    CompanyId = "companyId", Kind::Integer, Place::Column("company_id");
    SourceRowVersion = "sourceRowVersion", Kind::Text, Place::Column("source_row_version");
    OrderStatus = "orderStatus", word::<OrderStatus>("ORDER_STATUS_"), Place::Column("order_status");
    IndicationGroupId = "indicationGroupId", Kind::Text, Place::Column("indication_group_id");
    StatusCode = "statusMessages.code", Kind::Text, STATUS_MESSAGES("code");
    StatusMessage = "statusMessages.message", Kind::Text, STATUS_MESSAGES("message");
    ValueType = "allocationValue.type", word::<ValueType>("ALLOCATION_VALUE_TYPE_"), Place::Column("value_type");
    ValueAmount = "allocationValue.data.amount", Kind::Decimal, Place::Column("value_amount");
    OverrideType = "allocationValue.overrideAllocation.type", word::<ValueType>("ALLOCATION_VALUE_TYPE_"),
        Place::Column("override_type");
    OverrideAmount = "allocationValue.overrideAllocation.data.amount", Kind::Decimal, Place::Column("override_amount");
    DistributionType = "distributionType", word::<DistributionType>("DISTRIBUTION_TYPE_"),
        Place::Column("distribution_type");
    CommentType = "comment.comments.commentType", Kind::Text, COMMENTS("commentType");
    Comment = "comment.comments.comment", Kind::Text, COMMENTS("comment");
    CommentBy = "comment.comments.lastModifiedBy", Kind::Text, COMMENTS("lastModifiedBy");
    CommentDateTime = "comment.comments.lastModifiedDateTime", Kind::Time, COMMENTS("lastModifiedDateTime");
    IsAffirmed = "detail.order.affirmation.isAffirmed", Kind::Flag, Place::Column("is_affirmed");
    AffirmedBy = "detail.order.affirmation.modifiedBy", Kind::Text, Place::Column("affirmed_by");
    AffirmedDateTime = "detail.order.affirmation.modifiedDateTime", Kind::Time, Place::Column("affirmed_at");
}

#[expect(non_snake_case, reason = "stands in a table of places")]
const fn STATUS_MESSAGES(member: &'static str) -> Place {
    Place::Element {
        array: "status_messages",
        member,
    }
}

#[expect(non_snake_case, reason = "stands in a table of places")]
const fn COMMENTS(member: &'static str) -> Place {
    Place::Element {
        array: "comments",
        member,
    }
}

const fn word<W: Word>(prefix: &'static str) -> Kind {
    Kind::Word {
        prefix,
        words: || W::ALL.iter().map(|word| word.as_str()).collect(),
    }
}

impl Field {
    /// The field with this name, in the document's spelling or the proto's.
    pub fn parse(name: &str) -> Option<Self> {
        let mut fields = Self::ALL.iter().copied();
        fields.find(|field| field.name() == name || snake(field.name()) == name)
    }

    /// The field with this name, or all within the object or array with this name; none if there is no such thing.
    pub fn parse_part(name: &str) -> BTreeSet<Self> {
        let is_within = |whole: &str| {
            whole
                .strip_prefix(name)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        let fields = Self::ALL.iter().copied();
        fields
            .filter(|field| is_within(field.name()) || is_within(&snake(field.name())))
            .collect()
    }

    /// The names of all fields, for a caller that named another.
    pub fn names() -> String {
        let names: Vec<_> = Self::ALL.iter().map(|field| field.name()).collect();
        names.join(", ")
    }
}

/// The proto's spelling of a name of the document form.
fn snake(name: &str) -> String {
    let mut snake = String::with_capacity(name.len() + 4);
    for letter in name.chars() {
        if letter.is_ascii_uppercase() {
            snake.push('_');
        }
        snake.push(letter.to_ascii_lowercase());
    }
    snake
}

#[cfg(test)]
mod tests {
    use prost_types::field_descriptor_proto::Type;
    use prost_types::{DescriptorProto, FileDescriptorSet};

    use super::*;
    use prost::Message;

    /// The leaves of a message by their dotted names; times are leaves.
    fn leaves(all: &[DescriptorProto], message: &str, prefix: &str, found: &mut BTreeSet<String>) {
        let message = all.iter().find(|each| each.name() == message);
        for field in &message.expect("a message of the file").field {
            let name = format!("{prefix}{}", field.name());
            let inner = field.type_name().strip_prefix(".earmark.cas.v1.");
            match inner {
                Some(inner) if field.r#type() == Type::Message => {
                    leaves(all, inner, &format!("{name}."), found);
                }
                _ => {
                    found.insert(name);
                }
            }
        }
    }

    #[test]
    fn every_member_of_the_message_is_a_field() {
        let set = FileDescriptorSet::decode(crate::proto::DESCRIPTORS).expect("descriptors");
        let file = set
            .file
            .iter()
            .find(|file| file.package() == "earmark.cas.v1");
        let mut expected = BTreeSet::new();
        let messages = &file.expect("the package").message_type;
        leaves(messages, "CasAllocation", "", &mut expected);
        let fields: BTreeSet<_> = Field::ALL.iter().map(|field| snake(field.name())).collect();
        assert_eq!(fields, expected);
    }

    #[test]
    fn fields_are_found_in_either_spelling() {
        for name in [
            "allocationValue.data.amount",
            "allocation_value.data.amount",
        ] {
            assert_eq!(Field::parse(name), Some(Field::ValueAmount));
        }
        for name in [
            "",
            "allocationValue",
            "dealid",
            "deal_Id",
            "dealId.",
            " dealId",
        ] {
            assert_eq!(Field::parse(name), None, "{name}");
        }
        let part = |name| Vec::from_iter(Field::parse_part(name));
        assert_eq!(part("allocation_value.data"), [Field::ValueAmount]);
        assert_eq!(
            part("statusMessages"),
            [Field::StatusCode, Field::StatusMessage]
        );
        assert_eq!(part("detail").len(), 3);
        for name in ["", "allocation", "comment.", "dealId.x"] {
            assert_eq!(part(name), [], "{name}");
        }
    }
}
