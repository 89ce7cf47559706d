//! The table of an allocation's fields: for each its name, its type and the column that stores it.

use std::collections::BTreeSet;

use crate::cas::string_enum::{CasValueType, DistributionType, OrderStatus, StringEnum};

/// The type of a field's values, which decides how a search reads and compares them.
#[derive(Clone, Copy, Debug)]
pub enum CasFieldType {
    /// A UUID in its hyphenated form.
    Id,
    /// A text without NUL, compared byte by byte.
    Text,
    /// One of a closed set of strings, stored as the document form has them.
    Enum {
        /// What the names of the enum's values in the proto begin with, such as `ORDER_STATUS_`.
        prefix: &'static str,
        /// Returns every string of the enum.
        values: fn() -> Vec<&'static str>,
    },
    /// A signed integer of 64 bits.
    Integer,
    /// A decimal of at most 16 digits before and 12 after the point.
    Decimal,
    /// A point in time with microseconds.
    Time,
    /// A boolean, which is written `true` or `false`.
    Flag,
}

/// The place in the table `cas_allocation` that stores a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CasColumn {
    /// A column that is NULL where the field is unset.
    Nullable(&'static str),
    /// A column that is never NULL.
    Required(&'static str),
    /// A member of every element of a JSON array, which is a column.
    Element {
        /// The array whose elements have the member.
        array: CasArray,
        /// The member's name in each element.
        member: &'static str,
    },
}

/// An array of an allocation, whose elements are objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CasArray {
    /// The messages about the status of the order.
    StatusMessages,
    /// The comments on the allocation.
    Comments,
}

impl CasArray {
    /// Every array, in the order of the document form.
    pub const ALL: &'static [Self] = &[Self::StatusMessages, Self::Comments];

    /// The path in the document form.
    pub fn name(self) -> &'static str {
        match self {
            Self::StatusMessages => "statusMessages",
            Self::Comments => "comment.comments",
        }
    }

    /// The name of the column that stores the array.
    pub fn column(self) -> &'static str {
        match self {
            Self::StatusMessages => "status_messages",
            Self::Comments => "comments",
        }
    }

    /// The array with this path, written as in the document form or as in the proto.
    pub fn parse(name: &str) -> Option<Self> {
        let mut arrays = Self::ALL.iter().copied();
        arrays.find(|array| array.name() == name || snake(array.name()) == name)
    }

    /// The members of each element as fields, each with its name in the element.
    pub fn members(self) -> impl Iterator<Item = (&'static str, CasField)> {
        let fields = CasField::ALL.iter().copied();
        fields.filter_map(move |field| match field.column() {
            CasColumn::Element { array, member } if array == self => Some((member, field)),
            _ => None,
        })
    }

    /// The member of each element with this name, written as in the document form or as in the proto.
    pub fn parse_member(self, name: &str) -> Option<CasField> {
        let mut members = self.members();
        let found = members.find(|(member, _)| *member == name || snake(member) == name);
        found.map(|(_, field)| field)
    }
}

/// The members of the document form that the server sets, which no caller can change.
pub const SERVER_MEMBERS: [&str; 6] = [
    "id",
    "version",
    "createdBy",
    "createdDateTime",
    "lastModifiedBy",
    "lastModifiedDateTime",
];

macro_rules! fields {
    ($($field:ident = $name:literal, $field_type:expr, $column:expr;)*) => {
        /// A field of an allocation that is not an object itself; ordered as in the document form.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum CasField {
            $(#[doc = concat!("The field `", $name, "` of the document form.")] $field,)*
        }

        impl CasField {
            /// Every field, in the order of the document form.
            pub const ALL: &'static [Self] = &[$(Self::$field,)*];

            /// The path in the document form, such as `allocationValue.data.amount`, without positions in arrays.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$field => $name,)*
                }
            }

            /// The type of the field's values.
            pub fn field_type(self) -> CasFieldType {
                match self {
                    $(Self::$field => $field_type,)*
                }
            }

            /// The column, or member of a column's elements, that stores the field.
            pub fn column(self) -> CasColumn {
                match self {
                    $(Self::$field => $column,)*
                }
            }
        }
    };
}

