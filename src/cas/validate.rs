//! The rules for texts and counts of an allocation, which its types do not express.

use crate::cas::model::{Affirmation, Comment, RecordFields, StatusMessage};
use crate::error::Violations;
use crate::limits::{CAS_ELEMENTS_MAX, ID_CHARS_MAX, NOTE_CHARS_MAX, TOKEN_SUBJECT_CHARS_MAX};
use crate::types::text::{self, TextFault};

/// How a violation names a field of an allocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FieldNaming {
    /// By its path in the request: `allocation.status_messages[3].code`.
    Proto,
    /// By its JSON pointer into the document form: `/statusMessages/3/code`.
    Document,
}

impl RecordFields {
    /// Adds a violation for every text that is too long or contains NUL, for an empty source id, and for every array
    /// that is too long. The rules are the same for a request and for the document that a patch results in.
    pub(crate) fn validate(&self, naming: FieldNaming, violations: &mut Violations) {
        let mut check = RecordCheck { naming, violations };
        check.ids(self);
        check.source_id(self.source_id.as_deref());
        check.count(
            ("status_messages", "statusMessages"),
            self.status_messages.len(),
        );
        for (index, status) in self.status_messages.iter().enumerate() {
            check.status_message(index, status);
        }
        check.count(
            ("comment.comments", "comment/comments"),
            self.comments.len(),
        );
        for (index, comment) in self.comments.iter().enumerate() {
            check.comment(index, comment);
        }
        check.affirmation(&self.affirmation);
    }
}

/// The path of a field in the proto and in the document form, the latter without the leading `/`.
type FieldPaths<T> = (T, T);

struct RecordCheck<'v> {
    naming: FieldNaming,
    violations: &'v mut Violations,
}

impl RecordCheck<'_> {
    fn ids(&mut self, fields: &RecordFields) {
        let ids = [
            ("deal_id", "dealId", &fields.deal_id),
            ("tranche_id", "trancheId", &fields.tranche_id),
            (
                "investor_account_id",
                "investorAccountId",
                &fields.investor_account_id,
            ),
            ("indication_id", "indicationId", &fields.indication_id),
            (
                "source_row_version",
                "sourceRowVersion",
                &fields.source_row_version,
            ),
            (
                "indication_group_id",
                "indicationGroupId",
                &fields.indication_group_id,
            ),
        ];
        for (proto, document, id) in ids {
            self.text((proto, document), id.as_deref(), ID_CHARS_MAX);
        }
    }

    fn source_id(&mut self, source_id: Option<&str>) {
        let paths = ("source_id", "sourceId");
        self.text(paths, source_id, ID_CHARS_MAX);
        if source_id == Some("") {
            self.violation(paths, "must not be empty: leave it unset instead");
        }
    }

    fn status_message(&mut self, index: usize, status: &StatusMessage) {
        let paths = |name| {
            (
                format!("status_messages[{index}].{name}"),
                format!("statusMessages/{index}/{name}"),
            )
        };
        self.text(paths("code"), status.code.as_deref(), ID_CHARS_MAX);
        self.text(paths("message"), status.message.as_deref(), NOTE_CHARS_MAX);
    }

    fn comment(&mut self, index: usize, comment: &Comment) {
        let paths = |proto, document| {
            (
                format!("comment.comments[{index}].{proto}"),
                format!("comment/comments/{index}/{document}"),
            )
        };
        self.text(
            paths("comment_type", "commentType"),
            comment.comment_type.as_deref(),
            ID_CHARS_MAX,
        );
        self.text(
            paths("comment", "comment"),
            comment.comment.as_deref(),
            NOTE_CHARS_MAX,
        );
        self.text(
            paths("last_modified_by", "lastModifiedBy"),
            comment.last_modified_by.as_deref(),
            TOKEN_SUBJECT_CHARS_MAX,
        );
    }

    fn affirmation(&mut self, affirmation: &Affirmation) {
        self.text(
            (
                "detail.order.affirmation.modified_by",
                "detail/order/affirmation/modifiedBy",
            ),
            affirmation.modified_by.as_deref(),
            TOKEN_SUBJECT_CHARS_MAX,
        );
    }

    fn text<T: AsRef<str>>(&mut self, paths: FieldPaths<T>, text: Option<&str>, chars_max: usize) {
        let Some(text) = text else {
            return;
        };
        match text::check(text, chars_max) {
            Ok(()) => {}
            Err(TextFault::Nul) => self.violation(paths, "must not contain the NUL character"),
            Err(_) => {
                let count = text.chars().count();
                let rule = format!("must have at most {chars_max} characters, got {count}");
                self.violation(paths, rule);
            }
        }
    }

    fn count(&mut self, paths: FieldPaths<&str>, count: usize) {
        if count > CAS_ELEMENTS_MAX {
            let rule = format!("must have at most {CAS_ELEMENTS_MAX} elements, got {count}");
            self.violation(paths, rule);
        }
    }

    fn violation<T: AsRef<str>>(
        &mut self,
        (proto, document): FieldPaths<T>,
        rule: impl Into<String>,
    ) {
        let field = match self.naming {
            FieldNaming::Proto => format!("allocation.{}", proto.as_ref()),
            FieldNaming::Document => format!("/{}", document.as_ref()),
        };
        self.violations.add(field, rule);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn violations_name_fields_as_the_caller_wrote_them() {
        let record = RecordFields {
            source_id: Some(String::new()),
            status_messages: vec![
                StatusMessage::default(),
                StatusMessage {
                    code: Some("x".repeat(129)),
                    message: Some("\0".into()),
                },
            ],
            comments: vec![Comment::default(); 201],
            ..RecordFields::default()
        };
        let invalid_fields = |naming| {
            let mut violations = Violations::default();
            record.validate(naming, &mut violations);
            let fields = violations.all().iter().map(|each| each.field.clone());
            fields.collect::<Vec<_>>()
        };
        assert_eq!(
            invalid_fields(FieldNaming::Proto),
            [
                "allocation.source_id",
                "allocation.status_messages[1].code",
                "allocation.status_messages[1].message",
                "allocation.comment.comments",
            ]
        );
        assert_eq!(
            invalid_fields(FieldNaming::Document),
            [
                "/sourceId",
                "/statusMessages/1/code",
                "/statusMessages/1/message",
                "/comment/comments",
            ]
        );
    }
}
