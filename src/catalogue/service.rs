//! The handlers: convert in, authorise, call, convert out.

use tonic::{Request, Response, Status};

use crate::catalogue::model::label;
use crate::catalogue::model::language::{Tag, Wanted};
use crate::catalogue::model::price;
use crate::catalogue::{convert, store};
use crate::db::pool::Pool;
use crate::proto::catalogue::v1 as pb;
use crate::proto::catalogue::v1::catalogue_service_server::CatalogueService as Rpcs;
use crate::rpc::call::{Answer, answer};
use crate::rpc::paging;

/// Manages what companies offer.
#[derive(Clone, Debug)]
pub struct CatalogueService {
    pool: Pool,
}

impl CatalogueService {
    /// A service on the database that the pool leads to.
    pub fn new(pool: Pool) -> Self {
        Self { pool }
    }
}

type Answered<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl Rpcs for CatalogueService {
    async fn list_available_allocations(
        &self,
        request: Request<pb::ListAvailableAllocationsRequest>,
    ) -> Answered<pb::ListAvailableAllocationsResponse> {
        answer(request, |call, message| async move {
            let list = convert::list(call.rpc.path, message)?;
            call.caller.require_company(list.company)?;
            let rows =
                store::allocations(&self.pool, list.company, &list.wanted, &list.page).await?;
            let (allocations, next_page_token) = paging::finish(
                rows,
                list.page.size,
                list.binding,
                0,
                |row| row.id,
                |row| convert::served(&row, &list.wanted),
            );
            Ok(Answer::fresh(pb::ListAvailableAllocationsResponse {
                allocations,
                next_page_token,
            }))
        })
        .await
    }

    async fn get_allocation(
        &self,
        request: Request<pb::GetAllocationRequest>,
    ) -> Answered<pb::GetAllocationResponse> {
        answer(request, |call, message| async move {
            let get = convert::get(&message)?;
            call.caller.require_company(get.company)?;
            let found = store::allocation(&self.pool, get.company, get.id, &get.wanted).await?;
            let label = get
                .quantity
                .map(|quantity| label::filled(&get.wanted, &found.translations, quantity))
                .transpose()?;
            Ok(Answer::fresh(pb::GetAllocationResponse {
                allocation: Some(convert::served(&found, &get.wanted)),
                label,
            }))
        })
        .await
    }

    async fn put_company(
        &self,
        request: Request<pb::PutCompanyRequest>,
    ) -> Answered<pb::PutCompanyResponse> {
        answer(request, |call, message| async move {
            let write = convert::put_company(&message)?;
            call.caller.require_company(write.company)?;
            let written = store::carry_out(&self.pool, &call.claim, write).await?;
            let company = Some(written.record.into());
            let message = pb::PutCompanyResponse { company };
            Ok(Answer::new(message, written.replayed))
        })
        .await
    }

    async fn put_allocation(
        &self,
        request: Request<pb::PutAllocationRequest>,
    ) -> Answered<pb::PutAllocationResponse> {
        answer(request, |call, message| async move {
            let write = convert::put_allocation(&message)?;
            call.caller.require_company(write.company)?;
            let written = store::carry_out(&self.pool, &call.claim, write).await?;
            let allocation = convert::served(&written.record, &Wanted::new(Tag::ENGLISH));
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
    ) -> Answered<pb::DeleteAllocationResponse> {
        answer(request, |call, message| async move {
            let write = convert::delete_allocation(&message)?;
            call.caller.require_company(write.company)?;
            store::carry_out(&self.pool, &call.claim, write).await?;
            Ok(Answer::fresh(pb::DeleteAllocationResponse {}))
        })
        .await
    }

    async fn list_supported_languages(
        &self,
        request: Request<pb::ListSupportedLanguagesRequest>,
    ) -> Answered<pb::ListSupportedLanguagesResponse> {
        answer(request, |call, _| async move {
            let companies = call.caller.require_companies()?;
            let mut languages = store::languages(&self.pool, companies).await?;
            languages.insert(Tag::ENGLISH.to_string());
            Ok(Answer::fresh(pb::ListSupportedLanguagesResponse {
                languages: languages.into_iter().collect(),
            }))
        })
        .await
    }

    async fn list_supported_currencies(
        &self,
        request: Request<pb::ListSupportedCurrenciesRequest>,
    ) -> Answered<pb::ListSupportedCurrenciesResponse> {
        answer(request, |_, _| async move {
            Ok(Answer::fresh(pb::ListSupportedCurrenciesResponse {
                currencies: price::active(),
            }))
        })
        .await
    }
}
