//! Proto JSON, by the descriptors that reflection serves: what a client in another language sees.

use std::sync::LazyLock;

use earmark::proto::DESCRIPTORS;
use prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor, MethodDescriptor};
use serde_json::Value;

static POOL: LazyLock<DescriptorPool> =
    LazyLock::new(|| DescriptorPool::decode(DESCRIPTORS).expect("descriptors"));

/// A message type by its full name.
pub(crate) fn descriptor(name: &str) -> MessageDescriptor {
    POOL.get_message_by_name(name).expect(name)
}

/// A method by the path of its requests.
pub(crate) fn method(path: &str) -> MethodDescriptor {
    let (service, name) = path[1..].split_once('/').expect("a path");
    let service = POOL.get_service_by_name(service).expect(path);
    let mut methods = service.methods();
    methods.find(|method| method.name() == name).expect(path)
}

/// A message of this type from proto JSON, as bytes.
pub(crate) fn message_bytes(of: &MessageDescriptor, json: Value) -> Vec<u8> {
    let message = DynamicMessage::deserialize(of.clone(), json).expect("of this type");
    message.encode_to_vec()
}

/// A message as proto JSON.
pub(crate) fn to_json(name: &str, message: &impl Message) -> Value {
    let bytes = message.encode_to_vec();
    let message = DynamicMessage::decode(descriptor(name), &*bytes).expect("of this type");
    serde_json::to_value(message).expect("JSON")
}

/// A message from proto JSON.
pub(crate) fn from_json<M: Message + Default>(name: &str, json: Value) -> M {
    let message = DynamicMessage::deserialize(descriptor(name), json).expect("of this type");
    message.transcode_to().expect("of this type")
}
