//! Decides which calls are handled: none that lacks its token, its scope or its complete request, and none beyond the
//! share of its principal.

use std::sync::Arc;
use std::time::Duration;

use http::Request;
use http::header::AUTHORIZATION;
use hyper::body::Incoming;
use tonic::body::Body;

use crate::auth::caller::Caller;
use crate::auth::scope::{Rpc, Scope};
use crate::auth::token::TokenVerifier;
use crate::error::{Error, Result};
use crate::limits::{
    HEALTH_REQUEST_BYTES_MAX, PRINCIPAL_PART_OF_BYTES, REFLECTIONS_MAX, REQUEST_BYTES_MAX,
    WATCHES_MAX,
};
use crate::metrics::overload::SharedBound;
use crate::rpc::call::Call;
use crate::rpc::request_scan::{NamedOwner, RequestShapes};
use crate::server::access_log::AccessLogLine;
use crate::server::authorise::{self, PublicCall};
use crate::server::call_context::CallContext;
use crate::server::peer::{CountedStream, Peer};
use crate::server::request_body::{self, BodyFault, BodyLimits};
use crate::server::settings::ServerSettings;
use crate::server::shares::{Share, Shares};
use crate::types::ids::OwnerId;
use crate::types::principal::Principal;

/// What all calls of a server share, and the verifier of their tokens.
pub(super) struct Admission {
    verifier: Arc<TokenVerifier>,
    shapes: RequestShapes,
    /// Calls in progress, from their complete request on.
    calls: Arc<Shares>,
    /// How long a request's body may bring nothing.
    body_stall_max: Duration,
    /// Bytes of requests that are being received or handled.
    request_bytes: Arc<Shares>,
    /// Bytes of answers that are being sent.
    answer_bytes: Arc<Shares>,
    watches: Arc<Shares>,
    reflections: Arc<Shares>,
}

/// What a call holds while it is in progress, until the last byte of its answer is sent.
#[derive(Debug, Default)]
pub(super) struct HeldByCall {
    /// Its share of the calls in progress, of the health watches, or of the reflection calls.
    _call: Option<Share>,
    _stream: Option<CountedStream>,
    /// Where the bytes of its answer are counted, and in whose name; `None` if they are few.
    pub(super) answer: Option<(Arc<Shares>, Principal)>,
}

/// A call that may be handled.
pub(super) struct AdmittedCall {
    pub(super) request: Request<Body>,
    pub(super) held: HeldByCall,
    /// The share of the request's bytes, to be kept until the handler has returned.
    pub(super) request_bytes: Option<Share>,
}

/// Why a call ended before its handler returned.
#[derive(Debug)]
pub(super) enum CallFault {
    /// It was refused, or has failed.
    Failed(Error),
    /// More than one message came, where the method takes one. gRPC prescribes the code UNIMPLEMENTED.
    SecondMessage,
    /// The client has closed the stream before its request was complete.
    ClientGone,
}

impl From<Error> for CallFault {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

impl From<BodyFault> for CallFault {
    fn from(fault: BodyFault) -> Self {
        match fault {
            BodyFault::Refused(error) => Self::Failed(error),
            BodyFault::ClientGone => Self::ClientGone,
        }
    }
}

impl Admission {
    /// Makes the shares of the settings' sizes.
    ///
    /// # Errors
    /// The descriptors in the binary cannot be decoded, which a test excludes.
    pub(super) fn new(
        verifier: Arc<TokenVerifier>,
        settings: &ServerSettings,
    ) -> Result<Self, prost::DecodeError> {
        let bytes = |all: usize| Shares::with_principal_max(all, all / PRINCIPAL_PART_OF_BYTES);
        Ok(Self {
            verifier,
            shapes: RequestShapes::load()?,
            calls: Shares::new(settings.calls_max),
            body_stall_max: settings.body_stall_max,
            request_bytes: bytes(settings.request_bytes_max),
            answer_bytes: bytes(settings.answer_bytes_max),
            watches: Shares::new(WATCHES_MAX),
            reflections: Shares::new(REFLECTIONS_MAX),
        })
    }

    /// The same, which metrics show.
    pub(super) fn counted(self) -> Self {
        Self {
            calls: self.calls.counted_as(SharedBound::Calls),
            request_bytes: self.request_bytes.counted_as(SharedBound::RequestBytes),
            answer_bytes: self.answer_bytes.counted_as(SharedBound::AnswerBytes),
            watches: self.watches.counted_as(SharedBound::Watches),
            reflections: self.reflections.counted_as(SharedBound::Reflections),
            ..self
        }
    }

