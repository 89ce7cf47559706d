//! References: four messages that have most of their members in common.

use crate::bucket::model::{ObjectClass, Reference};
use crate::proto::bucket::v1 as pb;

/// Converts both ways; members that only some kinds have come last.
macro_rules! reference {
    ($($message:ident { $($own:ident),* })*) => {$(
        impl From<pb::$message> for Reference {
            fn from(given: pb::$message) -> Self {
                Self {
                    id: given.id,
                    href: given.href,
                    name: given.name,
                    class: ObjectClass {
                        name: given.r#type,
                        base: given.base_type,
                        schema_location: given.schema_location,
                    },
                    referred_type: given.referred_type,
                    $($own: given.$own,)*
                    ..Self::default()
                }
            }
        }

        impl From<Reference> for pb::$message {
            fn from(reference: Reference) -> Self {
                Self {
                    id: reference.id,
                    href: reference.href,
                    name: reference.name,
                    r#type: reference.class.name,
                    base_type: reference.class.base,
                    schema_location: reference.class.schema_location,
                    referred_type: reference.referred_type,
                    $($own: reference.$own,)*
                }
            }
        }
    )*};
}

reference! {
    LogicalResourceRef {}
    PartyAccountRef { description, status }
    ProductRef {}
    RelatedParty { role }
}
