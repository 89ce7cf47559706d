//! What Earmark is held against: the same RPCs behind the same layers, written as a textbook would.
//!
//! Each call takes a connection from a pool, has it to itself, and is one interactive transaction of prepared statements;
//! reads can be had by a lone statement too ([`TextbookReads`]). [`Null`] touches no database at all: what it does is what HTTP/2, the layers and the token cost.

mod bucket;
mod bucket_statements;
mod shared;
mod store;

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use bb8::Pool;
use earmark::auth::jwks::{Jwks, JwksSource};
use earmark::auth::token::{TokenRules, TokenVerifier};
use earmark::db::connect::Connector;
use earmark::error::Error;
use earmark::proto::allocation::v1 as pb;
use earmark::proto::allocation::v1::allocation_service_server::{
    AllocationService, AllocationServiceServer,
};
use earmark::proto::bucket::v1::bucket_service_server::BucketServiceServer;
use earmark::proto::common::v1::Amount;
use earmark::rpc::call::{Answer, answer};
use earmark::server::drain::Shutdown;
use earmark::server::health::probe;
use earmark::server::{ServerParts, ServerSettings, serve};
use earmark::types::ids::EnterpriseId;
use prost_types::Timestamp;
use tokio::net::TcpListener;
use tonic::service::Routes;
use tonic::{Request, Response, Status};
use uuid::Uuid;

use self::shared::{not_measured, read_id};
pub(crate) use self::store::TextbookReads;
use self::store::{TextbookCreate, TextbookSessions};
use crate::ids;

/// Serves the textbook's handlers on a pool of so many connections.
pub(crate) async fn serve_textbook(pool_size: u32, reads: TextbookReads) -> Result<()> {
    let sessions = TextbookSessions(Connector::new(&variable("DATABASE_URL")?)?);
    let pool = Pool::builder()
        .max_size(pool_size)
        .min_idle(pool_size)
        .test_on_check_out(false)
        .build(sessions)
        .await?;
    let buckets = bucket::TextbookBuckets { pool: pool.clone() };
    let routes = Routes::new(AllocationServiceServer::new(Textbook { pool, reads }))
        .add_service(BucketServiceServer::new(buckets));
    serve_routes(routes).await
}

/// Serves calls that touch no database.
pub(crate) async fn serve_null() -> Result<()> {
    serve_routes(Routes::new(AllocationServiceServer::new(Null))).await
}

/// As `earmark serve` does, with the same settings.
async fn serve_routes(routes: Routes) -> Result<()> {
    let shutdown = Shutdown::on_signals()?;
    let keys = Jwks::open(JwksSource::parse(&variable("EARMARK_JWKS")?)).await?;
    let rules = TokenRules::new(variable("EARMARK_ISSUER")?, variable("EARMARK_AUDIENCE")?);
    let parts = ServerParts {
        routes,
        verifier: Arc::new(TokenVerifier::new(rules, keys)),
        probe: probe(async || true),
        settings: ServerSettings {
            lame_duck: Duration::ZERO,
            ..ServerSettings::default()
        },
        closing: Vec::new(),
    };
    let listener = TcpListener::bind(variable("EARMARK_LISTEN")?).await?;
    Ok(serve(listener, parts, shutdown).await?)
}

fn variable(name: &str) -> Result<String> {
    std::env::var(name).with_context(|| format!("${name}"))
}

/// AllocationService as a textbook would write it.
struct Textbook {
    pool: Pool<TextbookSessions>,
    reads: TextbookReads,
}

/// The service without a database.
struct Null;

#[tonic::async_trait]
impl AllocationService for Textbook {
    async fn create_allocation(
        &self,
        request: Request<pb::CreateAllocationRequest>,
    ) -> Result<Response<pb::CreateAllocationResponse>, Status> {
        answer(request, async |call, message| {
            let create = TextbookCreate::read(message, &call.caller.subject)?;
            call.caller
                .require_member(EnterpriseId(create.enterprise))?;
            let mut session = self.pool.get().await.map_err(|_| Error::Overloaded)?;
            Ok(Answer::fresh(session.create(&create).await?))
        })
        .await
    }

    async fn get_allocation(
        &self,
        request: Request<pb::GetAllocationRequest>,
    ) -> Result<Response<pb::GetAllocationResponse>, Status> {
        answer(request, async |call, message| {
            let enterprise = read_id("enterprise_id", &message.enterprise_id)?;
            let id = read_id("allocation_id", &message.allocation_id)?;
            call.caller.require_member(EnterpriseId(enterprise))?;
            let mut session = self.pool.get().await.map_err(|_| Error::Overloaded)?;
            let allocation = Some(session.get(self.reads, enterprise, id).await?);
            Ok(Answer::fresh(pb::GetAllocationResponse { allocation }))
        })
        .await
    }

    not_measured! {
        create_deallocation: CreateDeallocationRequest -> CreateDeallocationResponse;
        submit_allocations: SubmitAllocationsRequest -> SubmitAllocationsResponse;
        clear_allocation: ClearAllocationRequest -> ClearAllocationResponse;
        release_allocation: ReleaseAllocationRequest -> ReleaseAllocationResponse;
        cancel_allocation: CancelAllocationRequest -> CancelAllocationResponse;
        list_client_allocations: ListClientAllocationsRequest -> ListClientAllocationsResponse;
        list_partner_allocations: ListPartnerAllocationsRequest -> ListPartnerAllocationsResponse;
    }
}

#[tonic::async_trait]
impl AllocationService for Null {
    async fn get_allocation(
        &self,
        request: Request<pb::GetAllocationRequest>,
    ) -> Result<Response<pb::GetAllocationResponse>, Status> {
        answer(request, async |call, message| {
            let enterprise = read_id("enterprise_id", &message.enterprise_id)?;
            let id = read_id("allocation_id", &message.allocation_id)?;
            call.caller.require_member(EnterpriseId(enterprise))?;
            let allocation = Some(made_up(id));
            Ok(Answer::fresh(pb::GetAllocationResponse { allocation }))
        })
        .await
    }

    not_measured! {
        create_allocation: CreateAllocationRequest -> CreateAllocationResponse;
        create_deallocation: CreateDeallocationRequest -> CreateDeallocationResponse;
        submit_allocations: SubmitAllocationsRequest -> SubmitAllocationsResponse;
        clear_allocation: ClearAllocationRequest -> ClearAllocationResponse;
        release_allocation: ReleaseAllocationRequest -> ReleaseAllocationResponse;
        cancel_allocation: CancelAllocationRequest -> CancelAllocationResponse;
        list_client_allocations: ListClientAllocationsRequest -> ListClientAllocationsResponse;
        list_partner_allocations: ListPartnerAllocationsRequest -> ListPartnerAllocationsResponse;
    }
}

/// A record of the size that a seeded one has.
fn made_up(id: Uuid) -> pb::Allocation {
    let time = Some(Timestamp {
        seconds: 1_800_000_000,
        nanos: 123_000_000,
    });
    pb::Allocation {
        id: id.to_string(),
        r#type: pb::AllocationType::Allocation.into(),
        status: pb::AllocationStatus::Reserved.into(),
        amount: Some(Amount {
            currency: ids::currency(10),
            quantity: "1".into(),
        }),
        connection_id: ids::connection(1).to_string(),
        client_id: ids::connection(2).to_string(),
        partner_id: ids::connection(3).to_string(),
        client_external_id: "seed-10-5".into(),
        initiated_by: "seed".into(),
        created_at: time,
        updated_at: time,
        ..Default::default()
    }
}
