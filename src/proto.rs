//! The generated code and the descriptor set, nothing else.

#![expect(
    clippy::all,
    clippy::allow_attributes,
    unused_qualifications,
    reason = "generated code"
)]

/// What reflection serves: every file of `proto/` and what they import.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

pub mod common {
    pub mod v1 {
        tonic::include_proto!("earmark.common.v1");
    }
}

pub mod allocation {
    pub mod v1 {
        tonic::include_proto!("earmark.allocation.v1");
    }
}

pub mod balance {
    pub mod v1 {
        tonic::include_proto!("earmark.balance.v1");
    }
}

pub mod bucket {
    pub mod v1 {
        tonic::include_proto!("earmark.bucket.v1");
    }
}

pub mod cas {
    pub mod v1 {
        tonic::include_proto!("earmark.cas.v1");
    }
}

pub mod catalogue {
    pub mod v1 {
        tonic::include_proto!("earmark.catalogue.v1");
    }
}

pub mod network {
    pub mod v1 {
        tonic::include_proto!("earmark.network.v1");
    }
}
