//! Reflection, v1 and v1alpha (older tools know only that), from the descriptors that the binary carries.

use tonic::service::Routes;
use tonic_reflection::server::{Builder, Error};

use crate::proto;

/// Adds both versions to the routes.
pub(super) fn add_to(routes: Routes) -> Result<Routes, Error> {
    let builder = || {
        Builder::configure()
            .register_encoded_file_descriptor_set(proto::DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
            // So that tools can show the details of errors, which none of our files names.
            .register_encoded_file_descriptor_set(tonic_types::pb::FILE_DESCRIPTOR_SET)
    };
    Ok(routes
        .add_service(builder().build_v1()?)
        .add_service(builder().build_v1alpha()?))
}
