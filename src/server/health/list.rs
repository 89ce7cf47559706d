//! The method `List` of the health protocol, which tonic-health does not have yet.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::future::{Ready, ready};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Request, Response};
use prost::{DecodeError, Message};
use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{
    DescriptorProto, FieldDescriptorProto, FileDescriptorProto, FileDescriptorSet, MessageOptions,
    MethodDescriptorProto,
};
use tonic::Status;
use tonic::body::Body;
use tonic::server::{Grpc, NamedService, UnaryService};
use tonic_health::pb::HealthCheckResponse;
use tonic_health::pb::health_server::{Health, HealthServer};
use tonic_prost::ProstCodec;
use tower::Service;

/// The path of the method.
const LIST: &str = "/grpc.health.v1.Health/List";

/// The request of `List`.
#[derive(Clone, PartialEq, Message)]
struct HealthListRequest {}

/// The status of each service, by its name.
#[derive(Clone, PartialEq, Message)]
struct HealthListResponse {
    #[prost(btree_map = "string, message", tag = "1")]
    statuses: BTreeMap<String, HealthCheckResponse>,
}

/// The whole health service: `List` of ours, and the methods that tonic-health has.
#[derive(Clone)]
pub(crate) struct HealthService<H> {
    others: HealthServer<H>,
    all: AllStatuses,
}

/// Returns the status of every name.
#[derive(Clone)]
pub(super) struct AllStatuses(
    pub(super) Arc<dyn Fn() -> BTreeMap<String, HealthCheckResponse> + Send + Sync>,
);

impl<H> HealthService<H> {
    pub(super) fn new(others: HealthServer<H>, all: AllStatuses) -> Self {
        Self { others, all }
    }
}

impl<H> NamedService for HealthService<H> {
    const NAME: &'static str = "grpc.health.v1.Health";
}

impl<H: Health> Service<Request<Body>> for HealthService<H> {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        if request.uri().path() != LIST {
            return self.others.call(request);
        }
        let list = ListMethod(self.all.clone());
        Box::pin(async move {
            let mut grpc = Grpc::new(ProstCodec::default());
            Ok(grpc.unary(list, request).await)
        })
    }
}

struct ListMethod(AllStatuses);

impl UnaryService<HealthListRequest> for ListMethod {
    type Response = HealthListResponse;
    type Future = Ready<Result<tonic::Response<HealthListResponse>, Status>>;

    fn call(&mut self, _: tonic::Request<HealthListRequest>) -> Self::Future {
        let statuses = (self.0.0)();
        ready(Ok(tonic::Response::new(HealthListResponse { statuses })))
    }
}

/// tonic-health's descriptors with the method added, for reflection.
pub(crate) fn descriptors() -> Result<Vec<u8>, DecodeError> {
    let mut files = FileDescriptorSet::decode(tonic_health::pb::FILE_DESCRIPTOR_SET)?;
    for file in &mut files.file {
        add_list(file);
    }
    Ok(files.encode_to_vec())
}

fn add_list(file: &mut FileDescriptorProto) {
    for service in &mut file.service {
        service.method.push(MethodDescriptorProto {
            name: Some("List".into()),
            input_type: Some(".grpc.health.v1.HealthListRequest".into()),
            output_type: Some(".grpc.health.v1.HealthListResponse".into()),
            ..MethodDescriptorProto::default()
        });
    }
    let field = |name: &str, number, kind: Type, type_name: Option<&str>, label: Label| {
        FieldDescriptorProto {
            name: Some(name.into()),
            number: Some(number),
            r#type: Some(kind.into()),
            type_name: type_name.map(Into::into),
            label: Some(label.into()),
            json_name: Some(name.into()),
            ..FieldDescriptorProto::default()
        }
    };
    let message = |name: &str| DescriptorProto {
        name: Some(name.into()),
        ..DescriptorProto::default()
    };
    // A map is a list of messages with a key and a value.
    let entry = DescriptorProto {
        field: vec![
            field("key", 1, Type::String, None, Label::Optional),
            field(
                "value",
                2,
                Type::Message,
                Some(".grpc.health.v1.HealthCheckResponse"),
                Label::Optional,
            ),
        ],
        options: Some(MessageOptions {
            map_entry: Some(true),
            ..MessageOptions::default()
        }),
        ..message("StatusesEntry")
    };
    let statuses = field(
        "statuses",
        1,
        Type::Message,
        Some(".grpc.health.v1.HealthListResponse.StatusesEntry"),
        Label::Repeated,
    );
    file.message_type.push(message("HealthListRequest"));
    file.message_type.push(DescriptorProto {
        field: vec![statuses],
        nested_type: vec![entry],
        ..message("HealthListResponse")
    });
}