    /// Admits a call of an RPC that needs a token: verifies it and its scope, receives the request, and takes a share in
    /// the name of its principal.
    pub(super) async fn admit_rpc(
        &self,
        request: Request<Incoming>,
        rpc: &'static Rpc,
        peer: &Peer,
        context: &CallContext,
        log_line: &mut AccessLogLine,
    ) -> Result<AdmittedCall, CallFault> {
        let caller = authorise::authenticate(&self.verifier, request.headers()).await?;
        log_line.set_caller(Arc::clone(&caller));
        authorise::require_scope(&caller, rpc)?;
        let (mut head, body) = request.into_parts();
        let claimed = claimed_principal(&caller, rpc).unwrap_or_else(|| peer.principal());
        log_line.set_principal(claimed);
        let limits = self.body_limits(REQUEST_BYTES_MAX);
        let bytes = &self.request_bytes;
        let mut body = request_body::receive(body, limits, bytes, claimed).await?;
        body.decompress(&mut head.headers, limits.message_bytes, bytes, claimed)?;
        if body.has_second_message() {
            return Err(CallFault::SecondMessage);
        }
        let owner = match body.message() {
            Some(message) => self.shapes.scan(rpc.path, message)?.owner,
            None => None,
        };
        let principal = principal_of(&caller, owner).unwrap_or(claimed);
        log_line.set_principal(principal);
        let share = self.calls.take(principal, 1).ok_or(Error::Overloaded)?;
        // The handler does not need the token, and without it cannot write it to a log.
        head.headers.remove(AUTHORIZATION);
        head.extensions.insert(Call {
            rpc,
            caller,
            principal,
            request_id: Arc::clone(&context.request_id),
            claim: context.claim.clone(),
        });
        let (body, request_bytes) = body.into_parts();
        Ok(AdmittedCall {
            request: Request::from_parts(head, body),
            held: HeldByCall {
                _call: Some(share),
                _stream: None,
                answer: Some((Arc::clone(&self.answer_bytes), principal)),
            },
            request_bytes,
        })
    }

    /// Admits a call of health or reflection. A health check is refused only if its request does not arrive: whoever
    /// watches over the process must hear from it however busy it is.
    pub(super) async fn admit_public(
        &self,
        request: Request<Incoming>,
        call: PublicCall,
        peer: &Peer,
    ) -> Result<AdmittedCall, CallFault> {
        let principal = peer.principal();
        if call == PublicCall::Reflection {
            // Its requests come one after the other, as long as the call lasts.
            let stream = peer.begin_reflection()?;
            let share = self.reflections.take(principal, 1);
            return Ok(AdmittedCall {
                request: request.map(Body::new),
                held: HeldByCall {
                    _call: Some(share.ok_or(Error::Overloaded)?),
                    _stream: Some(stream),
                    answer: Some((Arc::clone(&self.answer_bytes), principal)),
                },
                request_bytes: None,
            });
        }
        let limits = self.body_limits(HEALTH_REQUEST_BYTES_MAX);
        let (mut head, body) = request.into_parts();
        let bytes = &self.request_bytes;
        let mut body = request_body::receive(body, limits, bytes, principal).await?;
        body.decompress(&mut head.headers, limits.message_bytes, bytes, principal)?;
        let mut held = HeldByCall::default();
        if call == PublicCall::Watch {
            held._stream = Some(peer.begin_watch()?);
            let share = self.watches.take(principal, 1);
            held._call = Some(share.ok_or(Error::Overloaded)?);
        }
        let (body, request_bytes) = body.into_parts();
        Ok(AdmittedCall {
            request: Request::from_parts(head, body),
            held,
            request_bytes,
        })
    }

