//! Reads the page arguments of lists: each source document has its own paging, and every list also has page tokens.

use serde::de::DeserializeOwned;

use crate::limits::{PAGE_OFFSET_MAX, PAGE_SIZE_DEFAULT, PAGE_SIZE_MAX};
use crate::rpc::page_token::{self, Binding};
use crate::rpc::read::Reader;
use crate::types::page::{Page, Start};

impl Reader {
    /// The page of a list that takes a page number from 0, a page size and a page token. A number or token that does
    /// not fit is a violation; a size above [`PAGE_SIZE_MAX`] is cut to it on the first page only.
    pub(crate) fn page<C: DeserializeOwned>(
        &mut self,
        number: i32,
        size: i32,
        token: &str,
        binding: Binding,
    ) -> Page<C> {
        let sizes = (PAGE_SIZE_DEFAULT, PAGE_SIZE_MAX);
        let conflict = (number > 0).then_some("together with page_number");
        let size = self.page_size("page_size", size, sizes, conflict);
        if number < 0 {
            self.negative("page_number", number);
        }
        let skip = u64::from(number.max(0).unsigned_abs()) * u64::from(size);
        if skip > PAGE_OFFSET_MAX {
            self.violation(
                "page_number",
                format!(
                    "times page_size must be at most {PAGE_OFFSET_MAX}, got {skip}: use page_token"
                ),
            );
        }
        self.page_at(size, skip, token, conflict, binding)
    }

    /// The page of a list that takes a page number from 1, a page size with this default and maximum, and a page token.
    pub(crate) fn numbered_page<C: DeserializeOwned>(
        &mut self,
        number: i32,
        size: i32,
        sizes: (u32, u32),
        token: &str,
        binding: Binding,
    ) -> Page<C> {
        let before = number.max(1).unsigned_abs() - 1;
        let conflict = (before > 0).then_some("together with a page above 1");
        if number < 0 {
            self.violation(
                "page",
                format!("must be at least 1, or 0 for the first page, got {number}"),
            );
        }
        let size = self.page_size("page_size", size, sizes, conflict);
        let skip = u64::from(before) * u64::from(size);
        if skip > PAGE_OFFSET_MAX {
            self.violation(
                "page",
                format!(
                    "must skip at most {PAGE_OFFSET_MAX} records, skips {skip}: use page_token"
                ),
            );
        }
        self.page_at(size, skip, token, conflict, binding)
    }

    /// The page of a list that takes a limit of at most `limit_max` records, an offset in records, and a page token.
    pub(crate) fn offset_page<C: DeserializeOwned>(
        &mut self,
        limit: i32,
        limit_max: u32,
        offset: i32,
        token: &str,
        binding: Binding,
    ) -> Page<C> {
        let sizes = (PAGE_SIZE_DEFAULT, limit_max);
        let conflict = (offset > 0).then_some("together with offset");
        let size = self.page_size("limit", limit, sizes, conflict);
        if offset < 0 {
            self.negative("offset", offset);
        }
        let skip = u64::from(offset.max(0).unsigned_abs());
        if skip > PAGE_OFFSET_MAX {
            self.violation(
                "offset",
                format!("must be at most {PAGE_OFFSET_MAX}, got {skip}: use page_token"),
            );
        }
        self.page_at(size, skip, token, conflict, binding)
    }

    /// The page of a list of at most `size_max` records, which is returned whole unless the caller sets a page size.
    pub(crate) fn page_of_whole<C: DeserializeOwned>(
        &mut self,
        size: i32,
        size_max: u32,
        token: &str,
        binding: Binding,
    ) -> Page<C> {
        self.token_page(size, (size_max, size_max), token, binding)
    }

    /// The page of a list that takes a page size with this default and maximum, and a page token.
    pub(crate) fn token_page<C: DeserializeOwned>(
        &mut self,
        size: i32,
        sizes: (u32, u32),
        token: &str,
        binding: Binding,
    ) -> Page<C> {
        let size = self.page_size("page_size", size, sizes, None);
        self.page_at(size, 0, token, None, binding)
    }

    /// The number of records of a page: the default for 0, and at most the maximum. `conflict` is set if the page is
    /// not the first; a size above the maximum is a violation there, since cutting it would skip records.
    fn page_size(
        &mut self,
        field: &str,
        size: i32,
        (default, max): (u32, u32),
        conflict: Option<&str>,
    ) -> u32 {
        if size < 0 {
            self.negative(field, size);
        }
        let size = size.max(0).unsigned_abs();
        if size > max
            && let Some(conflict) = conflict
        {
            let rule = format!("must be at most {max} {conflict}, got {size}");
            self.violation(field, rule);
        }
        match size {
            0 => default,
            size => size.min(max),
        }
    }

    fn negative(&mut self, field: &str, number: i32) {
        self.violation(field, format!("must not be negative, got {number}"));
    }

    fn page_at<C: DeserializeOwned>(
        &mut self,
        size: u32,
        skip: u64,
        token: &str,
        conflict: Option<&str>,
        binding: Binding,
    ) -> Page<C> {
        if token.is_empty() {
            let start = Start::Skip(skip);
            return Page { size, start };
        }
        if let Some(conflict) = conflict {
            self.violation("page_token", format!("must not be set {conflict}"));
        }
        let start = match page_token::decode(binding, token) {
            Some(cursor) => Start::After(cursor),
            None => {
                self.page_token_is_invalid();
                Start::Skip(0)
            }
        };
        Page { size, start }
    }
}
