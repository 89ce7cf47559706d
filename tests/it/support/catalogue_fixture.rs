//! A server with a company of CatalogueService, and short methods for its calls.

use earmark::proto::catalogue::v1::catalogue_service_client::CatalogueServiceClient;
use earmark::proto::catalogue::v1::{
    Allocation, GetAllocationRequest, GetAllocationResponse, ListAvailableAllocationsRequest,
    ListAvailableAllocationsResponse, PricePerUnit, PutAllocationRequest, PutCompanyRequest,
    Translation,
};

use super::earmark::{Authorized, Earmark};

/// The id of the fixture's company.
pub(crate) const COMPANY: i64 = 7;
/// An id that the token lists but no company has.
pub(crate) const NO_COMPANY: i64 = 8;

/// A server and one company.
pub(crate) struct CatalogueFixture {
    pub(crate) earmark: Earmark,
    /// With read and write scopes for [`COMPANY`] and [`NO_COMPANY`].
    pub(crate) client: CatalogueServiceClient<Authorized>,
}

impl CatalogueFixture {
    pub(crate) async fn open() -> Self {
        Self::on(Earmark::start().await).await
    }

    /// The same on a running server.
    pub(crate) async fn on(earmark: Earmark) -> Self {
        let mut client = client(&earmark);
        let company = PutCompanyRequest {
            company_id: COMPANY,
            name: "Company".into(),
            ..Default::default()
        };
        client.put_company(company).await.expect("created");
        Self { earmark, client }
    }

    pub(crate) async fn put(&self, request: PutAllocationRequest) -> Allocation {
        let put = self.client.clone().put_allocation(request).await;
        put.expect("put").into_inner().allocation.expect("set")
    }

    pub(crate) async fn list(
        &self,
        request: ListAvailableAllocationsRequest,
    ) -> ListAvailableAllocationsResponse {
        let listed = self
            .client
            .clone()
            .list_available_allocations(request)
            .await;
        listed.expect("listed").into_inner()
    }

    /// The only allocation of the company, in a language.
    pub(crate) async fn only(&self, langcode: &str) -> Allocation {
        let listed = self.list(listing(langcode)).await;
        assert_eq!(listed.next_page_token, "");
        let [only] = <[_; 1]>::try_from(listed.allocations).expect("one");
        only
    }

    pub(crate) async fn get(&self, id: &str, langcode: &str) -> GetAllocationResponse {
        let got = self.client.clone().get_allocation(get(id, langcode)).await;
        got.expect("there").into_inner()
    }

    /// Inserts allocations 1 to `count` by SQL, each with texts of `chars` characters of four bytes.
    pub(crate) async fn stock(&self, count: u32, chars: u32) {
        let sql = format!(
            "INSERT INTO catalogue_allocation
             SELECT owner_id, id, '1', 'USD', '1', 'USD', 'https://example.com/', texts, '{{en}}', 1, now(), now()
               FROM catalogue_company, generate_series(1, {count}) id, (SELECT jsonb_build_object('en', (
                    SELECT jsonb_object_agg(name, repeat('𝄞', {chars})) FROM unnest('{{
                        allocation_name, display_name, allocation_description, allocation_long_description,
                        allocation_singular_label, allocation_plural_label}}'::text[]) name)) texts) t
              WHERE company_id = {COMPANY}"
        );
        let sql = self.earmark.sql().await.batch_execute(&sql).await;
        sql.expect("stored");
    }
}

/// A client with read and write scopes for both companies.
pub(crate) fn client(earmark: &Earmark) -> CatalogueServiceClient<Authorized> {
    let companies = &[COMPANY, NO_COMPANY];
    let token = earmark.company_token("catalogue-read catalogue-write", companies);
    earmark.with_token(token).catalogue
}

/// A request for all allocations of the company.
pub(crate) fn listing(langcode: &str) -> ListAvailableAllocationsRequest {
    ListAvailableAllocationsRequest {
        company_id: COMPANY,
        langcode: langcode.into(),
        ..Default::default()
    }
}

pub(crate) fn get(id: &str, langcode: &str) -> GetAllocationRequest {
    GetAllocationRequest {
        company_id: COMPANY,
        allocation_id: id.into(),
        langcode: langcode.into(),
        quantity: None,
    }
}

/// A request that puts an allocation in English and in other languages.
pub(crate) fn putting<const N: usize>(
    id: &str,
    others: [(&str, Translation); N],
) -> PutAllocationRequest {
    let mut request = PutAllocationRequest {
        company_id: COMPANY,
        allocation_id: id.into(),
        msrp_price: "0.5".into(),
        msrp_currency: "USD".into(),
        price_per_unit: Some(PricePerUnit {
            number: "0.650000".into(),
            currency_code: "EUR".into(),
        }),
        allocation_image: "https://example.com/image.png".into(),
        ..Default::default()
    };
    let english = [("en", texts("en"))];
    for (language, texts) in english.into_iter().chain(others) {
        request.translations.insert(language.into(), texts);
    }
    request
}

/// Texts that all begin with `with`.
pub(crate) fn texts(with: &str) -> Translation {
    Translation {
        allocation_name: format!("{with} name"),
        display_name: format!("{with} display"),
        allocation_description: format!("{with} description"),
        allocation_long_description: format!("{with} long"),
        allocation_singular_label: format!("{with} [qty] unit"),
        allocation_plural_label: format!("{with} [qty] units"),
    }
}
