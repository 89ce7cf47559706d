//! gRPC reflection, v1 and v1alpha (older tools support only v1alpha), from the descriptors that are
//! part of the binary.

use tonic::service::Routes;
use tonic_reflection::server::{Builder, Error};

use crate::limits::REFLECTION_REQUEST_BYTES_MAX;
use crate::proto;
use crate::server::health;

/// Adds both versions to the routes.
pub(super) fn add_to(routes: Routes) -> Result<Routes, Error> {
    let health = health::descriptors()?;
    let builder = || {
        Builder::configure()
            .register_encoded_file_descriptor_set(proto::DESCRIPTORS)
            .register_encoded_file_descriptor_set(&health)
            // No proto of ours imports google.rpc's error details, but clients need them to show a status's details.
            .register_encoded_file_descriptor_set(tonic_types::pb::FILE_DESCRIPTOR_SET)
    };
    Ok(routes
        .add_service(
            builder()
                .build_v1()?
                .max_decoding_message_size(REFLECTION_REQUEST_BYTES_MAX),
        )
        .add_service(
            builder()
                .build_v1alpha()?
                .max_decoding_message_size(REFLECTION_REQUEST_BYTES_MAX),
        ))
}
