//! The handlers of CatalogueService. Each converts the request, authorises the caller, calls the store and converts the
//! result.

use tonic::{Request, Response, Status};

use crate::catalogue::model::{
    LanguageCursor, LanguageFallback, LanguageTag, active_currencies, label_for,
};
use crate::catalogue::{convert, store};
use crate::db::pools::Pools;
use crate::proto::catalogue::v1 as pb;
use crate::proto::catalogue::v1::catalogue_service_server::CatalogueService as Rpcs;
use crate::rpc::call::{Answer, TOTAL_COUNT, answer};
use crate::rpc::paging;

/// The service that lists and writes the allocations of companies' catalogues.
#[derive(Clone, Debug)]
pub struct CatalogueService {
    pools: Pools,
}

impl CatalogueService {
    /// Creates the service. It reads and writes through connections of these pools.
    pub fn new(pools: Pools) -> Self {
        Self { pools }
    }
}

#[tonic::async_trait]
impl Rpcs for CatalogueService {
    async fn list_available_allocations(
        &self,
        request: Request<pb::ListAvailableAllocationsRequest>,
    ) -> Result<Response<pb::ListAvailableAllocationsResponse>, Status> {
        answer(request, async |call, message| {
            let list = convert::list(call.rpc.path, message)?;
            call.caller.require_company(list.company)?;
            let pool = self.pools.list.on_behalf_of(call.principal);
            let found =
                store::allocations(&pool, list.company, &list.languages, &list.page).await?;
            let (allocations, next_page_token) = paging::finish(
                found.records,
                &list.page,
                list.binding,
                0,
                |row| row.id,
                |row| convert::to_message(&row, &list.languages),
            )?;
            let message = pb::ListAvailableAllocationsResponse {
                allocations,
                next_page_token,
            };
            Ok(Answer::fresh(message).with_count(TOTAL_COUNT, found.total.unsigned_abs()))
        })
        .await
    }

    async fn get_allocation(
        &self,
        request: Request<pb::GetAllocationRequest>,
    ) -> Result<Response<pb::GetAllocationResponse>, Status> {
        answer(request, async |call, message| {
            let get = convert::get(&message)?;
            call.caller.require_company(get.company)?;
            let pool = self.pools.by_key.on_behalf_of(call.principal);
            let found = store::allocation(&pool, get.company, get.id, &get.languages).await?;
            let label = get
                .quantity
                .map(|quantity| label_for(&get.languages, &found.translations, quantity))
                .transpose()?;
            Ok(Answer::fresh(pb::GetAllocationResponse {
                allocation: Some(convert::to_message(&found, &get.languages)),
                label,
            }))
        })
        .await
    }

    async fn put_company(
        &self,
        request: Request<pb::PutCompanyRequest>,
    ) -> Result<Response<pb::PutCompanyResponse>, Status> {
        answer(request, async |call, message| {
            let write = convert::put_company(&message)?;
            call.caller.require_company(write.command.company)?;
            let pool = self.pools.records.on_behalf_of(call.principal);
            let written = store::execute(&pool, &call.claim, write).await?;
            let company = Some(written.record.into());
            let message = pb::PutCompanyResponse { company };
            Ok(Answer::new(message, written.replayed))
        })
        .await
    }

    async fn put_allocation(
        &self,
        request: Request<pb::PutAllocationRequest>,
    ) -> Result<Response<pb::PutAllocationResponse>, Status> {
        answer(request, async |call, message| {
            let write = convert::put_allocation(&message)?;
            call.caller.require_company(write.command.company)?;
            let pool = self.pools.records.on_behalf_of(call.principal);
            let written = store::execute(&pool, &call.claim, write).await?;
            let allocation = convert::to_message(
                &written.record,
                &LanguageFallback::new(&LanguageTag::ENGLISH),
            );
            let message = pb::PutAllocationResponse {
                allocation: Some(allocation),
                translations: convert::all_texts(written.record.translations),
            };
            Ok(Answer::new(message, written.replayed))
        })
        .await
    }

    async fn delete_allocation(
        &self,
        request: Request<pb::DeleteAllocationRequest>,
    ) -> Result<Response<pb::DeleteAllocationResponse>, Status> {
        answer(request, async |call, message| {
            let write = convert::delete_allocation(&message)?;
            call.caller.require_company(write.command.company)?;
            let pool = self.pools.records.on_behalf_of(call.principal);
            store::execute(&pool, &call.claim, write).await?;
            Ok(Answer::fresh(pb::DeleteAllocationResponse {}))
        })
        .await
    }

    async fn list_supported_languages(
        &self,
        request: Request<pb::ListSupportedLanguagesRequest>,
    ) -> Result<Response<pb::ListSupportedLanguagesResponse>, Status> {
        answer(request, async |call, message| {
            let (page, binding) = convert::list_languages(&call, &message)?;
            let companies = call.caller.require_companies()?;
            let pool = self.pools.list.on_behalf_of(call.principal);
            let found = store::languages(&pool, companies, &page).await?;
            let cursor = |tag: &String| LanguageCursor(tag.clone());
            let (languages, next_page_token) =
                paging::finish(found, &page, binding, 0, cursor, |tag| tag)?;
            Ok(Answer::fresh(pb::ListSupportedLanguagesResponse {
                languages,
                next_page_token,
            }))
        })
        .await
    }

    async fn list_supported_currencies(
        &self,
        request: Request<pb::ListSupportedCurrenciesRequest>,
    ) -> Result<Response<pb::ListSupportedCurrenciesResponse>, Status> {
        answer(request, async |_, _| {
            Ok(Answer::fresh(pb::ListSupportedCurrenciesResponse {
                currencies: active_currencies(),
            }))
        })
        .await
    }
}
