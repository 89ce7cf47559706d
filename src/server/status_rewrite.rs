//! Replaces statuses that tonic made by itself by ones with our codes, reasons and details.

use http::HeaderMap;
use tonic::{Code, Status};

use crate::error::Error;
use crate::rpc::status;
use crate::server::access_log::CallOutcome;
use crate::server::call_context::CallContext;
use crate::server::request_body::ACCEPTED_ENCODINGS;

/// The header that names the compressions that the server can read. tonic knows only its own.
const GRPC_ACCEPT_ENCODING: &str = "grpc-accept-encoding";

/// How the messages start that tonic sends with INTERNAL for a body that it cannot read. The tests in
/// `tests/it/server/errors.rs` provoke each of them, and so notice when a new version of tonic words them differently.
const UNREADABLE: [&str; 5] = [
    "failed to decode Protobuf message",
    "protocol error: received message with",
    "Unexpected EOF decoding stream",
    "Missing request message",
    "Error decompressing",
];

/// Reads the status in headers or trailers, and replaces it if it is not one of ours. `None` if the headers hold no
/// status, which then follows in the trailers.
pub(super) fn finalise(headers: &mut HeaderMap, context: &CallContext) -> Option<CallOutcome> {
    // The common case, without an allocation.
    if headers.get(Status::GRPC_STATUS)?.as_bytes() == b"0" {
        return Some(CallOutcome::OK);
    }
    let found = Status::from_header_map(headers)?;
    if context.is_public() || status::is_ours(&found) {
        return Some(CallOutcome::of(&found));
    }
    let ours = translate(&found, context);
    if let Some(encodings) = headers.get_mut(GRPC_ACCEPT_ENCODING) {
        *encodings = http::HeaderValue::from_static(ACCEPTED_ENCODINGS);
    }
    for header in [
        Status::GRPC_STATUS,
        Status::GRPC_MESSAGE,
        Status::GRPC_STATUS_DETAILS,
    ] {
        headers.remove(header);
    }
    // `add_header` fails only for a message that is no header value, and ours are percent-encoded. 13 is INTERNAL.
    if ours.add_header(headers).is_err() {
        headers.insert(Status::GRPC_STATUS, http::HeaderValue::from_static("13"));
    }
    Some(CallOutcome::of(&ours))
}

fn translate(found: &Status, context: &CallContext) -> Status {
    let text = found.message();
    match found.code() {
        Code::Internal if UNREADABLE.iter().any(|known| text.starts_with(known)) => {
            context.status(&Error::MalformedMessage(text.into()))
        }
        Code::OutOfRange if text.starts_with("Error, decoded message length too large") => {
            context.status(&Error::MessageTooLarge)
        }
        // gRPC prescribes this code, together with the header `grpc-accept-encoding`, which is kept.
        Code::Unimplemented if text.starts_with("Content is compressed with") => status::with_code(
            Code::Unimplemented,
            &Error::MalformedMessage(text.into()),
            context.rpc(),
            &context.request_id,
        ),
        Code::Unimplemented => context.status(&Error::MethodUnknown),
        code => {
            let cause = format!("a status without details: {code:?}: {text}");
            context.status(&Error::Internal(cause, context.claim.withdraw()))
        }
    }
}
