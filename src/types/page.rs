//! Where a page begins and how much it holds.

/// A page of a list, after all that can be judged without the records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<C> {
    /// Records at the most.
    pub size: u32,
    /// Where it begins.
    pub start: Start<C>,
}

/// Where a page begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Start<C> {
    /// Behind this many records.
    Skip(u64),
    /// Behind the record that the cursor describes.
    After(C),
}

impl<C> Page<C> {
    /// How many records to skip.
    pub fn skip(&self) -> i64 {
        match self.start {
            Start::Skip(records) => i64::try_from(records).unwrap_or(i64::MAX),
            Start::After(_) => 0,
        }
    }

    /// The cursor to begin behind.
    pub fn after(&self) -> Option<&C> {
        match &self.start {
            Start::Skip(_) => None,
            Start::After(cursor) => Some(cursor),
        }
    }

    /// One more than the page holds: that record tells whether another page follows.
    pub fn fetch(&self) -> i64 {
        i64::from(self.size) + 1
    }
}
