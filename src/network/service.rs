//! The RPCs of `NetworkService`: each converts its request, authorises the caller, calls the store
//! and converts the answer.

use tonic::{Request, Response, Status};

use crate::db::pools::Pools;
use crate::error::Error;
use crate::network::model::NetworkViewer;
use crate::network::{convert, store};
use crate::proto::network::v1 as pb;
use crate::proto::network::v1::network_service_server::NetworkService as Rpcs;
use crate::rpc::call::{Answer, answer};
use crate::rpc::paging;

/// Manages enterprises, their clients and partners, and the connections between them.
#[derive(Clone, Debug)]
pub struct NetworkService {
    pools: Pools,
}

impl NetworkService {
    /// A service whose records are in the database of these pools.
    pub fn new(pools: Pools) -> Self {
        Self { pools }
    }
}

type Answered<T> = Result<Response<T>, Status>;

// Writes need no authorisation here: their scope, `network-admin`, allows them on every enterprise.
#[tonic::async_trait]
impl Rpcs for NetworkService {
    async fn create_enterprise(
        &self,
        request: Request<pb::CreateEnterpriseRequest>,
    ) -> Answered<pb::CreateEnterpriseResponse> {
        answer(request, async |call, message| {
            let write = convert::create_enterprise(&call, message)?;
            let pool = self.pools.records.on_behalf_of(call.principal);
            let written = store::carry_out(&pool, &call.claim, write).await?;
            let enterprise = Some(written.record.into());
            let message = pb::CreateEnterpriseResponse { enterprise };
            Ok(Answer::new(message, written.replayed))
        })
        .await
    }

    async fn get_enterprise(
        &self,
        request: Request<pb::GetEnterpriseRequest>,
    ) -> Answered<pb::GetEnterpriseResponse> {
        answer(request, async |call, message| {
            let id = convert::id("enterprise_id", &message.enterprise_id)?;
            call.caller.require_member_or_admin(id)?;
            let pool = self.pools.by_key.on_behalf_of(call.principal);
            let found = store::enterprise(&pool, id).await?;
            let enterprise = Some(found.ok_or(Error::EnterpriseNotFound(id))?.into());
            Ok(Answer::fresh(pb::GetEnterpriseResponse { enterprise }))
        })
        .await
    }

    async fn update_enterprise(
        &self,
        request: Request<pb::UpdateEnterpriseRequest>,
    ) -> Answered<pb::UpdateEnterpriseResponse> {
        answer(request, async |call, message| {
            let write = convert::update_enterprise(&call, message)?;
            let pool = self.pools.records.on_behalf_of(call.principal);
            let written = store::carry_out(&pool, &call.claim, write).await?;
            let enterprise = Some(written.record.into());
            let message = pb::UpdateEnterpriseResponse { enterprise };
            Ok(Answer::new(message, written.replayed))
        })
        .await
    }

    async fn list_enterprises(
        &self,
        request: Request<pb::ListEnterprisesRequest>,
    ) -> Answered<pb::ListEnterprisesResponse> {
        answer(request, async |call, message| {
            let (page, binding) = convert::list_enterprises(&call, &message)?;
            let viewer = NetworkViewer::of(&call.caller)?;
            let pool = self.pools.list.on_behalf_of(call.principal);
            let rows = store::enterprises(&pool, &viewer, &page).await?;
            let (enterprises, next_page_token) =
                paging::finish(rows, &page, binding, 0, |row| row.id, Into::into)?;
            Ok(Answer::fresh(pb::ListEnterprisesResponse {
                enterprises,
                next_page_token,
            }))
        })
        .await
    }

    async fn create_client(
        &self,
        request: Request<pb::CreateClientRequest>,
    ) -> Answered<pb::CreateClientResponse> {
        answer(request, async |call, message| {
            let write = convert::create_client(&call, message)?;
            let pool = self.pools.records.on_behalf_of(call.principal);
            let written = store::carry_out(&pool, &call.claim, write).await?;
            let client = Some(written.record.into());
            let message = pb::CreateClientResponse { client };
            Ok(Answer::new(message, written.replayed))
        })
        .await
    }

    async fn update_client(
        &self,
        request: Request<pb::UpdateClientRequest>,
    ) -> Answered<pb::UpdateClientResponse> {
        answer(request, async |call, message| {
            let write = convert::update_client(&call, message)?;
            let pool = self.pools.records.on_behalf_of(call.principal);
            let written = store::carry_out(&pool, &call.claim, write).await?;
            let client = Some(written.record.into());
            let message = pb::UpdateClientResponse { client };
            Ok(Answer::new(message, written.replayed))
        })
        .await
    }

    async fn get_client(
        &self,
        request: Request<pb::GetClientRequest>,
    ) -> Answered<pb::GetClientResponse> {
        answer(request, async |call, message| {
            let id = convert::id("client_id", &message.client_id)?;
            let viewer = NetworkViewer::of(&call.caller)?;
            let pool = self.pools.by_key.on_behalf_of(call.principal);
            let found = store::client(&pool, &viewer, id).await?;
            let client = Some(found.ok_or(Error::ClientNotFound(Some(id)))?.into());
            Ok(Answer::fresh(pb::GetClientResponse { client }))
        })
        .await
    }

