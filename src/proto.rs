//! The code that `build.rs` generates from `proto/`, one module per package, and the descriptor set.

#![expect(
    clippy::all,
    clippy::allow_attributes,
    unused_qualifications,
    reason = "generated code"
)]
#![allow(
    clippy::too_many_lines,
    missing_docs,
    rustdoc::broken_intra_doc_links,
    rustdoc::invalid_rust_codeblocks,
    reason = "generated code: prost and tonic add items without docs, and the comments of protos are no rustdoc"
)]

/// An encoded `google.protobuf.FileDescriptorSet` with every file of `proto/` and their imports, for reflection.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

/// Types that several services share: amounts, pages and error reasons.
pub mod common {
    /// Version 1 of the package `earmark.common`.
    pub mod v1 {
        tonic::include_proto!("earmark.common.v1");
    }
}

/// Allocations between a client and a trading partner (off-exchange settlement).
pub mod allocation {
    /// Version 1 of the package `earmark.allocation`.
    pub mod v1 {
        tonic::include_proto!("earmark.allocation.v1");
    }
}

/// Balances, their entries, adjustments of custody, and verification of the ledger.
pub mod balance {
    /// Version 1 of the package `earmark.balance`.
    pub mod v1 {
        tonic::include_proto!("earmark.balance.v1");
    }
}

/// Prepaid buckets (TMF654) and the actions on their balances.
pub mod bucket {
    /// Version 1 of the package `earmark.bucket`.
    pub mod v1 {
        tonic::include_proto!("earmark.bucket.v1");
    }
}

/// Allocations of book building (CAS, Cross Asset Services): which investor account gets how much of a deal.
pub mod cas {
    /// Version 1 of the package `earmark.cas`.
    pub mod v1 {
        tonic::include_proto!("earmark.cas.v1");
    }
}

/// Catalogues of allocations that companies offer, in several languages.
pub mod catalogue {
    /// Version 1 of the package `earmark.catalogue`.
    pub mod v1 {
        tonic::include_proto!("earmark.catalogue.v1");
    }
}

/// The network: enterprises, clients, partners and the connections between them.
pub mod network {
    /// Version 1 of the package `earmark.network`.
    pub mod v1 {
        tonic::include_proto!("earmark.network.v1");
    }
}
