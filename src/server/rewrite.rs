//! Gives statuses that tonic made by itself the code and the details that ours have.

use http::HeaderMap;
use tonic::{Code, Status};

use crate::error::Error;
use crate::rpc::status;
use crate::server::access_log::Verdict;
use crate::server::layers::Context;

/// What tonic says with INTERNAL of a body that it cannot read; a test through a real channel holds each against it.
const UNREADABLE: [&str; 5] = [
    "failed to decode Protobuf message",
    "protocol error: received message with",
    "Unexpected EOF decoding stream",
    "Missing request message",
    "Error decompressing",
];

/// Reads the status in headers or trailers, and rewrites it if it is not one of ours. `None` if there is no status:
/// then it comes with the trailers.
pub(super) fn settle(headers: &mut HeaderMap, context: &Context) -> Option<Verdict> {
    // The usual case, without any allocation.
    if headers.get(Status::GRPC_STATUS)?.as_bytes() == b"0" {
        return Some(Verdict::OK);
    }
    let found = Status::from_header_map(headers)?;
    if context.is_open() || status::is_ours(&found) {
        return Some(Verdict::of(&found));
    }
    let ours = translate(&found, context);
    for header in [
        Status::GRPC_STATUS,
        Status::GRPC_MESSAGE,
        Status::GRPC_STATUS_DETAILS,
    ] {
        headers.remove(header);
    }
    // Fails only for a text that no header can hold, and it has escaped all of those.
    if ours.add_header(headers).is_err() {
        headers.insert(Status::GRPC_STATUS, http::HeaderValue::from_static("13"));
    }
    Some(Verdict::of(&ours))
}

fn translate(found: &Status, context: &Context) -> Status {
    let text = found.message();
    match found.code() {
        Code::Internal if UNREADABLE.iter().any(|known| text.starts_with(known)) => {
            context.status(&Error::MalformedMessage(text.into()))
        }
        Code::OutOfRange if text.starts_with("Error, decoded message length too large") => {
            context.status(&Error::MessageTooLarge)
        }
        // gRPC demands this code, with `grpc-accept-encoding` beside it, which stays where it is.
        Code::Unimplemented if text.starts_with("Content is compressed with") => status::with_code(
            Code::Unimplemented,
            &Error::MalformedMessage(text.into()),
            context.rpc(),
            &context.request_id,
        ),
        Code::Unimplemented => context.status(&Error::MethodUnknown),
        code => {
            let what = format!("a status without details: {code:?}: {text}");
            context.status(&Error::Internal(what, context.claim.withdraw()))
        }
    }
}
