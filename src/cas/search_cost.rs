//! What searches cost the database, which is judged before it is asked.

use crate::cas::field::CasColumn;
use crate::cas::search::{Comparison, SearchCriterion};
use crate::limits::{
    ARRAY_CRITERION_COST, ARRAY_LIKE_BYTE_COST, ARRAY_LIKE_COST, CRITERION_COST,
    LIKE_BYTES_PER_COST,
};

impl SearchCriterion {
    /// The cost of the criterion, in the unit of [`SEARCH_COST_MAX`](crate::limits::SEARCH_COST_MAX).
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
            ("comment.comments.comment", "like", "beginning%", 5),
            ("comment.comments.comment", "like", "%", 5),
            ("comment.comments.comment", "like", "%%12345%%", 15),
            ("comment.comments.comment", "like", "%12345", 25),
            ("comment.comments.comment", "like", "%12%34_67%", 25),
        ] {
            let criterion = SearchCriterion::parse(field, operator, value).expect(value);
            assert_eq!(criterion.cost(), cost, "{field} {operator} {value}");
        }
    }
}
