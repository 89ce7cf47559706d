//! Receives the body of a request, which must be complete before the call takes part in anything that calls share.
//!
//! tonic's own decoder reserves the announced length of a message at once and waits for its bytes without a limit, so a
//! client could take memory, and keep a call in progress, by announcing what it never sends.

use std::io::Read;
use std::sync::Arc;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use flate2::read::GzDecoder;
use futures_util::FutureExt;
use http::HeaderMap;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use tonic::body::Body;

use crate::error::{Error, Result};
use crate::limits::{REQUEST_BYTES_UNCOUNTED, REQUEST_OVERHEAD_BYTES};
use crate::server::shares::{Share, Shares};
use crate::types::principal::Principal;

/// Bytes in front of each message: a flag, and the length of the message.
const PREFIX_BYTES: usize = 5;

/// The flag of a compressed message.
const COMPRESSED: u8 = 1;
/// The header that names the compression of a request's messages.
const GRPC_ENCODING: &str = "grpc-encoding";
/// What the server can read; sent with the refusal of another compression.
pub(super) const ACCEPTED_ENCODINGS: &str = "gzip,identity";

/// The largest message of a kind of call, and how long its body may bring nothing.
#[derive(Clone, Copy, Debug)]
pub(super) struct BodyLimits {
    pub(super) message_bytes: usize,
    pub(super) stall: Duration,
}

/// A request's body as it was received, with its share of the bytes under way.
#[derive(Debug)]
pub(super) struct ReceivedBody {
    bytes: Bytes,
    /// `None` for a small body that was complete with its first piece.
    share: Option<Share>,
}

impl ReceivedBody {
    /// The message without its prefix; `None` if the body is not exactly one message that is not compressed, which is
    /// left to tonic to answer.
    pub(super) fn message(&self) -> Option<&[u8]> {
        let (prefix, message) = self.bytes.split_at_checked(PREFIX_BYTES)?;
        let announced = announced_bytes(prefix)?;
        (prefix.first() == Some(&0) && announced == message.len()).then_some(message)
    }

    /// Replaces a message that is compressed by gzip, as the headers say, with what it holds. Any other compression is left
    /// to tonic to refuse.
    ///
    /// # Errors
    /// The message is not gzip's, or holds more than the limit, or more than the principal's share of the bytes under way.
    pub(super) fn decompress(
        &mut self,
        headers: &mut HeaderMap,
        message_bytes: usize,
        under_way: &Arc<Shares>,
        principal: Principal,
    ) -> Result<()> {
        if headers.get(GRPC_ENCODING).is_none_or(|name| name != "gzip") {
            return Ok(());
        }
        headers.remove(GRPC_ENCODING);
        if self.bytes.first() != Some(&COMPRESSED) {
            return Ok(());
        }
        let compressed = self.bytes.get(PREFIX_BYTES..).unwrap_or_default();
        let mut message = Vec::new();
        GzDecoder::new(compressed)
            .take(message_bytes as u64 + 1)
            .read_to_end(&mut message)
            .map_err(|error| Error::MalformedMessage(format!("it is not gzip: {error}")))?;
        if message.len() > message_bytes {
            return Err(Error::MessageTooLarge);
        }
        let is_counted = match &mut self.share {
            Some(share) => share.grow(message.len()),
            None if message.len() <= REQUEST_BYTES_UNCOUNTED => true,
            None => {
                let units = REQUEST_OVERHEAD_BYTES + message.len();
                self.share = under_way.take(principal, units);
                self.share.is_some()
            }
        };
        if !is_counted {
            return Err(Error::Overloaded);
        }
        let mut bytes = BytesMut::with_capacity(PREFIX_BYTES + message.len());
        bytes.put_u8(0);
        bytes.put_u32(u32::try_from(message.len()).map_err(|_| Error::MessageTooLarge)?);
        bytes.extend_from_slice(&message);
        self.bytes = bytes.freeze();
        Ok(())
    }

    /// Whether the body holds more than one message, where an RPC takes one.
    pub(super) fn has_second_message(&self) -> bool {
        announced_bytes(&self.bytes).is_some_and(|first| self.bytes.len() > PREFIX_BYTES + first)
    }