    async fn create_partner(
        &self,
        request: Request<pb::CreatePartnerRequest>,
    ) -> Answered<pb::CreatePartnerResponse> {
        answer(request, async |call, message| {
            let write = convert::create_partner(&call, message)?;
            let pool = self.pools.records.on_behalf_of(call.principal);
            let written = store::carry_out(&pool, &call.claim, write).await?;
            let partner = Some(written.record.into());
            let message = pb::CreatePartnerResponse { partner };
            Ok(Answer::new(message, written.replayed))
        })
        .await
    }

    async fn update_partner(
        &self,
        request: Request<pb::UpdatePartnerRequest>,
    ) -> Answered<pb::UpdatePartnerResponse> {
        answer(request, async |call, message| {
            let write = convert::update_partner(&call, message)?;
            let pool = self.pools.records.on_behalf_of(call.principal);
            let written = store::carry_out(&pool, &call.claim, write).await?;
            let partner = Some(written.record.into());
            let message = pb::UpdatePartnerResponse { partner };
            Ok(Answer::new(message, written.replayed))
        })
        .await
    }

    async fn get_partner(
        &self,
        request: Request<pb::GetPartnerRequest>,
    ) -> Answered<pb::GetPartnerResponse> {
        answer(request, async |call, message| {
            let id = convert::id("partner_id", &message.partner_id)?;
            let viewer = NetworkViewer::of(&call.caller)?;
            let pool = self.pools.by_key.on_behalf_of(call.principal);
            let found = store::partner(&pool, &viewer, id).await?;
            let partner = Some(found.ok_or(Error::PartnerNotFound(id))?.into());
            Ok(Answer::fresh(pb::GetPartnerResponse { partner }))
        })
        .await
    }

    async fn list_partners(
        &self,
        request: Request<pb::ListPartnersRequest>,
    ) -> Answered<pb::ListPartnersResponse> {
        answer(request, async |call, message| {
            let list = convert::list_partners(&call, message)?;
            call.caller.require_member_or_admin(list.enterprise)?;
            let pool = self.pools.list.on_behalf_of(call.principal);
            let rows = store::partners(&pool, list.enterprise, &list.filter, &list.page).await?;
            let (partners, next_page_token) =
                paging::finish(rows, &list.page, list.binding, 0, |row| row.id, Into::into)?;
            Ok(Answer::fresh(pb::ListPartnersResponse {
                partners,
                next_page_token,
            }))
        })
        .await
    }

    async fn create_connection(
        &self,
        request: Request<pb::CreateConnectionRequest>,
    ) -> Answered<pb::CreateConnectionResponse> {
        answer(request, async |call, message| {
            let write = convert::create_connection(&call, message)?;
            let pool = self.pools.records.on_behalf_of(call.principal);
            let written = store::carry_out(&pool, &call.claim, write).await?;
            let connection = Some(written.record.into());
            let message = pb::CreateConnectionResponse { connection };
            Ok(Answer::new(message, written.replayed))
        })
        .await
    }

    async fn get_connection(
        &self,
        request: Request<pb::GetConnectionRequest>,
    ) -> Answered<pb::GetConnectionResponse> {
        answer(request, async |call, message| {
            let id = convert::id("connection_id", &message.connection_id)?;
            let viewer = NetworkViewer::of(&call.caller)?;
            let pool = self.pools.by_key.on_behalf_of(call.principal);
            let found = store::connection(&pool, &viewer, id).await?;
            let connection = Some(found.ok_or(Error::ConnectionNotFound(id))?.into());
            Ok(Answer::fresh(pb::GetConnectionResponse { connection }))
        })
        .await
    }

    async fn update_connection(
        &self,
        request: Request<pb::UpdateConnectionRequest>,
    ) -> Answered<pb::UpdateConnectionResponse> {
        answer(request, async |call, message| {
            let write = convert::update_connection(&call, message)?;
            let pool = self.pools.records.on_behalf_of(call.principal);
            let written = store::carry_out(&pool, &call.claim, write).await?;
            let connection = Some(written.record.into());
            let message = pb::UpdateConnectionResponse { connection };
            Ok(Answer::new(message, written.replayed))
        })
        .await
    }

    async fn list_connections(
        &self,
        request: Request<pb::ListConnectionsRequest>,
    ) -> Answered<pb::ListConnectionsResponse> {
        answer(request, async |call, message| {
            let list = convert::list_connections(&call, message)?;
            call.caller.require_member_or_admin(list.enterprise)?;
            let pool = self.pools.list.on_behalf_of(call.principal);
            let rows = store::connections(&pool, list.enterprise, &list.filter, &list.page).await?;
            let (connections, next_page_token) =
                paging::finish(rows, &list.page, list.binding, 0, |row| row.id, Into::into)?;
            Ok(Answer::fresh(pb::ListConnectionsResponse {
                connections,
                next_page_token,
            }))
        })
        .await
    }
}
