//! The body of a response: deadline, drain, panics, status rewriting and counting of bytes
//! after the response's headers have been sent.

use std::pin::Pin;
use std::task::{Context as TaskContext, Poll};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body as HttpBody, Frame};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tonic::body::Body;
use tonic::{Code, Status};

use crate::error::Error;
use crate::limits::ANSWER_PIECE_BYTES;
use crate::server::access_log::{AccessLogLine, CallOutcome};
use crate::server::admission::HeldByCall;
use crate::server::call_context::CallContext;
use crate::server::call_task;
use crate::server::panic::{self, Panicked};
use crate::server::shares::Share;
use crate::server::status_rewrite;

type EndSignal = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Passes a response's messages on and finalises its trailers, so that streams are subject to the deadline, to panic
/// handling and to status rewriting as unary responses are.
pub(super) struct ResponseBody {
    /// `None` once the trailers have been returned.
    inner: Option<Body>,
    context: CallContext,
    log_line: AccessLogLine,
    span: tracing::Span,
    deadline: Option<Instant>,
    /// Ends a call without a limit of the server when the drain begins, because the drain would wait for it.
    closing: Option<CancellationToken>,
    /// Deadline and drain, which end the stream while the handler is pending. Created when the handler is pending for
    /// the first time: unary calls never are, and save the two allocations.
    interrupts: Option<[EndSignal; 2]>,
    /// What of a message has not been passed to HTTP/2 yet. It goes piece by piece, as the client takes it, so that it
    /// stays counted until then.
    unsent: Bytes,
    /// The share of the bytes of answers that `unsent` takes.
    unsent_share: Option<Share>,
    held: HeldByCall,
}

impl ResponseBody {
    pub(super) fn new(
        inner: Body,
        context: CallContext,
        log_line: AccessLogLine,
        deadline: Option<Instant>,
        closing: Option<CancellationToken>,
        held: HeldByCall,
    ) -> Self {
        // From here on hyper waits for the client, and polls this body only when there is room for more of it.
        call_task::end_at(deadline);
        Self {
            inner: Some(inner),
            context,
            log_line,
            span: tracing::Span::current(),
            deadline,
            closing,
            interrupts: None,
            unsent: Bytes::new(),
            unsent_share: None,
            held,
        }
    }

    /// Ends the response with this status; whatever the handler would still have sent is dropped.
    fn end(&mut self, status: &Status) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        self.inner = None;
        self.log_line.set_outcome(CallOutcome::of(status));
        let mut trailers = HeaderMap::new();
        let trailers = status.add_header(&mut trailers).map(|()| trailers);
        Poll::Ready(Some(trailers.map(Frame::trailers)))
    }

    /// Begins to send a message. Ends the response if what must wait for the client would be more than the principal's
    /// share of the bytes under way.
    fn begin_message(&mut self, message: Bytes) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let waiting = message.len().saturating_sub(ANSWER_PIECE_BYTES);
        self.unsent = message;
        if waiting > 0
            && let Some((shares, principal)) = &self.held.answer
        {
            self.unsent_share = shares.take(*principal, waiting);
            if self.unsent_share.is_none() {
                self.unsent = Bytes::new();
                // The handler has ended, and a write may have been applied by it.
                let error = Error::AnswerOverloaded(self.context.claim.withdraw());
                return self.end(&self.context.status(&error));
            }
        }
        self.next_piece()
    }

    fn next_piece(&mut self) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let piece = self
            .unsent
            .split_to(self.unsent.len().min(ANSWER_PIECE_BYTES));
        if self.unsent.is_empty() {
            self.unsent_share = None;
        }
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn poll_interrupts(&mut self, task: &mut TaskContext<'_>) -> Poll<Status> {
        let (deadline, closing) = (self.deadline, self.closing.clone());
        let [deadline_passed, draining] = self.interrupts.get_or_insert_with(|| {
            let deadline_passed: EndSignal = match deadline {
                Some(deadline) => Box::pin(tokio::time::sleep_until(deadline)),
                None => Box::pin(std::future::pending()),
            };
            let draining: EndSignal = match closing {
                Some(closing) => Box::pin(closing.cancelled_owned()),
                None => Box::pin(std::future::pending()),
            };
            [deadline_passed, draining]
        });
        if deadline_passed.as_mut().poll(task).is_ready() {
            return Poll::Ready(if self.context.is_public() {
                Status::new(Code::Ok, "")
            } else {
                self.context.deadline_passed()
            });
        }
        if draining.as_mut().poll(task).is_ready() {
            // A health watch is complete at any point; any other stream was cut short.
            return Poll::Ready(if self.context.is_public() {
                Status::new(Code::Ok, "")
            } else {
                self.context.status(&Error::ShuttingDown)
            });
        }
        Poll::Pending
    }
}

