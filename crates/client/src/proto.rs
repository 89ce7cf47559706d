//! The code that is generated from the protos: messages and clients, a module for each package.

#![expect(clippy::all, unused_qualifications, reason = "generated code")]

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
