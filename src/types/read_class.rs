//! Classes of reads, by how long they may take.

/// What a read asks for. Each class has connections of its own and a time limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadClass {
    /// Records or balances that the request names by their keys.
    ByKey,
    /// A page of a list, by filters that an index serves.
    List,
    /// A search by criteria that the caller combines freely, which may have to read all records.
    Search,
}
