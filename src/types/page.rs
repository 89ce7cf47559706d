//! The page of a list: its start and its size.

/// A page of a list, whose arguments are valid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<C> {
    /// The number of records that the page holds at most.
    pub size: u32,
    /// The position at which the page begins.
    pub start: Start<C>,
}

/// The position at which a page begins; `C` is the cursor of the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Start<C> {
    /// Behind the first so many records of the list.
    Skip(u64),
    /// Behind the record that the cursor describes.
    After(C),
}

impl<C> Page<C> {
    /// The number of records to skip, for OFFSET.
    pub fn skip(&self) -> i64 {
        match self.start {
            Start::Skip(records) => i64::try_from(records).unwrap_or(i64::MAX),
            Start::After(_) => 0,
        }
    }

    /// The cursor behind which the page begins; `None` if it begins at an offset.
    pub fn after(&self) -> Option<&C> {
        match &self.start {
            Start::Skip(_) => None,
            Start::After(cursor) => Some(cursor),
        }
    }

    /// The number of records to read, for LIMIT: one more than the page holds, which shows
    /// whether another page follows.
    pub fn fetch(&self) -> i64 {
        i64::from(self.size) + 1
    }
}
