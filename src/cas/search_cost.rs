//! What searches cost the database, which is judged before it is asked.

use crate::cas::field::CasColumn;
use crate::cas::search::{Comparison, FieldCriterion, SearchCriterion};
use crate::limits::{
    ARRAY_CRITERION_COST, ARRAY_LIKE_BYTE_COST, ARRAY_LIKE_COST, CRITERION_COST,
    LIKE_BYTES_PER_COST,
};

impl SearchCriterion {
    /// The cost of the criterion, in the unit of [`SEARCH_COST_MAX`](crate::limits::SEARCH_COST_MAX). Criteria on one
    /// element cost what they cost one by one: each is judged for every element.
    pub(crate) fn cost(&self) -> usize {
        match self {
            Self::Field(criterion) => criterion.cost(),
            Self::AnyElement { criteria, .. } => criteria.iter().map(FieldCriterion::cost).sum(),
        }
    }
}

impl FieldCriterion {
    /// The cost of the criterion, as for [`SearchCriterion::cost`].
    pub(crate) fn cost(&self) -> usize {
        let is_of_array = matches!(self.field.column(), CasColumn::Element { .. });
        let base = if is_of_array {
            ARRAY_CRITERION_COST
        } else {
            CRITERION_COST
        };
        let Comparison::Like(pattern) = &self.comparison else {
            return base;
        };
        let bytes = pattern.longest_part_anywhere();
        let searching = match (is_of_array, pattern.contained_text()) {
            _ if bytes == 0 => 0,
            (false, _) => bytes.div_ceil(LIKE_BYTES_PER_COST),
            (true, Some(_)) => ARRAY_LIKE_COST + bytes,
            (true, None) => ARRAY_LIKE_COST + bytes * ARRAY_LIKE_BYTE_COST,
        };
        base + searching
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cas::field::CasArray;

    #[test]
    fn arrays_and_parts_that_may_stand_anywhere_cost_more() {
        for (field, operator, value, cost) in [
            ("dealId", "=", "x", 1),
            ("dealId", "in", "x,y,z", 1),
            ("comment.comments.comment", "!=", "x", 5),
            (
                "comment.comments.lastModifiedDateTime",
                ">",
                "2020-01-01T00:00:00Z",
                5,
            ),
            ("statusMessages.code", "in", "x,y", 5),
            ("dealId", "like", "beginning%", 1),
            ("dealId", "like", "%12345%", 3),
            ("dealId", "like", "%1234_6%78", 3),
            ("dealId", "is-unset", "", 1),
            ("statusMessages.code", "is-set", "", 5),
            ("comment.comments.comment", "like", "beginning%", 5),
            ("comment.comments.comment", "like", "%", 5),
            ("comment.comments.comment", "like", "%%12345%%", 15),
            ("comment.comments.comment", "like", "%12345", 25),
            ("comment.comments.comment", "like", "%12%34_67%", 25),
        ] {
            let criterion = FieldCriterion::parse(field, operator, value).expect(value);
            assert_eq!(criterion.cost(), cost, "{field} {operator} {value}");
        }
    }
    #[test]
    fn criteria_on_one_element_cost_what_they_cost_alone() {
        let array = CasArray::Comments;
        let of = |member, operator, value| {
            FieldCriterion::parse_in(array, member, operator, value).expect(value)
        };
        let criterion = SearchCriterion::AnyElement {
            array,
            criteria: vec![
                of("commentType", "=", "x"),
                of("comment", "like", "%12345%"),
            ],
        };
        assert_eq!(criterion.cost(), 5 + 15);
    }
}
