//! Which part of a list is asked for: each source has a paging of its own, all have tokens besides.

use serde::de::DeserializeOwned;

use crate::limits::{PAGE_OFFSET_MAX, PAGE_SIZE_DEFAULT, PAGE_SIZE_MAX};
use crate::rpc::page_token::{self, Binding};
use crate::rpc::read::Reader;
use crate::types::page::{Page, Start};

impl Reader {
    /// The page of a list that takes page numbers and tokens.
    pub fn page<C: DeserializeOwned>(
        &mut self,
        number: i32,
        size: i32,
        token: &str,
        binding: Binding,
    ) -> Page<C> {
        let sizes = (PAGE_SIZE_DEFAULT, PAGE_SIZE_MAX);
        let behind = (number > 0).then_some("together with page_number");
        let size = self.page_size("page_size", size, sizes, behind);
        if number < 0 {
            self.violation("page_number", "must not be negative");
        }
        let skip = u64::from(number.max(0).unsigned_abs()) * u64::from(size);
        if skip > PAGE_OFFSET_MAX {
            self.violation(
                "page_number",
                format!("times page_size must be at most {PAGE_OFFSET_MAX}: use page_token"),
            );
        }
        self.page_at(size, skip, token, behind, binding)
    }

    /// The page of a list that takes page numbers from 1, sizes with this default and maximum, and tokens.
    pub fn numbered_page<C: DeserializeOwned>(
        &mut self,
        number: i32,
        size: i32,
        sizes: (u32, u32),
        token: &str,
        binding: Binding,
    ) -> Page<C> {
        let before = number.max(1).unsigned_abs() - 1;
        let behind = (before > 0).then_some("together with a page above 1");
        if number < 0 {
            self.violation("page", "must not be negative: pages count from 1");
        }
        let size = self.page_size("page_size", size, sizes, behind);
        let skip = u64::from(before) * u64::from(size);
        if skip > PAGE_OFFSET_MAX {
            self.violation(
                "page",
                format!("skips more than {PAGE_OFFSET_MAX} records: use page_token"),
            );
        }
        self.page_at(size, skip, token, behind, binding)
    }

    /// The page of a list that takes a limit of at most `limit_max`, an offset, and tokens.
    pub fn offset_page<C: DeserializeOwned>(
        &mut self,
        limit: i32,
        limit_max: u32,
        offset: i32,
        token: &str,
        binding: Binding,
    ) -> Page<C> {
        let sizes = (PAGE_SIZE_DEFAULT, limit_max);
        let behind = (offset > 0).then_some("together with offset");
        let size = self.page_size("limit", limit, sizes, behind);
        if offset < 0 {
            self.violation("offset", "must not be negative");
        }
        let skip = u64::from(offset.max(0).unsigned_abs());
        if skip > PAGE_OFFSET_MAX {
            self.violation(
                "offset",
                format!("must be at most {PAGE_OFFSET_MAX}: use page_token"),
            );
        }
        self.page_at(size, skip, token, behind, binding)
    }

    /// The page of a list that is given whole, which has at most `size_max` records, unless pages are asked for.
    pub fn page_of_whole<C: DeserializeOwned>(
        &mut self,
        size: i32,
        size_max: u32,
        token: &str,
        binding: Binding,
    ) -> Page<C> {
        let size = self.page_size("page_size", size, (size_max, size_max), None);
        self.page_at(size, 0, token, None, binding)
    }

    /// The default for 0, and at most the maximum; `behind` says that the page is not the first, where a cut is refused.
    fn page_size(
        &mut self,
        field: &str,
        size: i32,
        (default, max): (u32, u32),
        behind: Option<&str>,
    ) -> u32 {
        if size < 0 {
            self.violation(field, "must not be negative");
        }
        let size = size.max(0).unsigned_abs();
        if size > max
            && let Some(behind) = behind
        {
            let rule = format!("must be at most {max} {behind}: a cut would skip records");
            self.violation(field, rule);
        }
        match size {
            0 => default,
            size => size.min(max),
        }
    }

    fn page_at<C: DeserializeOwned>(
        &mut self,
        size: u32,
        skip: u64,
        token: &str,
        behind: Option<&str>,
        binding: Binding,
    ) -> Page<C> {
        if token.is_empty() {
            let start = Start::Skip(skip);
            return Page { size, start };
        }
        if let Some(behind) = behind {
            self.violation("page_token", format!("must not be set {behind}"));
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
