//! What the layers and the response's body share about one call: its route, its request id and the claim on its write.

use std::sync::Arc;
use std::time::Duration;

use tonic::Status;

use crate::auth::scope::Rpc;
use crate::error::Error;
use crate::ledger::claim::Claim;
use crate::limits::{REFLECTION_MAX, WATCH_MAX};
use crate::rpc::status;
use crate::server::authorise::{PublicCall, Route};

/// Identifies one call and builds its error statuses. It lives until the last byte of the response.
#[derive(Clone, Debug)]
pub(super) struct CallContext {
    pub(super) route: Route,
    pub(super) request_id: Arc<str>,
    pub(super) claim: Claim,
}

impl CallContext {
    /// The row of the scope table; `None` for health, reflection and unknown paths.
    pub(super) fn rpc(&self) -> Option<&'static Rpc> {
        self.route.rpc()
    }

    /// Whether this is health or reflection: no token, and statuses are passed on unchanged.
    pub(super) fn is_public(&self) -> bool {
        matches!(self.route, Route::Public(_))
    }

    /// Whether the call may go on for longer than others, so that the drain ends it rather than waits for it.
    pub(super) fn is_long(&self) -> bool {
        self.is_public() || self.rpc().is_some_and(|rpc| rpc.long)
    }

    /// How long the call may take; `None` if only the client's own deadline ends it. `call_max` is the limit of all calls
    /// but the long ones.
    pub(super) fn time_limit(&self, call_max: Duration) -> Option<Duration> {
        match self.route {
            Route::Public(PublicCall::Watch) => Some(WATCH_MAX),
            Route::Public(PublicCall::Reflection) => Some(REFLECTION_MAX),
            Route::Rpc(rpc) if rpc.long => None,
            Route::Rpc(_) | Route::Public(PublicCall::Check) | Route::Unknown => Some(call_max),
        }
    }

    /// The status that the caller receives for an error; an internal error's text goes to the log instead.
    pub(super) fn status(&self, error: &Error) -> Status {
        status::from_error(error, self.rpc(), &self.request_id)
    }

    /// The status for a passed deadline. Withdraws the call's write unless the writer has taken it already, and the
    /// status says which of the two happened.
    pub(super) fn deadline_passed(&self) -> Status {
        self.status(&Error::Deadline(self.claim.withdraw()))
    }
}
