//! Long lists.

use bytes::Bytes;
use earmark::proto::bucket::v1::ListBucketsRequest;
use earmark::proto::cas::v1::{Criterion, SearchAllocationsRequest};
use earmark::proto::catalogue::v1::ListAvailableAllocationsRequest;

use crate::client::{LoadWork, frame};
use crate::seed::bucket::product_id;
use crate::seed::lists::deal_id;

/// Records of a page.
const PAGE: i32 = 100;

/// `ListBuckets` of a random product.
pub(crate) struct ListBuckets {
    pub(crate) token: String,
    pub(crate) products: u32,
}

impl LoadWork for ListBuckets {
    fn path(&self) -> &'static str {
        "/earmark.bucket.v1.BucketService/ListBuckets"
    }

    fn token(&self, _connection: usize) -> &str {
        &self.token
    }

    fn request(&self, _connection: usize, random: &mut fastrand::Rng) -> Bytes {
        frame(&ListBucketsRequest {
            product_id: product_id(random.u32(1..=self.products)),
            limit: PAGE,
            ..Default::default()
        })
    }
}

/// CAS `SearchAllocations` of a random deal.
pub(crate) struct SearchDeal {
    pub(crate) token: String,
    pub(crate) deals: u32,
}

impl LoadWork for SearchDeal {
    fn path(&self) -> &'static str {
        "/earmark.cas.v1.CasAllocationService/SearchAllocations"
    }

    fn token(&self, _connection: usize) -> &str {
        &self.token
    }

    fn request(&self, _connection: usize, random: &mut fastrand::Rng) -> Bytes {
        frame(&SearchAllocationsRequest {
            criteria: vec![Criterion {
                field: "dealId".into(),
                operator: "=".into(),
                value: deal_id(random.u32(1..=self.deals)),
                any: Vec::new(),
            }],
            page_size: PAGE,
            ..Default::default()
        })
    }
}

/// `ListAvailableAllocations` of a random company, in French.
pub(crate) struct ListCatalogue {
    pub(crate) token: String,
    /// The companies of the token.
    pub(crate) companies: Vec<u32>,
}

impl LoadWork for ListCatalogue {
    fn path(&self) -> &'static str {
        "/earmark.catalogue.v1.CatalogueService/ListAvailableAllocations"
    }

    fn token(&self, _connection: usize) -> &str {
        &self.token
    }

    fn request(&self, _connection: usize, random: &mut fastrand::Rng) -> Bytes {
        let company = self.companies[random.usize(..self.companies.len())];
        frame(&ListAvailableAllocationsRequest {
            company_id: company.into(),
            langcode: "fr".into(),
            ..Default::default()
        })
    }
}
