//! Distributed traces: which trace a call belongs to, and the spans of those that are sampled, which go by OTLP to a
//! collector of traces.
//!
//! | span | kind | parent |
//! |---|---|---|
//! | a call, named like its method | server | the caller's span, by `traceparent` |
//! | `ledger batch`, `read by id`: work for many calls at once | internal | none; it has links to those calls |
//! | the wait of one call for such work | internal | the call; it has a link to that work |
//! | a statement | client | the call, or the work for many |
//! | a read of the issuer's keys that a call has caused | client | the call |
//!
//! Spans are made by OpenTelemetry's API rather than of those of `tracing`, so that nothing has to be undone for calls that
//! are not sampled: they have no span, and neither has what they do. Only a sampled call makes its span the current one of
//! its task, where [`current`] finds it.
//!
//! No span has a value of a request or of a row: statements are shown with their placeholders.

mod call;
mod context;
mod current;
mod export;
mod outgoing;
mod shared;
mod span;
mod tracer;

pub use call::{CallTrace, TraceIdText};
pub use context::inject;
pub use current::{current, spawn, within};
pub use export::{TraceSettings, dropped_spans, shut_down, start};
pub use outgoing::{StatementSpan, http_span, statement};
pub use shared::{WaitSpan, shared_span, wait_span};
pub use span::TraceSpan;
