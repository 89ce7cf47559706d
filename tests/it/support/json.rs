//! Proto JSON, by the descriptors that reflection serves: what a client in another language sees.

use std::sync::LazyLock;

use earmark::proto::DESCRIPTORS;
use prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor};
use serde_json::Value;

static POOL: LazyLock<DescriptorPool> =
    LazyLock::new(|| DescriptorPool::decode(DESCRIPTORS).expect("descriptors"));

/// A message type by its full name.
pub(crate) fn descriptor(name: &str) -> MessageDescriptor {
    POOL.get_message_by_name(name).expect(name)
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
