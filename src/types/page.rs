//! The page of a list: its start and its size.

use serde::Serialize;
use serde::de::DeserializeOwned;
use uuid::Uuid;

/// A page of a list, whose arguments are valid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<C> {
    /// The number of records that the page holds at most.
    pub size: u32,
    /// The field of the request that sets the size.
    pub size_field: &'static str,
    /// The position at which the page begins.
    pub start: Start<C>,
}

/// The position at which a page begins; `C` is the cursor of the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Start<C> {
    /// With the list; the request gives neither a number nor a token.
    First,
    /// Behind the first so many records of the list. The request gives a page number or an offset, and the next page begins
    /// behind `size` records more: a page that ended early would lose those in between.
    Skip(u64),
    /// Behind the record that the cursor describes.
    After(C),
}

/// The position of the last record of a page, as the token of the next page holds it.
pub trait PageCursor: Serialize + DeserializeOwned {
    /// Whether a record could have these values. Anybody may make a token, and no statement may fail of what it holds.
    fn is_possible(&self) -> bool;
}

/// The position in a list that is sorted by ids.
impl PageCursor for Uuid {
    fn is_possible(&self) -> bool {
        true
    }
}

/// The position in a list that is sorted by numbers.
impl PageCursor for i64 {
    fn is_possible(&self) -> bool {
        true
    }
}

impl<C> Page<C> {
    /// A page of a list whose size is set by the field `page_size`.
    pub fn new(size: u32, start: Start<C>) -> Self {
        Self {
            size,
            size_field: "page_size",
            start,
        }
    }

    /// Whether the page was asked for by its number or offset, so that it must not end early.
    pub fn is_numbered(&self) -> bool {
        matches!(self.start, Start::Skip(_))
    }

    /// The number of records to skip, for OFFSET.
    pub fn skip(&self) -> i64 {
        match self.start {
            Start::Skip(records) => i64::try_from(records).unwrap_or(i64::MAX),
            Start::First | Start::After(_) => 0,
        }
    }

    /// The cursor behind which the page begins; `None` if it begins with the list or at an offset.
    pub fn after(&self) -> Option<&C> {
        match &self.start {
            Start::First | Start::Skip(_) => None,
            Start::After(cursor) => Some(cursor),
        }
    }

    /// The number of records to read, for LIMIT: one more than the page holds, which shows
    /// whether another page follows.
    pub fn fetch(&self) -> i64 {
        i64::from(self.size) + 1
    }
}
