//! Reflection, both versions.

use earmark::server::Settings;
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
async fn both_versions_list_every_service() {
    let server = Running::start().await;
    let v1 = services!(v1, server).expect("served");
    let v1alpha = services!(v1alpha, server).expect("served");
    for names in [v1, v1alpha] {
        for name in [
            "earmark.allocation.v1.AllocationService",
            "earmark.balance.v1.BalanceService",
            "earmark.network.v1.NetworkService",
            "grpc.health.v1.Health",
        ] {
            assert!(names.iter().any(|found| found == name), "{name}: {names:?}");
        }
    }
}

#[tokio::test]
async fn it_can_be_switched_off() {
    let server = Running::start_with(Settings {
        reflection: false,
        ..settings()
    })
    .await;
    let refused = services!(v1, server).expect_err("switched off");
    assert_eq!(refused.code(), Code::Unimplemented);
}