    /// The body for the handler, and the share to keep until the call has ended.
    pub(super) fn into_parts(self) -> (Body, Option<Share>) {
        (Body::new(Full::new(self.bytes)), self.share)
    }
}

/// Why a body was not received.
#[derive(Debug)]
pub(super) enum BodyFault {
    /// The call is refused with this error.
    Refused(Error),
    /// The client has closed the stream, or the connection: nobody waits for an answer.
    ClientGone,
}

impl From<Error> for BodyFault {
    fn from(error: Error) -> Self {
        Self::Refused(error)
    }
}

/// Receives a body, or as much of it as shows that it is refused. What does not come at once counts, byte by byte as it
/// arrives, among the bytes under way of the principal.
pub(super) async fn receive(
    mut body: Incoming,
    limits: BodyLimits,
    under_way: &Arc<Shares>,
    principal: Principal,
) -> Result<ReceivedBody, BodyFault> {
    let mut received = Received::default();
    loop {
        // Most bodies are there already: they need neither a timer nor a share.
        let frame = match body.frame().now_or_never() {
            Some(frame) => frame,
            None => {
                received.count(under_way, principal)?;
                match tokio::time::timeout(limits.stall, body.frame()).await {
                    Ok(frame) => frame,
                    Err(_) => return Err(Error::BodyStalled(limits.stall).into()),
                }
            }
        };
        let Some(frame) = frame else {
            break;
        };
        // Trailers of a request say nothing.
        let Ok(data) = frame.map_err(|_| BodyFault::ClientGone)?.into_data() else {
            continue;
        };
        received.add(data)?;
        if received.announced() > Some(limits.message_bytes) {
            return Err(Error::MessageTooLarge.into());
        }
        if received.length > PREFIX_BYTES + limits.message_bytes {
            // A second message: what has come of it is enough to refuse it.
            break;
        }
        if received.length > REQUEST_BYTES_UNCOUNTED {
            received.count(under_way, principal)?;
        }
    }
    Ok(received.finish())
}

/// The pieces of a body, and the share that counts them.
#[derive(Default)]
struct Received {
    /// The only piece of most bodies is used as it is.
    first: Bytes,
    rest: BytesMut,
    length: usize,
    share: Option<Share>,
}

impl Received {
    fn add(&mut self, data: Bytes) -> Result<()> {
        self.length += data.len();
        if let Some(share) = &mut self.share
            && !share.grow(data.len())
        {
            return Err(Error::Overloaded);
        }
        if self.length == data.len() {
            self.first = data;
        } else {
            let first = std::mem::take(&mut self.first);
            self.rest.extend_from_slice(&first);
            self.rest.extend_from_slice(&data);
        }
        Ok(())
    }

    /// Takes a share for what has been received, unless there is one.
    fn count(&mut self, under_way: &Arc<Shares>, principal: Principal) -> Result<()> {
        if self.share.is_none() {
            let units = REQUEST_OVERHEAD_BYTES + self.length;
            self.share = Some(under_way.take(principal, units).ok_or(Error::Overloaded)?);
            // A piece keeps all that the connection has read together with it.
            self.rest
                .extend_from_slice(&std::mem::take(&mut self.first));
        }
        Ok(())
    }

    /// The announced length of the first message, once its prefix is there.
    fn announced(&self) -> Option<usize> {
        if self.rest.is_empty() {
            announced_bytes(&self.first)
        } else {
            announced_bytes(&self.rest)
        }
    }

    fn finish(self) -> ReceivedBody {
        ReceivedBody {
            bytes: if self.rest.is_empty() {
                self.first
            } else {
                self.rest.freeze()
            },
            share: self.share,
        }
    }
}

/// The length of the message behind a prefix; `None` if the prefix is not complete.
fn announced_bytes(bytes: &[u8]) -> Option<usize> {
    let length = bytes.get(1..PREFIX_BYTES)?.try_into().ok()?;
    usize::try_from(u32::from_be_bytes(length)).ok()
}
