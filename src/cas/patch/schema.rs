//! The locations that the document form of a record can have, whatever the record holds.

use super::pointer::{JsonPointer, position};
use crate::cas::field::{CasArray, CasField, SERVER_MEMBERS};
use crate::error::{ViolatedRule, rule_with_value};

/// What an operation does with a location.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    /// Reads the value that is there.
    Read,
    /// Puts a value there, before an element that is there.
    Add,
    /// Changes or removes the value that is there.
    Change,
}

/// Refuses a location that no record can have, and the change of one that is read-only.
///
/// # Errors
/// The rule that the location violates.
pub(super) fn check(pointer: &JsonPointer, access: Access) -> Result<(), ViolatedRule> {
    let names = pointer.names();
    if let Some(name) = names.first()
        && access != Access::Read
        && SERVER_MEMBERS.contains(&name.as_str())
    {
        return Err(format!("must not be in `/{name}`, which is read-only").into());
    }
    // The path of the value so far, as that of a field: without positions.
    let mut path = String::new();
    let mut is_element = false;
    for (index, name) in names.iter().enumerate() {
        let around = || format!("`{}`", pointer.first(index));
        let is_last = index + 1 == names.len();
        if !is_element && CasArray::ALL.iter().any(|array| array.name() == path) {
            let is_end = name == "-" && is_last && access == Access::Add;
            if position(name).is_none() && !is_end {
                return Err(no_position(name, &around()));
            }
            is_element = true;
            continue;
        }
        is_element = false;
        let members = members(&path);
        if members.is_empty() {
            let rule = format!("must not go inside of {}, which has no members", around());
            return Err(rule.into());
        }
        if !members.contains(&name.as_str()) {
            let kind = match index {
                0 => "member".to_owned(),
                _ => format!("member of {}", around()),
            };
            return Err(ViolatedRule::unknown_name(&kind, name, &members));
        }
        if !path.is_empty() {
            path.push('.');
        }
        path.push_str(name);
    }
    Ok(())
}

/// The members of the object with this path, or of each element of the array with this path; the empty path is the whole
/// document. Other values have none.
fn members(path: &str) -> Vec<&'static str> {
    let mut members = Vec::new();
    for field in CasField::ALL {
        let inside = match path {
            "" => Some(field.name()),
            _ => field
                .name()
                .strip_prefix(path)
                .and_then(|rest| rest.strip_prefix('.')),
        };
        let member = inside.and_then(|inside| inside.split('.').next());
        members.extend(member.filter(|member| members.last() != Some(member)));
    }
    members
}

fn no_position(name: &str, array: &str) -> ViolatedRule {
    let rule = format!(
        "must have a position in {array}: digits without leading zeros, or at the end `-` where a value is added"
    );
    rule_with_value(&rule, name).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(pointer: &str, access: Access) -> Result<(), ViolatedRule> {
        check(&JsonPointer::parse(pointer).expect("a pointer"), access)
    }

    #[test]
    fn every_field_is_a_location() {
        for field in CasField::ALL {
            let mut pointer = format!("/{}", field.name().replace('.', "/"));
            for (array, element) in [
                ("/statusMessages/", "/statusMessages/0/"),
                (
                    "/comment/comments/",
                    "/comment/comments/18446744073709551616/",
                ),
            ] {
                pointer = pointer.replace(array, element);
            }
            assert_eq!(checked(&pointer, Access::Read), Ok(()), "{pointer}");
            let is_read_only = SERVER_MEMBERS.contains(&field.name());
            assert_eq!(checked(&pointer, Access::Add).is_err(), is_read_only);
            assert_eq!(checked(&pointer, Access::Change).is_err(), is_read_only);
            assert!(checked(&format!("{pointer}/x"), Access::Read).is_err());
            assert!(checked(&format!("{pointer}/0"), Access::Read).is_err());
        }
    }

    #[test]
    fn objects_arrays_and_elements_are_locations() {
        for pointer in [
            "",
            "/comment",
            "/comment/comments",
            "/comment/comments/12",
            "/statusMessages",
            "/allocationValue/overrideAllocation/data",
            "/detail/order/affirmation",
        ] {
            for access in [Access::Read, Access::Add, Access::Change] {
                assert_eq!(checked(pointer, access), Ok(()), "{pointer}");
            }
        }
        assert_eq!(checked("/statusMessages/-", Access::Add), Ok(()));
    }

    #[test]
    fn what_no_record_can_have_is_refused() {
        for (pointer, access) in [
            ("/", Access::Read),
            ("/dealID", Access::Read),
            ("/deal_id", Access::Add),
            ("/comments", Access::Change),
            ("/comment/0", Access::Read),
            ("/statusMessages/code", Access::Read),
            ("/statusMessages/01", Access::Read),
            ("/statusMessages/-1", Access::Add),
            ("/statusMessages/-", Access::Read),
            ("/statusMessages/-", Access::Change),
            ("/statusMessages/-/code", Access::Add),
            ("/statusMessages/0/0", Access::Read),
            ("/dealId/0", Access::Read),
            ("/allocationValue/data/amount/x", Access::Add),
            ("/allocationValue.data.amount", Access::Read),
        ] {
            assert!(checked(pointer, access).is_err(), "{pointer} {access:?}");
        }
        let rule = ViolatedRule::unknown_name("member", "dealID", &members(""));
        assert_eq!(checked("/dealID", Access::Read), Err(rule));
        let members = ["type", "data", "overrideAllocation"];
        let rule = ViolatedRule::unknown_name("member of `/allocationValue`", "Data", &members);
        assert_eq!(checked("/allocationValue/Data", Access::Add), Err(rule));
    }
}
