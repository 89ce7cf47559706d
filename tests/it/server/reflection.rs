//! Reflection, both versions.

use earmark::server::ServerSettings;
use prost::Message as _;
use prost_types::FileDescriptorProto;
use tokio_stream::StreamExt;
use tonic::Code;

use crate::server::running::{Running, settings};

macro_rules! services {
    ($version:ident, $server:expr) => {{
        use tonic_reflection::pb::$version::ServerReflectionRequest;
        use tonic_reflection::pb::$version::server_reflection_client::ServerReflectionClient;
        use tonic_reflection::pb::$version::server_reflection_request::MessageRequest;
        use tonic_reflection::pb::$version::server_reflection_response::MessageResponse;

        let request = ServerReflectionRequest {
            host: String::new(),
            message_request: Some(MessageRequest::ListServices(String::new())),
        };
        let answers = ServerReflectionClient::new($server.channel().await)
            .server_reflection_info(tokio_stream::once(request))
            .await;
        match answers {
            Err(status) => Err(status),
            Ok(answers) => {
                let answer = answers.into_inner().next().await;
                let answer = answer.expect("an answer").expect("no error");
                let Some(MessageResponse::ListServicesResponse(list)) = answer.message_response
                else {
                    panic!("{answer:?}");
                };
                let names = list.service.into_iter().map(|service| service.name);
                Ok(names.collect::<Vec<String>>())
            }
        }
    }};
}

#[tokio::test]
async fn both_reflection_versions_list_every_service() {
    let server = Running::start().await;
    let v1 = services!(v1, server).expect("served");
    let v1alpha = services!(v1alpha, server).expect("served");
    for names in [v1, v1alpha] {
        for name in [
            "earmark.allocation.v1.AllocationService",
            "earmark.balance.v1.BalanceService",
            "earmark.bucket.v1.BucketService",
            "earmark.catalogue.v1.CatalogueService",
            "earmark.network.v1.NetworkService",
            "grpc.health.v1.Health",
        ] {
            assert!(names.iter().any(|found| found == name), "{name}: {names:?}");
        }
    }
}

/// Tools that make JSON by reflection must see the names that the standard has.
#[tokio::test]
async fn reflection_keeps_the_json_names() {
    use tonic_reflection::pb::v1::ServerReflectionRequest;
    use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
    use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
    use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;

    let server = Running::start().await;
    let request = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::FileContainingSymbol(
            "earmark.bucket.v1.Bucket".into(),
        )),
    };
    let answers = ServerReflectionClient::new(server.channel().await)
        .server_reflection_info(tokio_stream::once(request))
        .await;
    let answer = answers.expect("served").into_inner().next().await;
    let answer = answer.expect("an answer").expect("no error");
    let Some(MessageResponse::FileDescriptorResponse(files)) = answer.message_response else {
        panic!("{answer:?}");
    };
    let mut found = 0;
    for file in files.file_descriptor_proto {
        let file = FileDescriptorProto::decode(&*file).expect("a file");
        for message in file.message_type {
            let is_request = message.name().ends_with("Request");
            for field in message.field {
                let standard = match field.name() {
                    "type" if !is_request && message.name != Some("BalanceAction".into()) => {
                        "@type"
                    }
                    "base_type" => "@baseType",
                    "schema_location" => "@schemaLocation",
                    "referred_type" => "@referredType",
                    _ => continue,
                };
                assert_eq!(field.json_name(), standard, "{:?}", message.name);
                found += 1;
            }
        }
    }
    // Bucket, quantity, and four kinds of references.
    assert_eq!(found, 6 * 3 + 4);
}

#[tokio::test]
async fn reflection_can_be_disabled() {
    let server = Running::start_with(ServerSettings {
        reflection: false,
        ..settings()
    })
    .await;
    let refused = services!(v1, server).expect_err("switched off");
    assert_eq!(refused.code(), Code::Unimplemented);
}
