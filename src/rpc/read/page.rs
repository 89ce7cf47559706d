//! Reads the page arguments of lists: each source document has its own paging, and every list also has page tokens.

use crate::limits::{PAGE_OFFSET_MAX, PAGE_SIZE_DEFAULT, PAGE_SIZE_MAX};
use crate::rpc::page_token::{self, Binding};
use crate::rpc::read::Reader;
use crate::types::page::{Page, PageCursor, Start};

/// What a request says about its page.
struct PageFields<'r> {
    /// The name of the field of the size.
    size_field: &'static str,
    /// The number of records.
    size: i32,
    /// The size that 0 stands for, and the greatest one.
    sizes: (u32, u32),
    /// The name of the field of the number or offset, and its value if it is set.
    number: Option<(&'static str, i32)>,
    /// The page token; empty if it is not set.
    token: &'r str,
}

impl Reader {
    /// The page of a list that has no numbers: a page size, of at most [`PAGE_SIZE_MAX`], and a page token.
    pub(crate) fn page<C: PageCursor>(
        &mut self,
        size: i32,
        token: &str,
        binding: Binding,
    ) -> Page<C> {
        let sizes = (PAGE_SIZE_DEFAULT, PAGE_SIZE_MAX);
        self.sized_page(size, sizes, token, binding)
    }

    /// The page of a list of at most `size_max` records, which is returned whole unless the caller sets a page size.
    pub(crate) fn page_of_whole<C: PageCursor>(
        &mut self,
        size: i32,
        size_max: u32,
        token: &str,
        binding: Binding,
    ) -> Page<C> {
        self.sized_page(size, (size_max, size_max), token, binding)
    }

    /// The page of a list that takes a page size with this default and maximum, and a page token.
    pub(crate) fn sized_page<C: PageCursor>(
        &mut self,
        size: i32,
        sizes: (u32, u32),
        token: &str,
        binding: Binding,
    ) -> Page<C> {
        let fields = PageFields {
            size_field: "page_size",
            size,
            sizes,
            number: None,
            token,
        };
        let size = self.page_size(&fields);
        self.page_at(size, None, &fields, binding)
    }

    /// The page of a list that takes a page number from 0, a page size and a page token. A number or token that does
    /// not fit is a violation; a size above [`PAGE_SIZE_MAX`] is cut to it unless there is a number.
    pub(crate) fn page_from_0<C: PageCursor>(
        &mut self,
        number: Option<i32>,
        size: i32,
        token: &str,
        binding: Binding,
    ) -> Page<C> {
        const FIELD: &str = "page_number";
        let fields = PageFields {
            size_field: "page_size",
            size,
            sizes: (PAGE_SIZE_DEFAULT, PAGE_SIZE_MAX),
            number: number.map(|number| (FIELD, number)),
            token,
        };
        let size = self.page_size(&fields);
        let skip = number.map(|number| {
            self.at_least(FIELD, 0, number);
            u64::from(number.max(0).unsigned_abs()) * u64::from(size)
        });
        if let Some(skip) = skip.filter(|skip| *skip > PAGE_OFFSET_MAX) {
            let rule = format!(
                "times page_size must be at most {PAGE_OFFSET_MAX}, got {skip}: use page_token"
            );
            self.violation(FIELD, rule);
        }
        self.page_at(size, skip, &fields, binding)
    }

    /// The page of a list that takes a page number from 1, a page size with this default and maximum, and a page token.
    pub(crate) fn page_from_1<C: PageCursor>(
        &mut self,
        number: Option<i32>,
        size: i32,
        sizes: (u32, u32),
        token: &str,
        binding: Binding,
    ) -> Page<C> {
        const FIELD: &str = "page";
        let fields = PageFields {
            size_field: "page_size",
            size,
            sizes,
            number: number.map(|number| (FIELD, number)),
            token,
        };
        if let Some(number) = number {
            self.at_least(FIELD, 1, number);
        }
        let size = self.page_size(&fields);
        let skip = number.map(|number| {
            let before = number.max(1).unsigned_abs() - 1;
            u64::from(before) * u64::from(size)
        });
        if let Some(skip) = skip.filter(|skip| *skip > PAGE_OFFSET_MAX) {
            let rule = format!(
                "must skip at most {PAGE_OFFSET_MAX} records, skips {skip}: use page_token"
            );
            self.violation(FIELD, rule);
        }
        self.page_at(size, skip, &fields, binding)
    }

    /// The page of a list that takes a limit of at most `limit_max` records, an offset in records, and a page token.
    pub(crate) fn offset_page<C: PageCursor>(
        &mut self,
        limit: i32,
        limit_max: u32,
        offset: Option<i32>,
        token: &str,
        binding: Binding,
    ) -> Page<C> {
        const FIELD: &str = "offset";
        let fields = PageFields {
            size_field: "limit",
            size: limit,
            sizes: (PAGE_SIZE_DEFAULT, limit_max),
            number: offset.map(|offset| (FIELD, offset)),
            token,
        };
        let size = self.page_size(&fields);
        let skip = offset.map(|offset| {
            self.at_least(FIELD, 0, offset);
            u64::from(offset.max(0).unsigned_abs())
        });
        if let Some(skip) = skip.filter(|skip| *skip > PAGE_OFFSET_MAX) {
            let rule = format!("must be at most {PAGE_OFFSET_MAX}, got {skip}: use page_token");
            self.violation(FIELD, rule);
        }
        self.page_at(size, skip, &fields, binding)
    }

    /// The number of records of a page: the default for 0, and at most the maximum. A size above it is a violation together
    /// with a number, since cutting it would change which records the numbers stand for.
    fn page_size(&mut self, fields: &PageFields<'_>) -> u32 {
        self.at_least(fields.size_field, 0, fields.size);
        let (default, max) = fields.sizes;
        let size = fields.size.max(0).unsigned_abs();
        if size > max
            && let Some((number_field, _)) = fields.number
        {
            let rule = format!("must be at most {max} together with {number_field}, got {size}");
            self.violation(fields.size_field, rule);
        }
        match size {
            0 => default,
            size => size.min(max),
        }
    }

    fn at_least(&mut self, field: &str, least: i32, number: i32) {
        if number >= least {
            return;
        }
        let rule = match least {
            0 => format!("must not be negative, got {number}"),
            least => format!("must be at least {least}, got {number}"),
        };
        self.violation(field, rule);
    }

    fn page_at<C: PageCursor>(
        &mut self,
        size: u32,
        skip: Option<u64>,
        fields: &PageFields<'_>,
        binding: Binding,
    ) -> Page<C> {
        if let Some((number_field, _)) = fields.number
            && !fields.token.is_empty()
        {
            let rule = format!("must not be set together with {number_field}");
            self.violation("page_token", rule);
        }
        let start = match (skip, fields.token) {
            (Some(skip), "") => Start::Skip(skip),
            (None, "") => Start::First,
            (_, token) => match page_token::read(binding, token) {
                Some(cursor) => Start::After(cursor),
                None => {
                    self.page_token_is_invalid();
                    Start::First
                }
            },
        };
        Page {
            size,
            size_field: fields.size_field,
            start,
        }
    }
}