    fn body_limits(&self, message_bytes: usize) -> BodyLimits {
        BodyLimits {
            message_bytes,
            stall: self.body_stall_max,
        }
    }
}

/// Whose call it is as far as the token alone says so; `None` if that depends on the request.
fn claimed_principal(caller: &Caller, rpc: &Rpc) -> Option<Principal> {
    // All RPCs of a service have scopes of the same family.
    match rpc.scopes.first()? {
        Scope::BucketsRead | Scope::BucketsWrite => {
            caller.require_tenant().ok().map(Principal::Tenant)
        }
        Scope::AllocationsRead | Scope::AllocationsWrite => {
            let firm = caller.require_firm().ok()?;
            Some(Principal::Firm(OwnerId::of_firm(firm)))
        }
        Scope::CatalogueRead | Scope::CatalogueWrite => match caller.companies.as_deref() {
            Ok([only]) => Some(Principal::Company(*only)),
            _ => None,
        },
        Scope::NetworkRead | Scope::NetworkWrite | Scope::NetworkAdmin | Scope::CustodyWrite => {
            match caller.enterprises.as_deref() {
                Ok([only]) => Some(Principal::Enterprise(*only)),
                _ => caller.has(Scope::NetworkAdmin).then_some(Principal::Admin),
            }
        }
    }
}

/// Whose call it is if the request names one of the bearer's enterprises or companies.
fn principal_of(caller: &Caller, owner: Option<NamedOwner>) -> Option<Principal> {
    match owner? {
        NamedOwner::Enterprise(enterprise) => caller
            .require_member(enterprise)
            .is_ok()
            .then_some(Principal::Enterprise(enterprise)),
        NamedOwner::Company(company) => caller
            .require_company(company)
            .is_ok()
            .then_some(Principal::Company(company)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::scope;
    use crate::types::ids::{CompanyId, EnterpriseId, FirmId, TenantId};
    use uuid::Uuid;

    const CREATE: &str = "/earmark.allocation.v1.AllocationService/CreateAllocation";

    fn enterprise(number: u128) -> EnterpriseId {
        EnterpriseId(Uuid::from_u128(number))
    }

    fn caller(enterprises: &[EnterpriseId], companies: &[CompanyId]) -> Caller {
        Caller {
            enterprises: Ok(enterprises.to_vec()),
            firm: Ok(FirmId("7".into())),
            tenant: Ok(TenantId(Uuid::from_u128(9))),
            companies: Ok(companies.to_vec()),
            ..Caller::with_scopes("somebody", &[])
        }
    }

    fn claimed(path: &str, caller: &Caller) -> Option<Principal> {
        claimed_principal(caller, scope::rpc(path).expect("an RPC"))
    }

    #[test]
    fn the_principal_is_what_the_request_names_and_the_bearer_belongs_to() {
        let both = caller(&[enterprise(1), enterprise(2)], &[CompanyId(5)]);
        let of = |owner| principal_of(&both, owner);
        assert_eq!(
            of(Some(NamedOwner::Enterprise(enterprise(2)))),
            Some(Principal::Enterprise(enterprise(2)))
        );
        assert_eq!(of(Some(NamedOwner::Enterprise(enterprise(3)))), None);
        assert_eq!(
            of(Some(NamedOwner::Company(CompanyId(5)))),
            Some(Principal::Company(CompanyId(5)))
        );
        assert_eq!(of(Some(NamedOwner::Company(CompanyId(6)))), None);
        assert_eq!(of(None), None);
    }

    #[test]
    fn a_token_alone_names_the_principal_where_it_has_only_one() {
        let one = caller(&[enterprise(1)], &[CompanyId(5)]);
        let two = caller(
            &[enterprise(1), enterprise(2)],
            &[CompanyId(5), CompanyId(6)],
        );
        let catalogue = "/earmark.catalogue.v1.CatalogueService/GetAllocation";
        assert_eq!(
            claimed(CREATE, &one),
            Some(Principal::Enterprise(enterprise(1)))
        );
        assert_eq!(claimed(CREATE, &two), None);
        assert_eq!(
            claimed(catalogue, &one),
            Some(Principal::Company(CompanyId(5)))
        );
        assert_eq!(claimed(catalogue, &two), None);
        let bucket = "/earmark.bucket.v1.BucketService/GetBucket";
        assert_eq!(
            claimed(bucket, &two),
            Some(Principal::Tenant(TenantId(Uuid::from_u128(9))))
        );
        let cas = "/earmark.cas.v1.CasAllocationService/GetAllocation";
        let firm = OwnerId::of_firm(&FirmId("7".into()));
        assert_eq!(claimed(cas, &two), Some(Principal::Firm(firm)));
        let admin = Caller {
            scopes: vec![Scope::NetworkAdmin],
            enterprises: Caller::with_scopes("somebody", &[]).enterprises,
            ..two
        };
        let create = "/earmark.network.v1.NetworkService/CreateEnterprise";
        assert_eq!(claimed(create, &admin), Some(Principal::Admin));
    }
}
