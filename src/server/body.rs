//! An answer on its way out: what happens after its headers have been sent.

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
use crate::server::access_log::{Entry, Verdict};
use crate::server::layers::Context;
use crate::server::panic::{self, Panicked};
use crate::server::rewrite;
use crate::server::shed::Place;

type Waiting = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Carries an answer's messages, and sees to its trailers: deadline, panic and rewriting hold for streams too.
pub(super) struct AnswerBody {
    /// `None` once the trailers are out.
    inner: Option<Body>,
    context: Context,
    entry: Entry,
    span: tracing::Span,
    deadline: Option<Instant>,
    /// Ends what has no deadline, so that nobody who watches holds up the drain.
    closing: Option<CancellationToken>,
    /// What ends the stream from outside; made when the handler first keeps us waiting, which unary calls never do.
    interrupts: Option<[Waiting; 2]>,
    _place: Option<Place>,
}

impl AnswerBody {
    pub(super) fn new(
        inner: Body,
        context: Context,
        entry: Entry,
        deadline: Option<Instant>,
        closing: Option<CancellationToken>,
        place: Option<Place>,
    ) -> Self {
        Self {
            inner: Some(inner),
            context,
            entry,
            span: tracing::Span::current(),
            deadline,
            closing,
            interrupts: None,
            _place: place,
        }
    }

    /// Ends the answer with this status in the place of what the handler would have sent.
    fn end(&mut self, status: &Status) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        self.inner = None;
        self.entry.set_verdict(Verdict::of(status));
        let mut trailers = HeaderMap::new();
        let trailers = status.add_header(&mut trailers).map(|()| trailers);
        Poll::Ready(Some(trailers.map(Frame::trailers)))
    }

    fn poll_interrupts(&mut self, task: &mut TaskContext<'_>) -> Poll<Status> {
        let (deadline, closing) = (self.deadline, self.closing.clone());
        let [late, closed] = self.interrupts.get_or_insert_with(|| {
            let late: Waiting = match deadline {
                Some(deadline) => Box::pin(tokio::time::sleep_until(deadline)),
                None => Box::pin(std::future::pending()),
            };
            let closed: Waiting = match closing {
                Some(closing) => Box::pin(closing.cancelled_owned()),
                None => Box::pin(std::future::pending()),
            };
            [late, closed]
        });
        if late.as_mut().poll(task).is_ready() {
            return Poll::Ready(self.context.deadline_passed());
        }
        if closed.as_mut().poll(task).is_ready() {
            return Poll::Ready(Status::new(Code::Ok, ""));
        }
        Poll::Pending
    }
}

impl HttpBody for AnswerBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        task: &mut TaskContext<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = &mut *self;
        let Some(inner) = &mut this.inner else {
            return Poll::Ready(None);
        };
        let polled = {
            let _entered = this.span.enter();
            panic::catch_step(|| Pin::new(inner).poll_frame(task))
        };
        match polled {
            Err(Panicked(what)) => {
                let error = Error::Internal(what, this.context.claim.withdraw());
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
                    if let Some(verdict) = rewrite::settle(&mut trailers, &this.context) {
                        this.entry.set_verdict(verdict);
                    }
                    Poll::Ready(Some(Ok(Frame::trailers(trailers))))
                }
                Err(data) => Poll::Ready(Some(Ok(data))),
            },
            Ok(Poll::Ready(end)) => {
                this.inner = None;
                Poll::Ready(end)
            }
        }
    }
}