impl HttpBody for ResponseBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        task: &mut TaskContext<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = &mut *self;
        if !this.unsent.is_empty() {
            return this.next_piece();
        }
        let Some(inner) = &mut this.inner else {
            return Poll::Ready(None);
        };
        let polled = {
            let _entered = this.span.enter();
            panic::catch_sync(|| Pin::new(inner).poll_frame(task))
        };
        match polled {
            Err(Panicked(message)) => {
                let error = Error::Internal(message, this.context.claim.withdraw());
                let status = this.context.status(&error);
                this.end(&status)
            }
            Ok(Poll::Pending) => match this.poll_interrupts(task) {
                Poll::Ready(status) => this.end(&status),
                Poll::Pending => Poll::Pending,
            },
            Ok(Poll::Ready(Some(Ok(frame)))) => match frame.into_trailers() {
                Ok(mut trailers) => {
                    this.inner = None;
                    if let Some(outcome) = status_rewrite::finalise(&mut trailers, &this.context) {
                        this.log_line.set_outcome(outcome);
                    }
                    Poll::Ready(Some(Ok(Frame::trailers(trailers))))
                }
                Err(frame) => match frame.into_data() {
                    Ok(message) => this.begin_message(message),
                    Err(other) => Poll::Ready(Some(Ok(other))),
                },
            },
            Ok(Poll::Ready(end)) => {
                this.inner = None;
                Poll::Ready(end)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::sync::Arc;
    use std::time::Duration;

    use futures_util::stream::{self, Stream, StreamExt};
    use http_body_util::{BodyExt, StreamBody};
    use tonic_types::StatusExt;

    use super::*;
    use crate::ledger::claim::Claim;
    use crate::server::authorise::Route;
    use crate::server::peer::Peer;
    use crate::server::shares::Shares;
    use crate::trace::CallTrace;
    use crate::types::principal::Principal;

    type Frames = Pin<Box<dyn Stream<Item = Result<Frame<Bytes>, Status>> + Send>>;

    const RPC: &str = "/earmark.balance.v1.BalanceService/AdjustBalance";
    const VERIFY: &str = "/earmark.balance.v1.BalanceService/VerifyLedger";
    const HEALTH: &str = "/grpc.health.v1.Health/Watch";

    /// Sends these frames as a response of this RPC; returns the number of messages and the status that arrive.
    async fn sent(
        path: &str,
        frames: Frames,
        deadline: Option<Duration>,
        closing: Option<CancellationToken>,
    ) -> (usize, Status) {
        let (claim, held) = (Claim::new(), HeldByCall::default());
        sent_with(path, frames, deadline, closing, claim, held).await
    }

    /// The same for a call with this claim, which holds this.
    async fn sent_with(
        path: &str,
        frames: Frames,
        deadline: Option<Duration>,
        closing: Option<CancellationToken>,
        claim: Claim,
        held: HeldByCall,
    ) -> (usize, Status) {
        let route = Route::of(path);
        let request_id: Arc<str> = "an-id".into();
        let address = SocketAddr::from(([127, 0, 0, 1], 1));
        let trace = CallTrace::begin(&HeaderMap::new(), None, address);
        let peer = Peer::new(address, None);
        let body = ResponseBody::new(
            Body::new(StreamBody::new(frames)),
            CallContext {
                route,
                request_id: Arc::clone(&request_id),
                claim,
            },
            AccessLogLine::new(path, route, request_id, &peer, trace),
            deadline.map(|deadline| Instant::now() + deadline),
            closing,
            held,
        );
        let mut body = std::pin::pin!(body);
        let mut messages = 0;
        while let Some(frame) = body.frame().await {
            match frame.expect("a frame").into_trailers() {
                Ok(trailers) => {
                    let status = Status::from_header_map(&trailers).expect("a status");
                    assert!(body.frame().await.is_none(), "nothing follows trailers");
                    return (messages, status);
                }
                Err(_) => messages += 1,
            }
        }
        panic!("no trailers");
    }

    fn messages(number: usize) -> impl Stream<Item = Result<Frame<Bytes>, Status>> {
        stream::iter((0..number).map(|_| Ok(Frame::data(Bytes::from_static(b"message")))))
    }

    fn messages_then_silence(number: usize) -> Frames {
        Box::pin(messages(number).chain(stream::pending()))
    }

    fn trailers(status: &Status) -> impl Stream<Item = Result<Frame<Bytes>, Status>> + use<> {
        let mut headers = HeaderMap::new();
        status.add_header(&mut headers).expect("headers");
        stream::iter([Ok(Frame::trailers(headers))])
    }

    fn reason(status: &Status) -> String {
        let info = status.get_details_error_info();
        info.map(|info| info.reason).unwrap_or_default()
    }

    #[tokio::test]
    async fn a_stream_passes_whole() {
        let frames = messages(3).chain(trailers(&Status::new(Code::Ok, "")));
        let (messages, status) = sent(RPC, Box::pin(frames), None, None).await;
        assert_eq!((messages, status.code()), (3, Code::Ok));
    }

    #[tokio::test]
    async fn an_answer_without_room_does_not_say_that_a_write_was_not_applied() {
        for (is_taken, outcome) in [(true, "unknown"), (false, "not_applied")] {
            let claim = Claim::new();
            if is_taken {
                assert!(claim.take());
            }
            let principal = Principal::of_peer([127, 0, 0, 1].into());
            let mut held = HeldByCall::default();
            held.answer = Some((Shares::with_principal_max(1, 1), principal));
            let large = Bytes::from(vec![0; 2 * ANSWER_PIECE_BYTES]);
            let frames = Box::pin(stream::iter([Ok(Frame::data(large))]));
            let (messages, status) = sent_with(RPC, frames, None, None, claim, held).await;
            assert_eq!((messages, reason(&status).as_str()), (0, "OVERLOADED"));
            let info = status.get_details_error_info().expect("info");
            assert_eq!(info.metadata["outcome"], outcome);
        }
    }

    #[tokio::test]
    async fn a_stream_ends_at_its_deadline() {
        let frames = messages(2).chain(stream::pending());
        let deadline = Some(Duration::from_millis(50));
        let (messages, status) = sent(RPC, Box::pin(frames), deadline, None).await;
        assert_eq!((messages, status.code()), (2, Code::DeadlineExceeded));
        assert_eq!(reason(&status), "DEADLINE");
    }

    #[tokio::test]
    async fn a_panic_in_a_stream_is_an_internal_error() {
        let panics = stream::once(async { panic!("as asked") });
        let frames = messages(2).chain(panics);
        let (messages, status) = sent(RPC, Box::pin(frames), None, None).await;
        assert_eq!((messages, status.code()), (2, Code::Internal));
        assert_eq!(reason(&status), "INTERNAL");
    }

    #[tokio::test]
    async fn a_bare_status_at_the_end_is_rewritten() {
        let bare = Status::unknown("secret");
        let frames = messages(1).chain(trailers(&bare));
        let (_, status) = sent(RPC, Box::pin(frames), None, None).await;
        assert_eq!(reason(&status), "INTERNAL");
        assert!(!status.message().contains("secret"));

        let frames = messages(1).chain(trailers(&bare));
        let (_, status) = sent(HEALTH, Box::pin(frames), None, None).await;
        assert_eq!(status.code(), Code::Unknown, "health is exempt");
    }

    #[tokio::test]
    async fn what_has_no_deadline_ends_when_the_server_closes() {
        let closing = CancellationToken::new();
        closing.cancel();
        let frames = messages_then_silence(2);
        let (messages, status) = sent(HEALTH, frames, None, Some(closing)).await;
        assert_eq!((messages, status.code()), (2, Code::Ok), "after the last");

        let closing = CancellationToken::new();
        closing.cancel();
        let frames = messages_then_silence(2);
        let (messages, status) = sent(VERIFY, frames, None, Some(closing)).await;
        assert_eq!((messages, status.code()), (2, Code::Unavailable));
        assert_eq!(reason(&status), "SHUTTING_DOWN");
    }
}