fields! {
    Id = "id", CasFieldType::Id, CasColumn::Required("id");
    Version = "version", CasFieldType::Integer, CasColumn::Required("version");
    CreatedBy = "createdBy", CasFieldType::Text, CasColumn::Required("created_by");
    CreatedDateTime = "createdDateTime", CasFieldType::Time, CasColumn::Required("created_at");
    LastModifiedBy = "lastModifiedBy", CasFieldType::Text, CasColumn::Required("last_modified_by");
    LastModifiedDateTime = "lastModifiedDateTime", CasFieldType::Time, CasColumn::Required("last_modified_at");
    DealId = "dealId", CasFieldType::Text, CasColumn::Nullable("deal_id");
    TrancheId = "trancheId", CasFieldType::Text, CasColumn::Nullable("tranche_id");
    SourceId = "sourceId", CasFieldType::Text, CasColumn::Nullable("source_id");
    InvestorAccountId = "investorAccountId", CasFieldType::Text, CasColumn::Nullable("investor_account_id");
    IndicationId = "indicationId", CasFieldType::Text, CasColumn::Nullable("indication_id");
    CompanyId = "companyId", CasFieldType::Integer, CasColumn::Nullable("company_id");
    SourceRowVersion = "sourceRowVersion", CasFieldType::Text, CasColumn::Nullable("source_row_version");
    OrderStatus = "orderStatus", string_enum::<OrderStatus>("ORDER_STATUS_"), CasColumn::Nullable("order_status");
    IndicationGroupId = "indicationGroupId", CasFieldType::Text, CasColumn::Nullable("indication_group_id");
    StatusCode = "statusMessages.code", CasFieldType::Text, STATUS_MESSAGES("code");
    StatusMessage = "statusMessages.message", CasFieldType::Text, STATUS_MESSAGES("message");
    ValueType = "allocationValue.type", string_enum::<CasValueType>("ALLOCATION_VALUE_TYPE_"), CasColumn::Nullable("value_type");
    ValueAmount = "allocationValue.data.amount", CasFieldType::Decimal, CasColumn::Nullable("value_amount");
    OverrideType = "allocationValue.overrideAllocation.type", string_enum::<CasValueType>("ALLOCATION_VALUE_TYPE_"),
        CasColumn::Nullable("override_type");
    OverrideAmount = "allocationValue.overrideAllocation.data.amount", CasFieldType::Decimal, CasColumn::Nullable("override_amount");
    DistributionType = "distributionType", string_enum::<DistributionType>("DISTRIBUTION_TYPE_"),
        CasColumn::Nullable("distribution_type");
    CommentType = "comment.comments.commentType", CasFieldType::Text, COMMENTS("commentType");
    Comment = "comment.comments.comment", CasFieldType::Text, COMMENTS("comment");
    CommentBy = "comment.comments.lastModifiedBy", CasFieldType::Text, COMMENTS("lastModifiedBy");
    CommentDateTime = "comment.comments.lastModifiedDateTime", CasFieldType::Time, COMMENTS("lastModifiedDateTime");
    IsAffirmed = "detail.order.affirmation.isAffirmed", CasFieldType::Flag, CasColumn::Nullable("is_affirmed");
    AffirmedBy = "detail.order.affirmation.modifiedBy", CasFieldType::Text, CasColumn::Nullable("affirmed_by");
    AffirmedDateTime = "detail.order.affirmation.modifiedDateTime", CasFieldType::Time, CasColumn::Nullable("affirmed_at");
}

#[expect(non_snake_case, reason = "is used like a constructor of CasColumn")]
const fn STATUS_MESSAGES(member: &'static str) -> CasColumn {
    CasColumn::Element {
        array: CasArray::StatusMessages,
        member,
    }
}

#[expect(non_snake_case, reason = "is used like a constructor of CasColumn")]
const fn COMMENTS(member: &'static str) -> CasColumn {
    CasColumn::Element {
        array: CasArray::Comments,
        member,
    }
}

const fn string_enum<E: StringEnum>(prefix: &'static str) -> CasFieldType {
    CasFieldType::Enum {
        prefix,
        values: || E::ALL.iter().map(|value| value.as_str()).collect(),
    }
}

impl CasField {
    /// The field with this path, written in camel case as in the document form or in snake case as in the proto.
    pub fn parse(name: &str) -> Option<Self> {
        let mut fields = Self::ALL.iter().copied();
        fields.find(|field| field.name() == name || snake(field.name()) == name)
    }

    /// The field with this path, or every field within the object or array with this path; empty if there is neither.
    pub fn parse_part(name: &str) -> BTreeSet<Self> {
        let is_within = |path: &str| {
            path.strip_prefix(name)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        let fields = Self::ALL.iter().copied();
        fields
            .filter(|field| is_within(field.name()) || is_within(&snake(field.name())))
            .collect()
    }

    /// The paths of all fields, for error messages.
    pub fn names() -> Vec<&'static str> {
        Self::ALL.iter().map(|field| field.name()).collect()
    }
}

/// A path of the document form as the proto writes it: `dealId` becomes `deal_id`.
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

    /// Collects the paths of a message's fields that are not messages of the package; timestamps count as such fields.
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
        let fields: BTreeSet<_> = CasField::ALL
            .iter()
            .map(|field| snake(field.name()))
            .collect();
        assert_eq!(fields, expected);
    }

    #[test]
    fn the_members_of_an_array_are_the_fields_below_its_path() {
        for array in CasArray::ALL.iter().copied() {
            let below: Vec<_> = CasField::parse_part(array.name()).into_iter().collect();
            let members: Vec<_> = array.members().map(|(_, field)| field).collect();
            assert_eq!(members, below, "{array:?}");
            for (member, field) in array.members() {
                assert_eq!(format!("{}.{member}", array.name()), field.name());
                assert_eq!(array.parse_member(&snake(member)), Some(field));
            }
            assert_eq!(CasArray::parse(&snake(array.name())), Some(array));
            assert_eq!(array.parse_member("dealId"), None);
        }
        assert_eq!(CasArray::parse("comment"), None);
    }

    #[test]
    fn fields_are_found_in_either_spelling() {
        for name in [
            "allocationValue.data.amount",
            "allocation_value.data.amount",
        ] {
            assert_eq!(CasField::parse(name), Some(CasField::ValueAmount));
        }
        for name in [
            "",
            "allocationValue",
            "dealid",
            "deal_Id",
            "dealId.",
            " dealId",
        ] {
            assert_eq!(CasField::parse(name), None, "{name}");
        }
        let part = |name| Vec::from_iter(CasField::parse_part(name));
        assert_eq!(part("allocation_value.data"), [CasField::ValueAmount]);
        assert_eq!(
            part("statusMessages"),
            [CasField::StatusCode, CasField::StatusMessage]
        );
        assert_eq!(part("detail").len(), 3);
        for name in ["", "allocation", "comment.", "dealId.x"] {
            assert_eq!(part(name), [], "{name}");
        }
    }
}
