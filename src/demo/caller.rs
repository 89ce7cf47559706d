//! The caller that loads the demo data.

use std::sync::Arc;

use tonic::service::Interceptor;
use tonic::{Request, Status};

use crate::auth::caller::Caller;
use crate::auth::dev_key::ISSUER;
use crate::auth::scope::{self, Scope};
use crate::demo::ids::{COMPANY, FIRM, TENANT};
use crate::ledger::claim::Claim;
use crate::rpc::call::Call;
use crate::types::ids::{EnterpriseId, FirmId};
use crate::types::principal::Principal;

/// Adds to each request what the server's layers would add after they have verified a token.
#[derive(Clone)]
pub(super) struct DemoCaller(Arc<Caller>);

impl DemoCaller {
    /// A caller with every scope, and these enterprises.
    pub(super) fn of(enterprises: &[EnterpriseId]) -> Self {
        Self(Arc::new(Caller {
            issuer: ISSUER.into(),
            enterprises: Ok(enterprises.to_vec()),
            firm: Ok(FirmId(FIRM.into())),
            tenant: Ok(TENANT),
            companies: Ok(vec![COMPANY]),
            ..Caller::with_scopes("demo", &Scope::ALL)
        }))
    }
}

impl Interceptor for DemoCaller {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        // The generated client adds the name of the method to the request's extensions.
        let method = request.extensions().get::<tonic::GrpcMethod<'_>>();
        let path = method.map(|method| format!("/{}/{}", method.service(), method.method()));
        let rpc = path.and_then(|path| scope::rpc(&path)).ok_or_else(|| {
            Status::internal("the demo data calls a method that has no row in the scope table")
        })?;
        request.extensions_mut().insert(Call {
            rpc,
            caller: Arc::clone(&self.0),
            principal: Principal::Server,
            request_id: "demo".into(),
            claim: Claim::new(),
        });
        Ok(request)
    }
}
